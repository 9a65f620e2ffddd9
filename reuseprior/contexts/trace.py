"""What a trace consists of: nodes for tensors, the operators that made them, fixed entries."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import InitVar, dataclass, field
from functools import cache, cached_property
from numbers import Number
from typing import Any

import numpy as np
import torch

from reuseprior.contexts.array import CountArray
from reuseprior.errors import CountingError


@dataclass(slots=True, eq=False, repr=False)
class Node:
    """A tensor of the trace: its shape, and the operator that made it (None for a leaf)."""

    shape: tuple[int, ...]
    made_by: Operator | None = None
    index: int = 0  # which result of the operator
    tensor: torch.Tensor | None = None  # what a leaf stands for, if it has data
    has_parameters: bool = False  # whether it is or depends on a parameter
    # A parameter, reached from one by views alone, or a weight that a module makes of parameters
    # and that says of itself `makes_weights`.
    is_view_of_parameter: bool = False
    varies: bool = False  # whether it depends on a parameter or on a tensor without data
    lost: str = ""  # a buffer, or a tensor of integers, that it depends on and that has no values
    is_random: bool = False  # whether it depends on numbers drawn in the forward pass
    fixed: CountArray | None = None  # entries that constants decide, see below

    def __repr__(self) -> str:
        function = self.made_by.function if self.made_by else "leaf"
        return f"Node({'×'.join(map(str, self.shape)) or 'scalar'}, {function})"

    def data(self) -> torch.Tensor:
        """The tensor's values, where they follow from constants alone (index tables, masks).

        Raises `CountingError` when they depend on the model's input or its parameters.
        """
        if self.lost:
            raise CountingError(
                f"{self.lost} is on the meta device and has lost its values, which say how the "
                "model computes: build the model elsewhere, or with models.without_weights()"
            )
        if self.has_parameters:
            raise CountingError("its values depend on the model's parameters, not its structure")
        if self.tensor is not None:
            return self.tensor
        if self.made_by is None:
            raise CountingError("its values depend on the model's input, which has no data here")
        return one_of(self.made_by.replay(), self.index)


@dataclass(slots=True, eq=False)
class Operator:
    """One traced call: `function(*args, **kwargs)` with a Node for every tensor."""

    function: Callable
    args: tuple
    kwargs: dict[str, Any]
    where: str  # path of the module that called it, "" for the model itself
    shapes: InitVar[Sequence[tuple[int, ...]]]
    results: list[Node] = field(init=False)
    number: int = 0  # which operator of the trace it is
    same_as: Operator | None = None  # the first operator that makes the same constants
    _replayed: Any = field(init=False, default=None)

    def __post_init__(self, shapes: Sequence[tuple[int, ...]]) -> None:
        self.results = [Node(shape, self, index) for index, shape in enumerate(shapes)]
        inputs = list(self.nodes())
        has_parameters = any(node.has_parameters for node in inputs)
        varies = any(node.varies for node in inputs)
        is_random = _draws(self.function) or any(node.is_random for node in inputs)
        lost = next((node.lost for node in inputs if node.lost), "")
        for node in self.results:
            node.has_parameters, node.varies = has_parameters, varies
            node.is_random, node.lost = is_random, lost

    @property
    def name(self) -> str:
        """Without its library and overload: convolution, relu_."""
        return self.function.name().split("::")[1].split(".")[0]

    @property
    def place(self) -> str:
        """Where in the model it stands, in words."""
        return self.where or "the model's own forward"

    @property
    def uses_parameter(self) -> bool:
        """Whether a parameter goes in: as it is, through views of it, or as a weight made of it."""
        return any(node.is_view_of_parameter for node in self.nodes())

    @property
    def writes_to_parameter(self) -> bool:
        """Whether it puts other numbers in a parameter's place."""
        schema = getattr(self.function, "_schema", None)
        arguments = schema.arguments if schema else []
        values = dict(zip([a.name for a in arguments], self.args, strict=False)) | self.kwargs
        written = [values.get(a.name) for a in arguments if a.alias_info and a.alias_info.is_write]
        return any(isinstance(node, Node) and node.is_view_of_parameter for node in written)

    def nodes(self) -> Iterator[Node]:
        """The tensors that go in."""
        for value in (*self.args, *self.kwargs.values()):
            if isinstance(value, Node):
                yield value
            elif isinstance(value, (tuple, list)):
                yield from (v for v in value if isinstance(v, Node))

    def replay(self) -> Any:
        """Compute its results on the CPU from constant inputs, once."""
        if self.same_as not in (None, self):
            return self.same_as.replay()
        if self._replayed is None:
            args = map_nodes(self.args, lambda n: n.data().clone())
            kwargs = {k: map_nodes(v, lambda n: n.data().clone()) for k, v in self.kwargs.items()}
            if "device" in kwargs:
                kwargs["device"] = torch.device("cpu")
            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(self.number)  # always the same draws
                self._replayed = self.function(*args, **kwargs)
        return self._replayed


