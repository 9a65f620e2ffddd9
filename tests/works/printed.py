"""Printed tables, read once, and a printed number falsified."""

from decimal import Decimal
from functools import cache

import pandas as pd

from reuseprior.press import ledger, published
from reuseprior.press.published import Printed

LOAD = published.load


@cache
def table(name):
    """A published table as it is."""
    return LOAD(name)


def off_by_one(text, by=1):
    """A printed number with one more in its last digit."""
    printed = Printed.parse(text)
    value = printed.value / printed.unit + by * Decimal(1).scaleb(-printed.digits)
    bound, unit = text[: text.find(text.lstrip("<>≤≥"))], text[len(text.rstrip(" KMB+")) :]
    return f"{bound}{value:.{printed.digits}f}{unit}"


def falsified(monkeypatch, name="", row="", column="", text=None):
    """Let one printed cell be another text, or off by one; none without a name."""

    def load(*names):
        found = pd.concat(map(table, names), ignore_index=True)
        if name in names:
            cell = found["id"] == row, column
            changed = off_by_one(found.loc[cell].item()) if text is None else text
            found.loc[cell] = changed
        return found

    monkeypatch.setattr(published, "load", load)


@cache
def _places():
    """By number, the place of its part."""
    return {
        row["id"]: max(filter(row["where"].startswith, ledger.parts()), key=len)
        for row in ledger.committed_rows()
    }


def numbers_at(places):
    """The ids of the committed numbers of some parts."""
    return {number for number, place in _places().items() if place in places}


def judged(number):
    """The entry of a number by now, of which its part alone is computed."""
    (found,) = (entry for entry in ledger.parts()[_places()[number]]() if entry.id == number)
    return found
