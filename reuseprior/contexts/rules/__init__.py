"""One counting rule an operator: how the contexts of a result reach what went in.

A rule is the adjoint of "which inputs does each result depend on". It is given the counts of
a result and the operator's own arguments, with a `Node` (it has a `.shape`) for every tensor,
and yields `(node, counts)` for each tensor that the result depends on. Its counts may be
smaller than the node's shape; they are then broadcast.

    >>> @rule(torch.ops.mylib.scale_shift.default)  # doctest: +SKIP
    ... def scale_shift(count, x, w, b):
    ...     yield x, count
    ...     yield w, count.sum(0, 2, 3).reshape(w.shape)
    ...     yield b, count.sum(0, 2, 3).reshape(b.shape)

Rules are linear in the counts, so the same rule serves scaled floats and exact integers.
An operator that torch tags as pointwise, or that only moves entries or adds them up (`summing`),
needs none.
A rule given to `count_contexts(..., rules={...})` is used instead of the registered one.
What else is known of an operator stands beside its rule, as its `OpMetadata`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import torch

from reuseprior.contexts.array import CountArray
from reuseprior.contexts.trace import Node, Operator, map_nodes, one_of

aten = torch.ops.aten

Contribution = tuple[Node, CountArray]
Rule = Callable[..., Iterator[Contribution]]


@dataclass(frozen=True, kw_only=True)
class OpMetadata:
    """What others than the counting walk ask about an operator; numbers are positions of arguments.

    Linear means linear, or a constant more, in the tensors that depend on the model's input, at
    inference: dropout is the identity, and a comparison passes nothing on that could be followed.
    One of `linear`, `factors`, `given` and `statistics` says whether an operator is.
    """

    linear: bool | None = None
    """Always or never, whichever of its arguments depend on the input."""
    factors: tuple[int, int] | None = None
    """Of a product: linear unless both depend on the input."""
    given: int | None = None
    """A divisor, a weight, a condition: linear unless this argument depends on the input."""
    statistics: int | None = None
    """Running statistics: linear with them; without, as in instance norm, it takes the input's."""
    layer: bool = False
    """A step of a path, a convolution or matrix product; its `factors` are input and weight."""
    multiplies: int | None = None
    """Of a product without a formula of its cost: it is as much as this factor's connections."""
    groups: int | None = None
    """Of a convolution: in how many groups channels meet."""
    window_average: int | None = None
    """Averages windows of so many axes, of the size that argument 1 gives."""
    whole_average: bool = False
    """Averages all positions, or equal parts of them."""
    normalises: bool = False
    """Gives its result a mean of zero and a variance of one, but for a learned scale and shift."""
    adds: bool = False
    """Adds up entries, each with the factor one: torch's derivative is its rule (`derived`)."""
    moves: bool = False
    """Moves entries without computing: run on their numbers, it says which came from where."""
    of_memory: bool = False
    """Finds entries by where they lie in memory, which has to be in order."""
    joins: bool = False
    """Puts the tensors of a list side by side, so that each makes a part of the result."""
    sourceless: bool = False
    """Its results carry no value of what went in."""
    of_shapes: bool = False
    """Its results follow from shapes and numbers alone, as a tensor of ones like another does."""
    masks: int | None = None
    """Indices in which a boolean mask stands for the positions that it keeps."""
    chooses: int | None = None
    """Integers that choose entries, rows of a table perhaps, of the first argument."""
    reads: int | None = None
    """Integers that torch itself reads to know what to do, as the lengths of sequences."""
    step: str | None = None
    """What it does in a norm or an activation that is spelled out (contexts.spelled)."""
    fixed: Callable[[Operator], np.ndarray | None] | None = None
    """Which entries of its first result constants decide, and how (contexts.trace)."""
    meta: Callable[[torch.Tensor], torch.Tensor | tuple[torch.Tensor, ...]] | None = None
    """Its results' shapes without computing: torch's own meta version takes up to 1 ms."""


RULES: dict[Callable | str, Rule] = {}
OP_METADATA: dict[Callable | str, OpMetadata] = {}
_NOTHING_SAID = OpMetadata()
_POINTWISE = OpMetadata(linear=False)


