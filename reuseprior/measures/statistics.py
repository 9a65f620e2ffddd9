"""The statistics of every chapter, on scipy: rank correlations, bootstraps, and means over seeds.

Two kinds of trainings are told apart by one standard of proof, `told_apart`: Welch's t-test over
their seeds, two-sided at `LEVEL`. Intervals hold 95 %.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from inspect import unwrap
from itertools import permutations
from math import factorial
from typing import NamedTuple

import numpy as np
from scipy import stats

from reuseprior.errors import UserError

LEVEL = 0.05  # of tests; intervals hold the rest
RESAMPLED = 2000  # models of a bootstrap sample of `agreement` at most
LEAST = 3  # models whose order says anything
POWER = 0.8  # chance that enough seeds tell a true difference
FEW = 100  # models whose pairs are compared one by one sooner than scipy sorts them
MOST_SEEDS = 1000  # of each kind; more are no answer
# without scipy's checks of arguments, which take longer than τ itself
_tau_of_many = unwrap(stats.kendalltau)

ABOVE, BELOW, ALIKE = "scores above", "scores below", "cannot be told apart from"


# Means over seeds --------------------------------------------------------------------------------


class Sample(NamedTuple):
    """The mean of some trainings' values, their standard deviation (n − 1), and their number."""

    mean: float
    deviation: float  # NaN for one value
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Sample:
        """The sample of values.

        >>> Sample.of([1.0, 3.0])
        Sample(mean=2.0, deviation=1.414..., n=2)
        """
        deviation = np.std(values, ddof=1) if len(values) > 1 else np.nan
        if len(set(values)) == 1 < len(values):
            deviation = 0.0  # which rounding would hide: np.std([90.03] * 3) is 1.7e-14
        return cls(float(np.mean(values)), float(deviation), len(values))


@dataclass(frozen=True)
class Verdict:
    """Whether two samples can be told apart, in words and as the p of the test that says so."""

    p: float  # NaN where there is nothing to test
    word: str  # ABOVE, BELOW or ALIKE, which stand between two names
    how: str  # "Welch's t over 3 and 3 seeds, p = 0.032", or why there is no test


def told_apart(a: Sample, b: Sample, level: float = LEVEL) -> Verdict:
    """Welch's t-test over seeds, two-sided: it allows for how little few seeds say of a spread.

    >>> told_apart(Sample(96, 0.5, 2), Sample(95, 0.05, 2)).how
    "Welch's t over 2 and 2 seeds, p = 0.21"

    One seed on either side, or seeds without any spread, tell nothing apart.
    """
    if min(a.n, b.n) < 2:
        return Verdict(np.nan, ALIKE, "one seed cannot tell")
    if a.deviation == b.deviation == 0:
        return Verdict(np.nan, ALIKE, "no spread over seeds to measure the difference by")
    p = float(stats.ttest_ind_from_stats(*a, *b, equal_var=False).pvalue)
    word = ALIKE if p >= level else ABOVE if a.mean > b.mean else BELOW
    return Verdict(p, word, f"Welch's t over {a.n:.0f} and {b.n:.0f} seeds, p = {p:.2g}")


def differs(differences: Sample, level: float = LEVEL) -> Verdict:
    """Student's t-test, two-sided, of differences between two values of one run each, seed by seed.

    >>> differs(Sample(1.0, 0.1, 3)).how
    "Student's t over 3 seeds, p = 0.0033"
    """
    mean, deviation, n = differences
    if n < 2:
        return Verdict(np.nan, ALIKE, "one seed cannot tell")
    if not deviation:
        return Verdict(np.nan, ALIKE, "no spread over seeds to measure the difference by")
    p = float(2 * stats.t.sf(abs(mean) * n**0.5 / deviation, n - 1))
    word = ALIKE if p >= level else ABOVE if mean > 0 else BELOW
    return Verdict(p, word, f"Student's t over {n} seeds, p = {p:.2g}")


def seeds_needed(a: Sample, b: Sample | None = None, level: float = LEVEL) -> int | None:
    """The fewest seeds of each kind, more than there are, with which `told_apart` would find it.

    That is the observed difference, with a chance of 80 %, if the observed means and deviations are
    the true ones, by the noncentral t. With one sample, of differences, it is `differs` that finds
    it. None where 1,000 are too few, where there is no difference, and where there is no spread to
    measure it by: one seed on a side, or no deviation on either.

    >>> seeds_needed(Sample(96, 0.5, 2), Sample(95, 0.5, 2))
    6
    """
    n = np.arange(max(a.n, b.n if b else 0) + 1, MOST_SEEDS + 1)
    first, second = a.deviation**2 / n, (b.deviation**2 if b else 0.0) / n
    difference = abs(a.mean - (b.mean if b else 0.0))
    if not (difference and np.all(first + second > 0)):  # NaN is neither
        return None
    freedom = (first + second) ** 2 * (n - 1) / (first**2 + second**2)
    shift = difference / (first + second) ** 0.5
    edge = stats.t.ppf(1 - level / 2, freedom)
    power = stats.nct.sf(edge, freedom, shift) + stats.nct.cdf(-edge, freedom, shift)
    # a shift so large that the distribution underflows is found for certain, and no other
    enough = np.where(np.isnan(power), shift > edge, power >= POWER)
    return int(n[enough][0]) if enough.any() else None


