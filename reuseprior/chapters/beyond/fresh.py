"""Networks of random cells, trained after the score was settled (`preregistration-fresh.toml`)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from reuseprior import data, paths
from reuseprior.chapters.beyond import preregistration, survey
from reuseprior.chapters.beyond.survey import EXPERIMENT, checked_rows, keep, short
from reuseprior.measures.measuring import Conventions, measure
from reuseprior.models import Recipe
from reuseprior.training.protocol import Protocol
from reuseprior.training.trainer import train

DATA = "cifar10"
COLUMNS = ("model", "examples", "accuracy", *survey.COLUMNS[1:])


def names() -> list[str]:
    """The networks that are trained.

    >>> names()[:2]
    ['random-cells:0', 'random-cells:1']
    """
    return [f"random-cells:{number}" for number in range(_settled()["networks"])]


def record(folder: Path | None = None, *, until: int | None = None) -> Path:
    """Train and measure the networks in order, half a minute each; goes on where it was stopped.

    `until` is how many to have in the end, all if not given. Returns the run's folder. The accuracy
    is the last epoch's on the test images, a part of one.
    """
    config = {
        "columns": COLUMNS,
        "data": DATA,
        "preregistration": preregistration.sha256(preregistration.FRESH),
        "training": _settled()["training"],
    }
    folder = folder or paths.RESULTS / EXPERIMENT / "random-cells"
    return keep(folder, config, {name: name for name in names()[:until]}, _rows)


def read(folder: Path | None = None) -> pd.DataFrame:
    """A row a network: T, accuracy, and measures."""
    rows = checked_rows(folder or paths.RESULTS / EXPERIMENT / "random-cells", COLUMNS)
    return rows.astype({n: float for n in COLUMNS if n not in ("model", "reason")})


def _settled() -> dict:
    return preregistration.settled(preregistration.FRESH)


def _rows(todo: list[str]) -> Iterator[dict]:
    settled, images = _settled(), data.load(DATA)
    size = settled["image_size"]
    own = {key: settled["training"][key] for key in ("train_images", "test_images", "epochs")}
    protocol = Protocol.load(settled["training"]["protocol"], **own)
    seed = settled["training"]["seed"]
    for name in todo:
        network = Recipe(name, seed=seed).build()
        with TemporaryDirectory() as folder:
            run = train(network, images, protocol, Path(folder) / "run", seed=seed, progress=False)
        row = dict.fromkeys(COLUMNS) | measure(name, Conventions(size)).row()
        row |= {"examples": own["train_images"], "accuracy": run.summary["test_accuracy"]}
        yield {column: short(row[column]) for column in COLUMNS}
