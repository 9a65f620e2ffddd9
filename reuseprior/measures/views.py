"""Comparisons to look at."""

from __future__ import annotations

import pandas as pd

from reuseprior.plotting import PAGE_WIDTH, Picture, mark_sizes, styled


def plot_comparison(table: pd.DataFrame) -> Picture:
    """Estimates, parameters and multiply-adds of a comparison's `table()`, a line a model."""
    shown = table.iloc[::-1]  # an axis counts upwards, and the best stands above
    with styled():
        fig = Picture(figsize=(PAGE_WIDTH, 1.0 + 0.24 * len(shown)))
        estimates, parameters, cost = fig.subplots(1, 3, sharey=True)
        rows = range(len(shown))
        estimates.plot(shown["P′_G"], rows, "o", color="C0", label="$P'_G$")
        estimates.plot(shown["P_G"], rows, "s", color="C1", mfc="white", label="$P_G$")
        estimates.set(xlabel="estimated performance, bits", yticks=rows, yticklabels=shown.index)
        estimates.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
        estimates.margins(x=0.15, y=0.35)
        for ax, column in ((parameters, "parameters"), (cost, "multiply-adds")):
            ax.plot(shown[column].clip(lower=1), rows, "o", color="C2")
            ax.set(xlabel=column, xscale="log")
            ax.margins(x=0.15)
            mark_sizes(ax)
    return fig
