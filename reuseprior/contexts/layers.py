"""A recorded model as a graph of its layers, folded by module where there are many."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from reuseprior.contexts.record import Node, Operator, Record
from reuseprior.contexts.rules import traits

JOINS = {"total": "+", "product": "×", "difference": "−", "quotient": "÷"}  # by the step taken
NAMED = 2  # tensors at most, of the model itself, that a row names


@dataclass
class Layer:
    """A module at work once, or a place where several meet."""

    name: str  # of the module, or what joins
    sources: tuple[int, ...]  # positions of the layers that feed it; -1 is the input
    tensors: tuple[str, ...] = ()  # parameters that it uses, by the first of their names


@dataclass
class _Visit:
    """Operators that one module, or the model itself, runs one after another."""

    path: str
    sources: set[int] = field(default_factory=set)
    tensors: dict[str, None] = field(default_factory=dict)  # in the order of their use
    operators: list[Operator] = field(default_factory=list)


def layer_graph(record: Record, names: Mapping[Node, str], *, limit: int) -> tuple[Layer, ...]:
    """The layers in the order in which they run, at most `limit` of them if folding allows it.

    `names` are those of the parameters. Modules are folded to the deepest level of the model that
    has few enough; what uses no parameter and has one source belongs to that source.
    """
    operators = list(record.from_input())
    depth = max((o.where.count(".") + 1 for o in operators), default=1)
    for level in range(depth, 0, -1):
        layers = tuple(_contracted(_visits(record, operators, names, level)))
        if len(layers) <= limit:
            break
    return layers


def _visits(
    record: Record, operators: list[Operator], names: Mapping[Node, str], level: int
) -> list[_Visit]:
    visits: list[_Visit] = []
    made_in = dict.fromkeys(record.inputs, -1)
    for operator in operators:
        path = ".".join(operator.where.split(".")[:level])
        if not visits or visits[-1].path != path:
            visits.append(_Visit(path))
        here, visit = len(visits) - 1, visits[-1]
        visit.operators.append(operator)
        for node in operator.nodes():
            if node in made_in:
                visit.sources.add(made_in[node])
            else:
                visit.tensors.update(dict.fromkeys(_parameters(node, names)))
        made_in.update(dict.fromkeys(operator.results, here))
    for here, visit in enumerate(visits):
        visit.sources.discard(here)
    return visits


def _parameters(node: Node, names: Mapping[Node, str]) -> Iterator[str]:
    """Parameters that a weight is a view of, or is made of."""
    if node in names:
        yield names[node]
    elif node.has_parameters and node.made_by is not None:
        for source in node.made_by.nodes():
            yield from _parameters(source, names)


def _contracted(visits: list[_Visit]) -> Iterator[Layer]:
    """The visits that use parameters or join, those in between taken together with their source."""
    stands_for, count = {-1: -1}, 0
    for here, visit in enumerate(visits):
        sources = sorted({stands_for[source] for source in visit.sources})
        if not visit.tensors and len(sources) == 1:
            stands_for[here] = sources[0]
            continue
        name = visit.path
        if not visit.tensors:  # what joins; in the model's own forward it has no other name
            name = f"{visit.path} {_joint(visit.operators)}".strip()
        if not name:  # a tensor of the model itself, such as a class token
            name = ", ".join(visit.tensors) if len(visit.tensors) <= NAMED else "the model"
        yield Layer(name, tuple(sources), tuple(visit.tensors))
        stands_for[here], count = count, count + 1


def _joint(operators: list[Operator]) -> str:
    """How operators bring layers together: the first of `JOINS`, or the first operator's name."""
    steps = (traits(operator.function).step for operator in operators)
    return next((JOINS[step] for step in steps if step in JOINS), operators[0].name.strip("_"))
