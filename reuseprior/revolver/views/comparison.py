"""Two blueprints side by side, such as a parent and its offspring, cut down to what differs.

`difference.diff` compares place by place. Here rows of blocks are aligned first, so that a block
which comes into a row is one that came, and not a change of all that follow it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from html import escape
from typing import Any

import pandas as pd

from reuseprior.revolver.blueprints.blueprint import Blueprint, Path, stem, where
from reuseprior.revolver.blueprints.difference import diff
from reuseprior.revolver.views.text_trees import Branch, counted, in_columns, inside, lines, shapes

HIDDEN = ("tag", "mutables")  # differ between any two clones, and say nothing of the model
MARKS = {"added": "+", "removed": "−", "replaced": "≠"}  # a block with all that is in it
LEGEND = "+ added   − removed   ≠ replaced   ~ changed"
SAME = "no difference but for tags: the two blueprints describe the same model"
SHOWN = 2  # levels of a block that was added, removed or replaced

_STYLE = """<style scoped>
.rv-compare table td, .rv-compare table th {
  text-align: left !important; vertical-align: top}
.rv-compare td pre {margin: 0; background: none; text-align: left; white-space: pre;
  font-family: "DejaVu Sans Mono", Menlo, Consolas, monospace; font-size: 12px; line-height: 1.35}
