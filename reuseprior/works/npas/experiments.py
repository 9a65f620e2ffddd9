"""All ways of sharing at equal budgets: one small wide ResNet on CIFAR-10, and its rivals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import pandas as pd

from reuseprior import data, paths, results
from reuseprior.contexts import multiply_adds, record_model
from reuseprior.errors import UserError
from reuseprior.measures.statistics import Sample, told_apart
from reuseprior.models import Recipe
from reuseprior.quantities import Quantities
from reuseprior.results import Run
from reuseprior.sharing import cluster
from reuseprior.training import Protocol, finished, train

DATA = "cifar10"
MODEL = "wrn-16-2"
SHALLOW = "wrn-10-2"
PROTOCOL = "stores"
BUDGETS = (2, 5, 10, 25, 50)  # per cent of the plain network's parameters
GRAIN = 128  # widths are whole numbers of this part


@dataclass(frozen=True)
class Contender:
    """A network in the comparison: how it shares, or how much smaller it is."""

    model: str = MODEL
    sharing: str = "none"
    width: float = 1.0

    @property
    def name(self) -> str:
        """Its name in folders of runs: wrn-16-2-stores-10%-weighted-mask, wrn-10-2-width0.25."""
        shared = "" if self.sharing == "none" else "-" + _plain(self.sharing)
        return f"{self.model}{shared}{'' if self.width == 1 else f'-width{self.width:g}'}"

    @property
    def kind(self) -> str:
        """What a reader calls it: stores (weighted, mask), narrower, shallower …"""
        if self.sharing == "none":
            if self.model == SHALLOW:
                return "shallower"
            return "plain" if self.width == 1 else "narrower"
        way, colon, rest = self.sharing.partition(":")
        if way != "stores":
            return f"{way} ×{rest}" if colon else f"scopes ({way})"
        words = [word for word in rest.split(",")[1:] if "map=" not in word]
        learned = ["learned mapping"] if "map=" in rest else []
        return f"stores ({', '.join(words + learned)})"

    def recipe(self, *, classes: int, seed: int) -> Recipe:
        """All that its network is built from."""
        options = {"width": self.width, "bn_momentum": Protocol.load(PROTOCOL).bn_momentum}
        return Recipe(self.model, self.sharing, classes, options, seed)


def _plain(text: str) -> str:
    return text.replace(":", "-").replace(",", "-").replace("=", "").replace("%", "pct")


def stores(percent: float, *words: str) -> Contender:
    """The network made of so many per cent of its parameters."""
    return Contender(sharing=",".join([f"stores:{percent:g}%", *words]))


@cache
def rival(model: str, parameters: int) -> Contender:
    """The widest plain network of a depth that holds no more than so many parameters.

    Raises `UserError` where even the narrowest holds more.
    """
    low, high = 0, 4 * GRAIN  # the narrowest and widest that are thought of
    while high - low > 1:
        middle = (low + high) // 2
        size = parameters_of(Contender(model, width=middle / GRAIN))
        low, high = (middle, high) if size <= parameters else (low, middle)
    if not low:
        raise UserError(
            f"no {model} holds {parameters:,} parameters or fewer: give a larger budget"
        )
    return Contender(model, width=low / GRAIN)


@cache
def parameters_of(one: Contender) -> int:
    """Parameters that a contender stores."""
    return sum(p.numel() for p in one.recipe(classes=10, seed=0).build(lazy=True).parameters())


def contenders() -> Iterator[Contender]:
    """All of the comparison but learned mappings, those that matter most first.

    At each budget: stores by generator and upsampler, and plain networks, narrower and shallower,
    that store as much. The plain network itself computes as much as every one that shares.
    """
    yield Contender()
    total = parameters_of(Contender())
    for percent in (10, 2, 5, 25, 50):
        yield stores(percent, "weighted", "mask")
        yield rival(MODEL, total * percent // 100)
        yield rival(SHALLOW, total * percent // 100)
    yield Contender(sharing="all_but_bn")
    yield rival(MODEL, parameters_of(Contender(sharing="all_but_bn")))
    for percent in (10, 2, 5, 25, 50):
        yield stores(percent, "embedding", "mask")
        yield stores(percent, "round_robin", "mask")
    for percent in (2, 5, 10):  # with more values no layer is larger than its store
        yield stores(percent, "weighted", "interpolate")
        yield stores(percent, "weighted", "repeat")
    for percent in (10, 50):
        yield stores(percent, "weighted", "mask", "random", "stores=4")


def train_one(
    one: Contender, *, seed: int = 0, root: Path | None = None, progress: bool = True
) -> Run:
    """Train a contender, or go on from its checkpoint; its run if it is finished already.

    `root` is `data/results` if not given. The seed decides the weights, the stores of a random
    mapping, and the order of the images.
    """
    folder = (paths.RESULTS if root is None else Path(root)) / PROTOCOL / f"{one.name}-seed{seed}"
    if not finished(folder):
        images = data.load(DATA)
        recipe = one.recipe(classes=images.classes, seed=seed)
        protocol = Protocol.load(PROTOCOL, width=one.width)
        train(recipe.build(), images, protocol, folder, seed=seed,
              about=recipe.about(), resume=True, progress=progress)  # fmt: skip
    return Run.read(folder)


def learned(percent: float, number: int, *, seed: int = 0, root: Path | None = None) -> Contender:
    """The network with a mapping into so many stores that a short training found (section 3.4).

    One epoch with one store of four templates, of the same budget, that every layer resizes and
    weighs by a layer embedding; then k-means on the embeddings. The run is recorded beside others
    in `stores-mapping`, and the mapping in the name of what it is for.
    """
    first = stores(percent, "embedding", "resized")
    folder = (paths.RESULTS if root is None else Path(root)) / f"{PROTOCOL}-mapping"
    images = data.load(DATA)
    model = first.recipe(classes=images.classes, seed=seed).build()
    protocol = Protocol.load(PROTOCOL, epochs=1)
    about = {"model": first.model, "sharing": first.sharing}
    run = folder / f"{first.name}-seed{seed}"
    train(model, images, protocol, run, seed=seed, about=about, resume=True, progress=False)
    return stores(percent, "weighted", "mask", f"map={cluster(model, number, seed=seed)}")


def runs(root: Path | None = None) -> list[Run]:
    """The finished runs of the comparison; `results.ResultError` where there are none."""
    return [r for r in results.runs(PROTOCOL, root) if r.summary["state"] == "finished"]


def contender(run: Run) -> Contender:
    """The contender that a run trained."""
    config = run.config
    return Contender(config["model"], config["sharing"], config["protocol"]["width"])


def compared(found: Sequence[Run]) -> pd.DataFrame:
    """One row a contender, fewest stored parameters first.

    Columns: network, kind, parameters (stored), percent (of the plain WRN-16-2's), multiply_adds,
    P_G and P_G_spread at the size at which it was tested, seeds, accuracy and its standard
    deviation over seeds, in per cent.
    """
    groups: dict[tuple, list[Run]] = {}
    for run in found:
        one = contender(run)
        unmapped = _unmapped(one)  # seeds have mappings of their own
        groups.setdefault((unmapped.name, one.kind), []).append(run)
    rows = []
    for (name, kind), members in groups.items():
        accuracy = Sample.of([100 * run.summary["test_accuracy"] for run in members])
        q, cost = measured(contender(members[0]))
        rows.append({
            "network": name, "kind": kind, "parameters": members[0].config["parameters"],
            "percent": 100 * members[0].config["parameters"] / parameters_of(Contender()),
            "multiply_adds": cost, "P_G": q.P_G, "P_G_spread": q.P_G_spread,
            "seeds": len(members), "accuracy": accuracy.mean, "sd": accuracy.deviation,
        })  # fmt: skip
    return pd.DataFrame(rows).sort_values(["parameters", "network"], ignore_index=True)


def _unmapped(one: Contender) -> Contender:
    words = one.sharing.split(",")
    return replace(one, sharing=",".join("map" if "map=" in w else w for w in words))


@cache
def measured(one: Contender) -> tuple[Quantities, int]:
    """The quantities and multiply-adds of a contender at the protocol's image size."""
    size = Protocol.load(PROTOCOL).image_size
    recorded = record_model(one.recipe(classes=10, seed=0).build(lazy=True), (1, 3, size, size))
    return recorded.count().quantities(), multiply_adds(recorded)


def estimated(listed: Sequence[Contender]) -> pd.DataFrame:
    """What contenders store and compute, and their estimates, untrained: a row each, by name."""
    rows = {}
    for one in listed:
        q, cost = measured(one)
        rows[one.name] = {
            "parameters": parameters_of(one), "weight nodes": q.weight_nodes,
            "multiply-adds": cost, "P_G": q.P_G, "P′_G": q.P_G_spread,
        }  # fmt: skip
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("network")


def against(models: pd.DataFrame, first: str, second: str) -> str:
    """What the runs say of two contenders by name, as one sentence: Welch's t-test over seeds."""
    rows = models.set_index("network")
    one, other = rows.loc[first], rows.loc[second]
    means = f"{one.accuracy:.1f} % against {other.accuracy:.1f} %"
    if min(one.seeds, other.seeds) < 2:
        return f"{first} and {second} ({means}) have too few seeds to tell them apart."
    test = told_apart(*(Sample(row.accuracy, row.sd, row.seeds) for row in (one, other)))
    return f"{first} {test.word} {second} ({means}; {test.how})."


def against_rivals(models: pd.DataFrame) -> list[str]:
    """What the runs say of each shared network against its plain rivals of equal storage.

    A rival stores no more, and at least nine tenths as much.
    """
    plain = models[models.kind.isin(["narrower", "shallower"])]
    lines = []
    for row in models[~models.kind.isin(["plain", "narrower", "shallower"])].itertuples():
        near = plain[plain.parameters.between(0.9 * row.parameters, row.parameters)]
        lines += [against(models, row.network, other) for other in near.network]
    return lines
