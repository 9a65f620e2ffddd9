"""Every printed number of NN-Mass, what kind of number it is and what became of it.

Networks are built from the printed settings alone: a row's layers, cells, candidates and width
multiplier, and the base channels and further layers that appendix G names for all of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from decimal import Decimal
from functools import cache, partial
from math import log
from statistics import fmean, mean
from typing import NamedTuple

import pandas as pd
from scipy.stats import linregress

from reuseprior.chapters import nn_mass_theorems
from reuseprior.chapters.nn_mass_runs import GRIDS
from reuseprior.chapters.nn_mass_runs import goodness_of_fit as goodness_of_fit
from reuseprior.chapters.nn_mass_runs import runs as runs
from reuseprior.chapters.nn_mass_runs import train_grid as train_grid
from reuseprior.chapters.nn_mass_runs import trained as trained
from reuseprior.chapters.nn_mass_theorems import DERIVATIONS
from reuseprior.contexts import CountingError, record_model
from reuseprior.measures import nn_mass
from reuseprior.measures.nn_mass import KERNEL, Architecture, LongRangeCNN, NotApplicable
from reuseprior.models import build, image_size, without_weights
from reuseprior.models.darts import GENOTYPES, darts
from reuseprior.quantities import Quantities
from reuseprior.report import ledger, published, theorems
from reuseprior.report.ledger import (
    Cell,
    Contradiction,
    Entry,
    Public,
    Reading,
    judged,
    public,
    quoted,
    setting,
)
from reuseprior.report.published import Printed
from reuseprior.report.runs import Claim, Evidence, claimed, measured, runs_for, settings
from reuseprior.results import Run
from reuseprior.training import Protocol

TRANSITIONS = (
    "a cell's first layer is its transition, so 3 d_c convolutions and a classifier; batch norm "
    "over all that a layer reads; no bias but the classifier's"
)
FLOPS = f"{TRANSITIONS}; a multiply-add is two operations, and so is batch norm's of a value"
DRAWN = (
    "figures 2 and 8 draw a convolution before the first of the cells, of d_c layers each, and "
    "appendix G counts 3 d_c + 4 layers"
)
PAPER = f"{GRIDS['full'].protocol}*"  # the folder of runs at the paper's protocol
NEEDS = "trainings of {} epochs of the printed networks"
REDUCED = "nn-mass"  # the folder of our runs
SCALE = "our grid of 12 networks at a quarter of the widths, 3 epochs, CIFAR-10 at 16 pixels"


# Networks from printed settings -------------------------------------------------------------------


def setup(quantity: str) -> list[int | float]:
    """What the text prints of a setting of several networks, as numbers in its order."""
    rows = published.load("nn-mass/setup").query("quantity == @quantity")
    return [_number(text) for text in rows["value"]]


def _number(text: str) -> int | float:
    value = Printed.parse(text).value
    return int(value) if value == int(value) else float(value)


def widths(width_multiplier: int) -> tuple[int, ...]:
    """Channels of each group of layers (appendix G, footnote 6)."""
    return tuple(width_multiplier * base for base in setup("base channels of a group"))


def architecture(row: pd.Series, given: Given | None = None) -> Architecture:
    """The network of a row of table 1 or 2, all layers but those around the cells in its cells."""
    given, cells = given or Given.read(), int(row.cells)
    depth, rest = divmod(int(row.layers) - given.around, cells)
    if rest:
        raise ValueError(f"{row.id}: {row.layers} layers are not {cells} d + {given.around}")
    width_multiplier = int(row.get("width_multiplier", given.width_multiplier))
    channels = tuple(width_multiplier * base for base in given.base[:cells])
    candidates = tuple(int(row[f"t_{cell + 1}"]) for cell in range(cells))
    return Architecture(depth, channels, candidates)


class Given(NamedTuple):
    """What the text prints of all networks."""

    base: tuple[int, ...]  # channels of each group at a width multiplier of one
    around: int  # layers that no cell has
    width_multiplier: int  # where a table prints none

    @classmethod
    def read(cls) -> Given:
        """As printed; table 1's networks are as wide as table 2's, of which one is (footnote 4)."""
        (around,) = setup("layers around the cells")
        same = _table("nn-mass/table-2").loc["nnmass-2-40-60-130-170"]
        return cls(widths(1), around, int(same.width_multiplier))


def networks(table: str) -> dict[str, Architecture]:
    """The networks of a table by the ids of its rows."""
    given = Given.read()
    return {row.id: architecture(row, given) for _, row in published.load(table).iterrows()}


def _table(name: str) -> pd.DataFrame:
    return published.load(name).set_index("id", drop=False)


def with_transitions(one: Architecture) -> int:
    """Parameters if the 3 d_c + 4 layers had weights each, as figure 2 may be read.

    A first convolution and one between cells come before cells of d_c layers of equal width.
    """
    return one.parameters() + _parameters_around(one.widths)


def _parameters_around(groups: Iterable[int]) -> int:
    return sum(KERNEL**2 * width**2 + 2 * width for width in groups)


def flops_with_transitions(one: Architecture, image_size: int = 32) -> int:
    """Operations of that network, two a multiply-add; each cell halves the image (figure 2)."""
    around = sum(
        (KERNEL * width * (image_size >> cell)) ** 2 for cell, width in enumerate(one.widths)
    )
    return 2 * (one.multiply_adds(image_size) + around)


Size = Callable[[Architecture], int]


def _sizes(of: Callable[[Size], float]) -> list[Reading]:
    """A number of parameters, or one made of several, as the text has them and as they fit."""
    fits = Reading(of(Architecture.parameters), TRANSITIONS, against=DRAWN)
    return [Reading(of(with_transitions)), fits]


def _flops(of: Callable[[Size], float]) -> list[Reading]:
    fits = Reading(of(Architecture.flops), FLOPS, against=DRAWN)
    return [Reading(of(flops_with_transitions)), fits]


# Tables 1 and 2 -----------------------------------------------------------------------------------


def table_1() -> Iterator[Entry]:
    """Table 1: the networks that NN-Mass was used to compress, and their accuracies."""
    rows = [row for _, row in published.load("nn-mass/table-1").iterrows()]
    entries = {e.id: e for e in judged(cell for row in rows for cell in _of_table_1(row))}
    for row in rows:
        yield from (entries[f"{row.id}/{column}"] for column in ("params", "flops_G"))
        yield from _settings(row)
        yield entries[f"{row.id}/mass"]
        one, (epochs,) = architecture(row), setup("epochs of the compressed networks")
        shape = {"depth": one.depth, "widths": one.widths, "candidates": one.candidates}
        evidence = Evidence(PAPER, _trained(epochs, shape), _accuracy)
        yield measured(row, "test_accuracy", evidence, NEEDS.format(epochs), of=3)  # p. 10
        yield measured(row, "std", evidence, NEEDS.format(epochs), over_seeds=True)


def _of_table_1(row: pd.Series) -> Iterator[Cell]:
    one = architecture(row)
    yield Cell(row, "params", _sizes(lambda size: size(one)))
    yield Cell(row, "flops_G", _flops(lambda size: size(one) / 1e9))
    yield Cell(row, "mass", [Reading(float(one.mass))])


def _trained(epochs: int, shape: Mapping[str, object], data: str = "cifar10") -> dict:
    """What `config.json` says of a training on all images; `shape` is part of the architecture."""
    printed = {"epochs": epochs, "learning_rate": setup("learning rate")[0]}
    protocol = settings(asdict(Protocol.load("nn-mass-paper")), printed)
    return {"data": data, "architecture": shape, "protocol": protocol}


def _accuracy(found: Sequence[Run]) -> float:
    """The mean over runs, per cent."""
    return 100 * fmean(run.summary["test_accuracy"] for run in found)


def printed_table_2() -> Iterator[Entry]:
    """Table 2: the settings of the networks of every depth and density."""
    for _, row in published.load("nn-mass/table-2").iterrows():
        yield from _settings(row)
        yield setting(row, "width_multiplier")


def _settings(row: pd.Series) -> Iterator[Entry]:
    """What a network is made from."""
    one = architecture(row)
    weights = len(one.widths) * one.depth + 1
    yield setting(row, "layers", f"d_c = {one.depth}; {weights} layers of our build have weights")
    yield setting(row, "cells")
    for cell in range(len(one.widths)):
        yield setting(row, f"t_{cell + 1}")


def contributions() -> Iterator[Entry]:
    """Table 2's first rows: one cell of 46 layers, with three kinds of contributions."""
    groups, (around,) = len(widths(1)), setup("layers around the cells")
    for _, row in published.load("nn-mass/table-2-contributions").iterrows():
        depth = (int(row.layers) - around) // groups
        weights = f"{groups * depth + 1} layers of our build have weights"
        yield setting(row, "layers", f"{groups} groups of {depth}; {weights}")
        yield setting(row, "cells")
        yield setting(row, "candidates", "of any earlier layer")
        yield setting(row, "width_multiplier")


