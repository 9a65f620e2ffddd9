"""Blueprints to look at: trees, what became of mutated blocks, what differs between two.

Everything displays by itself in Jupyter and prints as text. The HTML holds no script; where
styles are stripped, as on GitHub, letters say what colours say elsewhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from html import escape
from typing import Any, NamedTuple

import pandas as pd

from reuseprior.revolver.blueprints import Blueprint, Path, Shape, stem, where
from reuseprior.revolver.population import Population

# Trees as lines of text ---------------------------------------------------------------------------


class Branch(NamedTuple):
    """A line of a tree: a mark before it, the text, the columns beside it, the lines below."""

    mark: str
    label: str
    columns: tuple[str, ...] = ()
    below: tuple[Branch, ...] = ()


def lines(branches: Collection[Branch]) -> list[str]:
    """Trees as lines: marks, then names behind the boughs, then the columns in line."""
    rows = [row for branch in branches for row in _drawn(branch)]
    return in_columns(rows, right=range(3, 6))


def _drawn(branch: Branch, first: str = "", later: str = "") -> Iterator[tuple[str, ...]]:
    yield branch.mark, first + branch.label, *branch.columns
    for index, child in enumerate(branch.below, 1):
        last = index == len(branch.below)
        yield from _drawn(
            child, later + ("└─ " if last else "├─ "), later + ("   " if last else "│  ")
        )


def in_columns(rows: list[tuple[str, ...]], right: Collection[int] = ()) -> list[str]:
    """Rows of cells as lines of text, the columns in line; those in `right` end in line."""
    wide = [0] * max(map(len, rows))
    for row in rows:
        for index, cell in enumerate(row):
            wide[index] = max(wide[index], len(cell))
    return [
        "  ".join(
            cell.rjust(wide[index]) if index in right else cell.ljust(wide[index])
            for index, cell in enumerate(row)
        ).rstrip()
        for row in rows
    ]


def shapes(node: Blueprint) -> str:
    """What a block takes and gives: "3×32×32 → 16×32×32"."""
    return f"{sizes(node.input_shape)} → {sizes(node.output_shape)}"


def sizes(shape: Shape | None) -> str:
    """A shape as text: "3×32×32", or "?" where it is not known."""
    return "?" if shape is None else "×".join(map(str, shape))


def counted(number: int, noun: str) -> str:
    """A number and its noun: `counted(2, "block")` is "2 blocks"."""
    return f"{number} {noun}{'s' * (number != 1)}"


def inside(node: Blueprint) -> int:
    """How many blocks a block contains, at all levels."""
    return sum(1 for _ in node.walk()) - 1


# A blueprint as a tree ----------------------------------------------------------------------------

MARKS = {
    "S": "shared",
    "U": "unique",
    "@": "owned by this use",  # a batch norm of scope "use", and the blocks that contain it
    "F": "frozen",
    "M": "mutated",
}
HISTORY = "mutation_history"  # the key in meta, as in appendix C.5

# Every element bears its own style: of a notebook that it does not trust yet, JupyterLab keeps
# these and drops style sheets. A pill has both colours (Okabe and Ito's), for light and dark pages.
_COLOURS = {
    "S": "#56B4E9; color: #000",
    "U": "#E69F00; color: #000",
    "@": "#F0E442; color: #000",
    "F": "#0072B2; color: #FFF",
    "M": "#CC79A7; color: #000",
}
_PILL = "padding: 0 .35em; border-radius: .3em; font-weight: bold; background-color: "
_BELOW = (
    "list-style: none; margin: 0 0 0 .4em; padding: 0 0 0 .8em; "
    "border-left: 1px solid rgba(128, 128, 128, .5)"
)


class Tree:
    """A blueprint's blocks with their marks, names, shapes, parameters, uses and scores."""

    def __init__(self, blueprint: Blueprint, scores: Mapping[str, float] | None, levels: int):
        scopes = blueprint.scopes()
        self.blueprint, self.scores, self.levels = blueprint, dict(scores or {}), levels
        self._names = {id(node): name for _, node, name in scopes}
        self._times = Counter(self._names.values())
        met = {mark for _, node, _ in scopes for mark in self._marks(node)}
        self._legend = {mark: MARKS[mark] for mark in MARKS if mark != "@" or mark in met}

    def _repr_html_(self) -> str:
        marks = [f"{_pill(mark)} {meaning}" for mark, meaning in self._legend.items()]
        legend = f"<p>{' &nbsp; '.join(marks)}</p>"
        return f"<div>{legend}{self._html((), self.blueprint, self.levels)}</div>"

    def __str__(self) -> str:
        head = Branch("", "block", ("shape", "parameters", "uses", "score"))
        rows = lines([head, self._branch((), self.blueprint, self.levels)])
        return "\n".join([*rows, "   ".join(map(" ".join, self._legend.items()))])

    __repr__ = __str__

    def _marks(self, node: Blueprint) -> str:
        owner = "U" if node.unique else "S" if self._names[id(node)] == node.name else "@"
        return owner + "F" * node.freeze + "M" * (HISTORY in node.meta)

    def _columns(self, node: Blueprint) -> tuple[str, ...]:
        name = self._names[id(node)]
        score = self.scores.get(name, node.meta.get("score"))
        shown = "" if score is None else f"{score:.3f}"
        return shapes(node), f"{node.parameters():,}", str(self._times[name]), shown

    def _branch(self, role: Path, node: Blueprint, levels: int) -> Branch:
        below = (Branch("", f"({counted(inside(node), 'block')})"),)
        if levels or not node.children:
            roles = node.children.items()
            below = tuple(self._branch((r,), child, levels - 1) for r, child in roles)
        return Branch(self._marks(node), " ".join([*role, node.name]), self._columns(node), below)

    def _html(self, role: Path, node: Blueprint, levels: int) -> str:
        size, parameters, times, score = self._columns(node)
        notes = [size, f"{parameters} parameters"]
        notes += [f"used {times}×"] * (times != "1")
        notes += [f"score {score}"] * bool(score)
        if HISTORY in node.meta:
            notes.append(f"was {node.meta[HISTORY][-1]['name']}")
        arguments = ", ".join(f"{key}={value}" for key, value in node.arguments.items())
        line = (
            f"{''.join(map(_pill, self._marks(node)))} "
            f"{''.join(f'<b>{escape(r)}</b> ' for r in role)}"
            f'<span title="{escape(arguments)}">{escape(node.name)}</span> '
            f'<span style="opacity: .75">· {escape(" · ".join(notes))}</span>'
        )
        if not node.children:
            return line
        below = "".join(
            f'<li style="padding-left: {0 if child.children else 1.05}em">'
            f"{self._html((r,), child, levels - 1)}</li>"
            for r, child in node.children.items()
        )
        opened = " open" if levels > 0 else ""
        summary = f'<summary style="cursor: pointer">{line}</summary>'
        return f'<details{opened}>{summary}<ul style="{_BELOW}">{below}</ul></details>'


