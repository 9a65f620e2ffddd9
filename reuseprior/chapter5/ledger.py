"""Every printed number of chapter 5's tables, with the value computed for it."""

from __future__ import annotations

from collections.abc import Iterator

from reuseprior import published
from reuseprior.audit import Entry, Reading, entry, judge_in_row
from reuseprior.chapter5.readings import FAMILIES, as_the_text_says, quantities

QUANTITIES = {
    "params": lambda q: q.parameters,
    "P_G": lambda q: q.P_G,
    "P_G_spread": lambda q: q.P_G_spread,
    "PE": lambda q: q.parameter_efficiency,
    "CE": lambda q: q.compute_efficiency,
}
"""The computed columns of Tables 5.1 to 5.4."""


def entries() -> Iterator[Entry]:
    """Every printed number of Tables 5.1 to 5.4, judged."""
    for table in FAMILIES:
        yield from table_entries(table)


def table_entries(table: str) -> Iterator[Entry]:
    """The cells of one table, each under the text's reading and the table's convention."""
    for _, row in published.load(table).iterrows():
        width = int(row["channels" if FAMILIES[table].is_cnn else "width"])
        which = (table, width, int(row.depth), row.get("shared") == "True")
        text, own = as_the_text_says(*which), quantities(*which)
        for column, value in QUANTITIES.items():
            if column in row.index:
                readings = Reading(value(text)), Reading(value(own), FAMILIES[table].convention)
                verdict, computed, note = judge_in_row(row[column], *readings)
                yield entry(row, column, computed, verdict, note)