def size_of_contributions(row: pd.Series, around: bool) -> int:
    """Parameters of a network of table 2's first rows, with weights in the layers `around` it.

    In one cell any channel of any group contributes to any other; several cells are the groups.
    """
    groups = widths(int(row.width_multiplier))
    (outside,) = setup("layers around the cells")
    depth, candidates = (int(row.layers) - outside) // len(groups), int(row.candidates)
    if int(row.cells) == 1:
        channels = [width for width in groups for _ in range(depth)]
        total = single_cell_parameters(channels, candidates)
    else:
        total = Architecture(depth, groups, (candidates,) * len(groups)).parameters()
    return total + (_parameters_around(groups) if around else 0)


def single_cell_parameters(widths: list[int], candidates: int, classes: int = 10) -> int:
    """Parameters of one cell of such layers, any of which can be linked to any later one."""
    linked = [min(sum(widths[: max(0, i - 1)]), candidates) for i in range(len(widths))]
    read = [3, *(before + more for before, more in zip(widths, linked[1:], strict=False))]
    kernels = KERNEL**2 * sum(a * b for a, b in zip(read, widths, strict=True))
    return kernels + 2 * (sum(widths) + sum(linked)) + classes * (widths[-1] + 1)


# Appendices ---------------------------------------------------------------------------------------


