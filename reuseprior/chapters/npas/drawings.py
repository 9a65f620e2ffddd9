"""Drawings: accuracy against stored parameters, printed and ours."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes

from reuseprior.report import published

MARKERS = "os^v<>PD*XpHd8"  # one a way, as there are more ways than colours


def draw_table_14(ax: Axes) -> None:
    """CIFAR-100 error of table 14 against the per cent of parameters.

    Lines join one network's sizes; a network that shares and its smaller versions have one colour.
    """
    rows = published.load("npas/table-14")
    colors: dict[str, str] = {}
    for model, one in rows.groupby("model", sort=False):
        shares = one.shared.iloc[0] == "yes"
        family = model.removeprefix("SSN-").removesuffix(", smaller")
        color = colors.setdefault(family, f"C{len(colors)}")
        ax.plot(
            one.percent_of_parameters.astype(float), one.error.astype(float),
            "o-" if shares else "s--", color=color, mfc=None if shares else "white", label=model,
            lw=1,
        )  # fmt: skip
    ticks = [1, 2, 5, 10, 20, 50, 100]
    ax.set(xscale="log", xlabel="parameters, per cent of the network's", ylabel="error, %")
    ax.set_xticks(ticks, map(str, ticks))
    ax.set_xticks([], minor=True)
    ax.legend(fontsize=7, ncols=2)


def draw_compared(ax: Axes, models: pd.DataFrame, column: str = "accuracy") -> None:
    """A column of `contenders.compared` against stored parameters, a line a way of sharing.

    Bars are standard deviations over seeds.
    """
    for at, (way, rows) in enumerate(models.groupby("way", sort=False)):
        shares = way not in ("plain", "narrower", "shallower")
        style = f"{MARKERS[at]}-" if shares else f"{MARKERS[at]}--"
        spread = rows.sd if column == "accuracy" else None
        ax.errorbar(
            rows.parameters, rows[column], spread, fmt=style, color=f"C{at % 10}", label=way, lw=1,
            capsize=2,
        )  # fmt: skip
    ax.set(xscale="log", xlabel="stored parameters", xlim=(1e4, 1e6))
