"""Verdicts follow from comparing, and what is not as it was committed is told."""

import re
import shutil
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from random import Random

import pandas as pd
import pytest
from typer.testing import CliRunner

from reuseprior import paths, results
from reuseprior.chapters import counting, energy
from reuseprior.cli import app
from reuseprior.report import chapters, ledger, published
from reuseprior.report.ledger import Cell, Contradiction, Interpretation, Public, judged, quoted
from reuseprior.results import DIGESTS

TEXT = Interpretation(7_139_704)
UNSAID = Interpretation(7_200_312, "totals")
AGAINST = Interpretation(7_200_312, "totals", "§4.5.1 has learnable parameters")
SAYS = Contradiction("7.2M", "its own table has 7.2M")
BLIND = Contradiction("8.0M", "its own table has 8.0M")  # which no interpretation gives


def row(printed, **more):
    return pd.Series({"id": "a-1", "source": "a", "where": "a, table 1", "x": printed, **more})


def one(printed, *interpretations, contradiction=None):
    (entry,) = judged([Cell(row(printed), "x", interpretations, contradiction)])
    return entry


CONVENTION = "but §4.5.1 has learnable parameters; as the text says: 7,139,704"
JUDGED = [  # printed, interpretations, contradiction, verdict, value, part of the note
    ("7.1M", [TEXT, UNSAID], None, "reproduced", 7_139_704, ""),
    ("7.2M", [TEXT, UNSAID], None, "unsaid", 7_200_312, "totals"),
    ("7.2M", [TEXT, AGAINST], None, "against the text", 7_200_312, CONVENTION),
    ("7.2M", [TEXT, AGAINST, UNSAID], None, "unsaid", 7_200_312, "totals"),
    ("7M", [TEXT, AGAINST], None, "reproduced", 7_139_704, ""),
    ("9.0M", [TEXT, UNSAID], None, "not reproduced", 7_139_704, "7,139,704; totals: 7,200,312"),
    ("9.0M", [TEXT, UNSAID], SAYS, "erratum", 7_139_704, "its own table has 7.2M"),
    ("9.0M", [TEXT, UNSAID], BLIND, "not reproduced", 7_139_704, "no interpretation"),
    ("7.1M", [TEXT], SAYS, "reproduced", 7_139_704, ""),
    ("7.2M", [TEXT], SAYS, "not reproduced", 7_139_704, "no interpretation"),  # undisputed
    ("27.20", [Interpretation(27.2052)], None, "reproduced", 27.2052, "digits are cut"),
]


@pytest.mark.parametrize(
    ("printed", "interpretations", "contradiction", "verdict", "value", "note"), JUDGED
)
def test_computed(printed, interpretations, contradiction, verdict, value, note):
    found = one(printed, *interpretations, contradiction=contradiction)
    assert (found.kind, found.verdict, found.computed) == ("computed", verdict, value)
    assert note in found.note and bool(note) == bool(found.note)
    (claim,) = judged([Cell(row("9", claim="rank of x"), "x", [Interpretation(9)], note="of 9")])
    assert claim.note == "rank of x; of 9"


def cells(*given, column="x", sources="aaa", quantity=""):
    """The cells of a column: what is printed, what the text says, and what is ruled out."""
    return [
        Cell(
            row(printed, source=source).rename({"x": column}), column,
            [Interpretation(text), *(Interpretation(other, "b", "c") for other in others)],
            quantity=quantity,
        )
        for (printed, text, *others), source in zip(given, sources, strict=False)
    ]  # fmt: skip


CUT, CAN_BE_CUT, ROUNDED = ("27.20", 27.2052), ("12.34", 12.3412), ("12.35", 12.3471)
COLUMNS = [  # cells, how many of them come out
    (cells(CUT, CAN_BE_CUT), [1, 1]),
    (cells(CUT, ROUNDED), [0, 1]),  # which cannot be cut: the first one's digits have no excuse
    (cells(CUT, ROUNDED, sources="ab"), [1, 1]),  # a column is one source's
    # mixed interpretations could cut every cell; what the text says is rounded
    (cells(("5.9", 5.87, 5.93), ("1.7", 1.69, 1.75), ("5.8", 5.88, 5.95)), [1, 1, 0]),
    (cells(("1", 1.9), ("2", 2.9), column="value"), [0, 0]),  # a list of values is no column
    (cells(("1", 1.9), ("2", 2.9), column="value", quantity="density"), [1, 1]),
]


