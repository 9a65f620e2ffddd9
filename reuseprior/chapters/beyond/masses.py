"""NN-Mass of a benchmark's models, where it is defined, beside our own measures.

Links are followed channel by channel, which takes longer than counting; so NAS-Bench-201's is that
of the cells for which training-free scores are published, and NAS-Bench-Macro is left out.
"""

from __future__ import annotations

import time
from functools import partial
from itertools import starmap
from pathlib import Path

import pandas as pd

from reuseprior import paths
from reuseprior.chapters.beyond import benchmarks, comparison, survey
from reuseprior.chapters.beyond.survey import EXPERIMENT, short
from reuseprior.errors import UserError
from reuseprior.measures import nn_mass
from reuseprior.measures.nn_mass import KINDS, NotApplicable
from reuseprior.models import catalog

SURVEYED = ("torchvision", "timm", "nas-bench-201")
COLUMNS = ("model", "nn_mass", "nn_density", "seconds", "reason")
"""A row a model; `reason` says why NN-Mass is not defined for it."""
OWN = {"NN-Mass": lambda t: t["nn_mass"], "NN-Density": lambda t: t["nn_density"]}


def record(name: str, *, progress: bool = True, folder: Path | None = None) -> Path:
    """NN-Mass of every model of a benchmark; goes on where it was stopped. Returns the folder.

    Raises UserError for a benchmark that is not surveyed.
    """
    from tqdm.auto import tqdm

    folder = folder or _folder(name)
    config = {"benchmark": name, "columns": COLUMNS}
    table = _chosen(name, benchmarks.find(name).read()).drop_duplicates("model")
    sizes = zip(table["model"], table["image_size"].astype(int), strict=True)
    bar = partial(tqdm, disable=None if progress else True)
    return survey.keep(
        folder, config, {task[0]: task for task in sizes}, lambda todo: starmap(_row, bar(todo))
    )


def joined(name: str) -> pd.DataFrame:
    """`survey.joined`, the models that have an NN-Mass alone, with `nn_mass` and `nn_density`."""
    rows = survey.checked_rows(_folder(name), COLUMNS)
    rows = rows.astype({"nn_mass": float, "nn_density": float})
    kept = rows.loc[rows["reason"].isna(), ["model", "nn_mass", "nn_density"]]
    return _chosen(name, survey.joined(name)).merge(kept, on="model")


def beside(name: str, accuracy: str, measures: tuple[str, ...], **options) -> pd.DataFrame:
    """NN-Mass and NN-Density with some of our measures, on the models that have them.

    As `comparison.compare` by τ, the differences against the first of `measures`.
    """
    table = joined(name)
    own = comparison.scores(table, benchmarks.find(name).examples(accuracy))[list(measures)]
    found = own.assign(**{column: get(table) for column, get in OWN.items()})
    return comparison.compare(
        found, table[[accuracy]], table["alike"], by="tau", against=measures[0], **options
    )


def refused(name: str) -> dict[str, int]:
    """How many of the benchmark's models NN-Mass is not defined for, by the kind of reason."""
    rows = survey.checked_rows(_folder(name), COLUMNS)
    reasons = _chosen(name, benchmarks.find(name).read()).merge(rows, on="model")["reason"].dropna()
    kinds = reasons.map(NotApplicable.kind_of).value_counts()
    return {kind: int(kinds.get(kind, 0)) for kind in KINDS}


def _folder(name: str) -> Path:
    if name not in SURVEYED:
        raise UserError(f"NN-Mass of {name!r} is not surveyed: there are {', '.join(SURVEYED)}")
    return paths.RESULTS / EXPERIMENT / f"{name}-nn-mass"


def _chosen(name: str, table: pd.DataFrame) -> pd.DataFrame:
    if name != "nas-bench-201":
        return table
    return table[table["cell"].isin(benchmarks.zero_cost_scores()["cell"])]


def _row(model: str, size: int) -> dict:
    start = time.perf_counter()
    row = dict.fromkeys(COLUMNS) | {"model": model}
    try:
        found = nn_mass.measure(catalog.build(model), (1, 3, size, size))
    except UserError as error:
        row["reason"] = str(error)
    else:
        row |= {"nn_mass": short(found.mass), "nn_density": short(found.density)}
    return row | {"seconds": round(time.perf_counter() - start, 3)}