def rule(*operators, every_result: bool = False, **op_metadata) -> Callable[[Rule], Rule]:
    """Register a counting rule for operators such as `torch.ops.aten.mm.default`.

    A packet of overloads (`torch.ops.aten.add`) stands for all of them, and a text such as
    "torchvision::roi_align" for an operator of a library that need not be imported. With
    `every_result` the rule serves all results of an operator that has several, and is told which
    one as its second argument; otherwise only the first result may lead to an output. `op_metadata`
    are those of `OpMetadata`:
    `@rule(aten.roll, linear=True, moves=True)`. Raises ValueError when an operator has a rule
    already.
    """
    said = OpMetadata(**op_metadata)

    def register(function: Rule) -> Rule:
        function.every_result = every_result
        for overload in overloads(*operators):
            if overload in RULES:
                raise ValueError(
                    f"{overload} has a counting rule already; to use another one for a single "
                    "count, pass it as count_contexts(..., rules={...})."
                )
            RULES[overload] = function
            OP_METADATA[overload] = said
        return function

    return register


def no_rule(*operators, **op_metadata) -> None:
    """Say what is known of operators that need no rule of their own."""
    OP_METADATA.update(dict.fromkeys(overloads(*operators), OpMetadata(**op_metadata)))


def op_metadata(function: Callable) -> OpMetadata:
    """What is known of an operator: little of one that has no rule, as torch's tag says it.

    >>> op_metadata(torch.ops.aten.roll.default).moves
    True
    """
    return known(OP_METADATA, function) or (_POINTWISE if is_pointwise(function) else _NOTHING_SAID)


def is_pointwise(function: Callable) -> bool:
    """Whether torch itself says that an operator computes element by element."""
    return torch.Tag.pointwise in getattr(function, "tags", ())


def known(table: Mapping[Callable | str, Any], function: Callable) -> Any:
    """What a table says of an operator, entered as it is or by its name; None for nothing."""
    entry = table.get(function)
    if entry is None and isinstance(function, torch._ops.OpOverload):
        entry = table.get(function.name())
    return entry


def overloads(*operators) -> Iterator[Callable]:
    """Each operator, a packet as all its overloads."""
    for operator in operators:
        if isinstance(operator, torch._ops.OpOverloadPacket):
            yield from (getattr(operator, name) for name in operator.overloads())
        else:
            yield operator


def named(names: str) -> Iterator[Callable]:
    """Operators by name with their in-place variants; names that this torch lacks are left out."""
    for name in names.split():
        yield from (getattr(aten, n) for n in (name, f"{name}_") if hasattr(aten, n))


# Operators without a rule, that only move entries and add them up --------------------------------
#
# Where a result is a sum of some of the entries that go in, each with the factor one, the contexts
# travel back as gradients do. So `scatter_add`, `index_put`, `tril` and what else does nothing but
# that need no rule by hand: torch's autograd is theirs, once an operator has been seen to be such a
# sum on a stand-in of the same shapes.

SAMPLED = 48  # entries whose own factors are looked at; of fewer, all
LIMB = 26  # bits of an integer that go back at a time: sums of 2^27 of them are exact in float64


def summing(operator: Operator, index: int) -> Rule | None:
    """The rule of an operator without one, where its result `index` is a sum of what goes in.

    None where it is not, or where torch has no derivative of it or it draws random numbers. Raises
    `CountingError` where that cannot be tried, as positions in it depend on data or are lost.
    """
    tags = getattr(operator.function, "tags", ())
    if torch.Tag.nondeterministic_seeded in tags or "out" in operator.kwargs:
        return None

    def result(*args, **kwargs) -> torch.Tensor:
        return one_of(operator.function(*args, **kwargs), index)

    if not op_metadata(operator.function).adds:
        sources, run = _stood_in(result, operator.args, operator.kwargs)
        try:
            if not _is_sum(run, [node.shape for node in sources]):
                return None
        except (RuntimeError, TypeError, IndexError, ValueError):
            for node in sources:
                node.has_parameters or node.data()  # says why it stands for no number
            return None  # whatever an operator says to stand-ins, it is then no sum that is known
    return lambda count, *args, **kwargs: derived(result, count, *args, **kwargs)


