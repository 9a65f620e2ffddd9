"""Revolver with R6 as a genotype's fitness, beside algorithm 2, for as many generations.

Two searches a seed, alike but for the fitness of untrained blueprints: the same data and as many
generations and replacements. How many batches a turn takes is the search's own choice.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from reuseprior import data, paths
from reuseprior.chapters.beyond.survey import EXPERIMENT, checked_rows, keep, short
from reuseprior.measures.statistics import Sample, differs, mean_interval
from reuseprior.revolver import Search, Settings

PRESET = "quick"
SEEDS = range(10)
FITNESS = ("thesis", "R6")
"""Algorithm 2 of the thesis, and the score of chapter 6."""
COLUMNS = (
    "search", "fitness", "seed", "test_accuracy", "validation_accuracy",
    "mean_validation_accuracy", "parameters", "generations", "batches", "seconds",
)  # fmt: skip
"""A row a search. Accuracies are those of the best individual by validation, in parts of one, and
the mean over the last 200 trainings; `seconds` are those of the whole search."""

COMPARED = ("test_accuracy", "mean_validation_accuracy", "parameters", "batches", "seconds")


def record(folder: Path | None = None) -> Path:
    """Run the searches, a minute each; goes on where it was stopped. Returns the run's folder."""
    config = {"columns": COLUMNS, "preset": PRESET, "fitness": FITNESS, "seeds": len(SEEDS)}
    tasks = {f"{fitness}-seed{seed}": (fitness, seed) for seed in SEEDS for fitness in FITNESS}
    return keep(folder or paths.RESULTS / EXPERIMENT / "genotypes", config, tasks, _rows)


def read(folder: Path | None = None) -> pd.DataFrame:
    """The recorded rows, checked against the summary's checksum (ResultError)."""
    return checked_rows(folder or paths.RESULTS / EXPERIMENT / "genotypes", COLUMNS)


def compared(found: pd.DataFrame) -> pd.DataFrame:
    """R6 less algorithm 2 by seed: mean, Student's interval, and whether it differs from none."""
    rows = {}
    for column in COMPARED:
        of = found.pivot(index="seed", columns="fitness", values=column)
        gaps = (of["R6"] - of["thesis"]).astype(float)
        mean, low, high = mean_interval(gaps.to_numpy())
        verdict = differs(Sample.of(gaps))
        means = {fitness: of[fitness].mean() for fitness in FITNESS}
        rows[column] = means | {"difference": mean, "from": low, "to": high, "test": verdict.how}
    return pd.DataFrame.from_dict(rows, orient="index")


def _rows(todo: list[tuple[str, int]]) -> Iterator[dict]:
    for fitness, seed in todo:
        start = time.perf_counter()
        settings = Settings.load(PRESET, fitness=fitness)
        search = Search.start(settings, data.load(settings.data), seed=seed)
        while not search.complete:
            search.step()
        row = search.summary() | {"search": f"{fitness}-seed{seed}", "fitness": fitness}
        row["seconds"] = round(time.perf_counter() - start, 1)
        yield {column: short(row[column]) for column in COLUMNS}
