"""Our measures of public models, recorded once and read back checked; nothing is trained but here.

A survey is a run in `data/results/beyond/NAME/`: a row a model, and in its summary the checksum of
the rows. SURVEYS says of each what is measured. What was preregistered stands
in two TOML files, whose hashes the runs hold.
"""

from __future__ import annotations

import hashlib
import random
import time
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import combinations
from math import log2
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from torch import nn

from reuseprior import data, paths, results
from reuseprior.contexts import TracedModel, multiply_adds, operator_paths, trace_model
from reuseprior.contexts.graph import averages
from reuseprior.errors import UserError, did_you_mean
from reuseprior.measures import energy, nn_mass
from reuseprior.measures.energy import EnergyPrior, Ensemble, NoEstimate
from reuseprior.measures.measuring import (
    Conventions,
    last_position,
    measure,
    measure_all,
    measured,
)
from reuseprior.measures.nn_mass import Architecture, LongRangeCNN
from reuseprior.measures.scores import SIZES, Score, signal_paths
from reuseprior.measures.statistics import Sample, differs, mean_interval, spearman
from reuseprior.models import ModelConfig, catalog, flexibert, hf, nas_bench, without_weights
from reuseprior.results import METRICS, SUMMARY, Recording, ResultError, Run
from reuseprior.revolver import Search, Settings
from reuseprior.training import Protocol, train

# What was preregistered ---------------------------------------------------------------------------

FILE = Path(__file__).with_name("preregistration.toml")
FRESH = Path(__file__).with_name("preregistration-fresh.toml")
"""What was fixed before the networks of random cells were trained."""


