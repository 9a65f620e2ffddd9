"""Every printed number of chapter 5's tables and figures, with what became of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache

import numpy as np
import pandas as pd
from torch import nn

from reuseprior import sharing
from reuseprior.contexts import ContextCounts, count_contexts, trace_model
from reuseprior.errors import UserError
from reuseprior.measures.energy import EnergyPrior, NoEstimate, TooLong
from reuseprior.models import CNN, MLP, without_weights
from reuseprior.quantities import Quantities, derive
from reuseprior.report import published
from reuseprior.report.cells import Cells
from reuseprior.report.ledger import Contradiction, Interpretation, Statement, side_by_side
from reuseprior.report.published import Printed

PARTS = Cells(__name__, "thesis/chapter-5")

IMAGE = 8  # pixels a side in Tables 5.3 and 5.4


@dataclass(frozen=True)
class Family:
    """What the models of one table have in common."""

    table: str
    is_cnn: bool
    batch_norm: bool
    channels_in: int | None  # None: as wide as the other layers
    convention: str  # what the numbers follow
    contradicted: str  # and what the text says against it


_ONE_OUTPUT = "N_O = 1 in |G|"
_ALL_OUTPUTS = "definition 6 and eq. 5.19 count every output node"
_STATISTICS = f"{_ONE_OUTPUT}; running statistics counted"
_LEARNABLE = f"{_ALL_OUTPUTS}; eq. 5.1 has the learnable parameters"

FAMILIES = {
    "table-5-1": Family("table-5-1", False, False, None, _ONE_OUTPUT, _ALL_OUTPUTS),
    "table-5-2": Family("table-5-2", False, True, 3, _STATISTICS, _LEARNABLE),
    "table-5-3": Family("table-5-3", True, False, None, _ONE_OUTPUT, _ALL_OUTPUTS),
    "table-5-4": Family("table-5-4", True, True, 3, _STATISTICS, _LEARNABLE),
}


def model(family: Family, width: int, depth: int) -> nn.Module:
    """A row's model, unshared and without storage for its weights."""
    with without_weights():
        if family.is_cnn:
            return CNN(width, depth, in_channels=family.channels_in, batch_norm=family.batch_norm)
        return MLP(width, depth, in_features=family.channels_in, batch_norm=family.batch_norm)


def input_shape(family: Family, width: int) -> tuple[int, ...]:
    """What a row's model is given: one example."""
    channels = family.channels_in or width
    return (1, channels, IMAGE, IMAGE) if family.is_cnn else (1, channels)


_latest = lru_cache(maxsize=1)(model)  # its layers are shared right after they are counted


@lru_cache(maxsize=128)
def counts(table: str, width: int, depth: int, shared: bool = False) -> ContextCounts:
    """Counts of a row's model, running statistics included; every last node is an output."""
    family = FAMILIES[table]
    network = _latest(family, width, depth)
    if shared:
        return sharing.merge(counts(table, width, depth, False), network, sharing.equal_layers)
    counted = count_contexts(network, input_shape(family, width), batch_norm="all")
    return replace(counted, traced=None)  # thousands of operators, which nobody asks for


@cache
def quantities(table: str, width: int, depth: int, shared: bool = False) -> Quantities:
    """Quantities of a row under the table's own convention."""
    counted = counts(table, width, depth, shared)
    return derive(
        counted.log2_counts,
        counted.multiplicities,
        input_nodes=counted.input_nodes,
        output_nodes=1,
        weight_nodes=counted.weight_nodes,
    )


@cache
def as_the_text_says(table: str, width: int, depth: int, shared: bool = False) -> Quantities:
    """Learnable parameters, and definition 6's input and output nodes: all of both."""
    return counts(table, width, depth, shared).learnable().quantities()


def grid(sizes: Sequence[int], *, inputs: int | None = 3, outputs: int | None = 1) -> pd.DataFrame:
    """Figures 5.1 and 5.2: MLPs of every width and depth, counted; a row a model.

    Columns: width, depth, spread (bits) and P_G_spread, with N_I and N_O as given; None is the
    model's width.
    """
    rows = []
    for width in sizes:
        for depth in sizes:
            features = width if inputs is None else inputs
            with without_weights():
                network = MLP(width, depth, in_features=features)
            counted = count_contexts(network, (1, features))
            q = derive(
                counted.log2_counts,
                counted.multiplicities,
                input_nodes=features,
                output_nodes=width if outputs is None else outputs,
            )
            rows.append((width, depth, q.expected_spread, q.P_G_spread))
    return pd.DataFrame(rows, columns=["width", "depth", "spread", "P_G_spread"])


