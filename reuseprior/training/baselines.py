"""Ways of sharing against each other and against plain baselines, at equal budgets on CIFAR-10.

A model is a network of the catalogue by how it shares and how wide it is. Two plain ones are
shared in every way: a wide ResNet, of full convolutions, and a narrow VS-Xception, of depthwise and
pointwise ones. A baseline is a plain network, narrower or shallower, that stores as much. All are
trained by the protocol `stores`, so that their accuracies stand on one scale.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from math import gcd
from pathlib import Path
from statistics import fmean

import pandas as pd
from torch import nn

from reuseprior import data, paths, results, sharing
from reuseprior.contexts import multiply_adds, trace_model
from reuseprior.errors import UserError
from reuseprior.measures.statistics import Sample, told_apart
from reuseprior.models import ModelConfig, resnets, without_weights
from reuseprior.quantities import Quantities
from reuseprior.results import Run, finished
from reuseprior.training.protocol import Protocol
from reuseprior.training.trainer import train

DATA = "cifar10"
PROTOCOL = "stores"
EXPERIMENTS = ("stores", "channels")  # the folders of `data/results` in which their runs lie
SHALLOW = "wrn-10-2"
GRAIN = 256  # widths of baselines are whole numbers of this part


@dataclass(frozen=True)
class Model:
    """A model of the catalogue by how it shares, as `sharing.apply` takes it, and its width."""

    model: str
    sharing: str = "none"
    width: float = 1.0

    @property
    def name(self) -> str:
        """Its name in folders of runs: wrn-16-2-stores-10pct-weighted-mask, wrn-10-2-width0.25."""
        shared = "" if self.sharing == "none" else "-" + self.sharing.translate(_PLAIN)
        return f"{self.model}{shared}{'' if self.width == 1 else f'-width{self.width:g}'}"

    @property
    def kind(self) -> str:
        """What a reader calls it: stores (weighted, mask), channels (full), scopes, narrower …"""
        if self.sharing == "none":
            if self in (WIDE, SMALL):
                return "plain"
            return "shallower" if self.model == SHALLOW else "narrower"
        name, colon, rest = self.sharing.partition(":")
        if not colon or name == "scopes":
            return "scopes"
        words = [word for word in rest.split(",")[1:] if "=" not in word]
        if name == "channels":
            words = words or ["depthwise"]
        if "map=" in rest:
            words.append("learned mapping")
        return f"{name} ({', '.join(words)})" if words else name

    def config(self, *, classes: int = 10, seed: int = 0) -> ModelConfig:
        """All that it is built from."""
        options = {"width": self.width, "bn_momentum": Protocol.load(PROTOCOL).bn_momentum}
        return ModelConfig(self.model, self.sharing, classes, options, seed)


_PLAIN = str.maketrans({":": "-", ",": "-", "=": "", "%": "pct"})
WIDE = Model("wrn-16-2")
SMALL = Model("vs-xception", width=0.25)


def shared(plain: Model, spec: str, *words: str) -> Model:
    """The network that shares by a spec: `shared(WIDE, "stores:10%", "mask")`."""
    return replace(plain, sharing=",".join([spec, *words]))


@cache
def parameters_of(one: Model) -> int:
    """Parameters that a model stores."""
    return sum(p.numel() for p in one.config().build(lazy=True).parameters())


@cache
def counted(one: Model, seed: int = 0) -> tuple[Quantities, int]:
    """The quantities and multiply-adds of a model at the protocol's image size.

    The seed decides a random mapping, and nothing else that is counted.
    """
    size = Protocol.load(PROTOCOL).image_size
    traced = trace_model(one.config(seed=seed).build(lazy=True), (1, 3, size, size))
    return traced.count().quantities(), multiply_adds(traced)


@cache
def baseline(model: str, parameters: int) -> Model:
    """The widest plain network of a model that stores no more than so many parameters.

    Of the widths that make it, the one of the roundest number. Raises `UserError` where even the
    narrowest stores more.
    """
    low, high = 0, 4 * GRAIN  # the narrowest and widest that are thought of
    while high - low > 1:
        middle = (low + high) // 2
        size = parameters_of(Model(model, width=middle / GRAIN))
        low, high = (middle, high) if size <= parameters else (low, middle)
    if not low:
        raise UserError(
            f"no {model} stores {parameters:,} parameters or fewer: give a larger budget"
        )
    size = parameters_of(Model(model, width=low / GRAIN))
    equal = [low]  # channels are whole numbers, so that widths close by are one network
    while parameters_of(Model(model, width=(equal[-1] - 1) / GRAIN)) == size:
        equal.append(equal[-1] - 1)
    return Model(model, width=max(equal, key=lambda width: gcd(width, GRAIN)) / GRAIN)


def train_one(
    one: Model, experiment: str, *, seed: int = 0, root: Path | None = None,
    progress: bool = True,
) -> Run:  # fmt: skip
    """Train a model, or go on from its checkpoint; its run if it is finished already.

    The run lies in the folder `experiment` of `root`, which is `data/results` if not given. The
    seed decides the weights, the stores of a random mapping, and the order of the images.
    """
    folder = (paths.RESULTS if root is None else Path(root)) / experiment / f"{one.name}-seed{seed}"
    if not finished(folder):
        images = data.load(DATA)
        config = one.config(classes=images.classes, seed=seed)
        protocol = Protocol.load(PROTOCOL, width=one.width)
        train(config.build(), images, protocol, folder, seed=seed,
              about=config.about(), resume=True, progress=progress)  # fmt: skip
    return Run.read(folder)


def runs(root: Path | None = None) -> list[Run]:
    """The finished runs of all models, as far as there are any."""
    finished = [run for name in EXPERIMENTS for run in results.finished_runs(name, root)]
    return [run for run in finished if _as_compared(run)]


def _as_compared(run: Run) -> bool:
    """Whether a run has the data and the protocol of the comparison."""
    protocol = vars(Protocol()) | run.config["protocol"]  # what it does not know is at its default
    same = protocol == vars(Protocol.load(PROTOCOL, width=protocol["width"]))
    return same and run.config["data"] == DATA


def model_of(run: Run) -> Model:
    """The model that a run trained."""
    config = run.config
    return Model(config["model"], config["sharing"], config["protocol"]["width"])


def listed(planned: Iterable) -> list[Model]:
    """The models of planned trainings, as `report.campaign` has them, each once."""
    every = [Model(o.model, o.sharing, o.changed.get("width", 1.0)) for o in planned]
    return list(dict.fromkeys(every))


def compared(trainings: Sequence[Run]) -> pd.DataFrame:
    """One row a model, fewest stored parameters first.

    Columns: network, model, kind, parameters (stored), multiply_adds, P_G and P_G_spread at the
    size of its test, seeds, accuracy and its standard deviation over seeds, in per cent.
    Seeds whose stores are mapped otherwise count as one model, with the mean of their P_G, and
    two runs of one seed as one.
    """
    columns = ["network", "model", "kind", "parameters", "multiply_adds", "P_G", "P_G_spread",
               "seeds", "accuracy", "sd"]  # fmt: skip
    table = results.table(trainings).reindex(columns=["run", "seed", "parameters", "test_accuracy"])
    table["network"] = [re.sub("-map[0-9a-z]+", "-map", model_of(run).name) for run in trainings]
    rows = []
    for name, members in table.drop_duplicates(["network", "seed"]).groupby("network"):
        one = model_of(members.run.iloc[0])
        accuracy = Sample.of(100 * members.test_accuracy)
        seeds = members.seed if "random" in one.sharing else [0] * len(members)
        counts = [counted(*of) for of in set(zip(map(model_of, members.run), seeds, strict=True))]
        rows.append([
            name, one.model, one.kind, members.parameters.iloc[0], counts[0][1],
            fmean(q.P_G for q, _ in counts), fmean(q.P_G_spread for q, _ in counts),
            len(members), accuracy.mean, accuracy.deviation,
        ])  # fmt: skip
    table = pd.DataFrame(rows, columns=columns)
    return table.sort_values(["parameters", "network"], ignore_index=True)


def estimated(listed: Iterable[Model]) -> pd.DataFrame:
    """What models store and compute, and their estimates, untrained: a row each, by name."""
    rows = {}
    for one in listed:
        q, cost = counted(one)
        rows[one.name] = {
            "model": one.model, "kind": one.kind, "parameters": parameters_of(one),
            "weight nodes": q.weight_nodes, "multiply-adds": cost, "P_G": q.P_G,
            "P′_G": q.P_G_spread,
        }  # fmt: skip
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("network")


def against(models: pd.DataFrame, first: str, second: str) -> str:
    """What runs say of two models by name, as one sentence: Welch's t-test over seeds."""
    rows = models.set_index("network")
    one, other = rows.loc[first], rows.loc[second]
    means = f"{one.accuracy:.1f} % against {other.accuracy:.1f} %"
    if min(one.seeds, other.seeds) < 2:
        return f"{first} and {second} ({means}) have too few seeds to tell them apart."
    test = told_apart(*(Sample(row.accuracy, row.sd, row.seeds) for row in (one, other)))
    return f"{first} {test.word} {second} ({means}; {test.how})."


