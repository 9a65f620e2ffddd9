"""Models in memory side by side, ranked by the estimate that their contexts give."""

from __future__ import annotations

import csv
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from itertools import pairwise
from math import inf, log2
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from reuseprior.contexts import (
    ContextCounts,
    CountingError,
    multiply_adds,
    operator_paths,
    trace_model,
)
from reuseprior.contexts.inputs import read
from reuseprior.quantities import Quantities

if TYPE_CHECKING:
    import pandas as pd

    from reuseprior.plotting import Picture


NO_PATH = "no input reaches the output: it ranks lowest, whatever its numbers are"
LEFT_OUT = "parameters have no context and are left out: its counts say which"


@dataclass(frozen=True)
class Compared:
    """A model of a comparison: what went in, what it costs, its counts and quantities."""

    name: str
    shape: str
    """Of its input, or of its inputs."""
    multiply_adds: int
    counts: ContextCounts
    quantities: Quantities
    reached: bool
    """Whether any input reaches the output."""
    tokens: bool
    """Whether an input is token ids."""

    @property
    def ranked(self) -> dict:
        """The row as `calibration.neighbours` and `calibration.limits` take it."""
        q = self.quantities
        return {
            "model": self.name,
            "P_G_spread": q.P_G_spread,
            "multiply_adds": self.multiply_adds,
            "parameters": q.parameters,
            "weight_nodes": q.weight_nodes,
            "input_nodes": q.input_nodes,
            "tokens": self.tokens,
        }


@dataclass(frozen=True)
class Comparison:
    """Models ranked by P′_G, the greatest first; displays as a table in a notebook.

    `comparison["name"]` gives a model's row with its counts, `table()` a DataFrame, `plot()` a
    figure.
    """

    rows: tuple[Compared, ...]

    def __getitem__(self, name: str) -> Compared:
        for row in self.rows:
            if row.name == name:
                return row
        raise KeyError(f"no model {name!r} is compared: {', '.join(r.name for r in self.rows)} are")

    def __iter__(self) -> Iterator[Compared]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def table(self) -> pd.DataFrame:
        """A row a model, with numbers to go on with: sizes in units, quantities in bits."""
        import pandas as pd

        columns = {
            "input": lambda r: r.shape,
            "P′_G": lambda r: r.quantities.P_G_spread,
            "P_G": lambda r: r.quantities.P_G,
            "expected spread": lambda r: r.quantities.expected_spread,
            "entropy": lambda r: r.quantities.entropy,
            "parameters": lambda r: r.quantities.parameters,
            "weight nodes": lambda r: r.quantities.weight_nodes,
            "multiply-adds": lambda r: r.multiply_adds,
        }
        values = {title: [value(row) for row in self.rows] for title, value in columns.items()}
        return pd.DataFrame(values, index=pd.Index([r.name for r in self.rows], name="model"))

    def neighbours(self) -> pd.DataFrame:
        """A row for each model and the next: which of them P′_G and the costs put ahead, and how
        often such a gap is right (`right`)."""
        import pandas as pd

        return pd.DataFrame(pairs_of_neighbours([row.ranked for row in self.rows]))

    def plot(self) -> Picture:
        """The estimates beside what the models cost, a line a model, the best above."""
        return plot_comparison(self.table())

    def _shown(self) -> pd.DataFrame:
        table = self.table()
        for title in ("P′_G", "P_G", "expected spread", "entropy"):
            table[title] = table[title].map("{:.4f}".format)
        for title in ("parameters", "weight nodes", "multiply-adds"):
            table[title] = table[title].map("{:,}".format)
        return table.rename_axis(None)

    def _notes(self) -> list[str]:
        notes = [f"{row.name}: {NO_PATH}" for row in self.rows if not row.reached]
        left_out = {r.name: sum(entries for _, entries, _ in r.counts.left_out) for r in self.rows}
        notes += [f"{name}: {n:,} {LEFT_OUT}" for name, n in left_out.items() if n]
        return notes + limits([row.ranked for row in self.rows])

    def _repr_html_(self) -> str:
        tables = [self._shown().to_html()]
        if len(self.rows) > 1:
            tables.append(self.neighbours().to_html(index=False))
        return "".join([*tables, *(f"<p>{escape(note)}</p>" for note in self._notes())])

    def _repr_pretty_(self, printer, cycle: bool) -> None:
        printer.text(str(self))

    def __str__(self) -> str:
        tables = [self._shown().to_string()]
        if len(self.rows) > 1:
            tables.append(f"\n{self.neighbours().to_string(index=False)}\n")
        return "\n".join([*tables, *self._notes()])


