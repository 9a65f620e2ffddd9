"""Images with labels in memory, and their seeded parts.

Permutations are numpy's `RandomState`, whose stream is frozen: a seed gives the same parts with
every version of every library.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from http.client import HTTPException
from pathlib import Path
from typing import Any

import numpy as np
import torch

from reuseprior import files
from reuseprior.errors import UserError


class DataError(UserError):
    """A data set that is unknown, not whole, or asked for more than it holds."""


class DataMissing(DataError):
    """A data set that is not in its folder and could not be brought there."""


@dataclass(frozen=True)
class Checksum:
    """Whether one file of a data set is as published, and why one thinks so."""

    file: str  # relative to the root
    ok: bool
    why: str


@dataclass(frozen=True)
class Source:
    """A data set's name and the three things one does with its files, each given the root."""

    name: str
    verify: Callable[[Path], list[Checksum]]
    fetch: Callable[[Path], None]  # brings what is missing or not whole, or raises DataMissing
    read: Callable[[Path], Any]


def check(root: Path, file: str, md5: str) -> Checksum:
    """Compare a file's MD5 with the published one."""
    try:
        content = files.read(root / file)
    except OSError as error:
        return Checksum(file, False, error.strerror)  # No such file or directory, most often
    wrong = _wrong(content, md5)
    return Checksum(file, wrong is None, wrong or "its MD5 is the published one")


def read(root: Path, file: str, md5: str, *, name: str) -> bytes:
    """A file's content, compared with the published MD5 before anything looks into it.

    Raises `DataMissing` where there is none, and `DataError` where it is cut short or changed.
    """
    try:
        content = files.read(root / file)
    except FileNotFoundError as error:
        raise missing(name, root, f"there is no {file}") from error
    except OSError as error:
        raise DataError(
            f"{root / file} cannot be read ({error.strerror}): make it a readable file"
        ) from error
    wrong = _wrong(content, md5)
    if wrong is not None:
        raise DataError(
            f"{root / file} {wrong}: replace it with `reuseprior data prepare {name} --root {root}`"
        )
    return content


def missing(name: str, root: Path, why: str) -> DataMissing:
    """The error for a data set that is not there, with what to set or run."""
    return DataMissing(
        f"{name} is not complete in {root} ({why}): set REUSEPRIOR_DATA to the folder that holds "
        f"it, or run `reuseprior data prepare {name} --root {root}` where there is a network"
    )


def download(name: str, root: Path, *attempts: Callable[[], object]) -> None:
    """Make one attempt after the other until one succeeds, or raise `DataMissing`."""
    for attempt in attempts:
        try:
            attempt()
            return
        # RuntimeError is torchvision's word for a download with another checksum
        except (OSError, HTTPException, RuntimeError) as error:
            failed = error
    why = " ".join(str(failed).split()) or type(failed).__name__
    raise missing(name, root, f"downloading it failed: {why}") from failed


def _wrong(content: bytes, md5: str) -> str | None:
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if digest == md5:
        return None
    return f"is cut short or changed: its {len(content):,} bytes have MD5 {digest}, not {md5}"


BLIND = " without its test images"  # what `DataSet.blind` adds to a set's name


@dataclass(frozen=True, eq=False)
class Images:
    """Images, uint8 (n, channels, height, width), and their labels, int64 (n,).

    Voxels are images of one axis more, (n, channels, depth, height, width).
    """

    images: torch.Tensor
    labels: torch.Tensor

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.ndim not in (4, 5):
            raise ValueError(
                f"Images are uint8 of shape (n, channels, height, width), and these are "
                f"{self.images.dtype} of shape {tuple(self.images.shape)}."
            )
        if self.labels.dtype != torch.int64 or self.labels.shape != self.images.shape[:1]:
            raise ValueError(
                f"The labels of {len(self.images)} images are int64 of shape "
                f"({len(self.images)},), and these are {self.labels.dtype} of shape "
                f"{tuple(self.labels.shape)}."
            )

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index) -> Images:
        """The images at `index`: a slice, or positions as an array or tensor."""
        return Images(self.images[index], self.labels[index])


