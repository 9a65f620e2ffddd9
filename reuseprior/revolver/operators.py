"""Hierarchical mutation, crossover and copyover (thesis, §3.5.5, Algorithms 4 to 7).

Operators change the blueprints they are given, so give them offspring (`clone`). Each
returns True exactly if something changed. Shapes of the pieces exchanged are equal, so a model
stays a model; where a mutation's value would change a shape it is refused.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from reuseprior.revolver import blueprints
from reuseprior.revolver.blueprints import (
    Blueprint,
    BlueprintError,
    Path,
    Shape,
    Tags,
    infer,
    make_common,
    make_unique,
    refresh,
    scatter,
    settle,
    stem,
)
from reuseprior.revolver.space import Rates, Sampler, Space

_RATES = Rates()


def mutate(
    genotype: Blueprint, space: Space, tags: Tags, rng: random.Random, rates: Rates = _RATES
) -> bool:
    """Change one mutable of a blueprint, at any depth (Algorithms 4 to 6).

    The way down leads through every child with a mutable below it, so that each has a chance, as
    §3.5.5.3 says. The changed block's state before is appended to `meta["mutation_history"]` of
    what stands there now (C.5). May end where nothing can change, as printed: call it again.
    """
    node, path = genotype, ()
    while keys := _keys(node):
        key = rng.choice(keys)
        if node.domain(key) is not None and rng.random() <= rates.mutation:  # Algorithm 6
            if key in node.children:
                changed, path = _replace(node, key, space, rng), (*path, key)
            else:
                changed = _readjust(node, key, rng)
            if rng.random() < rates.toggle:
                changed |= _toggle(genotype, path, tags, rng, rates)
            if changed:
                settle(genotype, tags)
            return changed
        if key not in node.children:
            return False
        node, path = node.children[key], (*path, key)  # Algorithm 5
    return False


def crossover(
    a: Blueprint, b: Blueprint, tags: Tags, rng: random.Random, rates: Rates = _RATES
) -> bool:
    """Swap a piece of `a` with a piece of `b` of the same input and output shapes (Algorithm 7).

    The nodes of the pair stay the same altogether; names of shared pieces, and so their weights,
    go with them.
    """
    met = _meet(a, b, rng, rates.crossover, mutual=True)
    if met is None:
        return False
    (mine, left), (theirs, right) = met
    first, second = _piece(mine, left), _piece(theirs, right)
    _put(mine, left, second)
    _put(theirs, right, first)
    settle(a, tags)
    settle(b, tags)
    return True


def copyover(
    donor: Blueprint,
    receiver: Blueprint,
    tags: Tags,
    rng: random.Random,
    rates: Rates = _RATES,
) -> bool:
    """Overwrite a piece of the receiver with a copy of a piece of the donor, of the same shapes.

    The donor stays as it is; what is unique in the copy becomes the receiver's own.
    """
    met = _meet(receiver, donor, rng, rates.crossover, mutual=False)
    if met is None:
        return False
    (mine, left), (theirs, right) = met
    copies = [node.copy() for node in _piece(theirs, right)]
    for copy in copies:
        refresh(copy, tags)
    _put(mine, left, copies)
    settle(receiver, tags)
    return True


def _keys(node: Blueprint) -> list[str]:
    """What a mutation can choose at a node: its mutables, and children with some below."""
    keys = [key for key in node.arguments if key in node.mutables]
    for role, child in node.children.items():
        if node.domain(role) is not None or any(n.mutables for _, n in child.walk()):
            keys.append(role)
    return keys


def _replace(node: Blueprint, role: str, space: Space, rng: random.Random) -> bool:
    """Put a block of another kind into a slot; refused where none of that kind fits."""
    old = node.children[role]
    kind = blueprints.draw(node.domain(role), rng, old.kind)
    if kind is None:
        return False
    new = Sampler(space, rng).fill(kind, old.input_shape, old.output_shape)
    if new is None:
        return False
    if old.prefix:
        new.rescope(old.prefix)
    scatter(new, space.unique, rng)
    new.meta["mutation_history"] = _history(old)
    node.children[role] = new
    return True


def _readjust(node: Blueprint, key: str, rng: random.Random) -> bool:
    """Set an argument to another value; refused where a shape would change."""
    value = blueprints.draw(node.domain(key), rng, node.arguments[key])
    if value is None:
        return False
    trial = node.copy()
    blueprints.find(node.kind).adjust(trial.arguments, key, value)
    try:
        if infer(trial, node.input_shape) != node.output_shape:
            return False
    except BlueprintError:
        return False
    node.meta["mutation_history"] = _history(node)
    node.arguments = trial.arguments
    return True


def _toggle(genotype: Blueprint, path: Path, tags: Tags, rng: random.Random, rates: Rates) -> bool:
    if genotype.at(path).unique:
        return make_common(genotype, path)
    if rng.random() >= rates.unique:
        return False
    make_unique(genotype, path, tags)
    return True


def _history(old: Blueprint) -> list[dict[str, Any]]:
    state = old.to_data()
    earlier = state.pop("meta").get("mutation_history", [])
    return [*earlier, state]


Roles = tuple[str, ...]  # neighbouring children
Piece = tuple[Blueprint, Roles]  # with their parent


def _meet(
    a: Blueprint, b: Blueprint, rng: random.Random, p: float, *, mutual: bool
) -> tuple[Piece, Piece] | None:
    """Where two blueprints exchange: at this level with probability p, else further down."""
    if {id(node) for _, node in a.walk()} & {id(node) for _, node in b.walk()}:
        raise BlueprintError("the two blueprints share nodes: give operators clones")
    while True:
        if rng.random() < p and (pairs := _pairs(a, b, mutual=mutual)):
            left, right = rng.choice(pairs)
            return (a, left), (b, right)
        if rng.random() >= p or not (a.children or b.children):
            return None
        a, b = (rng.choice([node, *_choice(node, rng)]) for node in (a, b))


def _choice(node: Blueprint, rng: random.Random) -> list[Blueprint]:
    return [rng.choice(list(node.children.values()))] if node.children else []


def _pieces(node: Blueprint) -> Iterator[tuple[tuple[Shape, Shape], Roles]]:
    """The exchangeable pieces of one node: each child, and each row of chained children."""
    chain = blueprints.find(node.kind).chain
    chained = [role for role in node.children if stem(role) == chain]
    for role, child in node.children.items():
        if role not in chained:
            yield (child.input_shape, child.output_shape), (role,)
    for start in range(len(chained)):
        for end in range(start, len(chained)):
            first, last = node.children[chained[start]], node.children[chained[end]]
            yield (first.input_shape, last.output_shape), tuple(chained[start : end + 1])


def _pairs(a: Blueprint, b: Blueprint, *, mutual: bool) -> list[tuple[Roles, Roles]]:
    """Pieces of two nodes with equal shapes that may stand in each other's place."""
    offered: dict[tuple[Shape, Shape], list[Roles]] = {}
    for shapes, roles in _pieces(b):
        offered.setdefault(shapes, []).append(roles)
    return [
        (left, right)
        for shapes, left in _pieces(a)
        for right in offered.get(shapes, ())
        if _exchangeable(a, left, b, right, mutual=mutual)
    ]


