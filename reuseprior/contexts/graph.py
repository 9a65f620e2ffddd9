"""Paths in explicit graphs (thesis, algorithms 8 and 9), and those of operators, discounted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from math import inf, isfinite, log2, prod
from numbers import Real

from reuseprior.contexts.array import log2_integer
from reuseprior.contexts.rules import RULES, op_metadata, summing
from reuseprior.contexts.trace import Discount, Node, Operator, overwrite_view
from reuseprior.errors import CountingError
from reuseprior.quantities import Quantities, derive

Use = tuple[str | None, str | None]
LARGEST_UNROLLED = 1_000_000


@dataclass(frozen=True)
class Graph:
    """A model as a directed acyclic graph with one node a scalar feature.

    `nodes` maps a node to its uses, pairs of (source node, parameter). A node that multiplies
    source h by parameter w has the use (h, w); without a parameter it is (h, None) or just h;
    a bias is (None, b). Names that only occur as sources are inputs. `outputs` defaults to the
    nodes that nothing reads.

    >>> g = Graph({"f": [("i1", "w1")], "O1": [("f", "w2")], "O2": [("f", "w3")]})
    >>> g.contexts()                                # w1 reaches both outputs
    {'w1': 2, 'w2': 1, 'w3': 1}

    Raises CountingError for a cycle, no node, or an output that is no node.
    """

    nodes: Mapping[str, tuple[Use, ...]]
    outputs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        nodes = {name: tuple(_use(u) for u in uses) for name, uses in self.nodes.items()}
        if not nodes:
            raise CountingError("The graph has no node: give at least one node and its uses.")
        read = {source for uses in nodes.values() for source, _ in uses}
        outputs = tuple(self.outputs) or tuple(n for n in nodes if n not in read)
        unknown = [n for n in outputs if n not in nodes]
        if unknown:
            raise CountingError(f"Output {unknown[0]!r} is not a node of the graph: add its uses.")
        object.__setattr__(self, "nodes", nodes)
        object.__setattr__(self, "outputs", outputs)
        self.order  # noqa: B018 (a cycle is an error at once)

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """Sources that are not computed in the graph, in order of appearance."""
        sources = dict.fromkeys(s for uses in self.nodes.values() for s, _ in uses)
        return tuple(s for s in sources if s is not None and s not in self.nodes)

    @cached_property
    def parameters(self) -> tuple[str, ...]:
        """Parameters in order of appearance."""
        used = dict.fromkeys(p for uses in self.nodes.values() for _, p in uses)
        return tuple(p for p in used if p is not None)

    @cached_property
    def order(self) -> tuple[str, ...]:
        """Inputs and nodes, sources first."""
        try:
            sources = {name: self.sources(name) for name in self.nodes}
            return tuple(TopologicalSorter(sources).static_order())
        except CycleError as error:
            cycle = " → ".join(error.args[1])
            raise CountingError(f"The graph has a cycle ({cycle}): unroll it in time.") from error

    def sources(self, name: str) -> list[str]:
        """What a node reads, once for each use; nothing for an input."""
        return [source for source, _ in self.nodes.get(name, ()) if source is not None]

    def paths(self) -> Counter[str]:
        """Number of paths from each input and node to the outputs, by reverse accumulation."""
        counts = Counter(self.outputs)
        for name in reversed(self.order):
            for source in self.sources(name) if counts[name] else ():
                counts[source] += counts[name]
        return counts

    def contexts(self) -> dict[str, int]:
        """Number of contexts of each parameter: paths to an output from each of its uses.

        Parameters that no output depends on are left out.
        """
        paths = self.paths()
        counts = Counter()
        for name, uses in self.nodes.items():
            for _, parameter in uses:
                counts[parameter] += paths[name]
        return {p: counts[p] for p in self.parameters if counts[p]}

    def repetitions(self) -> dict[str, int]:
        """How often each parameter stands in the graph; of an unrolled graph, its contexts."""
        times = Counter(p for uses in self.nodes.values() for _, p in uses)
        return {p: times[p] for p in self.parameters}

    def quantities(self, *, weight_nodes: int | None = None) -> Quantities:
        """The thesis's quantities of this graph; weight nodes default to its parameters."""
        return derive(
            [log2_integer(n) for n in self.contexts().values()],
            input_nodes=len(self.inputs),
            output_nodes=len(self.outputs),
            weight_nodes=weight_nodes,
        )


