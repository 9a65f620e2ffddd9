"""Entries of chapter 5: headers proved, averages recomputed, shares of the full model."""

from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from reuseprior.press import published
from reuseprior.works.bidart.classformer import ledger

ENTRIES = {entry.id: entry for part in ledger.PARTS.values() for entry in part()}
TABLES = [f"bidart/chapter-5-table-5-{n}" for n in (1, 4, 5, 6)]


def test_every_printed_number_has_one_entry():
    """Of a table each number, of the text each row."""
    expected = []
    for name in published.tables():
        if not name.startswith("bidart/chapter-5-"):
            continue
        table = published.load(name)
        if "value" in table:
            expected += table.id.tolist()
        else:
            known = {"id", "source", "where", "model", "objective", "task", "layer"}
            expected += [
                f"{i}/{column}" for i in table.id for column in table if column not in known
            ]
    made = [entry.id for part in ledger.PARTS.values() for entry in part()]
    assert Counter(made) == Counter(expected)


@pytest.mark.parametrize("name", TABLES)
def test_averages_are_means_of_their_rows(name):
    for row in published.load(name).itertuples():
        scores = [Fraction(getattr(row, task)) for task in ledger.TASKS]
        entry = ENTRIES[f"{row.id}/average"]
        assert (entry.kind, entry.verdict) == ("derived", "reproduced")
        assert entry.computed == pytest.approx(float(sum(scores)) / 8)


def test_the_same_eight_numbers_are_averaged_twice():
    one, other = (ENTRIES[f"bidart-5-{n}/average"] for n in ("1-roberta-paper", "4-roberta"))
    assert (one.printed, other.printed) == ("86.4", "86.3")
    assert one.computed == other.computed == 86.35


def test_headers_are_proved_by_table_5_1():
    assert list(ledger.headers().values()) == [
        "cola", "qqp", "mrpc", "stsb", "rte", "sst2", "mnli", "qnli"
    ]  # fmt: skip
    entry = ENTRIES["bidart-5-claim-headers"]
    assert entry.verdict == "corrected"
    assert "1 of 8 headers are right" in entry.note
    assert entry.note.count("8 of 8 numbers of") == 4


def test_quotations_differ_under_the_printed_header_alone():
    for name in ledger.QUOTED:
        verdicts = {c: ENTRIES[f"bidart-5-4-{name}/{c}"].verdict for c in ledger.TASKS}
        assert {c for c, v in verdicts.items() if v == "confirmed"} == {"cola"}
        assert set(verdicts.values()) == {"confirmed", "differs"}


def test_headers_need_the_same_numbers(monkeypatch):
    """A number typed wrong would not be taken for a permutation."""
    row = ledger._row("table-5-4", "roberta").copy()
    row["mnli"] = "91.8"
    monkeypatch.setattr(ledger, "_row", lambda table, name, own=ledger._row: (
        row if (table, name) == ("table-5-4", "roberta") else own(table, name)
    ))  # fmt: skip
    ledger.headers.cache_clear()
    with pytest.raises(ValueError, match="not the same eight numbers"):
        ledger.headers()
    monkeypatch.undo()
    ledger.headers.cache_clear()


def test_99_per_cent_is_88_to_99():
    shares = ledger.kept("Classformer 99%")["5.1"]
    assert (shares.idxmin(), round(shares.min(), 1)) == ("rte", 88.4)
    assert round(shares["cola"], 1) == 92.2
    assert round(shares["mnli"], 1) == 98.2
    assert round(shares["qqp"], 1) == 98.3
    assert round(shares["stsb"], 1) == 98.8
    assert (shares >= 99).sum() == 3
    assert round(ledger.kept("Classformer 95%")["5.1"]["cola"], 1) == 91.0
    for level in (95, 99):
        assert ENTRIES[f"bidart-5-claim-meets-{level}"].verdict == "corrected"


def test_table_5_3_is_of_schedules_without_eta():
    for column in ledger.levels():
        schedule = ledger.schedule_of(column)
        assert list(schedule.lengths(512)) == ledger.levels()[column].tolist()
        assert schedule.eta == 0 and set(schedule.gamma) <= {1, 2, 4}
    assert ENTRIES["bidart-5-claim-of-full"].verdict == "corrected"


def test_p_values_are_those_of_seven_data_sets():
    random = np.random.RandomState(0)
    x, y = random.normal(size=(2, 9))
    r, p = stats.pearsonr(x, y)
    assert ledger.p_value(r, 9) == pytest.approx(p)
    for name in ("size-p", "length-p"):
        entry = ENTRIES[f"bidart-5-text-{name}"]
        assert (entry.verdict, entry.computed) == ("unsaid", float(entry.printed))
        assert entry.note.startswith("over 7 data sets, of the 8")


def test_sizes_are_those_of_the_benchmark():
    entries = [entry for i, entry in ENTRIES.items() if i.startswith("bidart-5-2-")]
    assert len(entries) == 16 and {entry.verdict for entry in entries} == {"confirmed"}


def test_what_needs_training_says_what():
    for entry in ENTRIES.values():
        if entry.verdict == "open":
            assert "needs " in entry.note