def tree(
    blueprint: Blueprint, scores: Mapping[str, float] | None = None, *, levels: int = 2
) -> Tree:
    """A blueprint as a tree: opened in Jupyter, and printed, down to so many levels.

    ```python
    print(tree(blocks.conv((3, 32, 32), 16, kernel_size=7, stride=2)))
    #    block                 shape               parameters  uses  score
    # S  conv3_16_7_2_3_1_1_F  3×32×32 → 16×16×16       2,352     1
    # S shared   U unique   F frozen   M mutated
    ```

    A block's parameters are those of all blocks in it, each once; its uses are the places of the
    blueprint that hold its module. `scores`, by registered name, go before those in `meta`.
    """
    return Tree(blueprint, scores, levels)


def mutations(blueprint: Blueprint) -> pd.DataFrame:
    """The history of every mutated block (thesis, C.5): a row for each state, the last one now.

    ```python
    mutations(best.blueprint)[["place", "state", "kind"]]
    #   place state           kind
    # 0  conv     1           conv
    # 1  conv   now  ensemble_mean
    ```

    Columns: place, state ("1", "2", … and "now"), kind, name, input, output, unique, blocks.
    """
    rows = []
    for path, node in blueprint.walk():
        past = node.meta.get(HISTORY, [])
        for number, state in enumerate([*past, node.to_data()] if past else [], 1):
            rows.append(
                (
                    where(path),
                    str(number) if number <= len(past) else "now",
                    state["kind"],
                    state["name"],
                    sizes(state["input_shape"]),
                    sizes(state["output_shape"]),
                    state["unique"],
                    _blocks(state),
                )
            )
    columns = ["place", "state", "kind", "name", "input", "output", "unique", "blocks"]
    return pd.DataFrame(rows, columns=columns)


