"""A grid of networks with random long-range links, depth against density, trained and compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from scipy.special import gammaincc
from scipy.stats import linregress

from reuseprior import data, paths, results
from reuseprior.contexts import count_contexts
from reuseprior.measures.nn_mass import Architecture, LongRangeCell, LongRangeCNN
from reuseprior.measures.statistics import bootstrap, percentiles
from reuseprior.models import Recipe
from reuseprior.results import Run
from reuseprior.training import Protocol, finished, train

DATA = "cifar10"
SHAPE = ("depth", "widths", "candidates")  # of an architecture, in this order


@dataclass(frozen=True)
class Grid:
    """Networks of some depths and densities, and the protocol that trains them.

    The runs lie in `data/results/PROTOCOL`.
    """

    protocol: str
    layers: tuple[int, ...]  # 3 d_c + 4
    densities: tuple[float, ...]  # at least so much in every cell
    width_multiplier: float

    def architectures(self) -> list[tuple[int, float, Architecture]]:
        """(layers, density, architecture) of every network."""
        found = []
        for layers in self.layers:
            shape = Architecture.of_layers(
                layers, (0, 0, 0), width_multiplier=self.width_multiplier
            )
            for density in self.densities:
                one = Architecture.of_density(shape.depth, shape.widths, density)
                found.append((layers, density, one))
        return found


GRIDS = {
    "quick": Grid("nn-mass", (19, 28, 40), (0.1, 0.2, 0.3, 0.4), 0.5),
    "full": Grid("nn-mass-paper", (31, 40, 49, 64), (0.10, 0.15, 0.20, 0.25, 0.30), 2),
}
"""By profile: what fits a processor, and the paper's (figure 3 and table 2)."""


def train_grid(grid: Grid, *, seed: int = 0, root: Path | None = None, progress: bool = True):
    """Train every network of a grid that has no finished run yet, and return all its runs.

    `root` is `data/results` if not given; an interrupted training goes on from its checkpoint. The
    seed decides links, contributions, initial weights and the order of the images.
    """
    folder = (paths.RESULTS if root is None else Path(root)) / grid.protocol
    images, protocol = data.load(DATA), Protocol.load(grid.protocol)
    for layers, density, architecture in grid.architectures():
        run = folder / f"layers{layers}-density{round(100 * density)}-seed{seed}"
        if finished(run):
            continue
        shape = {key: getattr(architecture, key) for key in SHAPE}
        about = {"layers": layers, "density": density, "architecture": shape}
        model = recipe(shape, classes=images.classes, seed=seed).build()
        train(model, images, protocol, run, seed=seed, about=about, resume=True, progress=progress)
    return runs(grid, root)


def recipe(shape: Mapping[str, Any], *, classes: int, seed: int) -> Recipe:
    """The network of an architecture as `config.json` says it, by SHAPE."""

    def network(num_classes: int, depth, widths, candidates) -> LongRangeCNN:
        one = Architecture(depth, tuple(widths), tuple(candidates))
        return LongRangeCNN(one, classes=num_classes, seed=seed)

    return Recipe("nn-mass", classes=classes, options=shape, seed=seed, factory=network)


def runs(grid: Grid, root: Path | None = None) -> list[Run]:
    """The finished runs of a grid; `results.ResultError` where there are none."""
    found = results.runs(grid.protocol, root)
    return [run for run in found if run.summary["state"] == "finished"]


def trained(found: Sequence[Run]) -> pd.DataFrame:
    """One row a run, least mass first.

    Columns: layers, density (ρ_avg), mass, parameters, P_G and P_G_spread of the network at the
    size at which it was tested, and accuracy, in per cent, with its standard error for so many test
    images.
    """
    rows = []
    for run in found:
        config, protocol = run.config, run.config["protocol"]
        size = protocol["test_image_size"] or protocol["image_size"] or 32
        built = recipe(config["architecture"], classes=config["classes"], seed=config["seed"])
        model = built.build(lazy=True)
        one = model.architecture
        q = count_contexts(model, (1, protocol["channels"], size, size)).quantities()
        accuracy = run.summary["test_accuracy"]
        error = (accuracy * (1 - accuracy) / config["images"]["test"]) ** 0.5
        rows.append(
            {
                "layers": config["layers"],
                "density": float(one.density),
                "mass": float(one.mass),
                "parameters": config["parameters"],
                "P_G": q.P_G,
                "P_G_spread": q.P_G_spread,
                "accuracy": 100 * accuracy,
                "error": 100 * error,
            }
        )
    return pd.DataFrame(rows).sort_values("mass", ignore_index=True)


PREDICTORS = {
    "ln mass": lambda models: models.mass.map(log),
    "ln parameters": lambda models: models.parameters.map(log),
    "P_G": lambda models: models.P_G,
    "P′_G": lambda models: models.P_G_spread,
    "layers": lambda models: models.layers,
    "density": lambda models: models.density,
}
"""What accuracy is fitted against; P_G and P′_G are logarithms already."""


def goodness_of_fit(models: pd.DataFrame, *, draws: int = 10_000, seed: int = 0) -> pd.DataFrame:
    """R² of a straight line from each predictor to accuracy, with a 95 % bootstrap interval.

    One row a predictor, columns `R2`, `low`, `high`, `slope` (per cent a unit) and `p`, how likely
    so steep a line is where there is none (t-test, both sides). The bootstrap draws networks with
    replacement, so the interval says what other networks of such a grid might give; the noise of a
    training is in it as far as it moves the points. Draws in which the predictor does not vary are
    left out.
    """
    chosen = np.stack(list(bootstrap(len(models), draws, seed)))
    accuracy = models.accuracy.to_numpy()
    rows = {}
    for name, predictor in PREDICTORS.items():
        x = np.asarray(predictor(models), float)
        low, high = percentiles(_r_squared(x[chosen], accuracy[chosen]))
        line = linregress(x, accuracy)
        rows[name] = {"R2": line.rvalue**2, "low": low, "high": high}
        rows[name] |= {"slope": line.slope, "p": line.pvalue}
    return pd.DataFrame.from_dict(rows, orient="index")


def _r_squared(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Squared correlation along the last axis, nan where one of both does not vary."""
    x, y = (v - v.mean(-1, keepdims=True) for v in (x, y))
    with np.errstate(invalid="ignore"):
        return (x * y).sum(-1) ** 2 / ((x**2).sum(-1) * (y**2).sum(-1))


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
