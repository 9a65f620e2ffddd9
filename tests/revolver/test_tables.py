"""Numbers about populations and searches, against values worked out by hand or by scipy."""

import numpy as np
import pandas as pd
import pytest

from reuseprior import revolver as rv
from reuseprior.revolver import blocks
from reuseprior.revolver.evolution.population import Individual, ModuleScore, Population
from reuseprior.revolver.views import tables

A, B = "conv8_8_1_1_0_1_1_F", "conv8_8_3_1_1_1_1_F"


def population(*kernels):
    """An individual for each tuple of kernel sizes: a row of as many shared convolutions."""
    tags, made = rv.Tags(), Population()
    for number, sizes in enumerate(kernels):
        members = [blocks.conv((8, 4, 4), 8, size) for size in sizes]
        blueprint = blocks.ensemble_mean(members, tied=True)
        rv.settle(blueprint, tags)
        made.place(number, Individual(number, blueprint, 1.0))
    return made


def test_sharing_table():
    table = tables.sharing_table(population((1, 3, 3), (5, 1), (1, 3)))
    assert list(table.index) == [A, B]  # kernel 5 is used once in all
    assert table.loc[A].to_dict() == {0: 1, 1: 1, 2: 1}
    assert table.loc[B].to_dict() == {0: 2, 1: 0, 2: 1}
    assert list(table.columns) == [0, 2, 1]  # the two that hold the same are neighbours
    parts = tables.shared_parts(population((1, 3), (1,)))  # 64 and 576 parameters
    assert parts.to_dict() == {0: pytest.approx(0.1), 1: 1.0}
    for kernels in ([], [(1,)], [(1,), (3,)]):  # nothing is shared
        assert tables.sharing_table(population(*kernels)).shape == (0, len(kernels))
        assert list(tables.shared_parts(population(*kernels))) == [0.0] * len(kernels)


def scored(name, kind, score, individuals, kernel_size=1):
    return ModuleScore(name, kind, 8, 16, kernel_size, score, 128, individuals, individuals)


def test_module_table():
    modules = [
        scored("c", "conv", 0.7, 3, 3),
        scored("a", "conv", 0.5, 2),
        scored("b", "conv", 0.5, 9),
        scored("alone", "conv", 0.1, 1),
        scored("bn", "batch_norm", 0.2, 4, None),
    ]
    table = tables.module_table(modules)
    assert list(table.name) == ["a", "b", "c"] and list(table.index) == [1, 2, 3]
    assert list(table["kernel size"]) == ["1x1", "1x1", "3x3"]
    assert list(tables.module_table(modules, top=1).name) == ["a"]
    assert list(tables.module_table(modules, individuals=1).name) == ["alone", "a", "b", "c"]
    norms = tables.module_table(modules, kinds=["batch_norm"])
    assert list(norms["kernel size"]) == [""]
    assert tables.module_table([]).empty
    recorded = pd.DataFrame([{"rank": 1, **module._asdict()} for module in modules])
    pd.testing.assert_frame_equal(tables.module_table(recorded), table)


def test_rank_correlation_against_scipy():
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    for _ in range(20):
        x, y = rng.integers(0, 9, (2, 30))
        found = tables.rank_correlation(x, y)
        assert found.spearman == pytest.approx(stats.spearmanr(x, y).statistic)
        assert found.kendall == pytest.approx(stats.kendalltau(x, y).statistic)


@pytest.mark.parametrize(
    ("y", "spearman", "kendall"),
    [([4, 5, 9], 1, 1), ([9, 5, 4], -1, -1), ([4, 9, 5], 1 / 2, 1 / 3)],
)
def test_rank_correlation(y, spearman, kendall):
    found = tables.rank_correlation([1, 2, 3, 7, np.nan], [*y, np.nan, 7])
    assert found.pairs == 3
    assert (found.spearman, found.kendall) == pytest.approx((spearman, kendall))


def generations(*values, start=1):
    return pd.DataFrame({"generation": range(start, start + len(values)), "accuracy": values})


def test_mean_interval():
    found = tables.mean_interval([generations(1.0, 5.0), generations(3.0, 5.0, 9.0)], "accuracy")
    assert list(found.index) == [1, 2]  # the third is reached by one alone
    assert list(found["mean"]) == [2.0, 5.0]
    assert list(found.low) == pytest.approx([2 - 12.706, 5]) and list(found.seeds) == [2, 2]
    assert list(found.high) == pytest.approx([2 + 12.706, 5])
    alone = tables.mean_interval([generations(1.0)], "accuracy")  # one seed has no interval
    assert alone["mean"].item() == 1.0 and alone.low.isna().all() and alone.high.isna().all()


def test_intervals_hold_the_mean_in_95_of_100():
    rng = np.random.default_rng(1)
    draws = rng.normal(size=(3, 4000))
    found = tables.mean_interval([generations(*row) for row in draws], "accuracy")
    assert ((found.low < 0) & (found.high > 0)).mean() == pytest.approx(0.95, abs=0.01)


REFUSED = [
    (lambda: tables.rank_correlation([1, 2], [1, 2]), "give 3 pairs or more that differ"),
    (lambda: tables.rank_correlation([1, 1, 1], [1, 2, 3]), "give 3 pairs or more that differ"),
    (lambda: tables.rank_correlation([], []), "give 3 pairs or more that differ"),
    (lambda: tables.mean_interval([], "accuracy"), "there are no runs"),
    (lambda: tables.mean_interval([generations(1.0)], "loss"), "no column 'loss'"),
]


@pytest.mark.parametrize(("ask", "sentence"), REFUSED)
def test_what_cannot_be_said(ask, sentence):
    with pytest.raises(tables.TableError, match=sentence):
        ask()
