"""The registry: for every operator its counting rule and its traits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from reuseprior.contexts.array import CountArray
from reuseprior.contexts.record import Node, Operator

aten = torch.ops.aten

Contribution = tuple[Node, CountArray]
Rule = Callable[..., Iterator[Contribution]]


@dataclass(frozen=True, kw_only=True)
class Traits:
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
    groups: int | None = None
    """Of a convolution: in how many groups channels meet."""
    window_average: int | None = None
    """Averages windows of so many axes, of the size that argument 1 gives."""
    whole_average: bool = False
    """Averages all positions, or equal parts of them."""
    normalises: bool = False
    """Gives its result a mean of zero and a variance of one, but for a learned scale and shift."""
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
    """Which entries of its first result constants decide, and how (contexts.fixed)."""
    meta: Callable[[torch.Tensor], torch.Tensor | tuple[torch.Tensor, ...]] | None = None
    """Its results' shapes without computing: torch's own meta version takes up to 1 ms."""


RULES: dict[Callable | str, Rule] = {}
TRAITS: dict[Callable | str, Traits] = {}
_NOTHING_SAID = Traits()


def rule(*operators, every_result: bool = False, **traits) -> Callable[[Rule], Rule]:
    """Register a counting rule for operators such as `torch.ops.aten.mm.default`.

    A packet of overloads (`torch.ops.aten.add`) stands for all of them, and a text such as
    "torchvision::roi_align" for an operator of a library that need not be imported. With
    `every_result` the rule serves all results of an operator that has several, and is told which
    one as its second argument; otherwise only the first result may lead to an output. `traits` are
    those of `Traits`:
    `@rule(aten.roll, linear=True, moves=True)`. Raises ValueError when an operator has a rule
    already.
    """
    said = Traits(**traits)

    def register(function: Rule) -> Rule:
        function.every_result = every_result
        for overload in overloads(*operators):
            if overload in RULES:
                raise ValueError(
                    f"{overload} has a counting rule already; to use another one for a single "
                    "count, pass it as count_contexts(..., rules={...})."
                )
            RULES[overload] = function
            TRAITS[overload] = said
        return function

    return register


def traits(function: Callable) -> Traits:
    """What is known of an operator; nothing of one that has no rule.

    >>> traits(torch.ops.aten.roll.default).moves
    True
    """
    return known(TRAITS, function) or _NOTHING_SAID


def known(table: Mapping[Callable | str, Any], function: Callable) -> Any:
    """What a table says of an operator, entered as it is or by its name; None for nothing."""
    found = table.get(function)
    if found is None and isinstance(function, torch._ops.OpOverload):
        found = table.get(function.name())
    return found


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
