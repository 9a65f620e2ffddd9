"""The ledger: every printed number, what kind of number it is, and what became of it.

A chapter (a package in `reuseprior.chapters`) says how each printed number can be interpreted, what
in the source contradicts an interpretation, where else the number is public, and which recorded
runs bear on it. The verdict follows by comparing, here and in `runs` and `cells`, and nowhere else.
`data/ledger.csv` holds the committed rows, and one that comes out otherwise is told and fails.
"""

from __future__ import annotations

import csv
import io
import tomllib
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatchcase
from fractions import Fraction
from functools import cache
from importlib import import_module
from math import inf, isfinite
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from reuseprior import files, paths, results
from reuseprior.errors import UserError
from reuseprior.report import chapters, published
from reuseprior.report.published import How, Interval, Printed

_SAID = tomllib.loads(Path(__file__).with_name("verdicts.toml").read_text(encoding="utf-8"))

KINDS: dict[str, dict[str, str]] = _SAID["kinds"]
"""The verdicts that a kind of number can have, from best to worst, each with its mark."""

LEGEND: dict[str, str] = _SAID["legend"]
"""What the four marks say. An input is unmarked: it is put in as it is printed."""

MEANINGS: dict[str, str] = _SAID["meanings"]
"""What each kind and each verdict says of a number."""

MARKS = {verdict: mark for verdicts in KINDS.values() for verdict, mark in verdicts.items()}

OURS = "ours"
"""The source of a row that no source prints: an example of our own, which no tally counts."""

COLUMNS = [
    "id", "source", "where", "kind", "printed", "computed", "interval", "verdict", "note"
]  # fmt: skip
TYPED = (
    "typed"  # of data/ledger.csv besides: the table in data/published, and what else its row says
)


@dataclass(frozen=True)
class Entry:
    """One printed number and what became of it."""

    id: str
    source: str  # thesis, paper, …
    where: str
    printed: str
    computed: float | int | None
    kind: str
    verdict: str
    interval: tuple[float, float] | None = None  # what the printed digits can stand for
    note: str = ""

    @property
    def computed_text(self) -> str:
        """The computed value to be read: floats with four decimals, integers with commas."""
        if self.computed is None:
            return "–"
        return f"{self.computed:,.4f}" if isinstance(self.computed, float) else f"{self.computed:,}"

    @property
    def interval_text(self) -> str:
        """The rounding interval to be read: `7050000 to 7150000`, `60 or more`, or nothing."""
        if self.interval is None:
            return ""
        least, most = self.interval
        if not isfinite(most):
            return f"{least:.9g} or more"
        return f"{least:.9g} to {most:.9g}" if isfinite(least) else f"{most:.9g} or less"

    @property
    def slack(self) -> float | None:
        """How often a value wrong by up to 1 % would still be in the interval, from 0 to 1."""
        if self.interval is None or not self.computed:
            return None
        off = abs(self.computed) / 100
        low = max(self.interval[0], self.computed - off)
        high = min(self.interval[1], self.computed + off)
        return max(0.0, high - low) / (2 * off)

    def __str__(self) -> str:
        parts = [f"{MARKS[self.verdict]} {self.id}: printed {self.printed}".strip()]
        if self.computed is not None:
            parts.append(f"computed {self.computed_text}")
        if self.interval is not None:
            parts.append(f"interval {self.interval_text}")
        note = f" ({self.note})" if self.note else ""
        return f"{', '.join(parts)}: {self.kind}, {self.verdict}{note}"


# Computed numbers ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Interpretation:
    """A value under one interpretation of the text.

    Without a `convention` it is what the text says. A convention is left open by the text, unless
    `contradicted` quotes the words that rule it out, with their place. A fraction is compared as it
    is, which matters for a tie.
    """

    value: float | int | Fraction
    convention: str = ""
    contradicted: str = ""


@dataclass(frozen=True)
class Contradiction:
    """A number that the source itself prints for the same thing elsewhere, and its words there."""

    printed: str
    says: str

    def refutes(self, interval: Interval, interpretations: Sequence[Interpretation]) -> bool:
        """Whether the other number is outside of the interval, and an interpretation gives it."""
        other = Printed.parse(self.printed)
        intervals = [other.interval(how) for how in ("rounded", "cut")]
        is_given = any(one.value in i for one in interpretations for i in intervals)
        return is_given and other.value not in interval