@pytest.mark.parametrize(("column", "out"), COLUMNS)
def test_a_column_is_cut_only_if_it_cannot_be_rounded(column, out):
    verdicts = ["reproduced" if comes else "not reproduced" for comes in out]
    assert [entry.verdict for entry in judged(column)] == verdicts


def test_of_interpretations_that_explain_as_much_the_last_is_the_row_s():
    found = row("27.20", y="9")
    first, last = {"x": 27.2, "y": 1}, {"x": 27.199, "y": 2}
    assert ledger.interpretation_of_row(found, [first, last]) == 1
    assert ledger.interpretation_of_row(found, [{"x": 27.2, "y": 9}, last]) == 0


def test_slack_is_what_a_wrong_value_would_have_passed_by_and_intervals_are_shown():
    for printed, slack in (("100", 0.5), ("100.00", 0.005), ("1", 1)):
        assert one(printed, Interpretation(float(printed))).slack == pytest.approx(slack)
    entries = [one(printed, Interpretation(8)) for printed in ("8", "≥60", "<135", "7.1M")]
    texts = [entry.interval_text for entry in entries]
    assert texts == ["7.5 to 8.5", "60 or more", "135 or less", "7050000 to 7150000"]


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
    found = ledger.setting(row("8"), "x", "read by y")
    assert (found.kind, found.verdict, found.computed) == ("setting", "used", 8)
    assert found.interval is found.slack is None


def test_no_work_names_a_verdict():
    """A verdict follows from the rules of the press; a work that names one may have set it."""
    names = {v for verdicts in ledger.KINDS.values() for v in verdicts} - {"used", "open", "holds"}
    named = re.compile("|".join(f"[\"']{name}[\"']" for name in names))
    works = (paths.PACKAGE / "chapters").rglob("*.py")
    for path in (*works, *paths.PUBLISHED.rglob("*.toml")):
        text = path.read_text(encoding="utf-8")
        assert not named.findall(text) and "Entry(" not in text, path


@pytest.mark.slow
def test_the_committed_ledger_is_the_computed_one(collected):
    """Each number stands where its part says, and what does not come out as printed says why."""
    assert ledger.changes(collected.entries) == ledger.retyped() == []
    assert collected.parts.keys() == ledger.parts().keys()
    for place, entries in collected.parts.items():
        assert all(e.where.startswith(place) for e in entries), place
    plain = {"reproduced", "used", "unchecked"}
    assert all(e.note for e in collected.entries if e.verdict not in plain)


KEYS = {"factor", "layer", "rank", "top_test_accuracy", "put_as"}  # which row it is, and its form
# what others print of what is quoted, and what stands in an author's notebooks and no source prints
NO_ENTRIES = {name for name in published.tables() if re.match("public/|bidart/.*-notebook-", name)}


def test_every_printed_number_has_an_entry():
    ids, without = {row["id"] for row in ledger.committed_rows()}, set()
    for name in set(published.tables()) - NO_ENTRIES:
        for row in published.load(name).to_dict("records"):
            for column in row.keys() - {"id", *KEYS}:
                place = row["id"] if column == "value" else f"{row['id']}/{column}"
                if place not in ids and re.fullmatch(r"[<>≤≥]?\s*[\d., ]+\s*[KMB+]?", row[column]):
                    without.add((name, column))
    assert without == {("npas/table-10", "params")}  # a key too


