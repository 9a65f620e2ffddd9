"""Chapter 4's graphs and tables: what each printed cell means, computed from the real models."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial

from torch import nn

from reuseprior import published, sharing
from reuseprior.audit import Entry, Reading, entry, judge_in_row, judged
from reuseprior.contexts import (
    BatchNorm,
    ContextCounts,
    Graph,
    count_contexts,
    horizontal_unroll,
    uniform,
)
from reuseprior.models import catalog, efficientnet_v2, resnet50_v1, without_weights
from reuseprior.published import Printed
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


# Graphs of the figures ------------------------------------------------------------------------
# The figures are drawings without text; these are the smallest graphs that captions, section 4.1
# and appendix A.3 describe.

FIGURE_4_1 = Graph(
    {
        "f1": [("i1", "w1"), ("i2", "w2")],
        "f2": [("f1", "w3")],
        "f3": [("f1", "w4")],
        "O1": [("f2", "w5")],
        "O2": [("f3", "w6")],
    }
)
FIGURE_4_2A = Graph({"f1": [("i1", "w1")], "O1": [("f1", "w2")], "O2": [("i1", "w3")]})
FIGURE_4_2B = Graph({"f1": [("i1", "w1")], "O1": [("f1", "w2")], "O2": [("f1", "w3")]})
FIGURE_4_3A = Graph(
    {
        "f1": [("i1", "w1"), ("i2", "w2")],
        "f2": [("i1", "w3"), ("i2", "w4")],
        "f3": [("f1", "w5"), ("f2", "w6")],
        "f4": [("f1", "w7"), ("f2", "w8")],
        "O1": ["f3", "f4"],
    }
)


# Counts of the tables' models -------------------------------------------------------------------


def counts(label: str, size: int, classes: int = 1000) -> ContextCounts:
    """Counts of a row's model without sharing, running statistics included."""
    return _counts(_base(label), size, classes)


@lru_cache(maxsize=32)
def _counts(base: str, size: int, classes: int) -> ContextCounts:
    return count_contexts(_model(base, classes), (1, 3, size, size), batch_norm="all")


def model(label: str, classes: int = 1000) -> nn.Module:
    """The model of a table's row, unshared and without storage for its weights."""
    return _model(_base(label), classes)


_WITH_BIAS = "ResNet-50 with bias"


def _base(label: str) -> str:
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


# Entries of the ledger ----------------------------------------------------------------------------


def entries() -> Iterator[Entry]:
    """Every printed number of chapter 4 and appendix A, judged."""
    yield from figures()
    yield from appendix_a()
    yield from data_sets()
    yield from trained_models()
    for name in ("table-4-3", "table-4-4"):
        yield from ranked_models(name)
    yield from claims()


def figures() -> Iterator[Entry]:
    """The captions of figures 4.2 and 4.3."""
    values = {
        "4.2a": FIGURE_4_2A.contexts()["w1"],
        "4.2b": FIGURE_4_2B.contexts()["w1"],
        "4.3a": FIGURE_4_3A.contexts()["w1"],
        "4.3b": horizontal_unroll(FIGURE_4_3A).repetitions()["w1"],
        "4.3c": max(uniform(FIGURE_4_3A).contexts().values()),
    }
    for name in ("figure-4-2", "figure-4-3"):
        for _, row in published.load(name).iterrows():
            yield judged(row, "value", [Reading(values[row.graph])])


def appendix_a() -> Iterator[Entry]:
    """The worked example of appendix A.3, on the graph of figure 4.3a."""
    frequencies = horizontal_unroll(FIGURE_4_3A).repetitions()
    q = FIGURE_4_3A.quantities()
    values = {
        "probability denominator": sum(frequencies.values()),
        "total surprisal": q.total_surprisal,
        "entropy": q.entropy,
        "expected spread": q.expected_spread,
        "N_I": q.input_nodes,
        "N_O": q.output_nodes,
        "weight nodes": q.weight_nodes,
        "|G|": q.graph_size,
        "P_G": q.P_G,
        "N_G": q.parameters,
        "P_G spread": q.P_G_spread,
    }
    for _, row in published.load("appendix-a").iterrows():
        of_parameter = row.quantity in ("frequency", "probability numerator")
        value = frequencies[row.parameter] if of_parameter else values[row.quantity]
        yield judged(row, "value", [Reading(value)])


def data_sets() -> Iterator[Entry]:
    """Table 4.1; its sizes are checked when the data sets are loaded."""
    for _, row in published.load("table-4-1").iterrows():
        for column in ("train", "validation", "classes"):
            yield entry(row, column, None, "not yet", "to be read from the data set itself")


def trained_models() -> Iterator[Entry]:
    """Table 4.2: parameters are counted; scores and FLOPs wait for the training chapter."""
    classes = {"CIFAR-10": 10, "CIFAR-100": 100, "ImageNet-1K": 1000}
    for _, row in published.load("table-4-2").iterrows():
        size = catalog.image_size(_base(row.model))
        found = readings(row.model, size, classes[row.dataset])
        yield judged(row, "params", [Reading(q.parameters, c) for c, q in found])
        yield entry(row, "score", None, "not yet", "top-1 accuracy of a training run")
        yield entry(row, "flops", None, "not yet", "FLOPs belong to the training chapter")
        yield _setting(row, "batch", 400 if row.dataset == "ImageNet-1K" else 512)
        yield _setting(row, "epochs", 352 if row.dataset == "ImageNet-1K" else 300)


