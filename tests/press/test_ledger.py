"""Verdicts follow from comparing, and none got worse than the committed ones."""

import json
import re
from dataclasses import replace
from decimal import Decimal
from math import inf
from typing import NamedTuple

import pandas as pd
import pytest
from typer.testing import CliRunner

from reuseprior import paths
from reuseprior.cli import app
from reuseprior.errors import UserError
from reuseprior.press import chapters, ledger, published
from reuseprior.press.ledger import (
    Cell,
    Contradiction,
    Entry,
    Public,
    Reading,
    judged,
    quoted,
    setting,
)
from reuseprior.press.published import Printed, Window
from tests.press.test_published import NUMBERS

TEXT = Reading(7_139_704)
UNSAID = Reading(7_200_312, "totals")
AGAINST = Reading(7_200_312, "totals", "§4.5.1 has learnable parameters")
SAYS = Contradiction("7.2M", "its own table has 7.2M")
BLIND = Contradiction("8.0M", "its own table has 8.0M")  # which no reading gives


def row(printed, **more):
    return pd.Series({"id": "a-1", "source": "a", "where": "a, table 1", "x": printed, **more})


def one(printed, *readings, contradiction=None):
    (entry,) = judged([Cell(row(printed), "x", readings, contradiction)])
    return entry


JUDGED = [  # printed, readings, contradiction, verdict, value, part of the note
    ("7.1M", [TEXT, UNSAID], None, "reproduced", 7_139_704, ""),
    ("7.2M", [TEXT, UNSAID], None, "unsaid", 7_200_312, "totals"),
    ("7.2M", [TEXT, AGAINST], None, "against the text", 7_200_312, "but §4.5.1 has learnable"),
    ("7.2M", [TEXT, AGAINST], None, "against the text", 7_200_312, "reading: 7,139,704"),
    ("7.2M", [TEXT, AGAINST, UNSAID], None, "unsaid", 7_200_312, "totals"),
    ("7M", [TEXT, AGAINST], None, "reproduced", 7_139_704, ""),
    ("9.0M", [TEXT, UNSAID], None, "not reproduced", 7_139_704, "7,139,704; totals: 7,200,312"),
    ("9.0M", [TEXT, UNSAID], SAYS, "erratum", 7_139_704, "its own table has 7.2M"),
    ("9.0M", [TEXT, UNSAID], BLIND, "not reproduced", 7_139_704, "no reading"),
    ("7.1M", [TEXT], SAYS, "reproduced", 7_139_704, ""),
    ("7.2M", [TEXT], SAYS, "not reproduced", 7_139_704, "no reading"),  # nothing contradicts it
    ("29.9+", [Reading(29.9871)], None, "reproduced", 29.9871, ""),
    ("27.20", [Reading(27.2052)], None, "reproduced", 27.2052, "digits are cut"),
]


@pytest.mark.parametrize(
    ("printed", "readings", "contradiction", "verdict", "value", "note"), JUDGED
)
def test_computed(printed, readings, contradiction, verdict, value, note):
    found = one(printed, *readings, contradiction=contradiction)
    assert (found.kind, found.verdict, found.computed) == ("computed", verdict, value)
    assert note in found.note and bool(note) == bool(found.note)


def test_a_column_is_cut_only_if_it_cannot_be_rounded():
    def verdicts(*cells):
        made = [Cell(row(printed), "x", [Reading(value)]) for printed, value in cells]
        return [entry.verdict for entry in judged(made)]

    assert verdicts(("27.20", 27.2052), ("12.34", 12.3412)) == ["reproduced"] * 2
    # a second cell rounds and cannot be cut: the first one's digits have no excuse
    assert verdicts(("27.20", 27.2052), ("12.35", 12.3471)) == ["not reproduced", "reproduced"]


