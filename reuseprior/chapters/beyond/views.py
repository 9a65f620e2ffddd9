"""What chapter 6 shows: tables, scatter plots, and all scores on all populations in one figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from reuseprior.chapters.beyond import benchmarks, candidates, search, tested
from reuseprior.measures.statistics import agreement, spearman
from reuseprior.plotting import PAGE_WIDTH, PLAIN, STRONG, Picture

LEAST_MEMBERS = 4  # of a family whose mean is shown
LABELLED = 4  # models that a scatter plot names, on either side
SCORES = (
    "params", "flops", "synflow", "nwot", "jacov", "snip", "grad_norm", "grasp", "fisher",
    "l2_norm", "plain", "epe_nas",
)  # fmt: skip


def scores_by_population(
    tables: Mapping[str, pd.DataFrame], measures: Sequence[str], strong: str
) -> Picture:
    """A row a measure, a panel a population: agreement with its 95 % interval."""
    signs = {
        population.name: {"rho": "ρ", "tau": "τ"}[population.by]
        for population in tested.POPULATIONS
    }
    fig = Picture(figsize=(PAGE_WIDTH, 0.76 + 0.21 * len(measures)))
    axes = fig.subplots(1, len(tables), sharey=True)
    for ax, (name, table) in zip(axes, tables.items(), strict=True):
        for place, measure in enumerate(measures):
            found = table.loc[measure, "agreement"]
            look = {"color": STRONG if measure == strong else "0.25", "linestyle": "-"}
            ax.plot([found.low, found.high], [place, place], lw=1.0, **look)
            ax.plot(found.value, place, "o", ms=3, color=look["color"])
        best = table.loc[strong, "agreement"].value
        ax.axvline(best, color=PLAIN, lw=0.5, linestyle=":")
        ax.set_title(name.replace(" ", "\n", 1), fontsize=6.5)
        ax.set_xlabel(signs[name], fontsize=7)
        ax.set(xlim=(-0.15, 1), xticks=[0, 0.5, 1], xticklabels=["0", ".5", "1"])
        ax.tick_params(labelsize=6, length=2)
    axes[0].set_yticks(range(len(measures)), measures)
    axes[0].invert_yaxis()
    return fig


def scatter(ax: Axes, table: pd.DataFrame, scores: pd.Series, accuracy: str) -> None:
    """Accuracy against a score, with the names of the most over- and underrated models.

    Of a family only the most misplaced model is named, or all names were of one.
    """
    shown = np.isfinite(scores)
    ax.plot(scores[shown], table.loc[shown, accuracy], ".", markersize=2.5, alpha=0.6)
    ax.set(xlabel=f"{scores.name}, bits", ylabel="top-1 accuracy, %")
    order = _misplaced(scores[shown], table.loc[shown, accuracy]).sort_values(kind="stable")
    families = table["family"].loc[order.index]
    under = families.drop_duplicates().index[:LABELLED]
    over = families[::-1].drop_duplicates().index[:LABELLED]
    for rows, corner in ((under, "upper left"), (over, "lower right")):
        points = pd.DataFrame({"x": scores[rows], "y": table.loc[rows, accuracy]})
        _name_in_corner(ax, points, table.loc[rows, "model"], corner)


def _name_in_corner(ax: Axes, points: pd.DataFrame, models: pd.Series, corner: str) -> None:
    """Names of points one below the other in an empty corner, each with a line to its point.

    All lines begin at the edge of the names that looks to the points, and in the order of their
    slopes, so that none runs under a name and they do not cross.
    """
    low, high = np.transpose([ax.get_xlim(), ax.get_ylim()])
    places = (points - low) / (high - low)
    steps = 0.055 * np.arange(len(points))
    if corner == "upper left":
        edge, heights, align = places["x"].min() - 0.01, 0.97 - steps, "right"
    else:
        edge, heights, align = max(places["x"].max() + 0.05, 0.62), 0.03 + steps, "left"
    slopes = (places["y"] - heights.mean()).abs() / (places["x"] - edge).abs()
    for row, height in zip(slopes.sort_values(kind="stable").index, heights, strict=True):
        ax.annotate(
            models[row].partition(":")[2].partition(".")[0],
            tuple(points.loc[row]),
            xytext=(edge, height),
            textcoords="axes fraction",
            fontsize=5.5,
            ha=align,
            va="center_baseline",
            arrowprops={
                "arrowstyle": "-",
                "lw": 0.4,
                "color": "0.4",
                "relpos": (float(align == "right"), 0.5),
                "patchA": None,  # or the line would end at a wide margin around the name
                "shrinkA": 2,
            },
        )


def misjudged(table: pd.DataFrame, found: pd.DataFrame, accuracy: str) -> pd.DataFrame:
    """A row a family: its models, and by how many places of a hundred each measure ranks it too
    high. Sorted by the first measure; families of fewer than four models are left out.
    """
    families = table["family"]
    places = {
        name: _misplaced(scores, table[accuracy]).groupby(families).mean() * 100
        for name, scores in found.items()
    }
    result = pd.DataFrame({"models": families.value_counts(), **places})
    result = result[result["models"] >= LEAST_MEMBERS]
    return result.sort_values(found.columns[0], ascending=False).round(1)


def beside_zero_cost(cells: pd.DataFrame, found: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """ρ with test accuracy of our measures and of published scores, on the cells that have both.

    `found` has a table of scores for each data set, a row for each of `cells`.
    """
    published = benchmarks.zero_cost_scores()
    columns = {}
    for data, own in found.items():
        table = own.assign(cell=cells["cell"], accuracy=cells[data])
        part = published[published["dataset"] == data].merge(table, on="cell")
        scores = {name: part[name] for name in own}
        scores |= {f"{name} (published)": _finite(part[name]) for name in SCORES}
        columns[data] = {
            name: agreement(values, part["accuracy"], resamples=0).rho
            for name, values in scores.items()
        }
    return pd.DataFrame(columns).sort_values(benchmarks.DATA_SETS[0], ascending=False)


def blur_candidates(kept: pd.DataFrame, cells: pd.DataFrame) -> pd.Series:
    """ρ of every candidate of blur's choice on its 400 cells and CIFAR-10, the best first."""
    table = kept.merge(cells[["cell", "cifar10"]], on="cell")
    found = {
        name: spearman(_finite(scores).rank().to_numpy(), table["cifar10"].to_numpy())
        for name, scores in candidates.scores(table).items()
    }
    return pd.Series(found, name="ρ").sort_values(ascending=False)


