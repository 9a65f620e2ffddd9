"""Texts with labels in memory: one sentence an example, or a pair."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from reuseprior.data import sets
from reuseprior.data.sets import Checksum, DataError, Source, choose_by_class


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

    def __post_init__(self) -> None:
        halves = (part for part in ("search", "report") if len(getattr(self, part)))
        sets.check_labels(self, "train", *halves)  # halves of one text may be empty

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


FOLDER = "glue"
WHERE = "unpack the task's zip of https://dl.fbaipublicfiles.com/glue/data there"


@dataclass(frozen=True)
class _Task:
    """Where a task's files say what."""

    folder: str
    metric: str
    md5s: dict[str, str]  # of the files that our runs used
    label: int | str  # column, by its number where a file has no header
    texts: tuple[int | str, ...]
    classes: tuple[str, ...] = ("0", "1")
    test: tuple[str, str | int, tuple[str | int, ...]] | None = None  # a labelled test part


TASKS = {
    "glue-cola": _Task(
        "CoLA", "matthews",
        {"train.tsv": "d8ff351400f0dddc70c40d91c1199ca8",
         "dev.tsv": "c5475ccefc9e7ca0917294b8bbda783c"},
        1, (3,),
    ),
    "glue-sst2": _Task(
        "SST-2", "accuracy",
        {"train.tsv": "da409a0a939379ed32a470bc0f7fe99a",
         "dev.tsv": "268856b487b2a31a28c0a93daaff7288",
         "test-labeled.tsv": "33463d09bb4bacbdaf886f50edb2b437"},
        "label", ("sentence",), test=("test-labeled.tsv", "label", ("sentence",)),
    ),
    "glue-mrpc": _Task(
        "MRPC", "f1",
        {"train.tsv": "ce85e419c7df081267c9e01415f86fd7",
         "dev.tsv": "cbf6fb5d759c11c9cda50c7c876a3c81",
         "msr_paraphrase_test.txt": "626a37bd08407ea80abccbeb4adeac85"},
        0, (3, 4), test=("msr_paraphrase_test.txt", 0, (3, 4)),
    ),
    "glue-rte": _Task(
        "RTE", "accuracy",
        {"train.tsv": "d2844f558d111a16503144bb37a8165f",
         "dev.tsv": "973cb4178d4534cf745a01c309d4a66c"},
        "label", ("sentence1", "sentence2"), classes=("not_entailment", "entailment"),
    ),
}  # fmt: skip


def labelled_test(name: str, root: str | os.PathLike) -> Texts:
    """The official test part of glue-sst2 or glue-mrpc with its labels.

    For the last look at a model, once: nothing that trains or chooses calls this.
    """
    task = TASKS.get(name)
    if task is None or task.test is None:
        known = " and ".join(n for n, t in TASKS.items() if t.test)
        raise DataError(f"{name} has no test part with labels: {known} have")
    file, label, texts = task.test
    return _texts(name, Path(root), file, label, texts)


def _read(name: str, root: Path) -> TextSet:
    task = TASKS[name]
    parts = [_texts(name, root, f"{p}.tsv", task.label, task.texts) for p in ("train", "dev")]
    return TextSet.of(name, len(task.classes), task.metric, *parts)


def _texts(name: str, root: Path, file: str, label: int | str, texts) -> Texts:
    """The columns of a file as texts and labels."""
    task = TASKS[name]
    place = f"{FOLDER}/{task.folder}/{file}"
    try:
        content = sets.read(root, place, task.md5s[file], name=name)
    except sets.DataMissing as error:
        raise _missing(name, root, place) from error
    lines = [line.rstrip("\r").split("\t") for line in content.decode("utf-8-sig").split("\n")]
    lines = [line for line in lines if line != [""]]  # after the last line break
    if isinstance(label, str):
        header, *lines = lines
        label, *texts = (header.index(column) for column in (label, *texts))
    elif task.folder == "MRPC":  # whose columns are best known by their places
        lines = lines[1:]
    first, *second = (tuple(line[column] for line in lines) for column in texts)
    labels = torch.tensor([task.classes.index(line[label]) for line in lines])
    return Texts(first, second[0] if second else None, labels)


def _missing(name: str, root: Path, place: str) -> sets.DataMissing:
    return sets.missing(name, root, f"there is no {place}; {WHERE}")


def _verify(name: str, root: Path) -> list[Checksum]:
    task = TASKS[name]
    return [
        sets.check(root, f"{FOLDER}/{task.folder}/{file}", md5) for file, md5 in task.md5s.items()
    ]


def _fetch(name: str, root: Path) -> None:
    """Nothing to bring: a zip, or for MRPC a script, makes the files."""
    for check in _verify(name, root):
        if not (root / check.file).exists():
            raise _missing(name, root, check.file)


def _source(name: str) -> Source:
    return Source(name, partial(_verify, name), partial(_fetch, name), partial(_read, name))


GLUE = tuple(_source(name) for name in TASKS)
