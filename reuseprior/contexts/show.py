"""Counts and graphs to look at: where contexts live, a model's layers, explicit graphs.

Counts know nothing of how they are drawn: `counts`, `ContextCounts`, come without their class here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count, pairwise

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from reuseprior.contexts.graph import Graph
from reuseprior.contexts.rules import op_metadata
from reuseprior.contexts.trace import Node, Operator, Trace
from reuseprior.errors import CountingError
from reuseprior.plotting import PAGE_WIDTH, PLAIN, STRONG, Picture, styled

ROW = 0.21  # inches, of a layer
PARTS, LABELS = 20, 9  # of the model that an axis tells apart, and that it has room to name


def by_tensor(counts) -> pd.DataFrame:
    """Each parameter tensor in the order of the model, with where its contexts live.

    Columns: name, entries, log2 of the least, the mean and the greatest count, and the tensor's
    shares of all contexts and of the total surprisal.
    """
    q = counts.quantities()
    rows = []
    for p in counts.parameter_counts:
        logs = p.finite
        total = np.logaddexp2.reduce(logs) + np.log2(p.multiplicity)
        surprisal = (q.log2_contexts - logs).sum() * p.multiplicity
        rows.append(
            {
                "name": p.name,
                "entries": p.parameters,
                "log2 least count": logs.min(),
                "log2 mean count": total - np.log2(p.parameters),
                "log2 greatest count": logs.max(),
                "contexts": np.exp2(total - q.log2_contexts),
                "surprisal": surprisal / q.total_surprisal if q.total_surprisal else 0.0,
            }
        )
    return pd.DataFrame(rows)


# Where contexts live -----------------------------------------------------------------------------


def plot(counts) -> Picture:
    """Log2 contexts by tensor, shares of the total surprisal, multiplicities, on three axes."""
    tensors = by_tensor(counts)
    matrices = np.array([len(p.shape) > 1 for p in counts.parameter_counts])
    with styled():
        fig = Picture(figsize=(PAGE_WIDTH, 2.6))
        logs, shares, times = fig.subplots(1, 3)
        x = np.arange(len(tensors))
        for chosen, marker, label in ((matrices, "o", "weights"), (~matrices, "s", "vectors")):
            if chosen.any():
                rows, color = tensors[chosen], "C0" if marker == "o" else "C1"
                logs.vlines(
                    x[chosen], rows["log2 least count"], rows["log2 greatest count"], color, lw=1
                )
                logs.plot(
                    x[chosen], rows["log2 mean count"], marker, color=color, ls="none", ms=3,
                    label=label,
                )  # fmt: skip
                shares.bar(x[chosen], 100 * rows.surprisal, width=1, color=color)
        logs.set(ylabel="$\\log_2$ contexts", title="by tensor: least, mean, greatest")
        logs.legend()
        shares.set(ylabel="share of total surprisal, %", title="surprisal")
        for ax in (logs, shares):
            _mark_parts(ax, tensors.name)
        times.hist(
            counts.log2_counts, 40, weights=counts.multiplicities, color="C0", edgecolor="none"
        )
        times.set(xlabel="$\\log_2$ contexts", ylabel="parameters", yscale="log",
                  title="multiplicity")  # fmt: skip
    return fig


def _mark_parts(ax: Axes, names: Sequence[str]) -> None:
    """Name the parts of the model below the axis, where the first tensor of each stands."""
    names = list(names)
    parts: list[tuple[int, str]] = []
    for depth in range(1, 1 + max(name.count(".") + 1 for name in names)):
        cut = [".".join(name.split(".")[:depth]) for name in names]
        starts = [(i, part) for i, part in enumerate(cut) if i == 0 or part != cut[i - 1]]
        if parts and len(starts) > PARTS:
            break
        parts = starts
    shown: list[tuple[int, str]] = []
    for place, part in parts:  # names that would lie on one another are left out
        if not shown or place - shown[-1][0] >= len(names) / LABELS:
            shown.append((place, _short(part)))
    places, labels = zip(*shown, strict=True)
    ax.set_xticks(places, labels, rotation=40, ha="right", rotation_mode="anchor")
    ax.set_xlim(-1, len(names))
    ax.grid(axis="x", visible=False)


def _short(part: str) -> str:
    """The end of a dotted name that tells parts apart: two words where one would not."""
    *before, last = part.split(".")
    alone = not before or not (last.isdigit() or before[-1].isdigit() or last in ("weight", "bias"))
    return last if alone else f"{before[-1]}.{last}"


# A model as a graph of its layers, folded by module where there are many -------------------------

JOINS = {"total": "+", "product": "×", "difference": "−", "quotient": "÷"}  # by the step taken
NAMED = 2  # tensors at most, of the model itself, that a row names


@dataclass
class Layer:
    """A module at work once, or a place where several meet."""

    name: str  # of the module, or what joins
    sources: tuple[int, ...]  # positions of the layers that feed it; -1 is the input
    tensors: tuple[str, ...] = ()  # parameters that it uses, by the first of their names


@dataclass
class _LayerUse:
    """Operators that one module, or the model itself, runs one after another."""

    path: str
    sources: set[int] = field(default_factory=set)
    tensors: dict[str, None] = field(default_factory=dict)  # in the order of their use
    operators: list[Operator] = field(default_factory=list)


def layer_graph(trace: Trace, names: Mapping[Node, str], *, limit: int) -> tuple[Layer, ...]:
    """The layers in the order in which they run, at most `limit` of them if folding allows it.

    `names` are those of the parameters. Modules are folded to the deepest level of the model that
    has few enough; what uses no parameter and has one source belongs to that source.
    """
    operators = list(trace.from_input())
    depth = max((o.where.count(".") + 1 for o in operators), default=1)
    for level in range(depth, 0, -1):
        layers = tuple(_contracted(_layer_uses(trace, operators, names, level)))
        if len(layers) <= limit:
            break
    return layers


def _layer_uses(
    trace: Trace, operators: list[Operator], names: Mapping[Node, str], level: int
) -> list[_LayerUse]:
    layer_uses: list[_LayerUse] = []
    made_in = dict.fromkeys(trace.inputs, -1)
    for operator in operators:
        path = ".".join(operator.where.split(".")[:level])
        if not layer_uses or layer_uses[-1].path != path:
            layer_uses.append(_LayerUse(path))
        here, layer_use = len(layer_uses) - 1, layer_uses[-1]
        layer_use.operators.append(operator)
        for node in operator.nodes():
            if node not in made_in:
                layer_use.tensors.update(dict.fromkeys(_parameters(node, names)))
            elif made_in[node] != here:
                layer_use.sources.add(made_in[node])
        made_in.update(dict.fromkeys(operator.results, here))
    return layer_uses


def _parameters(node: Node, names: Mapping[Node, str]) -> Iterator[str]:
    """Parameters that a weight is a view of, or is made of."""
    if node in names:
        yield names[node]
    elif node.has_parameters and node.made_by is not None:
        for source in node.made_by.nodes():
            yield from _parameters(source, names)


def _contracted(layer_uses: list[_LayerUse]) -> Iterator[Layer]:
    """The uses of layers with parameters and the joins, others taken together with their source."""
    stands_for, count = {-1: -1}, 0
    for here, layer_use in enumerate(layer_uses):
        sources = sorted({stands_for[source] for source in layer_use.sources})
        if not layer_use.tensors and len(sources) == 1:
            stands_for[here] = sources[0]
            continue
        name = layer_use.path
        if not layer_use.tensors:  # what joins; in the model's own forward it has no other name
            name = f"{layer_use.path} {_joint(layer_use.operators)}".strip()
        if not name:  # a tensor of the model itself, such as a class token
            name = ", ".join(layer_use.tensors) if len(layer_use.tensors) <= NAMED else "the model"
        yield Layer(name, tuple(sources), tuple(layer_use.tensors))
        stands_for[here], count = count, count + 1


def _joint(operators: list[Operator]) -> str:
    """How operators bring layers together: the first of `JOINS`, or the first operator's name."""
    steps = (op_metadata(operator.function).step for operator in operators)
    return next((JOINS[step] for step in steps if step in JOINS), operators[0].name.strip("_"))