def test_what_cannot_be_collected_is_refused(monkeypatch):
    """An id that two parts have, a place that two works have."""
    twice = one("8", Interpretation(8))
    with monkeypatch.context() as patch:
        patch.setattr(ledger, "parts", lambda: {"a": lambda: [twice], "b": lambda: [twice]})
        with pytest.raises(ValueError, match=r"a-1/x' occurs twice"):
            ledger.collect()
    monkeypatch.setattr(energy, "PARTS", {next(iter(counting.PARTS)): list})
    with pytest.raises(chapters.ChapterError, match="another chapter has"):
        ledger.parts()


def falsified(text: str, by: int = 1) -> str:
    """The text with the last digit of its number `by` more, or with another last word."""
    number = re.search(r"\d[\d \u2009\u00a0]*(?:[.,]\d+)?", text)
    if number is None:
        return f"{text.rpartition(' ')[0]} otherwise".strip()
    digits = re.sub(r"\s", "", number[0]).replace(",", ".")
    last = Decimal(1).scaleb(-len(digits.partition(".")[2]))
    changed = max(Decimal(digits) + by * last, Decimal(0))
    return f"{text[: number.start()]}{changed}{text[number.end() :]}"


TURNS = 5


@pytest.mark.slow
@pytest.mark.parametrize("turn", range(TURNS))
def test_each_cell_that_is_typed_otherwise_is_told(turn, monkeypatch):
    """Every fifth column of each table, in rows drawn at random, by the command."""
    draw, ids = Random(turn), {row["id"] for row in ledger.committed_rows()}
    tables = {name: published.load(name) for name in published.tables()}
    told = []
    for table in (tables[name] for name in sorted(tables.keys() - NO_ENTRIES)):
        columns = table.columns[turn::TURNS]
        rows = draw.sample(range(len(table)), k=min(len(table), len(columns)))
        for i, column in zip(rows, columns, strict=False):
            row = table.loc[i].copy()
            table.loc[i, column] = falsified(row[column])
            places = {c: row["id"] if c == "value" else f"{row['id']}/{c}" for c in table.columns}
            if column == "id":
                told += [f"{place} was " for place in ids.intersection(places.values())]
            elif (place := places[column]) in ids:
                told.append(f"{place}: printed was {row[column]!r} and is now ")
            else:
                field = column if column in ("source", "where") else "typed"
                told.append(f"{row['id'].partition('/')[0]}: {field} was ")
    monkeypatch.setattr(published, "load", lambda *names: pd.concat([tables[n] for n in names]))
    done = CliRunner().invoke(app, ["audit"])
    *found, last = done.stderr.splitlines()
    assert done.exit_code == 1 and last.startswith("nothing was computed: restore data/published")
    assert len(found) == len(told) > 50
    assert all(sum(s.startswith(start) for s in found) == 1 for start in told)
    npas = {s for s in found if s.startswith("npas-")}
    assert set(ledger.retyped(["npas, "])) == npas and 0 < len(npas) < len(found)


@pytest.fixture
def recorded(tmp_path, monkeypatch):
    """A copy of our own runs, to spoil."""
    monkeypatch.setattr(paths, "RESULTS", tmp_path / "results")
    shutil.copytree(Path(__file__).parents[2] / "data" / "results", paths.RESULTS)
    return paths.RESULTS


def test_each_recorded_run_that_is_altered_or_gone_is_told(recorded):
    """One of each experiment: deleted, a file of it deleted, or a digit of one changed."""
    draw, told = Random(0), {}
    for i, experiment in enumerate(sorted(set(recorded.iterdir()) - {recorded / DIGESTS})):
        run = draw.choice(sorted(experiment.iterdir()))
        file = draw.choice(sorted(f for f in run.iterdir() if re.search(rb"\d", f.read_bytes())))
        if i % 3 == 0:
            shutil.rmtree(run)
            told[experiment.name] = f"{run} is recorded in {recorded / DIGESTS} and is gone: "
        elif i % 3 == 1:
            file.unlink()
            told[experiment.name] = f"{file} is recorded in {recorded / DIGESTS} and is gone: "
        else:
            digit = re.search(rb"\d", content := file.read_bytes())
            file.write_bytes(content.replace(digit[0], b"%d" % (9 - int(digit[0])), 1))
            told[experiment.name] = f"{file} is not the file that was recorded: "
    assert len(told) > 20
    done = CliRunner().invoke(app, ["audit"])
    found = done.stderr.removeprefix("Error: ").splitlines()
    assert done.exit_code == 1 and len(found) == len(told)
    assert all(any(s.startswith(start) for s in found) for start in told.values())
    for experiment, start in told.items():
        with pytest.raises(results.ResultError, match=re.escape(start)):
            results.runs(experiment)
    (recorded / DIGESTS).unlink()
    with pytest.raises(results.ResultError, match="SHA256SUMS does not exist"):
        ledger.collect()