QUANTITIES = {
    "params": lambda q: q.parameters,
    "P_G": lambda q: q.P_G,
    "P_G_spread": lambda q: q.P_G_spread,
    "PE": lambda q: q.parameter_efficiency,
    "CE": lambda q: q.compute_efficiency,
}
"""The computed columns of Tables 5.1 to 5.4."""


def counted(row: pd.Series, column: str) -> list[float | Interpretation]:
    """A table's cell, as the text says and under the table's convention.

    Without sharing, parameters are width² · depth, which the table prints beside them.
    """
    table = f"table-{row['where'][-3:].replace('.', '-')}"
    family, which, value = FAMILIES[table], _model(table, row), QUANTITIES[column]
    text, of_table = as_the_text_says(table, *which), quantities(table, *which)
    return [value(text), Interpretation(value(of_table), family.convention, family.contradicted)]


def _model(table: str, row: pd.Series) -> tuple[int, int, bool]:
    width = "channels" if FAMILIES[table].is_cnn else "width"
    return int(row[width]), int(row.depth), row.get("shared") == "True"


def _models(table: str) -> list[tuple[int, int, bool]]:
    return [_model(table, row) for _, row in published.load(f"thesis/{table}").iterrows()]


# What the text, or a caption, says about tables and figures --------------------------------------


def _both(table: str, claim: Callable[[list[Quantities]], int]) -> list[int | Interpretation]:
    """A claim about a table's models, as the text counts and under the table's convention."""
    family, models = FAMILIES[table], _models(table)
    text, of_table = (
        claim([read(table, *m) for m in models]) for read in (as_the_text_says, quantities)
    )
    return [text, Interpretation(of_table, family.convention, family.contradicted)]


def rank(
    table: str, column: str, position: int, sharing_only: bool = False
) -> list[int | Interpretation | Contradiction | str]:
    """Rank of a row (1 is greatest) among the rows of its table, and by its printed numbers."""
    models = _models(table)
    rows = [i for i, model in enumerate(models) if model[2] or not sharing_only]
    place = position % len(models)

    def ranked(values: list[float]) -> int:
        return 1 + sum(values[i] > values[place] for i in rows)

    numbers = published.load(f"thesis/{table}")[column]
    printed = ranked([float(Printed.parse(text).value) for text in numbers])
    return [
        *_both(table, lambda quantities_of: ranked([QUANTITIES[column](q) for q in quantities_of])),
        Contradiction(str(printed), f"by the table's own {column} it is {printed}"),
        f"of {len(rows)} rows",
    ]


def deepest(table: str, column: str) -> list[int | Interpretation | Contradiction | str]:
    """Rank of the deepest model of a table."""
    depths = [depth for _, depth, _ in _models(table)]
    return rank(table, column, depths.index(max(depths)))


def sharing_leads(table: str) -> list[int | Interpretation]:
    """Whether the row that leads by compute efficiency shares: 1 or 0."""
    shared = [model[2] for model in _models(table)]

    def leader_shares(quantities_of: list[Quantities]) -> int:
        values = [QUANTITIES["CE"](q) for q in quantities_of]
        return int(shared[values.index(max(values))])

    return _both(table, leader_shares)


def lowered_by_sharing(
    efficiency: Callable[[Quantities], float], read: Callable[..., Quantities] = quantities
) -> tuple[int, int]:
    """Models of Tables 5.1 and 5.3 whose efficiency sharing lowers, and how many can share.

    `read` gives a model's quantities: by the table's convention, or `as_the_text_says`.
    """
    lowered = models = 0
    for table in ("table-5-1", "table-5-3"):
        for width, depth, _ in _models(table):
            if depth == 1:
                continue  # nothing to share
            models += 1
            shared, apart = (read(table, width, depth, s) for s in (True, False))
            lowered += efficiency(shared) < efficiency(apart)
    return lowered, models