# Its drawing -------------------------------------------------------------------------------------


def layers_of(counts, *, limit: int) -> tuple[Layer, ...]:
    """The layers of the model that was counted, with the tensors that have contexts.

    Raises CountingError for counts without their model.
    """
    if counts.traced is None:
        raise CountingError(
            "These counts come without the model that was counted, so its layers are not known: "
            "draw those of count_contexts."
        )
    trace = counts.traced.trace
    counted = {p.name for p in counts.parameter_counts}
    tensors = ((names[0], tensor) for names, tensor in counts.traced.tensors)
    nodes = {trace.node_of(tensor): name for name, tensor in tensors if name in counted}
    return layer_graph(trace, nodes, limit=limit)


def draw(counts, *, limit: int) -> Picture:
    """A row a layer with its parameters and their contexts, and lines for what feeds what."""
    by_name = {p.name: p for p in counts.parameter_counts}
    layers = layers_of(counts, limit=limit)
    used = [[by_name[name] for name in layer.tensors] for layer in layers]
    with styled():
        fig = Picture(figsize=(0.72 * PAGE_WIDTH, ROW * (len(layers) + 4)))
        ax = fig.subplots()
        _draw_lines(ax, layers)
        _draw_rows(ax, layers, used)
        _draw_ends(ax, layers)
        ax.axis("off")
    return fig