def sha256(file: Path = FILE) -> str:
    """Of a file, as each survey's configuration holds it."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


@cache
def preregistered(file: Path = FILE) -> dict[str, Any]:
    """A file as a dict of its tables."""
    return tomllib.loads(file.read_text(encoding="utf-8"))


# Public accuracies --------------------------------------------------------------------------------

LARGEST = 150e6  # parameters of the classifiers that are compared
DATA_SETS = ("cifar10", "cifar100", "imagenet16_120")  # of NAS-Bench-201
MICRO_TASKS = ("class_object", "class_scene", "jigsaw", "room_layout")  # of TransNAS-Bench-101
MACRO_TASKS = (*MICRO_TASKS, "autoencoder", "normal", "segmentsemantic")


@dataclass(frozen=True)
class Benchmark:
    """Models with accuracies, the higher the better, in columns named `accuracies`.

    None was trained here; data/README.md says where they are from.
    """

    name: str
    accuracies: tuple[str, ...]
    read: Callable[[], pd.DataFrame]
    """A row a model: `model` (a name for `models.build`, which may stand for several rows of equal
    counts), `image_size` (pixels a side), `family`, `alike` (models of which one says much of the
    others: what is drawn together), and the accuracies."""
    shape: tuple[int, ...] | None = None
    """Of the input, where it is no square image; `image_size` is then 0."""

    def examples(self, accuracy: str) -> int:
        """T, how many training examples the models had that `accuracy` is of.

        >>> find("nas-bench-201").examples("imagenet16_120")
        151700
        >>> find("transnas-micro").examples("jigsaw")
        80000
        """
        known = preregistered()["examples"][self.name]
        return known.get(accuracy) or known["every"]

    def conventions(self, image_size: float) -> Conventions:
        """What is counted of a model."""
        return Conventions(shape=self.shape) if self.shape else Conventions(int(image_size))


def find(name: str) -> Benchmark:
    """A benchmark by name; `UserError` for one that is not there."""
    if name not in BENCHMARKS:
        raise UserError(
            f"no benchmark {name!r}{did_you_mean(name, BENCHMARKS)}: there are "
            f"{', '.join(BENCHMARKS)}"
        )
    return BENCHMARKS[name]


def zero_cost_scores() -> pd.DataFrame:
    """Published training-free scores on NAS-Bench-201 (NASLib), a row a data set and cell.

    Columns `dataset`, `cell`, `validation_accuracy` and twelve scores. A sample of 725 cells.
    """
    return _table("nas-bench-201-zero-cost", cell=str)


def _table(name: str, **types) -> pd.DataFrame:
    return pd.read_csv(paths.checkout() / "data" / "benchmarks" / f"{name}.csv", dtype=types)


def _torchvision() -> pd.DataFrame:
    from torchvision import models

    rows = []
    for name in models.list_models(module=models):
        for weights in models.get_model_weights(name):
            published = weights.meta["num_params"]
            if weights.name == "IMAGENET1K_V1" and published <= LARGEST:
                family = models.get_model_builder(name).__module__.rpartition(".")[2]
                top1 = weights.meta["_metrics"]["ImageNet-1K"]["acc@1"]
                size = weights.transforms().crop_size[0]
                rows.append((f"torchvision:{name}", size, family, top1, published))
    columns = ["model", "image_size", "family", "top1", "published_parameters"]
    table = pd.DataFrame(rows, columns=columns)
    return table.assign(alike=table["family"])


def _timm() -> pd.DataFrame:
    table = _table("timm-in1k")
    table = table[table.pop("millions_of_parameters") <= LARGEST / 1e6].reset_index(drop=True)
    return table.assign(model="timm:" + table["model"], alike=table["family"])


def _cells(name: str, image_size: int, counted: str, alike: Callable[[str], str]) -> pd.DataFrame:
    """The model of a cell is that of its live edges, the family how many are `counted`."""
    table = _table(name, cell=str)
    live = table["cell"].map(nas_bench.live)
    family = live.str.count(f"[{counted}]").astype(str)
    size = {"image_size": image_size, "family": family, "alike": live.map(alike)}
    return table.assign(model=f"{name}:" + live, **size)


def _networks(name: str, column: str, image_size: int, family: Callable) -> pd.DataFrame:
    """Networks that are written as text in a column."""
    table = _table(name, **{column: str})
    written = table[column]
    size = {"image_size": image_size, "family": family(written), "alike": written}
    return table.assign(model=f"{name}:" + written, **size)


def _size_and_depth(encoders: pd.Series) -> pd.Series:
    """Nine encoders are in the file twice."""
    hidden, depth = encoders.str.split("-").str[0], encoders.str.count("-").astype(str)
    return hidden + " features, " + depth + " layers"


BENCHMARKS = {
    one.name: one
    for one in (
        Benchmark("torchvision", ("top1",), _torchvision),
        Benchmark("timm", ("top1",), _timm),
        Benchmark(  # family: poolings
            "nas-bench-201", DATA_SETS,
            partial(_cells, "nas-bench-201", 32, "4", nas_bench.isomorphism_class),
        ),
        Benchmark(  # layers that are no identity
            "nas-bench-macro", ("cifar10",),
            partial(_networks, "nas-bench-macro", "network", 32,
                    lambda text: text.str.count("[12]").astype(str)),
        ),
        Benchmark(  # modules
            "transnas-macro", MACRO_TASKS,
            partial(_networks, "transnas-macro", "modules", 256,
                    lambda text: text.str.len().astype(str)),
        ),
        Benchmark(  # convolutions
            "transnas-micro", MICRO_TASKS, partial(_cells, "transnas-micro", 256, "23", str)
        ),
        Benchmark(
            "flexibert", ("glue",), partial(_networks, "flexibert", "encoder", 0, _size_and_depth),
            flexibert.SHAPE,
        ),
    )
}  # fmt: skip


# Surveys ------------------------------------------------------------------------------------------

DIGITS = 12  # of the numbers that are kept
FLUSH = 60  # seconds between two writes of the rows


@dataclass(frozen=True)
class Survey:
    """Rows that are recorded once."""

    columns: tuple[str, ...]  # the first holds the names of the tasks
    tasks: Callable[[], Mapping[str, Any]]  # by name
    rows: Callable[..., Iterable[dict]]  # of a list of tasks, and `jobs`: so many processes
    config: Callable[[], dict] = dict  # what the run's configuration says beside the columns
    about: Callable[[list[dict]], dict] = lambda rows: {}  # what its summary says of the rows
    words: tuple[str, ...] = ("model", "reason")  # columns that hold no numbers


def record(
    name: str, folder: Path | None = None, *, jobs: int = 1, until: int | None = None,
    progress: bool = True,
) -> Path:  # fmt: skip
    """Make a survey and return its run's folder; goes on where it was stopped.

    ```python
    record("torchvision", jobs=2)
    ```

    Models that cannot be counted are rows with a reason. `until` is how many rows to have in the
    end, all if not given. Raises UserError for what is not surveyed.
    """
    from tqdm.auto import tqdm

    survey, disable = _find(name), None if progress else True

    def rows(todo: list) -> Iterator[dict]:
        for row in tqdm(survey.rows(todo, jobs), total=len(todo), disable=disable):
            yield {column: short(row.get(column)) for column in survey.columns}

    tasks = dict(list(survey.tasks().items())[:until])
    config = survey.config() | {"columns": survey.columns}
    return keep(folder or paths.RESULTS / "beyond" / name, config, tasks, rows, survey.about)


def read(name: str, folder: Path | None = None) -> pd.DataFrame:
    """A recorded survey, its rows checked against the summary's checksum.

    Raises `ResultError` where there is none, where it is not whole, or has other columns.
    """
    survey = _find(name)
    rows = checked_rows(folder or paths.RESULTS / "beyond" / name, survey.columns)
    if "cell" in rows:
        rows["cell"] = rows["cell"].astype(str).str.zfill(6)  # digits are read as a number
    return rows.astype({name: float for name in survey.columns if name not in survey.words})


def start(planned, root: Path | None = None, *, progress: bool = True) -> None:
    """Make a survey that the campaign plans."""
    record(planned.model, planned.folder(root), progress=progress)


def _find(name: str) -> Survey:
    if name not in SURVEYS:
        raise UserError(
            f"{name!r} is not surveyed{did_you_mean(name, SURVEYS)}: there are {', '.join(SURVEYS)}"
        )
    return SURVEYS[name]


def keep(
    folder: Path,
    config: dict,
    tasks: Mapping[str, Any],
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
    recording.finish({**about(recording.rows), "sha256": sha256(folder / METRICS), **provenance})
    return folder


def checked_rows(folder: Path, columns: Sequence[str]) -> pd.DataFrame:
    """The rows of a run, which must have these columns and its summary's checksum (ResultError)."""
    rows = pd.DataFrame(results.read_csv(folder / METRICS, columns), columns=list(columns))
    if results.read_json(folder / SUMMARY).get("sha256") != sha256(folder / METRICS):
        raise ResultError(
            f"{folder / METRICS} has not the checksum of its {SUMMARY}: restore both, or record "
            "the run anew"
        )
    return rows


