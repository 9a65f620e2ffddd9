"""The grids of figures 5.1 and 5.2."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from reuseprior.contexts import count_contexts
from reuseprior.models import MLP, without_weights
from reuseprior.quantities import derive


def grid(sizes: Sequence[int], *, inputs: int | None = 3, outputs: int | None = 1) -> pd.DataFrame:
    """Figures 5.1 and 5.2: MLPs of every width and depth, counted; a row a model.

    Columns: width, depth, spread (bits) and P_G_spread, with N_I and N_O as given; None is the
    model's width.
    """
    rows = []
    for width in sizes:
        for depth in sizes:
            features = width if inputs is None else inputs
            with without_weights():
                made = MLP(width, depth, in_features=features)
            found = count_contexts(made, (1, features))
            q = derive(
                found.log2_counts,
                found.multiplicities,
                input_nodes=features,
                output_nodes=width if outputs is None else outputs,
            )
            rows.append((width, depth, q.expected_spread, q.P_G_spread))
    return pd.DataFrame(rows, columns=["width", "depth", "spread", "P_G_spread"])