def test_a_column_of_which_the_text_gives_more_by_rounding_is_rounded():
    """Mixed readings could cut every cell; what the text says is rounded."""
    made = [
        Cell(row(printed), "x", [Reading(text), Reading(other, "b", "c")])
        for printed, text, other in (("5.9", 5.87, 5.93), ("1.7", 1.69, 1.75), ("5.8", 5.88, 5.95))
    ]
    verdicts = [entry.verdict for entry in judged(made)]
    assert verdicts == ["reproduced", "reproduced", "not reproduced"]


def test_a_list_of_values_is_no_column():
    cells = [
        Cell(row(printed).rename({"x": "value"}), "value", [Reading(computed)])
        for printed, computed in (("1", 1.9), ("2", 2.9))
    ]
    assert {entry.verdict for entry in judged(cells)} == {"not reproduced"}
    of_one = [replace(cell, quantity="density") for cell in cells]
    assert {entry.verdict for entry in judged(of_one)} == {"reproduced"}


def test_of_readings_that_explain_as_much_the_last_is_the_row_s():
    found = row("27.20", y="9")
    first, last = {"x": 27.2, "y": 1}, {"x": 27.199, "y": 2}
    assert ledger.reading_of_row(found, [first, last]) == 1
    assert ledger.reading_of_row(found, [{"x": 27.2, "y": 9}, last]) == 0


def test_what_is_claimed_is_said():
    (claim,) = judged([Cell(row("9", claim="rank of x"), "x", [Reading(9)], note="of 9")])
    assert claim.note == "rank of x; of 9"


def test_another_kind_is_worse(monkeypatch):
    found = one("8", Reading(8))
    before = {"id": found.id, "kind": "computed", "verdict": "erratum", "where": found.where}
    monkeypatch.setattr(ledger, "committed_rows", lambda: [before])
    (better,) = ledger.changes([found])
    (other,) = ledger.changes([replace(found, kind="quoted", verdict="confirmed")])
    assert not better.worse and other.worse


def test_a_column_is_one_source_s():
    cells = [
        Cell(row("27.20"), "x", [Reading(27.2052)]),
        Cell(row("12.35", source="b"), "x", [Reading(12.3471)]),
    ]
    assert [entry.verdict for entry in judged(cells)] == ["reproduced"] * 2


def test_slack_is_what_a_wrong_value_would_have_passed_by():
    assert one("100", Reading(100)).slack == pytest.approx(0.5)
    assert one("100.00", Reading(100)).slack == pytest.approx(0.005)
    assert one("1", Reading(1)).slack == pytest.approx(1)
    assert setting(row("8"), "x").slack is None


PUBLIC = [  # printed, public, verdict
    ("79.80", [Public("79.8", "b")], "confirmed"),
    ("1,28M", [Public("1281167", "b")], "confirmed"),
    ("83.6+", [Public("83.9", "b")], "confirmed"),
    ("85.2", [Public("85.1", "b"), Public("85.2", "c")], "confirmed"),
    ("85.3", [Public("85.1", "b"), Public("85.2", "c")], "differs"),
    ("80.30", [], "unchecked"),
]


@pytest.mark.parametrize(("printed", "sources", "verdict"), PUBLIC)
def test_quoted(printed, sources, verdict):
    found = quoted(row(printed), "x", sources)
    assert (found.kind, found.verdict) == ("quoted", verdict)
    assert not sources or any(source.source in found.note for source in sources)


def test_a_setting_tests_nothing():
    found = setting(row("8"), "x", "read by y")
    assert (found.kind, found.verdict, found.computed, found.window) == ("setting", "used", 8, None)


def test_windows_are_shown():
    texts = [one(printed, Reading(8)).window_text for printed in ("8", "≥60", "<135", "7.1M")]
    assert texts == ["7.5 to 8.5", "60 or more", "135 or less", "7050000 to 7150000"]
    assert replace(one("8", Reading(8)), window=(-inf, 135)).window_text == "135 or less"


