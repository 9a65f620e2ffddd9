"""Tables and grids for the chapter's notebook."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from reuseprior.chapters.thesis.energy.ledger import table_entries
from reuseprior.chapters.thesis.energy.readings import FAMILIES, input_shape, model, quantities
from reuseprior.contexts import record_model
from reuseprior.errors import UserError
from reuseprior.measures.energy import EnergyPrior, NoEstimate, TooLong
from reuseprior.report import published
from reuseprior.report.ledger import side_by_side

FORMATS = {
    "P_G": "{:.4f}".format,
    "P_G_spread": "{:.4f}".format,
    "PE": "{:.4e}".format,
    "CE": "{:.4e}".format,
    "params": "{:,}".format,
}
"""The computed columns of Tables 5.1 to 5.4, and how their values are shown."""


def printed_beside_computed(table: str) -> pd.DataFrame:
    """A table of chapter 5, "printed | computed" and the verdict's mark in every cell."""
    shown = side_by_side(table_entries(table), FORMATS)
    rows = published.load(f"thesis/{table}").set_index("id").loc[shown.index]
    width = rows["channels" if FAMILIES[table].is_cnn else "width"]
    label = width + " × " + rows.depth
    if "shared" in rows:
        label += rows.shared.map({"True": ", shared", "False": ""})
    shown.index = label.rename("width × depth")
    return shown.dropna(axis="columns", how="all")


def surface(table: pd.DataFrame, column: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Depths, widths and values of a grid as three arrays, for drawing."""
    values = table.pivot(index="width", columns="depth", values=column)
    depths, widths = np.meshgrid(values.columns, values.index)
    return depths, widths, values.to_numpy()


def under_priors(table: str, priors: Sequence[EnergyPrior]) -> pd.DataFrame:
    """P′ of the models of Table 5.1 or 5.3 under each prior, by depth.

    NaN where a prior's expected energy has no P′, and where paths are too long for it. The sizes
    that enter P′ are those of the table's own convention. Raises UserError for the other tables,
    whose rows share layers and count running statistics.
    """
    family = FAMILIES[table]
    if family.batch_norm:
        raise UserError(
            f"{table} shares layers and counts running statistics, and priors do neither: choose "
            "table-5-1 or table-5-3."
        )
    rows = {}
    for _, row in published.load(f"thesis/{table}").iterrows():
        width, depth = int(row["channels" if family.is_cnn else "width"]), int(row.depth)
        recorded = record_model(model(family, width, depth), input_shape(family, width))
        sizes = quantities(table, width, depth)
        rows[depth] = {p.name: _performance(p, recorded, sizes) for p in priors}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("depth")


def _performance(prior: EnergyPrior, recorded, sizes) -> float:
    try:
        return prior.ensemble(recorded).performance(
            input_nodes=sizes.input_nodes, output_nodes=1, weight_nodes=sizes.weight_nodes
        )
    except (NoEstimate, TooLong):
        return float("nan")
