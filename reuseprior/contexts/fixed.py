"""Entries that constants decide, whatever the input and the parameters are: what masks overwrite.

`scores.masked_fill(later, -inf)`, `torch.where(earlier, scores, lowest)` and `scores + mask` with
a mask of zeros and -inf are one function: an entry behind the mask is always the same, so what was
there before meets no output. After a softmax these entries are zero, and their products carry
nothing of the other factor either.

Only what is certain is used: -inf and a type's lowest number win any sum, other large numbers do
not; a mask drawn at random or without values (given as a shape, on the meta device) fixes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from numbers import Number
from typing import Any

import numpy as np
import torch

from reuseprior.contexts.array import CountArray, Mask
from reuseprior.contexts.errors import CountingError
from reuseprior.contexts.record import Node, Operator, map_nodes

LOWEST = np.finfo(np.float32).min  # as every floating type's lowest number is kept here
NOTHING = np.full((), np.nan, np.float32)


def fix(operators: Iterable[Operator], how) -> None:
    """Note at each operator's first result which of its entries are fixed, sources first.

    `how` gives an operator's function from it to the values of its result, NaN for free entries,
    or None. Constants that are made alike are one, so that layers share their mask.
    """
    made: dict[tuple, Fixed | None] = {}
    constants: dict[tuple, Operator] = {}
    for operator in operators:
        result = operator.results[0] if operator.results else None
        if result is None or result.is_random:
            continue
        if not result.varies:
            arguments = _key([operator.args, sorted(operator.kwargs.items())], _same)
            operator.same_as = constants.setdefault((operator.function, arguments), operator)
            continue
        function = how(operator.function)
        if function is None:
            continue
        arguments = _key([operator.args, sorted(operator.kwargs.items())], _known)
        key = (operator.function, arguments, result.shape)
        if key not in made:
            made[key] = _filled_up(function(operator), result.shape)
        result.fixed = made[key]


def fixed(node: Node) -> Fixed | None:
    """A node's entries as far as they are fixed, NaN for the others; None where none is."""
    if node.varies or node.fixed is not None:
        return node.fixed
    if node.is_random:
        return None
    maker = node.made_by
    if maker is not None and maker.same_as not in (None, maker):
        return fixed(maker.same_as.results[node.index])
    try:
        node.fixed = _of_constant(node.data())
    except CountingError:  # of no known value
        return None
    return node.fixed


def entries(operand: Any) -> np.ndarray:
    """What is known of an operand, to be broadcast: NaN for free entries."""
    if isinstance(operand, Node):
        found = fixed(operand)
        return NOTHING if found is None else found.values
    if isinstance(operand, Number) and not isinstance(operand, complex):
        return _limited(np.asarray(operand, np.float64))
    return NOTHING


class Fixed(CountArray):
    """Fixed entries, and where counts are kept because of them."""

    @cached_property
    def free_of_zeros(self) -> Mask | None:
        """Where an entry is not always zero; None if that is everywhere."""
        return self._where(self.values != 0)

    @cached_property
    def beside_others(self) -> Mask | None:
        """Where a sum with the entry depends on the other summand; None if that is everywhere."""
        return self._where(~(self.values <= LOWEST))

    @cached_property
    def not_chosen(self) -> Mask | None:
        """Where a condition does not always hold; None if that is everywhere."""
        return self._where(np.isnan(self.values) | (self.values == 0))

    def _where(self, values: np.ndarray) -> Mask | None:
        return None if values.all() else Mask(values, self.shape)


def kept(count: CountArray, operand: Any, where: str) -> CountArray:
    """The counts with zeros where an operand's fixed entries, asked by name, lose them."""
    found = fixed(operand) if isinstance(operand, Node) else None
    mask = found and getattr(found, where)
    return count if mask is None else count.where(mask)


def _of_constant(tensor: torch.Tensor) -> Fixed | None:
    if tensor.is_complex() or not tensor.numel():
        return None
    shape = tuple(tensor.shape)
    for axis, stride in enumerate(tensor.stride()):
        if stride == 0:
            tensor = tensor.narrow(axis, 0, 1)
    if tensor.dtype is torch.float16:
        lowest = tensor == torch.finfo(tensor.dtype).min
        tensor = tensor.float().masked_fill(lowest, float(LOWEST))
    exact = tensor.double() if tensor.dtype is torch.float64 else tensor.float()
    return Fixed(_limited(exact.detach().cpu().numpy()), shape)


def _limited(values: np.ndarray) -> np.ndarray:
    """As float32: the lowest numbers of bfloat16 and of doubles are the lowest of float32."""
    if values.dtype == np.float64:
        finite = np.clip(values, LOWEST, -LOWEST)
        values = np.where(np.isinf(values), values, finite).astype(np.float32)
    bfloat16 = np.float32(torch.finfo(torch.bfloat16).min)
    if (values == bfloat16).any():
        values = np.where(values == bfloat16, LOWEST, values)
    return values


def _filled_up(values: np.ndarray | None, shape: tuple[int, ...]) -> Fixed | None:
    if values is None or np.isnan(values).all():
        return None
    return Fixed(values.reshape((1,) * (len(shape) - values.ndim) + values.shape), shape)


def _known(node: Node) -> tuple:
    return node.shape, id(fixed(node)) if fixed(node) is not None else None


def _same(node: Node) -> int:
    maker = node.made_by
    first = maker.same_as.results[node.index] if maker is not None and maker.same_as else node
    return id(first)


def _key(value: Any, of_node) -> Any:
    """An argument, or a nest of them, as something that can be looked up."""
    if isinstance(value, Node):
        return of_node(value)
    if isinstance(value, (tuple, list)):
        return tuple(_key(v, of_node) for v in value)
    return repr(map_nodes(value, of_node))
