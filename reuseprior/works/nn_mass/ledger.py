"""Every printed number of NN-Mass's tables and appendix D, with what became of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from statistics import stdev

from reuseprior.measures.nn_mass.architecture import BASE_WIDTHS, KERNEL, Architecture
from reuseprior.press import published, theorems
from reuseprior.press.ledger import Entry, Reading, entry, judge, judged
from reuseprior.press.runs import Evidence, recorded, settings
from reuseprior.results import Run
from reuseprior.training import Protocol
from reuseprior.works.nn_mass.experiments import GRIDS, goodness_of_fit, trained
from reuseprior.works.nn_mass.theory import DERIVATIONS

TRANSITIONS = (
    "a cell's first layer is its transition, so 3 d_c convolutions and a classifier; batch norm "
    "over all that a layer reads; no bias but the classifier's"
)
FLOPS = f"{TRANSITIONS}; a multiply-add is two operations, and so is batch norm's of a value"
UNTRAINED = "waits for full trainings of {epochs} epochs; our recorded grid is a reduced one"
PAPER = f"{GRIDS['full'].protocol}*"  # the folder of runs at the paper's protocol
QUOTED = "quoted from Liu et al. (2018), whose networks are not built here"


def entries() -> Iterator[Entry]:
    """Tables 1 and 2, appendix D, what the text says of them, and the theorems, judged."""
    yield from table_1()
    yield from table_2()
    yield from contributions()
    yield from appendix_d()
    yield from text()
    yield from theorems.entries(DERIVATIONS, "nnmass", "nnmass, theorems")


def architecture(row) -> Architecture:
    """The network of a row of table 1 or 2."""
    candidates = tuple(int(row[f"t_{cell}"]) for cell in (1, 2, 3))
    return Architecture.of_layers(int(row.layers), candidates)


def table_1() -> Iterator[Entry]:
    """Table 1: the networks that NN-Mass was used to compress, and their accuracies."""
    for _, row in published.load("nn-mass/table-1").iterrows():
        one = architecture(row)
        printed = Reading(with_transitions(one)), Reading(one.parameters(), TRANSITIONS)
        yield judged(row, "params", printed)
        yield judged(row, "flops_G", [Reading(one.flops() / 1e9, FLOPS)])
        yield from _settings(row, one)
        yield judged(row, "mass", [Reading(float(one.mass))])
        shape = {"depth": one.depth, "widths": one.widths, "candidates": one.candidates}
        mean = Evidence(PAPER, _trained(600, shape), _accuracy)
        spread = replace(mean, over=stdev, seeds=2)
        yield recorded(row, "test_accuracy", mean, UNTRAINED.format(epochs=600))
        yield recorded(row, "std", spread, UNTRAINED.format(epochs=600))


def _trained(epochs: int, shape: Mapping[str, object], data: str = "cifar10") -> dict:
    """What `config.json` says of a training on all images; `shape` is part of the architecture."""
    protocol = settings(asdict(Protocol.load("nn-mass-paper")), {"epochs": epochs})
    return {"data": data, "architecture": shape, "protocol": protocol}


def _accuracy(found: Sequence[Run]) -> float:
    """Per cent."""
    return 100 * found[0].summary["test_accuracy"]


def with_transitions(one: Architecture) -> int:
    """Parameters if the 3 d_c + 4 layers had weights each, as figure 2 may be read.

    A first convolution and one between cells come before cells of d_c layers of equal width.
    """
    widths = one.widths
    return one.parameters() + sum(KERNEL**2 * width**2 + 2 * width for width in widths)


def table_2() -> Iterator[Entry]:
    """Table 2: the networks of every depth and density; densities are appendix G's."""
    for _, row in published.load("nn-mass/table-2").iterrows():
        one = architecture(row)
        yield from _settings(row, one)
        yield _setting(row, "width_multiplier", one.widths[0] // BASE_WIDTHS[0])
        yield judged(row, "density", [Reading(float(one.density))])


def _settings(row, one: Architecture) -> Iterator[Entry]:
    """What a network is made from, as its closed form has it."""
    yield _setting(row, "layers", len(one.widths) * one.depth + 4, f"d_c = {one.depth}")
    yield _setting(row, "cells", len(one.widths))
    for cell in range(len(one.widths)):
        most = max(one.linked_channels(cell))
        yield _setting(row, f"t_{cell + 1}", most, "so many channels are linked to the last layer")


def _setting(row, column: str, value: int, note: str = "") -> Entry:
    verdict, value, _ = judge(row[column], [Reading(value)])
    return entry(row, column, value, verdict, f"a setting; {note}".removesuffix("; "))


def contributions() -> Iterator[Entry]:
    """Table 2's first rows: one cell of 46 layers, with three kinds of contributions."""
    depth = (46 - 4) // 3
    for _, row in published.load("nn-mass/table-2-contributions").iterrows():
        widths = single_cell_widths(depth)
        yield _setting(row, "layers", len(widths) + 4, f"three groups of {depth}")
        yield _setting(row, "cells", 1)
        yield _setting(row, "candidates", max(_linked(widths, 200)), "of any earlier layer")
        yield _setting(row, "width_multiplier", widths[0] // BASE_WIDTHS[0])


def single_cell_widths(depth: int, width_multiplier: int = 2) -> list[int]:
    """Channels of every layer of one cell with three groups of widths (footnote 7)."""
    return [width_multiplier * base for base in BASE_WIDTHS for _ in range(depth)]


def single_cell_parameters(widths: list[int], candidates: int, classes: int = 10) -> int:
    """Parameters of one cell of such layers, any of which can be linked to any later one."""
    linked = _linked(widths, candidates)
    read = [3, *(before + more for before, more in zip(widths, linked[1:], strict=False))]
    kernels = KERNEL**2 * sum(a * b for a, b in zip(read, widths, strict=True))
    return kernels + 2 * (sum(widths) + sum(linked)) + classes * (widths[-1] + 1)


def _linked(widths: list[int], candidates: int) -> list[int]:
    return [min(sum(widths[: max(0, i - 1)]), candidates) for i in range(len(widths))]


def appendix_d() -> Iterator[Entry]:
    """Appendix D's example."""
    example = Architecture(depth=4, widths=(2, 3, 4), candidates=(3, 4, 5))
    made: dict[str, float | int] = {
        "cells": len(example.widths),
        "layers a cell": example.depth,
        "density": float(example.density),
        "mass": float(example.mass),
    }
    for cell in range(3):
        made[f"width of cell {cell + 1}"] = example.widths[cell]
        made[f"candidates of cell {cell + 1}"] = max(example.linked_channels(cell))
    for layer in (2, 3):
        made[f"channels linked to layer {layer} in figure 8"] = example.linked_channels(2)[layer]
    for _, row in published.load("nn-mass/appendix-d").iterrows():
        yield judged(row, "value", [Reading(made[row.quantity])])


def text() -> Iterator[Entry]:
    """What the text and table 1's quotations say."""
    for _, row in published.load("nn-mass/text").iterrows():
        if row.claim in CLAIMS:
            yield judged(row, "value", CLAIMS[row.claim]())
        elif fit := FIT.fullmatch(row.claim):
            data = "cifar100" if fit["cifar100"] else "cifar10"
            evidence = _fit(data, fit["against"], int(fit["width"]))
            yield recorded(row, "value", evidence, UNTRAINED.format(epochs=200))
        else:
            note = QUOTED if row.claim.startswith("DARTS") else UNTRAINED.format(epochs=200)
            yield judged(row, "value", [], note)


FIT = re.compile(
    r"R² of accuracy(?P<cifar100> on CIFAR-100)? against (?P<against>ln \w+), "
    r"width multiplier (?P<width>\d)"
)


def _fit(data: str, against: str, width: int) -> Evidence:
    """R² over the paper's grid of networks at one width multiplier, a value a seed."""
    shape = {"widths": [width * base for base in BASE_WIDTHS]}
    networks = len(GRIDS["full"].architectures())

    def r_squared(found: Sequence[Run]) -> float:
        return float(goodness_of_fit(trained(found)).R2[against])

    return Evidence(PAPER, _trained(200, shape, data), r_squared, runs=networks)


def _of_37_layers() -> list[Reading]:
    return [Reading(Architecture.of_layers(37, (70, 140, 180)).parameters(), TRANSITIONS)]


def _of_one_cell() -> list[Reading]:
    return [Reading(single_cell_parameters(single_cell_widths(14), 200), TRANSITIONS)]


def _times_fewer(size: Callable[[Architecture], int]) -> list[Reading]:
    networks = [architecture(row) for _, row in published.load("nn-mass/table-1").iterrows()]
    sizes = [size(one) for one in networks]
    return [Reading(max(sizes) / min(sizes))]


CLAIMS: dict[str, Callable[[], list[Reading]]] = {
    "parameters of the 37-layer network": _of_37_layers,
    "parameters of the 46-layer network of one cell": _of_one_cell,
    "most times fewer parameters than the large network": partial(
        _times_fewer, Architecture.parameters
    ),
    "most times fewer FLOPs than the large network": partial(_times_fewer, Architecture.flops),
}