def lowered() -> Statement:
    """By the parameter efficiency that is said, and by P_G itself, which sharing lowers in all."""
    efficiencies = {
        "parameter efficiency": QUANTITIES["PE"],
        "P′_G over parameters": lambda q: q.parameter_efficiency_spread,
        "P_G itself": QUANTITIES["P_G"],
    }
    counts = {name: lowered_by_sharing(of, as_the_text_says) for name, of in efficiencies.items()}
    (said, models), *_, (estimate, _) = counts.values()
    note = "sharing lowers " + ", ".join(f"{name} in {n}" for name, (n, _) in counts.items())
    return Statement(said == models, estimate == models, f"{note} of {models}")


def inputs(table: str) -> list[Interpretation | Contradiction]:
    """Input nodes of definition 6; the captions leave the image's 8 × 8 pixels out.

    Of table 5.3, whose inputs are as wide as the model, a channel.
    """
    width, *others = _models(table)[-1]
    nodes = as_the_text_says(table, width, *others).input_nodes
    value = nodes if FAMILIES[table].channels_in else nodes // width
    says = f"definition 6 counts all input nodes, and the table's own P_G follow them: {value}"
    return [Interpretation(value), Contradiction(str(value), says)]


@cache
def _grid(outputs: int | None, inputs: int | None) -> pd.DataFrame:
    return grid((3, 10, 20, 30, 40), inputs=inputs, outputs=outputs)


def highest(by: str, what: str, three_inputs: bool = True) -> list[Interpretation | str]:
    """Width or depth of the model with the highest value in the grid of a figure."""

    def at(outputs: int | None) -> int:
        table = _grid(outputs, 3 if three_inputs else None)
        return int(table.loc[table[by].idxmax(), what])

    family = FAMILIES["table-5-1"]
    of_table = Interpretation(at(1), family.convention, family.contradicted)
    return [Interpretation(at(None)), of_table, "the grid is ours: 3, 10, 20, 30 and 40"]


# Tables and surfaces of the notebook --------------------------------------------------------------

FORMATS = {
    "P_G": "{:.4f}".format,
    "P_G_spread": "{:.4f}".format,
    "PE": "{:.4e}".format,
    "CE": "{:.4e}".format,
    "params": "{:,}".format,
}
"""The computed columns of Tables 5.1 to 5.4, and how their values are shown."""


def printed_beside_computed(table: str) -> pd.DataFrame:
    """A table of chapter 5, "printed | computed" and the verdict's mark in every cell."""
    shown = side_by_side(PARTS.table(f"thesis/{table}"), FORMATS)
    rows = published.load(f"thesis/{table}").set_index("id").loc[shown.index]
    width = rows["channels" if FAMILIES[table].is_cnn else "width"]
    label = width + " × " + rows.depth
    if "shared" in rows:
        label += rows.shared.map({"True": ", shared", "False": ""})
    shown.index = label.rename("width × depth")
    return shown.dropna(axis="columns", how="all")


def surface(table: pd.DataFrame, column: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Depths, widths and values of a grid as three arrays, for drawing."""
    values = table.pivot(index="width", columns="depth", values=column)
    depths, widths = np.meshgrid(values.columns, values.index)
    return depths, widths, values.to_numpy()


def under_priors(table: str, priors: Sequence[EnergyPrior]) -> pd.DataFrame:
    """P′ of the models of Table 5.1 or 5.3 under each prior, by depth.

    NaN where a prior's expected energy has no P′, and where paths are too long for it. The sizes
    that enter P′ are those of the table's own convention. Raises UserError for the other tables,
    whose rows share layers and count running statistics.
    """
    family = FAMILIES[table]
    if family.batch_norm:
        raise UserError(
            f"{table} shares layers and counts running statistics, and priors do neither: choose "
            "table-5-1 or table-5-3."
        )
    rows = {}
    for _, row in published.load(f"thesis/{table}").iterrows():
        width, depth = int(row["channels" if family.is_cnn else "width"]), int(row.depth)
        traced = trace_model(model(family, width, depth), input_shape(family, width))
        sizes = quantities(table, width, depth)
        rows[depth] = {p.name: _performance(p, traced, sizes) for p in priors}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("depth")


def _performance(prior: EnergyPrior, traced, sizes) -> float:
    try:
        return prior.ensemble(traced).performance(
            input_nodes=sizes.input_nodes, output_nodes=1, weight_nodes=sizes.weight_nodes
        )
    except (NoEstimate, TooLong):
        return float("nan")
