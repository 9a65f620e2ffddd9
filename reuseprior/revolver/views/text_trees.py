"""Trees as lines of text, with columns beside them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple

from reuseprior.revolver.blueprints.blueprint import Blueprint
from reuseprior.revolver.blueprints.kinds import Shape


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
