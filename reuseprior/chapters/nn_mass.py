"""Every printed number of NN-Mass, what kind of number it is and what became of it.

Networks are built from the printed settings alone: a row's layers, cells, candidates and width
multiplier, and the base channels and further layers that appendix G names for all of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from decimal import Decimal
from fractions import Fraction
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
from reuseprior.contexts import CountingError, trace_model
from reuseprior.measures import nn_mass
from reuseprior.measures.nn_mass import KERNEL, Architecture, LongRangeCNN, NotApplicable
from reuseprior.models import build, image_size, without_weights
from reuseprior.models.darts import darts
from reuseprior.quantities import Quantities
from reuseprior.report import cells, ledger, published
from reuseprior.report.cells import Cells
from reuseprior.report.ledger import Cell, Contradiction, Interpretation, Public, judged, public
from reuseprior.report.published import Printed
from reuseprior.report.runs import Claim, RunSelection, runs_for, settings
from reuseprior.results import Run
from reuseprior.training import Protocol

PARTS = Cells(
    __name__,
    "nn-mass/cells",
    {"nnmass, theorems": partial(cells.of_theorems, DERIVATIONS, "nnmass", "nnmass, theorems")},
)

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


def architecture(row: pd.Series, said: Given | None = None) -> Architecture:
    """The network of a row of table 1 or 2, all layers but those around the cells in its cells."""
    said, cells = said or Given.read(), int(row.cells)
    depth, rest = divmod(int(row.layers) - said.around, cells)
    if rest:
        raise ValueError(f"{row.id}: {row.layers} layers are not {cells} d + {said.around}")
    width_multiplier = int(row.get("width_multiplier", said.width_multiplier))
    channels = tuple(width_multiplier * base for base in said.base[:cells])
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
        same = published.row("nn-mass/table-2", "nnmass-2-40-60-130-170")
        return cls(widths(1), around, int(same.width_multiplier))


def networks(table: str) -> dict[str, Architecture]:
    """The networks of a table by the ids of its rows."""
    said = Given.read()
    return {row.id: architecture(row, said) for _, row in published.load(table).iterrows()}


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


def _sizes(of: Callable[[Size], float]) -> list[Interpretation]:
    """A number of parameters, or one made of several, as the text has them and as they fit."""
    fits = Interpretation(of(Architecture.parameters), TRANSITIONS, contradicted=DRAWN)
    return [Interpretation(of(with_transitions)), fits]


def _flops(of: Callable[[Size], float]) -> list[Interpretation]:
    fits = Interpretation(of(Architecture.flops), FLOPS, contradicted=DRAWN)
    return [Interpretation(of(flops_with_transitions)), fits]


# Tables and appendices ----------------------------------------------------------------------------


def parameters(row: pd.Series) -> list[Interpretation]:
    """Parameters of a network of table 1."""
    return _sizes(lambda size: size(architecture(row)))


def flops(row: pd.Series) -> list[Interpretation]:
    """Its operations, in billions."""
    return _flops(lambda size: size(architecture(row)) / 1e9)


def mass(row: pd.Series) -> float:
    """Its NN-Mass."""
    return float(architecture(row).mass)


def layers(row: pd.Series) -> str:
    """What the layers of a network are made of."""
    one = architecture(row)
    weights = len(one.widths) * one.depth + 1
    return f"d_c = {one.depth}; {weights} layers of our build have weights"


def layers_of_groups(row: pd.Series) -> str:
    """The same of table 2's first rows: one cell of 46 layers, of three groups."""
    groups, (around,) = len(widths(1)), setup("layers around the cells")
    depth = (int(row.layers) - around) // groups
    return f"{groups} groups of {depth}; {groups * depth + 1} layers of our build have weights"


def accuracy(row: pd.Series, column: str) -> tuple[RunSelection, str, dict]:
    """The mean of three trainings (p. 10), or their deviation."""
    one, (epochs,) = architecture(row), setup("epochs of the compressed networks")
    shape = {"depth": one.depth, "widths": one.widths, "candidates": one.candidates}
    selection = RunSelection(PAPER, _trained(epochs, shape), _accuracy)
    return selection, NEEDS.format(epochs), {"of": 3, "over_seeds": column == "std"}


