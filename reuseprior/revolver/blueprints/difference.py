"""What differs between two blueprints, place by place, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from reuseprior.revolver.blueprints.blueprint import Blueprint, Path


@dataclass(frozen=True)
class Difference:
    """One difference at a place: what it is, and the value on either side."""

    path: Path
    what: str  # added, removed, replaced, moved, or the name of what changed
    before: Any
    after: Any


def diff(a: Blueprint, b: Blueprint) -> list[Difference]:
    """What to change in `a` to get `b`; an empty list means that they are the same model.

    ```python
    a, b = blocks.conv((8, 4, 4), 8, 3), blocks.conv((8, 4, 4), 8, 5)
    diff(a, b)  # kernel_size 3 → 5 and padding 1 → 2, at the root
    ```

    `what` is `added`, `removed`, `replaced` (another kind: its children are not compared), `moved`
    (the children's order), the name of an argument, or one of `prefix`, `tag`, `unique`, `freeze`,
    `input_shape`, `output_shape`, `mutables`. Scores and history in `meta` are not compared.
    """
    return _diff(a, b, ())


_COMPARED = ("prefix", "tag", "unique", "freeze", "input_shape", "output_shape", "mutables")


def _diff(a: Blueprint, b: Blueprint, path: Path) -> list[Difference]:
    if a.kind != b.kind:
        return [Difference(path, "replaced", a.name, b.name)]
    found = [
        Difference(path, key, a.arguments[key], b.arguments[key])
        for key in a.arguments
        if a.arguments[key] != b.arguments[key]
    ]
    found += [
        Difference(path, key, getattr(a, key), getattr(b, key))
        for key in _COMPARED
        if getattr(a, key) != getattr(b, key)
    ]
    both = [role for role in a.children if role in b.children]
    if both != [role for role in b.children if role in a.children]:
        found.append(Difference(path, "moved", list(a.children), list(b.children)))
    for role in both:
        found += _diff(a.children[role], b.children[role], (*path, role))
    for role, child in a.children.items():
        if role not in b.children:
            found.append(Difference((*path, role), "removed", child.name, None))
    for role, child in b.children.items():
        if role not in a.children:
            found.append(Difference((*path, role), "added", None, child.name))
    return found