def short(value):
    """A float to the digits that are kept, anything else as it is."""
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


# What is measured of public models ----------------------------------------------------------------

COLUMNS = (
    "model", "image_size", "held", "parameters", "multiply_adds", "blur", "blur_all",
    "shortest", "mean_length", "layer_entropy", "path_entropy", "expected_spread", "entropy",
    "total_surprisal", "P_G", "P_G_spread", "seconds", "reason",
)  # fmt: skip
"""A row a model. `held` counts all its parameters, `parameters` those with a context; `blur` and
`blur_all` are in bits a layer; `reason` says why a model could not be counted."""
WHOLE = ("image_size", "held", "parameters", "multiply_adds", "shortest")


def _measured(tasks: Iterable, jobs: int = 1) -> Iterator[dict]:
    """A row a model, in the order in which they are done."""
    return (done.row() for done in measure_all(list(tasks), jobs=jobs))


def _tasks(name: str, table: pd.DataFrame) -> dict[str, tuple[str, Conventions]]:
    """A benchmark's models with what is counted of them."""
    benchmark = find(name)
    sizes = zip(table["model"], table["image_size"], strict=True)
    return {model: (model, benchmark.conventions(size)) for model, size in sizes}


def _counts(rows: list[dict]) -> dict:
    return {
        "models": len(rows),
        "refused": sum(row["reason"] is not None for row in rows),
        "model_seconds": round(sum(row["seconds"] or 0 for row in rows), 1),
    }


def of_benchmark(name: str) -> Survey:
    """The survey of a benchmark's models."""
    return Survey(
        COLUMNS,
        lambda: _tasks(name, find(name).read().drop_duplicates("model")),
        _measured,
        lambda: {"benchmark": name, "preregistration": sha256()},
        _counts,
    )


def joined(name: str) -> pd.DataFrame:
    """A benchmark's accuracies with our recorded measures beside them; no row for refused models.

    NAS-Bench-201's `held` is that of the cell itself, of which the counted one has the live edges;
    torchvision's is the published one, without GoogLeNet's heads that only training uses.
    """
    counted = read(name)
    counted = counted[counted["reason"].isna()]
    table = find(name).read().merge(counted, on="model", suffixes=("", "_counted"))
    if name == "nas-bench-201":
        table["held"] = table["cell"].map(nas_bench.parameters).astype(float)
    if name == "torchvision":
        table["held"] = table["published_parameters"].astype(float)
    return table


