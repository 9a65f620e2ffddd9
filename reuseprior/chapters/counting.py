"""Every printed number of chapter 4's counts and of appendix A, with the value computed for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from itertools import combinations
from math import isclose

import numpy as np
import pandas as pd
from torch import nn

from reuseprior import contexts, sharing
from reuseprior.contexts import (
    BatchNorm,
    ContextCounts,
    Graph,
    ParameterCount,
    count_contexts,
    horizontal_unroll,
    trace_model,
    uniform,
)
from reuseprior.contexts.show import by_tensor
from reuseprior.models import catalog, efficientnet_v2, resnet50_v1, without_weights
from reuseprior.quantities import Quantities, derive
from reuseprior.report import published
from reuseprior.report.cells import Cells
from reuseprior.report.ledger import SIGNS, Interpretation, interpretation_of_row, side_by_side
from reuseprior.report.published import Printed
from reuseprior.report.runs import RunSelection, settings
from reuseprior.training import Protocol

PARTS = Cells(__name__, "thesis/chapter-4-counting")


@dataclass(frozen=True)
class Convention:
    """A way to count that a row's digits follow, and the words of the text that rule it out."""

    name: str
    contradicted: str


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
class RowInterpretation:
    """The quantities of a row under some conventions; under none it is what the text says."""

    conventions: tuple[Convention, ...]
    quantities: Quantities

    @property
    def convention(self) -> str:
        """The conventions by name."""
        return "; ".join(one.name for one in self.conventions)

    @property
    def contradicted(self) -> str:
        """What the text says against them."""
        return "; ".join(one.contradicted for one in self.conventions)

    def of(self, value: Callable[[Quantities], float]) -> Interpretation:
        """One quantity of the row, as the ledger reads it."""
        return Interpretation(value(self.quantities), self.convention, self.contradicted)


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
    counted = counts(label, size, classes)
    if batch_norm == "learnable":
        counted = counted.learnable()
    if policy is not None:
        counted = sharing.merge(counted, model(label, classes), policy)
    return derive(
        counted.log2_counts,
        counted.multiplicities,
        input_nodes=3 * (inputs or size) ** 2,
        output_nodes=counted.output_nodes,
        weight_nodes=counted.weight_nodes,
    )


def multiply_adds(label: str, size: int, classes: int = 1000) -> int:
    """Multiply-adds of a row's model on one image; sharing changes none."""
    return _multiply_adds(base_name(label), size, classes)


@lru_cache(maxsize=32)
def _multiply_adds(base: str, size: int, classes: int) -> int:
    return contexts.multiply_adds(trace_model(_model(base, classes), (1, 3, size, size)))


def interpretations(label: str, size: int, classes: int = 1000) -> list[RowInterpretation]:
    """The interpretations of a row: first the text's, last the table's own."""
    shared = label.endswith("-shared")
    policy = sharing.all_but_bn if shared else None
    of = partial(quantities, label, classes=classes)
    every = [
        RowInterpretation((), of(size, "learnable", policy)),
        RowInterpretation((STATISTICS,), of(size, "all", policy)),
    ]
    if shared:
        of_shape = of(size, "all", sharing.same_shape)
        every.append(RowInterpretation((STATISTICS, SAME_SHAPE), of_shape))
    if label in OTHER_SIZES:
        other = OTHER_SIZES[label]
        inputs = size if other.inputs is None else other.inputs
        at = Convention(
            f"contexts counted at {other.counted} px, N_I at {inputs} px",
            f"the table prints {size} px",
        )
        for batch_norm, more in [("learnable", ()), ("all", (STATISTICS,))]:
            counted = of(other.counted, batch_norm, policy, inputs=inputs)
            every.append(RowInterpretation((at, *more), counted))
        if label == "ResNet-50":
            biased = quantities(_WITH_BIAS, other.counted)
            every.append(RowInterpretation((at, STATISTICS, CONV_BIAS), biased))
    return every


def row_interpretation(row) -> RowInterpretation:
    """The one that explains most of a row's printed digits; among equals the table's own."""
    every = interpretations(row.model, int(row.image_size))
    values = [{c: value(r.quantities) for c, value in QUANTITIES.items()} for r in every]
    return every[interpretation_of_row(row, values)]


