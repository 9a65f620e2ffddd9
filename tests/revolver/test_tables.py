"""Numbers about populations, against values worked out by hand."""

import pandas as pd
import pytest

from reuseprior.revolver import blocks, figures
from reuseprior.revolver.population import ModuleScore
from tests.revolver.worlds import populate, settled

A, B = "conv8_8_1_1_0_1_1_F", "conv8_8_3_1_1_1_1_F"


def population(*kernels):
    """An individual for each tuple of kernel sizes: a row of as many shared convolutions."""
    rows = [[blocks.conv((8, 4, 4), 8, size) for size in sizes] for sizes in kernels]
    return populate([settled(blocks.ensemble_mean(members, tied=True)) for members in rows])


def test_sharing_table():
    table = figures.sharing_table(population((1, 3, 3), (5, 1), (1, 3)))
    assert list(table.index) == [A, B]  # kernel 5 is used once in all
    assert table.loc[A].to_dict() == {0: 1, 1: 1, 2: 1}
    assert table.loc[B].to_dict() == {0: 2, 1: 0, 2: 1}
    assert list(table.columns) == [0, 2, 1]  # the two that hold the same are neighbours
    parts = figures.shared_parts(population((1, 3), (1,)))  # 64 and 576 parameters
    assert parts.to_dict() == {0: pytest.approx(0.1), 1: 1.0}
    for kernels in ([], [(1,)], [(1,), (3,)]):  # nothing is shared
        assert figures.sharing_table(population(*kernels)).shape == (0, len(kernels))
        assert list(figures.shared_parts(population(*kernels))) == [0.0] * len(kernels)


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
    table = figures.module_table(modules)
    assert list(table.name) == ["a", "b", "c"] and list(table.index) == [1, 2, 3]
    assert list(table["kernel size"]) == ["1x1", "1x1", "3x3"]
    assert list(figures.module_table(modules, top=1).name) == ["a"]
    assert list(figures.module_table(modules, individuals=1).name) == ["alone", "a", "b", "c"]
    norms = figures.module_table(modules, kinds=["batch_norm"])
    assert list(norms["kernel size"]) == [""]
    assert figures.module_table([]).empty
    recorded = pd.DataFrame([{"rank": 1, **module._asdict()} for module in modules])
    pd.testing.assert_frame_equal(figures.module_table(recorded), table)
