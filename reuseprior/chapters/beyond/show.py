"""A scatter plot of chapter 6, whose names stand clear of its points."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

LABELLED = 4  # models that a scatter plot names, on either side


def scatter(ax: Axes, table: pd.DataFrame, scores: pd.Series, accuracy: str) -> None:
    """Accuracy against a score, with the names of the most over- and underrated models.

    Of a family only the most misplaced model is named, or all names were of one.
    """
    shown = np.isfinite(scores)
    ax.plot(scores[shown], table.loc[shown, accuracy], ".", markersize=2.5, alpha=0.6)
    ax.set(xlabel=f"{scores.name}, bits", ylabel="top-1 accuracy, %")
    order = misplaced(scores[shown], table.loc[shown, accuracy]).sort_values(kind="stable")
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


def misplaced(scores: pd.Series, accuracies: pd.Series) -> pd.Series:
    """How much higher a model ranks by the score than by its accuracy, as a part of all."""
    return scores.rank(pct=True) - accuracies.rank(pct=True)