@dataclass(frozen=True)
class Cell:
    """A printed number that follows from definitions, and its interpretations: the text's first.

    A chapter that gives several cells of a row one convention chooses it for the whole row
    (`interpretation_of_row`). `contradiction` is what else the source says of it. `quantity`
    names what a list of different numbers prints several times, as a column does of itself. The
    value of a `derived` one is arithmetic on other printed numbers: nothing was built for it.
    """

    row: pd.Series
    column: str
    interpretations: Sequence[Interpretation]
    contradiction: Contradiction | None = None
    note: str = ""
    quantity: str = ""
    derived: bool = False

    @property
    def printed(self) -> Printed:
        """The number as it is printed."""
        return Printed.parse(self.row[self.column])


def judged(cells: Iterable[Cell]) -> Iterator[Entry]:
    """The entries of the cells of one table, each judged by comparing.

    The digits of a column are rounded, unless its cells together cannot be (`made`).
    """
    columns = defaultdict(list)
    cells = list(cells)
    for cell in cells:
        columns[_column(cell)].append(cell)
    how = {column: made(of_column) for column, of_column in columns.items()}
    for cell in cells:
        yield _judged(cell, how[_column(cell)])


def _column(cell: Cell) -> tuple[str, str]:
    return cell.row["source"], cell.quantity or cell.column


def made(cells: Sequence[Cell]) -> How:
    """Whether the digits of a column are rounded or cut, by all its cells together.

    They are cut if cutting gives more of the cells, and no fewer of those that what the text says
    gives. The `value`s of a list of different numbers are no column.
    """

    def given(how: How) -> tuple[int, int]:
        """How many cells it gives, and how many of them as the text says."""
        each = ((c.interpretations, c.printed.interval(how)) for c in cells)
        right = [[one for one in every if one.value in interval] for every, interval in each]
        return sum(map(bool, right)), sum(any(not r.convention for r in of) for of in right)

    (cut, cut_in_text), (rounded, in_text) = given("cut"), given("rounded")
    is_column = _column(cells[0])[1] != "value"
    return "cut" if is_column and cut > rounded and cut_in_text >= in_text else "rounded"


def _judged(cell: Cell, how: How) -> Entry:
    interval, text = cell.printed.interval(how), cell.interpretations[0]
    # what the text says, what it leaves open, what it rules out
    in_order = sorted(cell.interpretations, key=lambda r: bool(r.convention) + bool(r.contradicted))
    fitting = next((r for r in in_order if r.value in interval), None)
    verdict, note = _verdict(cell, fitting, interval)
    notes = [note, cell.note]
    if fitting is None and text.value in cell.printed.interval("cut"):
        notes.append(f"cut, it would be {cell.printed.text}")
    if fitting and how == "cut":
        notes.append("digits are cut, which gives more of its column")
    value = (fitting or text).value
    value = float(value) if isinstance(value, Fraction) else value
    kind = "derived" if cell.derived else "computed"
    return entry(cell.row, cell.column, value, kind, verdict, interval, noted(*notes))


def in_words(cell: Cell) -> Entry:
    """The entry of a statement that is put as a rank or a count, which no page prints.

    The number that it is put as is ours, in the column `put_as`. It holds if what the text says
    gives that, is unsaid if a convention that the text leaves open does, and is corrected if the
    source itself says otherwise.
    """
    row = cell.row.copy()
    row["value"] = row["put_as"]
    as_number = _judged(replace(cell, row=row), "rounded")
    verdicts = {"reproduced": "holds", "unsaid": "unsaid", "erratum": "corrected"}
    note = noted(as_number.note, f"put as {as_number.printed}, found {as_number.computed_text}")
    said = {"printed": cell.row["value"], "verdict": verdicts.get(as_number.verdict, "fails")}
    return replace(as_number, **said, kind="proved", interval=None, note=note)


