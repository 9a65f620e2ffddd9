"""The models of Tables 5.1 to 5.4, and the conventions that their numbers follow."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, lru_cache

from torch import nn

from reuseprior import sharing
from reuseprior.contexts import ContextCounts, count_contexts
from reuseprior.models import CNN, MLP, without_weights
from reuseprior.quantities import Quantities, derive

IMAGE = 8  # pixels a side in Tables 5.3 and 5.4


@dataclass(frozen=True)
class Family:
    """What the models of one table have in common."""

    table: str
    is_cnn: bool
    batch_norm: bool
    channels_in: int | None  # None: as wide as the other layers
    convention: str  # what the numbers follow
    against: str  # and what the text says against it


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
    made = _latest(family, width, depth)
    if shared:
        return sharing.merge(counts(table, width, depth, False), made, sharing.equal_layers)
    found = count_contexts(made, input_shape(family, width), batch_norm="all")
    return replace(found, recorded=None)  # thousands of operators, which nobody asks for


@cache
def quantities(table: str, width: int, depth: int, shared: bool = False) -> Quantities:
    """Quantities of a row under the table's own convention."""
    found = counts(table, width, depth, shared)
    return derive(
        found.log2_counts,
        found.multiplicities,
        input_nodes=found.input_nodes,
        output_nodes=1,
        weight_nodes=found.weight_nodes,
    )


@cache
def as_the_text_says(table: str, width: int, depth: int, shared: bool = False) -> Quantities:
    """Learnable parameters, and definition 6's input and output nodes: all of both."""
    return counts(table, width, depth, shared).learnable().quantities()
