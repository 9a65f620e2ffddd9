"""Verdicts follow from the numbers, and none got worse than the committed ones."""

import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from reuseprior.cli import app
from reuseprior.press import chapters, ledger, published
from reuseprior.press.ledger import Reading, judge, judge_in_row
from tests.press.test_published import NUMBERS

TEXT, ROW = Reading(7_139_704), Reading(7_200_312, "totals")

JUDGED = [  # printed, readings, verdict, value, part of the note
    ("25.00", [Reading(24.9989)], "reproduced", 24.9989, ""),
    ("27.20", [Reading(27.2052)], "reproduced", 27.2052, "cut, not rounded"),
    ("29.9+", [Reading(29.9871)], "reproduced", 29.9871, ""),
    ("29.9+", [Reading(30.0430), Reading(29.9871, "at 240")], "convention", 29.9871, "at 240"),
    (
        "3.1 M",
        [Reading(3_184_106), Reading(3_084_778, "merged")],
        "convention",
        3_084_778,
        "merged",
    ),
    ("13.3", [Reading(13.2276), Reading(13.2469, "x")], "erratum", 13.2469, "no reading gives it"),
]


def test_without_a_reading_a_number_is_still_to_come():
    assert judge("13.3", [], "waits") == ("not yet", None, "waits")


IN_ROW = [  # printed, text, row, verdict, value, part of the note
    ("7.1M", TEXT, ROW, "erratum", 7_200_312, "the text's reading (7,139,704)"),
    ("7.2M", TEXT, ROW, "convention", 7_200_312, "totals"),
    ("7M", TEXT, ROW, "reproduced", 7_200_312, ""),
    ("8.0M", TEXT, ROW, "erratum", 7_200_312, "no reading gives it"),
]


@pytest.mark.parametrize(("printed", "readings", "verdict", "value", "note"), JUDGED)
def test_judge(printed, readings, verdict, value, note):
    found = judge(printed, readings)
    assert found[:2] == (verdict, value)
    assert note in found[2] and bool(note) == bool(found[2])


@pytest.mark.parametrize(("printed", "text", "row", "verdict", "value", "note"), IN_ROW)
def test_judge_in_row(printed, text, row, verdict, value, note):
    found = judge_in_row(printed, text, row)
    assert found[:2] == (verdict, value)
    assert note in found[2] and bool(note) == bool(found[2])


@pytest.fixture(scope="module")
def entries():
    """All of them, which take a minute."""
    return ledger.collect()


@pytest.mark.slow
def test_the_whole_ledger_is_strict_json(entries, monkeypatch):
    monkeypatch.setattr(ledger, "collect", lambda *_: entries)
    done = CliRunner().invoke(app, ["audit", "--json"])
    found = json.loads(done.stdout, parse_constant=pytest.fail)
    assert done.exit_code == 0 and len(found) == len(entries)
    assert {entry["verdict"] for entry in found} <= {*ledger.VERDICTS}


@pytest.mark.slow
def test_no_verdict_is_worse_than_the_committed_one(entries):
    assert ledger.committed(), "data/ledger.csv is missing: run `reuseprior audit --update`"
    assert list(ledger.worsened(entries)) == []


@pytest.mark.slow
def test_committed_ledger_is_the_computed_one(entries, tmp_path, monkeypatch):
    committed = ledger.ledger_path().read_text(encoding="utf-8")
    monkeypatch.setattr(ledger, "ledger_path", lambda: tmp_path / "ledger.csv")
    ledger.update(entries)
    assert (tmp_path / "ledger.csv").read_text(encoding="utf-8") == committed


@pytest.mark.slow
def test_a_worse_or_missing_verdict_is_named(entries):
    fine = next(i for i, e in enumerate(entries) if e.verdict == "reproduced")
    worse = [*entries[:fine], replace(entries[fine], verdict="erratum"), *entries[fine + 1 :]]
    identity = entries[fine].id
    assert list(ledger.worsened(worse)) == [f"{identity} was reproduced and is now erratum"]
    gone = [e for e in entries if e.id != identity]
    assert list(ledger.worsened(gone)) == [
        f"{identity} was reproduced and is no longer in the ledger"
    ]


@pytest.mark.slow
def test_every_printed_number_has_an_entry(entries):
    ids = {e.id for e in entries}
    shown_beside_ours = {"npas/table-14"}  # by a figure; nothing in it is recomputed
    for name in set(published.tables()) - shown_beside_ours:
        for identity in published.load(name).id:
            for column in NUMBERS[name]:
                assert (identity if column == "value" else f"{identity}/{column}") in ids


@pytest.mark.slow
def test_every_theorem_has_an_entry(entries):
    verdicts = {e.id: e.verdict for e in entries}
    for name in ("lemma-1", "theorem-1", "lemma-2", "theorem-2", "lemma-3", "theorem-3"):
        assert verdicts[f"thesis-5-{name}"] == "reproduced"
    for name in ("theorem-4", "theorem-5", "equation-5-19"):
        assert verdicts[f"thesis-5-{name}"] == "erratum"


@pytest.mark.slow
def test_an_erratum_or_convention_says_why(entries):
    for e in entries:
        assert e.note or e.verdict not in ("erratum", "convention", "not yet"), e.id


def test_a_changed_digit_changes_the_verdict(monkeypatch):
    """The verdict is computed: with another number printed, the same cell is an erratum."""
    from reuseprior.works.thesis import contexts as chapter4

    load = published.load

    def misprinted(*names):
        table = load(*names)
        return table.replace({"746.608": "746.609"})

    monkeypatch.setattr(published, "load", misprinted)
    cells = {e.id: e for e in chapter4.ranked_models("table-4-3")}
    assert cells["thesis-4-3-v2-b0/expected_spread"].verdict == "erratum"
    assert cells["thesis-4-3-v2-b0/P_G"].verdict == "reproduced"


def test_repeated_ids_are_refused(monkeypatch):
    from reuseprior.works.thesis import contexts as chapter4

    one = next(chapter4.figures())
    monkeypatch.setattr(chapter4.ledger, "entries", lambda: [one, one])
    its_own = [c for c in chapters.found() if c.module == chapter4.ledger.__name__]
    monkeypatch.setattr(chapters, "found", lambda: its_own)
    with pytest.raises(ValueError, match=r"thesis-4-2a-contexts-w1' occurs twice"):
        ledger.collect()
