"""What each printed cell is: a TOML beside the tables of a source says it, in patterns of cells.

```toml
places = ["bidart, table 5.1"]     # how the places of its numbers begin, a part of the ledger each

[words]                            # what is said for a column's name or a cell
mrpc = "MRPC"

[chapter-5-table-5-1]              # a table of its folder, or a pattern of several
ids = "bidart-5-1-"                # how the ids of its rows begin, which patterns leave out
"*/model" = ["label"]
"*/*" = ["open", "{model} trained on {column}"]
"roberta-paper/*" = ["quoted", "RoBERTa base, {column}"]
"*/average" = ["derived", "average", "a tie"]
```

A pattern is of row and column, or of a row whose column is `value`; the last that fits decides. It
has the cell's kind (see `KINDS`), what is said, and a note. `{…}` in them is a cell of the row, its
`column`, a word, or a printed cell as `{chapter-5-table-5-4/roberta/average}`. One word in place of
what is said is a function of the chapter, given the `row`, its `column` and its `name` if it has
parameters that are called so. A list is a function with its arguments, after the `row` if it takes
one: `["kept", 95, "{column}"]`. A number may be arithmetic: `"{chapter-5-setup/layers} + 1"`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from fractions import Fraction
from functools import cached_property, partial
from inspect import signature
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from sympy import sympify

from reuseprior import paths
from reuseprior.errors import UserError, did_you_mean, shown
from reuseprior.presets import Presets
from reuseprior.proofs import Blueprint, Page
from reuseprior.report import ledger, published
from reuseprior.report.ledger import Cell, Contradiction, Entry, Interpretation, Statement, noted
from reuseprior.report.published import Printed

BY_FUNCTION, IN_WORDS = ("stated", "measured", "claim"), ("open", "mended", "sought")
OF_A_ROW = {"id", "source", "where", "claim", "quantity", "put_as"}
"""Columns that say what a row is about, in any table."""


class CellsError(UserError):
    """A TOML of cells that does not fit its tables or its chapter."""


def _computed(row, column: str, said, note: str, *, derived: bool = False) -> Entry | Cell:
    """A number, or a list of interpretations, what contradicts it and notes; or the entry."""
    if isinstance(said, Entry):
        return said
    said = said if isinstance(said, list) else [said]
    notes = [one for one in said if isinstance(one, str)]
    contradiction = next((one for one in said if isinstance(one, Contradiction)), None)
    others = [one for one in said if not isinstance(one, str | Contradiction)]
    each = [one if isinstance(one, Interpretation) else Interpretation(one) for one in others]
    return Cell(row, column, each, contradiction, noted(*notes, note), derived=derived)


def _quoted(row, column: str, said, note: str) -> Entry:
    """A quantity of `public/facts.csv`, nothing, or a list of public numbers and of notes."""
    said = ledger.public(said) if isinstance(said, str) else said
    notes = [one for one in said if isinstance(one, str)]
    sources = [one for one in said if isinstance(one, ledger.Public)]
    if len(notes) + len(sources) < len(said):
        raise CellsError(f"{row['id']}/{column} is quoted from {shown(said)}: give public numbers")
    return ledger.quoted(row, column, sources, noted(*notes, note))


def _setting(row, column: str, said, note: str) -> Entry:
    """What is known of it, or what contradicts it."""
    if isinstance(said, Contradiction):
        return ledger.contradicted(row, column, "setting", said.says)
    return ledger.setting(row, column, noted(said, note))


def _measured(row, column: str, said, note: str) -> Entry:
    """What it needs; or which runs, what it needs and how `measured` takes it; or as `_setting`.

    In place of runs a claim that the number supports.
    """
    from reuseprior.report import runs  # with torch, which theorems do without

    if isinstance(said, Contradiction):
        return ledger.contradicted(row, column, "measured", said.says)
    selection, needs, *more = (None, said) if isinstance(said, str) else said
    if isinstance(selection, runs.Claim):
        return replace(runs.claimed(row, column, selection, needs), computed=None)
    return runs.measured(row, column, selection, noted(needs, note), **dict(*more))


def _stated(row, column: str, said, note: str) -> Entry:
    """Whether it holds, or what became of it; or what it needs."""
    if isinstance(said, str):
        return _measured(row, column, said, note)
    if not isinstance(said, Statement):
        if type(said) is not bool:  # what is only truthy is no test that held
            raise CellsError(
                f"{row['id']}/{column} is stated by {shown(said)}: let its function give a bool "
                "or a Statement, or name another kind"
            )
        said = Statement(said)
    tested = said._replace(note=noted(said.note, note))
    return ledger.stated(row, column, **tested._asdict())


def _claimed(row, column: str, said, note: str) -> Entry:
    """A claim and what it needs."""
    from reuseprior.report import runs

    return runs.claimed(row, column, *said)


def _mended(row, column: str, said: str, note: str) -> Entry:
    """What holds instead, in words."""
    return _stated(row, column, Statement(False, True, said), note)


KINDS: Mapping[str, Callable[[pd.Series, str, Any, str], Entry | Cell | None]] = {
    "label": lambda *cell: None,  # no number: it says which row it is, or how it is made
    "setting": _setting,
    "quoted": _quoted,
    "sought": _quoted,  # by a quantity that `public/facts.csv` may come to have
    "computed": _computed,
    "derived": partial(_computed, derived=True),
    "in words": lambda *cell: ledger.in_words(_computed(*cell)),
    "stated": _stated,
    "mended": _mended,
    "open": _measured,  # by what it needs
    "measured": _measured,
    "claim": _claimed,
}
"""What a cell can be, and its entry, of row, column, what is said of it and a note."""


class Rule(NamedTuple):
    """What is said of the cells that a pattern fits."""

    at: str  # the file, the heading and the pattern, for messages
    tables: str  # a pattern of them
    ids: str
    cells: str  # a pattern of row and column
    kind: str
    says: Any = ""
    note: str = ""

    def fits(self, table: str, row: Mapping[str, str], column: str) -> bool:
        """Whether it is about a cell."""
        cell = f"{row['id'].removeprefix(self.ids)}/{column}"
        return fnmatchcase(cell, self.cells) and fnmatchcase(table, self.tables)

    @property
    def function(self) -> str:
        """The name of the function that makes what is said, if any."""
        name = self.says[0] if isinstance(self.says, list) else self.says
        return name if name.isidentifier() else ""


class Cells(Mapping[str, Callable[[], Iterator[Entry]]]):
    """A chapter's entries by the places of its numbers, as PARTS has them.

    `module` has the functions, `file` is the TOML in `data/published` without its ending, `others`
    are parts that no table has. Raises CellsError where it is first asked for something.
    """

    def __init__(self, module: str, file: str, others: Mapping[str, Callable] | None = None):
        self._module, self._file, self._others = module, file, others or {}

    def __getitem__(self, place: str) -> Callable[[], Iterator[Entry]]:
        if place in self._others:
            return self._others[place]
        if place not in self._toml["places"]:
            raise KeyError(place)
        return partial(self._entries, place)

    def __iter__(self) -> Iterator[str]:
        return iter([*self._toml["places"], *self._others])

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def table(self, table: str, *places: str) -> Iterator[Entry]:
        """The entries of a table, or of its rows in some places, in the order of its cells."""
        wanted = places or self._toml["places"]
        cells = [cell for cell in _cells(table) if self._place(cell[0]) in wanted]
        built = [one for cell in cells if (one := self._made(table, *cell))]
        judged = ledger.judged(one for one in built if isinstance(one, Cell))
        for one in built:
            if isinstance(one, Cell):
                sys.audit("reuseprior.cell", ledger.identity(one.row["id"], one.column))
            yield next(judged) if isinstance(one, Cell) else one

    def rules(self) -> Iterator[tuple[str, Rule]]:
        """By the id of each cell that may be a number, what is said of it."""
        for table in self._tables:
            for row, column in _cells(table):
                if self._place(row):  # else it is another TOML's
                    yield ledger.identity(row["id"], column), self._rule_of(table, row, column)

    def _entries(self, place: str) -> Iterator[Entry]:
        return (entry for table in self._tables for entry in self.table(table, place))

    @property
    def _tables(self) -> Iterable[str]:
        patterns = dict.fromkeys(rule.tables for rule in self._rules)
        return dict.fromkeys(table for pattern in patterns for table in _tables(pattern))

    def _place(self, row: pd.Series) -> str:
        return max(filter(row["where"].startswith, self._toml["places"]), key=len, default="")

    def _rule_of(self, table: str, row: pd.Series, column: str) -> Rule:
        rule = next((r for r in reversed(self._rules) if r.fits(table, row, column)), None)
        if rule is None:
            raise CellsError(
                f"{self._path} says nothing of {row['id']}/{column} of {table}: add a pattern that "
                "fits it, of kind 'label' if it is no printed number"
            )
        return rule

    def _made(self, table: str, row: pd.Series, column: str) -> Entry | Cell | None:
        rule = self._rule_of(table, row, column)
        identity = ledger.identity(row["id"], column)
        sys.audit("reuseprior.cell", identity, f"{rule.at} = {[rule.kind, rule.says]}")
        fill = partial(self._filled, rule, row, column)
        said = self._said(rule, row, column, fill)
        built = KINDS[rule.kind](row, column, said, fill(rule.note))
        if isinstance(built, Cell):
            sys.audit("reuseprior.interpretations", identity, built.interpretations)
        return built

    def _said(self, rule: Rule, row: pd.Series, column: str, fill: Callable[..., str]) -> Any:
        if rule.function:
            function = getattr(sys.modules[self._module], rule.function)
            cell = {"row": row, "column": column, "name": row["id"].removeprefix(rule.ids)}
            takes = signature(function).parameters
            if isinstance(rule.says, str):
                return function(**{name: cell[name] for name in cell if name in takes})
            arguments = [column if one == "{column}" else one for one in rule.says[1:]]
            return function(*[row] * ("row" in takes), *arguments)
        if rule.kind in ("computed", "derived", "in words"):
            text = fill(rule.says, number=True)
            value = Fraction(str(sympify(text, rational=True)))
            return value if "/" in text or value.denominator > 1 else int(value)
        said = fill(rule.says)
        if rule.kind == "quoted" and said and not ledger.public(said):
            raise CellsError(
                f"{rule.at} quotes {said!r}, of which public/facts.csv has nothing: add it there, "
                "or quote nothing"
            )
        return said

    def _filled(
        self, rule: Rule, row: pd.Series, column: str, text: str, *, number: bool = False
    ) -> str:
        """The text with what stands for the names in braces, as a `number` for arithmetic."""
        words = self._toml["words"]
        known = {**words, **row, "column": column}

        def named(match: re.Match) -> str:
            name, *cell = match[1].split("/")
            if cell:
                of, its = (*cell, "value")[:2]
                text = published.row(f"{self._folder}/{name}", of)[its]
            elif name in known:
                text = words.get(known[name], known[name])
                text = self._filled(rule, row, column, text) if text in words.values() else text
            else:
                raise CellsError(
                    f"{rule.at} names {match[0]}{did_you_mean(name, known)}: name a column, a word "
                    "or, as {table/row/column}, a printed cell"
                )
            return f"({Fraction(Printed.parse(text).value)})" if number else text

        return re.sub(r"\{([^{}]+)\}", named, text)

    @property
    def _folder(self) -> str:
        return self._file.split("/")[0]

    @property
    def _path(self) -> Path:
        return paths.PUBLISHED / f"{self._file}.toml"

    @cached_property
    def _toml(self) -> dict[str, Any]:
        content, _ = Presets("cells", "", "", CellsError).read(self._path)
        return {"places": [], "words": {}} | content

    @cached_property
    def _rules(self) -> list[Rule]:
        """What the file says, each pattern checked."""
        rules = []
        for heading, said in self._toml.items():
            if heading in ("places", "words"):
                continue
            if not isinstance(said, dict):
                raise CellsError(
                    f"{self._path}: {heading} is {shown(said)}: make it a table of patterns"
                )
            tables = heading if "/" in heading else f"{self._folder}/{heading}"
            for pattern, what in said.items():
                if pattern == "ids":
                    continue
                at = f"{self._path}, [{heading}]: {pattern!r}"
                cells = pattern if "/" in pattern else f"{pattern}/value"
                rules.append(self._rule(at, tables, said.get("ids", ""), cells, what))
        return rules

    def _rule(self, at: str, tables: str, ids: str, cells: str, what: Any) -> Rule:
        if not (isinstance(what, list) and 1 <= len(what) <= 3 and isinstance(what[0], str)):
            raise CellsError(f"{at} is {shown(what)}: make it a list of kind, what is said, a note")
        rule, functions = Rule(at, tables, ids, cells, *what), vars(sys.modules[self._module])
        if rule.kind in BY_FUNCTION and not rule.function:
            raise CellsError(f"{at} is {rule.kind} by no function: name one, or make it 'open'")
        if rule.kind in IN_WORDS and not rule.says:
            raise CellsError(f"{at} is {rule.kind} without words: say what it needs, or what holds")
        if rule.kind not in KINDS:
            mend = did_you_mean(rule.kind, KINDS) or f": choose from {', '.join(KINDS)}"
            raise CellsError(f"{at} has the unknown kind {rule.kind!r}{mend}")
        if rule.function and not callable(functions.get(rule.function)):
            known = [name for name, function in functions.items() if callable(function)]
            mend = did_you_mean(rule.function, known) or f": define it in {self._module}"
            raise CellsError(f"{at} names the function {rule.function!r}, which is none{mend}")
        named = _tables(rule.tables)
        if not named:
            near = did_you_mean(tables, published.tables()) or ": correct the heading"
            raise CellsError(f"{at} is of no table, as there is no {tables}{near}")
        if not any(rule.fits(table, *cell) for table in named for cell in _cells(table)):
            raise CellsError(f"{at} fits no cell: correct it, or take it away")
        return rule


def _tables(pattern: str) -> list[str]:
    return [table for table in published.tables() if fnmatchcase(table, pattern)]


def _cells(table: str) -> Iterator[tuple[pd.Series, str]]:
    """The cells of a table that are not empty and may be numbers."""
    for _, row in published.load(table).iterrows():
        yield from ((row, c) for c in row.index if row[c] and c not in OF_A_ROW)


# Theorems, which stand in no table ----------------------------------------------------------------


def of_theorems(
    blueprint: Blueprint, identity: str, where: str, *, statement: bool = False
) -> Iterator[Entry]:
    """An entry a theorem, with ids that begin with `identity`, in the part `where` of a source.

    The note of a corrected one says what is printed instead, after the `statement` if wanted; that
    of one that holds carries its remark.
    """
    source = where.split(",")[0]
    for name, page in blueprint.theorems.items():
        which = name.lower().replace(" ", "-").replace(".", "-").replace("§", "section-")
        sys.audit("reuseprior.cell", f"{identity}-{which}", page.name)
        verdict, note = _of_derivation(page, statement)
        place = f"{where}, {name}"
        yield Entry(
            f"{identity}-{which}", source, place, "as stated", None, "proved", verdict, note=note
        )


def _of_derivation(page: Page, statement: bool) -> tuple[str, str]:
    """Verdict and note: the mark says which, and what is stated is what is proved."""
    if page.mark == "✗":
        return "fails", f"a step of the derivation, or of what is printed, fails; {page.counts}"
    if page.mark == "✓":
        return "holds", page.counts
    says = f"{page.statements}. {page.words}" if statement else page.words
    return "corrected", f"{says} ({page.counts})"