def test_no_work_names_a_verdict():
    """A verdict follows from the rules of the press; a work that names one may have set it."""
    names = {v for verdicts in ledger.KINDS.values() for v in verdicts} - {"used", "open", "holds"}
    named = re.compile("|".join(f"[\"']{name}[\"']" for name in names))
    for path in (paths.PACKAGE / "works").rglob("*.py"):
        found = named.findall(path.read_text(encoding="utf-8"))
        assert not found, f"{path} names {found}"
        assert "Entry(" not in path.read_text(encoding="utf-8"), f"{path} makes an entry itself"


class Collected(NamedTuple):
    """The whole ledger, which takes a minute or two, and how it came to be."""

    entries: list[Entry]
    parts: dict[str, list[Entry]]  # by the beginning of their places
    columns: list[list[Cell]]  # of the tables, whose cells are judged together


@pytest.fixture(scope="module")
def collected():
    parts, columns, made = {}, {}, ledger.made

    def kept(place, make):
        def entries():
            parts[place] = list(make())
            return parts[place]

        return entries

    def made_and_kept(cells):
        cells = list(cells)
        columns[tuple((cell.row["id"], cell.column) for cell in cells)] = cells
        return made(cells)

    with pytest.MonkeyPatch.context() as patch:
        found = {place: kept(place, make) for place, make in ledger.parts().items()}
        patch.setattr(ledger, "parts", lambda: found)
        patch.setattr(ledger, "made", made_and_kept)
        entries = ledger.collect()
    return Collected(entries, parts, list(columns.values()))


@pytest.fixture(scope="module")
def entries(collected):
    return collected.entries


@pytest.mark.slow
def test_the_whole_ledger_is_strict_json(entries, monkeypatch):
    monkeypatch.setattr(ledger, "collect", lambda *_, **__: entries)
    done = CliRunner().invoke(app, ["audit", "--json"])
    found = json.loads(done.stdout, parse_constant=pytest.fail)
    assert done.exit_code == 0 and len(found) == len(entries)
    assert all(entry["verdict"] in ledger.KINDS[entry["kind"]] for entry in found)
    assert all(entry["window"] is None or len(entry["window"]) == 2 for entry in found)


@pytest.mark.slow
def test_no_verdict_is_another_than_the_committed_one(entries):
    assert ledger.committed_rows(), "data/ledger.csv is missing: run `reuseprior audit --update`"
    assert list(map(str, ledger.changes(entries))) == []


@pytest.mark.slow
def test_committed_ledger_is_the_computed_one(entries, tmp_path, monkeypatch):
    committed = ledger.ledger_path().read_text(encoding="utf-8")
    monkeypatch.setattr(ledger, "ledger_path", lambda: tmp_path / "ledger.csv")
    ledger.update(entries)
    assert (tmp_path / "ledger.csv").read_text(encoding="utf-8") == committed


