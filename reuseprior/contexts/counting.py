"""Count the contexts of a model's parameters: walk its trace backwards, one rule an operator."""

from __future__ import annotations

import hashlib
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from math import prod
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch.utils.flop_counter import flop_registry

from reuseprior.contexts.array import CountArray, ExactSum, ScaledSum
from reuseprior.contexts.rules import (
    RULES,
    Rule,
    is_pointwise,
    known,
    op_metadata,
    overloads,
    summing,
)
from reuseprior.contexts.rules.elementwise import pointwise
from reuseprior.contexts.spelled import Spelled, spelled_out
from reuseprior.contexts.trace import Discount, Node, Operator, Trace, key, one_step, stored
from reuseprior.contexts.tracer import uncollected
from reuseprior.errors import CountingError
from reuseprior.quantities import Quantities, derive

BatchNorm = Literal["learnable", "all"]
STATISTICS = ("running_mean", "running_var")
PARTLY = "never meets an output: not looked up, always on padding, sliced away or overwritten"
ROWS_SHOWN = 20  # of a table that may have hundreds; `table()` has them all


@dataclass(frozen=True)
class ParameterCount:
    """Contexts of one parameter tensor: the number of paths from its uses to the outputs.

    `log2_counts` has the tensor's number of axes, with length 1 where all counts along an axis
    are equal; -inf marks an entry that no output depends on. `counts` holds the same as Python
    integers when counting was exact. `uses` lists the modules that use the tensor.
    """

    names: tuple[str, ...]
    shape: tuple[int, ...]
    log2_counts: np.ndarray
    weight_nodes: int
    uses: tuple[str, ...]
    counts: np.ndarray | None = None

    @property
    def name(self) -> str:
        """The first of its names."""
        return self.names[0]

    @property
    def multiplicity(self) -> int:
        """How many entries each stored count stands for."""
        return prod(self.shape) // max(1, self.log2_counts.size)

    @cached_property
    def finite(self) -> np.ndarray:
        """The stored `log2_counts` of entries with a context, in a row."""
        return self.log2_counts[np.isfinite(self.log2_counts)]

    @property
    def parameters(self) -> int:
        """Entries with at least one context."""
        return self.finite.size * self.multiplicity

    @property
    def left_out(self) -> int:
        """Entries that no output depends on."""
        return prod(self.shape) - self.parameters