def appendix_d() -> Iterator[Entry]:
    """Appendix D's example, built from its printed settings."""
    rows, example = _rows_of_d(), example_of_appendix_d()
    last = example.linked_channels(len(example.widths) - 1)
    made: dict[str, float | int] = {
        "mass": float(example.mass),
        "channels linked to layer 2 in figure 8": last[2],
        "channels linked to layer 3 in figure 8": last[3],
    }
    of_all = {e.id: e for e in _densities()}
    for name, row in rows.items():
        if name not in made and name != "density":
            yield setting(row, "value")
    yield of_all[rows["density"].id]
    yield from judged(Cell(rows[name], "value", [Reading(value)]) for name, value in made.items())


def _rows_of_d() -> dict[str, pd.Series]:
    return {row.quantity: row for _, row in published.load("nn-mass/appendix-d").iterrows()}


def example_of_appendix_d() -> Architecture:
    """The network of figure 8."""
    given = {quantity: row["value"] for quantity, row in _rows_of_d().items()}
    cells = range(1, int(given["cells"]) + 1)
    return Architecture(
        depth=int(given["layers a cell"]),
        widths=tuple(int(given[f"width of cell {cell}"]) for cell in cells),
        candidates=tuple(int(given[f"candidates of cell {cell}"]) for cell in cells),
    )


def densities() -> Iterator[Entry]:
    """Appendix G's densities of table 2's networks; appendix H.2 repeats them with two decimals."""
    example = _rows_of_d()["density"].id
    return (e for e in _densities() if e.id != example)


