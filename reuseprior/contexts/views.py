"""Counts to look at: where contexts live, and a model's layers with their counts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from reuseprior.contexts.counting import ContextCounts, ParameterCount
from reuseprior.contexts.errors import CountingError
from reuseprior.contexts.layers import Layer, layer_graph
from reuseprior.plotting import PAGE_WIDTH, PLAIN, STRONG, Picture, styled

ROW = 0.21  # inches, of a layer
PARTS, LABELS = 20, 9  # of the model that an axis tells apart, and that it has room to name


def by_tensor(counts: ContextCounts) -> pd.DataFrame:
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


def plot(counts: ContextCounts) -> Picture:
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
        found = [(i, part) for i, part in enumerate(cut) if i == 0 or part != cut[i - 1]]
        if parts and len(found) > PARTS:
            break
        parts = found
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


# The layers --------------------------------------------------------------------------------------


def layers_of(counts: ContextCounts, *, limit: int) -> tuple[Layer, ...]:
    """The layers of the model that was counted, with the tensors that have contexts.

    Raises CountingError for counts without their model.
    """
    if counts.recorded is None:
        raise CountingError(
            "These counts come without the model that was counted, so its layers are not known: "
            "draw those of count_contexts."
        )
    recording = counts.recorded.recording
    counted = {p.name for p in counts.parameter_counts}
    tensors = ((names[0], tensor) for names, tensor in counts.recorded.tensors)
    nodes = {recording.node_of(tensor): name for name, tensor in tensors if name in counted}
    return layer_graph(recording, nodes, limit=limit)


def draw(counts: ContextCounts, *, limit: int) -> Picture:
    """A row a layer with its parameters and their contexts, and lines for what feeds what."""
    by_name = {p.name: p for p in counts.parameter_counts}
    layers = layers_of(counts, limit=limit)
    used = [[by_name[name] for name in layer.tensors] for layer in layers]
    with styled():
        fig = Picture(figsize=(0.72 * PAGE_WIDTH, ROW * (len(layers) + 4)))
        ax = fig.subplots()
        _draw_lines(ax, layers)
        _draw_rows(ax, layers, used)
        _draw_ends(ax, len(layers), _sinks(layers))
        ax.axis("off")
    return fig


def _sinks(layers: Sequence[Layer]) -> list[int]:
    fed = {source for layer in layers for source in layer.sources}
    return [i for i in range(len(layers)) if i not in fed]


def _draw_rows(ax: Axes, layers: Sequence[Layer], used: Sequence[Sequence[ParameterCount]]) -> None:
    means = [_mean(tensors) for tensors in used]
    known = [mean for mean in means if mean is not None]
    scale = Normalize(min(known), max(known))
    shades = ScalarMappable(scale)
    columns = (
        (0.35, "left", "layer"),
        (4.6, "right", "parameters"),
        (5.7, "right", "$\\log_2|C|$"),
    )
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


def _mean(tensors: Iterable[ParameterCount]) -> float | None:
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


def _draw_ends(ax: Axes, rows: int, sinks: Iterable[int]) -> None:
    for name, row in (("input", -1), ("output", rows)):
        ax.plot(0, -row, "s", color="0.85", mec="0.25", ms=6, zorder=3)
        ax.text(0.35, -row, name, va="center", color="0.4")
    for sink in sinks:
        _draw_arc(ax, sink, rows, color=PLAIN)
