"""CIFAR-10 and CIFAR-100: the official Python batches, in torchvision's folders.

The batches are pickles, and a pickle may run any code. These run none: a file is unpickled only
if its MD5 is the published one, and then by an unpickler that can make nothing but arrays.
"""

import io
import pickle
from functools import partial
from pathlib import Path

import numpy as np
import torch

from reuseprior.data import sets
from reuseprior.data.sets import Checksum, DataError, DataSet, Images, Source


def _published(name: str):
    """torchvision's class of a data set, which has its files and their MD5 sums."""
    from torchvision import datasets  # takes as long as torch, so only where it is read

    return getattr(datasets, name.upper())


def _md5s(name: str, lists=("train_list", "test_list")) -> dict[str, str]:
    """The published MD5 of each batch, by its path below the root, in the official order."""
    published = _published(name)
    return {
        f"{published.base_folder}/{file}": md5
        for part in lists
        for file, md5 in getattr(published, part)
    }


def _verify(name: str, root: Path) -> list[Checksum]:
    return [sets.check(root, file, md5) for file, md5 in _md5s(name).items()]


def _fetch(name: str, root: Path) -> None:
    from torchvision.datasets.utils import download_and_extract_archive

    if all(check.ok for check in _verify(name, root)):
        return
    published = _published(name)
    archive = {"filename": published.filename, "md5": published.tgz_md5}
    sets.download(name, root, partial(download_and_extract_archive, published.url, root, **archive))


def _read(name: str, labels: str, classes: int, root: Path) -> DataSet:
    parts = []
    for part in ("train_list", "test_list"):
        batches = [
            _unpickle(root / file, sets.read(root, file, md5, name=name))
            for file, md5 in _md5s(name, [part]).items()
        ]
        pixels = np.concatenate([batch["data"] for batch in batches])  # (n, 3072)
        numbers = np.concatenate([batch[labels] for batch in batches])  # (n,)
        images = torch.from_numpy(pixels).view(-1, 3, 32, 32)
        parts.append(Images(images, torch.from_numpy(numbers.astype(np.int64))))
    return DataSet.of(name, classes, *parts)


# What a batch names, all of it. The first two stand for numpy's own, which are private now or warn.
_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): lambda kind, shape, code: np.ndarray(shape, code),
    ("numpy", "dtype"): lambda code, align, copy: np.dtype(code),
    ("numpy", "ndarray"): np.ndarray,
}


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str):
        if (module, name) not in _ALLOWED:
            raise DataError(f"names {module}.{name}, which no batch of images needs")
        return _ALLOWED[module, name]


def _unpickle(path: Path, content: bytes) -> dict:
    try:
        # latin1: the batches were written by Python 2, and their pixels are a string to it
        return _ArraysOnly(io.BytesIO(content), encoding="latin1").load()
    except DataError as error:
        raise DataError(f"{path} {error}: it was not opened, so replace it") from error


def _source(name: str, labels: str, classes: int) -> Source:
    return Source(
        name, partial(_verify, name), partial(_fetch, name), partial(_read, name, labels, classes)
    )


CIFAR10 = _source("cifar10", "labels", 10)
CIFAR100 = _source("cifar100", "fine_labels", 100)
