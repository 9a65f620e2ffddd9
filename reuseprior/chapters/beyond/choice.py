"""Our own choice of a score, to see how much its constant matters; every candidate is kept.

It sees CIFAR-10 on about 1,000 cells of NAS-Bench-201 and half of torchvision's families, and
nothing else. Isomorphic cells stand on the same side (`models.nas_bench_201.structure`).
"""

from __future__ import annotations

import random
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from reuseprior import paths
from reuseprior.chapters.beyond import preregistration, survey
from reuseprior.chapters.beyond.survey import EXPERIMENT, checked_rows, keep, short
from reuseprior.measures.scores import SIZES, Score
from reuseprior.measures.statistics import spearman

COLUMNS = ("score", "weight", "sizes", "rho_cells", "rho_classifiers", "sum")
EIGHTHS = 16  # constants from 0 to 2


def candidates() -> list[Score]:
    """Constants in eighths, and sizes in every combination; and no size at all.

    >>> len(candidates())
    113
    """
    found = [Score("no size")]
    for n in range(1, len(SIZES) + 1):
        for sizes in combinations(SIZES, n):
            for eighth in range(1, EIGHTHS + 1):
                weight = eighth / 8
                found.append(Score(f"{weight:g} ({' + '.join(sizes)})", weight, sizes))
    return found


def cells_of(table: pd.DataFrame) -> pd.Series:
    """Which of NAS-Bench-201's cells the choice sees: whole structures, at least 1,000 cells."""
    settled = preregistration.settled()["choice"]
    structures = sorted(set(table["alike"]))
    random.Random(settled["seed"]).shuffle(structures)
    sizes = table["alike"].value_counts()
    reached = np.cumsum([sizes[s] for s in structures])
    chosen = structures[: int(np.searchsorted(reached, settled["cells"])) + 1]
    return table["alike"].isin(chosen)


def classifiers_of(table: pd.DataFrame) -> pd.Series:
    """Which of torchvision's classifiers the choice sees: half of the families."""
    families = sorted(set(table["family"]))
    random.Random(preregistration.settled()["choice"]["seed"]).shuffle(families)
    return table["family"].isin(families[: len(families) // 2])


def record(folder: Path | None = None) -> Path:
    """Score the choice sets under every candidate; returns the run's folder."""
    cells, zoo = survey.joined("nas-bench-201"), survey.joined("torchvision")
    cells, zoo = cells[cells_of(cells)], zoo[classifiers_of(zoo)]

    def rows(todo):
        for score in todo:
            rho = [
                spearman(_ranked(score(table, preregistration.examples(name, data))), table[data])
                for name, table, data in (
                    ("nas-bench-201", cells, "cifar10"),
                    ("torchvision", zoo, "top1"),
                )
            ]
            values = (score.name, score.weight, " + ".join(score.sizes), *rho, sum(rho))
            yield {n: short(v) for n, v in zip(COLUMNS, values, strict=True)}

    config = {
        "columns": COLUMNS,
        "cells": len(cells),
        "classifiers": len(zoo),
        "preregistration": preregistration.sha256(),
    }
    folder = folder or paths.RESULTS / EXPERIMENT / "choice"
    return keep(folder, config, {score.name: score for score in candidates()}, rows)


def read(folder: Path | None = None) -> pd.DataFrame:
    """Every candidate with its ρ on the two choice sets, the best sum first."""
    rows = checked_rows(folder or paths.RESULTS / EXPERIMENT / "choice", COLUMNS)
    rows["sizes"] = rows["sizes"].fillna("")
    numbers = ["weight", "rho_cells", "rho_classifiers", "sum"]
    return rows.astype(dict.fromkeys(numbers, float)).sort_values("sum", ascending=False)


def best(table: pd.DataFrame) -> Score:
    """The candidate with the greatest sum, of those in `read`'s table."""
    row = table.iloc[0]
    return Score(row["score"], row["weight"], tuple(filter(None, row["sizes"].split(" + "))))


def _ranked(scores: pd.Series) -> np.ndarray:
    """Ranks, so that a score of -inf is the lowest and nothing else."""
    return scores.rank().to_numpy()