def _trained(epochs: int, shape: Mapping[str, object], data: str = "cifar10") -> dict:
    """What `config.json` says of a training on all images; `shape` is part of the architecture."""
    printed = {"epochs": epochs, "learning_rate": setup("learning rate")[0]}
    protocol = settings(asdict(Protocol.load("nn-mass-paper")), printed)
    return {"data": data, "architecture": shape, "protocol": protocol}


def _accuracy(trainings: Sequence[Run]) -> float:
    """The mean over runs, per cent."""
    return 100 * fmean(run.summary["test_accuracy"] for run in trainings)


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


def _rows_of_d() -> dict[str, pd.Series]:
    return {row.quantity: row for _, row in published.load("nn-mass/appendix-d").iterrows()}


def example_of_appendix_d() -> Architecture:
    """The network of figure 8."""
    values = {quantity: row["value"] for quantity, row in _rows_of_d().items()}
    cells = range(1, int(values["cells"]) + 1)
    return Architecture(
        depth=int(values["layers a cell"]),
        widths=tuple(int(values[f"width of cell {cell}"]) for cell in cells),
        candidates=tuple(int(values[f"candidates of cell {cell}"]) for cell in cells),
    )


def mass_of_appendix_d() -> float:
    """The example's NN-Mass."""
    return float(example_of_appendix_d().mass)


def linked_channels(layer: int) -> int:
    """Channels that are linked to a layer of the example's last cell."""
    example = example_of_appendix_d()
    return example.linked_channels(len(example.widths) - 1)[layer]


def density(row: pd.Series) -> ledger.Entry:
    """A printed ρ_avg, judged with all others, appendix D's too: one quantity, made in one way.

    Appendix H.2 repeats those of appendix G with two decimals.
    """
    built = networks("nn-mass/table-2") | {"nnmass-d-density": example_of_appendix_d()}
    rows = [one for _, one in published.load("nn-mass/appendix-g").iterrows()]
    rows.append(_rows_of_d()["density"])
    values = (float(built[one.id.removesuffix("/density")].density) for one in rows)
    cells = [
        Cell(one, "value", [Interpretation(value)], quantity="density")
        for one, value in zip(rows, values, strict=True)
    ]
    return next(entry for entry in judged(cells) if entry.id == row.id)


# DARTS --------------------------------------------------------------------------------------------


def darts_size(row: pd.Series, order: str) -> list[Public | str]:
    """A printed size of DARTS; the note says what the released cells have."""
    cells = published.row("nn-mass/text", row.id.replace("-params", "-cells"))
    counted = darts_parameters(order, int(cells["value"]))
    said = public(f"DARTS, {order} order, parameters")
    return [*said, f"the released cells, counted: {counted:,}"]


def darts_parameters(order: str, cells: int) -> int:
    """Learnable parameters of the evaluated network of so many cells, as counted."""
    with without_weights():
        model = darts(order, cells=cells)
    return trace_model(model, (1, 3, 32, 32)).count().quantities().parameters


def darts_accuracy(order: str) -> list[Public]:
    """What an accuracy would be printed as where a public source prints the error, per cent."""
    return [
        Public(str(100 - Decimal(one.printed)), f"{one.source}, an error of {one.printed} %")
        for one in public(f"DARTS, {order} order, CIFAR-10 test error, %")
    ]


# The text -----------------------------------------------------------------------------------------


def _some(table: str, having: Mapping[str, str]) -> dict[str, Architecture]:
    """The networks of a table whose rows have these cells."""
    rows, built = published.load(table).set_index("id", drop=False), networks(table)
    return {
        i: one for i, one in built.items() if all(rows.loc[i, k] == v for k, v in having.items())
    }


ENDS = {"min": min, "max": max}


