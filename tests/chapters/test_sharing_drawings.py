"""Drawings of trained models, of however many there are."""

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from reuseprior.chapters import sharing_runs


@pytest.fixture
def axes():
    fig, axes = plt.subplots(1, 3)
    yield axes
    plt.close(fig)


def models(names, accuracies):
    table = pd.DataFrame({"model": names, "accuracy": accuracies, "sd": 0.1})
    return table.assign(params=1e6, P_G=20.0, P_G_spread=21.0)


def test_a_marker_a_model_however_many_are_recorded(axes):
    names = [f"V2-B{i}" for i in range(7)]
    sharing_runs.accuracy_against(axes, models(names, range(7)), "ours")
    assert [text.get_text() for text in axes[0].get_legend().get_texts()] == names


def test_models_a_hundredth_of_a_point_apart_are_drawn_side_by_side(axes):
    sharing_runs.accuracy_against(axes, models(["a", "b"], [83.08, 83.11]), "ours")
    low, high = axes[2].get_ylim()
    assert high - low == pytest.approx(sharing_runs.LEAST_POINTS)
    assert (low + high) / 2 == pytest.approx(83.095)


def test_without_a_settled_model_the_axes_say_so(axes):
    sharing_runs.accuracy_against(axes, models([], []), "ours")
    assert {ax.texts[0].get_text() for ax in axes} == {"no run yet that settled"}


def test_a_model_has_one_colour_full_without_sharing_and_broken_with_it(axes):
    names = ["V2-B0, width 1", "V2-B0-shared, width 1", "V2-B0-shared-with-bn, width 1", "V2-S"]
    rows = [(name, epoch, 1.0, 50.0) for name in names for epoch in range(1, 7)]
    curves = pd.DataFrame(rows, columns=["model", "epoch", "train_loss", "accuracy"])
    sharing_runs.training_curves(axes[:2], curves, "ours")
    lines = axes[0].get_legend().get_lines()
    assert len({line.get_color() for line in lines[:3]}) == 1
    assert lines[3].get_color() != lines[0].get_color()
    assert [line.is_dashed() for line in lines] == [False, True, True, False]
