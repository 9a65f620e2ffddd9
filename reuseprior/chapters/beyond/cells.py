"""NAS-Bench-201 cell by cell: records put together from four recorded ones.

All 15,625 networks consist of the same few pieces. Their operators are recorded once, and the
record of a network is its pieces in order, equal to what recording the network gives, operator by
operator (a test compares fingerprints). Most of the time of a small network goes into recording.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from reuseprior.contexts import RecordedModel, record_model
from reuseprior.contexts.record import Node, Operator, Record
from reuseprior.errors import UserError
from reuseprior.measures.measuring import Conventions, Measured, measure, measured
from reuseprior.models import nas_bench_201, without_weights
from reuseprior.models.nas_bench_201 import EDGES

SHAPE = (1, 3, 32, 32)
BASE = "3"  # the network that lends everything outside the cells' edges
Edge = tuple[int, str]  # number of the cell, name such as "0-1"


@dataclass(frozen=True)
class _Template:
    """The record of a network whose edges all have one operation, and where its pieces are."""

    recorded: RecordedModel
    pieces: dict[Edge, list[Operator]]
    by_name: dict[str, torch.Tensor]

    @classmethod
    def of(cls, digit: str) -> _Template:
        with without_weights():
            network = nas_bench_201.nas_bench_201(digit * len(EDGES))
        recorded = record_model(network, SHAPE)
        pieces: dict[Edge, list[Operator]] = {}
        for operator in recorded.recording.operators:
            edge = _edge(operator.where)
            if edge:
                pieces.setdefault(edge, []).append(operator)
        return cls(recorded, pieces, {names[0]: tensor for names, tensor in recorded.tensors})


def record_cell(architecture: str) -> RecordedModel:
    """The record of a cell's live edges, for images of 32×32 and ten classes.

    >>> record_cell("333333").count().quantities().P_G

    Raises `ModelError` for what is no cell, and ValueError for a cell that no path passes.
    """
    code = nas_bench_201.live(architecture)
    if code == "000000":
        raise ValueError(f"No path passes cell {architecture}: record its network.")
    digits = {f"{a}-{b}": digit for (a, b), digit in zip(EDGES, code, strict=True)}
    base = _template(BASE).recorded
    new: dict[Node, Node] = {node: node for node in base.recording.inputs}
    operators: list[Operator] = []
    for cell, group in _groups(base.recording.operators):
        if cell is None:
            operators += [operator.on(new) for operator in group]
        else:
            source = new[group[0].args[0]]
            add = next(o for o in group if o.where == f"cells.{cell}")
            made, output = _cell(cell, digits, source, add)
            operators += made
            new[group[-1].results[0]] = output
    outputs = [new[node] for node in base.recording.outputs]
    tensors = tuple(_tensors(digits))
    # a leaf that nothing uses in its own network is used in none
    leaves = {id(tensor): node for _, tensor, node in tensors if node is not None}
    recording = Record(operators, list(base.recording.inputs), outputs, leaves)
    return RecordedModel(recording, tuple((names, tensor) for names, tensor, _ in tensors))


def measure_cell(model: str, conventions: Conventions, cache: Path | None = None) -> Measured:
    """What `measuring.measure` gives for `nas-bench-201:CELL`, in a fifth of the time.

    Multiply-adds are those of live edges. Without the cache, which would take as long. Raises
    `ModelError` for what is no cell, `UserError` for conventions other than the benchmark's.
    """
    if conventions not in (Conventions(), Conventions(SHAPE[-1])):
        raise UserError("Cells are counted at 32×32 as they are: pass Conventions().")
    start = time.perf_counter()
    code = nas_bench_201.code(model.partition(":")[2])
    if nas_bench_201.live(code) == "000000":
        return measure(model, conventions, cache)
    recorded = record_cell(code)
    return measured(
        model,
        recorded,
        recorded.count().quantities(),
        image_size=SHAPE[-1],
        shape=SHAPE,
        held=nas_bench_201.parameters(code),
        start=start,
    )


@cache
def _template(digit: str) -> _Template:
    return _Template.of(digit)


def _edge(where: str) -> Edge | None:
    found = re.match(r"cells\.(\d+)\.edges\.(\d-\d)", where)
    return (int(found[1]), found[2]) if found else None


def _groups(operators: list[Operator]) -> Iterator[tuple[int | None, list[Operator]]]:
    """The operators in runs: those of one cell with its number, and what stands between cells."""
    cells = {number for number, _ in _template(BASE).pieces}
    run: list[Operator] = []
    before = None
    for operator in operators:
        found = re.match(r"cells\.(\d+)(\.edges.*)?$", operator.where)
        cell = int(found[1]) if found and int(found[1]) in cells else None
        if cell != before and run:
            yield before, run
            run = []
        run.append(operator)
        before = cell
    yield before, run


def _cell(
    number: int, digits: dict[str, str], source: Node, add: Operator
) -> tuple[list[Operator], Node]:
    """The operators of a cell on `source`, as its `forward` calls them, and the last node.

    `add` is one of the cell's own sums, which all others are copies of.
    """
    made: list[Operator] = []
    nodes = {0: source}
    for end in (1, 2, 3):
        incoming = []
        for start in range(end):
            digit = digits[f"{start}-{end}"]
            if start not in nodes or digit == "0":
                continue
            arriving = nodes[start]
            if digit != "1":
                piece = _template(digit).pieces[number, f"{start}-{end}"]
                swap = {piece[0].args[0]: arriving}
                made += [operator.on(swap) for operator in piece]
                arriving = swap[piece[-1].results[0]]
            incoming.append(arriving)
        for arriving in incoming[1:]:
            made.append(add.on(dict(zip(add.args, (incoming[0], arriving), strict=True))))
            incoming[0] = made[-1].results[0]
        if incoming:
            nodes[end] = incoming[0]
    return made, nodes[3]


def _tensors(digits: dict[str, str]) -> Iterator:
    """(names, tensor, its leaf) of the network's parameters and statistics, in the module's order.

    The base's edges all have weights, so it has every name. A leaf is None where nothing uses it.
    """
    for names, tensor in _template(BASE).recorded.tensors:
        edge = _edge(names[0])
        digit = digits[edge[1]] if edge else BASE
        if digit in "23":
            template = _template(digit)
            tensor = template.by_name[names[0]]
            yield names, tensor, template.recorded.recording.node_of(tensor)
