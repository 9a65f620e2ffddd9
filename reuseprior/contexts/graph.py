"""Explicit graphs: horizontal unrolling (thesis, algorithms 8 and 9) and counting without it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from graphlib import CycleError, TopologicalSorter

from reuseprior.contexts.errors import CountingError
from reuseprior.contexts.scaling import log2_integer
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
                if parameter is not None:
                    counts[parameter] += paths[name]
        return {p: counts[p] for p in self.parameters if counts[p]}

    def repetitions(self) -> dict[str, int]:
        """How often each parameter stands in the graph; of an unrolled graph, its contexts."""
        found = Counter(p for uses in self.nodes.values() for _, p in uses if p is not None)
        return {p: found[p] for p in self.parameters}

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
    duplicates: Counter[str] = Counter()

    def duplicate(name: str) -> str:
        duplicates[name] += 1
        return f"{name}#{duplicates[name]}"

    outputs = [(name, duplicate(name)) for name in graph.outputs]
    waiting = list(reversed(outputs))
    while waiting:
        name, copy = waiting.pop()
        if name not in graph.nodes:  # an input: its source is the root
            continue
        uses = unrolled[copy] = []
        sources = []
        for source, parameter in graph.nodes[name]:
            own = None if source is None else duplicate(source)
            uses.append((own, parameter))
            if source is not None:
                sources.append((source, own))
        waiting += reversed(sources)
    return Graph(unrolled, tuple(copy for _, copy in outputs))


def uniform(graph: Graph) -> Graph:
    """The unrolled graph with a parameter of its own in every place (thesis, definition 2).

    Every parameter has exactly one context.
    """
    unrolled = horizontal_unroll(graph)
    seen: Counter[str] = Counter()

    def own(parameter: str | None) -> str | None:
        if parameter is None:
            return None
        seen[parameter] += 1
        return f"{parameter}#{seen[parameter]}"

    nodes = {n: [(s, own(p)) for s, p in uses] for n, uses in unrolled.nodes.items()}
    return Graph(nodes, unrolled.outputs)


def _use(use: str | Iterable[str | None]) -> Use:
    if isinstance(use, str):
        return use, None
    source, parameter = use
    return source, parameter