@dataclass(frozen=True)
class ContextCounts:
    """The contexts of every parameter of a model, and the sizes that the quantities need.

    Displays as a table in a notebook; `quantities()` derives the thesis's quantities.
    """

    parameter_counts: tuple[ParameterCount, ...]
    dead: tuple[tuple[str, int, str], ...]
    """(name, entries, reason) for tensors without any context."""
    input_nodes: int
    output_nodes: int
    are_expectations: bool = False
    """Whether counts may be below one, as those of experts that are chosen now and then."""
    one_step: tuple[tuple[str, str], ...] = ()
    """(how, module) of what was counted as one step though the model computes it in several: a
    norm or an activation that it spells out, or what the caller says is pointwise."""
    traced: TracedModel | None = field(default=None, repr=False, compare=False)
    """What was counted: `draw()` shows how its layers hang together."""

    def __copy__(self) -> ContextCounts:
        return replace(self)

    def __getstate__(self) -> dict[str, Any]:
        """What is pickled: all but the trace, whose operators belong to this process."""
        return {**vars(self), "traced": None}

    @property
    def left_out(self) -> tuple[tuple[str, int, str], ...]:
        """(name, entries, reason) for everything that no output depends on."""
        partly = [(p.name, p.left_out, PARTLY) for p in self.parameter_counts if p.left_out]
        return (*self.dead, *partly)

    @property
    def parameters(self) -> int:
        """N_G: parameters with at least one context."""
        return sum(p.parameters for p in self.parameter_counts)

    @property
    def weight_nodes(self) -> int:
        """W_G: every weight once for each layer that uses it."""
        return sum(p.weight_nodes for p in self.parameter_counts)

    @cached_property
    def log2_counts(self) -> np.ndarray:
        """Log2 of the counts, each stored once; `multiplicities` says for how many entries."""
        sys.audit("reuseprior.counts", self)  # for who asks which layers make a number
        return np.concatenate([p.finite for p in self.parameter_counts])

    @cached_property
    def multiplicities(self) -> np.ndarray:
        """For each of `log2_counts`, the number of parameters with that count."""
        counts = self.parameter_counts
        return np.repeat([p.multiplicity for p in counts], [p.finite.size for p in counts])

    def learnable(self) -> ContextCounts:
        """The same counts without running statistics, as `batch_norm="learnable"` gives them."""
        return replace(
            self,
            parameter_counts=tuple(p for p in self.parameter_counts if is_learnable(p.name)),
            dead=tuple(row for row in self.dead if is_learnable(row[0])),
        )

    def quantities(self) -> Quantities:
        """Expected spread, entropy, total surprisal and the performance estimates."""
        return derive(
            self.log2_counts,
            self.multiplicities,
            input_nodes=self.input_nodes,
            output_nodes=self.output_nodes,
            weight_nodes=self.weight_nodes,
            expectations=self.are_expectations,
        )

    def table(self):
        """A pandas DataFrame, one row a parameter tensor."""
        import pandas as pd

        rows = [
            {
                "parameter": " = ".join(p.names),
                "shape": "×".join(map(str, p.shape)),
                "parameters": p.parameters,
                "weight nodes": p.weight_nodes,
                "least log2 count": float(p.finite.min()),
                "greatest log2 count": float(p.finite.max()),
            }
            for p in self.parameter_counts
        ]
        return pd.DataFrame(rows)

    def plot(self):
        """Show where the model's contexts live, on three axes of a matplotlib figure.

        >>> count_contexts(nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2)), (1, 4)).plot()
        <Picture size ...>

        From the left: log2 contexts of each tensor's parameters in the order of the model, from
        the least to the greatest; the tensors' shares of the total surprisal; and how many
        parameters (their multiplicity) have so many contexts.
        """
        from reuseprior.contexts import show  # matplotlib is loaded where something is drawn

        return show.plot(self)

    def draw(self, *, limit: int = 24):
        """Draw the layers of the model, what feeds what, and their counts: a matplotlib figure.

        >>> count_contexts(nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2)), (1, 4)).draw()
        <Picture size ...>

        A row a layer, from the input down; a line on the left joins layers that do not follow one
        another, and a dotted one those that use the same tensor. A model of more than `limit` rows
        is folded by its modules. What has no parameters is drawn only where several layers meet.
        Raises CountingError for counts without the trace of a model, as `sharing.merge` gives
        them.
        """
        from reuseprior.contexts import show

        return show.draw(self, limit=limit)

    def _repr_html_(self) -> str:
        shown = self.table().to_html(index=False, float_format="%.3f", max_rows=ROWS_SHOWN)
        return shown + "".join(f"<p>{line}</p>" for line in self._notes())

    def _repr_pretty_(self, printer, cycle: bool) -> None:
        printer.text(str(self))

    def __str__(self) -> str:
        shown = self.table().to_string(index=False, float_format="%.3f", max_rows=ROWS_SHOWN)
        return "\n".join([shown, *self._notes()])

    def _notes(self) -> Iterator[str]:
        yield f"{len(self.parameter_counts)} tensors, {self.parameters:,} parameters with a context"
        for kind, times in Counter(kind for kind, _ in self.one_step).items():
            yield f"counted as one step each: {times} of the kind {kind}, see one_step"
        left_out = self.left_out
        for name, entries, why in left_out[:ROWS_SHOWN]:
            yield f"left out: {entries:,} of {name} ({why})"
        if len(left_out) > ROWS_SHOWN:
            yield f"left out: {len(left_out) - ROWS_SHOWN} more tensors, see left_out"