def plot_comparison(table: pd.DataFrame) -> Picture:
    """Estimates, parameters and multiply-adds of a comparison's `table()`, a line a model."""
    from reuseprior.plotting import PAGE_WIDTH, Picture, mark_sizes, styled  # loads matplotlib

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


def compare(
    models: Mapping[str, nn.Module],
    inputs: Any,
    *,
    batch_norm: str = "learnable",
    output: Any = None,
) -> Comparison:
    """Rank models by P′_G, their estimated performance from expected spread, without training.

    >>> small, large = nn.Linear(8, 2), nn.Sequential(nn.Linear(8, 64), nn.Linear(64, 2))
    >>> [row.name for row in compare({"small": small, "large": large}, (1, 8))]
    ['large', 'small']

    Args:
        models: modules by the names that the table shows.
        inputs: what all are given, as `count_contexts` takes it: a shape with a batch of one such
            as `(1, 3, 224, 224)`, or example tensors; or a mapping from a model's name to its own.
        batch_norm, output: as for `count_contexts`.

    Raises:
        CountingError: for a model that cannot be counted, or without an input; it names the model.
    """
    if not isinstance(models, Mapping) or not models:
        raise CountingError(
            "compare takes models by name: write it as compare({'a': net, 'b': other}, shape)."
        )
    rows = []
    for name, model in models.items():
        if isinstance(inputs, Mapping) and name not in inputs:
            raise CountingError(
                f"There is no input for {name!r}: a mapping gives each model's by its name, as "
                f"{{{name!r}: {{'input_ids': (1, 128)}}}}."
            )
        input_of = inputs[name] if isinstance(inputs, Mapping) else inputs
        try:
            rows.append(_compared(name, model, input_of, batch_norm, output))
        except CountingError as error:
            raise CountingError(f"{name}: {error}") from error
    rows.sort(key=lambda row: (row.reached, row.quantities.P_G_spread), reverse=True)
    return Comparison(tuple(rows))


def _compared(name: str, model: nn.Module, inputs, batch_norm: str, output) -> Compared:
    traced = trace_model(model, inputs, output=output)
    counts = traced.count(batch_norm=batch_norm)
    reached = operator_paths(traced).blur < inf
    cost = multiply_adds(traced)
    _, first = next(read(inputs, torch.float32).tensors())
    tokens = not (first.is_floating_point() or first.is_complex())
    return Compared(name, _shape(inputs), cost, counts, counts.quantities(), reached, tokens)


def _shape(inputs: Sequence | torch.Tensor) -> str:
    """The input's shape in words, without the batch; several joined by commas."""
    if isinstance(inputs, torch.Tensor):
        return "×".join(map(str, inputs.shape[1:])) or "1"
    if any(isinstance(one, (torch.Tensor, tuple, list)) for one in inputs):
        return ", ".join(map(_shape, inputs))
    return "×".join(map(str, inputs[1:])) or "1"


# How often the one ahead is the more accurate one ------------------------------------------------
#
# `calibration.csv` beside this file is measured on three public benchmarks of image classifiers
# (`chapters/beyond/compare.py`, chapter 6), each network's accuracy published by
# others.

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
    "weights used in several layers, which these benchmarks do not test. Of pairs that differ in "
    "sharing, P′_G has 71 % in the right order (57 to 83 %) and the number of parameters 66 % (50 "
    "to 81 %), no proven difference; beside a plain network of equal parameters the sharing one "
    "was better in 83 % (42 to 100 %, chapter 7)."
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


def pairs_of_neighbours(ranked: Sequence[Mapping]) -> list[dict[str, str]]:
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
