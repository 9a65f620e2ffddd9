"""Models in memory side by side, ranked by the estimate that their contexts give."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import inf
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from reuseprior.contexts import (
    ContextCounts,
    CountingError,
    multiply_adds,
    operator_paths,
    record_model,
)
from reuseprior.contexts.inputs import read
from reuseprior.measures import calibration
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
        often such a gap is right (`measures.calibration`)."""
        import pandas as pd

        return pd.DataFrame(calibration.neighbours([row.ranked for row in self.rows]))

    def plot(self) -> Picture:
        """The estimates beside what the models cost, a line a model, the best above."""
        from reuseprior.measures.views import plot_comparison  # matplotlib, only where it draws

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
        return notes + calibration.limits([row.ranked for row in self.rows])

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
        given = inputs[name] if isinstance(inputs, Mapping) else inputs
        try:
            rows.append(_compared(name, model, given, batch_norm, output))
        except CountingError as error:
            raise CountingError(f"{name}: {error}") from error
    rows.sort(key=lambda row: (row.reached, row.quantities.P_G_spread), reverse=True)
    return Comparison(tuple(rows))


def _compared(name: str, model: nn.Module, inputs, batch_norm: str, output) -> Compared:
    recorded = record_model(model, inputs, output=output)
    counts = recorded.count(batch_norm=batch_norm)
    reached = operator_paths(recorded).blur < inf
    cost = multiply_adds(recorded)
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