@dataclass(frozen=True)
class TracedModel:
    """A model's operators and named tensors: all that counting needs."""

    trace: Trace
    tensors: tuple[tuple[tuple[str, ...], torch.Tensor], ...]
    """(names, tensor) for parameters and running statistics."""

    def count(
        self,
        *,
        batch_norm: BatchNorm = "learnable",
        exact: bool = False,
        rules: Mapping[Callable, Rule] | None = None,
        discount: Discount | None = None,
        as_written: bool = False,
    ) -> ContextCounts:
        """Walk the trace backwards and collect the counts; arguments as in `count_contexts`.

        `discount` gives a factor for each operator, which a path is multiplied by when it passes
        through; its own parameters are used before that. Discounted counts need not be whole
        numbers, so they cannot be exact.
        """
        if batch_norm not in ("learnable", "all"):
            raise CountingError(
                f"batch_norm={batch_norm!r} is not a convention: choose 'learnable' (scale and "
                "shift) or 'all' (running mean and variance too)."
            )
        if exact and discount is not None:
            raise CountingError("Discounted counts are not whole numbers: leave exact=True out.")
        new = {o: function for packet, function in (rules or {}).items() for o in overloads(packet)}
        spelled = () if as_written or any(op_metadata(f).step for f in new) else self.spelled
        cuts = {pair for one in spelled for pair in one.cuts}
        accumulator = ExactSum if exact else ScaledSum
        with uncollected():
            counts, uses = walk(self.trace, {**RULES, **new}, accumulator, discount, cuts)
        counts_of, dead = [], []
        for names, tensor in self.tensors:
            if batch_norm == "learnable" and not is_learnable(names[0]):
                continue
            node = self.trace.node_of(tensor)
            why = "no operator uses it" if node is None else "no output depends on it"
            if node in counts:
                used = uses.get(node, ())
                logs, integers = counts[node].log2()
                entries, places = sum(n for _, n in used), tuple(where for where, _ in used)
                count = ParameterCount(names, tuple(tensor.shape), logs, entries, places, integers)
                if count.parameters:
                    counts_of.append(count)
                    continue
                why = PARTLY
            dead.append((names[0], tensor.numel(), why))
        steps = [("pointwise", o.where) for o in self.trace.operators if o.function is one_step]
        if not counts_of:
            raise CountingError(
                "No parameter of the model has a context: it has no parameters, or its outputs "
                "depend on none of them."
            )
        return ContextCounts(
            tuple(counts_of),
            tuple(dead),
            input_nodes=sum(prod(n.shape) for n in self.trace.inputs),
            output_nodes=sum(prod(n.shape) for n in self.trace.outputs),
            are_expectations=discount is None,
            one_step=(*steps, *((one.kind, one.where) for one in spelled)),
            traced=self,
        )

    @cached_property
    def spelled(self) -> tuple[Spelled, ...]:
        """Norms and activations that the model spells out."""
        return spelled_out(self.trace)


def is_learnable(name: str) -> bool:
    """Whether a tensor of this name is a parameter, not one of batch norm's running statistics."""
    return name.rpartition(".")[2] not in STATISTICS


def walk(
    trace: Trace,
    table,
    accumulator,
    discount: Discount | None,
    cuts: Collection[tuple[Operator, Node]] = (),
    weights: np.ndarray | None = None,
):
    """Counts of every node that depends on a parameter, and the uses of each parameter.

    `weights` are what an output's entry counts, by its place along the first axis; else one.
    """
    counts: dict[Node, Any] = {}
    uses: dict[Node, list[tuple[str, int]]] = {}
    for node in trace.outputs:
        one = CountArray.full(node.shape, 1, accumulator.dtype)
        if weights is not None:
            one = CountArray(weights.reshape(-1, *[1] * (len(node.shape) - 1)), node.shape)
        counts.setdefault(node, accumulator()).add(one)
    for operator in reversed(trace.operators):
        for index, result in enumerate(operator.results):
            total = counts.pop(result, None)
            if total is None or not result.has_parameters:
                continue
            function = _rule_for(operator, index, table)
            factor = 1 if discount is None else discount(operator)
            met: dict[Node, np.ndarray] = {}
            for count, exponent in total.terms():
                for node, part in _apply(function, operator, index, count):
                    if not node.has_parameters or (operator, node) in cuts:
                        continue
                    if node.is_view_of_parameter:
                        met[node] = met.get(node, False) | (part.values != 0)
                    elif factor != 1:
                        part = part * factor
                    counts.setdefault(node, accumulator()).add(part, exponent)
            passed_on = uses.pop(result, [])
            for node, entries in met.items():
                if result.is_view_of_parameter:  # no use yet, only another view
                    uses_here = passed_on
                    # A weight made of several tensors is used once: as one of the first's.
                    passed_on = [(where, 0) for where, _ in passed_on]
                else:
                    stands_for = prod(node.shape) // max(1, entries.size)
                    uses_here = [(operator.where, int(np.count_nonzero(entries)) * stands_for)]
                uses.setdefault(node, []).extend(uses_here)
    return counts, uses


def _rule_for(operator: Operator, index: int, table) -> Rule:
    function = known(table, operator.function)
    if function is None:
        return pointwise if is_pointwise(operator.function) else _sum_of(operator, index)
    if index and not getattr(function, "every_result", False):
        raise CountingError(
            f"Result {index} of operator {operator.function} (in {operator.place}) leads to an "
            "output, but its counting rule covers the first result only: register a rule with "
            "every_result=True."
        )
    return function


def _sum_of(operator: Operator, index: int) -> Rule:
    """The rule of an operator that has none of its own, but that only moves and adds up."""
    tried = ""
    try:
        if (function := summing(operator, index)) is not None:
            return function
    except CountingError as error:
        tried = f" Whether it only moves and adds up cannot be tried: {error}"
    raise CountingError(
        f"Operator {operator.function} (in {operator.place}) has no counting rule: register one "
        f"with @reuseprior.contexts.rule, or pass it as count_contexts(..., rules={{...}}).{tried}"
    )


