"""What a gap between two networks is worth: how often the one ahead is the more accurate one.

Every pair of two networks of a benchmark is one comparison. Pairs share networks, and networks
share families, so intervals come from resampling whole families (`alike`): a pair counts as often
as both its networks are drawn.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from reuseprior.chapters.beyond import survey
from reuseprior.measures.comparing import GAPS, MEASURES
from reuseprior.measures.statistics import bootstrap, percentiles
from reuseprior.plotting import PAGE_WIDTH, STRONG, Picture

POPULATIONS = {"timm": "top1", "torchvision": "top1", "nas-bench-201": "cifar10"}
CELLS = 800  # of NAS-Bench-201, drawn: its 122 million pairs say no more
RESAMPLES = 200


def networks(benchmark: str) -> pd.DataFrame:
    """A benchmark's networks that pass a signal: `MEASURES` in bits, `accuracy` and `alike`.

    Costs are base-2 logarithms, so that one bit is a factor of two; rounded, as their last bits
    depend on the processor and a pair at an edge would change its interval.
    """
    table = survey.joined(benchmark)
    table = table[np.isfinite(table["blur"])]
    if benchmark == "nas-bench-201":
        table = table.sample(CELLS, random_state=0)
    columns = {
        "P′_G": table["P_G_spread"],
        "P_G": table["P_G"],
        "multiply-adds": np.log2(table["multiply_adds"]).round(9),
        "parameters": np.log2(table["parameters"]).round(9),
    }
    accuracy = table[POPULATIONS[benchmark]]
    return pd.DataFrame(columns).assign(accuracy=accuracy, alike=table["alike"])


def pairs_right(
    table: pd.DataFrame,
    measure: str,
    edges: Sequence[float] = GAPS,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> pd.DataFrame:
    """A row an interval of gaps: how many pairs lie in it, and the share in the right order.

    Columns `gap` (from) and `below` in bits, `pairs`, `right`, and `low` and `high`, a 95 %
    interval over resampled families. Pairs of equal accuracy are left out; pairs of equal estimate
    are half right.
    """
    values, accuracy = table[measure].to_numpy(), table["accuracy"].to_numpy()
    one, other = np.triu_indices(len(table), 1)
    better = np.sign(accuracy[one] - accuracy[other])
    one, other, better = one[better != 0], other[better != 0], better[better != 0]
    gaps = values[one] - values[other]
    places = np.searchsorted(edges, np.abs(gaps), side="right") - 1
    right = 1 + np.sign(gaps) * better  # 0, 1 or 2 halves

    def shares(weights: np.ndarray | None) -> np.ndarray:
        count = np.bincount(places, weights, len(edges) - 1)
        halves = np.bincount(places, right if weights is None else right * weights, len(edges) - 1)
        with np.errstate(invalid="ignore"):  # an interval may be empty in a sample
            return halves / (2 * count)

    family = pd.factorize(table["alike"])[0]
    drawn = []
    for sample in bootstrap(family.max() + 1, resamples, seed):
        times = np.bincount(sample, minlength=family.max() + 1)[family]
        drawn.append(shares((times[one] * times[other]).astype(float)))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All-NaN")  # an interval without any pair
        low, high = percentiles(drawn)
    return pd.DataFrame(
        {
            "gap": edges[:-1],
            "below": edges[1:],
            "pairs": np.bincount(places, minlength=len(edges) - 1),
            "right": shares(None),
            "low": low,
            "high": high,
        }
    )


def at_equal_frequency(table: pd.DataFrame, cost: str, **options) -> pd.DataFrame:
    """`pairs_right` of a cost, its intervals holding as many pairs as those of P_G's `GAPS`.

    A bit of P_G and a bit of a cost are no one currency, but the widest tenth of all gaps is one.
    """
    one, other = np.triu_indices(len(table), 1)
    own, gaps = (np.abs(table[m].to_numpy()[one] - table[m].to_numpy()[other])
                 for m in (cost, "P_G"))  # fmt: skip
    inner = (np.quantile(own, (gaps < edge).mean()) for edge in GAPS[1:-1])
    return pairs_right(table, cost, [0.0, *map(float, inner), np.inf], **options)


def calibrate() -> pd.DataFrame:
    """The rows of `measures/calibration.csv`: every benchmark, measure and interval of gaps."""
    parts = []
    for benchmark in POPULATIONS:
        table = networks(benchmark)
        for measure in MEASURES:
            found = pairs_right(table, measure)
            parts.append(found.assign(benchmark=benchmark, measure=measure))
    columns = ["benchmark", "measure", "gap", "below", "pairs", "right", "low", "high"]
    return pd.concat(parts)[columns].round(3).reset_index(drop=True)


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