def searched(
    cells: pd.DataFrame, found: pd.DataFrame, *, evaluations: int = 500, seeds: int = 50
) -> pd.DataFrame:
    """Mean test accuracy of what searches find by each score, over seeds, with its deviation."""
    names = cells["cell"].to_numpy()
    table = cells.set_index("cell")
    anything = dict.fromkeys(names, 0.0)  # one draw looks at no score
    result = {"a random cell": [search.at_random(anything, 1, s) for s in range(seeds)]}
    for name, column in found.items():
        scores = dict(zip(names, column, strict=True))
        for how, run in (("random", search.at_random), ("evolution", search.by_evolution)):
            result[f"{name}, {how}"] = [run(scores, evaluations, seed) for seed in range(seeds)]
        result[f"{name}, best of all"] = [max(scores, key=scores.get)]
    columns = list(benchmarks.DATA_SETS)
    shown = pd.DataFrame({name: _mean(table.loc[codes, columns]) for name, codes in result.items()})
    shown = shown.T
    shown.loc["the optimum"] = [f"{cells[data].max():.2f}" for data in columns]
    return shown


def _mean(part: pd.DataFrame) -> pd.Series:
    if len(part) == 1:
        return part.iloc[0].map("{:.2f}".format)
    return part.apply(lambda column: f"{column.mean():.2f} ± {column.std():.2f}")


def _misplaced(scores: pd.Series, accuracies: pd.Series) -> pd.Series:
    """How much higher a model ranks by the score than by its accuracy, as a part of all."""
    return scores.rank(pct=True) - accuracies.rank(pct=True)


def _finite(scores: pd.Series) -> pd.Series:
    """NaN, which a score without a value is, as the lowest rank."""
    return scores.fillna(-np.inf)