def _apply(function: Rule, operator: Operator, index: int, count: CountArray) -> Iterator:
    which = (index,) if getattr(function, "every_result", False) else ()
    try:
        for node, part in function(count, *which, *operator.args, **operator.kwargs):
            yield node, part if part.shape == node.shape else part.broadcast_to(node.shape)
    except (CountingError, ValueError, IndexError, TypeError) as error:
        raise CountingError(
            f"{operator.function} in {operator.place} cannot be counted: {error}"
        ) from error


# What a trace comes down to: a name for its operators, and their cost ---------------------------


def fingerprint(traced: TracedModel) -> str | None:
    """A digest of everything that decides the model's counts, equal for equal traces.

    >>> len(fingerprint(trace_model(torchvision.models.resnet18(), (1, 3, 224, 224))))
    64

    It holds the operators with their arguments, constants' values, which tensors are parameters,
    and the counting code itself, so that counts kept under it are void once a rule changes.
    None where an operator or its rule is from outside, whose code it cannot hold.
    """
    digest = hashlib.sha256(_code())
    for line in _lines(traced):
        if line is None:
            return None
        digest.update(line.encode())
    return digest.hexdigest()


@cache
def _code() -> bytes:
    """The counting code, and the version of torch, whose operators it counts."""
    folder = Path(__file__).parent
    files = [*sorted(folder.rglob("*.py")), folder.parent / "quantities.py"]
    return b"".join([torch.__version__.encode(), *(file.read_bytes() for file in files)])


def multiply_adds(traced: TracedModel) -> int:
    """Multiply-adds of the traced forward pass, by the formulas of torch's flop counter.

    A multiply-add is one product and the addition that takes it up, two FLOPs; papers on image
    classifiers print multiply-adds under the name of FLOPs. Products that torch has no formula for
    (of matrices with vectors, distances) are as many as the connections that their rule counts.
    Other operators (norms, activations, sums, transforms, decompositions of matrices) cost nothing:
    EfficientNetV2 does one such operation per 70 to 100. Nor do weights that are made of stored
    values, which can be made beforehand.
    """
    total = 0
    for operator in traced.trace.operators:
        result = operator.results[0] if operator.results else None
        if result is None or result.is_view_of_parameter:
            continue
        formula = flop_registry.get(getattr(operator.function, "overloadpacket", None))
        if formula is not None:
            args = [a.shape if isinstance(a, Node) else a for a in operator.args]
            total += formula(*args, **operator.kwargs, out_val=result.shape) // 2
        elif (factor := op_metadata(operator.function).multiplies) is not None:
            one = CountArray.full(result.shape, 1, np.float64)
            for node, met in _apply(RULES[operator.function], operator, 0, one):
                if node is operator.args[factor]:
                    total += round(met.values.sum() * prod(node.shape) / max(1, met.values.size))
                    break
    return total


def _lines(traced: TracedModel) -> Iterator[str | None]:
    numbers: dict[Node, int] = {}

    def number(node: Node) -> str:
        if node in numbers:
            return f"#{numbers[node]}"
        numbers[node] = len(numbers)
        return f"#{numbers[node]}{node.shape}{_constant(node)}"

    def text(value: Any) -> str:
        return str(
            key(value, number, lambda other: _name(other) if callable(other) else repr(other))
        )

    yield text(traced.trace.inputs)
    for names, tensor in traced.tensors:
        node = traced.trace.node_of(tensor)
        yield f"{is_learnable(names[0])}{tuple(tensor.shape)}{node and text(node)}\n"
    for operator in traced.trace.operators:
        rule = RULES.get(operator.function)
        if rule is None:  # counted by its own derivative, which is torch's for torch's operators
            is_foreign = getattr(operator.function, "namespace", "") != "aten"
        else:
            is_foreign = not rule.__module__.startswith(f"{__package__}.rules.")
        if is_foreign:
            yield None
        arguments = text([operator.args, sorted(operator.kwargs.items()), operator.results])
        is_view = any(node.is_view_of_parameter for node in operator.results)
        yield f"{_name(operator.function)}{arguments}{is_view}\n"
    yield text(traced.trace.outputs)


def _constant(node: Node) -> str:
    """A digest of a constant's values, on which the rules for indices depend."""
    if node.tensor is None or node.has_parameters:
        return ""
    values = stored(node.tensor).clone(memory_format=torch.contiguous_format)
    values = values.cpu().reshape(-1).view(torch.uint8).numpy()
    return hashlib.sha256(np.ascontiguousarray(values)).hexdigest()


def _name(function: Callable) -> str:
    is_operator = isinstance(function, torch._ops.OpOverload)
    return str(function) if is_operator else f"{function.__module__}.{function.__qualname__}"