def horizontal_unroll(graph: Graph) -> Graph:
    """Duplicate nodes until each has a single reader (thesis, algorithms 8 and 9).

    Every path to an output gets nodes of its own, so counting repetitions of a parameter in the
    result counts its contexts. Duplicate k of node n is named `n#k`; parameters keep their
    names. The result grows exponentially with depth: CountingError beyond a million nodes.

    >>> g = Graph({"f": [("i1", "w1")], "O1": [("f", "w2")], "O2": [("f", "w3")]})
    >>> horizontal_unroll(g).repetitions() == g.contexts()
    True
    """
    size = sum(graph.paths().values())
    if size > LARGEST_UNROLLED:
        raise CountingError(
            f"The unrolled graph would have {size:.3g} nodes (more than {LARGEST_UNROLLED:,}): "
            "count without unrolling, with Graph.contexts()."
        )
    unrolled: dict[str, list[Use]] = {}
    duplicate = _numbering()
    outputs = [(name, duplicate(name)) for name in graph.outputs]
    waiting = list(reversed(outputs))
    while waiting:
        name, copy = waiting.pop()
        if (uses := graph.nodes.get(name)) is not None:  # else an input: its source is the root
            copies = [duplicate(source) for source, _ in uses]
            unrolled[copy] = [(twin, p) for twin, (_, p) in zip(copies, uses, strict=True)]
            waiting += [(s, twin) for (s, _), twin in zip(uses, copies, strict=True) if twin][::-1]
    return Graph(unrolled, tuple(copy for _, copy in outputs))


def uniform(graph: Graph) -> Graph:
    """The unrolled graph with a parameter of its own in every place (thesis, definition 2).

    Every parameter has exactly one context.
    """
    unrolled, number = horizontal_unroll(graph), _numbering()
    nodes = {n: [(s, number(p)) for s, p in uses] for n, uses in unrolled.nodes.items()}
    return Graph(nodes, unrolled.outputs)


def _numbering() -> Callable[[str | None], str | None]:
    """What numbers the copies of each name, f#1 and f#2; no name gets no number."""
    seen: Counter[str] = Counter()

    def numbered(name: str | None) -> str | None:
        seen[name] += 1
        return name and f"{name}#{seen[name]}"

    return numbered


def _use(use: str | Iterable[str | None]) -> Use:
    if isinstance(use, str):
        return use, None
    source, parameter = use
    return source, parameter


# Discounts: what a path is multiplied by when it passes an operator ------------------------------


def per_layer(gamma: float) -> Callable[[Operator], float]:
    """Every layer on the way multiplies a path by `gamma`.

    >>> trace_model(MLP(3, 4), (1, 3)).count(discount=per_layer(0.5))    # (3 · 0.5)^steps

    Raises CountingError unless `gamma` is a positive, finite number.
    """
    if not (isinstance(gamma, Real) and isfinite(gamma) and gamma > 0):
        raise CountingError(f"A discount of {gamma!r} a layer is no factor: choose one above 0.")
    return lambda operator: gamma if op_metadata(operator.function).layer else 1


