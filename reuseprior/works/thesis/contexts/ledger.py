"""Every printed number of chapter 4's counts and of appendix A, with the value computed for it."""

from __future__ import annotations

from collections.abc import Iterator

from reuseprior.contexts import horizontal_unroll, uniform
from reuseprior.press import published
from reuseprior.press.ledger import Entry, Reading, entry, judge_in_row, judged
from reuseprior.press.published import Printed
from reuseprior.press.runs import Evidence, recorded
from reuseprior.quantities import Quantities
from reuseprior.works.thesis.contexts.graphs import FIGURE_4_2A, FIGURE_4_2B, FIGURE_4_3A
from reuseprior.works.thesis.contexts.readings import (
    OTHER_SIZES,
    QUANTITIES,
    base_name,
    readings,
    row_reading,
)
from reuseprior.works.thesis.scores import IMAGENET, score

TABLES = {
    "table-4-3": ("thesis/table-4-3", "paper/table-3"),
    "table-4-4": ("thesis/table-4-4", "paper/table-4"),
}
"""The thesis's tables that rank models, with the paper's of the same models."""


def entries() -> Iterator[Entry]:
    """The captions of figures 4.2 and 4.3, appendix A, and tables 4.3 and 4.4, judged."""
    yield from figures()
    yield from appendix_a()
    for name in TABLES:
        yield from ranked_models(name)


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
        for _, row in published.load(f"thesis/{name}").iterrows():
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
    for _, row in published.load("thesis/appendix-a", "paper/appendix-b").iterrows():
        of_parameter = row.quantity in ("frequency", "probability numerator")
        value = frequencies[row.parameter] if of_parameter else values[row.quantity]
        yield judged(row, "value", [Reading(value)])


# The thesis's own footnote and the paper's Table 4 contradict this cell.
_COPIED_SCORE = "Table 4.3's score; footnote 6 says 83.6-83.9, the paper's Table 4 83.6+"


def ranked_models(name: str) -> Iterator[Entry]:
    """Tables 4.3 and 4.4: every quantity of every row, under one reading a row."""
    for _, row in published.load(*TABLES[name]).iterrows():
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
            yield recorded(row, "score", _training(row), "top-1 accuracy of a training run")


def _training(row) -> Evidence:
    """The trainings on ImageNet-1K at a row's image size."""
    printed = {**IMAGENET, "test_image_size": int(row.image_size)}
    return score(base_name(row.model), row.model.endswith("-shared"), "imagenet", printed)


def _image_size(row, q: Quantities) -> Entry:
    """The image size, judged by whether the row's own P_G belongs to it."""
    printed = int(row.image_size)
    sizes = OTHER_SIZES.get(row.model)
    if sizes is not None and sizes.inputs == printed:
        note = f"N_I is taken at {printed} px, contexts are counted at {sizes.counted} px"
        return entry(row, "image_size", printed, "convention", note)
    own = printed if sizes is None else sizes.counted
    note = f"the row's P_G {row.P_G} is that of {own} px ({q.P_G:.4f})"
    belongs = own == printed and Printed.parse(row.P_G).matches(q.P_G) is not None
    return entry(row, "image_size", own, "reproduced" if belongs else "erratum", note)