def _densities() -> Iterator[Entry]:
    """Every printed ρ_avg, appendix D's too: one quantity, whose digits are made in one way."""
    built = networks("nn-mass/table-2") | {"nnmass-d-density": example_of_appendix_d()}
    rows = [row for _, row in published.load("nn-mass/appendix-g").iterrows()]
    rows.append(_rows_of_d()["density"])
    values = (float(built[row.id.removesuffix("/density")].density) for row in rows)
    return judged(
        Cell(row, "value", [Reading(value)], quantity="density")
        for row, value in zip(rows, values, strict=True)
    )


def setups(place: str) -> Iterator[Entry]:
    """What the text prints of settings of several networks, in a place."""
    for row in _rows("nn-mass/setup", place):
        yield setting(row, "value", row.quantity)


def _rows(table: str, place: str) -> list[pd.Series]:
    rows = (row for _, row in published.load(table).iterrows())
    return [row for row in rows if row["where"].startswith(place)]


# DARTS --------------------------------------------------------------------------------------------


def quotations() -> Iterator[Entry]:
    """Table 1's rows of DARTS, quoted; the note of a size says what the released cells have."""
    rows = {row.id.removeprefix("nnmass-1-"): row for row in _rows("nn-mass/text", "nnmass, table")}
    for number, order in enumerate(GENOTYPES, 1):
        params, cells, accuracy, std = (
            rows[f"darts-{number}-{what}"] for what in ("params", "cells", "accuracy", "std")
        )
        built = darts_parameters(order, int(cells["value"]))
        said = public(f"DARTS, {order} order, parameters")
        yield quoted(params, "value", said, f"the released cells, counted: {built:,}")
        yield quoted(cells, "value", public("DARTS, cells of the CIFAR-10 network"))
        errors = public(f"DARTS, {order} order, CIFAR-10 test error, %")
        yield quoted(accuracy, "value", [_as_accuracy(error) for error in errors])
        deviation = public(f"DARTS, {order} order, deviation of the CIFAR-10 test error, %")
        yield quoted(std, "value", deviation)


def darts_parameters(order: str, cells: int) -> int:
    """Learnable parameters of the evaluated network of so many cells, as counted."""
    with without_weights():
        model = darts(order, cells=cells)
    return record_model(model, (1, 3, 32, 32)).count().quantities().parameters


def _as_accuracy(error: Public) -> Public:
    """What an accuracy would be printed as where a public source prints the error, per cent."""
    accuracy = 100 - Decimal(error.printed)
    return Public(str(accuracy), f"{error.source}, an error of {error.printed} %")


# The text -----------------------------------------------------------------------------------------


def text(place: str) -> Iterator[Entry]:
    """What the text and the figures say in a place.

    All that follows from tables and definitions is judged together: prose has no column whose
    digits might be cut, so one number alone never shows that it is.
    """
    computed = {e.id: e for e in judged(claims().values())}
    for row in _rows("nn-mass/text", place):
        yield computed[row.id] if row.id in computed else _of_training(row)


def claims() -> dict[str, Cell]:
    """What follows from tables and definitions, by id."""
    rows = _table("nn-mass/text")
    names = {f"{TEXT}{name}": claim for name, claim in CLAIMS.items()}
    return {i: _claim(rows.loc[i], claim) for i, claim in names.items()}


def _claim(row: pd.Series, claim: Callable[[], Sequence[Reading | Contradiction]]) -> Cell:
    found = claim()
    readings = [one for one in found if isinstance(one, Reading)]
    contradiction = next((one for one in found if isinstance(one, Contradiction)), None)
    differences = ("lower", "higher")  # of printed accuracies
    derived = row.id.removeprefix(TEXT) in differences
    return Cell(row, "value", readings, contradiction, derived=derived)


def _some(table: str, **having: str) -> dict[str, Architecture]:
    """The networks of a table whose rows have these cells."""
    rows = _table(table)
    built = networks(table)
    return {
        i: one for i, one in built.items() if all(rows.loc[i, k] == v for k, v in having.items())
    }


_compressed = partial(_some, "nn-mass/table-1", model="proposed")
_large = partial(_some, "nn-mass/table-1", model="large")


