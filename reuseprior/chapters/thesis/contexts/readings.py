"""The models of Tables 4.2 to 4.4, and the ways in which their printed numbers can be read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial

from torch import nn

from reuseprior import contexts, sharing
from reuseprior.contexts import BatchNorm, ContextCounts, count_contexts, record_model
from reuseprior.models import catalog, efficientnet_v2, resnet50_v1, without_weights
from reuseprior.quantities import Quantities, derive
from reuseprior.report.ledger import Reading, reading_of_row


@dataclass(frozen=True)
class Convention:
    """A way to count that a row's digits follow, and the words of the text that rule it out."""

    name: str
    against: str


STATISTICS = Convention(
    "running statistics counted", "§4.5.1 takes the learnable parameters into account"
)
SAME_SHAPE = Convention(
    "weights of one shape are one, whatever their strides (same_shape)",
    "§4.5.3, which begins so, then names strides too",
)
CONV_BIAS = Convention(
    "convolutions with bias, as in Keras's ResNet-50",
    "§4.5.1 has biases in final layers alone, and the entropy's 13.3 alone asks for others",
)


@dataclass(frozen=True)
class RowReading:
    """The quantities of a row under some conventions; under none it is what the text says."""

    conventions: tuple[Convention, ...]
    quantities: Quantities

    @property
    def convention(self) -> str:
        """The conventions by name."""
        return "; ".join(one.name for one in self.conventions)

    @property
    def against(self) -> str:
        """What the text says against them."""
        return "; ".join(one.against for one in self.conventions)

    def of(self, value: Callable[[Quantities], float]) -> Reading:
        """One quantity of the row, as the ledger reads it."""
        return Reading(value(self.quantities), self.convention, self.against)


@dataclass(frozen=True)
class Sizes:
    """Pixels a side at which contexts were counted, and N_I was taken if not at the printed one."""

    counted: int
    inputs: int | None = None


# Rows of Table 4.4 whose numbers do not belong to the printed image size.
OTHER_SIZES = {"ResNet-50": Sizes(384, 384), "V2-M": Sizes(240), "V2-L": Sizes(240)}


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


def readings(label: str, size: int, classes: int = 1000) -> list[RowReading]:
    """The readings of a row: first the text's, last the table's own."""
    shared = label.endswith("-shared")
    policy = sharing.all_but_bn if shared else None
    of = partial(quantities, label, classes=classes)
    found = [
        RowReading((), of(size, "learnable", policy)),
        RowReading((STATISTICS,), of(size, "all", policy)),
    ]
    if shared:
        of_shape = of(size, "all", sharing.same_shape)
        found.append(RowReading((STATISTICS, SAME_SHAPE), of_shape))
    if label in OTHER_SIZES:
        other = OTHER_SIZES[label]
        inputs = size if other.inputs is None else other.inputs
        at = Convention(
            f"contexts counted at {other.counted} px, N_I at {inputs} px",
            f"the table prints {size} px",
        )
        for batch_norm, more in [("learnable", ()), ("all", (STATISTICS,))]:
            counted = of(other.counted, batch_norm, policy, inputs=inputs)
            found.append(RowReading((at, *more), counted))
        if label == "ResNet-50":
            biased = quantities(_WITH_BIAS, other.counted)
            found.append(RowReading((at, STATISTICS, CONV_BIAS), biased))
    return found


def row_reading(row) -> RowReading:
    """The reading that explains most of a row's printed digits; among equals the table's own."""
    found = readings(row.model, int(row.image_size))
    values = [{c: value(r.quantities) for c, value in QUANTITIES.items()} for r in found]
    return found[reading_of_row(row, values)]