def _draw_rows(ax: Axes, layers: Sequence[Layer], used: Sequence[Sequence]) -> None:
    means = [_mean(tensors) for tensors in used]
    known = [mean for mean in means if mean is not None]
    scale = Normalize(min(known), max(known))
    shades = ScalarMappable(scale)
    columns = (0.35, "left", "layer"), (4.6, "right", "parameters"), (5.7, "right", "$\\log_2|C|$")
    for x, side, title in columns:
        ax.text(x, 2, title, ha=side, va="center", weight="bold")
    met: set[str] = set()
    for row, (layer, tensors, mean) in enumerate(zip(layers, used, means, strict=True)):
        if mean is None:
            ax.plot(0, -row, "o", color="white", mec="0.25", ms=6, zorder=3)
            ax.text(0.35, -row, layer.name, va="center", color="0.4")
            continue
        ax.plot(0, -row, "o", color=shades.to_rgba(mean), mec="0.25", ms=8, zorder=3)
        again = met.issuperset(layer.tensors)
        met.update(layer.tensors)
        entries = f"{sum(p.parameters for p in tensors):,}"
        texts = (layer.name, f"again {entries}" if again else entries, f"{mean:.1f}")
        for (x, side, _), text in zip(columns, texts, strict=True):
            ax.text(x, -row, text, ha=side, va="center", color=STRONG if again else "black")


def _mean(tensors: Iterable) -> float | None:
    """Log2 of the mean count of the tensors' parameters; None without any."""
    logs = [np.logaddexp2.reduce(p.finite) + np.log2(p.multiplicity) for p in tensors]
    if not logs:
        return None
    return float(np.logaddexp2.reduce(logs) - np.log2(sum(p.parameters for p in tensors)))


def _draw_lines(ax: Axes, layers: Sequence[Layer]) -> None:
    """Straight lines between neighbours, arcs on the left past others; dotted ones for ties."""
    reach = 0.6
    for row, layer in enumerate(layers):
        for source in layer.sources:
            reach = max(reach, _draw_arc(ax, source, row, color=PLAIN))
    users: dict[str, list[int]] = {}
    for row, layer in enumerate(layers):
        for name in layer.tensors:
            users.setdefault(name, []).append(row)
    tied = {pair for rows in users.values() for pair in pairwise(rows)}
    for first, second in sorted(tied):
        reach = max(reach, _draw_arc(ax, first, second, color=STRONG, ls=":", further=0.25))
    ax.set(xlim=(-reach - 0.1, 5.9), ylim=(-len(layers) - 0.5, 2.5))


def _draw_arc(ax: Axes, first: int, second: int, *, further: float = 0.0, **style) -> float:
    """A line between two rows; how far it reaches to the left."""
    span = second - first
    bulge = 0.0 if span == 1 and not further else 0.3 + further + 0.25 * np.log2(max(span, 1))
    steps = [(0, -first), (-4 * bulge / 3, -first), (-4 * bulge / 3, -second), (0, -second)]
    curve = Path(steps, [Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4])
    ax.add_patch(PathPatch(curve, fill=False, lw=1.1, zorder=1, **style))
    return bulge


def _draw_ends(ax: Axes, layers: Sequence[Layer]) -> None:
    for name, row in (("input", -1), ("output", len(layers))):
        ax.plot(0, -row, "s", color="0.85", mec="0.25", ms=6, zorder=3)
        ax.text(0.35, -row, name, va="center", color="0.4")
    for sink in set(range(len(layers))).difference(*(layer.sources for layer in layers)):
        _draw_arc(ax, sink, len(layers), color=PLAIN)


# Explicit graphs ---------------------------------------------------------------------------------