def _times_fewer(size: Size) -> float:
    sizes = [size(one) for one in networks("nn-mass/table-1").values()]
    return max(sizes) / min(sizes)


def _of_one_cell(around: bool) -> int | float:
    """Appendix B.1 says one number of all three networks, so it is their mean."""
    rows = published.load("nn-mass/table-2-contributions").iterrows()
    return mean(size_of_contributions(row, around) for _, row in rows)


def _largest_40_layers() -> Architecture:
    return max(_some("nn-mass/table-2", layers="40").values(), key=Architecture.parameters)


def _of_its_mass() -> list[Architecture]:
    """The two networks of 64 layers next to the 40-layer one in mass.

    The text calls them D and E of figure 3, in one bucket with it, and does not say which they are.
    """
    mass = _largest_40_layers().mass
    deep = _some("nn-mass/table-2", layers="64").values()
    return sorted(deep, key=lambda one: abs(one.mass - mass))[:2]


def _printed(table: str, row: str, column: str) -> Decimal:
    return Printed.parse(_table(table).loc[row, column]).value


def _size_of_37_layers() -> list[Reading | Contradiction]:
    name = "nnmass-1-37-70-140-180"
    one, in_table = networks("nn-mass/table-1")[name], _table("nn-mass/table-1").loc[name]
    says = f"table 1, p. 10, prints {in_table.params} for it"
    return [
        *_sizes(lambda size: size(one)),
        Contradiction(in_table.params, says),
    ]


def _mass(found: Callable[[], Mapping[str, Architecture]], which: Callable) -> list:
    """The least or the greatest mass of some networks of table 1, and what is printed there."""
    name, one = which(found().items(), key=lambda pair: pair[1].mass)
    printed = _table("nn-mass/table-1").loc[name, "mass"]
    says = f"table 1, p. 10, prints a mass of {printed}"
    return [Reading(float(one.mass)), Contradiction(printed, says)]


def _fewest_cells() -> list[Reading | Contradiction]:
    tables = ("nn-mass/table-1", "nn-mass/table-2", "nn-mass/table-2-contributions")
    fewest = min(int(cells) for table in tables for cells in published.load(table).cells)
    says = "table 2 and appendix G, p. 20, have a single cell in the first experiment"
    return [Reading(fewest), Contradiction(str(fewest), says)]


def _accuracies(model: str) -> list[Decimal]:
    rows = published.load("nn-mass/table-1").query("model == @model")
    return [Printed.parse(accuracy).value for accuracy in rows.test_accuracy]


def _lower() -> list[Reading]:
    return [Reading(float(max(_accuracies("large")) - min(_accuracies("proposed"))))]


def _higher() -> list[Reading]:
    second = _printed("nn-mass/text", "nnmass-1-darts-2-accuracy", "value")
    return [Reading(float(second - max(_accuracies("proposed"))))]


def _unknown() -> list[Reading]:
    """The networks of appendix H.2 of which neither depth nor density is one of table 2's."""
    layers, densities = setup("layers of unknown networks"), setup("density of unknown networks")
    known_layers = {int(x) for x in published.load("nn-mass/table-2").layers}
    known = {float(x) for x in published.load("nn-mass/appendix-g")["value"]}
    return [Reading(len(set(layers) - known_layers) * len(set(densities) - known))]


def _channels(group: int) -> list[Reading]:
    return [Reading(widths(2)[group])]


