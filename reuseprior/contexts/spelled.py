"""Norms and activations that a model spells out, counted as the one step that they are.

`x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps)` is an RMS norm and `x * torch.sigmoid(x)`
a SiLU; as fused operators both are one step, position by position. Only what is certain is
recognised: a norm divides a tensor by the root of its own mean square, or of its own variance after
its own mean was taken off, with a constant added under the root; an activation multiplies a tensor
by a bounded function of the same tensor and numbers. What else reads the parts is counted as ever.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Number

from reuseprior.contexts.record import Node, Operator, Record
from reuseprior.contexts.rules import traits

MOST_STEPS = 16  # of an activation that is spelled out; GPT-2's GELU has eight


@dataclass(frozen=True)
class Spelled:
    """A norm or activation found in a record."""

    kind: str
    where: str  # the module that spells it out
    cuts: tuple[tuple[Operator, Node], ...]
    """Operators with the operand that is no source of their result: a statistic, a gate."""


def spelled_out(record: Record) -> tuple[Spelled, ...]:
    """Every norm and activation that the record spells out, in order."""
    readers: dict[Node, list[Operator]] = defaultdict(list)
    for operator in record.operators:
        for node in operator.nodes():
            readers[node].append(operator)
    for node in record.outputs:
        readers[node].append(None)
    found = (_found(operator, readers) for operator in record.operators)
    return tuple(one for one in found if one is not None)


def _found(operator: Operator, readers) -> Spelled | None:
    step = _step(operator)
    if step not in ("product", "quotient") or not operator.results[0].has_parameters:
        return None
    for x, other in _pairs(operator):
        if cuts := _norm(operator, x, other, readers):
            return Spelled("normalisation", operator.where, tuple(cuts))
        if step == "product" and _gates(x, other):
            return Spelled("activation", operator.where, ((operator, other),))
    return None


def _pairs(operator: Operator) -> Iterator[tuple[Node, Node]]:
    """Two tensors that are multiplied, in both orders, or divided."""
    a, b, *_ = (*operator.args, None, None)
    if isinstance(a, Node) and isinstance(b, Node) and a is not b:
        yield a, b
        if _step(operator) == "product":
            yield b, a


# Norms ------------------------------------------------------------------------------------------


def _norm(operator: Operator, x: Node, root: Node, readers) -> list[tuple[Operator, Node]]:
    """Where the paths through statistics are cut if `operator` ends a norm, else nothing."""
    under = _under(root, -0.5 if _step(operator) == "product" else 0.5)
    total = under and _made(under, "total")
    if not total:
        return []
    mean, rest = _tensor_and_number(total)
    if mean is None or not rest > 0 or len(mean.shape) != len(x.shape):
        return []
    x = _same(x)
    if x.is_view_of_parameter:  # a weight that is made, not a feature
        return []
    difference = x.made_by if _step(x.made_by) == "difference" else None
    cuts = [(operator, root)]
    if _made(mean, "variance"):
        source, squares = _same(_same(mean).made_by.args[0]), None
    else:
        average = _made(mean, "average")
        squares = average and _same(average.args[0]).made_by
        source = squares and _squared(squares)
    if source is None or mean.shape == x.shape:
        return []
    if source is x and squares is not None and difference is None:
        return cuts
    if difference is None or not isinstance(difference.args[1], Node):
        return []
    own, taken = difference.args[:2]
    average = _made(taken, "average")
    if not average or _same(average.args[0]) is not _same(own) or taken.shape != mean.shape:
        return cuts if source is x and squares is not None else []
    if source is not (x if squares is not None else _same(own)) and not _alike(source, x):
        return []
    if not _read_by(x, {operator, squares}, readers):
        return []  # the difference is looked at elsewhere: its mean is a source there
    return [*cuts, (difference, taken)]


def _under(node: Node, power: float) -> Node | None:
    """What a tensor is the root of, or the inverse root, whichever way it is written."""
    maker = _same(node).made_by
    if _step(maker) == ("square root" if power > 0 else "inverse root"):
        return maker.args[0]
    is_power = _step(maker) == "power" and maker.args[1:] == (power,)
    return maker.args[0] if is_power else None


def _alike(a: Node, b: Node) -> bool:
    """Whether both are the same difference, taken twice."""
    makers = a.made_by, b.made_by
    if any(_step(maker) != "difference" for maker in makers):
        return False
    pairs = zip(*(maker.args[:2] for maker in makers), strict=True)
    return all(
        isinstance(p, Node) and isinstance(q, Node) and _same(p) is _same(q) for p, q in pairs
    )


def _squared(operator: Operator) -> Node | None:
    """What an operator squares, if it does."""
    if _step(operator) == "power":
        base, exponent = (*operator.args, 2)[:2]
        return _same(base) if isinstance(base, Node) and exponent == 2 else None
    if _step(operator) == "product":
        a, b = operator.args[:2]
        is_square = isinstance(a, Node) and isinstance(b, Node) and _same(a) is _same(b)
        return _same(a) if is_square else None
    return None


def _read_by(node: Node, allowed: set, readers) -> bool:
    """Whether nothing but these operators reads the tensor or copies of it."""
    for reader in readers[node]:
        if reader in allowed:
            continue
        if reader is None or _step(reader) != "same":
            return False
        if not all(_read_by(result, allowed, readers) for result in reader.results):
            return False
    return True


# Activations ------------------------------------------------------------------------------------


def _gates(x: Node, gate: Node) -> bool:
    """Whether `gate` is a bounded function of x itself and numbers."""
    x = _scaled(x)
    if x.is_view_of_parameter or not x.has_parameters or gate.shape != x.shape:
        return False
    bound = _bounded(gate)
    if bound is None or list(bound.nodes()) != [bound.args[0]]:
        return False
    if len(bound.args) == 2 or None in bound.args:  # clamped on one side alone, as a ramp is
        return False
    return _is_of(bound.args[0], x, [MOST_STEPS])


def _scaled(node: Node) -> Node:
    """The tensor that others were made of by copying it and by numbers as factors."""
    node = _same(node)
    while _step(node.made_by) in ("product", "quotient"):
        inner, _ = _tensor_and_number(node.made_by)
        if inner is None:
            return node
        node = _same(inner)
    return node


def _bounded(node: Node) -> Operator | None:
    """The bounded function that a gate is, but for numbers that are added or multiplied."""
    node = _same(node)
    while _step(node.made_by) in ("product", "quotient", "total"):
        inner, _ = _tensor_and_number(node.made_by)
        if inner is None:
            return None
        node = _same(inner)
    return node.made_by if _step(node.made_by) == "gate" else None


def _is_of(node: Node, x: Node, left: list[int]) -> bool:
    """Whether a tensor is made of x and numbers alone, element by element."""
    node = _same(node)
    if node is x:
        return True
    left[0] -= 1
    known = ("product", "quotient", "total", "difference", "power", "gate")
    if left[0] < 0 or node.shape != x.shape or _step(node.made_by) not in known:
        return False
    tensors = list(node.made_by.nodes())
    return bool(tensors) and all(_is_of(tensor, x, left) for tensor in tensors)


# Parts ------------------------------------------------------------------------------------------


def _step(operator: Operator | None) -> str | None:
    return traits(operator.function).step if operator is not None else None


def _same(node: Node) -> Node:
    """The tensor that others are copies of, in another type perhaps."""
    while _step(node.made_by) == "same":
        node = node.made_by.args[0]
    return node


def _made(node: Node, step: str) -> Operator | None:
    """The operator that makes a tensor, if it takes that step."""
    node = _same(node)
    return node.made_by if _step(node.made_by) == step else None


def _tensor_and_number(operator: Operator) -> tuple[Node | None, float]:
    """The tensor and the number that an operator joins; no tensor where it joins two or none."""
    a, b, *_ = (*operator.args, None, None)
    if isinstance(a, Number) and isinstance(b, Node):
        a, b = b, a
    if isinstance(a, Node) and isinstance(b, Node) and not b.varies and not b.shape:
        b = float(b.data())
    is_pair = isinstance(a, Node) and isinstance(b, Number)
    return (a, float(b)) if is_pair else (None, 0.0)
