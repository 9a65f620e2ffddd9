"""Tables for the chapter's notebook."""

from __future__ import annotations

import pandas as pd

from reuseprior.chapters.thesis.contexts.ledger import ranked_models
from reuseprior.chapters.thesis.contexts.readings import (
    OTHER_SIZES,
    QUANTITIES,
    quantities,
    readings,
    row_reading,
)
from reuseprior.contexts import ContextCounts, ParameterCount
from reuseprior.contexts.show import by_tensor
from reuseprior.quantities import Quantities
from reuseprior.report import published
from reuseprior.report.ledger import SIGNS, side_by_side
from reuseprior.report.published import Printed

FORMATS = {
    "P_G": "{:.4f}".format,
    "P_G_spread": "{:.4f}".format,
    "expected_spread": "{:.4f}".format,
    "entropy": "{:.4f}".format,
    "params": "{:,}".format,
    "image_size": "{}".format,
}
"""The computed columns of Tables 4.3 and 4.4, and how their values are shown."""


def printed_beside_computed(name: str) -> pd.DataFrame:
    """A table of the thesis, "printed | computed" and the verdict's mark in every cell."""
    table = side_by_side(ranked_models(f"thesis/{name}"), FORMATS)
    table.index = (
        published.load(f"thesis/{name}").set_index("id").loc[table.index, "model"].rename("model")
    )
    return table


def conventions(label: str, size: int) -> pd.DataFrame:
    """The quantities of one row under every reading, the text's first."""
    found = readings(label, size)
    return _quantities_table({r.convention or "as the text says": r.quantities for r in found})


_PRINTED_SIZE = 480  # of V2-M and V2-L in table 4.4


def exact_rows() -> pd.DataFrame:
    """V2-M and V2-L counted at their full 480 px, beside what Table 4.4 prints for them."""
    rows = {}
    for label, other in OTHER_SIZES.items():
        if other.inputs is None:  # N_I is taken at the printed size
            size = _PRINTED_SIZE
            rows[f"{label}, counted at {other.counted} px"] = quantities(
                label, other.counted, inputs=size
            )
            rows[f"{label}, counted at {size} px"] = quantities(label, size)
    return _quantities_table(rows)


def estimates_and_scores(name: str = "table-4-4") -> pd.DataFrame:
    """A table's models with the paper's scores, the table's own estimates and parameters.

    The paper's scores, because the thesis repeats its own table 4.3's for V2-S. V2-M and V2-L are
    counted at the size that their accuracy belongs to.
    """
    rows = {}
    for _, row in published.load(f"paper/{name.replace('4-', '', 1)}").iterrows():
        sizes = OTHER_SIZES.get(row.model)
        counted = None if sizes is None else sizes.inputs or int(row.image_size)
        q = row_reading(row).quantities if sizes is None else quantities(row.model, counted)
        score = float(Printed.parse(row.score).value)
        rows[row.model] = [score, q.P_G, q.P_G_spread, q.parameters]
    columns = ["score", "P_G", "P_G_spread", "params"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)


def _quantities_table(rows: dict[str, Quantities]) -> pd.DataFrame:
    shown = {
        name: {column: FORMATS[column](value(q)) for column, value in QUANTITIES.items()}
        for name, q in rows.items()
    }
    return pd.DataFrame.from_dict(shown, orient="index").rename(columns=SIGNS)


def by_depth(found: ContextCounts) -> pd.DataFrame:
    """Each parameter tensor in the order of the network, with where its contexts live.

    To the columns of `by_tensor` comes kind: convolution, depthwise, batch norm, squeeze–excite or
    classifier.
    """
    return by_tensor(found).assign(kind=[_kind(p) for p in found.parameter_counts])


def _kind(count: ParameterCount) -> str:
    if "gate" in count.name:
        return "squeeze–excite"
    if "classifier" in count.name:
        return "classifier"
    if len(count.shape) == 1:
        return "batch norm"
    return "depthwise" if count.shape[1] == 1 else "convolution"