def averages(power: float = 1.0, *, whole: bool = True) -> Callable[[Operator], float]:
    """An average of n positions multiplies a path by 1/n, its coefficient, to the power given.

    >>> traced.count(discount=averages())

    Averages are the linear maps whose coefficients nothing learns. `whole=False` leaves out those
    of all positions (global pooling). At the image's edge, where a window holds fewer positions,
    the coefficient of the whole window stands for theirs. Raises CountingError unless `power` is a
    finite number from 0 on.
    """
    if not (isinstance(power, Real) and isfinite(power) and power >= 0):
        raise CountingError(f"A power of {power!r} of a coefficient: choose one from 0 on.")

    def factor(operator: Operator) -> float:
        known = op_metadata(operator.function)
        is_average = known.window_average is not None or (whole and known.whole_average)
        return averaged_positions(operator) ** -power if is_average else 1

    return factor


def averaged_positions(operator: Operator) -> float:
    """How many positions each result of an average is the mean of, 1 for other operators.

    Adaptive windows differ by one position, and their mean counts. They hold one position where
    the result is no smaller than the source: a 1×1 map pooled to 7×7 is copied, not averaged.
    """
    known = op_metadata(operator.function)
    if known.window_average is not None:
        axes, kernel = known.window_average, operator.args[1]
        return prod(kernel) if len(kernel) == axes else kernel[0] ** axes
    if not known.whole_average:
        return 1
    source, result = operator.args[0].shape, operator.results[0].shape
    if len(source) != len(result):  # a mean that drops its axes
        return prod(source) / prod(result)
    return prod(_mean_window(n, r) for n, r in zip(source, result, strict=True))


