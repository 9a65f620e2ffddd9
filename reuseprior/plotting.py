"""One look for all figures, and files that are the same bytes each run."""

from __future__ import annotations

import io
import re
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib import style as mpl_style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from reuseprior import files, paths

if TYPE_CHECKING:
    from reuseprior.contexts import Graph

# inches: one column, and the full text of a page
COLUMN_WIDTH = 3.4
PAGE_WIDTH = 7.0

STYLE = Path(__file__).with_name("reuseprior.mplstyle")

# Left to itself matplotlib writes the date and its own version, which differ between runs.
_METADATA = {"svg": {"Date": None, "Creator": None}, "png": {"Software": None}}


def style() -> None:
    """Give all figures drawn from now on the project's look.

    >>> style()
    >>> float(Figure().get_figwidth()) == COLUMN_WIDTH
    True
    """
    mpl_style.use(STYLE)


def save(fig: Figure, name: str, *, folder: Path | None = None) -> tuple[Path, Path]:
    """Write `fig` as SVG and PNG to `figures/` (or `folder`) and return both paths.

    >>> fig = Figure(figsize=(COLUMN_WIDTH, 2.0))
    >>> [path.name for path in save(fig, "fig-4-1-context")]  # doctest: +SKIP
    ['fig-4-1-context.svg', 'fig-4-1-context.png']


    The bytes repeat between runs and machines of one matplotlib version, not across versions.
    Raises ValueError for a name that is not lower-case words joined by hyphens.
    """
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name):
        raise ValueError(
            f"figure name {name!r} must be lower-case letters and digits joined by hyphens, "
            "such as 'fig-4-1-context'"
        )
    if folder is None:
        paths.checkout()
        folder = paths.FIGURES
    folder.mkdir(parents=True, exist_ok=True)
    # Both are drawn before either is written, so a failing drawing leaves the old pair as it was.
    drawn = {folder / f"{name}.{kind}": _render(fig, kind) for kind in _METADATA}
    for path, data in drawn.items():
        files.write(path, data)
    svg, png = drawn
    return svg, png


def _render(fig: Figure, kind: str) -> bytes:
    buffer = io.BytesIO()
    # The style again: a caller's savefig settings must not reach the file.
    with mpl_style.context(STYLE):
        fig.savefig(buffer, format=kind, metadata=_METADATA[kind])
    return buffer.getvalue()


def draw_surface(fig: Figure, x, y, z, *, labels: tuple[str, str, str]) -> None:
    """Draw a surface over a grid twice: as a wireframe, and flat with labelled contours.

    >>> draw_surface(fig, depths, widths, spread, labels=("depth", "width", "spread, bits"))

    `x`, `y` and `z` are matrices of one shape, `labels` names them.
    """
    solid, flat = fig.add_subplot(1, 2, 1, projection="3d"), fig.add_subplot(1, 2, 2)
    solid.plot_wireframe(x, y, z, rstride=3, cstride=3, linewidth=0.7)
    image = flat.pcolormesh(x, y, z, rasterized=True)
    low, high = z.min(), z.max()
    levels = [v for v in MaxNLocator(8).tick_values(low, high) if low < v < high]
    # black on the bright half and white on the dark one, or the lines drown in the colours
    colors = ["black" if v > (low + high) / 2 else "white" for v in levels]
    lines = flat.contour(x, y, z, levels, colors=colors, linewidths=0.7, linestyles="solid")
    flat.clabel(lines, fontsize=6)
    for ax in (solid, flat):
        ax.set(xlabel=labels[0], ylabel=labels[1])
    solid.set_title(labels[2])
    fig.colorbar(image, label=labels[2])


# Graphs ------------------------------------------------------------------------------------------

PLAIN, STRONG, INPUT, NODE, OUTPUT = "0.6", "#D55E00", "#56B4E9", "0.93", "#009E73"


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
    sources = [s for uses in graph.nodes.values() for s, _ in uses if s is not None]
    return len(sources) == len(set(sources))


def _tree_layout(graph: Graph) -> dict[str, tuple[float, float]]:
    """Leaves at equal distances, every other node in the middle of its sources."""
    places: dict[str, tuple[float, float]] = {}
    rows = count()

    def place(name: str, column: int) -> float:
        sources = [s for s, _ in graph.nodes.get(name, ()) if s is not None]
        ys = [place(source, column - 1) for source in sources] or [-float(next(rows))]
        places[name] = (float(column), sum(ys) / len(ys))
        return places[name][1]

    for output in graph.outputs:
        place(output, 0)
    return places


def _layered_layout(graph: Graph) -> dict[str, tuple[float, float]]:
    """A column for each distance from the inputs, nodes spread over it in order."""
    column: dict[str, int] = {}
    for name in graph.order:
        sources = [s for s, _ in graph.nodes.get(name, ()) if s is not None]
        column[name] = 1 + max((column[s] for s in sources), default=-1)
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
