"""Chapter 4's example graphs, and what its tables' networks spend by depth."""

import pytest

from reuseprior.chapters import counting as work
from reuseprior.contexts import horizontal_unroll, uniform
from tests.chapters.printed import table


def test_example_graphs_are_what_the_captions_say():
    a, b = work.FIGURE_4_2A, work.FIGURE_4_2B
    assert set(a.parameters) == set(b.parameters)
    assert (a.contexts()["w1"], b.contexts()["w1"]) == (1, 2)
    original = work.FIGURE_4_3A
    unrolled = horizontal_unroll(original).repetitions()
    assert unrolled == original.contexts()
    assert set(uniform(original).contexts().values()) == {1}
    assert sum(original.contexts().values()) == len(uniform(original).parameters) == 12
    rows = table("thesis/appendix-a").query("quantity == 'frequency'")
    assert unrolled == dict(zip(rows.parameter, rows["value"].astype(int), strict=True))


def test_shares_by_depth_add_up():
    depth = work.by_depth(work.counts("V2-B0", 224).learnable())
    assert depth.contexts.sum() == pytest.approx(1, abs=1e-9)
    assert depth.surprisal.sum() == pytest.approx(1, abs=1e-9)
    assert depth.entries.sum() == 7_139_704
    kinds = {"convolution", "batch norm", "depthwise", "squeeze–excite", "classifier"}
    assert set(depth.kind) == kinds