FIGURE_4_1A = Graph(
    {
        "f1": [("i1", "w1")],
        "f2": [("f1", "w2")],
        "f3": [("f1", "w3")],
        "O1": [("f2", "w4"), ("f3", "w5")],
    }
)
FIGURE_4_1B = Graph(
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


# Graphs of figures --------------------------------------------------------------------------------


def figure_1_1b(width: int, depth: int) -> Graph:
    """A perceptron of one input; weights after the first layer are left out, as in figure 1.1b.

    >>> [figure_1_1b(width, 2).contexts()["w1"] for width in (2, 3)]
    [2, 3]
    """
    across = range(1, width + 1)
    nodes = {f"f{k}": [("i1", f"w{k}")] for k in across}
    layer = list(nodes)
    for later in range(1, depth):
        letter = "O" if later == depth - 1 else chr(ord("f") + later)
        nodes |= {f"{letter}{k}": list(layer) for k in across}
        layer = [f"{letter}{k}" for k in across]
    return Graph(nodes)


# Scores, which trainings give ---------------------------------------------------------------------

IMAGENET = {
    "epochs": 352, "batch_size": 400, "learning_rate": 0.025, "dropout": 0.075,
    "augmentation": "randaugment",
}  # fmt: skip
"""Section 4.5.4 on ImageNet-1K, where it differs from the protocol `thesis` and we can follow it.

Its four stages are not among these, as the size that the first begins with is not printed, nor is
RandAugment's magnitude of 2, as ours is fixed.
"""

STAGES = 4  # of a training on ImageNet-1K

NEEDS = "trainings of the full model at §4.5.4's protocol: days on a GPU each"


def score(base: str, shared: bool, data: str, printed: Mapping[str, object]) -> RunSelection:
    """Top-1 accuracies, in per cent, of a model trained as section 4.5.4 says.

    `base` is the catalogue's name of the unshared model, `data` the data set's; `printed` are the
    settings that a table prints of the run, and go before the protocol's.
    """
    model = catalog.find(base).name
    protocol = settings(asdict(Protocol.load("thesis", model=model)), printed)
    if data == "imagenet":
        protocol |= {**IMAGENET, **printed, "stages": STAGES}
        del protocol["start_image_size"]  # which is not printed
    config = {"model": model, "sharing": "all_but_bn" if shared else "none"}
    config |= {"data": data, "protocol": protocol}
    return RunSelection(
        "train-thesis*", config, lambda runs: 100 * runs[0].summary["test_accuracy"]
    )


def duplicates_in_figure_4_3() -> int:
    """Copies of w1 after horizontal unrolling."""
    return horizontal_unroll(FIGURE_4_3A).repetitions()["w1"]


def contexts_in_figure_4_3() -> int:
    """Contexts of every weight of the uniform graph."""
    return max(uniform(FIGURE_4_3A).contexts().values())


def worked(row: pd.Series) -> float | int:
    """Appendix A.3's worked example: all that follows from its frequencies, N_I and N_O."""
    rows = published.load({"thesis": "thesis/appendix-a", "paper": "paper/appendix-b"}[row.source])
    numbers = rows.set_index(["quantity", "parameter"])["value"].astype(float)
    frequencies = numbers["frequency"]
    if row.quantity == "probability numerator" and row.parameter not in frequencies:
        raise KeyError(f"{row['id']}: {row.parameter!r} has no printed frequency")
    q = derive(
        np.log2(frequencies.to_numpy()),
        np.ones(len(frequencies)),
        input_nodes=int(numbers["N_I", ""]),
        output_nodes=int(numbers["N_O", ""]),
        weight_nodes=len(frequencies),
    )
    return {
        "probability numerator": int(frequencies.get(row.parameter, 0)),
        "probability denominator": int(frequencies.sum()),
        "total surprisal": q.total_surprisal,
        "entropy": q.entropy,
        "expected spread": q.expected_spread,
        "weight nodes": q.weight_nodes,
        "|G|": q.graph_size,
        "P_G": q.P_G,
        "N_G": q.parameters,
        "P_G spread": q.P_G_spread,
    }[row.quantity]


# Tables 4.3 and 4.4 ------------------------------------------------------------------------------


def counted(row: pd.Series, column: str) -> list[Interpretation | str]:
    """A quantity of a row by the text, and by those conventions of the row that move it."""
    of_model, of_row = interpretations(row.model, int(row.image_size)), row_interpretation(row)
    text, value = of_model[0], QUANTITIES[column]
    wanted = value(of_row.quantities)
    fewer = (r for r in of_model if set(r.conventions) <= set(of_row.conventions))
    fewest = next(r for r in fewer if isclose(value(r.quantities), wanted, rel_tol=1e-12))
    if not fewest.convention:
        return [text.of(value)]
    note = ""
    if value(text.quantities) in Printed.parse(row[column]).interval():
        other = value(fewest.quantities)
        shown = f"{other:,}" if isinstance(other, int) else f"{other:.6g}"
        note = f"the row's other cells follow {fewest.convention}, which gives {shown}"
    return [text.of(value), fewest.of(value), note]


def about_size(row: pd.Series) -> str:
    """What is known of an image size to which the row's digits do not belong."""
    if row.model not in OTHER_SIZES:
        return ""
    text = interpretations(row.model, int(row.image_size))[0].quantities
    note = f"the row prints P_G {row.P_G}; at {row.image_size} px it is {text.P_G:.4f}"
    if row.model == "ResNet-50":
        note += "; Tan & Le (2021) ran ResNets at 380 px, so the size may be right and P_G not"
    return note


def score_of(row: pd.Series) -> tuple[RunSelection, str]:
    """The trainings on ImageNet-1K at a row's image size."""
    printed = {"test_image_size": int(row.image_size)}
    shared = row.model.endswith("-shared")
    return score(base_name(row.model), shared, "imagenet", printed), NEEDS


# Claims about these tables, from their own numbers -----------------------------------------------


def _printed_values(table: str, column: str) -> dict[str, float]:
    rows = published.load(table)
    return {r.model: float(Printed.parse(r[column]).value) for _, r in rows.iterrows()}


def _estimates(table: str) -> dict[str, float]:
    """P_G of a table's models as the text counts, at the printed sizes."""
    rows = published.load(table)
    texts = (interpretations(r.model, int(r.image_size))[0] for _, r in rows.iterrows())
    return {r.model: one.quantities.P_G for (_, r), one in zip(rows.iterrows(), texts, strict=True)}


def agreeing_pairs(table: str) -> list[int | str]:
    """Pairs of a table's models that P_G orders as their printed scores do."""
    scores = _printed_values(table, "score")
    pairs = list(combinations(scores, 2))
    agree, naive = (
        sum((scores[a] - scores[b]) * (of[a] - of[b]) > 0 for a, b in pairs)
        for of in (_estimates(table), _printed_values(table, "params"))
    )
    return [agree, f"of {len(pairs)} pairs; by parameters {naive}"]


def below() -> int:
    """Of V2-B3 and V2-S, how many P_G puts above ResNet-50."""
    ours = _estimates("thesis/table-4-4")
    return sum(ours["ResNet-50"] < ours[m] for m in ("V2-B3", "V2-S"))


def part_of_accuracy() -> list[float | str]:
    """P_G over the printed top-1 accuracy, on average over table 4.4's models."""
    scores, ours = _printed_values("thesis/table-4-4", "score"), _estimates("thesis/table-4-4")
    ratios = [ours[m] / scores[m] for m in scores]
    return [float(np.mean(ratios)), f"six models: {min(ratios):.3f} to {max(ratios):.3f}"]


# Tables of the notebook ---------------------------------------------------------------------------

FORMATS = {
    "P_G": "{:.4f}".format,
    "P_G_spread": "{:.4f}".format,
    "expected_spread": "{:.4f}".format,
    "entropy": "{:.4f}".format,
    "params": "{:,}".format,
    "image_size": "{}".format,
}
"""The computed columns of Tables 4.3 and 4.4, and how their values are shown."""


def printed_beside_computed(name: str) -> pd.DataFrame:
    """A table of the thesis, "printed | computed" and the verdict's mark in every cell."""
    table = side_by_side(PARTS.table(f"thesis/{name}"), FORMATS)
    table.index = (
        published.load(f"thesis/{name}").set_index("id").loc[table.index, "model"].rename("model")
    )
    return table


def conventions(label: str, size: int) -> pd.DataFrame:
    """The quantities of one row under every interpretation, the text's first."""
    known = interpretations(label, size)
    return _quantities_table({r.convention or "as the text says": r.quantities for r in known})


_PRINTED_SIZE = 480  # of V2-M and V2-L in table 4.4


def exact_rows() -> pd.DataFrame:
    """V2-M and V2-L counted at their full 480 px, beside what Table 4.4 prints for them."""
    rows = {}
    for label, other in OTHER_SIZES.items():
        if other.inputs is None:  # N_I is taken at the printed size
            size = _PRINTED_SIZE
            rows[f"{label}, counted at {other.counted} px"] = quantities(
                label, other.counted, inputs=size
            )
            rows[f"{label}, counted at {size} px"] = quantities(label, size)
    return _quantities_table(rows)


def estimates_and_scores(name: str = "table-4-4") -> pd.DataFrame:
    """A table's models with the paper's scores, the table's own estimates and parameters.

    The paper's scores, because the thesis repeats its own table 4.3's for V2-S. V2-M and V2-L are
    counted at the size that their accuracy belongs to.
    """
    rows = {}
    for _, row in published.load(f"paper/{name.replace('4-', '', 1)}").iterrows():
        sizes = OTHER_SIZES.get(row.model)
        counted = None if sizes is None else sizes.inputs or int(row.image_size)
        q = row_interpretation(row).quantities if sizes is None else quantities(row.model, counted)
        score = float(Printed.parse(row.score).value)
        rows[row.model] = [score, q.P_G, q.P_G_spread, q.parameters]
    columns = ["score", "P_G", "P_G_spread", "params"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)


def _quantities_table(rows: dict[str, Quantities]) -> pd.DataFrame:
    shown = {
        name: {column: FORMATS[column](value(q)) for column, value in QUANTITIES.items()}
        for name, q in rows.items()
    }
    return pd.DataFrame.from_dict(shown, orient="index").rename(columns=SIGNS)


def by_depth(counted: ContextCounts) -> pd.DataFrame:
    """Each parameter tensor in the order of the network, with where its contexts live.

    To the columns of `by_tensor` comes kind: convolution, depthwise, batch norm, squeeze–excite or
    classifier.
    """
    return by_tensor(counted).assign(kind=[_kind(p) for p in counted.parameter_counts])


def _kind(count: ParameterCount) -> str:
    if "gate" in count.name:
        return "squeeze–excite"
    if "classifier" in count.name:
        return "classifier"
    if len(count.shape) == 1:
        return "batch norm"
    return "depthwise" if count.shape[1] == 1 else "convolution"
