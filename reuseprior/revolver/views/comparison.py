"""Two blueprints side by side, such as a parent and its offspring, cut down to what differs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

import pandas as pd

from reuseprior.revolver.blueprints.blueprint import Blueprint, Path, where
from reuseprior.revolver.blueprints.differences import Change, changes
from reuseprior.revolver.views.text_trees import Branch, counted, in_columns, inside, lines, shapes

MARKS = {"added": "+", "removed": "−", "replaced": "≠"}  # a block with all that is in it
LEGEND = "+ added   − removed   ≠ replaced   ~ changed"
SAME = "no difference but for tags: the two blueprints describe the same model"
SHOWN = 2  # levels of a block that was added, removed or replaced

# Every element bears its own style, which JupyterLab keeps of a notebook that it does not trust.
_LEFT = "text-align: left; vertical-align: top"
_TREE = (
    "margin: 0; background: none; text-align: left; white-space: pre; font-size: 12px; "
    "line-height: 1.35; font-family: DejaVu Sans Mono, Menlo, Consolas, monospace"
)
_COLOURS = {"+": "#56B4E9", "−": "#E69F00", "≠": "#F0E442", "~": "#F0E442"}


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
                "place": where(change.path),
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
            f'<td style="{_LEFT}"><pre style="{_TREE}">{_html(branch)}</pre></td>'
            for branch in self._sides()
        )
        heads = "".join(f'<th style="{_LEFT}">{side}</th>' for side in ("before", "after"))
        table = self.table().to_html(index=False, border=0, justify="left")
        table = table.replace("<td>", f'<td style="{_LEFT}">')
        return (
            f"<div><table><tr>{heads}</tr><tr>{cells}</tr></table>"
            f'<p style="opacity: .75">{LEGEND}</p>{table}</div>'
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
        left = {c.left: _mark(c) for c in self.changes if c.left is not None}
        right = {c.right: _mark(c) for c in self.changes if c.right is not None}
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
    return Comparison(before, after, tuple(changes(before, after)))


def _mark(change: Change) -> str:
    """The sign before a changed block: +, −, ≠, or ~ for an argument or a flag."""
    return MARKS.get(change.what, "~")


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
    return "\n".join(
        f'<span style="color: #000; background-color: {_COLOURS[line[0]]}">{escape(line)}</span>'
        if line[0] in _COLOURS
        else escape(line)
        for line in lines([branch])
    )


def _value(value: Any) -> str:
    if isinstance(value, tuple):
        return "×".join(map(str, value))
    if isinstance(value, list):
        return " ".join(value)
    return "" if value is None else str(value)