TEXT = "nnmass-text-"  # how the ids of what the text says begin
CLAIMS: dict[str, Callable[[], Sequence[Reading | Contradiction]]] = {
    "4.6M": _size_of_37_layers,
    "8M": lambda: [
        Reading(_of_one_cell(around=True)),
        Reading(_of_one_cell(around=False), TRANSITIONS, against=DRAWN),
    ],
    "3x-params": lambda: _sizes(_times_fewer),
    "3x-flops": lambda: _flops(_times_fewer),
    "more-than-3x-params": lambda: _sizes(_times_fewer),
    "more-than-3x-flops": lambda: _flops(_times_fewer),
    "cells": _fewest_cells,
    "40-layers": lambda: _sizes(lambda size: size(_largest_40_layers())),
    "64-layers": lambda: _sizes(lambda size: min(map(size, _of_its_mass()))),
    "8M-large": lambda: _sizes(lambda size: min(map(size, _large().values()))),
    "12M-large": lambda: _sizes(lambda size: max(map(size, _large().values()))),
    "5M": lambda: _sizes(lambda size: size(networks("nn-mass/table-1")["nnmass-1-40-60-130-170"])),
    "mass-least": lambda: _mass(_compressed, min),
    "mass-most": lambda: _mass(_compressed, max),
    "large-least": lambda: _mass(_large, min),
    "large-most": lambda: _mass(_large, max),
    "lower": _lower,
    "higher": _higher,
    "unknown": _unknown,
    "width-1": lambda: _channels(0),
    "width-2": lambda: _channels(1),
    "width-3": lambda: _channels(2),
}
"""What follows from tables and definitions, by the end of its id."""


# What needs training ------------------------------------------------------------------------------


def _of_training(row: pd.Series) -> Entry:
    name = row.id.removeprefix(TEXT)
    if fit := FIT.fullmatch(row.claim):
        return _of_fit(row, fit)
    (epochs,) = setup("epochs of the exploration")
    if name == "runs":
        return setting(row, "value", "of a training")
    if name == "beyond":
        return quoted(row, "value", [], "of four papers that it names")
    if name == "large-accuracy":
        (longer,) = setup("epochs of the compressed networks")
        return measured(row, "value", None, NEEDS.format(longer))
    if name == "rises":
        return claimed(row, "value", RISES, NEEDS.format(epochs))
    if name == "r2-unknown":
        return measured(row, "value", _prediction(), NEEDS.format(epochs))
    if name.startswith("contributions"):
        (epochs,) = setup("epochs of the contributions")
        evidence = _contributions(epochs, _more if name.endswith("more") else _random)
        return measured(row, "value", evidence, NEEDS.format(epochs))
    layers, most = int(name.split("-")[1]), name.endswith("most")
    lacks = f"{NEEDS.format(epochs)}, whose candidates are not printed for width multiplier 1"
    return measured(row, "value", _training_gap(layers, most, epochs), lacks)


FIT = re.compile(
    r"R² of accuracy(?P<cifar100> on CIFAR-100)? against (?P<against>ln \w+), "
    r"width multiplier (?P<width>\d)"
)


def _of_fit(row: pd.Series, fit: re.Match) -> Entry:
    """An R² by runs of the printed grid; without, the claim that mass explains more than size.

    Our reduced grid is of one width and of CIFAR-10, so it bears on the printed middle width alone.
    """
    data, width = "cifar100" if fit["cifar100"] else "cifar10", int(fit["width"])
    evidence, needs = _fit(data, fit["against"], width), NEEDS.format(_exploration())
    if runs_for(evidence) or (data, width) != ("cifar10", 2):
        return measured(row, "value", evidence, needs)
    return replace(claimed(row, "value", EXPLAINS, needs), computed=None)  # no R² of its own


def _exploration() -> int:
    (epochs,) = setup("epochs of the exploration")
    return epochs


def _fit(data: str, against: str, width: int) -> Evidence:
    """R² over the paper's grid of networks at one width multiplier, a value a seed."""
    config = _trained(_exploration(), {"widths": list(widths(width))}, data)
    grid = len(published.load("nn-mass/table-2"))
    return Evidence(PAPER, config, partial(_r_squared, against), grid)


def _r_squared(against: str, found: Sequence[Run]) -> float:
    """R² of a straight line from the logarithm of mass or of parameters to accuracy."""
    accuracy = [run.summary["test_accuracy"] for run in found]
    return linregress([_predictor(against, run) for run in found], accuracy).rvalue ** 2


