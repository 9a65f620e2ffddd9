"""Candidates for a better prior, and the cells on whose CIFAR-10 accuracies one is chosen.

The choice sees 400 cells of NAS-Bench-201 and one data set of three. Every candidate is kept with
its scores on these cells, so that what was not chosen can be read as well.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import partial
from math import log2
from pathlib import Path

import numpy as np
import pandas as pd

from reuseprior import paths
from reuseprior.chapters.beyond.cells import record_cell
from reuseprior.chapters.beyond.survey import EXPERIMENT, checked_rows, keep, short
from reuseprior.contexts import operator_paths
from reuseprior.contexts.graph import averages
from reuseprior.measures import energy
from reuseprior.measures.energy import EnergyPrior, Ensemble, NoEstimate
from reuseprior.models import nas_bench_201

CELLS = 400  # of the choice
PRIORS: tuple[tuple[EnergyPrior, float], ...] = (
    (energy.reusability(), -1.0),
    (energy.reusability(), -0.5),
    (energy.reusability(), -2.0),
    (energy.discounted(0.5), -1.0),
    (energy.discounted(0.1), -1.0),
    (energy.length_normalised(), -1.0),
    (energy.through_nonlinearities(), -1.0),
    (energy.limited_precision(24), -1.0),
    (energy.limited_precision(64), -1.0),
    (energy.averages_weighted(1), -1.0),
    (energy.averages_weighted(2), -1.0),
)
"""Energy priors with their inverse temperatures β."""
POWERS = (0.5, 1.0, 2.0)  # of the averages' coefficients


def cells() -> list[str]:
    """The cells of the choice, drawn among those that a path passes: the same in each call.

    >>> len(cells())
    400
    """
    live = [code for code in nas_bench_201.codes() if nas_bench_201.live(code) != "000000"]
    return sorted(random.Random(0).sample(live, CELLS))


def columns() -> tuple[str, ...]:
    """The columns of the kept table: estimates under energy priors, and what averages keep."""
    estimates = [f"{sum_}, {_name(*prior)}" for prior in PRIORS for sum_ in ("P_G", "P′_G")]
    kept = [_kept(power, whole) for power in POWERS for whole in (True, False)]
    return ("cell", "parameters", "layers", *kept, *estimates)


def record(folder: Path | None = None) -> Path:
    """Score the cells of the choice under every candidate; returns the run's folder."""
    folder = folder or paths.RESULTS / EXPERIMENT / "candidates"
    config = {"cells": CELLS, "columns": columns()}
    return keep(folder, config, {cell: cell for cell in cells()}, partial(map, score))


def read(folder: Path | None = None) -> pd.DataFrame:
    """The kept table, a row a cell; `ResultError` where it is not whole or has other columns."""
    folder = folder or paths.RESULTS / EXPERIMENT / "candidates"
    rows = checked_rows(folder, columns())
    cells = rows["cell"].astype(str).str.zfill(6)  # digits are read as a number
    return rows.drop(columns="cell").astype(float).assign(cell=cells)


def scores(table: pd.DataFrame) -> dict[str, pd.Series]:
    """Every candidate's scores by its name: the energy priors, and blur taken off three sums."""
    named = {name: table[name] for name in table.columns if name.startswith(("P_G,", "P′_G,"))}
    plain = _name(*PRIORS[0])
    sums = {
        "P_G": table[f"P_G, {plain}"],
        "P′_G": table[f"P′_G, {plain}"],
        "log2 parameters": np.log2(table["parameters"]),
    }
    for name, total in sums.items():
        for power in POWERS:
            for whole in (True, False):
                kept = table[_kept(power, whole)]
                which = f"power {power:g}, {'all averages' if whole else 'windows only'}"
                named[f"{name} − blur per layer, {which}"] = total + kept / table["layers"]
                named[f"{name} − blur per path, {which}"] = total + kept
    return named


def score(cell: str) -> dict:
    """A row of the table: one cell under every candidate."""
    recorded = record_cell(cell)
    counted = recorded.count()
    sizes = {
        "input_nodes": counted.input_nodes,
        "output_nodes": counted.output_nodes,
        "weight_nodes": counted.weight_nodes,
    }
    row = {
        "cell": cell,
        "parameters": counted.parameters,
        "layers": operator_paths(recorded).layers,
    }
    for power in POWERS:
        for whole in (True, False):
            found = operator_paths(recorded, averages(power, whole=whole))
            row[_kept(power, whole)] = found.log2_kept
    for prior, beta in PRIORS:
        ensemble = prior.ensemble(recorded).at(beta)
        for sum_, value in zip(("P_G", "P′_G"), _estimates(ensemble, sizes), strict=True):
            row[f"{sum_}, {_name(prior, beta)}"] = value
    return {name: short(value) for name, value in row.items()}


def _estimates(ensemble: Ensemble, sizes: dict[str, int]) -> Iterator[float]:
    """P from the total surprisal (equation 4.7) and P′ from the expected energy (4.8)."""
    each = np.log(ensemble.multiplicities) - np.log(ensemble.probabilities)
    surprisal = float(ensemble.multiplicities @ each) / np.log(2)
    scale = sizes["input_nodes"] / sum(sizes.values())
    yield log2(surprisal * scale)
    try:
        yield ensemble.performance(**sizes)
    except NoEstimate:  # its expected energy is too negative for a logarithm
        yield float("-inf")


def _name(prior: EnergyPrior, beta: float) -> str:
    return prior.name if beta == prior.beta else f"{prior.name} at β = {beta:g}"


def _kept(power: float, whole: bool) -> str:
    return f"log2 kept, power {power:g}, {'all averages' if whole else 'windows only'}"
