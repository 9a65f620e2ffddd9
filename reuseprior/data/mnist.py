"""MNIST: the four official idx files, in torchvision's folder `MNIST/raw`."""

import gzip
from functools import partial
from pathlib import Path

import numpy as np
import torch

from reuseprior.data import sets
from reuseprior.data.sets import Checksum, DataSet, Images, Source

_FOLDER = "MNIST/raw"


def _md5s() -> dict[str, str]:
    """The published MD5 of each file, by its path below the root."""
    from torchvision.datasets import MNIST  # takes as long as torch, so only where it is read

    return {f"{_FOLDER}/{file}": md5 for file, md5 in MNIST.resources}


def _verify(root: Path) -> list[Checksum]:
    return [sets.check(root, file, md5) for file, md5 in _md5s().items()]


def _fetch(root: Path) -> None:
    from torchvision.datasets import MNIST
    from torchvision.datasets.utils import download_url

    for file, md5 in _md5s().items():
        if not sets.check(root, file, md5).ok:
            urls = [mirror + Path(file).name for mirror in MNIST.mirrors]
            attempts = [partial(download_url, url, root / _FOLDER, md5=md5) for url in urls]
            sets.download("mnist", root, *attempts)


def _read(root: Path) -> DataSet:
    arrays = {
        Path(file).name: _idx(gzip.decompress(sets.read(root, file, md5, name="mnist")))
        for file, md5 in _md5s().items()
    }
    parts = [
        Images(
            arrays[f"{part}-images-idx3-ubyte.gz"].unsqueeze(1),  # (n, 28, 28) to (n, 1, 28, 28)
            arrays[f"{part}-labels-idx1-ubyte.gz"].long(),
        )
        for part in ("train", "t10k")
    ]
    return DataSet.of("mnist", 10, *parts)


def _idx(content: bytes) -> torch.Tensor:
    """The array of an idx file: three bytes of type, one of dimensions, the sizes, the bytes."""
    dimensions = content[3]
    shape = np.frombuffer(content, ">i4", dimensions, offset=4)
    pixels = np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions)
    return torch.from_numpy(pixels.reshape(shape).copy())  # bytes cannot be written to


MNIST = Source("mnist", _verify, _fetch, _read)
