"""Shared channels against smaller networks: a wide ResNet and a very small Xception on CIFAR-10.

The protocol is that of the stores beside them, so that all ways of sharing stand on one scale. The
runs lie in `data/results/channels`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import pandas as pd

from reuseprior import data, paths, results
from reuseprior.contexts import multiply_adds, record_model
from reuseprior.measures.statistics import Sample
from reuseprior.models import Recipe
from reuseprior.quantities import Quantities
from reuseprior.results import Run
from reuseprior.training import Protocol, finished, train

EXPERIMENT = "channels"
PROTOCOL = "stores"
DATA = "cifar10"
FACTORS = (4, 2, 8)  # those that matter most first
GRAIN = 256  # widths of rivals are whole numbers of this part


@dataclass(frozen=True)
class Network:
    """A model of the catalogue by how it shares and how wide it is."""

    model: str
    sharing: str = "none"
    width: float = 1.0

    @property
    def name(self) -> str:
        """Its name in folders of runs: wrn-16-2-channels-4-full, vs-xception-width0.25."""
        shared = "" if self.sharing == "none" else "-" + self.sharing.translate(_PLAIN)
        return f"{self.model}{shared}{'' if self.width == 1 else f'-width{self.width:g}'}"

    def recipe(self, *, classes: int = 10, seed: int = 0) -> Recipe:
        """All that it is built from."""
        options = {"width": self.width, "bn_momentum": Protocol.load(PROTOCOL).bn_momentum}
        return Recipe(self.model, self.sharing, classes, options, seed)


_PLAIN = str.maketrans(":,", "--")
WIDE = Network("wrn-16-2")  # plain full convolutions
SMALL = Network("vs-xception", width=0.25)  # depthwise and pointwise ones


def shared(plain: Network, factor: int, *kinds: str) -> Network:
    """The network with filters of these kinds of layers repeated."""
    return replace(plain, sharing=",".join([f"channels:{factor}", *kinds]))


@cache
def parameters_of(one: Network) -> int:
    """Parameters that a network stores."""
    return sum(p.numel() for p in one.recipe().build(lazy=True).parameters())


@cache
def rival(one: Network) -> Network:
    """The widest network without sharing that stores no more than this one."""
    low, high = 1, round(GRAIN * one.width) + 1
    while high - low > 1:
        middle = (low + high) // 2
        narrower = Network(one.model, width=middle / GRAIN)
        fits = parameters_of(narrower) <= parameters_of(one)
        low, high = (middle, high) if fits else (low, middle)
    return Network(one.model, width=low / GRAIN)


def networks() -> tuple[Network, ...]:
    """All of the comparison, those that matter most first.

    A network that shares computes as much as the plain one, its rival stores as much. With `full`
    and `norms` all channels of a stage repeat, so that the network of 1 / s of the width gives the
    same outputs.
    """
    found = [SMALL, WIDE]
    for factor in FACTORS:
        wide, small = shared(WIDE, factor, "full"), shared(SMALL, factor, "depthwise", "pointwise")
        found += [wide, shared(WIDE, factor, "full", "norms"), replace(WIDE, width=1 / factor)]
        found += [small, shared(SMALL, factor)]
        found += [rival(wide), rival(small), rival(shared(SMALL, factor))]
    return tuple(dict.fromkeys(found))


def train_one(
    one: Network, *, seed: int = 0, root: Path | None = None, progress: bool = True
) -> Run:
    """Train a network, or go on from its checkpoint; its run if it is finished already.

    `root` is `data/results` if not given.
    """
    folder = (paths.RESULTS if root is None else Path(root)) / EXPERIMENT / f"{one.name}-seed{seed}"
    if not finished(folder):
        images = data.load(DATA)
        recipe = one.recipe(classes=images.classes, seed=seed)
        protocol = Protocol.load(PROTOCOL, width=one.width)
        train(recipe.build(), images, protocol, folder, seed=seed,
              about=recipe.about(), resume=True, progress=progress)  # fmt: skip
    return Run.read(folder)


def runs(root: Path | None = None) -> list[Run]:
    """The finished runs of the comparison and of the stores beside it; none are needed."""
    folder = paths.RESULTS if root is None else Path(root)
    found = []
    for experiment in (EXPERIMENT, "stores"):
        if any(folder.glob(f"{experiment}/*/{results.CONFIG}")):
            found += results.runs(experiment, root)
    return [run for run in found if run.summary["state"] == "finished"]


def network(run: Run) -> Network:
    """The network that a run trained."""
    config = run.config
    return Network(config["model"], config["sharing"], config["protocol"]["width"])


def way(one: Network) -> str:
    """What a reader calls it: channels (full), stores (weighted, mask), scopes, narrower …"""
    name, colon, rest = one.sharing.partition(":")
    if one.sharing == "none":
        if one in (SMALL, WIDE):
            return "plain"
        return "narrower" if one.model in (SMALL.model, WIDE.model) else "shallower"
    words = [word for word in rest.split(",")[1:] if "=" not in word]
    if name == "channels":
        words = words or ["depthwise"]
    if not colon or name == "scopes":
        return "scopes"
    return f"{name} ({', '.join(words)})" if words else name


def compared(found: Sequence[Run]) -> pd.DataFrame:
    """One row a network, fewest stored parameters first.

    Columns: network, model, way, parameters (stored), P_G and P_G_spread at the size at which it
    was tested, multiply_adds, seeds, accuracy and its standard deviation over seeds, in per cent.
    Seeds whose stores are mapped otherwise count as one network.
    """
    columns = ["network", "model", "way", "parameters", "P_G", "P_G_spread", "multiply_adds",
               "seeds", "accuracy", "sd"]  # fmt: skip
    groups: dict[str, dict[int, Run]] = {}
    for run in found:
        name = re.sub("map=[0-9a-z]+", "map", network(run).name)
        groups.setdefault(name, {}).setdefault(run.config["seed"], run)
    rows = []
    for name, members in groups.items():
        first = next(iter(members.values()))
        one, size = network(first), first.config["protocol"]["image_size"]
        accuracy = Sample.of([100 * run.summary["test_accuracy"] for run in members.values()])
        q, cost = counted(one, size)
        rows.append([name, one.model, way(one), first.config["parameters"], q.P_G, q.P_G_spread,
                     cost, len(members), accuracy.mean, accuracy.deviation])  # fmt: skip
    table = pd.DataFrame(rows, columns=columns)
    return table.sort_values(["parameters", "network"], ignore_index=True)


@cache
def counted(one: Network, size: int = 32) -> tuple[Quantities, int]:
    """The quantities and multiply-adds of a network for images of so many pixels a side."""
    recorded = record_model(one.recipe().build(lazy=True), (1, 3, size, size))
    return recorded.count().quantities(), multiply_adds(recorded)


def missing(seeds: Sequence[int] = (0, 1), root: Path | None = None) -> list[tuple[Network, int]]:
    """The networks of `networks` and seeds that have no finished run."""
    done = {(network(run), run.config["seed"]) for run in runs(root)}
    return [(one, seed) for seed in seeds for one in networks() if (one, seed) not in done]
