"""One look for all figures, and files that are the same bytes each run."""

import io
import os
import re
from pathlib import Path

from matplotlib import style as mpl_style
from matplotlib.figure import Figure

from reuseprior import paths

# inches: one column, and the full text of a page
COLUMN_WIDTH = 3.4
PAGE_WIDTH = 7.0

STYLE = Path(__file__).with_name("reuseprior.mplstyle")

# Left to itself matplotlib writes the date and its own version, which differ between runs.
_METADATA = {"svg": {"Date": None, "Creator": None}, "png": {"Software": None}}


def style() -> None:
    """Give all figures drawn from now on the project's look.

    >>> style()
    >>> Figure().get_figwidth() == COLUMN_WIDTH
    True
    """
    mpl_style.use(STYLE)


def save(fig: Figure, name: str, *, folder: Path | None = None) -> tuple[Path, Path]:
    """Write `fig` as SVG and PNG to `figures/` (or `folder`) and return both paths.

    >>> fig = Figure(figsize=(COLUMN_WIDTH, 2.0))
    >>> [path.name for path in save(fig, "fig-4-1-context")]
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
        _write(path, data)
    svg, png = drawn
    return svg, png


def _render(fig: Figure, kind: str) -> bytes:
    buffer = io.BytesIO()
    # The style again: a caller's savefig settings must not reach the file.
    with mpl_style.context(STYLE):
        fig.savefig(buffer, format=kind, metadata=_METADATA[kind])
    return buffer.getvalue()


def _write(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
