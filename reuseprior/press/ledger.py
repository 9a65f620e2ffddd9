"""The ledger: every printed number, the number computed for it, and the verdict.

A work (a package in `reuseprior.works`) says how each printed cell can be read, and which recorded
runs bear on it; the verdict follows by comparing. `data/ledger.csv` holds the committed verdicts,
and a run that makes one of them worse fails.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Literal

import pandas as pd

from reuseprior import files, paths
from reuseprior.press import chapters
from reuseprior.press.published import Printed

Verdict = Literal["reproduced", "convention", "recorded", "erratum", "not yet"]

VERDICTS: dict[str, str] = {
    "reproduced": "✓",
    "convention": "≈",
    "recorded": "●",
    "erratum": "✗",
    "not yet": "…",
}
"""From best to worst, with the mark that tables show."""

COLUMNS = ["id", "source", "where", "printed", "computed", "verdict", "note"]


@dataclass(frozen=True)
class Entry:
    """One printed number and what became of it."""

    id: str
    source: str  # thesis, paper, …
    where: str
    printed: str
    computed: float | int | None
    verdict: Verdict
    note: str = ""

    @property
    def computed_text(self) -> str:
        """The computed value to be read: floats with four decimals, integers with commas."""
        if self.computed is None:
            return "–"
        return f"{self.computed:,.4f}" if isinstance(self.computed, float) else f"{self.computed:,}"

    def __str__(self) -> str:
        note = f" ({self.note})" if self.note else ""
        mark = VERDICTS[self.verdict]
        return f"{mark} {self.id}: printed {self.printed}, computed {self.computed_text}{note}"


@dataclass(frozen=True)
class Reading:
    """A value under one reading of the text; `convention` names what the text leaves unsaid."""

    value: float | int
    convention: str = ""


Judgement = tuple[Verdict, float | int | None, str]
"""Verdict, computed value and note."""


def judge(printed: str, readings: Sequence[Reading], waiting: str = "") -> Judgement:
    """Verdict, value and note for a printed number, from its readings in order of preference.

    The first reading is what the text says; the last is the corrected value if none matches. A
    reading that gives the number by rounding goes before one that gives it by cutting. Without any
    reading the number is still to come, and `waiting` says what it waits for.

    >>> judge("13.3", [Reading(13.2276), Reading(13.2469, "running statistics counted")])
    ('erratum', 13.2469, 'no reading gives it: 13.2276; running statistics counted: 13.2469')
    """
    if not readings:
        return "not yet", None, waiting
    number = Printed.parse(printed)
    for how in ("rounded", "cut"):
        for reading in readings:
            if number.matches(reading.value) == how:
                note = _note(reading.convention, _cut(number, reading))
                verdict = "convention" if reading.convention else "reproduced"
                return verdict, reading.value, note
    tried = "; ".join(f"{r.convention}: {r.value:.6g}".removeprefix(": ") for r in readings)
    return "erratum", readings[-1].value, f"no reading gives it: {tried}"


def judge_in_row(printed: str, text: Reading, row: Reading) -> Judgement:
    """Verdict, value and note for a cell of a row whose other cells follow the reading `row`.

    The value is the row's. A cell is reproduced if the text's own reading gives it as well, and
    an erratum if it breaks ranks.

    >>> judge_in_row("7.1M", Reading(7_139_704), Reading(7_200_312, "running statistics counted"))
    ('erratum', 7200312, "the text's reading (7,139,704), but the row's other cells follow: \
running statistics counted")
    """
    number = Printed.parse(printed)
    if number.matches(row.value):
        as_text = number.matches(text.value) is not None
        convention = "" if as_text else row.convention
        verdict = "convention" if convention else "reproduced"
        return verdict, row.value, _note(convention, _cut(number, row))
    if number.matches(text.value):
        value = f"{text.value:,}" if isinstance(text.value, int) else f"{text.value:.6g}"
        note = f"the text's reading ({value}), but the row's other cells follow: {row.convention}"
        return "erratum", row.value, note
    note = f"no reading gives it: {text.value:.6g}; {row.convention}: {row.value:.6g}"
    return "erratum", row.value, note


def _cut(number: Printed, reading: Reading) -> str:
    is_cut = number.matches(reading.value) == "cut" and not number.at_least
    return "cut, not rounded" if is_cut else ""


def _note(*parts: str) -> str:
    return "; ".join(part for part in parts if part)


def judged(row, column: str, readings: Sequence[Reading], waiting: str = "") -> Entry:
    """The entry of one cell of a published table."""
    verdict, value, note = judge(row[column], readings, waiting)
    return entry(row, column, value, verdict, note)


def entry(row, column: str, computed, verdict: Verdict, note: str = "") -> Entry:
    """An entry of one cell whose verdict is given."""
    identity = row["id"] if column == "value" else f"{row['id']}/{column}"
    return Entry(identity, row["source"], row["where"], row[column], computed, verdict, note)


def _entries(module: str) -> Iterable[Entry]:
    judged = getattr(import_module(module), "entries", None)
    if not callable(judged):
        raise chapters.ChapterError(
            f"{module} has no function 'entries': write one that yields the chapter's entries, or "
            f"leave entries out of its {chapters.FILE}"
        )
    return judged()


def collect(progress: Callable[[Iterable[Entry]], Iterable[Entry]] = iter) -> list[Entry]:
    """Compute every entry of the ledger, about a minute's work.

    `progress` may wrap the entries as they come, as tqdm does. Raises ValueError if two share an
    id.
    """
    modules = [chapter.module for chapter in chapters.found() if chapter.entries]
    entries = list(progress(e for name in modules for e in _entries(name)))
    repeated = [i for i, n in Counter(e.id for e in entries).items() if n > 1]
    if repeated:
        raise ValueError(f"ledger id {repeated[0]!r} occurs twice: ids must be unique")
    return entries


def worsened(entries: Iterable[Entry]) -> Iterator[str]:
    """A sentence for each verdict that is worse than the committed one, or gone."""
    rank = {verdict: i for i, verdict in enumerate(VERDICTS)}
    now = {e.id: e for e in entries}
    for identity, before in committed().items():
        if identity not in now:
            yield f"{identity} was {before} and is no longer in the ledger"
        elif rank[now[identity].verdict] > rank[before]:
            yield f"{identity} was {before} and is now {now[identity].verdict}"


def committed() -> dict[str, Verdict]:
    """Verdicts by id as `data/ledger.csv` holds them; empty before the first `update`."""
    if not ledger_path().exists():
        return {}
    return {row["id"]: row["verdict"] for row in committed_rows()}


def committed_rows() -> list[dict[str, str]]:
    """The rows of `data/ledger.csv` as text."""
    with ledger_path().open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def update(entries: Iterable[Entry]) -> None:
    """Write `data/ledger.csv`, at once or not at all."""
    rows = table(entries)
    # eight digits: more than any page prints, fewer than differ between processors
    rows["computed"] = [f"{x:.8g}" if isinstance(x, float) else x for x in rows["computed"]]
    files.write(ledger_path(), rows.to_csv(index=False, lineterminator="\n").encode())


def save(entries: Iterable[Entry]) -> Path:
    """Leave the entries in `build/ledger.json`, for whoever needs them without computing."""
    path = paths.BUILD / "ledger.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = json.dumps([asdict(e) for e in entries], indent=1, ensure_ascii=False)
    files.write(path, f"{rows}\n".encode())
    return path


def saved() -> list[Entry]:
    """The entries that `save` left; FileNotFoundError before the first time."""
    text = (paths.BUILD / "ledger.json").read_text(encoding="utf-8")
    return [Entry(**row) for row in json.loads(text)]


def ledger_path() -> Path:
    """Where the committed ledger lies."""
    return paths.checkout() / "data" / "ledger.csv"


def table(entries: Iterable[Entry]) -> pd.DataFrame:
    """The entries as a DataFrame, computed values as they are."""
    return pd.DataFrame([asdict(e) for e in entries], columns=COLUMNS, dtype=object)


def listing(entries: Iterable[Entry], *verdicts: Verdict) -> pd.DataFrame:
    """The entries with the given verdicts (all by default) to be read: printed beside computed."""
    shown = [e for e in entries if not verdicts or e.verdict in verdicts]
    rows = table(shown).set_index("id")
    computed = [e.computed_text for e in shown]
    return rows.assign(computed=computed).drop(columns="source")


def summary(entries: Iterable[Entry]) -> pd.DataFrame:
    """How many numbers of each table have each verdict."""
    rows = table(entries)
    tables = rows["where"].str.extract(r"^(\w+, [^,]*?)(?:,|$)")[0].rename("table")
    counts = pd.crosstab(tables, rows["verdict"])
    return counts.reindex(columns=[v for v in VERDICTS if v in counts.columns])


def side_by_side(entries: Iterable[Entry], formats: dict[str, Callable]) -> pd.DataFrame:
    """Printed beside computed, one row a row of the published table.

    `formats` names the columns to show, each with a function from computed value to text.
    """
    cells: dict[str, dict[str, str]] = {}
    for e in entries:
        row, _, column = e.id.partition("/")
        if column in formats:
            computed = "–" if e.computed is None else formats[column](e.computed)
            text = f"{e.printed} | {computed} {VERDICTS[e.verdict]}"
            cells.setdefault(row, {})[column] = text
    return pd.DataFrame.from_dict(cells, orient="index", columns=list(formats))
