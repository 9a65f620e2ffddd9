"""Drawings of the chapter's notebook that take more than a cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reuseprior.models.classformer import Schedule
from reuseprior.plotting import PAGE_WIDTH, PLAIN, STRONG

SAMPLERS = {"gp": "Gaussian process", "tpe": "Parzen estimator", "random": "random"}
KINDS = {  # what is drawn of a comparison: its name, marker and colour
    "baseline": ("plain encoder, own weights", "*", STRONG),
    "found": ("most reward of a search", "h", STRONG),
    "fewer layers": ("fewer layers, own weights", "D", "#000000"),
    "plain": ("plain", "o", "#000000"),
    "free": ("last layer forgets", "P", "#0072B2"),
    "last": ("last n layers", "v", "#E69F00"),
    "fixed": ("fixed schedules", "^", "#009E73"),
    "uniform": ("uniform", "s", "#CC79A7"),
    "funnel": ("Funnel-like", "X", "#56B4E9"),
    "cut": ("cut after η tokens", ">", "#000000"),
    "shortest": ("shortest of the space", "<", PLAIN),
}


def positions(ax: Axes, schedule: Schedule, length: int) -> None:
    """Draw which positions of a text are left after each layer, the first row its own."""
    rows = [list(range(length)), *schedule.positions(length)]
    for depth, kept in enumerate(rows):
        ax.scatter(range(length), [depth] * length, s=3, color="0.88", linewidths=0)
        ax.scatter(kept, [depth] * len(kept), s=5, color=STRONG, linewidths=0)
    ax.set(xlabel="position", ylim=(len(rows) - 0.5, -0.5), title=str(schedule))
    ax.set_yticks(range(len(rows)), labels=["input", *range(1, len(rows))])


def missing(ax: Axes, how: str) -> None:
    """Say on an axis that nothing is recorded, and what makes it, in place of an empty drawing."""
    ax.set_axis_off()
    ax.text(0.5, 0.5, f"no run yet:\n{how}", ha="center", va="center", transform=ax.transAxes)


def progress(ax: Axes, trials: pd.DataFrame) -> None:
    """Draw the best reward so far by sampler: a line a seed, and their mean."""
    colors = ("#0072B2", "#009E73", PLAIN)
    for (sampler, label), color in zip(SAMPLERS.items(), colors, strict=True):
        own = trials[trials.sampler == sampler]
        if not len(own):
            continue
        lines = own.pivot(index="number", columns="seed", values="best")
        ax.plot(lines.index + 1, lines, color=color, alpha=0.35, linewidth=0.8)
        label = f"{label}, {lines.shape[1]} seeds"
        ax.plot(lines.index + 1, lines.mean(axis=1), color=color, linewidth=2, label=label)
    ax.set(xlabel="schedules evaluated", ylabel="best reward so far")
    ax.legend()


def front(ax: Axes, table: pd.DataFrame, threads: int = 1) -> None:
    """Draw the score that is reported against time; lines end at the quartiles of the time."""
    kinds = table.kind.str.partition(" by ")[0]
    share = table[f"share_{threads}_threads"]
    low, high = (table[f"share_{end}_{threads}_threads"] for end in ("low", "high"))
    for kind, (label, marker, color) in KINDS.items():
        own = kinds == kind
        if not own.any():
            continue
        spread = np.array([share[own] - low[own], high[own] - share[own]])
        ax.errorbar(
            share[own], table.score_report[own], xerr=spread, fmt=marker, label=label,
            color=color, markersize=5, elinewidth=0.5,
        )  # fmt: skip
    ax.set(xlabel="time, share of the plain encoder's")


def fronts(tables: Mapping[str, pd.DataFrame], how: str) -> Figure:
    """Draw comparisons side by side under their titles, and below all of them what marks mean.

    In place of one that is empty stands what makes it.
    """
    fig, axes = plt.subplots(1, len(tables), figsize=(PAGE_WIDTH, 3.1), squeeze=False)
    labels = {}
    for ax, (title, table) in zip(axes[0], tables.items(), strict=True):
        ax.set_title(title)
        if len(table):
            front(ax, table)
        else:
            missing(ax, how)
        handles, names = ax.get_legend_handles_labels()
        labels |= dict(zip(names, handles, strict=True))
    fig.supylabel("score on the report half, %", fontsize="medium")
    if labels:
        fig.legend(labels.values(), labels.keys(), loc="outside lower center", ncols=4)
    return fig


def best_by_requirement(
    table: pd.DataFrame, losses: Sequence[float] = (0, 1, 2, 4, 8)
) -> pd.DataFrame:
    """Table 5.3's counterpart: the fastest schedule of a comparison, by the points it may lose.

    Chosen by the half that searches go by, among schedules of six layers, the loss counted against
    the plain encoder with weights of its own; the score on the other half beside it.
    """
    base = table[table.kind == "baseline"].score_search.item()
    own = table[table.layers == table.layers.max()]
    rows = {}
    for loss in losses:
        enough = own[own.score_search >= base - loss]
        if len(enough):
            best = enough.loc[enough.share_1_threads.idxmin()]
            rows[f"{loss} points"] = best[
                ["schedule", "share_1_threads", "score_search", "score_report"]
            ]
    return pd.DataFrame.from_dict(rows, orient="index")
