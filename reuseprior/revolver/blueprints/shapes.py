"""Shapes of a blueprint without building it, and all that must hold before it is built."""

from __future__ import annotations

from typing import Any

from reuseprior.revolver.blueprints import domains, kinds
from reuseprior.revolver.blueprints.blueprint import DEEPEST, Blueprint, Path, stem, where
from reuseprior.revolver.blueprints.errors import BlueprintError, Misfit
from reuseprior.revolver.blueprints.kinds import Shape


def assemble(
    kind: str,
    x: Shape,
    children: dict[str, Blueprint] | None = None,
    *,
    mutables: dict[str, Any] | None = None,
    **arguments: Any,
) -> Blueprint:
    """A new blueprint of a kind for an input of shape `x`, with all arguments and shapes set.

    >>> assemble("linear", (64,), in_features=64, out_features=10).output_shape
    (10,)

    A mutable without any choice is left out. Uniqueness follows rule 4; `uniqueness.settle` gives
    the tags. Raises `BlueprintError`.
    """
    node = Blueprint(
        kind,
        arguments=kinds.complete(kind, arguments),
        children=children or {},
        mutables={
            key: domain if isinstance(domain, dict) else list(domain)
            for key, domain in (mutables or {}).items()
            if domain
        },
    )
    node.unique = not kinds.find(kind).shareable(node) or any(
        child.unique for child in node.children.values()
    )
    _flow(node, tuple(x), (), trust=True)  # the children were inferred when they were made
    return node


def infer(blueprint: Blueprint, x: Shape) -> Shape:
    """Set the input and output shapes of the whole tree for an input of shape `x`.

    Returns the output's shape; raises `BlueprintError`, naming the place, where shapes disagree.
    """
    return _flow(blueprint, tuple(x), (), trust=False)


def check(blueprint: Blueprint) -> None:
    """Raise `BlueprintError` for the first thing that keeps a blueprint from being built.

    That is: a tree that contains itself, or one block twice; an unknown block or argument; a
    mutable outside its domain; shapes that disagree, with each other or with those declared; a
    unique block without a tag or below one that is shared (rule 4); a prefix without "/".
    """
    _check_tree(blueprint, (), {}, ())
    for path, node in blueprint.walk():
        place = f"{node.kind!r} at {where(path)}"
        if node.arguments != kinds.complete(node.kind, node.arguments):
            raise BlueprintError(f"{place} lacks arguments: kinds.complete fills them in")
        if node.prefix and not node.prefix.endswith("/"):
            raise BlueprintError(f"{place} has the prefix {node.prefix!r}: end it with '/'")
        _check_domains(node, place)
        _check_uniqueness(node, place)
    _check_shapes(blueprint)


def _flow(node: Blueprint, x: Shape, path: Path, *, trust: bool) -> Shape:
    def flow(role: str, x: Shape) -> Shape:
        child = node.children.get(role)
        if child is None:
            raise Misfit(f"lacks its child {role!r}")
        if trust and child.input_shape == x and child.output_shape is not None:
            return child.output_shape
        return _flow(child, x, (*path, role), trust=trust)

    try:
        y = kinds.find(node.kind).infer(node, x, flow)
    except Misfit as error:
        raise BlueprintError(
            f"{node.kind!r} at {where(path)}, given the shape {x}, {error}"
        ) from None
    node.input_shape, node.output_shape = x, y
    return y


def _check_tree(node: Blueprint, path: Path, seen: dict[int, Path], above: tuple) -> None:
    if len(above) == DEEPEST:
        raise BlueprintError(
            f"the blueprint has more than {DEEPEST} levels, at {'/'.join(path[:3])}/…: build a "
            "flatter one"
        )
    if id(node) in above:
        raise BlueprintError(
            f"the blueprint contains itself: {where(path)} is {where(seen[id(node)])} again; "
            "put a copy there"
        )
    if id(node) in seen:
        raise BlueprintError(
            f"one blueprint stands at {where(seen[id(node)])} and at {where(path)}: put a copy in "
            "one place (equal names share their module all the same)"
        )
    seen[id(node)] = path
    for role, child in node.children.items():
        _check_tree(child, (*path, role), seen, (*above, id(node)))


def _check_domains(node: Blueprint, place: str) -> None:
    for key, domain in node.mutables.items():
        domains.verify(domain, f"the mutable {key!r} of {place}")
        values = {role: child.kind for role, child in node.children.items() if stem(role) == key}
        if key in node.arguments:
            values = {key: node.arguments[key]}
        for name, value in values.items():
            if not domains.contains(domain, value):
                raise BlueprintError(
                    f"{place} has {name} {value!r}, which is outside its domain {domain}: "
                    "choose a value of the domain or extend it"
                )


def _check_uniqueness(node: Blueprint, place: str) -> None:
    if node.unique != (node.tag is not None):
        raise BlueprintError(
            f"{place} is {'unique but has no' if node.unique else 'shared but has a'} tag: "
            "uniqueness.settle sets tags right"
        )
    if not node.unique and any(child.unique for child in node.children.values()):
        raise BlueprintError(
            f"{place} is shared but contains a unique block: uniqueness.settle makes it unique"
        )


def _check_shapes(blueprint: Blueprint) -> None:
    if blueprint.input_shape is None:
        raise BlueprintError(
            f"{blueprint.kind!r} has no input shape: shapes.infer(blueprint, (3, 32, 32)) sets all"
        )
    inferred = blueprint.copy()
    for _, node in inferred.walk():
        node.input_shape = node.output_shape = None
    infer(inferred, blueprint.input_shape)
    for (path, declared), (_, node) in zip(blueprint.walk(), inferred.walk(), strict=True):
        if node.output_shape is None:
            raise BlueprintError(
                f"{node.kind!r} at {where(path)} has no place in its parent: remove it or give it "
                "a role that the parent knows"
            )
        for side in ("input", "output"):
            said, is_ = (getattr(n, f"{side}_shape") for n in (declared, node))
            if said != is_:
                raise BlueprintError(
                    f"{node.kind!r} at {where(path)} declares the {side} shape {said}, but it is "
                    f"{is_}: shapes.infer sets all shapes"
                )
