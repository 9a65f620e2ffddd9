"""Scores against each other on a benchmark, as `preregistration.toml` says: ρ or τ with intervals
over what is drawn together, and differences between two scores on the same bootstrap samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from reuseprior.chapters.beyond import preregistration
from reuseprior.errors import UserError
from reuseprior.measures.scores import R6, R7, S0, Score, ablations
from reuseprior.measures.statistics import LEAST, bootstrap, kendall, percentiles

MANY = 3000  # models, beyond which there are fewer samples
SAMPLES, SAMPLES_OF_MANY = 1000, 200
TOP = 0.1  # of the models, by accuracy


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, value: float, draws: Sequence[float]) -> Estimate:
        """A value, and percentiles over bootstrap samples."""
        low, high = percentiles(draws)
        return cls(float(value), float(low), float(high))

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


class Difference(Estimate):
    """A difference with its interval: better or worse only where that leaves zero out."""

    @property
    def verdict(self) -> str:
        """`better`, `worse` or `not distinguishable`."""
        return "better" if self.low > 0 else "worse" if self.high < 0 else "not distinguishable"

    def __str__(self) -> str:
        return f"{self.value:+.3f} ({self.low:+.3f} to {self.high:+.3f}) {self.verdict}"


def scores(table: pd.DataFrame, examples: float, *, more: Sequence[Score] = ()) -> pd.DataFrame:
    """The compared measures of a survey's rows (`survey.joined`), a column each, and `more`.

    T is `examples`. What has no signal path ranks lowest by each.
    """
    live = np.isfinite(table["blur"])
    simple = {
        "parameters on live paths": table["parameters"],
        "multiply-adds": table["multiply_adds"],
        "P_G": table["P_G"],
        "P′_G": table["P_G_spread"],
    }
    found = {name: values.where(live, -np.inf) for name, values in simple.items()}
    found |= {score.name: score(table, examples) for score in (S0, R6, R7, *more)}
    return pd.DataFrame(found, index=table.index)


def variants() -> tuple[Score, ...]:
    """R6 without each of its terms, and with other constants in the place of ¼."""
    weights = preregistration.settled()["scores"]["sensitivity"]
    others = [Score(f"R6 with {w:g}", w, R6.sizes) for w in weights if w != R6.weight]
    return (*ablations(R6).values(), *others)


def compare(
    found: pd.DataFrame,
    accuracies: pd.DataFrame,
    alike: pd.Series | None = None,
    *,
    by: str = "rho",
    against: str = "R6",
    seed: int = 0,
    resamples: int | None = None,
) -> pd.DataFrame:
    """A row a measure: its agreement with the accuracies, and what `against` has more than it.

    Columns `agreement` (an `Estimate`) and `difference` (a `Difference`; None for itself). Several
    columns of accuracies count as their mean agreement. Models of equal `alike` are drawn together.
    `by` is rho or tau. Raises UserError for NaN, and for fewer than three models.
    """
    one = _agreements(by)
    x, y = _checked(found, accuracies)
    rows = list(_draws(alike, len(x), seed, resamples))
    draws = np.array([one(x[drawn], y[drawn]) for drawn in rows]).reshape(len(rows), x.shape[1])
    whole = one(x, y)
    first = list(found.columns).index(against)
    result = {}
    for i, name in enumerate(found.columns):
        gap = Difference.of(whole[first] - whole[i], draws[:, first] - draws[:, i])
        result[name] = (Estimate.of(whole[i], draws[:, i]), gap if i != first else None)
    return pd.DataFrame.from_dict(result, orient="index", columns=["agreement", "difference"])


def agreements(found: pd.DataFrame, accuracies: pd.DataFrame, *, by: str = "rho") -> pd.Series:
    """Each measure's agreement as `compare` has it, without intervals."""
    return pd.Series(_agreements(by)(*_checked(found, accuracies)), index=found.columns)


def within(
    found: pd.DataFrame,
    accuracy: pd.Series,
    group: pd.Series,
    *,
    against: str = "R6",
    seed: int = 0,
    resamples: int = SAMPLES,
    models: bool = False,
) -> pd.DataFrame:
    """As `compare`, for the mean of τ within groups, each weighted by its pairs.

    Samples are of groups; of models within each group, with `models`. Groups of fewer than three
    models, or of equal accuracies, are left out, and a measure that is equal in a group has τ 0
    there.
    """
    parts = [
        (found.loc[rows].to_numpy(float), accuracy[rows].to_numpy(float))
        for rows in group.groupby(group).groups.values()
        if len(rows) >= LEAST and accuracy[rows].nunique() > 1
    ]
    if not parts:
        raise UserError("No group has three models of different accuracies.")
    random = np.random.default_rng(seed)

    def pooled(chosen) -> np.ndarray:
        taus, pairs = [], []
        for x, y in chosen:
            n = len(y)
            taus.append([np.nan_to_num(kendall(column, y)) for column in _places(x).T])
            pairs.append(n * (n - 1) / 2)
        return np.average(taus, axis=0, weights=pairs)

    def drawn():
        if models:
            return [(x[i], y[i]) for x, y in parts for i in [random.integers(len(y), size=len(y))]]
        return [parts[i] for i in random.integers(len(parts), size=len(parts))]

    whole = pooled(parts)
    if models:
        draws = np.array([pooled(drawn()) for _ in range(resamples)])
    else:  # τ of a group is the same in each sample
        taus = np.array([pooled([part]) for part in parts])
        pairs = np.array([len(y) * (len(y) - 1) / 2 for _, y in parts])
        chosen = [random.integers(len(parts), size=len(parts)) for _ in range(resamples)]
        draws = np.array([np.average(taus[i], axis=0, weights=pairs[i]) for i in chosen])
    first = list(found.columns).index(against)
    return pd.DataFrame.from_dict(
        {
            name: (
                Estimate.of(whole[i], draws[:, i]),
                Difference.of(whole[first] - whole[i], draws[:, first] - draws[:, i])
                if i != first
                else None,
            )
            for i, name in enumerate(found.columns)
        },
        orient="index",
        columns=["agreement", "difference"],
    )