def _pill(mark: str) -> str:
    return f'<code style="{_PILL}{_COLOURS[mark]}" title="{MARKS[mark]}">{mark}</code>'


def _blocks(state: dict) -> int:
    return 1 + sum(map(_blocks, state["children"].values()))


# Differences --------------------------------------------------------------------------------------

_FIELDS = ("prefix", "tag", "unique", "freeze", "input_shape", "output_shape", "mutables")
_HIDDEN = ("tag", "mutables")  # differ between any two clones, and say nothing of the model


@dataclass(frozen=True)
class Change:
    """One change: its place on either side (None where there is none), what it is, the values."""

    left: Path | None
    right: Path | None
    what: str  # added, removed, replaced, moved, or the name of an argument or a field
    before: Any
    after: Any

    @property
    def path(self) -> Path:
        """The place after the change; of what was removed, before it."""
        return self.left if self.right is None else self.right


def changes(a: Blueprint, b: Blueprint) -> list[Change]:
    """What became of `a` in `b`, such as a parent in its offspring.

    Rows of blocks are aligned first, so that a block which comes into a row is one that came, and
    not a change of all that follow it. A block of other shapes was replaced; tags and mutables are
    not compared.
    """
    return list(_aligned(a, b, (), ()))


def _own(a: Blueprint, b: Blueprint, left: Path, right: Path) -> Iterator[Change]:
    """What differs between two blocks of one kind themselves, without their children."""
    mine, theirs = (n.arguments | {key: getattr(n, key) for key in _FIELDS} for n in (a, b))
    for key in mine:
        if mine[key] != theirs[key]:
            yield Change(left, right, key, mine[key], theirs[key])
    both = [role for role in a.children if role in b.children]
    if both != [role for role in b.children if role in a.children]:
        yield Change(left, right, "moved", list(a.children), list(b.children))


def _removed(node: Blueprint, role: str, path: Path) -> Change:
    return Change((*path, role), None, "removed", node.children[role].name, None)


def _added(node: Blueprint, role: str, path: Path) -> Change:
    return Change(None, (*path, role), "added", None, node.children[role].name)


def _aligned(a: Blueprint, b: Blueprint, left: Path, right: Path) -> Iterator[Change]:
    if (a.kind, a.input_shape, a.output_shape) != (b.kind, b.input_shape, b.output_shape):
        yield Change(left, right, "replaced", a.name, b.name)
        return
    yield from (change for change in _own(a, b, left, right) if change.what not in _HIDDEN)
    rows, others = _rows(a), _rows(b)
    for row in dict.fromkeys([*rows, *others]):
        mine, theirs = rows.get(row, []), others.get(row, [])
        for i, j, k, m in _runs(a, b, mine, theirs):
            if j - i == m - k:
                for old, new in zip(mine[i:j], theirs[k:m], strict=True):
                    ends = (*left, old), (*right, new)
                    yield from _aligned(a.children[old], b.children[new], *ends)
                continue
            yield from (_removed(a, role, left) for role in mine[i:j])
            yield from (_added(b, role, right) for role in theirs[k:m])


def _rows(node: Blueprint) -> dict[str, list[str]]:
    """The children's roles by their stem: rows of blocks, and single ones."""
    rows: dict[str, list[str]] = {}
    for role in node.children:
        rows.setdefault(stem(role), []).append(role)
    return rows


