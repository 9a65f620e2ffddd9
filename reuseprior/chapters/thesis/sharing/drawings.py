"""Drawings of the chapter's notebooks that take more than a cell."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.patches import Arc
from torch import nn

from reuseprior import sharing
from reuseprior.chapters.thesis.sharing.costs import COSTS
from reuseprior.plotting import mark_sizes

# a colour, a marker and a line a kind, so that grey prints tell them apart
KINDS = {"k×k": ("C0", "o", "-"), "1×1": ("C1", "s", "--"), "depthwise": ("C2", "^", ":")}

DASHES = {"-shared-with-bn": (1, 1), "-shared": (4, 1.5)}  # how a model's name says what it shares
LEAST_POINTS = 2.0  # per cent that an axis of accuracies spans: one run's own error is 0.4


def draw_scopes(
    ax: Axes, model: nn.Module, policy: sharing.Policy = sharing.all_but_bn, *, names: bool = False
) -> None:
    """Draw a model's convolutions in a row, and arcs along those that the policy makes one.

    Layers stand in the order of the model from left to right. A marker is hollow where the layer
    brings no parameters of its own. With `names` the scopes are written below.
    """
    layers = [(policy(m), m) for m in model.modules() if isinstance(m, nn.Conv2d)]
    last_of: dict[str, int] = {}
    reach, thin = 1, min(0.7, 60 / len(layers))  # or the arcs of many layers become one surface
    for x, (scope, layer) in enumerate(layers):
        color, marker, line = KINDS[_kind(layer)]
        before = last_of.get(scope)
        face = color if before is None else "white"
        ax.scatter(x, 0, min(30, 1000 / len(layers)), marker=marker, facecolor=face,
                   edgecolor=color, linewidth=0.7, zorder=2)  # fmt: skip
        if before is not None:
            middle, width = (x + before) / 2, x - before
            reach = max(reach, width)
            ax.add_patch(
                Arc((middle, 0), width, width, theta2=180, color=color, linestyle=line, lw=thin)
            )
        if scope is not None:
            last_of[scope] = x
        if names:
            ax.text(x, -0.35, scope, rotation=20, ha="right", va="top", fontsize=6)
    ax.set(xlim=(-1, len(layers)), ylim=(-0.25 * reach, 0.55 * reach))
    ax.set_axis_off()


def scope_legend(ax: Axes, loc: str = "upper left") -> None:
    """Say what the markers of `draw_scopes` mean."""
    for kind, (color, marker, line) in KINDS.items():
        ax.plot([], [], marker=marker, color=color, linestyle=line, lw=0.7, label=kind)
    ax.scatter([], [], marker="o", facecolor="white", edgecolor="0.3", label="no own parameters")
    ax.legend(loc=loc, ncols=4, frameon=False)


def accuracy_against(axes: Sequence[Axes], models: pd.DataFrame, title: str) -> None:
    """Draw accuracy against parameters, P_G and P′_G, on three axes side by side.

    `models` has columns model, accuracy, params, P_G and P_G_spread, and sd where runs repeat; it
    may be empty, as long as no run has settled.
    """
    columns = {"params": "parameters, millions", "P_G": "$P_G$, bits", "P_G_spread": "$P'_G$, bits"}
    for ax, (column, label) in zip(axes, columns.items(), strict=True):
        for i, row in enumerate(models.sort_values("model").itertuples()):
            x = getattr(row, column) / (1e6 if column == "params" else 1)
            error = getattr(row, "sd", None)
            ax.errorbar(x, row.accuracy, error, fmt="os^Dv"[i % 5], color=f"C{i}", label=row.model)
        ax.set(xlabel=label)
        ax.margins(0.2)
    axes[0].set(ylabel=f"{title}: top-1, %")
    if models.empty:
        _say_none(axes)
    else:
        low, high = axes[0].get_ylim()
        apart = max(high - low, LEAST_POINTS)  # or hundredths of a point look like a gap
        for ax in axes:
            ax.set_ylim((low + high - apart) / 2, (low + high + apart) / 2)
        axes[0].legend(fontsize="x-small", loc="lower right")


def training_curves(axes: Sequence[Axes], curves: pd.DataFrame, title: str) -> None:
    """Draw the training loss and the accuracy over the epochs on two axes, a line a model.

    A model has one colour with sharing, broken, and without, full. A line is the mean of the seeds
    and its band reaches from the least to the greatest. `curves` is a table of
    `experiments.curves`.
    """
    models = list(curves.model.unique())
    plain = [re.sub(f"({'|'.join(DASHES)})(?=,|$)", "", model) for model in models]
    colors = {name: f"C{i}" for i, name in enumerate(dict.fromkeys(plain))}
    dashes = [next((DASHES[end] for end in DASHES if end in model), "") for model in models]
    look = {"hue": "model", "style": "model", "errorbar": ("pi", 100)}
    look |= {
        "palette": {model: colors[name] for model, name in zip(models, plain, strict=True)},
        "dashes": dict(zip(models, dashes, strict=True)),
        "markers": bool(curves.epoch.max() < 5),
    }
    sns.lineplot(curves, x="epoch", y="train_loss", ax=axes[0], **look)
    sns.lineplot(curves, x="epoch", y="accuracy", ax=axes[1], legend=False, **look)
    axes[0].set(xlabel="epoch", ylabel="training loss, nats", title=title)
    axes[1].set(xlabel="epoch", ylabel="top-1 after each epoch, %")
    for ax in axes:
        ax.xaxis.get_major_locator().set_params(integer=True)
    axes[0].legend(fontsize="x-small")


def beside_others(ax: Axes, others: pd.DataFrame) -> None:
    """Draw accuracy against the parameters left: a colour a source, a marker a network.

    `others` is a table of `experiments.beside_other_sharing`. Hollow markers and broken lines are
    networks that share nothing.
    """
    colors = {source: f"C{3 * i}" for i, source in enumerate(others.source.unique())}
    for i, (name, rows) in enumerate(others.groupby("model", sort=False)):
        color, shared = colors[rows.source.iloc[0]], rows.shared.all()
        ax.plot(
            rows.percent_of_parameters, rows.accuracy, "-" if shared else "--", color=color,
            lw=0.8, marker="osv^D<>PX*h"[i], markerfacecolor=color if shared else "white", ms=5,
            label=f"{name} ({rows.source.iloc[0]})",
        )  # fmt: skip
    ax.set(xscale="log", xlabel="parameters left, % of the architecture unshared")
    ax.set(ylabel="top-1 accuracy on CIFAR-100, %")
    ax.set_xticks([2, 5, 10, 20, 50, 100], labels=[2, 5, 10, 20, 50, 100], minor=False)
    ax.minorticks_off()
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize="x-small")


def compression(ax: Axes, claims: pd.DataFrame) -> None:
    """Draw how far blocks compress with their size: full without batch norm, broken with it.

    `claims` is a table of `compression.claims`.
    """
    for i, (block, rows) in enumerate(claims.groupby("block", sort=False)):
        look = {"color": f"C{i}", "marker": "os^D"[i]}
        ax.plot(rows["size"], rows.measured, "-", label=block, **look)
        ax.plot(rows["size"], rows["with batch norm"], "--", markerfacecolor="white", **look)
    ax.set(yscale="log", xlabel="n or d", ylabel="compression")
    ax.legend(fontsize="small")


def at_equal_cost(axes: Sequence[Axes], networks: pd.DataFrame) -> None:
    """Draw accuracy against each of `costs.COSTS`, and P′_G against parameters, on six axes.

    `networks` is a table of `costs.equal_cost`. Lines join the widths of one architecture whose
    accuracies are known; markers of networks that share are hollow and larger, so that one shows
    within the other.
    """
    *against, last = axes
    for ax, (column, label) in zip(against, COSTS.items(), strict=True):
        _line_a_model(ax, networks, column, "accuracy")
        ax.set(xlabel=label, ylabel="top-1, %")
        if networks.accuracy.isna().all():
            _say_none([ax])
        elif not column.startswith("P_G"):
            ax.set(xscale="log")
            mark_sizes(ax)
    _line_a_model(last, networks, "params", "P_G_spread")
    last.set(xlabel=COSTS["params"], xscale="log", ylabel=COSTS["P_G_spread"])
    mark_sizes(last)
    handles, names = last.get_legend_handles_labels()
    last.figure.legend(handles, names, loc="outside lower center", ncols=4, fontsize="x-small")


def _say_none(axes: Sequence[Axes]) -> None:
    for ax in axes:
        ax.set(xticks=[], yticks=[])
        ax.text(0.5, 0.5, "no run yet that settled", ha="center", transform=ax.transAxes)


def _line_a_model(ax: Axes, networks: pd.DataFrame, x: str, y: str) -> None:
    for i, (_, both) in enumerate(networks.groupby(networks.model.map(_unshared))):
        for name, line in both.dropna(subset=[x, y]).sort_values(x).groupby("model"):
            shared = name != _unshared(name)
            ax.plot(
                line[x], line[y], "--" if shared else "-", color=f"C{i}", marker="os^Dv"[i % 5],
                markerfacecolor="none" if shared else f"C{i}", markersize=6 if shared else 3.5,
                label=name,
            )  # fmt: skip


def _unshared(model: str) -> str:
    return model.removesuffix("-shared")


def _kind(layer: nn.Conv2d) -> str:
    if layer.groups > 1:
        return "depthwise"
    return "1×1" if layer.kernel_size == (1, 1) else "k×k"