def _verdict(cell: Cell, fitting: Interpretation | None, interval: Interval) -> tuple[str, str]:
    """What became of a computed number, and why; `fitting` is the interpretation that gives it."""
    every, contradiction = cell.interpretations, cell.contradiction
    if fitting is None:
        tried = [f"{r.convention}: {_short(r.value)}".removeprefix(": ") for r in every]
        if contradiction and contradiction.refutes(interval, every):
            return "erratum", f"{contradiction.says}; computed: {'; '.join(tried)}"
        return "not reproduced", f"no interpretation gives it: {'; '.join(tried)}"
    if not fitting.convention:
        return "reproduced", ""
    if not fitting.contradicted:
        return "unsaid", fitting.convention
    in_text = f"as the text says: {_short(every[0].value)}"
    return "against the text", noted(fitting.convention, f"but {fitting.contradicted}", in_text)


def interpretation_of_row(row: pd.Series, interpretations: Sequence[Mapping[str, float]]) -> int:
    """The place of the interpretation that explains most of a row's printed digits.

    An interpretation is its value for every column; of equals the last is taken.
    """

    def digits(place: int) -> int:
        return sum(
            sum(c.isdigit() for c in row[column])
            for column, value in interpretations[place].items()
            if value in Printed.parse(row[column]).interval()
        )

    return max(reversed(range(len(interpretations))), key=digits)


def _short(value: float | int | Fraction) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{float(value):.6g}"


def noted(*parts: str) -> str:
    """A note of several parts."""
    return "; ".join(part for part in parts if part)


# Other kinds --------------------------------------------------------------------------------------


def setting(row: pd.Series, column: str, note: str = "") -> Entry:
    """The entry of a number that we put in as it is printed."""
    return entry(row, column, _value(row[column]), "setting", "used", None, note)


def contradicted(row: pd.Series, column: str, kind: str, says: str) -> Entry:
    """The entry of a number for which the source itself prints another, and its words there."""
    return entry(row, column, None, kind, "erratum", None, says)


def _value(text: str) -> float | int | None:
    try:
        value = Printed.parse(text).value
    except ValueError:  # a word, such as an augmentation
        return None
    return int(value) if value == int(value) else float(value)


class Statement(NamedTuple):
    """Whether a statement passed its test as printed, and as we mend it.

    A statement that the text leaves open in part is tested under a `convention`.
    """

    printed: bool
    mended: bool = False
    note: str = ""
    convention: str = ""


def stated(
    row: pd.Series, column: str, *, printed: bool, mended: bool = False, note: str = "",
    convention: str = "",
) -> Entry:  # fmt: skip
    """The entry of a `Statement`."""
    holds = "unsaid" if convention else "holds"
    verdict = holds if printed else "corrected" if mended else "fails"
    return entry(row, column, None, "proved", verdict, None, noted(convention, note))


@dataclass(frozen=True)
class Public:
    """A number as a named public source prints it."""

    printed: str
    source: str


@cache
def _public() -> Mapping[str, list[Public]]:
    facts = defaultdict(list)
    for _, row in published.load("public/facts").iterrows():
        facts[row.quantity].append(Public(row["value"], row["source"]))
    return facts


def public(quantity: str) -> list[Public]:
    """What public sources print for a quantity of `data/published/public/facts.csv`."""
    return _public().get(quantity, [])


def quoted(row: pd.Series, column: str, sources: Sequence[Public], note: str = "") -> Entry:
    """The entry of a number that the source has from elsewhere, compared with public ones.

    Two printed numbers agree if their intervals overlap; a quotation's trailing + says "or more".
    One source that agrees confirms it, and the note names all.
    """
    printed = Printed.parse(row[column])
    interval = Interval(Fraction(printed.value), inf) if printed.at_least else printed.interval()
    if not sources:
        return entry(row, column, None, "quoted", "unchecked", interval, note)

    def agrees(source: Public) -> bool:
        its = Printed.parse(source.printed).interval()
        return its.least < interval.most and interval.least < its.most

    first, *others = sorted(sources, key=agrees, reverse=True)
    verdict = "confirmed" if agrees(first) else "differs"
    said = [f"{source.source}: {source.printed}" for source in (first, *others)]
    return entry(row, column, _value(first.printed), "quoted", verdict, interval,
                 noted(*said, note))  # fmt: skip