def recounted(name: str, rows: pd.DataFrame, *, jobs: int = 1) -> pd.DataFrame:
    """Rows of a benchmark's survey counted again, each from its own network, in the same order.

    >>> kept = read("nas-bench-201").sample(2, random_state=0)
    >>> agree(kept, recounted("nas-bench-201", kept))
    True
    """
    again = measure_all(list(_tasks(name, rows).values()), jobs=jobs)
    by_model = {row["model"]: row for row in (done.row() for done in again)}
    kept = [{c: short(by_model[m].get(c)) for c in COLUMNS} for m in rows["model"]]
    return pd.DataFrame(kept, columns=list(COLUMNS))


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


# NN-Mass of them, where it is defined -------------------------------------------------------------

# Links are followed channel by channel, which takes longer than counting; so NAS-Bench-201's is of
# the cells for which training-free scores are published, and NAS-Bench-Macro is left out.
MASSES = ("torchvision", "timm", "nas-bench-201")
MASS = {"NN-Mass": "nn_mass", "NN-Density": "nn_density"}


def of_masses(name: str) -> Survey:
    """The survey of a benchmark's NN-Mass; `reason` says why it is not defined for a model."""
    return Survey(
        ("model", *MASS.values(), "seconds", "reason"),
        lambda: _tasks(name, _with_mass(name, find(name).read()).drop_duplicates("model")),
        lambda tasks, jobs: (_mass(*task) for task in tasks),
        lambda: {"benchmark": name},
    )


def _with_mass(name: str, table: pd.DataFrame) -> pd.DataFrame:
    if name != "nas-bench-201":
        return table
    return table[table["cell"].isin(zero_cost_scores()["cell"])]


def _mass(model: str, conventions: Conventions) -> dict:
    begin, size = time.perf_counter(), conventions.image_size
    row = {"model": model}
    try:
        mass = nn_mass.measure(catalog.build(model), (1, 3, size, size))
    except UserError as error:
        row["reason"] = str(error)
    else:
        row |= {"nn_mass": mass.mass, "nn_density": mass.density}
    return row | {"seconds": round(time.perf_counter() - begin, 3)}


def joined_masses(name: str) -> pd.DataFrame:
    """`joined`, the models that have an NN-Mass alone, with `nn_mass` and `nn_density`."""
    rows = read(f"{name}-nn-mass")
    kept = rows.loc[rows["reason"].isna(), ["model", *MASS.values()]]
    return _with_mass(name, joined(name)).merge(kept, on="model")


# A score chosen by ourselves, to see how much its constant matters --------------------------------

# The choice sees CIFAR-10 on about 1,000 cells of NAS-Bench-201 and half of torchvision's families,
# and nothing else. Isomorphic cells stand on the same side (`models.nas_bench.isomorphism_class`).
CHOSEN_ON = {"rho_cells": ("nas-bench-201", "cifar10"), "rho_classifiers": ("torchvision", "top1")}
EIGHTHS = 16  # constants from 0 to 2


def candidate_scores() -> dict[str, Score]:
    """By name: constants in eighths, and sizes in every combination; and no size at all.

    >>> len(candidate_scores())
    113
    """
    candidates = [Score("no size")]
    for n in range(1, len(SIZES) + 1):
        for sizes in combinations(SIZES, n):
            for weight in (eighth / 8 for eighth in range(1, EIGHTHS + 1)):
                candidates.append(Score(f"{weight:g} ({' + '.join(sizes)})", weight, sizes))
    return {score.name: score for score in candidates}


def cells_of(table: pd.DataFrame) -> pd.Series:
    """Which of NAS-Bench-201's cells the choice sees: whole structures, at least 1,000 cells."""
    choice = preregistered()["choice"]
    isomorphism_classes = sorted(set(table["alike"]))
    random.Random(choice["seed"]).shuffle(isomorphism_classes)
    sizes = table["alike"].value_counts()
    reached = np.cumsum([sizes[s] for s in isomorphism_classes])
    chosen = isomorphism_classes[: int(np.searchsorted(reached, choice["cells"])) + 1]
    return table["alike"].isin(chosen)