CHANGED = [  # kind and verdict now, whether that is worse, what is said
    (("computed", "not reproduced"), True, "was reproduced and is now not reproduced"),
    (("quoted", "confirmed"), True, "was computed, reproduced and is now quoted, confirmed"),
    (None, True, "was reproduced and is no longer in the ledger"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("now", "worse", "says"), CHANGED)
def test_every_change_is_told(entries, now, worse, says):
    fine = next(i for i, e in enumerate(entries) if e.verdict == "reproduced")
    other = [replace(entries[fine], kind=now[0], verdict=now[1])] if now else []
    (change,) = ledger.changes([*entries[:fine], *other, *entries[fine + 1 :]])
    assert change.worse == worse and str(change) == f"{entries[fine].id} {says}"


@pytest.mark.slow
def test_a_better_verdict_is_told_too(entries):
    i = next(i for i, e in enumerate(entries) if e.verdict == "erratum")
    better = [*entries[:i], replace(entries[i], verdict="reproduced"), *entries[i + 1 :]]
    (change,) = ledger.changes(better)
    assert not change.worse and str(change).endswith("was erratum and is now reproduced")


@pytest.mark.slow
def test_every_printed_number_has_an_entry(entries):
    ids = {e.id for e in entries}
    shown_beside_ours = {"npas/table-14", "public/facts"}  # nothing in them is recomputed
    for name in set(published.tables()) - shown_beside_ours:
        for _, row in published.load(name).iterrows():
            for column in NUMBERS[name]:
                place = row.id if column == "value" else f"{row.id}/{column}"
                assert place in ids or row[column] == "not printed"


@pytest.mark.slow
def test_every_theorem_has_an_entry(entries):
    verdicts = {e.id: e.verdict for e in entries if e.kind == "proved"}
    for name in ("lemma-1", "theorem-1", "lemma-2", "theorem-2", "lemma-3", "theorem-3"):
        assert verdicts[f"thesis-5-{name}"] == "holds"
    for name in ("theorem-4", "theorem-5", "equation-5-19"):
        assert verdicts[f"thesis-5-{name}"] == "corrected"


@pytest.mark.slow
def test_what_is_not_plain_says_why(entries):
    plain = {"reproduced", "used", "unchecked"}
    assert all(e.note for e in entries if e.verdict not in plain)
    assert all(e.verdict in ledger.KINDS[e.kind] for e in entries)


@pytest.mark.slow
def test_entries_stand_where_their_part_says(collected):
    assert collected.parts.keys() == ledger.parts().keys()
    for place, entries in collected.parts.items():
        assert all(e.where.startswith(place) for e in entries), place


@pytest.mark.slow
def test_a_part_of_the_ledger(entries):
    only = ledger.collect(only=["thesis, table 4.3"])
    assert only == [e for e in entries if e.where.startswith("thesis, table 4.3")] and only
    with pytest.raises(UserError, match="no number is printed at 'thesis, table 9'; there are"):
        ledger.collect(only=["thesis, table 9"])


def test_a_changed_digit_changes_the_verdict(monkeypatch):
    """The verdict is computed: with another number printed, the same cell is an erratum."""
    from reuseprior.works.thesis import contexts as chapter4

    load = published.load

    def misprinted(*names):
        table = load(*names)
        return table.replace({"746.608": "746.609"})

    monkeypatch.setattr(published, "load", misprinted)
    cells = {e.id: e for e in chapter4.ranked_models("thesis/table-4-3")}
    assert cells["thesis-4-3-v2-b0/expected_spread"].verdict == "not reproduced"
    assert cells["thesis-4-3-v2-b0/P_G"].verdict == "reproduced"


def test_repeated_ids_are_refused(monkeypatch):
    from reuseprior.works.thesis import contexts as chapter4

    one = next(iter(chapter4.figures("figure-4-2")))
    monkeypatch.setattr(ledger, "parts", lambda: {"a": lambda: [one], "b": lambda: [one]})
    with pytest.raises(ValueError, match=r"thesis-4-2a-contexts-w1' occurs twice"):
        ledger.collect()


def test_works_without_parts_are_refused(monkeypatch):
    from reuseprior.works.thesis.contexts import ledger as chapter4

    monkeypatch.delattr(chapter4, "PARTS")
    with pytest.raises(chapters.ChapterError, match="has no PARTS: name there"):
        ledger.parts()


def test_two_works_cannot_have_one_place(monkeypatch):
    from reuseprior.works.thesis.contexts import ledger as one
    from reuseprior.works.thesis.energy import ledger as other

    monkeypatch.setattr(other, "PARTS", {**other.PARTS, next(iter(one.PARTS)): list})
    with pytest.raises(chapters.ChapterError, match="another work has"):
        ledger.parts()


# Falsified: a printed number that were another would have another verdict ------------------------

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
def columns(collected):
    places = {(cell.row["id"], cell.column) for column in collected.columns for cell in column}
    assert len(places) == sum(e.kind == "computed" for e in collected.entries)
    return collected.columns


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
