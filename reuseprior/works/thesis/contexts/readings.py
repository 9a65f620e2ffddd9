"""The models of Tables 4.2 to 4.4, and the ways in which their printed numbers can be read."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, partial

from torch import nn

from reuseprior import contexts, sharing
from reuseprior.contexts import BatchNorm, ContextCounts, count_contexts, record_model
from reuseprior.models import catalog, efficientnet_v2, resnet50_v1, without_weights
from reuseprior.press.published import Printed
from reuseprior.quantities import Quantities, derive

# Conventions that the text leaves unsaid, as the ledger names them.
STATISTICS = "running statistics counted"
BY_CHANNELS = "scopes by channels alone (thesis_tables)"
CONV_BIAS = "convolutions with bias, as in Keras's ResNet-50"


@dataclass(frozen=True)
class Sizes:
    """Pixels a side at which contexts were counted, and at which N_I was taken."""

    counted: int
    inputs: int


# Rows of Table 4.4 whose numbers do not belong to the printed image size.
OTHER_SIZES = {"ResNet-50": Sizes(384, 384), "V2-M": Sizes(240, 480), "V2-L": Sizes(240, 480)}


QUANTITIES = {
    "P_G": lambda q: q.P_G,
    "P_G_spread": lambda q: q.P_G_spread,
    "expected_spread": lambda q: q.expected_spread,
    "entropy": lambda q: q.entropy,
    "params": lambda q: q.parameters,
}
"""The columns of Tables 4.3 and 4.4 that are computed, each from a row's quantities."""


def counts(label: str, size: int, classes: int = 1000) -> ContextCounts:
    """Counts of a row's model without sharing, running statistics included."""
    return _counts(base_name(label), size, classes)


@lru_cache(maxsize=32)
def _counts(base: str, size: int, classes: int) -> ContextCounts:
    return count_contexts(_model(base, classes), (1, 3, size, size), batch_norm="all")


def model(label: str, classes: int = 1000) -> nn.Module:
    """The model of a table's row, unshared and without storage for its weights."""
    return _model(base_name(label), classes)


_WITH_BIAS = "ResNet-50 with bias"


def base_name(label: str) -> str:
    """The catalogue's name of a row's model: V2-S-shared is V2-S."""
    return label.removesuffix("-shared").removesuffix("-original")


@lru_cache(maxsize=32)
def _model(base: str, classes: int) -> nn.Module:
    if base == _WITH_BIAS:
        with without_weights():
            return resnet50_v1(conv_bias=True)
    if classes == 1000:
        return catalog.build(base)
    with without_weights():
        return efficientnet_v2(base.removeprefix("V2-").lower(), num_classes=classes)


@lru_cache(maxsize=128)
def quantities(
    label: str,
    size: int,
    batch_norm: BatchNorm = "all",
    policy: sharing.Policy | None = None,
    *,
    inputs: int | None = None,
    classes: int = 1000,
) -> Quantities:
    """Quantities of a row's model under a convention; `inputs` takes N_I at another size."""
    found = counts(label, size, classes)
    if batch_norm == "learnable":
        found = found.learnable()
    if policy is not None:
        found = sharing.merge(found, model(label, classes), policy)
    return derive(
        found.log2_counts,
        found.multiplicities,
        input_nodes=3 * (inputs or size) ** 2,
        output_nodes=found.output_nodes,
        weight_nodes=found.weight_nodes,
    )


def multiply_adds(label: str, size: int, classes: int = 1000) -> int:
    """Multiply-adds of a row's model on one image; sharing changes none."""
    return _multiply_adds(base_name(label), size, classes)


@lru_cache(maxsize=32)
def _multiply_adds(base: str, size: int, classes: int) -> int:
    return contexts.multiply_adds(record_model(_model(base, classes), (1, 3, size, size)))


def readings(label: str, size: int, classes: int = 1000) -> list[tuple[str, Quantities]]:
    """The readings of a row, (convention, quantities): first the text's, last the table's own."""
    shared = label.endswith("-shared")
    policy = sharing.all_but_bn if shared else None
    of = partial(quantities, label, classes=classes)
    found = [("", of(size, "learnable", policy)), (STATISTICS, of(size, "all", policy))]
    if shared:
        found.append((f"{STATISTICS}; {BY_CHANNELS}", of(size, "all", sharing.thesis_tables)))
    if label in OTHER_SIZES:
        other = OTHER_SIZES[label]
        sizes = f"counted at {other.counted} px"
        if other.counted != other.inputs:
            sizes += f" with N_I at {other.inputs} px"
        for batch_norm, convention in [("learnable", sizes), ("all", f"{sizes}; {STATISTICS}")]:
            found.append((convention, of(other.counted, batch_norm, policy, inputs=other.inputs)))
        if label == "ResNet-50":
            found.append((f"{convention}; {CONV_BIAS}", quantities(_WITH_BIAS, other.counted)))
    return found


def row_reading(row) -> tuple[str, Quantities]:
    """The reading that explains most of a row's printed digits; among equals the table's own."""

    def digits(reading: tuple[str, Quantities]) -> int:
        return sum(
            sum(c.isdigit() for c in row[column])
            for column, value in QUANTITIES.items()
            if Printed.parse(row[column]).matches(value(reading[1])) is not None
        )

    return max(reversed(readings(row.model, int(row.image_size))), key=digits)