def test_what_stands_among_recorded_runs_is_recorded(recorded):
    """All that git has there, and a run that is recorded again is listed as it then is."""
    listed = {line[66:] for line in (recorded / DIGESTS).read_text().splitlines()}
    there = {p.relative_to(recorded).as_posix() for p in recorded.rglob("*.*") if p.is_file()}
    assert listed == {name for name in there if name.endswith((".csv", ".json"))}
    run = min((recorded / "revolver").iterdir())
    (run / "trainings.csv").write_text("a\n1\n")
    assert len(results.altered()) == 1
    results.record(run)
    assert results.altered() == []


def test_what_cannot_be_read_is_said(monkeypatch):
    load = published.load
    monkeypatch.setattr(published, "load", lambda *names: load(*names).replace("4", "around 5"))
    with pytest.raises(ledger.LedgerError, match=r"of 'nnmass, table 2'.*'around 5'.*restore data"):
        ledger.collect(only=["nnmass, table 2"])


FIELDS = {
    "printed": lambda e: falsified(e.printed),
    "computed": lambda e: None if e.computed is None else e.computed * (1 + 1e-6) + 1e-9,
    "verdict": lambda e: next((v for v in ledger.KINDS[e.kind] if v != e.verdict), None),
    "note": lambda e: falsified(e.note),
    "kind": lambda e: next(kind for kind in ledger.KINDS if kind != e.kind),
}


@pytest.mark.slow
@pytest.mark.parametrize("field", FIELDS)
def test_each_number_that_comes_out_otherwise_is_told(field, collected):
    """One of each verdict, all at once, each by a sentence of its own and no other number's."""
    entries = collected.entries
    found, told = list(entries), []
    for i in {e.verdict: i for i, e in enumerate(entries)}.values():
        now, before = FIELDS[field](entries[i]), getattr(entries[i], field)
        if now != before and now is not None:
            found[i] = replace(entries[i], **{field: now})
            told.append(f"{entries[i].id}: {field} was ")
    changes = ledger.changes(found)
    assert len(changes) == len(told) > 5
    assert all(any(s.startswith(start) for s in changes) for start in told)

    for by in (1 + 1e-12, 1 - 1e-12):  # what another processor rounds otherwise is no change
        floats = (e for e in entries if type(e.computed) is float)
        other = {e.id: replace(e, computed=e.computed * by) for e in floats}
        assert ledger.changes([other.get(e.id, e) for e in entries]) == []


AGREES = {"reproduced", "unsaid", "against the text"}


@pytest.mark.slow
@pytest.mark.parametrize("by", [1, -1])
def test_each_computed_number_that_agrees_is_falsified(collected, by):
    """By one in its last digit, each by itself: at least 95 % of the verdicts turn."""

    turned, stayed = 0, []
    for cells in collected.columns:
        for place, (cell, before) in enumerate(zip(cells, list(judged(cells)), strict=True)):
            if before.verdict not in AGREES:
                continue
            row = cell.row.copy()
            row[cell.column] = falsified(row[cell.column], by)
            other = list(judged([*cells[:place], replace(cell, row=row), *cells[place + 1 :]]))
            if other[place].verdict == before.verdict:
                stayed.append(f"{row['id']}/{cell.column}")
            else:
                turned += 1
    assert turned > 400
    assert turned >= 0.95 * (turned + len(stayed)), stayed
