"""How well a measure orders models by their accuracy: Kendall's τ and Spearman's ρ."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import kendalltau, spearmanr

from reuseprior.errors import UserError, did_you_mean

RESAMPLED = 2000  # models of a bootstrap sample at most
LEAST = 3  # models of a group whose order says anything
LEVEL = 0.95  # of intervals
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


@dataclass(frozen=True)
class Agreement:
    """A rank correlation of models, with half the width of its 95 % interval."""

    tau: float
    tau_margin: float
    rho: float
    rho_margin: float


@dataclass(frozen=True)
class Difference:
    """τ of one measure less τ of another on the same models, and its 95 % interval."""

    tau: float
    low: float
    high: float

    def __str__(self) -> str:
        verdict = "better" if self.low > 0 else "worse" if self.high < 0 else "not distinguishable"
        return f"{self.tau:+.3f} ({self.low:+.3f} to {self.high:+.3f}) {verdict}"


def agreement(
    scores: Sequence[float], accuracies: Sequence[float], *, seed: int = 0, resamples: int = 200
) -> Agreement:
    """τ-b and ρ of scores and accuracies, with 1.96 bootstrap deviations as margins.

    >>> agreement([1, 2, 3, 4], [10, 20, 30, 40], resamples=0).tau
    1.0

    Scores may be infinite; among equal ones there is no order, and τ and ρ are NaN. Without
    resamples the margins are. Beyond 2,000 models a sample holds 2,000, and its deviation is scaled
    by √(2000/n). Raises UserError for unequal lengths, fewer than three models, and NaN.
    """
    x, y = _checked(scores, accuracies)
    size = min(len(x), RESAMPLED)
    random = np.random.default_rng(seed)
    draws = [random.integers(len(x), size=size) for _ in range(resamples)]
    draws = [i for i in draws if np.ptp(x[i]) and np.ptp(y[i])]  # others have no order
    found = np.array([[_tau(x[i], y[i]), _rho(x[i], y[i])] for i in draws]).reshape(-1, 2)
    deviations = found.std(axis=0) if len(found) else np.full(2, np.nan)
    margins = 1.96 * np.sqrt(size / len(x)) * deviations
    return Agreement(_tau(x, y), float(margins[0]), _rho(x, y), float(margins[1]))


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
) -> Difference:
    """τ of measure `a` less that of `b`, with percentiles over bootstrap samples of the models.

    Both measures, names or functions of one's own, see the same sample. With `by`, whole groups of
    equal `by` are drawn, for models of one family say much the same.

    >>> str(paired(survey.joined("timm"), "top1", "P_G", "multiply-adds", by="family"))
    """
    first, second = (_find(m) if isinstance(m, str) else m for m in (a, b))
    x, accuracies = _checked(first(table), _column(table, accuracy))
    y, _ = _checked(second(table), accuracies)
    groups = pd.factorize(_column(table, by))[0] if by else np.arange(len(table))
    order = np.argsort(groups, kind="stable")
    members = np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)
    random = np.random.default_rng(seed)

    def difference(rows: np.ndarray) -> float:
        return _tau(x[rows], accuracies[rows]) - _tau(y[rows], accuracies[rows])

    draws = (random.integers(len(members), size=len(members)) for _ in range(resamples))
    found = [difference(np.concatenate([members[i] for i in drawn])) for drawn in draws]
    low, high = np.nanquantile(found, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Difference(difference(order), float(low), float(high))


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
        random = np.random.default_rng(seed)
        draws = random.integers(len(groups), size=(resamples, len(groups)))
        means = [np.average(values[i], axis=0, weights=pairs[i]) for i in draws]
        tau, rho = np.average(values, axis=0, weights=pairs)
        margins = 1.96 * np.std(means, axis=0)
        rows[measure] = [tau, margins[0], rho, margins[1]]
    return pd.DataFrame.from_dict(rows, orient="index", columns=["τ", "τ ±", "ρ", "ρ ±"])


def _checked(scores: Sequence[float], accuracies: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """The scores' ranks and the accuracies, one of each a model."""
    x, y = np.asarray(scores, float), np.asarray(accuracies, float)
    if len(x) != len(y) or len(x) < LEAST:
        raise UserError(
            f"{len(x)} scores and {len(y)} accuracies: pass one of each a model, for at least "
            f"{LEAST} models."
        )
    if np.isnan(x).any() or np.isnan(y).any():
        raise UserError("A score or an accuracy is NaN: leave such models out, and say so.")
    return pd.Series(x).rank().to_numpy(), y  # so that -inf is the lowest rank and nothing else


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


def _tau(x: np.ndarray, y: np.ndarray) -> float:
    return float(kendalltau(x, y).statistic) if np.ptp(x) and np.ptp(y) else float("nan")


def _rho(x: np.ndarray, y: np.ndarray) -> float:
    return float(spearmanr(x, y).statistic) if np.ptp(x) and np.ptp(y) else float("nan")
