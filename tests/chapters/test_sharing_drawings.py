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


def test_a_model_has_one_colour_full_without_sharing_and_broken_with_it(axes):
    names = ["V2-B0, width 1", "V2-B0-shared, width 1", "V2-B0-shared-with-bn, width 1", "V2-S"]
    rows = [(name, epoch, 1.0, 50.0) for name in names for epoch in range(1, 7)]
    curves = pd.DataFrame(rows, columns=["model", "epoch", "train_loss", "accuracy"])
    sharing_runs.training_curves(axes[:2], curves, "ours")
    lines = axes[0].get_legend().get_lines()
    assert len({line.get_color() for line in lines[:3]}) == 1
    assert lines[3].get_color() != lines[0].get_color()
    assert [line.is_dashed() for line in lines] == [False, True, True, False]
