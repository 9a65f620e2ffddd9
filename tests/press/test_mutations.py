"""A printed number that were another would have another verdict: each is falsified and judged."""

import re
from dataclasses import replace
from decimal import Decimal

import pytest

from reuseprior.press import ledger
from reuseprior.press.ledger import Cell
from reuseprior.press.published import Printed, Window

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
    assert found == ["746.609+", "7.2M", "3.1 M", "1.29M", "50001", "10"]
    assert falsified("7.42e-4", -1) == "7.41e-4"


@pytest.fixture(scope="module")
def columns():
    """The columns of all tables, as their cells are judged: together."""
    found, made = {}, ledger.made

    def made_and_kept(cells):
        found[tuple((cell.row["id"], cell.column) for cell in cells)] = list(cells)
        return made(cells)

    with pytest.MonkeyPatch.context() as patch:
        of_tables = {p: make for p, make in ledger.parts().items() if "theorems" not in p}
        patch.setattr(ledger, "parts", lambda: of_tables)
        patch.setattr(ledger, "made", made_and_kept)
        entries = ledger.collect()
    assert len({cell for column in found for cell in column}) == sum(
        e.kind == "computed" for e in entries
    )
    return list(found.values())


def verdict(cells: list[Cell], place: int) -> str:
    return list(ledger.judged(cells))[place].verdict


@pytest.mark.slow
@pytest.mark.parametrize("by", [1, -1])
def test_each_computed_number_that_agrees_is_falsified(columns, by):
    """By one in its last digit, each by itself: at least 95 % of the verdicts turn."""
    turned, stayed = 0, []
    for cells in columns:
        for place, cell in enumerate(cells):
            before = verdict(cells, place)
            if before not in AGREES:
                continue
            row = cell.row.copy()
            row[cell.column] = falsified(row[cell.column], by)
            other = [*cells[:place], replace(cell, row=row), *cells[place + 1 :]]
            if verdict(other, place) == before:
                stayed.append(f"{row['id']}/{cell.column}")
            else:
                turned += 1
    assert turned > 400
    assert turned >= 0.95 * (turned + len(stayed)), stayed


@pytest.mark.slow
def test_wider_windows_would_be_noticed(columns, monkeypatch):
    """With the window of 1.5 digits that the ledger once had, many falsified numbers pass."""

    def wrong(cell: Cell) -> Printed:
        return Printed.parse(falsified(cell.row[cell.column], -1))

    def passing() -> int:
        return sum(
            any(
                r.value in Printed.parse(falsified(c.row[c.column], -1)).window()
                for r in c.readings
            )
            for cells in columns
            for place, c in enumerate(cells)
            if not c.printed.bound and verdict(cells, place) in AGREES
        )

    def wide(self, how="rounded"):
        both = window(self), window(self, "cut")
        return Window(min(w.least for w in both), max(w.most for w in both))

    window, honest = Printed.window, passing()
    monkeypatch.setattr(Printed, "window", wide)
    assert passing() > honest + 100
