"""Explicit graphs as figures."""

from __future__ import annotations

import re
from itertools import count

from matplotlib.axes import Axes

from reuseprior.contexts.graph import Graph
from reuseprior.plotting import PLAIN, STRONG

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
    found = re.fullmatch(r"([A-Za-z]+)(\d*)(?:#(\d+))?", name)
    if found is None:
        return name
    letters, *digits = found.groups()
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