@dataclass(frozen=True, eq=False)
class DataSet:
    """A data set in memory: its official training and test parts, and what they are.

    >>> from reuseprior import data
    >>> digits = data.load("digits")
    >>> digits.classes, digits.channels, digits.image_size, len(digits.train), len(digits.test)
    (10, 1, 8, 1438, 359)
    """

    name: str
    classes: int
    channels: int
    image_size: int  # pixels a side
    train: Images
    test: Images
    checksum: str  # of all pixels and labels of both parts

    def __post_init__(self) -> None:
        check_labels(self, "train", "test")

    @classmethod
    def of(cls, name: str, classes: int, train: Images, test: Images) -> DataSet:
        """A data set of square images, with the sizes and the checksum that its parts have."""
        _, channels, size, *_ = train.images.shape
        return cls(name, classes, channels, size, train, test, _checksum(train, test))

    def split(self, *, validation: float = 0.1, seed: int) -> tuple[Images, Images]:
        """The training part as (training, validation), disjoint, chosen by a seeded permutation.

        The thesis takes 10 % for validation (section 3.4) and the test part for no choice at all.

        >>> from reuseprior import data
        >>> [len(part) for part in data.load("digits").split(seed=0)]
        [1294, 144]
        """
        if not 0 <= validation < 1:
            raise DataError(
                f"validation = {validation} is no share of the training images: take one from 0 "
                "up to, but not including, 1"
            )
        order = np.random.RandomState(seed).permutation(len(self.train))
        n = round(validation * len(self.train))
        return self.train.take(np.sort(order[n:])), self.train.take(np.sort(order[:n]))

    def blind(self, *, validation: float = 0.1, seed: int) -> DataSet:
        """The set without its test images: the validation part of `split` stands in their place.

        So recipes can be compared by code that could not look at the test images if it wanted.
        """
        trained, held_out = self.split(validation=validation, seed=seed)
        if not len(held_out):
            raise DataError(
                f"validation = {validation} holds out no image of {self.name}: take a larger share"
            )
        name = self.name + BLIND
        return replace(
            self, name=name, train=trained, test=held_out, checksum=_checksum(trained, held_out)
        )

    def subset(self, train: int | None, test: int | None, seed: int) -> DataSet:
        """As many images of both parts, the same number of every class or one more; None: all.

        Raises `DataError` where a class has too few.
        """
        random = np.random.RandomState(seed)
        parts = {
            part: images if size is None else self._balanced(part, images, size, random)
            for part, images, size in (("train", self.train, train), ("test", self.test, test))
        }
        return replace(self, **parts, checksum=_checksum(**parts))

    def _balanced(self, part: str, images: Images, size: int, random) -> Images:
        if size < 1:
            raise DataError(f"{size} {part} images of {self.name} are none: ask for at least 1")
        each, more = divmod(size, self.classes)
        held = np.bincount(images.labels.numpy(), minlength=self.classes)
        if held.min() < each + (more > 0):  # whichever classes the seed gives one more
            raise DataError(
                f"{self.name} has {held.min()} {part} images of class {held.argmin()}, too few for "
                f"a balanced {size:,}: ask for at most {held.min() * self.classes:,}"
            )
        sizes = np.full(self.classes, each)
        sizes[random.permutation(self.classes)[:more]] += 1
        return images.take(choose_by_class(images.labels.numpy(), sizes, random))


def check_labels(data: Any, *parts: str) -> None:
    """Refuse a data set of which a part is empty, or holds a label of no class."""
    for part in parts:
        what, labels = f"the {part} part of {data.name}", getattr(data, part).labels
        if not len(labels):
            raise DataError(f"{what} is empty: give it an example at least")
        if wrong := labels[(labels < 0) | (labels >= data.classes)].tolist():
            raise DataError(
                f"{what} holds label {wrong[0]} and there are {data.classes} classes: number them "
                f"from 0 to {data.classes - 1}"
            )


def choose_by_class(labels: np.ndarray, sizes, random: np.random.RandomState) -> np.ndarray:
    """Ascending positions of `sizes[c]` random members of each class c."""
    chosen = [
        random.permutation(np.flatnonzero(labels == label))[:size]
        for label, size in enumerate(sizes)
    ]
    return np.sort(np.concatenate(chosen))


def _checksum(train: Images, test: Images) -> str:
    """sha256 of shapes, pixels and labels, training part first."""
    digest = hashlib.sha256()
    for part in (train, test):
        digest.update(str(tuple(part.images.shape)).encode())
        digest.update(part.images.contiguous().numpy())
        digest.update(part.labels.numpy().astype("<i8"))
    return digest.hexdigest()
