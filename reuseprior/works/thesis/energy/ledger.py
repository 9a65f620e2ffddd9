"""Every printed number of chapter 5's tables, with what became of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from reuseprior.press import published
from reuseprior.press.ledger import Entry, Reading, entry, judge_in_row
from reuseprior.quantities import Quantities
from reuseprior.works.thesis.energy.readings import FAMILIES, as_the_text_says, quantities

QUANTITIES = {
    "params": lambda q: q.parameters,
    "P_G": lambda q: q.P_G,
    "P_G_spread": lambda q: q.P_G_spread,
    "PE": lambda q: q.parameter_efficiency,
    "CE": lambda q: q.compute_efficiency,
}
"""The computed columns of Tables 5.1 to 5.4."""


def entries() -> Iterator[Entry]:
    """Every number of Tables 5.1 to 5.4 and the claims about them, judged."""
    for table in FAMILIES:
        yield from table_entries(table)
    yield from claims()


def table_entries(table: str) -> Iterator[Entry]:
    """The cells of one table, each under the text's reading and the table's convention."""
    for _, row in published.load(f"thesis/{table}").iterrows():
        width = int(row["channels" if FAMILIES[table].is_cnn else "width"])
        which = (table, width, int(row.depth), row.get("shared") == "True")
        text, own = as_the_text_says(*which), quantities(*which)
        for column, value in QUANTITIES.items():
            if column in row.index:
                readings = Reading(value(text)), Reading(value(own), FAMILIES[table].convention)
                verdict, computed, note = judge_in_row(row[column], *readings)
                yield entry(row, column, computed, verdict, note)


def claims() -> Iterator[Entry]:
    """What text and captions say about the tables."""
    for _, row in published.load("thesis/chapter-5-text").iterrows():
        value, note = CLAIMS[row.claim]()
        yield entry(
            row, "value", value, "reproduced" if value == int(row["value"]) else "erratum", note
        )


def _models(table: str) -> list[tuple[int, int, bool]]:
    rows = published.load(f"thesis/{table}")
    width = "channels" if FAMILIES[table].is_cnn else "width"
    return [(int(r[width]), int(r.depth), r.get("shared") == "True") for _, r in rows.iterrows()]


def _rank(
    table: str, position: int, of: Callable[[Quantities], float], *, sharing_only: bool = False
) -> tuple[int, str]:
    """Rank of a row (1 is greatest) among the rows of its table."""
    rows = _models(table)
    chosen = rows[position]
    rivals = [row for row in rows if row[2]] if sharing_only else rows
    values = sorted((of(quantities(table, *row)) for row in rivals), reverse=True)
    rank = values.index(of(quantities(table, *chosen))) + 1
    return rank, f"of {len(rivals)} rows"


def _deepest(table: str) -> tuple[int, str]:
    rows = _models(table)
    deepest = max(range(len(rows)), key=lambda i: rows[i][1])
    rank, note = _rank(table, deepest, lambda q: q.P_G)
    best = max(rows, key=lambda row: quantities(table, *row).P_G)
    return rank, f"{note}; the greatest is {best[0]} × {best[1]}"


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


def _lowered_by_sharing() -> tuple[int, str]:
    lowered, models = lowered_by_sharing(_efficiency)
    in_text, _ = lowered_by_sharing(_efficiency, as_the_text_says)
    by_spread, _ = lowered_by_sharing(lambda q: q.parameter_efficiency_spread)
    return lowered, (
        f"of {models}, by P_G under the table's convention; {in_text} as the text counts, "
        f"{by_spread} by P′_G"
    )


def _efficiency(q: Quantities) -> float:
    return q.parameter_efficiency


CLAIMS: dict[str, Callable[[], tuple[int, str]]] = {
    "rank of the first row of table 5.2 by parameter efficiency": partial(
        _rank, "table-5-2", 0, _efficiency
    ),
    "rank of the last row of table 5.2 by parameter efficiency among those that share": partial(
        _rank, "table-5-2", -1, _efficiency, sharing_only=True
    ),
    "rank of the last row of table 5.2 by parameter efficiency": partial(
        _rank, "table-5-2", -1, _efficiency
    ),
    "rank of the second row of table 5.4 by parameter efficiency": partial(
        _rank, "table-5-4", 1, _efficiency
    ),
    "rank of the deepest model of table 5.3 by P_G": partial(_deepest, "table-5-3"),
    "models of tables 5.1 and 5.3 whose parameter efficiency sharing lowers": _lowered_by_sharing,
}
