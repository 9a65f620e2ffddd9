"""Numbers about populations: who shares what, and the best modules.

`figures` draws them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import numpy as np
import pandas as pd

from reuseprior.errors import UserError
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