def classifiers_of(table: pd.DataFrame) -> pd.Series:
    """Which of torchvision's classifiers the choice sees: half of the families."""
    families = sorted(set(table["family"]))
    random.Random(preregistered()["choice"]["seed"]).shuffle(families)
    return table["family"].isin(families[: len(families) // 2])


def _seen() -> dict[str, pd.DataFrame]:
    """The choice sets."""
    cells, zoo = joined("nas-bench-201"), joined("torchvision")
    return {"nas-bench-201": cells[cells_of(cells)], "torchvision": zoo[classifiers_of(zoo)]}


def _chosen(scores: Iterable[Score], jobs: int) -> Iterator[dict]:
    """Every score with its ρ on the choice sets; one of -inf ranks lowest and is nothing else."""
    seen = _seen()
    for score in scores:
        rho = {}
        for column, (name, task) in CHOSEN_ON.items():
            ranks = score(seen[name], find(name).examples(task)).rank().to_numpy()
            rho[column] = spearman(ranks, seen[name][task])
        said = {"score": score.name, "weight": score.weight, "sizes": " + ".join(score.sizes)}
        yield said | rho | {"sum": sum(rho.values())}


def choice() -> pd.DataFrame:
    """Every candidate with its ρ on the two choice sets, the best sum first."""
    rows = read("choice")
    return rows.assign(sizes=rows["sizes"].fillna("")).sort_values("sum", ascending=False)


def best(table: pd.DataFrame) -> Score:
    """The candidate with the greatest sum, of those in `choice`'s table."""
    row = table.iloc[0]
    return Score(row["score"], row["weight"], tuple(filter(None, row["sizes"].split(" + "))))


# A prior chosen by ourselves ----------------------------------------------------------------------

# The choice sees 400 cells of NAS-Bench-201 and one data set of three. Every candidate is kept with
# its scores on these cells, so that what was not chosen can be read as well.
CELLS = 400
PRIORS: tuple[tuple[EnergyPrior, float], ...] = (
    (energy.reusability(), -1.0),
    (energy.reusability(), -0.5),
    (energy.reusability(), -2.0),
    (energy.discounted(0.5), -1.0),
    (energy.discounted(0.1), -1.0),
    (energy.length_normalised(), -1.0),
    (energy.through_nonlinearities(), -1.0),
    (energy.limited_precision(24), -1.0),
    (energy.limited_precision(64), -1.0),
    (energy.averages_weighted(1), -1.0),
    (energy.averages_weighted(2), -1.0),
)
"""Energy priors with their inverse temperatures β."""
BLURS = {  # of averages: the power of their coefficients, and whether pooling over all counts
    f"power {power:g}, {'all averages' if whole else 'windows only'}": (power, whole)
    for power in (0.5, 1.0, 2.0)
    for whole in (True, False)
}


def cells() -> list[str]:
    """The cells of the choice, drawn among those that a path passes: the same in each call.

    >>> len(cells())
    400
    """
    live = [code for code in nas_bench.codes() if nas_bench.live(code) != "000000"]
    return sorted(random.Random(0).sample(live, CELLS))


def _prior_columns() -> tuple[str, ...]:
    """Estimates under energy priors, and what averages keep."""
    estimates = [f"{sum_}, {_called(*prior)}" for prior in PRIORS for sum_ in ("P_G", "P′_G")]
    return ("cell", "parameters", "layers", *(f"log2 kept, {b}" for b in BLURS), *estimates)


def _traced(cell: str) -> TracedModel:
    """The record of a cell's live edges."""
    return trace_model(catalog.build(f"nas-bench-201:{nas_bench.live(cell)}"), (1, 3, 32, 32))


def _under_priors(cell: str) -> dict:
    """A row of `candidates`: one cell under every candidate."""
    traced = _traced(cell)
    counted = traced.count()
    sizes = {n: getattr(counted, n) for n in ("input_nodes", "output_nodes", "weight_nodes")}
    layers = operator_paths(traced).layers
    row = {"cell": cell, "parameters": counted.parameters, "layers": layers}
    for name, (power, whole) in BLURS.items():
        kept = operator_paths(traced, averages(power, whole=whole)).log2_kept
        row[f"log2 kept, {name}"] = kept
    for prior, beta in PRIORS:
        ensemble = prior.ensemble(traced).at(beta)
        for sum_, value in zip(("P_G", "P′_G"), _estimates(ensemble, sizes), strict=True):
            row[f"{sum_}, {_called(prior, beta)}"] = value
    return row


def _estimates(ensemble: Ensemble, sizes: dict[str, int]) -> Iterator[float]:
    """P from the total surprisal (equation 4.7) and P′ from the expected energy (4.8)."""
    each = np.log(ensemble.multiplicities) - np.log(ensemble.probabilities)
    surprisal = float(ensemble.multiplicities @ each) / np.log(2)
    yield log2(surprisal * (sizes["input_nodes"] / sum(sizes.values())))
    try:
        yield ensemble.performance(**sizes)
    except NoEstimate:  # its expected energy is too negative for a logarithm
        yield float("-inf")


def _called(prior: EnergyPrior, beta: float) -> str:
    return prior.name if beta == prior.beta else f"{prior.name} at β = {beta:g}"


def scores_of_priors(table: pd.DataFrame) -> dict[str, pd.Series]:
    """Every candidate's scores by its name: the energy priors, and blur taken off three sums."""
    named = {name: table[name] for name in table.columns if name.startswith(("P_G,", "P′_G,"))}
    sums = {sum_: table[f"{sum_}, {_called(*PRIORS[0])}"] for sum_ in ("P_G", "P′_G")}
    sums["log2 parameters"] = np.log2(table["parameters"])
    for name, total in sums.items():
        for blur in BLURS:
            kept = table[f"log2 kept, {blur}"]
            named[f"{name} − blur per layer, {blur}"] = total + kept / table["layers"]
            named[f"{name} − blur per path, {blur}"] = total + kept
    return named


# Averages -----------------------------------------------------------------------------------------

# What averages do to R6 on NAS-Bench-201, a question that came up after the scores were seen. Our
# R6 has a lower ρ there than the study's. Of five ways to read the steps of a signal that were then
# tried on 700 cells, one came near it: averages that leave variances as they are. Here it is tried
# on other cells, and no score of ours was changed for it.
OTHERS = 1000  # cells
TERMS = ("shortest", "mean_length", "layer_entropy")
TRIED = 0, 700  # seed and size of the sample on which the ways were tried


def other_cells(table: pd.DataFrame) -> pd.DataFrame:
    """1,000 cells outside the choice that a path passes, none of them among the 700."""
    rest = table[~cells_of(table) & np.isfinite(table["blur"])]
    seed, size = TRIED
    tried = rest.sample(size, random_state=seed)
    return rest[~rest["alike"].isin(tried["alike"])].sample(OTHERS, random_state=seed)


def _unaveraged(cell: str) -> dict:
    paths = signal_paths(_traced(cell), averages=False)
    return {"cell": cell} | {term: getattr(paths, term) for term in TERMS}


def without_averages() -> tuple[pd.DataFrame, pd.DataFrame]:
    """The cells as `joined` has them, and the same with the terms that were recorded."""
    table = joined("nas-bench-201").merge(read("averages"), on="cell", suffixes=("", "_without"))
    return table, table.assign(**{term: table[f"{term}_without"] for term in TERMS})


# Language models ----------------------------------------------------------------------------------

# Two suites, each of one source and one way to test: 17 models that predict the next token, by six
# zero-shot tasks, and six encoders, by five fine-tuned ones. The scores are quoted, not verified
# here (`data/README.md`); the models are built from their configurations, without weights.
TOKENS = 32  # of every input
SUITES = ("zero-shot", "fine-tuned")


def language_models() -> pd.DataFrame:
    """The models with their scores, a row each: `score` is the mean over the suite's tasks.

    Of SQuAD, for which two numbers are given, their mean stands for the task, as in the source.
    """
    table = _table("language-models")
    table["score"] = [
        mean(mean(map(float, task.split("/"))) for task in scores.split())
        for scores in table.pop("scores")
    ]
    return table


def build_language_model(kind: str, options: str) -> nn.Module:
    """A model without weights: a type of transformers and its settings, `name=number` each."""
    numbers = dict(option.split("=") for option in options.split())
    config = hf.configured(kind, {name: int(value) for name, value in numbers.items()})
    with without_weights():
        return hf.build(config)


def _language(one: dict) -> dict:
    """`held` counts all parameters, `parameters` those with a context; `multiply_adds` is for the
    whole input."""
    begin = time.perf_counter()
    network = build_language_model(one["type"], one["options"])
    width = network.get_input_embeddings().weight.shape[1]
    inputs = {"inputs_embeds": (1, TOKENS, width)}
    if one["type"] != "mamba":
        inputs["attention_mask"] = (1, TOKENS)
    is_causal = one["suite"] == "zero-shot"
    traced = trace_model(network, inputs, output=last_position if is_causal else "logits")
    quantities = traced.count().quantities()
    return one | {
        "layers": network.config.num_hidden_layers,
        "held": sum(p.numel() for p in network.parameters()),
        "parameters": quantities.parameters,
        "multiply_adds": multiply_adds(traced),
        "P_G": quantities.P_G,
        "P_G_spread": quantities.P_G_spread,
        "seconds": round(time.perf_counter() - begin, 3),
    }


# Networks that this project trained ---------------------------------------------------------------

# No score was formed on these: the confirmation. Five groups, each with one protocol and one data
# set, trained for a few epochs on small images. Of Revolver's populations only the best networks'
# blueprints are kept, so they are left out.


def own_networks() -> dict[str, list[Run]]:
    """The finished runs of each trained network, by its experiment and name without the seed."""
    networks: dict[str, list[Run]] = {}
    for experiment in preregistered()["confirmation"]["experiments"]:
        for run in results.finished_runs(experiment):
            networks.setdefault(f"{experiment}/{run.name.rpartition('-seed')[0]}", []).append(run)
    return networks


def own_network(name: str, runs: Sequence[Run]) -> dict:
    """Of its network, at the size it was tested at: group, T, accuracy over seeds, measures."""
    begin, config, protocol = time.perf_counter(), runs[0].config, runs[0].config["protocol"]
    experiment = name.partition("/")[0]
    size = protocol["test_image_size"] or protocol["image_size"]
    network, shape = _built(config), (1, protocol["channels"], size, size)
    traced = trace_model(network, shape)
    counted = measured(
        name, traced, traced.count().quantities(), image_size=size, shape=shape,
        held=sum(p.numel() for p in network.parameters()), start=begin,
    )  # fmt: skip
    return counted.row() | {
        "group": f"{experiment}, {config['model']}" if experiment == "channels" else experiment,
        "examples": config["images"]["train"],
        "accuracy": mean(run.summary["test_accuracy"] for run in runs),
        "seeds": len(runs),
    }


def _built(config: dict) -> nn.Module:
    """The network that a run's configuration says, without weights."""
    if "architecture" not in config:
        return ModelConfig.recorded(config).build(lazy=True)
    shape = config["architecture"]
    one = Architecture(shape["depth"], tuple(shape["widths"]), tuple(shape["candidates"]))
    with without_weights():
        return LongRangeCNN(one, classes=config["classes"], seed=config["seed"])


# Networks of random cells, trained after the score was fixed --------------------------------------


def _random_cells() -> dict[str, str]:
    """The networks that are trained."""
    names = [f"random-cells:{number}" for number in range(preregistered(FRESH)["networks"])]
    return dict(zip(names, names, strict=True))


def _trained_cells(names: Iterable[str], jobs: int) -> Iterator[dict]:
    """Half a minute each; the accuracy is the last epoch's on the test images, a part of one."""
    chosen = preregistered(FRESH)
    training, images = chosen["training"], data.load("cifar10")
    changes = {key: training[key] for key in ("train_images", "test_images", "epochs")}
    protocol, seed = Protocol.load(training["protocol"], **changes), training["seed"]
    for name in names:
        network = ModelConfig(name, seed=seed).build()
        with TemporaryDirectory() as folder:
            run = train(network, images, protocol, Path(folder) / "run", seed=seed, progress=False)
        row = measure(name, Conventions(chosen["image_size"])).row()
        accuracy = run.summary["test_accuracy"]
        yield row | {"examples": changes["train_images"], "accuracy": accuracy}


# Revolver with R6 as a genotype's fitness ---------------------------------------------------------

# Two searches a seed, alike but for the fitness of untrained blueprints, algorithm 2 of the thesis
# or R6: the same data and as many generations and replacements. How many batches a turn takes is
# the search's own choice. Accuracies are those of the best individual by validation, in parts of
# one, and the mean over the last 200 trainings; `seconds` are those of the whole search.
PRESET = "quick"
SEEDS = range(10)
FITNESS = ("thesis", "R6")
COMPARED = ("test_accuracy", "mean_validation_accuracy", "parameters", "batches", "seconds")


def _searches() -> dict[str, tuple[str, int]]:
    return {f"{fitness}-seed{seed}": (fitness, seed) for seed in SEEDS for fitness in FITNESS}


def _searched(searches: Iterable[tuple[str, int]], jobs: int) -> Iterator[dict]:
    """A minute each."""
    for fitness, seed in searches:
        begin = time.perf_counter()
        settings = Settings.load(PRESET, fitness=fitness)
        search = Search.start(settings, data.load(settings.data), seed=seed)
        while not search.complete:
            search.step()
        seconds = round(time.perf_counter() - begin, 1)
        about = {"search": f"{fitness}-seed{seed}", "fitness": fitness, "seconds": seconds}
        yield search.summary() | about


def compared_fitness(searches: pd.DataFrame) -> pd.DataFrame:
    """R6 less algorithm 2 by seed: mean, Student's interval, and whether it differs from none."""
    rows = {}
    for column in COMPARED:
        of = searches.pivot(index="seed", columns="fitness", values=column)
        gaps = (of["R6"] - of["thesis"]).astype(float)
        mean, low, high = mean_interval(gaps.to_numpy())
        means = {fitness: of[fitness].mean() for fitness in FITNESS}
        test = differs(Sample.of(gaps)).how
        rows[column] = means | {"difference": mean, "from": low, "to": high, "test": test}
    return pd.DataFrame.from_dict(rows, orient="index")


# All of them --------------------------------------------------------------------------------------


def _each(row: Callable[..., dict]) -> Callable[..., Iterator[dict]]:
    """Rows of a list of tasks, one by one."""
    return lambda tasks, jobs: map(row, tasks)


SURVEYS = {
    **{name: of_benchmark(name) for name in BENCHMARKS},
    **{f"{name}-nn-mass": of_masses(name) for name in MASSES},
    "choice": Survey(
        ("score", "weight", "sizes", *CHOSEN_ON, "sum"),
        candidate_scores,
        _chosen,
        lambda: {
            "cells": len(_seen()["nas-bench-201"]),
            "classifiers": len(_seen()["torchvision"]),
            "preregistration": sha256(),
        },
        words=("score", "sizes"),
    ),
    "candidates": Survey(
        _prior_columns(),
        lambda: {cell: cell for cell in cells()},
        _each(_under_priors),
        lambda: {"cells": CELLS},
        words=("cell",),
    ),
    "averages": Survey(
        ("cell", *TERMS),
        lambda: {cell: cell for cell in other_cells(joined("nas-bench-201"))["cell"]},
        _each(_unaveraged),
        lambda: {"cells": OTHERS},
        words=("cell",),
    ),
    "language-models": Survey(
        ("model", "suite", "score", "layers", "held", "parameters", "multiply_adds", "P_G",
         "P_G_spread", "seconds"),
        lambda: {row["model"]: row for row in language_models().to_dict("records")},
        _each(_language),
        lambda: {"tokens": TOKENS, "models": language_models()["model"].tolist()},
        words=("model", "suite"),
    ),
    "own": Survey(
        ("model", "group", "examples", "accuracy", "seeds", *COLUMNS[1:]),
        lambda: {name: (name, runs) for name, runs in own_networks().items()},
        _each(lambda task: own_network(*task)),
        lambda: {"preregistration": sha256()},
        words=("model", "group", "reason"),
    ),
    "random-cells": Survey(
        ("model", "examples", "accuracy", *COLUMNS[1:]),
        _random_cells,
        _trained_cells,
        lambda: {
            "data": "cifar10",
            "preregistration": sha256(FRESH),
            "training": preregistered(FRESH)["training"],
        },
    ),
    "genotypes": Survey(
        ("search", "fitness", "seed", "test_accuracy", "validation_accuracy",
         "mean_validation_accuracy", "parameters", "generations", "batches", "seconds"),
        _searches,
        _searched,
        lambda: {"preset": PRESET, "fitness": FITNESS, "seeds": len(SEEDS)},
        words=("search", "fitness"),
    ),
}  # fmt: skip