def entry(
    row: pd.Series, column: str, computed, kind: str, verdict: str,
    interval: Interval | None = None, note: str = "",
) -> Entry:  # fmt: skip
    """An entry of one cell of a published table, for the rules of a kind of number."""
    ends = None if interval is None else interval.ends
    note = noted(row.get("claim", ""), note)  # what is claimed, as a number alone does not say it
    return Entry(
        identity(row["id"], column), row["source"], row["where"], row[column], computed, kind,
        verdict, ends, note,
    )  # fmt: skip


def identity(row: str, column: str) -> str:
    """The id of a number: its row's, with its column where the row has several."""
    return row if column == "value" else f"{row}/{column}"


# The whole ledger ---------------------------------------------------------------------------------


Parts = Mapping[str, Callable[[], Iterable[Entry]]]
"""What the module of a chapter's entries calls PARTS: how `where` begins, and its entries."""


def parts() -> dict[str, Callable[[], Iterable[Entry]]]:
    """The parts of all chapters; ChapterError for a module without, or for one that two have."""
    all_parts: dict[str, Callable[[], Iterable[Entry]]] = {}
    for chapter in chapters.found():
        if not chapter.entries:
            continue
        of_chapter = getattr(import_module(chapter.module), "PARTS", None)
        if not isinstance(of_chapter, Mapping) or not all(map(callable, of_chapter.values())):
            raise chapters.ChapterError(
                f"{chapter.module} has no PARTS: name there how the places of its printed numbers "
                f"begin and the function of their entries, or leave entries out of its "
                f"{chapter.file.name}"
            )
        if twice := of_chapter.keys() & all_parts.keys():
            raise chapters.ChapterError(f"{chapter.module}: another chapter has {min(twice)!r} too")
        all_parts.update(of_chapter)
    return all_parts


def collect(
    progress: Callable[[Iterable[Entry]], Iterable[Entry]] = iter, only: Sequence[str] = ()
) -> list[Entry]:
    """Compute every entry of the ledger, about three minutes of work, or those in places `only`.

    A place is how `where` begins ("thesis, table 4.4") or a pattern of it. `progress` may wrap the
    entries as they come, as tqdm does. Raises ValueError if two entries share an id, UserError for
    a place where no number is printed, and LedgerError for recorded runs that are not as recorded
    and for what cannot be read.
    """
    if altered := results.altered():
        raise LedgerError("\n".join(altered))
    patterns = _patterns(only)
    entries = list(progress(e for part in chosen(only) for e in _made(*part)))
    repeated = [i for i, n in Counter(e.id for e in entries).items() if n > 1]
    if repeated:
        raise ValueError(f"ledger id {repeated[0]!r} occurs twice: ids must be unique")
    for place, pattern in zip(only, patterns, strict=True):
        if not any(_at(e.where, [pattern]) for e in entries):
            known = ", ".join(map(repr, sorted(parts())))
            raise UserError(f"no number is printed at {place!r}; there are {known}")
    return [e for e in entries if not only or _at(e.where, patterns)]


def chosen(only: Sequence[str]) -> list[tuple[str, Callable[[], Iterable[Entry]]]]:
    """The parts, or those in which numbers may be printed at these places."""
    stems = [pattern.split("*")[0].split("?")[0].split("[")[0] for pattern in _patterns(only)]
    return [
        (place, make)
        for place, make in parts().items()
        if not only or any(place.startswith(stem) or stem.startswith(place) for stem in stems)
    ]


def _made(place: str, make: Callable[[], Iterable[Entry]]) -> Iterator[Entry]:
    try:
        yield from make()
    except (LookupError, ValueError) as error:
        raise LedgerError(
            f"the numbers of {place!r} cannot be computed ({error!r}): restore data/published and "
            "data/results with git, or mend what is typed there"
        ) from error


def _patterns(only: Iterable[str]) -> list[str]:
    return [place if set(place) & set("*?[") else f"{place}*" for place in only]


def _at(where: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(where, pattern) for pattern in patterns)


class LedgerError(UserError):
    """A ledger that nothing can be compared with: it is missing, cut short or damaged."""


