"""Unique or shared (thesis, §3.3.4, rules 3 to 6): flags, tags, and offspring.

`settle` is rule 4 put into force; every operator ends with it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from reuseprior.revolver.blueprints import kinds
from reuseprior.revolver.blueprints.blueprint import Blueprint, Path, Scope

ORIGINS = 8  # names kept: several operators may rename an offspring before it is built


@dataclass
class Tags:
    """A counter of tags, so that unique names are fresh and the same in every run.

    >>> tags = Tags()
    >>> tags.fresh(), tags.fresh(), tags.count
    ('1', '2', 2)
    """

    count: int = 0

    def fresh(self) -> str:
        """A tag that was not given before, in hexadecimal."""
        self.count += 1
        return f"{self.count:x}"


def settle(root: Blueprint, tags: Tags) -> None:
    """Make unique what must be (rule 4), and give a tag to the unique blocks that have none.

    A block is not frozen as a whole any more where a part of it is not, such as one that is new.
    """
    for _, node in _bottom_up(root):
        node.unique = node.unique or not can_be_shared(node)
        if node.unique and node.tag is None:
            node.tag = tags.fresh()
        node.freeze = node.freeze and all(child.freeze for child in node.children.values())


def can_be_shared(node: Blueprint) -> bool:
    """Whether a block is of a kind that can be shared and has no unique child."""
    return kinds.find(node.kind).shareable(node) and not any(
        child.unique for child in node.children.values()
    )


def make_unique(root: Blueprint, path: Path | str, tags: Tags) -> None:
    """Make the block at a place unique, and with it all its ancestors (rule 4).

    All unique names of the tree become fresh (rule 6), so that no original is touched; names of
    shared blocks stay.
    """
    scopes = root.scopes()
    for node in root.lineage(path):
        node.unique = True
    _retag(scopes, tags)


def make_common(root: Blueprint, path: Path | str) -> bool:
    """Revoke uniqueness below a place wherever that is possible (rule 5); whether any was.

    What cannot be shared stays unique, and so do the blocks around it and the place's ancestors.
    """
    changed = False
    for _, node in _bottom_up(root.at(path)):
        if node.unique and can_be_shared(node):
            node.unique, node.tag = False, None
            changed = True
    return changed


def refresh(root: Blueprint, tags: Tags) -> None:
    """Give every unique block of a tree a fresh tag, so that it is another's from here on.

    A block made anew is not frozen. `meta["origins"]` keeps the names whose place it takes, the
    latest first, for a registry that inherits weights.
    """
    _retag(root.scopes(), tags)


def clone(
    root: Blueprint, tags: Tags, rng: random.Random | None = None, *, unique: float = 0.0
) -> Blueprint:
    """Offspring: a copy that shares what is shared and owns what is unique.

    Each shared block with parameters of its own becomes unique with probability `unique`.
    """
    offspring = root.copy()
    scopes = offspring.scopes()
    if unique:
        scatter(offspring, unique, rng)
    _retag(scopes, tags)
    settle(offspring, tags)
    return offspring


def scatter(root: Blueprint, share: float, rng: random.Random) -> None:
    """Mark each shared block with parameters of its own as unique with a probability; no tags."""
    for _, node in root.walk():
        if not node.unique and kinds.find(node.kind).size(node) and rng.random() < share:
            node.unique = True
    for _, node in _bottom_up(root):
        node.unique = node.unique or not can_be_shared(node)


def _retag(scopes: list[Scope], tags: Tags) -> None:
    for _, node, name in scopes:
        if node.unique:
            node.tag = tags.fresh()
            node.freeze = False
            if kinds.find(node.kind).size(node):
                node.meta["origins"] = [name, *node.meta.get("origins", [])][:ORIGINS]


def _bottom_up(root: Blueprint) -> list[tuple[Path, Blueprint]]:
    return list(root.walk())[::-1]  # preorder reversed: children before their parents
