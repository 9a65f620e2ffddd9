"""Networks that this project trained, which no score was formed on: the confirmation.

Five groups, each with one protocol and one data set, trained for a few epochs on small images. Of
Revolver's populations only the best networks' blueprints are kept, so they are left out.
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import pandas as pd
from torch import nn

from reuseprior import paths, results
from reuseprior.chapters.beyond import preregistration, survey
from reuseprior.chapters.beyond.survey import EXPERIMENT, checked_rows, keep, short
from reuseprior.contexts import record_model
from reuseprior.measures.measuring import measured
from reuseprior.measures.nn_mass import Architecture, LongRangeCNN
from reuseprior.models import Recipe, without_weights
from reuseprior.results import Run

COLUMNS = ("model", "group", "examples", "accuracy", "seeds", *survey.COLUMNS[1:])


def networks() -> dict[str, list[Run]]:
    """The finished runs of each trained network, by its experiment and name without the seed."""
    found: dict[str, list[Run]] = {}
    for experiment in preregistration.settled()["confirmation"]["experiments"]:
        for run in results.runs(experiment):
            if run.summary["state"] == "finished":
                name = run.name.rpartition("-seed")[0]
                found.setdefault(f"{experiment}/{name}", []).append(run)
    return found


def record(folder: Path | None = None) -> Path:
    """Measure every trained network at the size it was tested at; returns the run's folder."""
    config = {"columns": COLUMNS, "preregistration": preregistration.sha256()}
    folder = folder or paths.RESULTS / EXPERIMENT / "own"
    return keep(folder, config, dict(networks().items()), partial(map, _row))


def read(folder: Path | None = None) -> pd.DataFrame:
    """A row a network: its group, T, mean accuracy (a part of one) over seeds, and measures."""
    rows = checked_rows(folder or paths.RESULTS / EXPERIMENT / "own", COLUMNS)
    numbers = [n for n in COLUMNS if n not in ("model", "group", "reason", "image_size")]
    return rows.astype(dict.fromkeys(numbers, float))


def _row(runs: list[Run]) -> dict:
    start = time.perf_counter()
    first = runs[0]
    config, protocol = first.config, first.config["protocol"]
    experiment = first.folder.parent.name
    size = protocol["test_image_size"] or protocol["image_size"]
    network = _built(config)
    shape = (1, protocol["channels"], size, size)
    recorded = record_model(network, shape)
    name = f"{experiment}/{first.name.rpartition('-seed')[0]}"
    found = measured(
        name,
        recorded,
        recorded.count().quantities(),
        image_size=size,
        shape=shape,
        held=sum(p.numel() for p in network.parameters()),
        start=start,
    )
    accuracies = [run.summary["test_accuracy"] for run in runs]
    row = dict.fromkeys(COLUMNS) | found.row()
    row |= {
        "group": f"{experiment}, {config['model']}" if experiment == "channels" else experiment,
        "examples": config["images"]["train"],
        "accuracy": sum(accuracies) / len(accuracies),
        "seeds": len(accuracies),
    }
    return {column: short(row[column]) for column in COLUMNS}


def _built(config: dict) -> nn.Module:
    """The network that a run's configuration says, without weights."""
    if "architecture" not in config:
        return Recipe.recorded(config).build(lazy=True)
    shape = config["architecture"]
    one = Architecture(shape["depth"], tuple(shape["widths"]), tuple(shape["candidates"]))
    with without_weights():
        return LongRangeCNN(one, classes=config["classes"], seed=config["seed"])
