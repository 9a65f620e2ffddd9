"""Drawings of the chapter's notebook that take more than a cell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter
from torch import Tensor

from reuseprior.chapters.bidart.channels.clustering import Clustering
from reuseprior.report import published

MARKERS = "osv^D<>PX*hpd"


def kernels(ax: Axes, weight: Tensor, title: str, columns: int = 16) -> None:
    """Draw the depthwise kernels (d, 1, 3, 3) of a layer in rows, channel after channel."""
    rows = len(weight) // columns
    tiles = weight.detach().reshape(rows, columns, *weight.shape[2:])
    tiles = tiles.transpose(1, 2)  # rows, height, columns, width
    limit = float(weight.detach().abs().max())
    height, width = weight.shape[2:]
    ax.imshow(tiles.reshape(rows * height, columns * width).numpy(), cmap="RdBu", vmin=-limit,
              vmax=limit)  # fmt: skip
    for edge in range(1, columns):
        ax.axvline(edge * width - 0.5, color="white", linewidth=0.8)
    for edge in range(1, rows):
        ax.axhline(edge * height - 0.5, color="white", linewidth=0.8)
    ax.set_title(title, loc="left")
    ax.set_axis_off()


def by_factor_and_by_size(axes: Sequence[Axes]) -> None:
    """Draw the notebook's ResNet-18 accuracies, against the factor and against parameters."""
    table = published.load("bidart/chapter-3-notebook-resnet18")
    labels = {
        "removed": "channels removed", "shared": "filters repeat",
        "repeated": "skips repeat too",
    }  # fmt: skip
    for (column, label), marker in zip(labels.items(), MARKERS, strict=False):
        accuracy = table[f"{column}_accuracy"].astype(float)
        sizes = table[f"{column}_parameters"].astype(int)
        axes[0].plot(table.factor.astype(int), accuracy, marker=marker, label=label)
        axes[1].plot(sizes, accuracy, marker=marker, label=label)
    factors = table.factor.astype(int).tolist()
    axes[0].set(xscale="log", xlabel="factor", ylabel="accuracy on CIFAR-10, %")
    axes[0].set_xticks(factors, labels=factors)
    axes[0].minorticks_off()
    axes[1].set(xscale="log", xlabel="stored parameters")
    axes[0].legend()


def weights_and_basis(axes: Sequence[Axes], found: Sequence[Clustering], layer: str) -> None:
    """Draw, for each training, how far the kernels of a layer are from the nearest member."""
    gaps = [one.gaps(layer).numpy() for one in found]
    bins = np.linspace(0, max(each.max() for each in gaps), 40)
    for ax, one, each in zip(axes, found, gaps, strict=True):
        ax.hist(each, bins=bins)
        ax.set(xlabel="distance of a kernel from its basis", title=_title(one.penalty))
    axes[0].set_ylabel("kernels")


def _title(penalty: str) -> str:
    return "plain loss" if penalty == "none" else f"with the penalty on {penalty}"


def at_equal_parameters() -> pd.DataFrame:
    """The notebook's ResNet-18 whose filters repeat, beside channels removed to as many parameters.

    One row a factor, for filters that repeat and with those of skips too: accuracy, in per cent,
    what a line between the narrowed networks gives at as many parameters (in their logarithm), and
    the difference.
    """
    table = published.load("bidart/chapter-3-notebook-resnet18").set_index("factor").astype(
        {column: float for column in ("removed_parameters", "removed_accuracy")}
    )  # fmt: skip
    removed = table.sort_values("removed_parameters")
    rows = []
    for column, label in (("shared", "filters repeat"), ("repeated", "skips repeat too")):
        for factor, row in table.iloc[1:].iterrows():
            size, accuracy = (float(row[f"{column}_{of}"]) for of in ("parameters", "accuracy"))
            other = np.interp(
                np.log(size), np.log(removed.removed_parameters), removed.removed_accuracy
            )
            rows.append([label, f"×{factor}", int(size), accuracy, other, accuracy - other])
    columns = ["way", "factor", "parameters", "accuracy", "channels removed", "difference"]
    return pd.DataFrame(rows, columns=columns).set_index(["way", "factor"])


def estimates(ax: Axes, table: pd.DataFrame, title: str) -> None:
    """Draw P_G against stored parameters, a marker a way of sharing; `table` has these columns."""
    for i, (name, rows) in enumerate(table.groupby("way")):
        ordered = rows.sort_values("parameters")
        ax.plot(ordered.parameters, ordered.P_G, marker=MARKERS[i], color=f"C{i}", label=name,
                linestyle="-" if len(rows) > 1 else "none", linewidth=0.8)  # fmt: skip
    ax.set(xscale="log", xlabel="stored parameters", ylabel="$P_G$, bits", title=title)
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.legend(fontsize="x-small")


def all_ways(axes: Sequence[Axes], table: pd.DataFrame) -> None:
    """Draw accuracy against stored parameters, and against P_G, a marker a way of sharing.

    `table` is one of `contenders.compared` for one model and its rivals; bars are standard
    deviations over seeds.
    """
    for i, (name, rows) in enumerate(table.groupby("way")):
        style = {"marker": MARKERS[i % len(MARKERS)], "color": f"C{i % 10}", "capsize": 2,
                 "linestyle": "-" if len(rows) > 1 else "none", "linewidth": 0.8}  # fmt: skip
        for ax, column in zip(axes, ("parameters", "P_G"), strict=True):
            ordered = rows.sort_values(column)
            ax.errorbar(ordered[column], ordered.accuracy, yerr=ordered.sd.fillna(0), label=name,
                        **style)  # fmt: skip
    decades = np.log10([table.parameters.min(), table.parameters.max()])
    axes[0].set(xscale="log", xlabel="stored parameters", ylabel="accuracy on CIFAR-10, %",
                xlim=(10 ** np.floor(decades[0]), 10 ** np.ceil(decades[1])))  # fmt: skip
    axes[1].set(xlabel="$P_G$, bits")
    axes[1].legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize="x-small")
