"""What differs between two blueprints, as data: place by place, or with rows of blocks aligned."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from reuseprior.revolver.blueprints.blueprint import Blueprint, Path, stem

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


def diff(a: Blueprint, b: Blueprint) -> list[Change]:
    """What to change in `a` to get `b`; an empty list means that they are the same model.

    ```python
    a, b = blocks.conv((8, 4, 4), 8, 3), blocks.conv((8, 4, 4), 8, 5)
    diff(a, b)  # kernel_size 3 → 5 and padding 1 → 2, at the root
    ```

    `what` is `added`, `removed`, `replaced` (another kind: its children are not compared), `moved`
    (the children's order), the name of an argument, or one of `prefix`, `tag`, `unique`, `freeze`,
    `input_shape`, `output_shape`, `mutables`. Scores and history in `meta` are not compared.
    """
    return list(_exact(a, b, ()))


def changes(a: Blueprint, b: Blueprint) -> list[Change]:
    """What became of `a` in `b`, such as a parent in its offspring.

    Rows of blocks are aligned first, so that a block which comes into a row is one that came, and
    not a change of all that follow it. A block of other shapes was replaced; tags and mutables are
    not compared.
    """
    return list(_aligned(a, b, (), ()))


def _exact(a: Blueprint, b: Blueprint, path: Path) -> Iterator[Change]:
    if a.kind != b.kind:
        yield Change(path, path, "replaced", a.name, b.name)
        return
    yield from _own(a, b, path, path)
    for role, child in a.children.items():
        if role in b.children:
            yield from _exact(child, b.children[role], (*path, role))
    yield from (_removed(a, role, path) for role in a.children if role not in b.children)
    yield from (_added(b, role, path) for role in b.children if role not in a.children)


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
