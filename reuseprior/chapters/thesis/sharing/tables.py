"""Tables for the chapter's notebook."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from reuseprior.report import published
from reuseprior.report.ledger import Entry, side_by_side


def trained_beside_computed(entries: Iterable[Entry]) -> pd.DataFrame:
    """Table 4.2 of the thesis, "printed | computed" and the verdict's mark in every cell."""
    formats = {
        "params": "{:,}".format,
        "flops": lambda x: f"{x / 1e9:.2f}B",
        "score": "{:.1f}".format,
        "batch": "{}".format,
        "epochs": "{}".format,
    }
    table = side_by_side([e for e in entries if e.source == "thesis"], formats)
    rows = published.load("thesis/table-4-2").set_index("id").loc[table.index]
    table.index = pd.MultiIndex.from_frame(rows[["dataset", "model"]])
    return table
