"""Printed tables, read once; a printed number falsified, and what becomes of another one."""

from decimal import Decimal
from functools import cache

import pandas as pd
import pytest

from reuseprior.report import cells, published
from reuseprior.report.published import Printed

LOAD = published.load


@cache
def table(name):
    """A published table as it is."""
    return LOAD(name)


def judged(parts, number):
    """The entry of a number of a chapter's parts by now, of its row alone."""
    assert parts._rules  # each of which is checked against all cells
    every, row = cells._cells, number.partition("/")[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cells, "_cells", lambda of: (c for c in every(of) if c[0]["id"] == row))
        found = [e for name in parts._tables for e in parts.table(name) if e.id == number]
    (entry,) = found
    return entry


def off_by_one(text):
    """A printed number with one more in its last digit."""
    printed = Printed.parse(text)
    value = printed.value / printed.unit + Decimal(1).scaleb(-printed.digits)
    bound, unit = text[: text.find(text.lstrip("<>≤≥"))], text[len(text.rstrip(" KMB+")) :]
    return f"{bound}{value:.{printed.digits}f}{unit}"


def falsified(monkeypatch, name="", row="", column="", text=None):
    """Let one printed cell be another text, or off by one; none without a name.

    `row` may be a dictionary with the texts of several rows.
    """

    def load(*names):
        found = pd.concat(map(table, names), ignore_index=True)
        if name in names:
            for one, other in (row if isinstance(row, dict) else {row: text}).items():
                cell = found["id"] == one, column
                found.loc[cell] = off_by_one(found.loc[cell].item()) if other is None else other
        return found

    monkeypatch.setattr(published, "load", load)
