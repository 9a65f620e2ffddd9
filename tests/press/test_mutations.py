"""A printed number that were another would have another verdict: each is falsified and judged."""

import re
from collections import Counter
from decimal import Decimal

import pytest

from reuseprior.press import ledger, published
from reuseprior.press.published import Printed

AGREES = {"reproduced", "unsaid", "against the text"}


def falsified(text: str, by: int) -> str:
    """The printed text with its last digit `by` more."""
    number = re.search(r"\d[\d \u2009\u00a0]*(?:[.,]\d+)?", text)
    digits = re.sub(r"\s", "", number[0]).replace(",", ".")
    last = Decimal(1).scaleb(-len(digits.partition(".")[2]))
    changed = max(Decimal(digits) + by * last, Decimal(0))
    return f"{text[: number.start()]}{changed}{text[number.end() :]}"


def test_falsified():
    found = [falsified(text, 1) for text in ("746.608+", "7.1M", "3.0 M", "1,28M", "50 000", "9")]
    assert found == ["746.609+", "7.2M", "3.1M", "1.29M", "50001", "10"]
    assert falsified("7.42e-4", -1) == "7.41e-4"


def tables_with(chosen: set[str], column: str, by: int):
    """`published.load` as it would be if the chosen cells were printed otherwise."""
    load = published.load

    def loaded(*names):
        table = load(*names)
        if column in table and "id" in table:
            of_row = table["id"] if column == "value" else table["id"] + f"/{column}"
            here = of_row.isin(chosen)
            table.loc[here, column] = [falsified(text, by) for text in table.loc[here, column]]
        return table

    return loaded


@pytest.fixture(scope="module")
def before():
    """All numbers that tables print and definitions give."""
    return ledger.collect()


@pytest.mark.slow
@pytest.mark.parametrize("by", [1, -1])
def test_each_computed_number_that_agrees_is_falsified(before, monkeypatch, by):
    agreeing = {e.id: e for e in before if e.kind == "computed" and e.verdict in AGREES}
    printed = {i for i, e in agreeing.items() if not Printed.parse(e.printed).bound}
    columns = Counter(i.partition("/")[2] or "value" for i in printed)
    turned, stayed = 0, []
    for column in columns:
        chosen = {i for i in printed if (i.partition("/")[2] or "value") == column}
        with monkeypatch.context() as patch:
            patch.setattr(published, "load", tables_with(chosen, column, by))
            patch.setattr(ledger, "parts", parts_of_tables)
            after = {e.id: e for e in ledger.collect()}
        for i in chosen:
            assert after[i].printed != agreeing[i].printed, f"{i} was not falsified"
            changed = after[i].verdict != agreeing[i].verdict
            turned += changed
            stayed += [] if changed else [i]
    assert turned >= 0.95 * len(printed), f"{len(stayed)} of {len(printed)}: {sorted(stayed)}"


PARTS = ledger.parts


def parts_of_tables():
    """The parts that read printed tables: theorems are no rows of one."""
    return {place: make for place, make in PARTS().items() if "theorems" not in place}


@pytest.mark.slow
def test_wider_windows_would_be_noticed(before, monkeypatch):
    """With the window of 1.5 digits that the ledger once had, hundreds of wrong cells pass."""
    window = Printed.window

    def wide(self, how="rounded"):
        both = window(self), window(self, "cut")
        return published.Window(min(w.least for w in both), max(w.most for w in both))

    cells = [e for e in before if e.kind == "computed" and e.verdict == "reproduced"]
    cells = [e for e in cells if e.window and not Printed.parse(e.printed).bound]

    def passing():
        values = [(Printed.parse(falsified(e.printed, -1)), e.computed) for e in cells]
        return sum(value in printed.window() for printed, value in values)

    honest = passing()
    monkeypatch.setattr(Printed, "window", wide)
    assert honest <= 0.05 * len(cells) < passing()
