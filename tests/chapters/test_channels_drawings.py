"""What the chapter's drawings compute besides drawing."""

from math import log

import matplotlib.pyplot as plt
import pandas as pd
import pytest
import torch

from reuseprior.chapters import channels_runs


def test_repeating_is_compared_at_equal_parameters():
    table = channels_runs.at_equal_parameters()
    assert len(table) == 8 and (table.difference < 0).all()
    row = table.loc["filters repeat", "×4"]
    low, high = (2_929_866, 94.79), (11_173_962, 95.49)  # the piece of the line where it lies
    assert low[0] < row.parameters < high[0]
    part = log(row.parameters / low[0]) / log(high[0] / low[0])
    assert row["channels removed"] == pytest.approx(low[1] + part * (high[1] - low[1]))
    assert row.difference == pytest.approx(94.62 - row["channels removed"])


def test_kernels_stand_in_rows_of_channels():
    fig, ax = plt.subplots()
    weight = torch.arange(32 * 9.0).reshape(32, 1, 3, 3)
    channels_runs.kernels(ax, weight, "two rows", columns=16)
    drawn = torch.as_tensor(ax.images[0].get_array())
    assert drawn.shape == (6, 48) and torch.equal(drawn[3:, 3:6], weight[17, 0])
    plt.close(fig)


def test_every_way_has_a_marker_and_a_name():
    rows = [["plain", 700, 16.0, 60.0, 1.0], ["channels (full)", 200, 14.0, 55.0, float("nan")],
            ["channels (full)", 100, 13.0, 50.0, 2.0]]  # fmt: skip
    table = pd.DataFrame(rows, columns=["way", "parameters", "P_G", "accuracy", "sd"])
    fig, axes = plt.subplots(1, 2)
    channels_runs.all_ways(axes, table)
    names = [text.get_text() for text in axes[1].get_legend().get_texts()]
    assert names == ["channels (full)", "plain"] and axes[0].get_xlim() == (100, 1000)
    plt.close(fig)