Discount = Callable[[Operator], float]
"""What an operator multiplies the paths by that pass through it."""


@dataclass(frozen=True)
class Trace:
    """The operators of one forward pass in order, with the leaves and outputs they join."""

    operators: list[Operator]
    inputs: list[Node]
    outputs: list[Node]
    leaves: dict[int, Node]  # id of a tensor that the model holds → its node

    def node_of(self, tensor: torch.Tensor) -> Node | None:
        """The leaf of a parameter or buffer, None when no operator used it."""
        return self.leaves.get(id(tensor))

    @cached_property
    def path(self) -> list:
        """What runs and what feeds what, whichever numbers it is given."""
        numbers: dict[Node, int] = {}

        def number(node: Node) -> tuple:
            return numbers.setdefault(node, len(numbers)), node.shape

        def text(value: Any) -> str:
            return "a number" if isinstance(value, float) else repr(value)

        return [
            (o.function, o.where, key([o.args, *o.kwargs.items(), o.results], number, text))
            for o in self.operators
        ]

    def fix(self, how) -> None:
        """Note at each operator's first result which of its entries are fixed (see below).

        `how` gives an operator's function from it to the values of its result, NaN for free
        entries, or None. Constants that are made alike are one, so that layers share their mask.
        """
        known: dict[tuple, Fixed | None] = {}
        constants: dict[tuple, Operator] = {}
        for operator in self.operators:
            result = operator.results[0] if operator.results else None
            if result is None or result.is_random:
                continue
            if not result.varies:
                arguments = key([operator.args, sorted(operator.kwargs.items())], _same)
                operator.same_as = constants.setdefault((operator.function, arguments), operator)
                continue
            if (function := how(operator.function)) is None:
                continue
            arguments = key([operator.args, sorted(operator.kwargs.items())], _known)
            look = (operator.function, arguments, result.shape)
            if look not in known:
                known[look] = _filled_up(function(operator), result.shape)
            result.fixed = known[look]

    def from_input(self) -> Iterator[Operator]:
        """The operators whose results depend on the model's input, in order."""
        reached = set(self.inputs)
        for operator in self.operators:
            if not reached.isdisjoint(operator.nodes()):
                reached.update(operator.results)
                yield operator


@cache
def _draws(function: Callable) -> bool:
    """Whether an operator draws random numbers."""
    return torch.Tag.nondeterministic_seeded in getattr(function, "tags", ())


def map_nodes(value: Any, change: Callable[[Node], Any]) -> Any:
    """An operator's argument, or a nest of them, with something else for each node."""
    if isinstance(value, Node):
        return change(value)
    if isinstance(value, (tuple, list)):
        return type(value)(map_nodes(v, change) for v in value)
    return value


def one_of(results: Any, index: int) -> Any:
    """Result `index` of an operator, whether it returns one or several."""
    return results[index] if isinstance(results, (tuple, list)) else results


def follow(path: tuple, tensor: torch.Tensor) -> torch.Tensor:
    """The part of a tensor that a path of views (function, args, kwargs, result) leads to."""
    for function, args, kwargs, index in path:
        tensor = one_of(function(tensor, *args, **kwargs), index)
    return tensor