def _exchangeable(a: Blueprint, left: Roles, b: Blueprint, right: Roles, *, mutual: bool) -> bool:
    """Whether two pieces differ and each may stand where the other does."""
    first, second = _piece(a, left), _piece(b, right)
    if len(first) == len(second) and all(map(_is_same, first, second)):
        return False
    return _welcome(a, left, second) and (not mutual or _welcome(b, right, first))


def _is_same(a: Blueprint, b: Blueprint) -> bool:
    """Whether two blocks of equal shapes have one name, found without making it."""
    return (
        (a.kind, a.prefix, a.tag, a.arguments) == (b.kind, b.prefix, b.tag, b.arguments)
        and list(a.children) == list(b.children)
        and all(map(_is_same, a.children.values(), b.children.values()))
    )


def _welcome(parent: Blueprint, roles: Roles, nodes: list[Blueprint]) -> bool:
    """Whether nodes may stand at the roles: in their domain, or else of the kind there now."""
    chained = stem(roles[0]) == blueprints.find(parent.kind).chain
    if len(nodes) > 1 and not chained:
        return False
    domain = parent.domain(roles[0]) or [parent.children[role].kind for role in roles]
    return all(blueprints.contains(domain, node.kind) for node in nodes)


def _piece(parent: Blueprint, roles: Roles) -> list[Blueprint]:
    return [parent.children[role] for role in roles]


def _put(parent: Blueprint, roles: Roles, nodes: list[Blueprint]) -> None:
    """Put nodes in the place of the children at the roles, and number the row anew."""
    if len(roles) == len(nodes):
        parent.children.update(zip(roles, nodes, strict=True))
        return
    row = stem(roles[0])
    children: dict[str, Blueprint] = {}
    chained = 0
    for role, child in parent.children.items():
        if role == roles[0]:
            added = nodes
        elif role in roles:
            added = []
        else:
            added = [child]
        for node in added:
            if stem(role) == row:
                role = f"{row}{chained}"
                chained += 1
            children[role] = node
    parent.children = children