.rv-compare pre span {color: #000}
.rv-compare .rv-added {background: #56B4E9}
.rv-compare .rv-removed {background: #E69F00}
.rv-compare .rv-changed {background: #F0E442}
.rv-compare .rv-note {opacity: .75}
</style>"""


@dataclass(frozen=True)
class Change:
    """One change: its place on either side (None where there is none), what it is, the values."""

    left: Path | None
    right: Path | None
    what: str  # added, removed, replaced, moved, or the name of an argument or a field
    before: Any
    after: Any

    @property
    def mark(self) -> str:
        """The sign before a changed block: +, −, ≠, or ~ for an argument or a flag."""
        return MARKS.get(self.what, "~")


@dataclass(frozen=True, repr=False)
class Comparison:
    """Two blueprints and their changes: in Jupyter and printed, two trees and a table."""

    before: Blueprint
    after: Blueprint
    changes: tuple[Change, ...]

    def table(self) -> pd.DataFrame:
        """A row for each change: place, what, before and after."""
        rows = [
            {
                "place": where(change.left if change.right is None else change.right),
                "what": change.what,
                "before": _value(change.before),
                "after": _value(change.after),
            }
            for change in self.changes
        ]
        return pd.DataFrame(rows, columns=["place", "what", "before", "after"])

    def _repr_html_(self) -> str:
        if not self.changes:
            return f"<p>{SAME}</p>"
        cells = "".join(
            f'<td align="left" valign="top"><pre>{_html(branch)}</pre></td>'
            for branch in self._sides()
        )
        return (
            f'<div class="rv-compare">{_STYLE}'
            f"<table><tr><th>before</th><th>after</th></tr><tr>{cells}</tr></table>"
            f'<p class="rv-note">{LEGEND}</p>{self.table().to_html(index=False, border=0)}</div>'
        )

    def __str__(self) -> str:
        if not self.changes:
            return SAME
        left, right = map(lines, ([side] for side in self._sides()))
        left, right = ["before", *left], ["after", *right]
        height = max(len(left), len(right))
        left, right = (side + [""] * (height - len(side)) for side in (left, right))
        beside = in_columns([(a, f"│ {b}") for a, b in zip(left, right, strict=True)])
        table = self.table()
        rows = in_columns([tuple(table.columns), *table.itertuples(index=False)])
        return "\n".join([*beside, LEGEND, "", *rows])

    __repr__ = __str__

    def _sides(self) -> tuple[Branch, Branch]:
        left = {c.left: c.mark for c in self.changes if c.left is not None}
        right = {c.right: c.mark for c in self.changes if c.right is not None}
        return _sketch(self.before, left), _sketch(self.after, right)


def compare(before: Blueprint, after: Blueprint) -> Comparison:
    """What differs between two blueprints, as a picture of both and as a table.

    ```python
    child = clone(parent, tags)
    mutate(child, space, tags, rng)
    compare(parent, child)          # two trees of the changed places, with shapes
    compare(parent, child).changes  # the same as data; () for a clone that was not changed
    ```

    Tags and mutables are not compared, and neither are scores. For a crossover, compare each of
    the pair with its own parent.
    """
    return Comparison(before, after, tuple(_changes(before, after, (), ())))


def _changes(a: Blueprint, b: Blueprint, left: Path, right: Path) -> Iterator[Change]:
    if (a.kind, a.input_shape, a.output_shape) != (b.kind, b.input_shape, b.output_shape):
        yield Change(left, right, "replaced", a.name, b.name)
        return
    for found in diff(replace(a, children={}), replace(b, children={})):
        if found.what not in HIDDEN:
            yield Change(left, right, found.what, found.before, found.after)
    both = [role for role in a.children if role in b.children]
    if both != [role for role in b.children if role in a.children]:
        yield Change(left, right, "moved", list(a.children), list(b.children))
    rows, others = _rows(a), _rows(b)
    for row in dict.fromkeys([*rows, *others]):
        yield from _aligned(a, b, rows.get(row, []), others.get(row, []), left, right)


def _rows(node: Blueprint) -> dict[str, list[str]]:
    """The children's roles by their stem: rows of blocks, and single ones."""
    rows: dict[str, list[str]] = {}
    for role in node.children:
        rows.setdefault(stem(role), []).append(role)
    return rows


def _aligned(
    a: Blueprint, b: Blueprint, mine: list[str], theirs: list[str], left: Path, right: Path
) -> Iterator[Change]:
    if len(mine) == len(theirs):  # nothing came or went, and equal neighbours must not slide
        runs = [("replace", 0, len(mine), 0, len(theirs))]
    else:
        first = [_content(a.children[role]) for role in mine]
        second = [_content(b.children[role]) for role in theirs]
        runs = SequenceMatcher(None, first, second, autojunk=False).get_opcodes()
    for what, i, j, k, m in runs:
        if what == "equal":
            continue
        if j - i == m - k:
            for old, new in zip(mine[i:j], theirs[k:m], strict=True):
                yield from _changes(a.children[old], b.children[new], (*left, old), (*right, new))
            continue
        for role in mine[i:j]:
            yield Change((*left, role), None, "removed", a.children[role].name, None)
        for role in theirs[k:m]:
            yield Change(None, (*right, role), "added", None, b.children[role].name)


def _content(node: Blueprint) -> tuple:
    """What a block is, without tags: equal for a block and its clone."""
    arguments = tuple(map(str, node.arguments.values()))
    below = tuple((role, _content(child)) for role, child in node.children.items())
    shape = (node.input_shape, node.output_shape)
    return node.kind, arguments, node.prefix, node.unique, node.freeze, shape, below


def _sketch(
    node: Blueprint,
    marks: Mapping[Path, str],
    path: Path = (),
    above: str = "",
    levels: int = SHOWN,
) -> Branch:
    """The tree of the marked places and their parents, with the upper levels of what is new."""
    mark = marks.get(path, above)
    whole = mark if mark in MARKS.values() else ""
    below, left_out = [], 0
    for role, child in node.children.items():
        place = (*path, role)
        if levels and (whole or any(path[: len(place)] == place for path in marks)):
            below.append(_sketch(child, marks, place, whole, levels - bool(whole)))
        else:
            left_out += 1
    if left_out:
        text = counted(inside(node), "block") if whole else f"{left_out} not changed"
        below.append(Branch("", f"({text})"))
    return Branch(mark, " ".join([*path[-1:], node.name]), (shapes(node),), tuple(below))


def _html(branch: Branch) -> str:
    colours = {"+": "added", "−": "removed", "≠": "changed", "~": "changed"}
    return "\n".join(
        f'<span class="rv-{colours[line[0]]}">{escape(line)}</span>'
        if line[0] in colours
        else escape(line)
        for line in lines([branch])
    )


def _value(value: Any) -> str:
    if isinstance(value, tuple):
        return "×".join(map(str, value))
    if isinstance(value, list):
        return " ".join(value)
    return "" if value is None else str(value)
