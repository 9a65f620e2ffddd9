"""Numbers about populations and searches: who shares what, the best modules, ranks, intervals.

`figures` draws them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from reuseprior.errors import UserError
from reuseprior.measures import statistics
from reuseprior.revolver.evolution.population import ModuleScore, Population


class TableError(UserError):
    """Data that a table cannot be made of; the message says what is missing."""


def sharing_table(population: Population) -> pd.DataFrame:
    """How often each individual uses each shared module: modules × individuals.

    Rows are the registered names of modules with parameters of their own that are used in two
    places or more, those that most individuals hold first; columns are the individuals' numbers,
    similar ones side by side. Two individuals of one and the same shared convolution give one row
    of two ones.
    """
    uses = pd.DataFrame(
        {
            individual.number: {
                name: use.times for name, use in individual.modules.items() if use.parameters
            }
            for individual in population
        }
    )
    uses = uses.fillna(0).astype(int)
    uses = uses[uses.sum(axis=1) > 1]
    order = sorted(uses.index, key=lambda name: (-(uses.loc[name] > 0).sum(), name))
    uses = uses.loc[order]
    return uses.iloc[:, _side_by_side(uses.to_numpy().T > 0)]


def _side_by_side(held: np.ndarray) -> list[int]:
    """An order of rows in which each is followed by the most similar of those left (Jaccard)."""
    if not held.size:
        return list(range(len(held)))
    common = held.astype(int) @ held.T.astype(int)
    counts = held.sum(axis=1)
    similar = common / np.maximum(counts[:, None] + counts - common, 1)
    order = [int(counts.argmax())]
    left = set(range(len(held))) - set(order)
    while left:
        order.append(max(sorted(left), key=lambda row: similar[order[-1], row]))
        left.remove(order[-1])
    return order


def shared_parts(population: Population) -> pd.Series:
    """For each individual, the part of its parameters that another individual holds as well."""
    holders: dict[str, int] = {}
    for individual in population:
        for name in individual.modules:
            holders[name] = holders.get(name, 0) + 1
    parts = {}
    for individual in population:
        shared = sum(
            use.parameters for name, use in individual.modules.items() if holders[name] > 1
        )
        parts[individual.number] = shared / max(individual.parameters, 1)
    return pd.Series(parts, name="shared part of the parameters")


def module_table(
    modules: Iterable[ModuleScore] | pd.DataFrame,
    *,
    kinds: Collection[str] = ("conv",),
    individuals: int = 2,
    top: int = 15,
) -> pd.DataFrame:
    """The shared modules of the best scores, as the thesis's table C.1; lower is better.

    `modules` is `population.ranking()`, or `modules.csv` of a recorded search. Only modules of
    these kinds are ranked that at least so many individuals hold.
    """
    table = pd.DataFrame(modules, columns=ModuleScore._fields)
    table = table[table.kind.isin(kinds) & (table.individuals >= individuals)]
    table = table.sort_values(["score", "name"]).head(top)
    sizes = [f"{int(k)}x{int(k)}" if pd.notna(k) else "" for k in table.kernel_size]
    return pd.DataFrame(
        {
            "input channels": table.in_channels,
            "output channels": table.out_channels,
            "kernel size": sizes,
            "score": table.score,
            "parameters": table.parameters,
            "individuals": table.individuals,
            "uses": table.uses,
            "name": table.name,
        }
    ).set_axis(range(1, len(table) + 1))


@dataclass(frozen=True)
class RankCorrelation:
    """How alike two orders are: 1 the same, 0 unrelated, −1 the reverse."""

    pairs: int
    spearman: float
    kendall: float  # tau-b, which corrects for ties

    def __str__(self) -> str:
        return (
            f"Spearman's ρ {self.spearman:.2f}, Kendall's τ {self.kendall:.2f} "
            f"({self.pairs} individuals)"
        )


def rank_correlation(x: Sequence[float], y: Sequence[float]) -> RankCorrelation:
    """Spearman's and Kendall's rank correlations of two measures of the same individuals.

    >>> print(rank_correlation([1, 2, 3, 4], [10, 30, 20, 40]))
    Spearman's ρ 0.80, Kendall's τ 0.67 (4 individuals)

    Pairs with a missing value are left out. Raises `TableError` for fewer than three pairs, or a
    measure that is the same for all.
    """
    pairs = pd.DataFrame({"x": np.asarray(x, float), "y": np.asarray(y, float)}).dropna()
    if len(pairs) < 3 or min(pairs.nunique()) < 2:
        raise TableError(
            f"a rank correlation of {len(pairs)} pairs of {pairs.x.nunique()} and "
            f"{pairs.y.nunique()} different values says nothing: give 3 pairs or more that differ"
        )
    values = pairs.x.to_numpy(), pairs.y.to_numpy()
    return RankCorrelation(len(pairs), statistics.spearman(*values), statistics.kendall(*values))


def mean_interval(tables: Sequence[pd.DataFrame], column: str) -> pd.DataFrame:
    """Mean over seeds of a column, by generation, with its 95 % confidence interval.

    Student's t interval, mean ± t·s/√n; with one seed there is none (NaN). Generations that not
    all runs have reached are left out. The values 1 and 3 have mean 2 and the interval −10.7 to
    14.7: two seeds say little.
    """
    if not tables:
        raise TableError(f"there are no runs to take the mean of {column!r} of: give one or more")
    for table in tables:
        if column not in table:
            raise TableError(
                f"the generations table has no column {column!r}: it has {', '.join(table)}"
            )
    values = pd.concat([table.set_index("generation")[column] for table in tables], axis=1)
    values = values.astype(float).dropna()
    mean, low, high = statistics.mean_interval(values.to_numpy())
    interval = {"mean": mean, "low": low, "high": high, "seeds": values.shape[1]}
    return pd.DataFrame(interval, index=values.index)