def _predictor(against: str, run: Run) -> float:
    if against == "ln parameters":
        return log(run.config["parameters"])
    shape = run.config["architecture"]
    lists = {key: tuple(shape[key]) for key in ("widths", "candidates")}
    return log(Architecture(shape["depth"], **lists).mass)


def _prediction() -> Evidence:
    """R² of the line through table 2's networks on those of appendix H.2."""
    unknown = set(setup("layers of unknown networks"))

    def r_squared(found: Sequence[Run]) -> float:
        new = [run for run in found if run.config["layers"] in unknown]
        old = [run for run in found if run.config["layers"] not in unknown]
        x, y = ([_predictor("ln mass", r) for r in old], [r.summary["test_accuracy"] for r in old])
        line, actual = linregress(x, y), [run.summary["test_accuracy"] for run in new]
        guessed = [line.intercept + line.slope * _predictor("ln mass", run) for run in new]
        off = sum((a - b) ** 2 for a, b in zip(actual, guessed, strict=True))
        return 1 - off / sum((a - fmean(actual)) ** 2 for a in actual)

    config = _trained(_exploration(), {"widths": list(widths(2))})
    both = len(published.load("nn-mass/table-2")) + len(unknown) * len(
        setup("density of unknown networks")
    )
    return Evidence(PAPER, config, r_squared, both)


def _contributions(epochs: int, value: Callable[[Sequence[Run]], float]) -> Evidence:
    """Table 2's first networks, one of each kind of contributions."""
    rows = published.load("nn-mass/table-2-contributions")
    columns = ("layers", "cells", "candidates", "width_multiplier")
    shape = {column: int(rows.iloc[0][column]) for column in columns}
    return Evidence(PAPER, _trained(epochs, shape), value, len(rows))


def _random(found: Sequence[Run]) -> float:
    return _accuracy([run for run in found if run.config["contributions"] == "random"])


def _more(found: Sequence[Run]) -> float:
    equal = [run for run in found if run.config["contributions"] != "random"]
    return _random(found) - _accuracy(equal)


def _training_gap(layers: int, most: bool, epochs: int) -> Evidence:
    """By how much networks of width multiplier 1 train less accurately than 64-layer ones do."""

    def gap(found: Sequence[Run]) -> float:
        deep, shallow = (
            [run.metrics.train_accuracy.iloc[-1] for run in found if run.config["layers"] == n]
            for n in (64, layers)
        )
        ends = (max(deep), min(shallow)) if most else (min(deep), max(shallow))
        return 100 * (ends[0] - ends[1])

    config = _trained(epochs, {"widths": list(widths(1))})
    return Evidence(PAPER, config, gap, runs=len(published.load("nn-mass/table-2")))


def _recorded(value: Callable[[Sequence[Run]], float], runs: int, **config) -> Evidence:
    """Our reduced grid, or the networks of one density in it, one a depth."""
    return Evidence(REDUCED, {"data": "cifar10", **config}, value, runs)


_GRID = GRIDS["quick"]
EXPLAINS = Claim(
    ("R² against ln mass", _recorded(partial(_r_squared, "ln mass"), len(_GRID.architectures()))),
    ("R² against ln parameters",
     _recorded(partial(_r_squared, "ln parameters"), len(_GRID.architectures()))),
    SCALE,
)  # fmt: skip
RISES = Claim(
    *(
        (f"density {density}", _recorded(_accuracy, len(_GRID.layers), density=density))
        for density in (max(_GRID.densities), min(_GRID.densities))
    ),
    SCALE,
)


# All of it ----------------------------------------------------------------------------------------


def _both(*parts: Callable[[], Iterable[Entry]]) -> Iterator[Entry]:
    for part in parts:
        yield from part()


def _said(place: str) -> Callable[[], Iterator[Entry]]:
    """The settings and claims of a place of the text."""
    return partial(_both, partial(setups, place), partial(text, place))


