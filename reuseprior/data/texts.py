"""Texts with labels in memory: one sentence an example, or a pair."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np
import torch

from reuseprior.data.files import DataError
from reuseprior.data.sets import choose_by_class


@dataclass(frozen=True, eq=False)
class Texts:
    """Sentences, or pairs of them, and their labels, int64 (n,)."""

    first: tuple[str, ...]
    second: tuple[str, ...] | None
    labels: torch.Tensor

    def __post_init__(self) -> None:
        counts = {len(self.first), len(self.labels), len(self.second or self.first)}
        if len(counts) > 1 or self.labels.dtype != torch.int64:
            raise ValueError(
                f"Texts have one label each, int64, and these are {len(self.first)} with "
                f"{len(self.labels)} of {self.labels.dtype}."
            )

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: np.ndarray) -> Texts:
        """The texts at these positions."""
        first, second = (
            None if part is None else tuple(part[i] for i in index)
            for part in (self.first, self.second)
        )
        return Texts(first, second, self.labels[index])


@dataclass(frozen=True, eq=False)
class TextSet:
    """A data set of texts: what to train on, to choose by, and to report on.

    `search` and `report` are halves of the official validation part, as alike in their classes as
    can be and the same for every seed: who chooses an architecture or an epoch by one of them
    reports on the other. The official test part is not here.
    """

    name: str
    classes: int
    metric: str  # what the benchmark measures: accuracy, f1 or matthews
    train: Texts
    search: Texts
    report: Texts
    checksum: str  # of all texts and labels of the three

    @classmethod
    def of(cls, name: str, classes: int, metric: str, train: Texts, validation: Texts) -> TextSet:
        """A data set of its official training and validation parts."""
        halves = halved(validation, classes)
        return cls(name, classes, metric, train, *halves, checksum(train, *halves))

    def subset(self, size: int, seed: int) -> TextSet:
        """As many training texts, the same number of every class or one more."""
        labels, random = self.train.labels.numpy(), np.random.RandomState(seed)
        sizes = np.full(self.classes, size // self.classes)
        sizes[: size % self.classes] += 1
        held = np.bincount(labels, minlength=self.classes)
        if size < 1 or (held < sizes).any():
            raise DataError(
                f"{self.name} has {held.min():,} training texts of its rarest class: ask for at "
                f"least 1 and at most {held.min() * self.classes:,} of both, not {size:,}"
            )
        train = self.train.take(choose_by_class(labels, sizes, random))
        return replace(self, train=train, checksum=checksum(train, self.search, self.report))


def halved(texts: Texts, classes: int) -> tuple[Texts, Texts]:
    """Two halves, each with half of every class; the first may have one more of a class."""
    labels = texts.labels.numpy()
    sizes = -(-np.bincount(labels, minlength=classes) // 2)
    first = choose_by_class(labels, sizes, np.random.RandomState(0))
    rest = np.setdiff1d(np.arange(len(texts)), first)
    return texts.take(first), texts.take(rest)


def checksum(*parts: Texts) -> str:
    """sha256 of texts and labels, part after part."""
    digest = hashlib.sha256()
    for part in parts:
        for text in (*part.first, *(part.second or ())):
            digest.update(text.encode() + b"\0")
        digest.update(part.labels.numpy().astype("<i8"))
    return digest.hexdigest()