def difference_of_differences(
    found: pd.DataFrame,
    accuracy: pd.Series,
    family: pd.Series,
    chosen: pd.Series,
    a: str,
    b: str,
    *,
    seed: int = 0,
    resamples: int = SAMPLES,
) -> dict[str, Difference]:
    """τ of `a` less τ of `b`: among the chosen models, among the others, and the difference.

    Whether an advantage is another here than there is one question, with an interval of its own
    over resampled families of either kind; that one of them is distinguishable from zero and the
    other is not does not answer it.
    """
    kinds = []
    for part in (chosen, ~chosen):
        x, y = _checked(found.loc[part, [a, b]], accuracy[part].to_frame())
        rows = list(_draws(family[part], len(x), seed, resamples))
        taus = [_kendalls(x[i], y[i]) for i in rows]
        whole = _kendalls(x, y)
        kinds.append((whole[0] - whole[1], np.array([t[0] - t[1] for t in taus])))
    (here, draws_here), (there, draws_there) = kinds
    return {
        "chosen": Difference.of(here, draws_here),
        "the others": Difference.of(there, draws_there),
        "difference": Difference.of(here - there, draws_here - draws_there),
    }


def at_the_top(found: pd.DataFrame, accuracy: pd.Series, alike: pd.Series | None, **options):
    """`compare` among the tenth of the models with the highest accuracies."""
    best = accuracy >= accuracy.quantile(1 - TOP)
    own = None if alike is None else alike[best]
    return compare(found[best], accuracy[best].to_frame(), own, **options)


def best_by(found: pd.DataFrame, accuracies: pd.DataFrame) -> pd.DataFrame:
    """A row a measure: the mean accuracies of the models with its highest score."""
    rows = {name: accuracies[values == values.max()].mean() for name, values in found.items()}
    return pd.DataFrame(rows).T


def _agreements(by: str) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    kinds = {"rho": _spearmans, "tau": _kendalls}
    if by not in kinds:
        raise UserError(f"by={by!r}: choose rho or tau")
    return kinds[by]


def _spearmans(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Mean over y's columns of Spearman's ρ with each of x's columns."""
    both = _ranks(np.hstack([x, y]))
    both -= both.mean(axis=0)
    size = np.sqrt((both**2).sum(axis=0))
    with np.errstate(invalid="ignore"):  # a measure that does not vary has no ρ
        both /= size
    n = x.shape[1]
    return (both[:, :n].T @ both[:, n:]).mean(axis=1)


def _kendalls(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.array([np.mean([kendall(a, b) for b in y.T]) for a in x.T])


def _places(x: np.ndarray) -> np.ndarray:
    """Each column's values as whole numbers in the same order, 0 for the least."""
    return np.array([np.unique(column, return_inverse=True)[1] for column in x.T]).T


def _ranks(places: np.ndarray) -> np.ndarray:
    """Each column's ranks, the mean one for equal places: counted, as sorting takes longer."""
    made = []
    for column in places.T:
        times = np.bincount(column)
        made.append((times.cumsum() - (times - 1) / 2)[column])
    return np.array(made).T


def _checked(found: pd.DataFrame, accuracies: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """The places of the scores and of the accuracies, a column each."""
    x, y = found.to_numpy(float), accuracies.to_numpy(float)
    if len(x) < LEAST:
        raise UserError(f"{len(x)} models: an order needs at least {LEAST}.")
    if np.isnan(x).any() or np.isnan(y).any():
        raise UserError("A score or an accuracy is NaN: leave such models out, and say so.")
    return _places(x), _places(y)


def _draws(
    alike: pd.Series | None, n: int, seed: int, resamples: int | None
) -> Iterator[np.ndarray]:
    """Rows of bootstrap samples; models of equal `alike` are drawn together."""
    if resamples is None:
        resamples = SAMPLES_OF_MANY if n > MANY else SAMPLES
    if alike is None:
        yield from bootstrap(n, resamples, seed)
        return
    group = pd.factorize(alike)[0]
    order = np.argsort(group, kind="stable")
    members = np.split(order, np.flatnonzero(np.diff(group[order])) + 1)
    for drawn in bootstrap(len(members), resamples, seed):
        yield np.concatenate([members[i] for i in drawn])