INPUT, NODE, OUTPUT = "#56B4E9", "0.93", "#009E73"


def draw_graph(graph: Graph, ax: Axes, *, highlight: str | None = None) -> None:
    """Draw an explicit graph from its inputs on the left to its outputs on the right.

    Uses bear their parameters; `highlight` names one whose contexts are drawn strong, each path
    from a use of it to an output. Duplicates `f1#1`, `f1#2` of a node are both labelled f1.
    """
    at = _tree_layout(graph) if _is_tree(graph) else _layered_layout(graph)
    strong = _contexts_of(graph, highlight) if highlight is not None else set()
    for name, uses in graph.nodes.items():
        for index, (source, parameter) in enumerate(uses):
            if source is not None:
                _draw_use(ax, at[source], at[name], parameter, (name, index) in strong)
    for name, (x, y) in at.items():
        is_output = name in graph.outputs
        face = OUTPUT if is_output else NODE if name in graph.nodes else INPUT
        ax.text(
            x, y, _math(name.partition("#")[0]), ha="center", va="center", zorder=3,
            bbox={"boxstyle": "circle,pad=0.3", "facecolor": face, "edgecolor": "0.25"},
        )  # fmt: skip
    xs, ys = zip(*at.values(), strict=True)
    ax.set(xlim=(min(xs) - 0.35, max(xs) + 0.35), ylim=(min(ys) - 0.6, max(ys) + 0.6))
    ax.axis("off")


def _draw_use(ax: Axes, start, end, parameter: str | None, is_strong: bool) -> None:
    color, width = (STRONG, 2.0) if is_strong else (PLAIN, 1.0)
    arrow = {"arrowstyle": "-|>", "color": color, "lw": width, "shrinkA": 10, "shrinkB": 10}
    ax.annotate("", end, start, arrowprops=arrow, zorder=1)
    if parameter is not None:
        share = 0.36  # nearer the source, where edges that cross are still apart
        x, y = (a + share * (b - a) for a, b in zip(start, end, strict=True))
        ax.text(
            x, y, _math(parameter), ha="center", va="center", zorder=2,
            color=STRONG if is_strong else "0.1", fontsize="small",
            bbox={"boxstyle": "square,pad=0.0", "facecolor": "white", "edgecolor": "none"},
        )  # fmt: skip


def _math(name: str) -> str:
    """`w1` as w with the subscript 1, `w1#2` as w with the subscript 1,2."""
    match = re.fullmatch(r"([A-Za-z]+)(\d*)(?:#(\d+))?", name)
    if match is None:
        return name
    letters, *digits = match.groups()
    return f"${letters}_{{{','.join(d for d in digits if d)}}}$"


def _contexts_of(graph: Graph, parameter: str) -> set[tuple[str, int]]:
    """(node, index of the use) for every use on a path that starts with `parameter`."""
    reached, strong = set(), set()
    for name in graph.order:
        for index, (source, used) in enumerate(graph.nodes.get(name, ())):
            if used == parameter or source in reached:
                strong.add((name, index))
                reached.add(name)
    return strong


def _is_tree(graph: Graph) -> bool:
    sources = [source for name in graph.nodes for source in graph.sources(name)]
    return len(sources) == len(set(sources))


def _tree_layout(graph: Graph) -> dict[str, tuple[float, float]]:
    """Leaves at equal distances, every other node in the middle of its sources."""
    places: dict[str, tuple[float, float]] = {}
    rows = count()

    def place(name: str, column: int) -> float:
        ys = [place(source, column - 1) for source in graph.sources(name)] or [-float(next(rows))]
        places[name] = (float(column), sum(ys) / len(ys))
        return places[name][1]

    for output in graph.outputs:
        place(output, 0)
    return places


def _layered_layout(graph: Graph) -> dict[str, tuple[float, float]]:
    """A column for each distance from the inputs, nodes spread over it in order."""
    column: dict[str, int] = {}
    for name in graph.order:
        column[name] = 1 + max((column[s] for s in graph.sources(name)), default=-1)
    last = max(column.values())
    column |= {name: last for name in graph.outputs}
    columns: dict[int, list[str]] = {}
    for name in (*graph.inputs, *graph.nodes):
        columns.setdefault(column[name], []).append(name)
    return {
        name: (float(x), (len(names) - 1) / 2 - float(y))
        for x, names in columns.items()
        for y, name in enumerate(names)
    }
