"""Data sets of images and texts: found, checked against published checksums, held in memory."""

from reuseprior.data.imagenet import ImageFolderSet as ImageFolderSet
from reuseprior.data.loading import load as load
from reuseprior.data.loading import load_images as load_images
from reuseprior.data.loading import names as names
from reuseprior.data.loading import prepare as prepare
from reuseprior.data.loading import root_folder as root_folder
from reuseprior.data.loading import verify as verify
from reuseprior.data.sets import Checksum as Checksum
from reuseprior.data.sets import DataError as DataError
from reuseprior.data.sets import DataMissing as DataMissing
from reuseprior.data.sets import DataSet as DataSet
from reuseprior.data.sets import Images as Images
from reuseprior.data.texts import Texts as Texts
from reuseprior.data.texts import TextSet as TextSet