def _runs(
    a: Blueprint, b: Blueprint, mine: list[str], theirs: list[str]
) -> Iterator[tuple[int, int, int, int]]:
    """Where two rows of children differ: from and to in the one, from and to in the other."""
    if len(mine) == len(theirs):  # nothing came or went, and equal neighbours must not slide
        yield 0, len(mine), 0, len(theirs)
        return
    first = [_content(a.children[role]) for role in mine]
    second = [_content(b.children[role]) for role in theirs]
    for what, *run in SequenceMatcher(None, first, second, autojunk=False).get_opcodes():
        if what != "equal":
            yield tuple(run)


def _content(node: Blueprint) -> tuple:
    """What a block is, without tags: equal for a block and its clone."""
    arguments = tuple(map(str, node.arguments.values()))
    below = tuple((role, _content(child)) for role, child in node.children.items())
    shape = (node.input_shape, node.output_shape)
    return node.kind, arguments, node.prefix, node.unique, node.freeze, shape, below


# Two blueprints side by side ----------------------------------------------------------------------

SIGNS = {"added": "+", "removed": "−", "replaced": "≠"}  # a block with all that is in it
LEGEND = "+ added   − removed   ≠ replaced   ~ changed"
SAME = "no difference but for tags: the two blueprints describe the same model"
SHOWN = 2  # levels of a block that was added, removed or replaced

# Every element bears its own style, which JupyterLab keeps of a notebook that it does not trust.
_LEFT = "text-align: left; vertical-align: top"
_TREE = (
    "margin: 0; background: none; text-align: left; white-space: pre; font-size: 12px; "
    "line-height: 1.35; font-family: DejaVu Sans Mono, Menlo, Consolas, monospace"
)
_SIGN = "color: #000; background-color: "
_SIGN_COLOURS = {"+": "#56B4E9", "−": "#E69F00", "≠": "#F0E442", "~": "#F0E442"}


@dataclass(frozen=True, repr=False)
class Comparison:
    """Two blueprints and their changes: in Jupyter and printed, two trees and a table."""

    before: Blueprint
    after: Blueprint
    changes: tuple[Change, ...]

    def table(self) -> pd.DataFrame:
        """A row for each change: place, what, before and after."""
        rows = [
            (where(change.path), change.what, _value(change.before), _value(change.after))
            for change in self.changes
        ]
        return pd.DataFrame(rows, columns=["place", "what", "before", "after"])

    def _repr_html_(self) -> str:
        if not self.changes:
            return f"<p>{SAME}</p>"
        cells = "".join(
            f'<td style="{_LEFT}"><pre style="{_TREE}">{_marked_html(branch)}</pre></td>'
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
    return SIGNS.get(change.what, "~")


def _sketch(
    node: Blueprint,
    marks: Mapping[Path, str],
    path: Path = (),
    above: str = "",
    levels: int = SHOWN,
) -> Branch:
    """The tree of the marked places and their parents, with the upper levels of what is new."""
    mark = marks.get(path, above)
    whole = mark if mark in SIGNS.values() else ""
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


def _marked_html(branch: Branch) -> str:
    return "\n".join(
        f'<span style="{_SIGN}{_SIGN_COLOURS[line[0]]}">{escape(line)}</span>'
        if line[0] in _SIGN_COLOURS
        else escape(line)
        for line in lines([branch])
    )


def _value(value: Any) -> str:
    if isinstance(value, tuple):
        return "×".join(map(str, value))
    if isinstance(value, list):
        return " ".join(value)
    return "" if value is None else str(value)


# How blueprints and populations display in Jupyter ------------------------------------------------


def _tree_html(blueprint: Blueprint) -> str:
    return tree(blueprint)._repr_html_()


def _population_png(population: Population) -> tuple[bytes, dict[str, float]]:
    from reuseprior.revolver import figures  # matplotlib is loaded where something is drawn

    return figures.sharing_map(population)._repr_png_()


Blueprint._repr_html_ = _tree_html
Population._repr_png_ = _population_png
