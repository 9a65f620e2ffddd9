"""What averages do to R6 on NAS-Bench-201: a question that came up after the scores were seen.

Our R6 has a lower ρ there than the study's. Of five ways to read the steps of a signal that were
then tried on 700 cells, one came near it: averages that leave variances as they are. Here it is
tried on other cells, and no score of ours was changed for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from reuseprior import paths
from reuseprior.chapters.beyond import choice, survey
from reuseprior.chapters.beyond.cells import record_cell
from reuseprior.chapters.beyond.survey import EXPERIMENT, checked_rows, keep, short
from reuseprior.measures.scores import signal_paths

CELLS = 1000
TERMS = ("shortest", "mean_length", "layer_entropy")
COLUMNS = ("cell", *TERMS)
TRIED = 0, 700  # seed and size of the sample on which the ways were tried


def cells(table: pd.DataFrame) -> pd.DataFrame:
    """1,000 cells outside the choice that a path passes, none of them among the 700."""
    rest = table[~choice.cells_of(table) & np.isfinite(table["blur"])]
    seed, size = TRIED
    tried = rest.sample(size, random_state=seed)
    return rest[~rest["alike"].isin(tried["alike"])].sample(CELLS, random_state=seed)


def record(folder: Path | None = None) -> Path:
    """The terms of these cells where averages leave variances as they are; the run's folder."""
    chosen = cells(survey.joined("nas-bench-201"))
    tasks = dict(zip(chosen["cell"], chosen["cell"], strict=True))

    def rows(todo: list[str]) -> Iterator[dict]:
        for cell in todo:
            found = signal_paths(record_cell(cell), averages=False)
            yield {"cell": cell} | {term: short(getattr(found, term)) for term in TERMS}

    folder = folder or paths.RESULTS / EXPERIMENT / "averages"
    return keep(folder, {"cells": CELLS, "columns": COLUMNS}, tasks, rows)


def read(folder: Path | None = None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The cells as `survey.joined` has them, and the same with the terms that were recorded."""
    rows = checked_rows(folder or paths.RESULTS / EXPERIMENT / "averages", COLUMNS)
    rows["cell"] = rows["cell"].astype(str).str.zfill(6)  # digits are read as a number
    table = survey.joined("nas-bench-201").merge(rows, on="cell", suffixes=("", "_without"))
    others = table.assign(**{term: table[f"{term}_without"].astype(float) for term in TERMS})
    return table, others