def against_baselines(models: pd.DataFrame) -> list[str]:
    """What runs say of each network that shares against its plain baselines of equal storage.

    A baseline stores no more, and at least nine tenths as much.
    """
    smaller = models.kind.isin(["narrower", "shallower"])
    plain = models[smaller]
    lines = []
    for row in models[~smaller & (models.kind != "plain")].itertuples():
        near = plain[plain.parameters.between(0.9 * row.parameters, row.parameters)]
        family = row.model.partition("-")[0]
        lines += [against(models, row.network, other.network) for other in near.itertuples()
                  if other.model.partition("-")[0] == family]  # fmt: skip
    return lines


# The networks of Bidart's notebooks ---------------------------------------------------------------

_SEPARABLE = {
    "removed": "narrowing",
    "depthwise": "channels:{},layers=shared.*",
    "pointwise": "channels:{},pointwise,layers=shared.*.pointwise",
}
_RESNET = {
    "removed": "narrowing",
    "shared": "channels:{},full,norms,layers=layer[234].*.body.*",
    "repeated": "channels:{},full,norms,layers=layer[234].*",
}
NOTEBOOKS = {
    "xception": (resnets.cifar_xception, _SEPARABLE),
    "vs-xception": (resnets.vs_xception, _SEPARABLE),
    "resnet18": (resnets.cifar_resnet18, _RESNET),
}
"""How each column of their tables makes them smaller."""


def notebook(network: str, column: str, factor: int) -> nn.Module:
    """A notebook's network without weights, narrowed or with filters that repeat."""
    factory, columns = NOTEBOOKS[network]
    with without_weights():
        if columns[column] == "narrowing":
            return factory(narrowing=factor)
        return sharing.apply(factory(), columns[column].format(factor))