def derived(function: Callable, count: CountArray, *args, **kwargs) -> Iterator[Contribution]:
    """Counts of what goes into a sum of entries, as its gradients go back."""
    sources, run = _stood_in(function, args, kwargs)
    yield from zip(sources, _backwards(run, sources, count), strict=True)


def _stood_in(function: Callable, args, kwargs) -> tuple[list[Node], Callable]:
    """The nodes that are no constants, each as often as it comes, and a function of them alone."""
    sources: list[Node] = []
    constants: dict[Node, torch.Tensor] = {}

    def enter(node: Node) -> None:
        if node.varies:
            sources.append(node)
        else:
            tensor = node.data()
            constants[node] = tensor.double() if tensor.is_floating_point() else tensor

    map_nodes((args, tuple(kwargs.values())), enter)

    def run(*tensors: torch.Tensor) -> torch.Tensor:
        left = iter(tensors)

        def tensor(node: Node) -> torch.Tensor:
            return (next(left) if node.varies else constants[node]).clone()

        args_, values = map_nodes((args, tuple(kwargs.values())), tensor)
        return function(*args_, **dict(zip(kwargs, values, strict=True)))

    return sources, run


def _is_sum(run: Callable, shapes: list[tuple[int, ...]]) -> bool:
    """Whether the function adds up entries with the factor one, exactly, but for a constant."""
    random = torch.Generator().manual_seed(0)

    def drawn() -> list[torch.Tensor]:
        return [torch.randint(1, 1000, s, generator=random).double() for s in shapes]

    zeros = [torch.zeros(s, dtype=torch.float64) for s in shapes]
    rest = run(*zeros)
    if not rest.is_floating_point() or not rest.isfinite().all():
        return False
    x, y = drawn(), drawn()
    both = run(*(2 * a - 3 * b for a, b in zip(x, y, strict=True))) - rest
    if not torch.equal(both, 2 * (run(*x) - rest) - 3 * (run(*y) - rest)):
        return False
    for which, shape in enumerate(shapes):
        size = prod(shape)
        chosen = torch.randperm(size, generator=random)[:SAMPLED]
        for position in chosen.tolist():
            one = [z.clone() for z in zeros]
            one[which].view(-1)[position] = 1
            if not _ones(run(*one) - rest):
                return False
    results = torch.randperm(rest.numel(), generator=random)[:SAMPLED]
    for position in results.tolist():
        weights = torch.zeros_like(rest)
        weights.view(-1)[position] = 1
        if not all(map(_ones, _gradients(run, shapes, weights))):
            return False
    return True


def _ones(values: torch.Tensor) -> bool:
    return bool(((values == 0) | (values == 1)).all())


def _gradients(run: Callable, shapes, weights: torch.Tensor) -> list[torch.Tensor]:
    with torch.enable_grad():
        x = [torch.zeros(s, dtype=torch.float64, requires_grad=True) for s in shapes]
        return list(torch.autograd.grad(run(*x), x, weights, materialize_grads=True))


def _backwards(run: Callable, sources: list[Node], count: CountArray) -> list[CountArray]:
    """Counts of the sources: integers of any size go back in pieces that float64 holds."""
    values = np.broadcast_to(count.values, count.shape)
    shapes = [node.shape for node in sources]
    if values.dtype != object:
        gradients = [g.numpy() for g in _gradients(run, shapes, torch.from_numpy(values.copy()))]
    else:
        gradients = [np.zeros(s, object) for s in shapes]
        shift = 0
        while values.any():
            limb = np.array(values & ((1 << LIMB) - 1), np.float64)
            for i, g in enumerate(_gradients(run, shapes, torch.from_numpy(limb))):
                gradients[i] = gradients[i] + np.array(g.long().tolist(), object) * (1 << shift)
            values, shift = np.asarray(values >> LIMB, object), shift + LIMB
    return [CountArray(v, s).compressed() for v, s in zip(gradients, shapes, strict=True)]
