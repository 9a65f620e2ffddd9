"""Drawings of a cell's links and of their numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from scipy.special import gammaincc

from reuseprior.measures.nn_mass import LongRangeCell


def draw_cell(ax: Axes, cell: LongRangeCell) -> None:
    """The layers of a cell as boxes, their channels as dots, and the links between them.

    An arrow stands for the short-range links, all channels to all. A curve leads from a channel
    that long-range links come from to the layer that reads it, in a colour of that layer.
    """
    width, layers = cell.convs[0].out_channels, len(cell.convs)
    at = np.arange(width) - (width - 1) / 2
    top, side = width / 2 + 0.1, 0.16
    for layer in range(layers):
        corner = (layer - side, -top)
        ax.add_patch(Rectangle(corner, 2 * side, 2 * top, facecolor="0.93", edgecolor="0.4"))
        ax.plot([layer] * width, at, "o", color="0.25", ms=4, zorder=3)
        if layer:
            arrow = {"arrowstyle": "-|>", "color": "0.6", "lw": 2}
            ax.annotate("", (layer - side, 0), (layer - 1 + side, 0), arrowprops=arrow)
    for layer, chosen in enumerate(cell.links, start=2):
        for source, channel in (divmod(k, width) for k in chosen.tolist()):
            up = 1 if at[channel] > 0 else -1
            x, end = np.linspace(0, 1, 40), up * top
            height = 4 * up * (0.4 + 0.3 * (layer - source))
            y = (1 - x) * at[channel] + x * end + x * (1 - x) * height
            color = f"C{(layer - 2) % 6}"
            ax.plot(source + x * (layer - source), y, "-", color=color, lw=1.1, zorder=2)
    ax.set(xlabel="layer of the cell", xticks=range(layers), yticks=[])
    ax.grid(False)
    ax.spines["left"].set_visible(False)


def degrees(cell: LongRangeCell) -> tuple[np.ndarray, np.ndarray]:
    """Long-range links that come into each channel of a cell, and that leave it."""
    width, layers = cell.convs[0].out_channels, len(cell.convs)
    into = np.repeat([0, 0, *map(len, cell.links)], width)
    chosen = np.concatenate([links.numpy() for links in cell.links])
    return into, width * np.bincount(chosen, minlength=width * layers)


def draw_degrees(ax: Axes, cell: LongRangeCell) -> None:
    """How the long-range links of a built cell are spread over its channels, beside Poisson's."""
    into, out = degrees(cell)
    mean, top = into.mean(), int(max(into.max(), out.max()))
    bins = np.linspace(0, top, 31)
    weights = np.full(len(into), 100 / len(into))
    ax.hist(into, bins, weights=weights, color="C0", alpha=0.7, label="incoming")
    ax.hist(out, bins, weights=weights, histtype="step", color="C1", lw=1.4, label="outgoing")
    cumulative = gammaincc(bins + 1, mean)  # Poisson's, between whole numbers too
    middle = (bins[1:] + bins[:-1]) / 2
    ax.plot(middle, 100 * np.diff(cumulative), "k--", lw=1.2, label="Poisson")
    ax.set(xlabel="long-range links of a channel", ylabel="channels, %")
    ax.legend(fontsize="small")


def accuracy_against(axes: Sequence[Axes], models: pd.DataFrame, fits: pd.DataFrame) -> None:
    """Accuracy of trained networks against predictors, one a panel, with the straight line's R².

    `models` is a table of `experiments.trained`, `fits` one of `experiments.goodness_of_fit`; a
    panel is drawn for each row of `fits`. Bars are one standard error of the test images.
    """
    from reuseprior.chapters.nn_mass.experiments import PREDICTORS

    for ax, (name, fit) in zip(axes, fits.iterrows(), strict=True):
        x = np.asarray(PREDICTORS[name](models), float)
        ends = np.array([x.min(), x.max()])
        ax.plot(ends, models.accuracy.mean() + fit.slope * (ends - x.mean()), color="0.6", lw=1)
        for i, (layers, rows) in enumerate(models.groupby("layers")):
            ax.errorbar(
                x[rows.index], rows.accuracy, rows.error, fmt="os^D"[i], color=f"C{i}", ms=4,
                lw=0.8, label=f"{layers} layers",
            )  # fmt: skip
        ax.set(xlabel=name, title=f"R² {fit.R2:.2f} ({fit.low:.2f} to {fit.high:.2f})")
    axes[0].set_ylabel("test accuracy, %")