def _mean_window(size: int, results: int) -> float:
    """Positions in one of the windows that `results` of an axis of `size` stand for, on average."""
    held = (-(-(r + 1) * size // results) - r * size // results for r in range(results))
    return size / results if size % results == 0 else sum(held) / results


def linear_paths(traced) -> Callable[[Operator], float]:
    """Keep only the paths along which the output is linear in the model's input.

    >>> traced.count(discount=linear_paths(traced))

    A product of two tensors that both depend on the input (a gate, attention's scores) is no
    linear map; one with a parameter is. What depends on no input (a reparametrised weight) is a
    constant, whatever made it. Raises CountingError for an operator that is not classified.
    """
    trace = traced.trace
    operators = list(trace.from_input())
    from_input = {*trace.inputs, *(result for o in operators for result in o.results)}
    nonlinear = {operator for operator in operators if not _is_linear(operator, from_input)}
    return lambda operator: 0 if operator in nonlinear else 1


def _is_linear(operator: Operator, from_input: set[Node]) -> bool:
    def depends(position: int) -> bool:
        return position < len(operator.args) and operator.args[position] in from_input

    known = op_metadata(operator.function)
    if known.factors is not None:
        return not all(map(depends, known.factors))
    if known.given is not None:
        return not depends(known.given)
    if known.statistics is not None:
        return isinstance(operator.args[known.statistics], Node)
    if known.linear is None and operator.function not in RULES and summing(operator, 0):
        return True
    if known.linear is None:
        raise CountingError(
            f"Nobody has said whether {operator.function} is linear: say so where its rule is "
            "registered, with @reuseprior.contexts.rule(..., linear=True) or linear=False."
        )
    return known.linear


def longest_path(traced) -> int:
    """The greatest number of layers that a path from a parameter's use to an output passes."""
    steps: dict[Node, int] = {}
    for operator in traced.trace.operators:
        reached = [steps[n] for n in operator.nodes() if n in steps]
        is_layer = op_metadata(operator.function).layer
        begins = [0] if operator.uses_parameter else []
        onwards = [s + is_layer for s in reached]
        for result in operator.results:
            if not result.is_view_of_parameter and (begins or onwards):
                steps[result] = max(begins + onwards)
    return max((steps.get(node, 0) for node in traced.trace.outputs), default=0)


# Paths of operators, and what fixed averages leave of what travels along them --------------------


@dataclass(frozen=True)
class OperatorPaths:
    """Paths from a model's input to its output, step by step through operators.

    An operator that joins several tensors (a sum, a product) has a path from each; the parts of a
    concatenation have one together, shared by size. All features of a tensor go the same way, so
    these are few paths, where a context is one of very many.
    """

    log2_paths: float
    """How many there are, -inf if the output depends on no input."""
    log2_kept: float
    """Log2 of the part that is kept of them, each average of n multiplying a path by 1/n."""
    layers: float
    """How many layers with weights (convolutions, matrix products) a path passes on average."""

    @property
    def blur(self) -> float:
        """Bits that averages take away per layer, infinite where no path arrives.

        An average of n positions lets one in n independent details through, and learns nothing.
        Layers make up for what they are given, so what matters is how much is averaged from one
        to the next, not how often that happens in a deep model. With ln n as the energy of an
        average, this is the paths' free energy per layer, in bits and against that of no averages.
        """
        if self.log2_paths == -inf:
            return inf
        return -self.log2_kept / max(self.layers, 1) + 0.0


def operator_paths(traced, discount: Discount | None = None) -> OperatorPaths:
    """Count the paths of a traced model's operators, with their averages and layers.

    >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.AvgPool2d(2), nn.Conv2d(8, 8, 3))
    >>> operator_paths(trace_model(net, (1, 3, 12, 12)))
    OperatorPaths(log2_paths=0.0, log2_kept=-2.0, layers=2.0)

    Outputs count together. A path through a gate (a product with what the input gave) counts
    beside the one it gates. `discount` gives each operator's factor; by default those of averages
    of windows, without averages of all positions: these leave the same of every model, a mean.
    """
    discount = discount or averages(whole=False)
    trace = traced.trace
    reached = {node: _Reached(0.0, 0.0, 0.0) for node in trace.inputs}
    for operator in trace.operators:
        if op_metadata(operator.function).sourceless:
            continue
        arriving = [(reached[n], part) for n, part in contributions(operator) if n in reached]
        if arriving:
            step = _joined(arriving).after(operator, discount(operator))
            reached.update(dict.fromkeys(operator.results, step))
    ends = [(reached[node], 1.0) for node in trace.outputs if node in reached]
    if not ends:
        return OperatorPaths(-inf, -inf, 0.0)
    whole = _joined(ends)
    return OperatorPaths(whole.paths, whole.kept - whole.paths, whole.layers)


@dataclass(frozen=True, slots=True)
class _Reached:
    """Paths from the input to a node: log2 of their number, of what is kept, mean layers."""

    paths: float
    kept: float
    layers: float

    def after(self, operator: Operator, factor: float) -> _Reached:
        learns = op_metadata(operator.function).layer and operator.uses_parameter
        return _Reached(self.paths, self.kept + log2(factor), self.layers + learns)


def _joined(arriving: list[tuple[_Reached, float]]) -> _Reached:
    if len(arriving) == 1 and arriving[0][1] == 1:
        return arriving[0][0]
    paths = _log2_sum(r.paths + log2(part) for r, part in arriving)
    kept = _log2_sum(r.kept + log2(part) for r, part in arriving)
    layers = sum(2 ** (r.paths + log2(part) - paths) * r.layers for r, part in arriving)
    return _Reached(paths, kept, layers)


def contributions(operator: Operator) -> list[tuple[Node, float]]:
    """The tensors that go in, with the part of the result that comes from each."""
    nodes = [node for node in operator.nodes() if prod(node.shape)]
    if op_metadata(operator.function).joins:
        total = sum(prod(node.shape) for node in nodes)
        return [(node, prod(node.shape) / total) for node in nodes]
    if operator.function is overwrite_view:
        base, value = operator.args[:2]
        written = prod(value.shape) / prod(base.shape)
        return [(base, 1 - written), (value, written)] if written < 1 else [(value, 1.0)]
    return [(node, 1.0) for node in nodes]


def _log2_sum(logs: Iterable[float]) -> float:
    logs = list(logs)
    top = max(logs)
    return top + log2(sum(2 ** (value - top) for value in logs))
