"""The Classformer of Bidart's chapter 5: a text encoder whose layers forget positions."""

from reuseprior.models.classformer.encoders import MINILM as MINILM
from reuseprior.models.classformer.encoders import Tokenizer as Tokenizer
from reuseprior.models.classformer.encoders import pad as pad
from reuseprior.models.classformer.encoders import pretrained as pretrained
from reuseprior.models.classformer.encoders import tokenizer as tokenizer
from reuseprior.models.classformer.model import Classformer as Classformer
from reuseprior.models.classformer.model import Sizes as Sizes
from reuseprior.models.classformer.model import shallower as shallower
from reuseprior.models.classformer.model import sizes_of as sizes_of
from reuseprior.models.classformer.model import thin as thin
from reuseprior.models.classformer.schedule import Schedule as Schedule
from reuseprior.models.classformer.schedule import Space as Space
from reuseprior.models.classformer.search import SAMPLERS as SAMPLERS
from reuseprior.models.classformer.search import Trial as Trial
from reuseprior.models.classformer.search import binary_search as binary_search
from reuseprior.models.classformer.search import reward as reward
from reuseprior.models.classformer.search import search as search
from reuseprior.models.classformer.search import started as started
