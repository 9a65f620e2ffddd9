"""How well a measure orders models by their accuracy: Kendall's τ and Spearman's ρ."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from reuseprior.errors import UserError, did_you_mean
from reuseprior.measures.statistics import (
    LEAST,
    TauDifference,
    agreement,
    bootstrap,
    margin,
    tau_difference,
)

SIZE = 224  # pixels a side, where image sizes are made equal

Measure = Callable[[pd.DataFrame], pd.Series]


def _of_a_path(measure: Measure) -> Measure:
    """The measure, and the lowest rank for models whose output no input reaches."""
    return lambda table: measure(table).where(np.isfinite(table["blur"]), -np.inf)


def at_equal_size(table: pd.DataFrame) -> pd.Series:
    """P_G as if every model took 224×224 pixels: the same surprisal, without the image's size."""
    n_i, n_o = 3 * SIZE**2, 1000
    scale = n_i / (n_i + n_o + table["parameters"])
    return np.log2(table["total_surprisal"] * scale)


MEASURES: dict[str, Measure] = {
    "parameters": lambda t: t["held"],
    "parameters on live paths": _of_a_path(lambda t: t["parameters"]),
    "multiply-adds": _of_a_path(lambda t: t["multiply_adds"]),
    "image size": lambda t: t["image_size"],
    "expected spread": _of_a_path(lambda t: t["expected_spread"]),
    "entropy": _of_a_path(lambda t: t["entropy"]),
    "P_G": _of_a_path(lambda t: t["P_G"]),
    "P_G at equal image size": _of_a_path(at_equal_size),
    "P′_G": _of_a_path(lambda t: t["P_G_spread"]),
    "P_G − blur": lambda t: t["P_G"] - t["blur"],
    "P_G − blur, all averages": lambda t: t["P_G"] - t["blur_all"],
    "P′_G − blur": lambda t: t["P_G_spread"] - t["blur"],
    "log2 parameters − blur": lambda t: np.log2(t["parameters"]) - t["blur"],
}
"""Measures by name, as functions of a survey's table (`survey.joined`). Greater should be better;
a model without a path from input to output ranks lowest. A further one is one more entry."""


def compare(
    table: pd.DataFrame,
    accuracy: str,
    measures: Mapping[str, Measure] | Sequence[str] = tuple(MEASURES),
    *,
    seed: int = 0,
    resamples: int = 200,
) -> pd.DataFrame:
    """A row a measure: τ and ρ with the column `accuracy`, and their margins.

    `measures` are names of `MEASURES`, or a mapping of one's own. Raises UserError for a name or a
    column that is not there.
    """
    accuracies = _column(table, accuracy)
    chosen = measures if isinstance(measures, Mapping) else {n: _find(n) for n in measures}
    rows = {
        name: agreement(measure(table), accuracies, seed=seed, resamples=resamples)
        for name, measure in chosen.items()
    }
    return pd.DataFrame.from_dict(
        {name: (a.tau, a.tau_margin, a.rho, a.rho_margin) for name, a in rows.items()},
        orient="index",
        columns=["τ", "τ ±", "ρ", "ρ ±"],
    )


def paired(
    table: pd.DataFrame,
    accuracy: str,
    a: str | Measure,
    b: str | Measure,
    *,
    by: str | None = None,
    seed: int = 0,
    resamples: int = 1000,
) -> TauDifference:
    """τ of measure `a` less that of `b`, with percentiles over bootstrap samples of the models.

    Both measures, names or functions of one's own, see the same sample. With `by`, whole groups of
    equal `by` are drawn, for models of one family say much the same.

    >>> from reuseprior.works.beyond import survey
    >>> timm = survey.joined("timm")
    >>> str(paired(timm, "top1", "P_G", "multiply-adds", by="family", resamples=100))
    '+0.039 ... not distinguishable'
    """
    first, second = (_find(m)(table) if isinstance(m, str) else m(table) for m in (a, b))
    groups = _column(table, by) if by else None
    accuracies = _column(table, accuracy)
    return tau_difference(first, second, accuracies, groups, seed=seed, resamples=resamples)


def within(table: pd.DataFrame, accuracy: str, by: str, measure: str) -> pd.DataFrame:
    """A row a group of equal `by`: how many models, and τ and ρ among them.

    Groups of fewer than three models, of equal accuracies or of equal scores, are left out.
    """
    rows = []
    for group, part in table.groupby(by):
        scores = _find(measure)(part)
        if len(part) < LEAST or part[accuracy].nunique() < 2 or scores.nunique() < 2:
            continue
        found = agreement(scores, part[accuracy], resamples=0)
        rows.append((group, len(part), found.tau, found.rho))
    return pd.DataFrame(rows, columns=[by, "models", "τ", "ρ"])


def mean_within(
    table: pd.DataFrame,
    accuracy: str,
    by: str,
    measures: Sequence[str],
    *,
    seed: int = 0,
    resamples: int = 200,
) -> pd.DataFrame:
    """A row a measure: means of τ and ρ within groups, each weighted by its number of pairs.

    Margins are 1.96 bootstrap deviations over resampled groups. NaN without any group.
    """
    rows = {}
    for measure in measures:
        groups = within(table, accuracy, by, measure)
        if groups.empty:
            rows[measure] = [np.nan] * 4
            continue
        pairs = (groups["models"] * (groups["models"] - 1) / 2).to_numpy()
        values = groups[["τ", "ρ"]].to_numpy()
        draws = bootstrap(len(groups), resamples, seed)
        margins = margin([np.average(values[i], axis=0, weights=pairs[i]) for i in draws])
        tau, rho = np.average(values, axis=0, weights=pairs)
        rows[measure] = [tau, margins[0], rho, margins[1]]
    return pd.DataFrame.from_dict(rows, orient="index", columns=["τ", "τ ±", "ρ", "ρ ±"])


def _column(table: pd.DataFrame, name: str) -> pd.Series:
    if name not in table.columns:
        raise UserError(
            f"no column {name!r}{did_you_mean(name, table.columns)}: the table has "
            f"{', '.join(table.columns)}"
        )
    return table[name]


def _find(name: str) -> Measure:
    if name not in MEASURES:
        raise UserError(
            f"no measure {name!r}{did_you_mean(name, MEASURES)}: there are {', '.join(MEASURES)}"
        )
    return MEASURES[name]
