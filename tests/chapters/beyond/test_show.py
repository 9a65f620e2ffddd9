"""What chapter 6 shows."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

from reuseprior import plotting
from reuseprior.chapters.beyond import show


@pytest.mark.parametrize("seed", range(6))
def test_lines_to_points_run_under_no_name(seed):
    rng = np.random.default_rng(seed)
    n = 200
    scores = pd.Series(31 + 10 * rng.beta(2, 4, n), name="R6")
    families = [f"family{i}" for i in range(n)]
    accuracies = 86 - 25 / (scores - 30) + rng.normal(0, 1, n)
    models = [f"zoo:{'net_' * (1 + i % 4)}{i}.a_recipe" for i in range(n)]
    table = pd.DataFrame({"family": families, "top1": accuracies, "model": models})
    fig = plotting.Picture(figsize=(plotting.PAGE_WIDTH / 2, 3.0))
    ax = fig.subplots()
    show.scatter(ax, table, scores, "top1")
    fig.draw_without_rendering()
    assert len(ax.texts) == 2 * show.LABELLED
    for text in ax.texts:
        line = text.arrow_patch.get_path().transformed(text.arrow_patch.get_transform())
        for other in ax.texts:
            assert not line.intersects_bbox(letters(other)), (text, other)


def letters(text):
    """Where the letters are, without the line."""
    return Text.get_window_extent(text).padded(-1.5)
