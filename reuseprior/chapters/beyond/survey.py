"""Our measures of a benchmark's models: recorded once, read back checked, counted again.

A survey is a run in `data/results/beyond/<benchmark>/`; its summary holds the checksum of its rows.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from reuseprior import paths, results
from reuseprior.chapters.beyond import benchmarks, preregistration
from reuseprior.chapters.beyond.cells import measure_cell
from reuseprior.measures.measuring import Conventions, Measure, measure_all
from reuseprior.results import METRICS, SUMMARY, Recording, ResultError

COLUMNS = (
    "model", "image_size", "held", "parameters", "multiply_adds", "blur", "blur_all",
    "shortest", "mean_length", "layer_entropy", "path_entropy", "expected_spread", "entropy",
    "total_surprisal", "P_G", "P_G_spread", "seconds", "reason",
)  # fmt: skip
"""A row a model. `held` counts all its parameters, `parameters` those with a context; `blur` and
`blur_all` are in bits a layer; `reason` says why a model could not be counted."""
WHOLE = ("image_size", "held", "parameters", "multiply_adds", "shortest")
EXPERIMENT = "beyond"
DIGITS = 12  # of the numbers that are kept
FLUSH = 60  # seconds between two writes of the rows
WAYS = {"nas-bench-201": measure_cell}  # quicker than a model at a time


def record(name: str, *, jobs: int = 1, folder: Path | None = None, progress: bool = True) -> Path:
    """Measure every model of a benchmark and keep the rows; goes on where it was stopped.

    ```python
    record("torchvision", jobs=2)
    ```

    Returns the run's folder. Models that cannot be counted are rows with a reason.
    """
    table = benchmarks.find(name).read().drop_duplicates("model")
    tasks = {task[0]: task for task in _tasks(name, table)}
    return keep(
        folder or paths.RESULTS / EXPERIMENT / name,
        {"benchmark": name, "columns": COLUMNS, "preregistration": preregistration.sha256()},
        tasks,
        partial(measured, jobs=jobs, progress=progress, how=WAYS.get(name)),
        lambda rows: {
            "models": len(rows),
            "refused": sum(row["reason"] is not None for row in rows),
            "model_seconds": round(sum(row["seconds"] or 0 for row in rows), 1),
        },
    )


def _tasks(name: str, table: pd.DataFrame) -> list[tuple[str, Conventions]]:
    """A benchmark's models with what is counted of them."""
    shape = benchmarks.find(name).shape
    if shape:
        return [(model, Conventions(shape=shape)) for model in table["model"]]
    sizes = zip(table["model"], table["image_size"].astype(int), strict=True)
    return [(model, Conventions(size)) for model, size in sizes]


def keep(
    folder: Path,
    config: dict,
    tasks: dict[str, Any],
    rows: Callable[[list], Iterable[dict]],
    about: Callable[[list[dict]], dict] = lambda rows: {},
) -> Path:
    """Record a row a task, `rows` of those not done yet; returns the run's folder.

    The first column holds the tasks' names, by which the rows are sorted in the end. The summary
    has what is said `about` the rows, their checksum and the provenance.
    """
    recording = Recording.start(folder, config, resume=True)
    key = config["columns"][0]
    done = {str(row[key]) for row in recording.rows}  # six digits are read as a number
    fresh, written = [], time.monotonic()
    for row in rows([task for name, task in tasks.items() if name not in done]):
        fresh.append(row)
        if time.monotonic() - written > FLUSH:
            recording.extend(fresh)
            fresh, written = [], time.monotonic()
    recording.extend(fresh)
    recording.sort(key=lambda row: str(row[key]))
    provenance = results.provenance(seed=0, device="cpu", data_checksum=None)
    recording.finish({**about(recording.rows), "sha256": _sha256(folder / METRICS), **provenance})
    return folder


def read(name: str, folder: Path | None = None) -> pd.DataFrame:
    """A recorded survey, a row a model, its rows checked against the summary's checksum.

    Raises `ResultError` where there is none, where it is not whole, or has other columns.
    """
    benchmarks.find(name)
    folder = folder or paths.RESULTS / EXPERIMENT / name
    rows = checked_rows(folder, COLUMNS)
    numbers = [name for name in COLUMNS if name not in ("model", "reason")]
    return rows.astype(dict.fromkeys(numbers, float))


def checked_rows(folder: Path, columns: Sequence[str]) -> pd.DataFrame:
    """The rows of a run, which must have these columns and its summary's checksum (ResultError)."""
    rows = pd.DataFrame(results.read_csv(folder / METRICS, columns), columns=list(columns))
    if results.read_json(folder / SUMMARY).get("sha256") != _sha256(folder / METRICS):
        raise ResultError(
            f"{folder / METRICS} has not the checksum of its {SUMMARY}: restore both, or record "
            "the run anew"
        )
    return rows


def joined(name: str) -> pd.DataFrame:
    """A benchmark's accuracies with our recorded measures beside them; no row for refused models.

    NAS-Bench-201's `held` is that of the cell itself, of which the counted one has the live edges;
    torchvision's is the published one, without GoogLeNet's heads that only training uses.
    """
    accuracies = benchmarks.find(name).read()
    found = read(name)
    table = accuracies.merge(found[found["reason"].isna()], on="model", suffixes=("", "_counted"))
    if name == "nas-bench-201":
        from reuseprior.models import nas_bench_201

        table["held"] = table["cell"].map(nas_bench_201.parameters).astype(float)
    if name == "torchvision":
        table["held"] = table["published_parameters"].astype(float)
    return table


def measured(
    tasks: Iterable[tuple[str, Conventions]],
    *,
    jobs: int = 1,
    progress: bool = False,
    how: Measure | None = None,
) -> Iterator[dict]:
    """Rows of `COLUMNS` for models, in the order in which they are done."""
    from tqdm.auto import tqdm

    tasks = list(tasks)
    disable = None if progress else True
    for done in tqdm(measure_all(tasks, jobs=jobs, how=how), total=len(tasks), disable=disable):
        row = dict.fromkeys(COLUMNS) | done.row()
        yield {name: short(row[name]) for name in COLUMNS}


def recounted(
    name: str, rows: pd.DataFrame, *, jobs: int = 1, progress: bool = False
) -> pd.DataFrame:
    """Rows of a benchmark's survey counted again, each from its own network, in the same order.

    >>> kept = read("nas-bench-201").sample(2, random_state=0)
    >>> agree(kept, recounted("nas-bench-201", kept))
    True
    """
    tasks = _tasks(name, rows)
    found = {row["model"]: row for row in measured(tasks, jobs=jobs, progress=progress)}
    return pd.DataFrame([found[model] for model in rows["model"]], columns=list(COLUMNS))


def agree(kept: pd.DataFrame, again: pd.DataFrame) -> bool:
    """Whether two tables hold the same models with the same numbers, seconds aside.

    Whole numbers must be equal, others to nine digits: sums of floats differ in their last bits
    between processors. Models that cannot be counted agree with each other.
    """
    floats = [n for n in COLUMNS if n not in ("model", "seconds", "reason", *WHOLE)]
    (whole, others), (whole_again, others_again) = (
        (table[list(WHOLE)].to_numpy(float), table[floats].to_numpy(float))
        for table in (kept, again)
    )
    return (
        list(kept["model"]) == list(again["model"])
        and np.array_equal(whole, whole_again, equal_nan=True)
        and np.allclose(others, others_again, rtol=1e-9, atol=0, equal_nan=True)
    )


def short(value):
    """A float to the digits that are kept, anything else as it is."""
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
