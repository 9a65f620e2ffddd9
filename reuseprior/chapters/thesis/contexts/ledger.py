"""Every printed number of chapter 4's counts and of appendix A, with the value computed for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import combinations
from math import isclose

import numpy as np
import pandas as pd

from reuseprior.chapters.thesis.contexts.graphs import FIGURE_4_3A
from reuseprior.chapters.thesis.contexts.readings import (
    OTHER_SIZES,
    QUANTITIES,
    RowReading,
    base_name,
    readings,
    row_reading,
)
from reuseprior.chapters.thesis.scores import NEEDS, score
from reuseprior.contexts import horizontal_unroll, uniform
from reuseprior.quantities import derive
from reuseprior.report import published
from reuseprior.report.ledger import (
    Cell,
    Entry,
    Reading,
    in_words,
    judged,
    public,
    quoted,
    setting,
)
from reuseprior.report.published import Printed
from reuseprior.report.runs import Evidence, measured

TABLES = {
    "thesis, table 4.3": "thesis/table-4-3",
    "thesis, table 4.4": "thesis/table-4-4",
    "paper, table 3": "paper/table-3",
    "paper, table 4": "paper/table-4",
}
"""The tables that rank models."""

QUOTES = {"thesis/table-4-4", "paper/table-4"}
"""Those whose scores are Tan & Le's, but for what repeats the table before."""

DRAWN = "the figure has no digits: the graph is drawn to have what its caption says"


def figures(figure: str) -> Iterator[Entry]:
    """A caption of figures 4.1 to 4.3: what the graphs are drawn from, and what follows."""
    computed = {
        "4.3b": horizontal_unroll(FIGURE_4_3A).repetitions()["w1"],
        "4.3c": max(uniform(FIGURE_4_3A).contexts().values()),
    }
    for _, row in published.load(f"thesis/{figure}").iterrows():
        if row.graph in computed:
            yield from judged([Cell(row, "value", [Reading(computed[row.graph])])])
        else:
            yield setting(row, "value", DRAWN)


def appendix_a(table: str) -> Iterator[Entry]:
    """The worked example of appendix A.3: all that follows from its frequencies, N_I and N_O."""
    rows = published.load(table)
    numbers = rows.set_index(["quantity", "parameter"])["value"].astype(float)
    frequencies = numbers["frequency"]
    q = derive(
        np.log2(frequencies.to_numpy()),
        np.ones(len(frequencies)),
        input_nodes=int(numbers["N_I", ""]),
        output_nodes=int(numbers["N_O", ""]),
        weight_nodes=len(frequencies),
    )
    values = {
        "probability denominator": int(frequencies.sum()),
        "total surprisal": q.total_surprisal,
        "entropy": q.entropy,
        "expected spread": q.expected_spread,
        "weight nodes": q.weight_nodes,
        "|G|": q.graph_size,
        "P_G": q.P_G,
        "N_G": q.parameters,
        "P_G spread": q.P_G_spread,
    }
    for _, row in rows.iterrows():
        if row.quantity in ("frequency", "N_I", "N_O"):
            yield setting(row, "value", f"{DRAWN}; the other numbers of A.3 follow from it")
        else:
            of_parameter = row.quantity == "probability numerator"
            value = int(frequencies[row.parameter]) if of_parameter else values[row.quantity]
            copied = of_parameter or row.quantity == "probability denominator"
            yield from judged([Cell(row, "value", [Reading(value)], derived=copied)])


# Tables 4.3 and 4.4 ------------------------------------------------------------------------------


def ranked_models(table: str) -> Iterator[Entry]:
    """A table that ranks models: a row's quantities by the text and by one reading of the row."""
    rows = [row for _, row in published.load(table).iterrows()]
    yield from judged(cell for row in rows for cell in _cells(row))
    for row in rows:
        yield setting(row, "image_size", _about_size(row))
        yield _score(row, table)


def _cells(row: pd.Series) -> Iterator[Cell]:
    found, of_row = readings(row.model, int(row.image_size)), row_reading(row)
    text = found[0]
    for column, value in QUANTITIES.items():
        own = _least(found, of_row, value)
        readings_of_cell = [text.of(value)]
        note = ""
        if own.convention:
            readings_of_cell.append(own.of(value))
            if value(text.quantities) in Printed.parse(row[column]).window():
                other = value(own.quantities)
                shown = f"{other:,}" if isinstance(other, int) else f"{other:.6g}"
                note = f"the row's other cells follow {own.convention}, which gives {shown}"
        yield Cell(row, column, readings_of_cell, note=note)


def _least(found: list[RowReading], of_row: RowReading, value: Callable) -> RowReading:
    """The reading of a row with only those of its conventions that move a quantity."""
    wanted = value(of_row.quantities)
    fewer = (r for r in found if set(r.conventions) <= set(of_row.conventions))
    return next(r for r in fewer if isclose(value(r.quantities), wanted, rel_tol=1e-12))


def _about_size(row: pd.Series) -> str:
    """What is known of an image size to which the row's digits do not belong."""
    if row.model not in OTHER_SIZES:
        return ""
    text = readings(row.model, int(row.image_size))[0].quantities
    note = f"the row prints P_G {row.P_G}; at {row.image_size} px it is {text.P_G:.4f}"
    if row.model == "ResNet-50":
        note += "; Tan & Le (2021) ran ResNets at 380 px, so the size may be right and P_G not"
    return note