def mean_interval(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means along the last axis, n seeds, and Student's interval about them, mean ± t·s/√n.

    >>> [round(float(x), 1) for x in mean_interval(np.array([1.0, 3.0]))]
    [2.0, -10.7, 14.7]

    One seed has no interval (NaN).
    """
    mean, n = values.mean(axis=-1), values.shape[-1]
    if n < 2:
        return mean, mean * np.nan, mean * np.nan
    # to three decimals, as tables print it: the committed figures were drawn with such a table
    t = stats.t.ppf(1 - LEVEL / 2, n - 1).round(3)
    half = t * values.std(axis=-1, ddof=1) / n**0.5
    return mean, mean - half, mean + half


def one_more(values: Sequence[float], of: int = 1) -> tuple[float, float]:
    """Where 95 % of further means `of` k values lie: mean ± t·s·√(1/k + 1/n), Student's prediction.

    >>> [round(x, 1) for x in one_more([1.0, 3.0])]
    [-20.0, 24.0]

    One value has no interval (NaN).
    """
    mean, deviation, n = Sample.of(values)
    if n < 2:
        return np.nan, np.nan
    half = float(stats.t.ppf(1 - LEVEL / 2, n - 1)) * deviation * (1 / of + 1 / n) ** 0.5
    return mean - half, mean + half


# Rank correlations -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Agreement:
    """A rank correlation of models, with half the width of its 95 % interval."""

    tau: float
    tau_margin: float
    rho: float
    rho_margin: float


def kendall(x: np.ndarray, y: np.ndarray) -> float:
    """Kendall's τ-b, which corrects for ties; NaN where a side does not vary."""
    if not (np.ptp(x) and np.ptp(y)):
        return float("nan")
    if not np.isfinite([x, y]).all():
        return float(stats.kendalltau(x, y).statistic)
    if len(x) <= FEW:
        ranks = (np.unique(values, return_inverse=True)[1] for values in (x, y))  # exact counts too
        a, b = (signs(values.astype(float)) for values in ranks)
        return float(np.clip(a @ b / np.sqrt(a @ a) / np.sqrt(b @ b), -1, 1))
    return float(_tau_of_many(x, y).statistic)


def spearman(x: np.ndarray, y: np.ndarray) -> float:
    """Spearman's ρ; NaN where a side does not vary."""
    return float(stats.spearmanr(x, y).statistic) if np.ptp(x) and np.ptp(y) else float("nan")


def order(x: Sequence[float], y: Sequence[float]) -> tuple[int, int]:
    """How many pairs of models two values put in the same order, and how many in the other.

    >>> order([1, 2, 3, 3], [10, 30, 20, 40])
    (4, 1)

    Pairs that are equal in either count for neither.
    """
    both = signs(np.asarray(x, float)) * signs(np.asarray(y, float))
    return int((both > 0).sum()), int((both < 0).sum())


def by_chance(x: Sequence[float], y: Sequence[float], *, seed: int = 0, draws: int = 5040) -> float:
    """The chance that values in no order agree or disagree as much as these do, by Kendall's τ.

    Of all orders of up to seven models; of more models, `draws` orders at random, this one counted.

    >>> by_chance([1, 2, 3], [10, 20, 30])  # two of six orders
    0.333...
    """
    x, y = np.asarray(x, float), np.asarray(y, float)
    if factorial(len(y)) <= draws:
        orders = np.array(list(permutations(range(len(y)))))
    else:
        random = np.random.default_rng(seed)
        orders = [np.arange(len(y)), *(random.permutation(len(y)) for _ in range(draws - 1))]
    agreeing = np.abs(signs(y[np.array(orders)]) @ signs(x))
    return float((agreeing >= abs(signs(y) @ signs(x))).mean())


_pairs = lru_cache(maxsize=8)(partial(np.triu_indices, k=1))  # of few models; many take gigabytes


def signs(values: np.ndarray) -> np.ndarray:
    """For each pair along the last axis, 1 where the first is greater, −1 where the second is."""
    n = values.shape[-1]
    one, other = _pairs(n) if n <= FEW else np.triu_indices(n, 1)
    return np.sign(values[..., one] - values[..., other])


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
    draws = (i for i in bootstrap(len(x), resamples, seed, size) if np.ptp(x[i]) and np.ptp(y[i]))
    pairs = [[kendall(x[i], y[i]), spearman(x[i], y[i])] for i in draws]  # others have no order
    tau, rho = margin(pairs) * np.sqrt(size / len(x)) if pairs else np.full(2, np.nan)
    return Agreement(kendall(x, y), float(tau), spearman(x, y), float(rho))


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
    return stats.rankdata(x), y  # so that -inf is the lowest rank and nothing else


# The bootstrap -----------------------------------------------------------------------------------


def bootstrap(n: int, resamples: int, seed: int, size: int | None = None) -> Iterator[np.ndarray]:
    """Positions of samples with replacement, `size` of n each, n of them if not given."""
    random = np.random.default_rng(seed)
    return (random.integers(n, size=size or n) for _ in range(resamples))


def margin(draws: Sequence) -> np.ndarray:
    """Half a 95 % interval: 1.96 deviations over the draws, the first axis."""
    return 1.96 * np.std(draws, axis=0)


def percentiles(draws: Sequence) -> np.ndarray:
    """The ends of a 95 % interval over the first axis, leaving out draws without a value (NaN)."""
    return np.nanquantile(draws, [LEVEL / 2, 1 - LEVEL / 2], axis=0)
