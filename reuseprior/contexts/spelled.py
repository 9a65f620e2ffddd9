"""Norms and activations that a model spells out, counted as the one step that they are.

`x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps)` is an RMS norm and `x * torch.sigmoid(x)`
a SiLU; as fused operators both are one step, position by position. Only what is certain is
recognised: a norm divides a tensor by the root of its own mean square, or of its own variance after
its own mean was taken off, with a constant added under the root; an activation multiplies a tensor
by a bounded function of the same tensor and numbers. What else reads the parts is counted as ever.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import permutations
from numbers import Number
from typing import Any

from reuseprior.contexts.rules import op_metadata
from reuseprior.contexts.trace import Node, Operator, Trace

MOST_STEPS = 16  # of an activation that is spelled out; GPT-2's GELU has eight


@dataclass(frozen=True)
class Spelled:
    """A norm or activation found in a trace."""

    kind: str
    where: str  # the module that spells it out
    cuts: tuple[tuple[Operator, Node], ...]
    """Operators with the operand that is no source of their result: a statistic, a gate."""


def spelled_out(trace: Trace) -> tuple[Spelled, ...]:
    """Every norm and activation that the trace spells out, in order."""
    readers: dict[Node, list[Operator]] = defaultdict(list)
    for operator in trace.operators:
        for node in operator.nodes():
            readers[node].append(operator)
    for node in trace.outputs:
        readers[node].append(None)
    candidates = (_found(operator, readers) for operator in trace.operators)
    return tuple(one for one in candidates if one is not None)


def _found(operator: Operator, readers) -> Spelled | None:
    if _step(operator) not in ("product", "quotient") or not operator.results[0].has_parameters:
        return None
    if cuts := _norm(operator, readers):
        return Spelled("normalisation", operator.where, cuts)
    for x, gate in permutations(operator.args[:2]) if _step(operator) == "product" else ():
        if isinstance(x, Node) and isinstance(gate, Node) and x is not gate and _gates(x, gate):
            return Spelled("activation", operator.where, ((operator, gate),))
    return None


# Norms ------------------------------------------------------------------------------------------
#
# A pattern is a step with the patterns of its operands, a name for a tensor that is the same
# wherever the name stands, or a number. A list holds other ways to write one thing, and ("as name",
# pattern) keeps the operand itself. Operands of products and sums come in either order.


def _square(x):
    return [("power", x, 2), ("product", x, x)]


def _normed(x, statistic):
    """x divided by the root of a statistic and a small number."""
    total = ("total", statistic, "a number")
    inverse = [("inverse root", total), ("power", total, -0.5)]
    root = [("square root", total), ("power", total, 0.5)]
    x = ("as x", x)
    return [("product", x, ("as root", inverse)), ("quotient", x, ("as root", root))]


CENTRED = ("difference", "source", ("as mean", ("average", "source")))
OF_CENTRED = [
    ("average", ("as square", _square(CENTRED))),
    *(("variance", x) for x in ("source", CENTRED)),
]
NORMS = (_normed(CENTRED, OF_CENTRED), _normed("x", ("average", _square("x"))))


def _norm(operator: Operator, readers) -> tuple[tuple[Operator, Node], ...]:
    """Where the paths through statistics are cut if `operator` ends a norm, else nothing."""
    for pattern in NORMS:
        bound: dict[str, Any] = {}
        if not _fits(operator.results[0], pattern, bound):
            continue
        x, root, statistic = _same(bound["as x"]), bound["as root"], bound["statistic"]
        if x.is_view_of_parameter or len(statistic) != len(x.shape) or statistic == x.shape:
            return ()  # a weight that is made, not a feature; or a statistic of nothing
        if (mean := bound.get("as mean")) is None:
            return ((operator, root),)
        square = bound.get("as square")
        if not _read_by(x, {operator, square and _same(square).made_by}, readers):
            return ()  # the difference is looked at elsewhere: its mean is a source there
        return (operator, root), (x.made_by, mean)
    return ()


def _fits(value: Any, pattern: Any, bound: dict[str, Any]) -> bool:
    """Whether a pattern fits what went into an operator; its names are entered in `bound`."""
    if isinstance(pattern, list):
        return any(_fits(value, one, bound) for one in pattern)
    if pattern == "a number" or isinstance(pattern, Number):
        number = _number(value)
        return number is not None and (number > 0 if pattern == "a number" else number == pattern)
    if not isinstance(value, Node):
        return False
    node = _same(value)
    if isinstance(pattern, str):
        return bound.setdefault(pattern, node) is node
    step, *parts = pattern
    if step.startswith("as "):
        bound.setdefault(step, value)
        return _fits(value, parts[0], bound)
    if _step(node.made_by) != step:
        return False
    if step in ("average", "variance") and bound.setdefault("statistic", node.shape) != node.shape:
        return False
    operands = (*node.made_by.args, 2)[: len(parts)]  # a square is a power without its exponent
    for order in (operands, operands[::-1])[: 1 + (step in ("product", "total"))]:
        trial = dict(bound)
        if all(_fits(o, p, trial) for o, p in zip(order, parts, strict=True)):
            bound |= trial
            return True
    return False


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
    x = _without_numbers(x, ("product", "quotient"))
    if x.is_view_of_parameter or not x.has_parameters or gate.shape != x.shape:
        return False
    bound = _without_numbers(gate, ("product", "quotient", "total")).made_by
    if _step(bound) != "gate" or list(bound.nodes()) != [bound.args[0]]:
        return False
    if len(bound.args) == 2 or None in bound.args:  # clamped on one side alone, as a ramp is
        return False
    return _is_of(bound.args[0], x, [MOST_STEPS])


def _without_numbers(node: Node, steps: tuple[str, ...]) -> Node:
    """The tensor that others were made of by copying it and by such steps with numbers."""
    node = _same(node)
    while _step(node.made_by) in steps and (inner := _beside_a_number(node.made_by)):
        node = _same(inner)
    return node


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
    return op_metadata(operator.function).step if operator is not None else None


def _same(node: Node) -> Node:
    """The tensor that others are copies of, in another type perhaps."""
    while _step(node.made_by) == "same":
        node = node.made_by.args[0]
    return node


def _number(value: Any) -> float | None:
    """A number, or what a constant without axes holds."""
    if isinstance(value, Node) and not (value.varies or value.is_random or value.shape):
        return float(value.data())
    return float(value) if isinstance(value, Number) else None


def _beside_a_number(operator: Operator) -> Node | None:
    """The tensor that an operator joins with a number, if it does."""
    a, b, *_ = (*operator.args, None, None)
    if isinstance(a, Number):
        a, b = b, a
    return a if isinstance(a, Node) and _number(b) is not None else None
