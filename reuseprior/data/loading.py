"""The data sets by name, and the folder in which they lie."""

from __future__ import annotations

import os
from pathlib import Path

from reuseprior.data.cifar import CIFAR10, CIFAR100
from reuseprior.data.digits import DIGITS
from reuseprior.data.imagenet import IMAGENET, ImageFolderSet
from reuseprior.data.mnist import MNIST
from reuseprior.data.modelnet import CHAIR, SOFA
from reuseprior.data.sets import Checksum, DataError, DataMissing, DataSet, Source
from reuseprior.data.texts import GLUE, TextSet
from reuseprior.errors import expect

ALL = (DIGITS, MNIST, CIFAR10, CIFAR100, IMAGENET, CHAIR, SOFA, *GLUE)
_SOURCES = {source.name: source for source in ALL}


def names() -> list[str]:
    """The data sets that `load` knows.

    >>> names()[:5], names()[-2:]
    (['digits', 'mnist', 'cifar10', 'cifar100', 'imagenet'], ['glue-mrpc', 'glue-rte'])
    """
    return list(_SOURCES)


def root_folder(root: str | os.PathLike | None = None) -> Path:
    """Where data sets lie: `root`, else REUSEPRIOR_DATA, else the user's cache."""
    if root is not None:
        mend = "give the path of the folder of the data sets, or leave it out"
        expect(root, (str, os.PathLike), "the root", mend, DataError)
    folder = root or os.environ.get("REUSEPRIOR_DATA")
    if folder:
        return Path(folder).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "reuseprior"


def load(
    name: str, root: str | os.PathLike | None = None, *, download: bool = True
) -> DataSet | ImageFolderSet | TextSet:
    """A data set, every file of it checked against its published MD5 before it is opened.

    >>> load("digits").train.images.shape
    torch.Size([1438, 1, 8, 8])

    A set that is not there is downloaded, if `download`. Raises `DataMissing` where it is not
    there in the end, and `DataError` for an unknown name and for files that are not whole.
    """
    source, folder = _source(name), root_folder(root)
    try:
        return source.read(folder)
    except DataMissing:
        if not download:
            raise
    source.fetch(folder)
    return source.read(folder)


def load_images(name: str, root: str | os.PathLike | None = None) -> DataSet | ImageFolderSet:
    """A data set of images, as `load` gives it; `DataError` for one of texts."""
    if name in {source.name for source in GLUE}:
        images = ", ".join(n for n in _SOURCES if not n.startswith("glue-"))
        raise DataError(f"{name} holds texts, and images are needed: choose one of {images}")
    return load(name, root)


def verify(name: str, root: str | os.PathLike | None = None) -> list[Checksum]:
    """Check every file of a data set; nothing is downloaded and nothing raised for what is wrong.

    >>> [check.ok for check in verify("digits")]
    [True]
    """
    return _source(name).verify(root_folder(root))


def prepare(name: str, root: str | os.PathLike | None = None) -> list[Checksum]:
    """Download what is missing or not whole, and verify. Raises `DataMissing` if that fails."""
    source, folder = _source(name), root_folder(root)
    source.fetch(folder)
    return source.verify(folder)


def _source(name: str) -> Source:
    expect(name, str, "the name of the data set", f"give one of {', '.join(_SOURCES)}", DataError)
    if name not in _SOURCES:
        raise DataError(f"no data set {name!r}: there are {', '.join(_SOURCES)}")
    return _SOURCES[name]