def changes(entries: Iterable[Entry], only: Sequence[str] = ()) -> list[str]:
    """A sentence for each field of a row that is not the committed one, in the ledger's order.

    Computed values are compared with the eight digits that are committed. `only` are the places of
    the entries, as `collect` takes them, where they are not all. Raises LedgerError as
    `committed_rows` does.
    """
    return compared(_rows(list(entries)), only)


def compared(rows: Iterable[Mapping[str, str]], only: Sequence[str] = ()) -> list[str]:
    """The same of rows, as `saved` has them."""
    return _told(committed_rows(), {row["id"]: row for row in rows}, only)


def retyped(only: Sequence[str] = ()) -> list[str]:
    """What `changes` says of `data/published` alone, which takes a second: nothing is computed."""
    rows = committed_rows()
    typed = _typed({row["id"] for row in rows})
    # theorems are typed in no table
    now = {i: row | typed.get(i, {}) for row in rows if (i := row["id"]) in typed or not row[TYPED]}
    return _told(rows, now, only)


def _told(rows: Iterable[Mapping], now: Mapping[str, Mapping], only: Sequence[str]) -> list[str]:
    patterns, lines, new = _patterns(only), [], dict(now)
    for before in rows:
        identity = before["id"]
        after = new.pop(identity, None)
        if only and not any(_at(row["where"], patterns) for row in (before, after or before)):
            continue
        if after is None:
            lines.append(f"{identity} was {before['verdict']} and is no longer in the ledger")
        for field in before if after else ():
            if before[field] != after[field]:
                of_row = field in ("source", "where", TYPED)  # alike for all numbers of a row
                name = identity.partition("/")[0] if of_row else identity
                lines.append(f"{name}: {field} was {before[field]!r} and is now {after[field]!r}")
    lines += [f"{i} is {row['verdict']} and is not in data/ledger.csv" for i, row in new.items()]
    return list(dict.fromkeys(lines))


def _typed(ids: Collection[str]) -> dict[str, dict[str, str]]:
    """What the published row of each of these numbers says, as the ledger's columns have it.

    Of the row, its table and the cells that are no numbers of the ledger.
    """
    rows = {}
    for name in published.tables():
        for row in published.load(name).to_dict("records"):
            said = {c: row.pop(c, "") for c in ("id", "source", "where")}
            numbers = {c: i for c in row if (i := identity(said["id"], c)) in ids}
            words = (f"{c}: {row[c]}" for c in row if c not in numbers)
            said[TYPED] = "; ".join((name, *words))
            for column, number in numbers.items():
                rows[number] = said | {"id": number, "printed": row[column]}
    return rows


def committed_rows() -> list[dict[str, str]]:
    """The rows of `data/ledger.csv` as text; LedgerError as `_read` has it."""
    mend = "restore it with git, or write it anew with `reuseprior audit --update`"
    return _read(ledger_path(), mend)


def saved() -> list[dict[str, str]]:
    """The rows that `save` left; LedgerError as `_read` has it."""
    return _read(_saved_path(), "delete it and reproduce 00-ledger")


def _read(path: Path, mend: str) -> list[dict[str, str]]:
    """The rows of a ledger as text.

    Raises LedgerError where the file is missing or cannot be read, has other columns, an id twice,
    a verdict that its kind does not have, or no row at all: with such a reference everything would
    pass.
    """
    try:
        text = path.read_text(encoding="utf-8")
        header, *lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    except FileNotFoundError as error:
        raise LedgerError(f"{path} is missing: {mend}") from error
    except (OSError, ValueError, csv.Error) as error:
        raise LedgerError(f"{path} cannot be read ({error}): {mend}") from error
    if header != (columns := [*COLUMNS, TYPED]):
        raise LedgerError(f"{path} has not the columns {', '.join(columns)}: {mend}")
    if not lines:
        raise LedgerError(f"{path} has no row: {mend}")
    rows: dict[str, dict[str, str]] = {}
    for number, line in enumerate(lines, 1):
        if len(line) != len(header):
            raise LedgerError(f"{path} has {len(line)} cells in row {number}: {mend}")
        row = dict(zip(header, line, strict=True))
        if row["id"] in rows:
            raise LedgerError(f"{path} has the id {row['id']!r} twice: {mend}")
        if row["verdict"] not in KINDS.get(row["kind"], {}):
            raise LedgerError(
                f"{path} says of {row['id']!r} that it is {row['kind']!r} and "
                f"{row['verdict']!r}, which is no verdict of that kind: {mend}"
            )
        rows[row["id"]] = row
    return list(rows.values())


