"""What a bit is worth, in one figure."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from reuseprior.plotting import PAGE_WIDTH, STRONG, Picture

COSTS = {"multiply-adds": ("0.25", "s"), "parameters": ("0.6", "^")}
TICKS = ("<¼", "¼–½", "½–1", "1–2", "2–4", ">4")  # the intervals of `GAPS`


def plot_worth(found: Mapping[str, Mapping[str, pd.DataFrame]]) -> Picture:
    """Share of pairs in the right order, a panel a benchmark: `found[benchmark][measure]`.

    Columns as `calibration.pairs_right` has them. A cost's intervals hold as many pairs as P_G's,
    beside which they are drawn (`calibration.equal_frequency`).
    """
    fig = Picture(figsize=(PAGE_WIDTH, 2.7))
    panels = fig.subplots(1, len(found), sharey=True)
    for ax, (benchmark, by_measure) in zip(panels, found.items(), strict=True):
        rows = by_measure["P_G"]
        places = range(len(rows))
        ax.axhline(0.5, color="0.6", lw=0.6, linestyle=":")
        ax.vlines(places, rows["low"], rows["high"], color=STRONG, lw=1.2)
        ax.plot(places, rows["right"], "o-", color=STRONG, ms=4, label="$P_G$")
        for cost, (color, marker) in COSTS.items():
            shares = by_measure[cost]["right"].where(rows["pairs"] > 0)
            ax.plot(places, shares, marker, color=color, ms=3.5, mfc="white", label=cost)
        ax.set_xticks(places, TICKS)
        ax.set(title=benchmark, xlabel="gap in $P_G$, bits", ylim=(0.4, 1.02), xlim=(-0.4, 5.4))
    panels[0].set_ylabel("pairs in the right order")
    panels[0].set_yticks([0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
    panels[-1].legend(loc="lower right")
    fig.suptitle(
        "Two bits apart the order is nearly always right, a quarter of a bit is a coin toss",
        fontsize=9,
    )
    return fig
