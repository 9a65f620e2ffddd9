"""Stores at equal budgets: one small wide ResNet on CIFAR-10, and its rivals."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from reuseprior import data, paths
from reuseprior.sharing import cluster
from reuseprior.training import Protocol, contenders, train
from reuseprior.training.contenders import SHALLOW, WIDE, Contender, parameters_of, rival, shared

EXPERIMENT = "stores"
BUDGETS = (10, 2, 5, 25, 50)  # per cent of the plain network's parameters, the first matter most


def stores(percent: float, *words: str) -> Contender:
    """The wide ResNet made of so many per cent of its parameters."""
    return shared(WIDE, f"stores:{percent:g}%", *words)


def narrower(percent: float, model: str = WIDE.model) -> Contender:
    """The rival that stores no more than so many per cent of the wide ResNet."""
    return rival(model, int(parameters_of(WIDE) * percent / 100))


def compared_with() -> Iterator[Contender]:
    """All of the comparison but learned mappings, those that matter most first.

    At each budget: stores by generator and upsampler, and plain networks, narrower and shallower,
    that store as much. The plain network itself computes as much as every one that shares.
    """
    yield WIDE
    for percent in BUDGETS:
        yield stores(percent, "weighted", "mask")
        yield narrower(percent)
        yield narrower(percent, SHALLOW)
    scopes = shared(WIDE, "all_but_bn")
    yield scopes
    yield rival(WIDE.model, parameters_of(scopes))
    for percent in BUDGETS:
        yield stores(percent, "embedding", "mask")
        yield stores(percent, "round_robin", "mask")
    for percent in (2, 5, 10):  # with more values no layer is larger than its store
        yield stores(percent, "weighted", "interpolate")
        yield stores(percent, "weighted", "repeat")
    for percent in (10, 50):
        yield stores(percent, "weighted", "mask", "random", "stores=4")


def learned(percent: float, number: int, *, seed: int = 0, root: Path | None = None) -> Contender:
    """The network with a mapping into so many stores that a short training found (section 3.4).

    One epoch with one store of four templates, of the same budget, that every layer resizes and
    weighs by a layer embedding; then k-means on the embeddings. The run is recorded beside others
    in `stores-mapping`, and the mapping in the name of what it is for.
    """
    first = stores(percent, "embedding", "resized")
    folder = (paths.RESULTS if root is None else Path(root)) / f"{EXPERIMENT}-mapping"
    images = data.load(contenders.DATA)
    model = first.recipe(classes=images.classes, seed=seed).build()
    protocol = Protocol.load(contenders.PROTOCOL, epochs=1)
    about = {"model": first.model, "sharing": first.sharing}
    run = folder / f"{first.name}-seed{seed}"
    train(model, images, protocol, run, seed=seed, about=about, resume=True, progress=False)
    return stores(percent, "weighted", "mask", f"map={cluster(model, number, seed=seed)}")
