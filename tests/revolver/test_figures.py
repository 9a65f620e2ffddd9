"""Tables against values by hand; figures say what their data say, how they look is for the eye."""

import random

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from reuseprior import plotting
from reuseprior import revolver as rv
from reuseprior.revolver import blocks, figures
from reuseprior.revolver.figures import TableError, sharing_table
from reuseprior.revolver.population import ModuleScore
from tests.revolver.worlds import SMALL, populate, settled


def population(count, **changes):
    space, rng, tags = rv.Space(**{**SMALL.to_data(), **changes}), random.Random(0), rv.Tags()
    return populate([rv.generate(space, rng, tags) for _ in range(count)])


def texts(ax):
    return [text.get_text() for text in ax.texts]


def labels(ticks):
    return [label.get_text() for label in ticks if label.get_text()]


@pytest.mark.parametrize("count", [2, 70])
def test_sharing_map(count):
    made = population(count)
    table = sharing_table(made).head(9)
    fig = figures.sharing_map(made, top=9)
    bars, cells, _ = fig.axes
    assert labels(cells.get_yticklabels()) == list(table.index)
    assert len(bars.patches) == count
    assert f"{len(table)} of {len(sharing_table(made))} shared modules" in bars.get_title()
    (mesh,) = cells.collections
    assert np.array_equal(mesh.get_array().filled(0).reshape(table.shape), table)
    if count <= figures.NUMBERED:
        assert labels(cells.get_xticklabels()) == [str(number) for number in table.columns]
        assert sorted(texts(cells)) == sorted(str(n) for n in table.to_numpy().ravel() if n)
    assert fig._repr_png_()[0][:4] == b"\x89PNG"  # displays where pyplot has drawn nothing yet
    alone = figures.sharing_map(population(2, unique=1.0))
    assert texts(alone.axes[1]) == ["nothing is shared"] and alone._repr_png_()


BORN = [  # who was born of whom by what, and when; 2 is without offspring or score
    (0, "", "initial", 0), (1, "", "initial", 0), (2, "", "initial", 0),
    (3, "0 1", "crossover+mutation", 1), (4, "0", "mutation", 2), (5, "3 4", "copyover", 3),
    (6, "", "immigration", 4), (7, "3", "mutation", 4),
]  # fmt: skip
LINEAGE = pd.DataFrame(BORN, columns=["child", "parents", "operator", "generation"])


def test_family_tree():
    fig = figures.family_tree(LINEAGE, pd.Series({5: 0.2, 3: 0.4, 7: 0.9}))
    ax = fig.axes[0]
    assert ax.get_title() == "7 individuals, 1 without offspring or score left out"
    assert labels(fig.legends[0].get_texts()) == [
        "initial (2)", "mutation (2)", "crossover (1)", "copyover (1)", "immigration (1)",
    ]  # fmt: skip
    # to the best, 5, lead 3 and 4, and to these 0 twice and 1
    assert sum(line.get_color() == plotting.STRONG for line in ax.lines) == 5
    assert texts(ax) == ["5: 0.200"]
    fig._repr_png_()


def test_each_individual_has_a_line_of_its_own():
    fig = figures.family_tree(LINEAGE, {2: 1.0})
    places = np.concatenate([drawn.get_offsets() for drawn in fig.axes[0].collections])
    assert len(places) == 8 and sorted(places[:, 1]) == list(range(8))
    born = dict(zip(places[:, 1], places[:, 0], strict=True))
    for line in fig.axes[0].lines:
        x, y = line.get_data()
        if line.get_linestyle() == "-" and len(x):  # from a parent: passes only the unborn
            between = range(int(min(y)) + 1, int(max(y)))
            assert all(born[lane] >= x[-1] for lane in between)


@pytest.mark.parametrize("parents", [("", "", "0 1"), ((), (), (0, 1)), (np.nan, None, "0 1")])
def test_parents_as_written_as_held_and_as_pandas_reads_them(parents):
    lineage = LINEAGE.iloc[[0, 1, 3]].assign(parents=pd.Series(parents, [0, 1, 3], dtype=object))
    assert figures.family_tree(lineage).axes[0].get_title() == "3 individuals"
    one_each = LINEAGE.iloc[[0, 4]].assign(parents=[np.nan, 0.0])
    assert figures.family_tree(one_each).axes[0].get_title() == "2 individuals"


def test_lineages_that_cannot_be():
    for lineage, sentence in (
        (LINEAGE.drop(index=1), "no parent 1 of individual 3"),
        (LINEAGE.replace("immigration", "magic"), "individual 6 .* unknown operator 'magic'"),
    ):
        with pytest.raises(TableError, match=sentence):
            figures.family_tree(lineage)


TRAININGS = pd.DataFrame({"generation": [1, 1, 2, 2], "accuracy": [0.0, 0.2, 0.4, 0.8]})


@pytest.mark.parametrize("window, last", [(1, [0.2, 0.8]), (2, [0.1, 0.6]), (700, [0.1, 0.35])])
def test_moving_average(window, last):
    ax = Figure().subplots()
    figures.draw_accuracy(TRAININGS, ax, window=window)
    dots, line = ax.lines
    assert list(dots.get_ydata()) == list(TRAININGS.accuracy)
    assert list(line.get_ydata()) == pytest.approx(last)
    assert labels(ax.get_legend().get_texts()) == [f"moving average of {window}"]


# Tables -------------------------------------------------------------------------------------------

A, B = "conv8_8_1_1_0_1_1_F", "conv8_8_3_1_1_1_1_F"


def rows_of(*kernels):
    """An individual for each tuple of kernel sizes: a row of as many shared convolutions."""
    rows = [[blocks.conv((8, 4, 4), 8, size) for size in sizes] for sizes in kernels]
    return populate([settled(blocks.ensemble_mean(members, tied=True)) for members in rows])


def test_sharing_table():
    table = figures.sharing_table(rows_of((1, 3, 3), (5, 1), (1, 3)))
    assert list(table.index) == [A, B]  # kernel 5 is used once in all
    assert table.loc[A].to_dict() == {0: 1, 1: 1, 2: 1}
    assert table.loc[B].to_dict() == {0: 2, 1: 0, 2: 1}
    assert list(table.columns) == [0, 2, 1]  # the two that hold the same are neighbours
    parts = figures.shared_parts(rows_of((1, 3), (1,)))  # 64 and 576 parameters
    assert parts.to_dict() == {0: pytest.approx(0.1), 1: 1.0}
    for kernels in ([], [(1,)], [(1,), (3,)]):  # nothing is shared
        assert figures.sharing_table(rows_of(*kernels)).shape == (0, len(kernels))
        assert list(figures.shared_parts(rows_of(*kernels))) == [0.0] * len(kernels)


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