def _score(row: pd.Series, table: str) -> Entry:
    """A score: of a training here or in the table before, or quoted from Tan & Le."""
    again = row.get("score_repeats", "")
    if table in QUOTES and not again:
        return quoted(row, "score", public(f"{row.model}, ImageNet-1K top-1, %"))
    note = f"{NEEDS}; printed before as {again}" if again else NEEDS
    if again and table in QUOTES:
        note += "; footnote 6 says that Tan & Le's is 83.6-83.9"
    return measured(row, "score", _training(row), note)


def _training(row: pd.Series) -> Evidence:
    """The trainings on ImageNet-1K at a row's image size."""
    printed = {"test_image_size": int(row.image_size)}
    return score(base_name(row.model), row.model.endswith("-shared"), "imagenet", printed)


# Claims about these tables -----------------------------------------------------------------------


def claims(where: str) -> Iterator[Entry]:
    """What a section says about tables 4.3 and 4.4, from their own numbers."""
    for row in said(where):
        if row.claim in QUOTED:
            yield quoted(row, "value", public(QUOTED[row.claim]))
        elif row.claim in CLAIMS:
            cell = CLAIMS[row.claim](row)
            yield from judged([cell]) if row.claim.startswith("P_G over") else [in_words(cell)]


def said(where: str) -> list[pd.Series]:
    """What the text of the thesis or of the paper says of chapter 4's models in a place."""
    tables = map(published.load, ("thesis/chapter-4-text", "paper/text"))
    rows = [row for table in tables for _, row in table.iterrows()]
    return [row for row in rows if row["where"].startswith(where)]


def _printed_values(table: str, column: str) -> dict[str, float]:
    rows = published.load(table)
    return {r.model: float(Printed.parse(r[column]).value) for _, r in rows.iterrows()}


def _estimates(table: str) -> dict[str, float]:
    """P_G of a table's models as the text counts, at the printed sizes."""
    rows = published.load(table)
    found = (readings(r.model, int(r.image_size))[0] for _, r in rows.iterrows())
    return {r.model: one.quantities.P_G for (_, r), one in zip(rows.iterrows(), found, strict=True)}


def _agreeing_pairs(table: str, row: pd.Series) -> Cell:
    """Pairs of a table's models that P_G orders as their printed scores do."""
    scores, ours = _printed_values(table, "score"), _estimates(table)
    pairs = list(combinations(scores, 2))
    agree = sum((scores[a] - scores[b]) * (ours[a] - ours[b]) > 0 for a, b in pairs)
    by_size = _printed_values(table, "params")
    naive = sum((scores[a] - scores[b]) * (by_size[a] - by_size[b]) > 0 for a, b in pairs)
    note = f"of {len(pairs)} pairs; by parameters {naive}"
    return Cell(row, "value", [Reading(agree)], note=note)


def _below(row: pd.Series) -> Cell:
    """Of V2-B3 and V2-S, how many P_G puts above ResNet-50."""
    ours = _estimates("thesis/table-4-4")
    return Cell(
        row, "value", [Reading(sum(ours["ResNet-50"] < ours[m] for m in ("V2-B3", "V2-S")))]
    )


def _part_of_accuracy(row: pd.Series) -> Cell:
    """P_G over the printed top-1 accuracy, on average over table 4.4's models."""
    scores, ours = _printed_values("thesis/table-4-4", "score"), _estimates("thesis/table-4-4")
    ratios = [ours[m] / scores[m] for m in scores]
    note = f"six models: {min(ratios):.3f} to {max(ratios):.3f}"
    return Cell(row, "value", [Reading(float(np.mean(ratios)))], note=note)


CLAIMS: dict[str, Callable[[pd.Series], Cell]] = {
    "pairs of table 4.3 that P_G orders as the scores do": partial(
        _agreeing_pairs, "thesis/table-4-3"
    ),
    "pairs of table 4.4 that P_G orders as the scores do": partial(
        _agreeing_pairs, "thesis/table-4-4"
    ),
    "models of V2-B3 and V2-S that P_G puts above ResNet-50": _below,
    "P_G over the top-1 accuracy, roughly 1/3, to one digit": _part_of_accuracy,
}
QUOTED = {
    "V2-S of Tan & Le: top-1 accuracy, at least": "V2-S of fewer epochs, ImageNet-1K top-1, %",
    "V2-S of Tan & Le: top-1 accuracy, at most": "V2-S, ImageNet-1K top-1, %",
}

SECTIONS = (
    *(f"thesis, {place}" for place in ("section 4.5.8", "section 4.7", "footnote 6")),
    *(f"paper, {place}" for place in ("section 5.8", "footnote 6")),
)

PARTS = {
    **{f"thesis, caption of figure 4.{n}": partial(figures, f"figure-4-{n}") for n in (1, 2, 3)},
    "thesis, appendix A.3": partial(appendix_a, "thesis/appendix-a"),
    "paper, appendix B": partial(appendix_a, "paper/appendix-b"),
    **{place: partial(ranked_models, table) for place, table in TABLES.items()},
    **{place: partial(claims, place) for place in SECTIONS},
}
