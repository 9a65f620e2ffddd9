"""Four tasks of GLUE (Wang et al. 2019): CoLA, SST-2, MRPC and RTE, as the benchmark's tsv files.

They lie as `glue/TASK/train.tsv` and `dev.tsv`. CoLA.zip, SST-2.zip and RTE.zip of
https://dl.fbaipublicfiles.com/glue/data hold them; MRPC's come from Microsoft's corpus, as the
benchmark's download script divides it. GLUE keeps the labels of its test parts to itself. Two of
them are public all the same, from the corpora that the tasks were made of: `labelled_test`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from reuseprior.data import files
from reuseprior.data.files import Checksum, DataError, Source
from reuseprior.data.texts import Texts, TextSet

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
        content = files.read(root, place, task.md5s[file], name=name)
    except files.DataMissing as error:
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


def _missing(name: str, root: Path, place: str) -> files.DataMissing:
    return files.missing(name, root, f"there is no {place}; {WHERE}")


def _verify(name: str, root: Path) -> list[Checksum]:
    task = TASKS[name]
    return [
        files.check(root, f"{FOLDER}/{task.folder}/{file}", md5) for file, md5 in task.md5s.items()
    ]


def _fetch(name: str, root: Path) -> None:
    """Nothing to bring: a zip, or for MRPC a script, makes the files."""
    for check in _verify(name, root):
        if not (root / check.file).exists():
            raise _missing(name, root, check.file)


def _source(name: str) -> Source:
    return Source(name, partial(_verify, name), partial(_fetch, name), partial(_read, name))


GLUE = tuple(_source(name) for name in TASKS)