def stored(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor's values, along an axis that holds one number alone only once."""
    return tensor[tuple(slice(1) if s == 0 else slice(None) for s in tensor.stride())]


def overwrite_view(base: torch.Tensor, value: torch.Tensor, path: tuple) -> torch.Tensor:
    """A copy of `base` in which the part that the views of `path` lead to holds `value`."""
    result = base.clone()
    follow(path, result).copy_(value)
    return result


def one_step(source: torch.Tensor, result: torch.Tensor) -> torch.Tensor:
    """What a module made of `source` in one step, as the caller says, whatever it computed."""
    return result


# Entries that constants decide -------------------------------------------------------------------
#
# `scores.masked_fill(later, -inf)`, `torch.where(earlier, scores, lowest)` and `scores + mask`
# with a mask of zeros and -inf are one function: an entry behind the mask is always the same, so
# what was there before meets no output. After a softmax these entries are zero, and their products
# carry nothing of the other factor either.
#
# Only what is certain is used: -inf and a type's lowest number win any sum, other large numbers
# do not; a mask drawn at random or without values (a shape, on the meta device) fixes nothing.

LOWEST = np.finfo(np.float32).min  # as every floating type's lowest number is kept here
NOTHING = np.full((), np.nan, np.float32)


def fixed(node: Node) -> Fixed | None:
    """A node's entries as far as they are fixed, NaN for the others; None where none is."""
    if node.varies or node.fixed is not None:
        return node.fixed
    if node.is_random:
        return None
    operator = node.made_by
    if operator is not None and operator.same_as not in (None, operator):
        return fixed(operator.same_as.results[node.index])
    try:
        node.fixed = _of_constant(node.data())
    except CountingError:  # of no known value
        return None
    return node.fixed


def entries(operand: Any) -> np.ndarray:
    """What is known of an operand, to be broadcast: NaN for free entries."""
    if isinstance(operand, Node):
        entries_of = fixed(operand)
        return NOTHING if entries_of is None else entries_of.values
    if isinstance(operand, Number) and not isinstance(operand, complex):
        return _limited(np.asarray(operand, np.float64))
    return NOTHING


def moved(operator: Operator) -> np.ndarray | None:
    """What becomes of fixed entries where an operator only moves them, as it is run on them."""
    if not any(map(fixed, operator.nodes())):
        return None
    args = map_nodes(operator.args, lambda n: torch.from_numpy(entries(n)).expand(n.shape))
    return stored(operator.function(*args, **operator.kwargs)).numpy()


class Fixed(CountArray):
    """Fixed entries, and where counts are kept because of them."""

    @cached_property
    def free_of_zeros(self) -> np.ndarray | None:
        """Where an entry is not always zero; None if that is everywhere."""
        return self._where(self.values != 0)

    @cached_property
    def is_mask(self) -> bool:
        """Whether there are zeros and one other number; zeros alone may be a first state."""
        others = self.values[self.values != 0]
        return others.size > 0 and bool((others == others[0]).all())

    @cached_property
    def beside_others(self) -> np.ndarray | None:
        """Where a sum with the entry depends on the other summand; None if that is everywhere."""
        return self._where(~(self.values <= LOWEST))

    @cached_property
    def not_chosen(self) -> np.ndarray | None:
        """Where a condition does not always hold; None if that is everywhere."""
        return self._where(np.isnan(self.values) | (self.values == 0))

    def _where(self, values: np.ndarray) -> np.ndarray | None:
        return None if values.all() else values


def kept(count: CountArray, operand: Any, where: str) -> CountArray:
    """The counts with zeros where an operand's fixed entries, asked by name, lose them."""
    fixed_entries = fixed(operand) if isinstance(operand, Node) else None
    mask = fixed_entries and getattr(fixed_entries, where)
    return count if mask is None else count.where(mask)


def certain(factor: Any) -> np.ndarray | None:
    """Where a factor is not certain to be zero; None if that is everywhere.

    A constant of zeros and one other number is a mask, of a graph's edges perhaps. In a table of
    several, such as a sine's, zeros are numbers like others.
    """
    fixed_entries = fixed(factor) if isinstance(factor, Node) else None
    if fixed_entries is None or not (factor.varies or fixed_entries.is_mask):
        return None
    return fixed_entries.free_of_zeros


def _of_constant(tensor: torch.Tensor) -> Fixed | None:
    if tensor.is_complex() or not tensor.numel():
        return None
    shape, tensor = tuple(tensor.shape), stored(tensor)
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
    operator = node.made_by
    repeats = operator is not None and operator.same_as
    return id(operator.same_as.results[node.index] if repeats else node)


def key(value: Any, of_node: Callable, of_other: Callable = repr) -> Any:
    """An argument, or a nest of them, as something that can be looked up."""
    if isinstance(value, Node):
        return of_node(value)
    if isinstance(value, (tuple, list)):
        return tuple(key(v, of_node, of_other) for v in value)
    return of_other(value)
