"""From a gap between two networks to a decision: how often the one ahead is the more accurate one.

`calibration.csv` beside this file is measured on three public benchmarks of image classifiers
(`chapters/beyond/prediction/calibration.py`, chapter 6), each network's accuracy published by
others.
"""

from __future__ import annotations

import csv
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import pairwise
from math import inf, log2
from pathlib import Path

GAPS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, inf)
"""Edges of the intervals of gaps, in bits; of a cost one bit is a factor of two."""
MEASURES = ("P′_G", "P_G", "multiply-adds", "parameters")
FILE = Path(__file__).with_name("calibration.csv")

WHAT_IT_IS = (
    "Right in: of pairs so far apart, how often the one ahead was the more accurate, on three "
    "benchmarks of image classifiers (timm, torchvision, NAS-Bench-201; least to greatest)."
)
SIZES_DIFFER = (
    "The inputs differ in size, and the estimates grow with it: a model may rank first for its "
    "larger input alone."
)
TIED = (
    "weights used in several layers, which these benchmarks do not test: sharing lowers P′_G even "
    "where it costs no accuracy."
)
TOKENS = "The inputs are tokens, not images: these shares may not carry over."


@cache
def _shares() -> dict[str, list[list[float]]]:
    """By measure, for each interval of gaps, the share of right pairs on each benchmark."""
    shares = {measure: [[] for _ in GAPS[1:]] for measure in MEASURES}
    with FILE.open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            if row["right"]:  # a benchmark may have no pair so far apart
                shares[row["measure"]][GAPS.index(float(row["gap"]))].append(float(row["right"]))
    return shares


def right(measure: str, gap: float) -> tuple[float, float]:
    """Of pairs `gap` bits apart in a measure, the share in the right order, least and greatest.

    >>> right("P_G", 0.05)  # table 4.3: V2-S-shared ahead of V2-B0
    (0.54..., 0.57...)
    """
    shares = _shares()[measure][bisect_right(GAPS, abs(gap)) - 1]
    return min(shares), max(shares)


def neighbours(ranked: Sequence[Mapping]) -> list[dict[str, str]]:
    """What P′_G and the two costs say of each model and the next of a ranking, a row a pair.

    `ranked` has rows with `model`, `P_G_spread` in bits, `multiply_adds` and `parameters`. A cost
    agrees where the model ahead has more of it; its own share of right pairs stands beside.
    """
    rows = []
    for ahead, of in pairwise(ranked):
        gap = ahead["P_G_spread"] - of["P_G_spread"]
        row = {"ahead": ahead["model"], "of": of["model"]}
        row["by P′_G"] = f"{gap:.2f} bits, right in {_percent('P′_G', gap)}" if gap < inf else "–"
        for cost, key in (("multiply-adds", "multiply_adds"), ("parameters", "parameters")):
            row[f"by {cost}"] = _by_cost(cost, ahead[key], of[key])
        rows.append(row)
    return rows


def limits(ranked: Sequence[Mapping]) -> list[str]:
    """What `neighbours` says and where it does not reach, a sentence each.

    The rows have `weight_nodes` and `input_nodes` besides, and `tokens` where token ids go in.
    """
    notes = [WHAT_IT_IS] if len(ranked) > 1 else []
    if len({row["input_nodes"] for row in ranked}) > 1:
        notes.append(SIZES_DIFFER)
    tied = [row["model"] for row in ranked if row["weight_nodes"] > row["parameters"]]
    if tied and len(ranked) > 1:
        notes.append(f"{', '.join(tied)}: {TIED}")
    if len(ranked) > 1 and any(row["tokens"] for row in ranked):
        notes.append(TOKENS)
    return notes


def _by_cost(cost: str, ahead: int, of: int) -> str:
    if ahead == of:
        return "equal"
    if not (ahead and of):
        return "–"
    gap = log2(ahead / of)
    word = "agree" if gap > 0 else "disagree"
    return f"{word}, ×{ahead / of:.3g}, right in {_percent(cost, gap)}"


def _percent(measure: str, gap: float) -> str:
    """Shares of some thousand pairs are never written as certain."""
    least, greatest = (min(round(100 * share), 99) for share in right(measure, gap))
    if least == 99:
        return "over 98 %"
    return f"{least} %" if least == greatest else f"{least}–{greatest} %"
