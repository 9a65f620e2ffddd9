"""Populations and searches in tables and figures: who shares what, who comes from whom."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import QuadMesh
from matplotlib.colors import BoundaryNorm, ListedColormap, Normalize
from matplotlib.figure import Figure

from reuseprior.errors import UserError
from reuseprior.plotting import PAGE_WIDTH, PLAIN, STRONG, Picture
from reuseprior.revolver.population import ModuleScore, Population

# Tables -------------------------------------------------------------------------------------------


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
    holders = Counter(name for individual in population for name in individual.modules)
    parts = {
        one.number: sum(u.parameters for name, u in one.modules.items() if holders[name] > 1)
        / max(one.parameters, 1)
        for one in population
    }
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


# Figures ------------------------------------------------------------------------------------------

MARKERS = {
    "initial": "o",
    "mutation": "v",
    "crossover": "X",
    "copyover": "s",
    "immigration": "*",
    "random": "D",
}
USES = {1: "1", 2: "2", 3: "3–4", 5: "5–8", 9: "9 or more"}  # from so many uses on: a colour
MANY = 1e9  # uses that nothing has
BLUES = ("#C6D8EA", "#7FAFD6", "#3B7FBF", "#0B4A8A", "#062B52")
NUMBERED = 24  # individuals up to which uses stand in the map as numbers too


def sharing_map(population: Population, *, top: int = 30) -> Figure:
    """Who shares what: shared modules × individuals, darker where a module is used more often.

    The bars above are the part of each individual's parameters that others hold as well. Shown
    are the `top` modules that most individuals hold; `sharing_table` has all of them.
    """
    table, parts = sharing_table(population), shared_parts(population)
    shown, columns = table.head(top), len(population)
    height = 0.14 * max(len(shown), 3)  # inches
    fig = Picture(figsize=(PAGE_WIDTH, 1.4 + height), layout="constrained")
    bars, cells = fig.subplots(2, 1, sharex=True, height_ratios=[0.5, height])
    numbers = list(shown.columns)
    bars.bar(range(columns), parts[numbers], width=0.8, color="#0072B2")
    bars.set(ylim=(0, 1), yticks=[0, 0.5, 1], ylabel="shared\npart")
    bars.grid(axis="x", visible=False)
    bars.tick_params(axis="x", length=0)
    bars.set_title(
        f"{len(shown)} of {len(table)} shared modules in {columns} individuals, "
        f"sharing factor {population.sharing().factor:.2f}"
    )
    cells.set(xlabel="individual", xlim=(-0.5, columns - 0.5))
    cells.grid(visible=False)
    cells.tick_params(length=0)
    cells.tick_params(axis="x", rotation=90 if columns > 12 else 0)
    labels = numbers if columns <= 60 else []  # more would run into each other
    cells.set_xticks(range(len(labels)), labels, fontsize=6)
    cells.set_yticks(range(len(shown)), shown.index, fontsize=6)
    if shown.empty:
        cells.text(0.5, 0.5, "nothing is shared", transform=cells.transAxes, ha="center")
        return fig
    image = _draw_uses(cells, shown)
    # Equal lengths for the colours, whose ranges of uses differ.
    bar = fig.colorbar(image, ax=cells, spacing="uniform", aspect=12, shrink=min(1, 1.2 / height))
    middles = [(a + b) / 2 for a, b in zip(USES, [*list(USES)[1:], MANY], strict=True)]
    bar.set_ticks(middles, labels=list(USES.values()))
    bar.minorticks_off()
    bar.set_label("uses in an individual")
    return fig


def _draw_uses(ax: Axes, uses: pd.DataFrame) -> QuadMesh:
    rows, columns = uses.shape
    image = ax.pcolormesh(
        np.arange(columns + 1) - 0.5,
        np.arange(rows + 1) - 0.5,
        np.ma.masked_equal(uses.to_numpy(), 0),
        cmap=ListedColormap(BLUES),
        norm=BoundaryNorm([*USES, MANY], len(BLUES)),
        edgecolor="white",
        linewidth=0.4,
    )
    ax.set_yticks(np.arange(rows) + 0.5, minor=True)
    ax.grid(axis="y", which="minor", linewidth=0.3)
    ax.tick_params(which="minor", length=0)
    ax.invert_yaxis()
    if columns <= NUMBERED:
        for (y, x), times in np.ndenumerate(uses.to_numpy()):
            if times:
                colour = "white" if times > 2 else "black"
                ax.text(x, y, times, ha="center", va="center", fontsize=5, color=colour)
    return image


def family_tree(
    lineage: pd.DataFrame, scores: Mapping[int, float] | pd.Series | None = None
) -> Figure:
    """Who comes from whom: a line of one's own for each individual, generations to the right.

    ```python
    family_tree(lineage, trainings.groupby("individual").score.last())
    ```

    `lineage` is `lineage.csv` of a recorded search: child, parents, operator, generation. A full
    line leads from the first parent, a dotted one from the second. The colour is the score, lower
    is better, and grey for an individual without one; strong lines lead to the best. Individuals
    of the beginning without offspring or score are left out.
    """
    people, parents = _people(lineage)
    all_scores = {} if scores is None else dict(scores)
    scores = {child: score for child, score in all_scores.items() if child in people}
    order = _family_order(people, parents, set(scores))
    places = {child: (people[child].generation, lane) for lane, child in enumerate(order)}
    best = min(scores, key=scores.get, default=None)
    height = min(9.0, 1.6 + 0.055 * len(order))
    fig = Picture(figsize=(PAGE_WIDTH, height), layout="constrained")
    ax = fig.subplots()
    descent = nx.DiGraph((one, child) for child, line in parents.items() for one in line)
    descent.add_nodes_from(people)
    strong = set() if best is None else {best, *nx.ancestors(descent, best)}
    _draw_descent(ax, places, parents, strong)
    colours = _draw_people(ax, places, people, scores)
    if best is not None:
        ax.annotate(
            f"{best}: {scores[best]:.3f}", places[best], (4, 3),
            textcoords="offset points", fontsize="small", color=STRONG,
        )  # fmt: skip
        fig.colorbar(
            colours, ax=ax, label="score, lower is better", extend="max",
            shrink=min(1.0, 3 / height), aspect=25, extendfrac=0.05,
        )  # fmt: skip
    left_out = len(people) - len(order)
    note = f", {left_out} without offspring or score left out" if left_out else ""
    ax.set(xlabel="generation", yticks=[], title=f"{len(order)} individuals{note}")
    ax.set_ylim(len(order) - 0.3, -0.7)
    ax.grid(visible=False)
    fig.legend(loc="outside lower center", ncols=len(MARKERS), handletextpad=0.2, markerscale=1.2)
    return fig


def _people(lineage: pd.DataFrame) -> tuple[dict[int, Any], dict[int, tuple[int, ...]]]:
    """The lineage's rows and the parents, by number."""
    people = {int(row.child): row for row in lineage.itertuples()}
    parents = {child: _numbers(row.parents) for child, row in people.items()}
    for child, row in people.items():
        if _first(row.operator) not in MARKERS:
            raise TableError(
                f"individual {child} comes from an unknown operator {row.operator!r}: known are "
                f"{', '.join(MARKERS)}"
            )
        for missing in set(parents[child]) - set(people):
            raise TableError(
                f"the lineage has no parent {missing} of individual {child}: give all its rows"
            )
    return people, parents


