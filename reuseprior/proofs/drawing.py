"""Blueprints as a picture: a box for all that is stated, a line down to each that puts it in."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

import networkx as nx

from reuseprior.proofs.graph import Blueprint, anchor

WIDE, HIGH, ACROSS, DOWN = 400, 24, 100, 44  # of the picture, of a box, and from box to box
FILLS = {
    "premise": "#e4e4e4", "as printed": "#cdeccf", "corrected": "#ffe2a8", "not proved": "#ffc9c4"
}  # fmt: skip
STATES = {"✓": "as printed", "✓ corrected": "corrected", "✗": "not proved"}
STYLE = 'font-family="sans-serif" font-size="11" text-anchor="middle"'


class Drawing:
    """Blueprints below one another; a click on a box leads to its chains.

    A solid edge says that a box and all that it rests on is proved. A line that follows from others
    is left out.
    """

    def __init__(self, *blueprints: Blueprint) -> None:
        self.blueprints = blueprints

    def _repr_html_(self) -> str:
        """The picture, as wide as what holds it."""
        parts, top = [], 0
        for k, (says, fill) in enumerate(FILLS.items()):
            parts += _box(ACROSS * (k + 0.5), HIGH, says, fill, True)
        for blueprint in self.blueprints:
            top += 2 * DOWN
            of = blueprint.prefix.strip(", ")
            parts += f'<text x="{WIDE / 2}" y="{top - DOWN / 2}" {STYLE} fill="#888">{of}</text>'
            places = _places(blueprint, top)
            parts += _arrows(blueprint, places)
            for name, (x, y) in places.items():
                parts += self._linked(blueprint, name, x, y)
            top = max(y for _, y in places.values())
        size = f'viewBox="0 0 {WIDE} {top + HIGH}" width="100%" style="max-width: 620px"'
        return f'<svg xmlns="http://www.w3.org/2000/svg" role="img" {size}>{"".join(parts)}</svg>'

    def __repr__(self) -> str:
        return f"a drawing of {sum(len(b.named) for b in self.blueprints)} statements"

    def _linked(self, blueprint: Blueprint, name: str, x: float, y: float) -> Iterator[str]:
        found = blueprint.named[name]
        proved, mark = blueprint.proved(name), blueprint.mark(name)
        where = "" if blueprint is self.blueprints[0] else f"{blueprint.page}.ipynb"
        state = "premise" if found.defines and proved else STATES[mark]
        says = escape(f"{name}: {mark}. {'; '.join(map(str, found.chains))}")
        yield f'<a href="{where}#{anchor(name)}"><title>{says}</title>'
        yield from _box(x, y, name.removeprefix(blueprint.prefix), FILLS[state], proved)
        yield "</a>"


def _places(blueprint: Blueprint, top: float) -> dict[str, tuple[float, float]]:
    """The middle of each box: below what it rests on, and premises near what needs them first."""
    graph = blueprint.graph.subgraph(blueprint.named)
    level: dict[str, int] = {}
    for k, names in enumerate(nx.topological_generations(graph)):
        level |= dict.fromkeys(names, k)
    for name in graph:
        if not graph.pred[name]:
            level[name] = min((level[n] for n in graph.succ[name]), default=1) - 1
    places: dict[str, tuple[float, float]] = {}
    for k in sorted(set(level.values())):
        names = [name for name in graph if level[name] == k]
        for start in range(0, len(names), 4):
            row = sorted(names[start : start + 4], key=lambda n: _left(n, graph, places))
            left = (WIDE - ACROSS * (len(row) - 1)) / 2
            places |= {name: (left + ACROSS * i, top) for i, name in enumerate(row)}
            top += DOWN
    return places


def _left(name: str, graph: nx.DiGraph, places: dict) -> float:
    above = [places[n][0] for n in graph.pred[name] if n in places]
    return sum(above) / len(above) if above else WIDE / 2


def _arrows(blueprint: Blueprint, places: dict) -> Iterator[str]:
    graph = blueprint.graph.subgraph(places)
    for source, target in sorted(nx.transitive_reduction(graph).edges):  # of sets
        (x, y), (to_x, to_y) = places[source], places[target]
        y, to_y = y + HIGH / 2, to_y - HIGH / 2
        half = (y + to_y) / 2
        curve = f"M{x} {y}C{x} {half} {to_x} {half} {to_x} {to_y}"
        yield f'<path d="{curve}" fill="none" stroke="#888"/>'


def _box(x: float, y: float, says: str, fill: str, proved: bool) -> Iterator[str]:
    edge = 'stroke="#333"' if proved else 'stroke="#c00" stroke-dasharray="4 3"'
    at = f'x="{x - ACROSS / 2 + 2}" y="{y - HIGH / 2}" width="{ACROSS - 4}" height="{HIGH}"'
    yield f'<rect {at} rx="4" fill="{fill}" {edge}/>'
    yield f'<text x="{x}" y="{y + 4}" {STYLE} fill="#111">{escape(says)}</text>'
