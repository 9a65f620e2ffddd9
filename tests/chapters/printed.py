"""Printed tables, read once, and a printed number falsified."""

from decimal import Decimal
from functools import cache

import pandas as pd

from reuseprior.report import published
from reuseprior.report.published import Printed

LOAD = published.load


@cache
def table(name):
    """A published table as it is."""
    return LOAD(name)


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