def update(entries: Sequence[Entry]) -> None:
    """Write `data/ledger.csv`, at once or not at all."""
    _write(ledger_path(), entries)


def save(entries: Sequence[Entry]) -> Path:
    """Leave the entries in `build/ledger.csv`, for whoever needs them without computing."""
    _saved_path().parent.mkdir(parents=True, exist_ok=True)
    return _write(_saved_path(), entries)


def _write(path: Path, entries: Sequence[Entry]) -> Path:
    rows = pd.DataFrame(_rows(entries), columns=[*COLUMNS, TYPED])
    files.write(path, rows.to_csv(index=False, lineterminator="\n").encode())
    return path


def _rows(entries: Sequence[Entry]) -> Iterator[dict[str, str]]:
    """The entries as `data/ledger.csv` has them."""
    typed = _typed({e.id for e in entries})
    for e in entries:
        # eight digits: more than any page prints, fewer than differ between processors
        value = f"{e.computed:.8g}" if isinstance(e.computed, float) else e.computed
        computed = "" if value is None else str(value)
        row = asdict(e) | {"computed": computed, "interval": e.interval_text}
        yield row | {TYPED: typed.get(e.id, {}).get(TYPED, "")}


def ledger_path() -> Path:
    """Where the committed ledger lies."""
    return paths.checkout() / "data" / "ledger.csv"


def _saved_path() -> Path:
    return paths.BUILD / "ledger.csv"


def table(entries: Iterable[Entry]) -> pd.DataFrame:
    """The entries as a DataFrame, computed values as they are."""
    return pd.DataFrame([asdict(e) for e in entries], columns=COLUMNS, dtype=object)


def listing(entries: Iterable[Entry], *verdicts: str) -> pd.DataFrame:
    """The entries with the given verdicts (all by default) to be read: printed beside computed."""
    shown = [e for e in entries if not verdicts or e.verdict in verdicts]
    rows = table(shown).set_index("id")
    rows["computed"] = [e.computed_text for e in shown]
    rows["interval"] = [e.interval_text for e in shown]
    return rows.drop(columns="source")


def summary(entries: Iterable[Entry]) -> pd.DataFrame:
    """How many numbers of each table have each verdict, and how little their digits may tell.

    The last column is how often a computed value wrong by up to 1 % would have passed, in per cent.
    """
    entries = list(entries)
    tables = pd.Series([_table_of(e.where) for e in entries], name="table", dtype=str)
    verdicts = pd.Series([e.verdict for e in entries], name="verdict", dtype=str)
    counts = pd.crosstab(tables, verdicts)
    counts = counts.reindex(columns=[v for v in MARKS if v in counts.columns])
    slack = pd.Series(
        [e.slack if e.kind == "computed" else None for e in entries], dtype=float
    ).groupby(tables).mean()  # fmt: skip
    return counts.assign(**{PASSES: (100 * slack).reindex(counts.index).round()})


PASSES = "wrong by 1 % passes, %"


def _table_of(where: str) -> str:
    return ", ".join(where.split(", ")[:2])


SIGNS = {"P_G": "P_G", "P_G_spread": "P′_G"}  # of quantities that have one, as readers know them


def side_by_side(entries: Iterable[Entry], formats: dict[str, Callable]) -> pd.DataFrame:
    """Printed beside computed, one row a row of the published table; settings as printed.

    `formats` names the columns to show, each with a function from computed value to text. Those
    whose quantity has a sign are shown by it.
    """
    cells: dict[str, dict[str, str]] = {}
    for e in entries:
        row, _, column = e.id.partition("/")
        if column in formats:
            computed = "–" if e.computed is None else formats[column](e.computed)
            text = f"{e.printed} | {computed} {MARKS[e.verdict]}"
            cells.setdefault(row, {})[column] = e.printed if e.kind == "setting" else text
    table = pd.DataFrame.from_dict(cells, orient="index", columns=list(formats))
    return table.rename(columns=SIGNS)
