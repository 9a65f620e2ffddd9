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
FONT = "11px/22px sans-serif"


class Drawing:
    """Blueprints below one another; a click on a box leads to its chains.

    A solid edge says that a box and all that it rests on is proved. A line that follows from others
    is left out.
    """

    def __init__(self, *blueprints: Blueprint) -> None:
        self.blueprints = blueprints

    def _repr_html_(self) -> str:
        """The picture, as wide as what holds it."""
        parts, top = "", 0
        for k, (says, fill) in enumerate(FILLS.items()):
            parts += _box(ACROSS * (k + 0.5), HIGH, f"<span {_look(fill)}>{says}</span>")
        for blueprint in self.blueprints:
            top += 2 * DOWN
            of = blueprint.prefix.strip(", ")
            parts += _box(WIDE / 2, top - DOWN / 2, f'<span style="font: {FONT}">{of}</span>')
            places = _places(blueprint, top)
            parts += "".join(_arrows(blueprint, places))
            for name, (x, y) in places.items():
                parts += _box(x, y, self._link(blueprint, name))
            top = max(y for _, y in places.values())
        size = f'viewBox="0 0 {WIDE} {top + HIGH}" width="100%" style="max-width: 620px"'
        return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{parts}</svg>'

    def __repr__(self) -> str:
        return f"a drawing of {sum(len(b.named) for b in self.blueprints)} statements"

    def _link(self, blueprint: Blueprint, name: str) -> str:
        # a link of HTML in that of SVG, as JupyterLab takes a link of SVG for a file
        derivation = blueprint.named[name]
        proved, mark = blueprint.proved(name), blueprint.mark(name)
        state = "premise" if derivation.defines and proved else STATES[mark]
        where = "" if blueprint is self.blueprints[0] else f"{blueprint.page}.ipynb"
        says = escape(f"{name}: {mark}. {'; '.join(map(str, derivation.chains))}")
        leads = f'href="{where}#{anchor(name)}" title="{says}" {_look(FILLS[state], proved)}'
        return f"<a {leads}>{escape(name.removeprefix(blueprint.prefix))}</a>"


def _look(fill: str, proved: bool = True) -> str:
    edge = "1px solid #333" if proved else "2px dashed #c00"
    box = f"display: block; box-sizing: border-box; height: {HIGH}px; border-radius: 4px"
    return f'style="{box}; border: {edge}; background: {fill}; color: #111; font: {FONT}"'


def _box(x: float, y: float, content: str) -> str:
    at = f'x="{x - ACROSS / 2 + 2}" y="{y - HIGH / 2}" width="{ACROSS - 4}" height="{HIGH}"'
    centred = 'xmlns="http://www.w3.org/1999/xhtml" style="text-align: center"'
    return f"<foreignObject {at}><div {centred}>{content}</div></foreignObject>"


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