def size_among(end: str, table: str, having: Mapping[str, str]) -> list[Interpretation]:
    """The least or the greatest size of the networks of a table that have these cells."""
    built = _some(f"nn-mass/{table}", having).values()
    return _sizes(lambda size: ENDS[end](map(size, built)))


def mass_among(end: str, model: str) -> list[Interpretation | Contradiction]:
    """The least or the greatest mass of table 1's networks of a kind, and what is printed there."""
    built = _some("nn-mass/table-1", {"model": model})
    name, one = ENDS[end](built.items(), key=lambda pair: pair[1].mass)
    there = published.row("nn-mass/table-1", name).mass
    says = f"table 1, p. 10, prints a mass of {there}"
    return [Interpretation(float(one.mass)), Contradiction(there, says)]


def times_fewer(what: str) -> list[Interpretation]:
    """How many times the least of table 1's sizes the greatest is."""
    built = networks("nn-mass/table-1").values()

    def ratio(size: Size) -> float:
        sizes = [size(one) for one in built]
        return max(sizes) / min(sizes)

    return _flops(ratio) if what == "flops" else _sizes(ratio)


def of_37_layers() -> list[Interpretation | Contradiction]:
    """The size of table 1's network of 37 layers, and what is printed there."""
    there = published.row("nn-mass/table-1", "37-70-140-180").params
    sizes = size_among("max", "table-1", {"layers": "37"})
    return [*sizes, Contradiction(there, f"table 1, p. 10, prints {there} for it")]


def of_one_cell() -> list[Interpretation]:
    """Appendix B.1 says one number of all three networks, so it is their mean."""
    rows = [row for _, row in published.load("nn-mass/table-2-contributions").iterrows()]
    text, without = (mean(size_of_contributions(row, around) for row in rows) for around in (1, 0))
    return [Interpretation(text), Interpretation(without, TRANSITIONS, contradicted=DRAWN)]


def of_its_mass() -> list[Interpretation]:
    """The smaller of the two networks of 64 layers next to the largest 40-layer one in mass.

    The text calls them D and E of figure 3, in one bucket with it, and does not say which they are.
    """
    small, deep = (_some("nn-mass/table-2", {"layers": n}).values() for n in ("40", "64"))
    mass = max(small, key=Architecture.parameters).mass
    nearest = sorted(deep, key=lambda one: abs(one.mass - mass))[:2]
    return _sizes(lambda size: min(map(size, nearest)))


def fewest_cells() -> list[Interpretation | Contradiction]:
    """The fewest cells of a network of tables 1 and 2."""
    tables = ("nn-mass/table-1", "nn-mass/table-2", "nn-mass/table-2-contributions")
    fewest = min(int(cells) for table in tables for cells in published.load(table).cells)
    says = "table 2 and appendix G, p. 20, have a single cell in the first experiment"
    return [Interpretation(fewest), Contradiction(str(fewest), says)]


def _accuracies(model: str) -> list[Fraction]:
    rows = published.load("nn-mass/table-1").query("model == @model")
    return [Fraction(text) for text in rows.test_accuracy]


def lower() -> Fraction:
    """By how much a compressed network is less accurate than the best large one, at most."""
    return max(_accuracies("large")) - min(_accuracies("proposed"))


def higher() -> Fraction:
    """By how much DARTS of second order is more accurate than the best compressed network."""
    second = published.number("nn-mass/text", "darts-2-accuracy")
    return second - max(_accuracies("proposed"))


def unknown() -> int:
    """The networks of appendix H.2 of which neither depth nor density is one of table 2's."""
    layers, densities = setup("layers of unknown networks"), setup("density of unknown networks")
    known_layers = {int(x) for x in published.load("nn-mass/table-2").layers}
    known = {float(x) for x in published.load("nn-mass/appendix-g")["value"]}
    return len(set(layers) - known_layers) * len(set(densities) - known)


def channels(group: int) -> int:
    """Channels of a group at a width multiplier of 2."""
    return widths(2)[group - 1]


# What needs training ------------------------------------------------------------------------------


