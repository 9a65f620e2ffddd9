"""Figures come out the same bytes each run, under names that can be guessed."""

import io
import os
import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import style as mpl_style
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure

from reuseprior import paths, plotting

DRAW = """
import sys
from pathlib import Path
from matplotlib.figure import Figure
from reuseprior import plotting
plotting.style()
fig = Figure(figsize=(plotting.COLUMN_WIDTH, 2.0))
ax = fig.subplots()
for k in range(7):
    ax.plot([0, 1, 2], [k, k + 1, k * 2], label=f"$c_{k}$", marker="o")
ax.fill_between([0, 1, 2], 0, 3, hatch="//")
ax.legend()
plotting.save(fig, "fig-test", folder=Path(sys.argv[1]))
"""


@pytest.fixture(autouse=True)
def styled():
    with mpl.rc_context():
        mpl.rcParams.update({"axes.facecolor": "black", "text.usetex": True})  # a reader's own
        plotting.style()
        yield


def curve(shift=0.0, *, order=1, title="a curve"):
    """A figure of 400 running means, each a sum of 200 floats taken in one of two orders."""
    x = np.random.default_rng(0).random((400, 200), dtype=np.float32)
    fig = Figure(figsize=(plotting.COLUMN_WIDTH, 2.0))
    means = np.add.accumulate(x[:, ::order], axis=1, dtype=np.float32)[:, -1] / 200
    ax = fig.subplots()
    ax.plot(np.sort(means) + shift)
    ax.set(title=title, ylim=(0.4, 0.6))
    return fig


@pytest.mark.slow
def test_two_processes_write_the_same_bytes(tmp_path):
    seen = []
    for seed in "12":
        command = [sys.executable, "-c", DRAW, tmp_path / seed]
        given = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run(command, env=given, cwd=paths.ROOT, check=True)
        seen.append({path.name: path.read_bytes() for path in (tmp_path / seed).iterdir()})
    assert seen[0] == seen[1] and sorted(seen[0]) == ["fig-test.png", "fig-test.svg"]


def contents(paths_of):
    return [path.read_bytes() for path in paths_of]


def test_files_name_no_date_and_no_version_and_nothing_of_the_caller_s(tmp_path):
    figure = Figure()
    figure.subplots().plot([0, 1])
    svg, png = plain = contents(plotting.save(figure, "fig-plain", folder=tmp_path))
    assert b"date" not in svg and b"Matplotlib" not in svg and b"Software" not in png
    with mpl.rc_context({"svg.hashsalt": "other", "savefig.dpi": 30, "savefig.bbox": "tight"}):
        assert contents(plotting.save(figure, "fig-other", folder=tmp_path)) == plain


def test_odd_names_are_refused(tmp_path, monkeypatch):
    """And figures are written to the repository's folder unless told otherwise."""
    monkeypatch.setattr(paths, "FIGURES", tmp_path)
    for name in ("", "fig 4", "Fig-4", "fig_4", "../fig", "fig-4.svg", "fig-ß"):
        with pytest.raises(ValueError, match="must be lower-case letters and digits joined by hyp"):
            plotting.save(Figure(), name)
    assert list(tmp_path.iterdir()) == []
    made = [tmp_path / f"fig-test.{kind}" for kind in ("svg", "png")]
    assert [*plotting.save(Figure(), "fig-test")] == made


def test_a_failing_drawing_leaves_the_old_files(tmp_path):
    """That a full disk does is test_files.py's."""
    before = contents(plotting.save(Figure(), "fig-test", folder=tmp_path))
    broken = Figure()
    broken.subplots().set_title(r"$\nonsense$")
    with pytest.raises(ValueError, match="nonsense"):
        plotting.save(broken, "fig-test", folder=tmp_path)
    assert contents(sorted(tmp_path.iterdir(), reverse=True)) == before


PIXEL = 0.2 / 400 / 0.7  # of the drawing's height, about


@pytest.mark.slow
@pytest.mark.parametrize(("other", "is_drawn"), [
    ({"order": -1}, False),  # as another processor adds up
    ({"shift": PIXEL / 100}, False), ({"shift": PIXEL}, True), ({"title": "a curvy"}, True),
])  # fmt: skip
def test_a_figure_is_drawn_anew_where_that_can_be_seen_or_it_is_damaged(other, is_drawn, tmp_path):
    both = plotting.save(curve(), "fig-test", folder=tmp_path)
    before = contents(both)
    now = [plotting._render(curve(**other), kind) for kind in ("svg", "png")]
    assert before[0] != now[0], "nothing to decide"
    plotting.save(curve(**other), "fig-test", folder=tmp_path)
    assert contents(both) == (now if is_drawn else before)
    both[1].write_bytes(before[1][:100] if is_drawn else b"no picture")
    plotting.save(curve(**other), "fig-test", folder=tmp_path)
    assert contents(both) == now


def test_style_draws_a_column_wide_and_tells_lines_apart_by_colour_and_by_dash():
    assert Figure().get_figwidth() == plotting.COLUMN_WIDTH
    cycle = list(mpl.rcParams["axes.prop_cycle"])
    for key in ("color", "linestyle"):
        assert len({str(entry[key]) for entry in cycle}) == len(cycle) == 7


def test_a_picture_has_the_look_wherever_it_is_saved():
    """A colour such as C1 is looked up when it is drawn, in whatever style there is then."""
    drawn = []
    for style in ("default", "ggplot"):
        fig = plotting.Picture(figsize=(2, 2))
        fig.subplots().plot([0, 1], color="C1")
        with mpl_style.context(style):
            fig.savefig(buffer := io.BytesIO(), metadata={"Software": None})
        drawn.append(buffer.getvalue())
    assert drawn[0] == drawn[1]


def test_every_contour_of_a_surface_has_its_label():
    """Near the axes as well, where they run so close that the diagonal has no room for all."""
    x, y = np.meshgrid(np.arange(1.0, 41), np.arange(1.0, 41))
    fig = Figure(figsize=(plotting.PAGE_WIDTH, 2.9))
    z = 1.8 * np.log2(x * np.log2(y + 1))
    plotting.draw_surface(fig, x, y, z, labels=("depth", "width", "bits"))
    flat = fig.axes[1]
    (lines,) = (c for c in flat.collections if isinstance(c, ContourSet))
    labels = [text.get_text() for text in flat.texts]
    assert len(labels) == sum(len(path.vertices) > 0 for path in lines.get_paths()) >= 5
    at = [np.divide(text.get_position(), 39) for text in flat.texts]
    apart = [abs(a - b).max() for i, a in enumerate(at) for b in at[:i]]
    assert min(apart) > plotting.LABEL_ROOM / 2
