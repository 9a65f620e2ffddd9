"""The thesis's quantities, from counts of contexts and nothing else (definitions 3–6)."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import log2

import numpy as np


@dataclass(frozen=True)
class Quantities:
    """What a graph's counts of contexts say about it; displays as a table in a notebook."""

    parameters: int
    """N_G, parameters with at least one context."""
    weight_nodes: int
    """W_G, every weight once for each layer that uses it."""
    input_nodes: int
    """N_I."""
    output_nodes: int
    """N_O."""
    log2_contexts: float
    """log2 N_C, bits: all contexts of all parameters."""
    expected_spread: float
    """E[log2 |C|], bits (definition 3)."""
    entropy: float
    """H(W), bits (definition 4)."""
    total_surprisal: float
    """S_G, bits (definition 5)."""
    P_G: float
    """Estimated performance from total surprisal (equation 4.7)."""
    P_G_spread: float
    """P′_G, estimated performance from expected spread (equation 4.8)."""

    @property
    def graph_size(self) -> int:
        """|G| = N_I + N_O + W_G (definition 6)."""
        return self.input_nodes + self.output_nodes + self.weight_nodes

    @property
    def parameter_efficiency(self) -> float:
        """PE = P_G / N_G (equation 5.1)."""
        return self.P_G / self.parameters

    @property
    def parameter_efficiency_spread(self) -> float:
        """PE with P′_G."""
        return self.P_G_spread / self.parameters

    @property
    def compute_efficiency(self) -> float:
        """CE = P_G / W_G (equation 5.2)."""
        return self.P_G / self.weight_nodes

    def to_dict(self) -> dict[str, int | float]:
        """The fields by name, for JSON."""
        return asdict(self)

    def table(self):
        """A pandas DataFrame with symbol, value and meaning."""
        import pandas as pd

        header, *rows = self._rows()
        return pd.DataFrame(rows, columns=header)

    def _rows(self) -> list[tuple[str, str, str]]:
        return [
            ("symbol", "value", "meaning"),
            ("N_G", f"{self.parameters:,}", "parameters with a context"),
            ("W_G", f"{self.weight_nodes:,}", "weight nodes"),
            ("N_I", f"{self.input_nodes:,}", "input nodes"),
            ("N_O", f"{self.output_nodes:,}", "output nodes"),
            ("log2 N_C", f"{self.log2_contexts:.4f}", "all contexts, bits"),
            ("E[log2 |C|]", f"{self.expected_spread:.4f}", "expected spread, bits"),
            ("H", f"{self.entropy:.4f}", "entropy, bits"),
            ("S_G", f"{self.total_surprisal:.6g}", "total surprisal, bits"),
            ("P_G", f"{self.P_G:.4f}", "estimated performance, from surprisal"),
            ("P′_G", f"{self.P_G_spread:.4f}", "estimated performance, from spread"),
        ]

    def _repr_html_(self) -> str:
        return self.table().to_html(index=False)

    def _repr_pretty_(self, printer, cycle: bool) -> None:
        printer.text(str(self))

    def __str__(self) -> str:
        return aligned(self._rows())


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Rows of text as a table for a terminal, each column as wide as its longest entry.

    >>> print(aligned([("model", "P_G"), ("V2-B0", "26.33")]))
    model   P_G
    V2-B0 26.33

    Pandas would write the same, after half a second of imports.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        " ".join(text.rjust(width) for text, width in zip(row, widths, strict=True)) for row in rows
    )


def derive(
    log2_counts,
    multiplicities=None,
    *,
    input_nodes: int,
    output_nodes: int,
    weight_nodes: int | None = None,
    expectations: bool = False,
) -> Quantities:
    """Derive the quantities from log2 counts, each standing for `multiplicities` parameters.

    Appendix A.3 of the thesis: four parameters with two contexts and four with one.

    >>> q = derive([1.0, 0.0], [4, 4], input_nodes=2, output_nodes=1)
    >>> round(q.total_surprisal, 2), round(q.entropy, 2), round(q.expected_spread, 2)
    (24.68, 2.92, 0.67)
    >>> round(q.P_G, 2), round(q.P_G_spread, 2)
    (2.17, 1.28)

    Everything stays in log space, so counts of 2^100000 are fine. `weight_nodes` defaults to the
    number of parameters (no sharing). With `expectations` counts may be below one, as those of
    experts that are chosen now and then. Raises ValueError for no counts, zero or NaN counts,
    counts or multiplicities below one, and sizes below one.
    """
    logs = np.asarray(log2_counts, np.float64).ravel()
    times = np.ones(len(logs)) if multiplicities is None else _weights(multiplicities, len(logs))
    _check_counts(logs, -np.inf if expectations else 0)
    parameters = int(times.sum())
    weight_nodes = parameters if weight_nodes is None else weight_nodes
    for name, size in [
        ("input_nodes", input_nodes), ("output_nodes", output_nodes), ("weight_nodes", weight_nodes)
    ]:  # fmt: skip
        if not size >= 1:
            raise ValueError(f"{name}={size}, but a graph has at least one: pass its true number.")
    top = logs.max()
    below = top - logs  # differences first: counts may be so large that sums lose their digits
    weights = np.exp2(-below)
    log2_total = np.log2(weights @ times)
    shares = weights / (weights @ times)  # p_i, which may underflow to a harmless zero
    spread = float(top - (shares * times) @ below)
    entropy = float(-(shares * np.log2(np.where(shares > 0, shares, 1))) @ times)
    total_surprisal = float((below + log2_total) @ times)
    scale = input_nodes / (input_nodes + output_nodes + weight_nodes)
    quantities = Quantities(
        parameters=parameters,
        weight_nodes=weight_nodes,
        input_nodes=input_nodes,
        output_nodes=output_nodes,
        log2_contexts=float(top + log2_total),
        expected_spread=spread,
        entropy=entropy,
        total_surprisal=total_surprisal,
        P_G=log2(total_surprisal * scale) if total_surprisal > 0 else float("-inf"),
        P_G_spread=log2(parameters * (spread + 1) * scale) if spread > -1 else float("-inf"),
    )
    sys.audit("reuseprior.quantities", quantities)  # for who asks why a number is what it is
    return quantities


def _weights(multiplicities, length: int) -> np.ndarray:
    times = np.asarray(multiplicities, np.float64).ravel()
    if len(times) != length:
        raise ValueError(
            f"{length} counts but {len(times)} multiplicities: pass one multiplicity a count."
        )
    is_number = np.isfinite(times) & (times > 0) & (times == np.floor(times))
    if not is_number.all():
        raise ValueError(
            f"Multiplicity {times[~is_number][0]:g} is not a positive whole number: leave such "
            "counts out."
        )
    return times


def _check_counts(logs: np.ndarray, least: float) -> None:
    if len(logs) == 0:
        raise ValueError("No counts were given: a graph needs at least one parameter.")
    if np.isnan(logs).any():
        raise ValueError(f"Count {int(np.isnan(logs).argmax())} is NaN: pass log2 of a count ≥ 1.")
    if np.isinf(logs).any():
        where = int(np.isinf(logs).argmax())
        kind = "zero" if logs[where] < 0 else "infinite"
        raise ValueError(
            f"Count {where} is {kind} (log2 {logs[where]}): leave parameters without contexts "
            "out, and pass log2 of finite counts."
        )
    if (logs < least).any():
        where = int((logs < least).argmax())
        raise ValueError(
            f"Count {where} is less than one (log2 {logs[where]:g}): pass log2 of counts of "
            "contexts, which are at least one."
        )
