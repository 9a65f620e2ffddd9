"""What chapter 6 shows: tables and scatter plots of surveys."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from reuseprior.measures.statistics import agreement
from reuseprior.works.beyond import benchmarks, candidates, search
from reuseprior.works.beyond.statistics import MEASURES, compare

LEAST_MEMBERS = 4  # of a family whose mean is shown
LABELLED = 4  # models that a scatter plot names, on either side
SCORES = (
    "params", "flops", "synflow", "nwot", "jacov", "snip", "grad_norm", "grasp", "fisher",
    "l2_norm", "plain", "epe_nas",
)  # fmt: skip


def scatter(ax: Axes, table: pd.DataFrame, measure: str, accuracy: str) -> None:
    """Accuracy against a measure, with the names of the most over- and underrated models.

    Of a family only the most misplaced model is named, or all names were of one.
    """
    scores = MEASURES[measure](table)
    shown = np.isfinite(scores)
    ax.plot(scores[shown], table.loc[shown, accuracy], ".", markersize=2.5, alpha=0.6)
    ax.set(xlabel=f"{measure}, bits", ylabel="top-1 accuracy, %")
    order = _misplaced(table[shown], measure, accuracy).sort_values(kind="stable")
    families = table["family"].loc[order.index]
    under = families.drop_duplicates().index[:LABELLED]
    over = families[::-1].drop_duplicates().index[:LABELLED]
    points = table.assign(score=scores)[["score", accuracy, "model"]]
    # names stand in the two empty corners, in the order of their points, so that none overlap
    corners = [
        (under, False, (0.02, (1, 0.5)), 0.97 - 0.055 * np.arange(LABELLED)),
        (over, True, (0.66, (0, 0.5)), 0.03 + 0.055 * np.arange(LABELLED)),
    ]
    for rows, ascending, (x, begin), heights in corners:
        rows = points.loc[rows].sort_values(accuracy, ascending=ascending)
        for (_, row), height in zip(rows.iterrows(), heights, strict=False):
            ax.annotate(
                row["model"].partition(":")[2].partition(".")[0],
                (row["score"], row[accuracy]),
                xytext=(x, height),
                textcoords="axes fraction",
                fontsize=5.5,
                va="center",
                arrowprops={"arrowstyle": "-", "lw": 0.4, "color": "0.4", "relpos": begin},
            )


def misjudged(table: pd.DataFrame, measures: Sequence[str], accuracy: str) -> pd.DataFrame:
    """A row a family: its models, and by how many places of a hundred each measure ranks it too
    high. Sorted by the first measure; families of fewer than four models are left out.
    """
    families = table["family"]
    places = {m: _misplaced(table, m, accuracy).groupby(families).mean() * 100 for m in measures}
    found = pd.DataFrame({"models": families.value_counts(), **places})
    found = found[found["models"] >= LEAST_MEMBERS]
    return found.sort_values(measures[0], ascending=False).round(1)


def in_all(table: pd.DataFrame, accuracies: Sequence[str], measures: Sequence[str]) -> pd.DataFrame:
    """τ and ρ of measures with several accuracies side by side, with margins."""
    parts = {name: compare(table, name, measures) for name in accuracies}
    return pd.DataFrame(
        {
            f"{kind}, {name}": [
                f"{row[kind]:.3f} ± {row[f'{kind} ±']:.3f}" for _, row in part.iterrows()
            ]
            for kind in ("τ", "ρ")
            for name, part in parts.items()
        },
        index=list(measures),
    )


def beside_zero_cost(table: pd.DataFrame, measures: Sequence[str]) -> pd.DataFrame:
    """ρ with test accuracy of our measures and of published scores, on the cells that have both."""
    published = benchmarks.zero_cost_scores()
    columns = {}
    for data in benchmarks.DATA_SETS:
        part = published[published["dataset"] == data].merge(table, on="cell")
        scores = {name: MEASURES[name](part) for name in measures}
        scores |= {f"{name} (published)": part[name] for name in SCORES}
        columns[data] = {
            name: agreement(_finite(values), part[data], resamples=0).rho
            for name, values in scores.items()
        }
    return pd.DataFrame(columns).sort_values(benchmarks.DATA_SETS[0], ascending=False)


def choice(kept: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """Every candidate's τ and ρ on the cells of the choice and CIFAR-10, the best ρ first."""
    table = kept.merge(cells[["cell", "cifar10"]], on="cell")
    measures = {
        name: (lambda t, name=name: _finite(candidates.scores(t)[name]))
        for name in candidates.scores(kept)
    }
    return compare(table, "cifar10", measures).sort_values("ρ", ascending=False)


def searched(
    table: pd.DataFrame, measures: Sequence[str], *, evaluations: int = 500, seeds: int = 50
) -> pd.DataFrame:
    """Mean test accuracy of what searches find by a measure, over seeds, with its deviation."""
    cells = table.set_index("cell")
    accuracies = cells["cifar10"].to_dict()  # one draw looks at none of them
    found = {"a random cell": [search.at_random(accuracies, 1, s) for s in range(seeds)]}
    for name in measures:
        scores = MEASURES[name](cells).to_dict()
        for how, run in (("random", search.at_random), ("evolution", search.by_evolution)):
            found[f"{name}, {how}"] = [run(scores, evaluations, seed) for seed in range(seeds)]
        found[f"{name}, best of all"] = [max(scores, key=scores.get)]
    columns = list(benchmarks.DATA_SETS)
    rows = {name: cells.loc[codes, columns] for name, codes in found.items()}
    shown = pd.DataFrame({name: _mean(part) for name, part in rows.items()}).T
    shown.loc["the optimum"] = [f"{cells[data].max():.2f}" for data in columns]
    return shown


def _mean(part: pd.DataFrame) -> pd.Series:
    if len(part) == 1:
        return part.iloc[0].map("{:.2f}".format)
    return part.apply(lambda column: f"{column.mean():.2f} ± {column.std():.2f}")


def _misplaced(table: pd.DataFrame, measure: str, accuracy: str) -> pd.Series:
    """How much higher a model ranks by the measure than by its accuracy, as a part of all."""
    return MEASURES[measure](table).rank(pct=True) - table[accuracy].rank(pct=True)


def _finite(scores: pd.Series) -> pd.Series:
    """NaN, which a score without a value is, as the lowest rank."""
    return scores.fillna(-np.inf)
