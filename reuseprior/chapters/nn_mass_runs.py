"""A grid of networks with random long-range links, depth against density, trained and compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import linregress

from reuseprior import data, paths, results
from reuseprior.contexts import count_contexts
from reuseprior.measures.nn_mass import Architecture, LongRangeCNN
from reuseprior.measures.statistics import bootstrap, percentiles
from reuseprior.models import ModelConfig
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

    def architecture(self, layers: int, density: float) -> Architecture:
        """The network of so many layers, and at least so much density in every cell."""
        size = {"width_multiplier": self.width_multiplier}
        shape = Architecture.of_layers(layers, (0, 0, 0), **size)
        return Architecture.of_density(shape.depth, shape.widths, density)

    def architectures(self) -> list[tuple[int, float, Architecture]]:
        """(layers, density, architecture) of every network."""
        every = product(self.layers, self.densities)
        return [(*of, self.architecture(*of)) for of in every]


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
    for layers, density, _ in grid.architectures():
        _train(grid, layers, density, seed, root, progress)
    return runs(grid, root)


def start(planned, root: Path | None = None, *, progress: bool = True) -> None:
    """Train a network of a grid that the campaign plans."""
    (grid,) = (one for one in GRIDS.values() if one.protocol == planned.protocol)
    _train(grid, **planned.changed, seed=planned.seed, root=root, progress=progress)


def _train(grid: Grid, layers: int, density: float, seed: int, root, progress: bool) -> None:
    name = f"layers{layers}-density{round(100 * density)}-seed{seed}"
    run = (paths.RESULTS if root is None else Path(root)) / grid.protocol / name
    if not finished(run):
        images, one = data.load(DATA), grid.architecture(layers, density)
        shape = {key: getattr(one, key) for key in SHAPE}
        about = {"layers": layers, "density": density, "architecture": shape}
        model = model_config(shape, classes=images.classes, seed=seed).build()
        train(model, images, Protocol.load(grid.protocol), run, seed=seed, about=about,
              resume=True, progress=progress)  # fmt: skip


def model_config(shape: Mapping[str, Any], *, classes: int, seed: int) -> ModelConfig:
    """The network of an architecture as `config.json` says it, by SHAPE."""

    def network(num_classes: int, depth, widths, candidates) -> LongRangeCNN:
        one = Architecture(depth, tuple(widths), tuple(candidates))
        return LongRangeCNN(one, classes=num_classes, seed=seed)

    return ModelConfig("nn-mass", classes=classes, options=shape, seed=seed, factory=network)


def runs(grid: Grid, root: Path | None = None) -> list[Run]:
    """The finished runs of a grid; `results.ResultError` where there are none."""
    return [r for r in results.runs(grid.protocol, root) if r.summary["state"] == "finished"]


def trained(trainings: Sequence[Run]) -> pd.DataFrame:
    """One row a run, least mass first.

    Columns: layers, density (ρ_avg), mass, parameters, P_G and P_G_spread of the network at the
    size at which it was tested, and accuracy, in per cent, with its standard error for so many test
    images.
    """
    rows = []
    for run in trainings:
        config, protocol = run.config, run.config["protocol"]
        size = protocol["test_image_size"] or protocol["image_size"] or 32
        built = model_config(config["architecture"], classes=config["classes"], seed=config["seed"])
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