def _first(operator: str) -> str:
    return operator.split("+")[0]


def _draw_descent(ax: Axes, places: Mapping, parents: Mapping, strong: set[int]) -> None:
    for child, (x, y) in places.items():
        for rank, parent in enumerate(parents[child]):
            start, lane = places[parent]
            is_strong = child in strong
            ax.plot(
                [start, x, x],
                [lane, lane, y],
                color=STRONG if is_strong else PLAIN,
                linestyle=":" if rank else "-",
                linewidth=1.3 if is_strong else 0.6,
                zorder=2 if is_strong else 1,
            )


def _draw_people(ax: Axes, places: Mapping, people: Mapping, scores: Mapping) -> ScalarMappable:
    values = pd.Series(scores, dtype=float)
    limits = (values.min(), values.quantile(0.95)) if scores else (0, 1)  # a bad one dims all
    colours = ScalarMappable(Normalize(*limits), colormaps["cividis"].with_extremes(bad="0.85"))
    for operator, marker in MARKERS.items():
        these = [child for child in places if _first(people[child].operator) == operator]
        if not these:
            continue
        ax.scatter(
            *zip(*(places[child] for child in these), strict=True),
            c=colours.to_rgba(np.ma.masked_invalid([scores.get(c, np.nan) for c in these])),
            marker=marker, s=40 if marker == "*" else 16, edgecolor="0.2", linewidth=0.3, zorder=3,
        )  # fmt: skip
        ax.plot([], [], marker, color="0.6", markersize=5, label=f"{operator} ({len(these)})")
    return colours