def _setting(row, column: str, in_text: int) -> Entry:
    """A training setting, compared with what section 4.5.4 says of the same runs."""
    if int(row[column]) == in_text:
        return entry(row, column, in_text, "reproduced", "as §4.5.4 says")
    return entry(row, column, in_text, "erratum", f"§4.5.4 says {in_text} for all these runs")


# Tan and Le's own V2-S accuracy, from footnote 6 of the thesis and from the paper's Table 4.
_COPIED_SCORE = "Table 4.3's score; footnote 6 and the paper's Table 4 give 83.6 for this row"


QUANTITIES = {
    "P_G": lambda q: q.P_G,
    "P_G_spread": lambda q: q.P_G_spread,
    "expected_spread": lambda q: q.expected_spread,
    "entropy": lambda q: q.entropy,
    "params": lambda q: q.parameters,
}
"""The columns of Tables 4.3 and 4.4 that are computed, each from a row's quantities."""


def ranked_models(name: str) -> Iterator[Entry]:
    """Tables 4.3 and 4.4: every quantity of every row, under one reading a row."""
    for _, row in published.load(name).iterrows():
        convention, q = row_reading(row)
        _, as_text = readings(row.model, int(row.image_size))[0]
        for column, value in QUANTITIES.items():
            verdict, computed, note = judge_in_row(
                row[column], Reading(value(as_text)), Reading(value(q), convention)
            )
            yield entry(row, column, computed, verdict, note)
        yield _image_size(row, q)
        if row.id == "thesis-4-4-v2-s":
            yield entry(row, "score", 83.6, "erratum", _COPIED_SCORE)
        else:
            yield entry(row, "score", None, "not yet", "top-1 accuracy of a training run")


def row_reading(row) -> tuple[str, Quantities]:
    """The reading that explains most of a row's printed digits; among equals the table's own."""

    def digits(reading: tuple[str, Quantities]) -> int:
        return sum(
            sum(c.isdigit() for c in row[column])
            for column, value in QUANTITIES.items()
            if Printed.parse(row[column]).matches(value(reading[1])) is not None
        )

    return max(reversed(readings(row.model, int(row.image_size))), key=digits)


def _image_size(row, q: Quantities) -> Entry:
    """The image size, judged by whether the row's own P_G belongs to it."""
    printed = int(row.image_size)
    sizes = OTHER_SIZES.get(row.model)
    if sizes is None:
        return entry(row, "image_size", printed, "reproduced", "the size at which P_G reproduces")
    if sizes.inputs == printed:
        note = f"N_I is taken at {printed} px, contexts are counted at {sizes.counted} px"
        return entry(row, "image_size", printed, "convention", note)
    note = f"the row's P_G {row.P_G} is that of {sizes.counted} px ({q.P_G:.4f})"
    return entry(row, "image_size", sizes.counted, "erratum", note)


def claims() -> Iterator[Entry]:
    """What the text says about the tables in numbers."""
    for _, row in published.load("chapter-4-text").iterrows():
        value, holds, note = _CLAIMS[row.claim]()
        yield entry(row, "value", value, "reproduced" if holds else "erratum", note)


def _fewest_more_parameters():
    """By how many per cent V2-B0 exceeds V2-S-shared, at least over the three data sets."""
    ratios = []
    for classes in (10, 100, 1000):
        larger = quantities("V2-B0", 224, "learnable", classes=classes).parameters
        smaller = quantities(
            "V2-S-shared", 384, "learnable", sharing.all_but_bn, classes=classes
        ).parameters
        ratios.append(100 * (larger / smaller - 1))
    return round(min(ratios), 1), min(ratios) >= 60, "learnable parameters, ImageNet-1K is least"


def _agreeing_order(name: str):
    """How many of a table's pairs P_G and P′_G order as the printed scores do."""
    table = published.load(name).query("source == 'thesis'")
    scores = [float(s) for s in table.score]
    found = [
        readings(label, int(size))[-1 if label not in OTHER_SIZES else 1][1]
        for label, size in zip(table.model, table.image_size, strict=True)
    ]
    pairs = [(i, j) for i in range(len(scores)) for j in range(i)]
    agreeing = sum(
        (scores[i] - scores[j]) * (a - b) > 0
        for i, j in pairs
        for a, b in [
            (found[i].P_G, found[j].P_G),
            (found[i].P_G_spread, found[j].P_G_spread),
        ]
    )
    return agreeing, agreeing == 2 * len(pairs), f"of {2 * len(pairs)} pairs, P_G and P′_G"


_CLAIMS = {
    "more parameters, per cent": _fewest_more_parameters,
    "pairs of table 4.3 ordered as their scores": partial(_agreeing_order, "table-4-3"),
    "pairs of table 4.4 ordered as their scores": partial(_agreeing_order, "table-4-4"),
}