PARTS: dict[str, Callable[[], Iterable[Entry]]] = {
    "nnmass, table 1": partial(_both, table_1, quotations),
    "nnmass, table 2": partial(_both, printed_table_2, contributions),
    "nnmass, section": _said("nnmass, section"),
    "nnmass, figure": partial(text, "nnmass, figure"),
    "nnmass, appendix B": _said("nnmass, appendix B"),
    "nnmass, appendix D": appendix_d,
    "nnmass, appendix G": partial(_both, densities, _said("nnmass, appendix G")),
    "nnmass, appendix H": _said("nnmass, appendix H"),
    "nnmass, theorems": partial(theorems.entries, DERIVATIONS, "nnmass", "nnmass, theorems"),
}
"""How the places of the paper's printed numbers begin, and their entries."""


def printed_beside_computed() -> pd.DataFrame:
    """Table 1, `printed | computed` and the verdict, a row a network."""
    formats = {
        "mass": "{:.2f}".format,
        "params": "{:,}".format,
        "flops_G": "{:.3f}".format,
        "test_accuracy": str,
    }
    return ledger.side_by_side(table_1(), formats)


@cache
def counted(one: Architecture, size: int = 32) -> Quantities:
    """The quantities of a network with random long-range links, on images of so many pixels."""
    with without_weights():
        model = LongRangeCNN(one)
    return record_model(model, (1, 3, size, size)).count().quantities()


def table_2() -> pd.DataFrame:
    """Table 2's twenty networks.

    Columns: layers, candidates, printed and density (ρ_avg), mass, parameters, P_G and P_G_spread
    on CIFAR's 32 × 32 pixels.
    """
    rows, printed = [], published.load("nn-mass/appendix-g").set_index("id")["value"]
    for _, row in published.load("nn-mass/table-2").iterrows():
        one, q = architecture(row), counted(architecture(row))
        rows.append(
            {
                "layers": int(row.layers),
                "candidates": " ".join(map(str, one.candidates)),
                "printed": printed[f"{row.id}/density"],
                "density": float(one.density),
                "mass": float(one.mass),
                "parameters": one.parameters(),
                "P_G": q.P_G,
                "P_G_spread": q.P_G_spread,
            }
        )
    return pd.DataFrame(rows)


def bounds_of_table_1(examples: int = 50_000) -> pd.DataFrame:
    """What Theorem 2 says of table 1's networks, by mass, at one σ for all of them.

    Columns: eq. 14's divergence (nats; and times 2σ, where σ drops out), the mended one, and what
    either adds to the training error, in per cent, with a confidence of 95 %.
    """
    built = networks("nn-mass/table-1").values()
    most_links = max(one.widths[-1] + one.candidates[-1] for one in built)
    rows = {}
    for mass in sorted(float(one.mass) for one in built):
        printed = nn_mass_theorems.divergence(mass, most_links)
        mended = nn_mass_theorems.repaired_divergence(mass, most_links)
        rows[f"m = {mass:.1f}"] = {
            "2σ KL, eq. 14": 2 * most_links * printed,
            "KL, eq. 14": printed,
            "KL, mended": mended,
            "bound, %": 100 * nn_mass_theorems.bound(printed, examples),
            "bound mended, %": 100 * nn_mass_theorems.bound(mended, examples),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def of_models(names: Iterable[str]) -> pd.DataFrame:
    """NN-Mass of models by name, as in `models.find`, beside P_G on the same record.

    Columns: mass, density, reason (why there are none of both), parameters with a context, P_G and
    P_G_spread; by name, at the size that the model is made for.
    """
    rows = {}
    for name in names:
        size = image_size(name)
        recorded = record_model(build(name), (1, 3, size, size))
        try:
            found, reason = nn_mass.measure(recorded), ""
        except (NotApplicable, CountingError) as error:
            found, reason = None, str(error)
        q = recorded.count().quantities()
        rows[name] = {
            "mass": found.mass if found else float("nan"),
            "density": found.density if found else float("nan"),
            "parameters": q.parameters,
            "P_G": q.P_G,
            "P_G_spread": q.P_G_spread,
            "reason": reason,
        }
    return pd.DataFrame.from_dict(rows, orient="index")
