"""Shared channels against smaller networks: a wide ResNet and a very small Xception on CIFAR-10.

The protocol is that of the stores beside them, so that all ways of sharing stand on one scale. The
runs lie in `data/results/channels`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from reuseprior import data, paths
from reuseprior.models import Recipe
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
