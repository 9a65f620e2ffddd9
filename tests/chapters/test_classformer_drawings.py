"""Drawings of chapter 5: nothing covers a point, and every kind has a mark of its own."""

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from reuseprior import plotting
from reuseprior.chapters import classformer_runs
from reuseprior.chapters.classformer_runs import KNOWN


@pytest.fixture
def table():
    """A comparison with a row of every kind, in all corners of its picture."""
    kinds = ["baseline", "fewer layers", "found by gp", *KNOWN]
    shares = [1.0, *(0.1 + 0.9 * i / len(kinds) for i in range(1, len(kinds)))]
    made = pd.DataFrame({"kind": kinds, "share_1_threads": shares})
    made["score_report"] = [90 - 30 * (i % 2) for i in range(len(kinds))]
    for end in ("low", "high"):
        made[f"share_{end}_1_threads"] = made.share_1_threads
    return made


def test_the_legend_stands_below_all_panels(table):
    with plotting.styled():
        fig = classformer_runs.fronts(
            {"one": table, "other": table[:3], "none": table[:0]}, "make it"
        )
        fig.canvas.draw()
        (legend,) = fig.legends
        top = legend.get_window_extent().y1
        assert all(top <= ax.get_tightbbox().y0 for ax in fig.axes)
        assert len(legend.get_texts()) == len(classformer_runs.KINDS)
        assert legend.get_window_extent().y0 >= 0
        plt.close(fig)


def test_every_kind_has_its_own_mark():
    marks = [mark for _, *mark in classformer_runs.KINDS.values()]
    assert len({tuple(mark) for mark in marks}) == len({mark[0] for mark in marks}) == len(marks)
    assert {"baseline", "found", "fewer layers", *KNOWN} == {*classformer_runs.KINDS}