def _numbers(parents) -> tuple[int, ...]:
    """Parents as a search holds them (a tuple) or writes them: "3 7", 3, 3.0, nothing."""
    if isinstance(parents, str):
        return tuple(map(int, parents.split()))
    if isinstance(parents, tuple | list):
        return tuple(parents)
    return () if pd.isna(parents) else (int(parents),)


def _family_order(people: Mapping, parents: Mapping, kept: set[int]) -> list[int]:
    """Families one below the other, so that no line of descent crosses another.

    After each individual come its offspring with theirs, the youngest first: the line to an elder
    one then passes only individuals that were not born yet.
    """
    offspring: dict[int, list[int]] = {}
    for child, line in parents.items():
        if line:
            offspring.setdefault(line[0], []).append(child)
    needed = {parent for line in parents.values() for parent in line} | kept
    order: list[int] = []
    founders = [child for child in reversed(people) if not parents[child]]
    left = [c for c in founders if c in needed or people[c].operator != "initial"]
    while left:
        child = left.pop()
        order.append(child)
        left += sorted(offspring.get(child, []), key=lambda c: (people[c].generation, c))
    return order


def draw_accuracy(
    trainings: pd.DataFrame, ax: Axes, *, window: int = 700, column: str = "accuracy", label=None
) -> None:
    """Figure 3.1: the moving average of the validation accuracy over the last trainings.

    `trainings` is `trainings.csv` of a recorded search, a row for each training of an individual;
    the thesis's window is 700 of them. At the beginning, the average is over those there are.
    """
    average = trainings[column].rolling(window, min_periods=1).mean()
    (line,) = ax.plot(
        trainings.generation, trainings[column], ".", markersize=3, alpha=0.35, markeredgewidth=0
    )
    by_generation = average.groupby(trainings.generation).last()
    ax.plot(
        by_generation.index, by_generation, "-", color=line.get_color(),
        label=label or f"moving average of {window}",
    )  # fmt: skip
    ax.set(xlabel="generation", ylabel="validation accuracy")
    ax.legend()


def draw_sharing(metrics: pd.DataFrame, ax: Axes) -> None:
    """Sharing over time: the shared part of the population's parameters, and the sharing factor.

    `metrics` is the generations table. The factor, on the right, is the parameters of all
    individuals by those of the population: 1 where nothing is shared between individuals.
    """
    right = ax.twinx()
    lines = [
        *ax.plot(metrics.generation, metrics.shared_share, label="shared part"),
        *right.plot(metrics.generation, metrics.sharing_factor, "C1--", label="sharing factor"),
    ]
    ax.set(xlabel="generation", ylabel="shared part of the parameters", ylim=(0, 1))
    right.set(ylabel="sharing factor", ylim=(1, None))
    right.spines["right"].set_visible(True)
    right.grid(visible=False)
    ax.legend(handles=lines, loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