FIT = re.compile(
    r"R² of accuracy(?P<cifar100> on CIFAR-100)? against (?P<against>ln \w+), "
    r"width multiplier (?P<width>\d)"
)


def fit(row: pd.Series) -> tuple[RunSelection, str]:
    """R² over the paper's grid of networks at one width multiplier, a value a seed."""
    (epochs,), said = setup("epochs of the exploration"), FIT.fullmatch(row.claim)
    data = "cifar100" if said["cifar100"] else "cifar10"
    config = _trained(epochs, {"widths": list(widths(int(said["width"])))}, data)
    grid = len(published.load("nn-mass/table-2"))
    selection = RunSelection(PAPER, config, partial(_r_squared, said["against"]), grid)
    return selection, NEEDS.format(epochs)


def fit_or_claim(row: pd.Series) -> tuple[RunSelection | Claim, str]:
    """Without runs of the printed grid the claim that mass explains more than size.

    Our reduced grid is of one width and of CIFAR-10, so it bears on the printed middle width alone.
    """
    selection, needs = fit(row)
    said = FIT.fullmatch(row.claim)
    if said["cifar100"] or said["width"] != "2":
        return selection, needs
    grid = len(GRIDS["quick"].architectures())
    explains = Claim(
        *(
            (f"R² against {against}", _recorded(partial(_r_squared, against), grid))
            for against in ("ln mass", "ln parameters")
        ),
        SCALE,
    )
    return selection if runs_for(selection) else explains, needs


def _r_squared(against: str, trainings: Sequence[Run]) -> float:
    """R² of a straight line from the logarithm of mass or of parameters to accuracy."""
    accuracy = [run.summary["test_accuracy"] for run in trainings]
    return linregress([_predictor(against, run) for run in trainings], accuracy).rvalue ** 2


def _predictor(against: str, run: Run) -> float:
    if against == "ln parameters":
        return log(run.config["parameters"])
    shape = run.config["architecture"]
    lists = {key: tuple(shape[key]) for key in ("widths", "candidates")}
    return log(Architecture(shape["depth"], **lists).mass)


def _recorded(value: Callable[[Sequence[Run]], float], runs: int, **config) -> RunSelection:
    """Our reduced grid, or the networks of one density in it, one a depth."""
    return RunSelection(REDUCED, {"data": "cifar10", **config}, value, runs)


def rises() -> tuple[Claim, str]:
    """Accuracy rises with mass: the densest networks of our grid beside the least dense."""
    grid, (epochs,) = GRIDS["quick"], setup("epochs of the exploration")
    sides = (
        (f"density {density}", _recorded(_accuracy, len(grid.layers), density=density))
        for density in (max(grid.densities), min(grid.densities))
    )
    return Claim(*sides, SCALE), NEEDS.format(epochs)


# Tables -----------------------------------------------------------------------------------------


def printed_beside_computed() -> pd.DataFrame:
    """Table 1, `printed | computed` and the verdict, a row a network."""
    formats = {
        "mass": "{:.2f}".format,
        "params": "{:,}".format,
        "flops_G": "{:.3f}".format,
        "test_accuracy": str,
    }
    return ledger.side_by_side(PARTS.table("nn-mass/table-1"), formats)


@cache
def counted(one: Architecture, size: int = 32) -> Quantities:
    """The quantities of a network with random long-range links, on images of so many pixels."""
    with without_weights():
        model = LongRangeCNN(one)
    return trace_model(model, (1, 3, size, size)).count().quantities()


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
        traced = trace_model(build(name), (1, 3, size, size))
        try:
            mass, reason = nn_mass.measure(traced), ""
        except (NotApplicable, CountingError) as error:
            mass, reason = None, str(error)
        q = traced.count().quantities()
        rows[name] = {
            "mass": mass.mass if mass else float("nan"),
            "density": mass.density if mass else float("nan"),
            "parameters": q.parameters,
            "P_G": q.P_G,
            "P_G_spread": q.P_G_spread,
            "reason": reason,
        }
    return pd.DataFrame.from_dict(rows, orient="index")
