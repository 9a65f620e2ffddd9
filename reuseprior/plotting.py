"""One look for all figures, and files that are the same bytes each run."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from math import log10
from pathlib import Path

import numpy as np
from matplotlib import style as mpl_style
from matplotlib.axes import Axes
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullFormatter
from PIL import Image

from reuseprior import files, paths

# inches: one column, and the full text of a page
COLUMN_WIDTH = 3.4
PAGE_WIDTH = 7.0

# what recedes in a drawing, and what stands out
PLAIN, STRONG = "0.6", "#D55E00"

# matplotlib's own settings first, or those of a reader's matplotlibrc would show through
LOOK = ("default", Path(__file__).with_name("reuseprior.mplstyle"))

# Of 255 levels of a pixel's red, green and blue. A black edge on white that moves by a sixteenth of
# a pixel, 8 µm of a page, changes a pixel by so many.
UNSEEN = 16

# Left to itself matplotlib writes the date and its own version, which differ between runs.
_METADATA = {"svg": {"Date": None, "Creator": None}, "png": {"Software": None}}


def style() -> None:
    """Give all figures drawn from now on the project's look.

    >>> style()
    >>> float(Figure().get_figwidth()) == COLUMN_WIDTH
    True
    """
    mpl_style.use(LOOK)


def styled() -> AbstractContextManager:
    """The project's look for what is drawn inside a `with` block, and the caller's after it."""
    return mpl_style.context(LOOK)


class Picture(Figure):
    """A figure that shows itself in Jupyter once, whether or not pyplot is at work there."""

    def _repr_png_(self) -> tuple[bytes, dict[str, float]]:
        width, height = 96 * self.get_size_inches()  # of the screen, where an inch is 96 pixels
        return _render(self, "png"), {"width": width, "height": height}

    def savefig(self, *args, **kwargs) -> None:
        """As matplotlib's, in the project's look wherever it is called: colours are named late."""
        with styled():
            super().savefig(*args, **kwargs)


def save_to(folder: Path | None) -> None:
    """Let `save` write to a folder from now on; with None to the repository's `figures/` again."""
    global _folder
    _folder = folder


_folder: Path | None = None


def save(fig: Figure, name: str, *, folder: Path | None = None) -> tuple[Path, Path]:
    """Write `fig` as SVG and PNG to `folder`, and return both paths.

    Without a folder they go to `figures/`, or where `save_to` said.

    >>> fig = Figure(figsize=(COLUMN_WIDTH, 2.0))
    >>> [path.name for path in save(fig, "fig-4-1-context")]  # doctest: +SKIP
    ['fig-4-1-context.svg', 'fig-4-1-context.png']

    The bytes repeat between runs of one matplotlib version. Another processor adds floats up in
    another order, so where the figure there `looks_alike`, both files are left as they are. Raises
    ValueError for a name that is not lower-case words joined by hyphens.
    """
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name):
        raise ValueError(
            f"figure name {name!r} must be lower-case letters and digits joined by hyphens, "
            "such as 'fig-4-1-context'"
        )
    batch = os.environ.get("REUSEPRIOR_FIGURES")  # of `reproduce`, which puts them in place itself
    folder = folder or (Path(batch) if batch else _folder)
    if folder is None:
        paths.checkout()
        folder = paths.FIGURES
    # Both are drawn before either is written, so a failing drawing leaves the old pair as it was.
    return put({folder / f"{name}.{kind}": _render(fig, kind) for kind in _METADATA})


def put(drawn: Mapping[Path, bytes]) -> tuple[Path, Path]:
    """Write a figure's SVG and PNG, in this order, where the one there does not look alike."""
    svg, png = drawn
    png.parent.mkdir(parents=True, exist_ok=True)
    if not (svg.exists() and png.exists() and looks_alike(png.read_bytes(), drawn[png])):
        for path, data in drawn.items():
            files.write(path, data)
    return svg, png


def looks_alike(before: bytes, now: bytes) -> bool:
    """Whether two PNGs are of one size and no pixel differs by more than can be seen (`UNSEEN`).

    A file that is no picture looks like none.
    """
    if before == now:
        return True
    try:
        a, b = (
            np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"), int) for png in (before, now)
        )
    except OSError:  # Pillow's word for what it cannot read
        return False
    return a.shape == b.shape and bool((abs(a - b) <= UNSEEN).all())


def _render(fig: Figure, kind: str) -> bytes:
    buffer = io.BytesIO()
    # The style again: a caller's savefig settings must not reach the file.
    with styled():
        fig.savefig(buffer, format=kind, metadata=_METADATA[kind])
    return buffer.getvalue()


MARKS = 4  # on an axis of sizes


def mark_sizes(ax: Axes) -> None:
    """Write 20M and 5G on a logarithmic axis, as many as fit on one of three."""
    low, high = ax.get_xlim()
    decades = log10(high / low)
    steps = (1, 2, 5) if decades < 1.7 else (1,)
    ax.xaxis.set_major_locator(LogLocator(subs=steps, numticks=MARKS + len(steps)))
    ax.xaxis.set_major_formatter(EngFormatter(sep=""))
    ax.xaxis.set_minor_formatter(NullFormatter())


LABEL_ROOM = 0.09  # of an axis, between the labels of two contours


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
    corner = (x.max() - x.min(), y.max() - y.min())
    flat.clabel(lines, fontsize=6, manual=_on_the_diagonal(lines, corner))
    for ax in (solid, flat):
        ax.set(xlabel=labels[0], ylabel=labels[1])
    solid.set_title(labels[2])
    fig.colorbar(image, label=labels[2])


def _on_the_diagonal(lines: ContourSet, corner: tuple[float, float]) -> list[tuple[float, float]]:
    """Where each contour is nearest to the diagonal and not at another one's label.

    Contours are apart there, while along the axes they run close.
    """
    points: list[np.ndarray] = []
    for path in lines.get_paths():
        at = path.vertices / corner
        free = [p for p in at if all(abs(p - q).max() > LABEL_ROOM for q in points)]
        points += sorted(free, key=lambda p: abs(p[0] - p[1]))[:1]
    return [tuple(point * corner) for point in points]
