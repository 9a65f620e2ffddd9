"""Every printed number of chapter 3 and appendix C, with what became of it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache, partial
from math import isfinite, nan
from statistics import fmean

import pandas as pd
import torch

from reuseprior import results
from reuseprior.chapters import revolver_print
from reuseprior.chapters.revolver_print import (
    ARGUMENTS,
    COMMAND_LINE,
    ENSEMBLE,
    IN_TEXT,
    OF_THE_DATA,
    WIDTHS,
    command_lines,
    number,
    protocol,
    said,
)
from reuseprior.chapters.revolver_print import from_thesis as from_thesis
from reuseprior.data import DataSet, Images
from reuseprior.report import published
from reuseprior.report.cells import Cells
from reuseprior.report.ledger import Interpretation, public
from reuseprior.report.published import Printed
from reuseprior.report.runs import (
    SEEDS,
    Claim,
    RunSelection,
    machine,
    options,
    runs_for,
    settings,
)
from reuseprior.results import Run
from reuseprior.revolver import Population, Search, Settings
from reuseprior.revolver.blueprints import Blueprint

PARTS = Cells(__name__, "thesis/chapter-3", {"thesis, section C.4": revolver_print.example})

PRESETS = {
    "mnist": {"genetic": "cpu-minutes-mnist-evolve", "random": "cpu-minutes-mnist-random"},
    "cifar10": {"genetic": "cpu-hours-cifar10-evolve", "random": "cpu-hours-cifar10-random"},
}
"""Our presets of a data set's genetic and random search.

MNIST's scale was chosen on validation images by pilots of seed 100. One that passes has the highest
validation accuracy, in both kinds of search, by a network that was born after the first population.
None did; of this one random search did.
"""

OFTEN = 4
"""A network that was trained more often is no newborn, whose accuracy says little of a search."""

IMAGES = {"mnist": (1, 28, 28), "cifar10": (3, 32, 32)}
"""Channels, height and width of their images."""


def searches(data: str) -> dict[str, list[Run]]:
    """The recorded searches of PRESETS: lists of runs, `genetic` and `random`."""
    return {kind: runs(preset) for kind, preset in PRESETS[data].items()}


def repeat(run: Run) -> str:
    """The command that makes a recorded search anew as it was made, and its commit."""
    settings = Settings.from_data(run.config["settings"])
    preset = settings.name
    now, then = _flat(Settings.load(preset).to_data()), _flat(settings.to_data())
    changes = {key: value for key, value in then.items() if now.get(key) != value}
    again = f"reuseprior evolve {preset}{options(changes)} --seed {run.config['seed']}"
    return f"{machine(run)}{again} --output build/again/{run.name}  # commit {run.commit}"


def _flat(data: Mapping) -> dict[str, object]:
    """Settings as `--set` names them, without those that a search takes from its data."""
    flat = {key: value for key, value in data.items() if key not in ("space", "rates")}
    for table in ("space", "rates"):
        inner = {k: v for k, v in data[table].items() if k not in OF_THE_DATA}
        flat |= {f"{table}.{key}": value for key, value in inner.items()}
    return json.loads(json.dumps(flat))  # as it is read: tuples are lists


def runs(preset: str | None = None, **changes: object) -> list[Run]:
    """The finished searches with all settings of a preset, some replaced, by their seed; or all."""
    if preset is not None:
        by_seed = runs_for(run_selection(preset, lambda run: nan, **changes))
        return [run for of_a_seed in by_seed.values() for run in of_a_seed]
    return results.finished_runs("revolver")


def run_selection(
    preset: str,
    value: Callable[[Run], float],
    counts: Callable[[Sequence[Run]], Sequence[Run]] = lambda searches: searches,
    **changes: object,
) -> RunSelection:
    """The searches with all settings of a preset, some replaced, and the `value` of one."""
    config = settings(Settings.load(preset, **changes).to_data(), {})
    space = {key: value for key, value in config["space"].items() if key not in OF_THE_DATA}
    whole = {"settings": config | {"space": space}}
    return RunSelection("revolver", whole, lambda searches: value(searches[0]), counts=counts)


def tables_of(run: Run, name: str) -> pd.DataFrame:
    """A table of a search beside its generations: `trainings`, `modules` or `lineage`."""
    return pd.read_csv(run.folder / f"{name}.csv")


def results_table(searches: Iterable[Run]) -> pd.DataFrame:
    """Our searches in the columns of table 3.2, one row a search; accuracies in per cent.

    The mean validation accuracy is that of the `last_trainings` of a search, of all networks and of
    those that were trained more than OFTEN times by then. `focus` says whether only the best part
    of the population was trained in the last fifth, which searches from before it do not say.
    """
    rows = {}
    for run in searches:
        s, settings = run.summary, run.config["settings"]
        rows[run.name] = {
            "data": run.config["data"],
            "mode": s["mode"],
            "focus": settings.get("focus", False),
            "population": settings["population"],
            "generation": s["best_generation"],
            "sample": settings["sample"],
            "params": s["parameters"],
            "test": 100 * s["test_accuracy"],
            "mean validation": mean_validation(run),
            f"trained > {OFTEN} times": mean_validation(run, OFTEN),
            "sharing factor": s["sharing_factor"],
            "minutes": s["wall_seconds"] / 60,
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def mean_validation(run: Run, more_than: int = 0) -> float:
    """The mean of a search's `last_trainings` validation accuracies, in per cent.

    Of networks that were trained more than so many times, that training included; nan without any.
    """
    trainings = tables_of(run, "trainings")
    times = trainings.groupby("individual").cumcount() + 1
    last = trainings.tail(last_trainings(len(trainings)))
    return 100 * last.accuracy[times > more_than].mean()


def by_times_trained(searches: Iterable[Run], most: int = OFTEN + 1) -> pd.DataFrame:
    """`mean_validation` of searches, by how many trainings are too few to count: 0 to `most`.

    A row a number of trainings, a column a search.
    """
    return pd.DataFrame(
        {run.name: [mean_validation(run, n) for n in range(most + 1)] for run in searches}
    ).rename_axis("trained more than")


def first_and_later(searches: Iterable[Run]) -> pd.DataFrame:
    """The highest validation accuracy of the first population and of who came later, in per cent.

    A search improves on its first population where the difference is above 0.
    """
    rows = {}
    for run in searches:
        born = tables_of(run, "lineage").set_index("child").operator
        trainings = tables_of(run, "trainings")
        first = trainings.individual.map(born) == "initial"
        best = [100 * trainings.accuracy[which].max() for which in (first, ~first)]
        rows[run.name] = {
            "first population": best[0],
            "born later": best[1],
            "difference": best[1] - best[0],
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def last_trainings(trainings: int) -> int:
    """Of how many trainings at the end of a search the mean validation accuracy is.

    As many as are printed, and of a search that is shorter than the shortest of table 3.2 the same
    part that they are of that one: all trainings of a search say little of where it ends.
    """
    last = number(said("chapter-3-text", "last"))
    return min(last, max(1, round(trainings * last / shortest())))


def shortest() -> int:
    """Trainings of the shortest search of appendix C.2: generations times samples."""
    lines = published.load("thesis/appendix-c-2")
    return min(number(g) * number(s) for g, s in zip(lines.epochs, lines.sample_size, strict=True))


def kernel_share(modules: pd.DataFrame, kernel_size: int = 3, *, individuals: int = 2) -> float:
    """The part of the shared convolutions that have a kernel of this size, from 0 to 1.

    `modules` is the table of a search; convolutions count that at least so many individuals hold.
    The thesis says 20 to 35 % for 3x3 (appendix C.1).
    """
    convolutions = shared_convolutions(modules, individuals)
    return float((convolutions.kernel_size == kernel_size).mean())


def shared_convolutions(modules: pd.DataFrame, individuals: int = 2) -> pd.DataFrame:
    """The convolutions of a search that at least so many individuals hold, best first."""
    return modules[(modules.kind == "conv") & (modules.individuals >= individuals)]


def reducing_share(modules: pd.DataFrame, *, individuals: int = 2) -> float:
    """The part of the shared convolutions that give fewer channels than they take, from 0 to 1."""
    convolutions = shared_convolutions(modules, individuals)
    return float((convolutions.out_channels < convolutions.in_channels).mean())


# Populations that nothing has trained -------------------------------------------------------------


@cache
def untrained(preset: str, populations: int = 20) -> tuple[pd.DataFrame, ...]:
    """The modules of the first populations that a preset draws, one table a seed.

    With the columns of a search's `modules` that `kernel_share` and `reducing_share` read. What is
    shared before anyone is trained tells what the space prefers, whatever turns out to train well.
    """
    settings = Settings.load(preset, train_images=0, test_images=0)
    n = 2 * settings.batch_size  # enough for a batch; what is on them is not looked at
    blank = Images(
        torch.zeros((n, *IMAGES[settings.data]), dtype=torch.uint8),
        torch.zeros(n, dtype=torch.int64),
    )
    data = DataSet.of(settings.data, settings.space.classes, blank, blank)
    return tuple(
        _modules(Search.start(settings, data, seed=seed).population) for seed in range(populations)
    )


def _modules(population: Population) -> pd.DataFrame:
    held: dict[str, list[Blueprint]] = {}
    for individual in population:
        for name, use in individual.modules.items():
            held.setdefault(name, []).append(use.node)
    rows = [
        {
            "kind": node.kind,
            "in_channels": node.input_shape[0],
            "out_channels": node.output_shape[0],
            "kernel_size": node.arguments.get("kernel_size"),
            "individuals": len(nodes),
        }
        for nodes in held.values()
        for node in nodes[:1]
    ]
    return pd.DataFrame(rows)


BEST = "cifar10-evolve-16"
DIGITS = 9  # of differences of printed numbers, which floats miss by less
NUMBERS = ("generation", "sample_size", "params", "test_accuracy", "mean_validation")


# Settings -----------------------------------------------------------------------------------------


def put_in(name: str, column: str) -> str:
    """Nothing to say of a printed setting that a search or a blueprint of ours is given."""
    if name not in {*IN_TEXT, *WIDTHS} and column not in {*COMMAND_LINE, *ARGUMENTS, *ENSEMBLE}:
        raise KeyError(f"{name}/{column}: no search and no blueprint of ours is given it")
    return ""


# What follows from printed tables -----------------------------------------------------------------


def split(row: pd.Series, column: str) -> list[int | str]:
    """Table 3.1's split follows from the public sizes."""
    whole = number(public(f"{row.dataset}, training images")[0].printed)
    per_cent = said("chapter-3-text", "validation")
    held_out = round(whole * Decimal(per_cent) / 100)
    note = f"{per_cent} % of the public {whole:,} images held out"
    return [whole - held_out if column == "train" else held_out, note]


def mutated_shape(row: pd.Series, column: str) -> int:
    """The shape of appendix C.5's ensemble, and so of the convolution that it was before."""
    channels, size, _ = revolver_print.ensemble(row)
    return channels if column == "shape_channels" else size


def _table_3_2(*datasets: str) -> pd.DataFrame:
    """Table 3.2 as numbers, with each search's --epochs and whether it is genetic (appendix C.2).

    Of all data sets, if none is named. Accuracies are decimals, as they are printed.
    """
    table = published.load("thesis/table-3-2").set_index("preset")
    for column in NUMBERS:
        table[column] = [Printed.parse(text).value for text in table[column]]
    lines = command_lines().loc[table.index]
    table["epochs"] = lines.epochs.map(number)
    table["population"] = lines.population_size.map(number)
    table["genetic"] = lines.search_mode.str.endswith("evolve")
    return table[table.dataset.isin(datasets)] if datasets else table


def genetic_wins(column: str) -> int:
    """On CIFAR-10, the pairs of equal length and sample size that the genetic search wins."""
    pairs = _table_3_2("CIFAR-10").groupby(["epochs", "sample_size"])
    both = [
        pair.sort_values("genetic")
        for _, pair in pairs
        if list(pair.genetic.sort_values()) == [False, True]
    ]
    return sum(bool(pair[column].iloc[1] > pair[column].iloc[0]) for pair in both)


def with_the_highest(dataset: str, column: str) -> int:
    """How many searches on a data set have its highest value of a column."""
    values = _table_3_2(dataset)[column]
    return int((values == values.max()).sum())


def _accuracy(genetic: bool, sample: int, long: bool = False) -> float:
    """Test accuracy of CIFAR-10's genetic or random search of a sample size, a long one or not."""
    table = _table_3_2("CIFAR-10").query("genetic == @genetic and sample_size == @sample")
    if table.empty:
        return nan
    return float(table.sort_values("epochs").test_accuracy.iloc[-1 if long else 0])


def _gain_by_samples(genetic: bool, over_long: bool = False) -> float:
    """What 16 samples a generation gain over 8, or over 8 in a long search."""
    return round(_accuracy(genetic, 16) - _accuracy(genetic, 8, long=over_long), DIGITS)


def _gain_by_generations(genetic: bool) -> float:
    """What a long search of 8 samples gains over a short one."""
    return round(_accuracy(genetic, 8, long=True) - _accuracy(genetic, 8), DIGITS)


def both_best(genetic_only: bool) -> int:
    """The later of the generations in which the best models of both data sets were found."""
    table = _table_3_2()
    if genetic_only:
        table = table[table.genetic]
    best = table[table.test_accuracy == table.groupby("dataset").test_accuracy.transform("max")]
    return int(best.generation.max())


def trained_a_generation(end: str) -> float:
    """Per cent of the population that CIFAR-10's searches train in a generation."""
    table = _table_3_2("CIFAR-10")
    return float((100 * table.sample_size / table.population).agg(end))


def _generations() -> list[int]:
    """After how many generations table 3.2's searches have their best, as it prints."""
    return [int(text) for text in published.load("thesis/table-3-2").generation]


def fewest_generations() -> list[Interpretation]:
    """The least of them."""
    least = min(_generations())
    return [Interpretation(least), Interpretation(least // 10 * 10, "cut to whole tens")]


def most_generations() -> int:
    """The most of them."""
    return max(_generations())


def gained_by_samples() -> list[float | Interpretation]:
    """The gain by 16 samples a generation instead of 8, as the caption of table 3.2 tells it."""

    def mean(over_long: bool) -> float:
        gain = fmean(_gain_by_samples(genetic, over_long) for genetic in (True, False))
        return round(gain, DIGITS)

    return [mean(False), Interpretation(mean(True), "over the long searches of 8 samples")]


def gaining_more_by_samples() -> int:
    """Kinds of search that gain more by 16 samples than by being long."""
    return sum(_gain_by_samples(g) > _gain_by_generations(g) for g in (True, False))


def _table_c_1() -> pd.DataFrame:
    """Table C.1 as numbers."""
    columns = ["in_channels", "out_channels", "kernel_size", "score"]
    return published.load("thesis/table-c-1")[columns].map(lambda text: Printed.parse(text).value)


def distinct_shapes() -> list[Interpretation]:
    """Table C.1's convolutions, told apart by what it prints."""
    columns = ["in_channels", "out_channels", "kernel_size"]
    shapes, rows = (len(_table_c_1().drop_duplicates(c)) for c in (columns, [*columns, "score"]))
    twice = "128 to 32 channels, 3x3, stands twice: two strides or names, which are not printed"
    return [Interpretation(shapes), Interpretation(rows, twice)]


POPULATION = "table C.1's top-ranked convolutions stand for the whole population"


def most_frequent_kernel() -> Interpretation:
    """What section C.3 says of the converged population, from the part of it that is printed."""
    return Interpretation(int(_table_c_1().kernel_size.mode()[0]), POPULATION)


def reducing_rank() -> Interpretation:
    """The rank of table C.1's reducing convolutions among the reducing, keeping and raising."""
    change = _table_c_1().eval("out_channels - in_channels")
    reducing, others = (change < 0).sum(), ((change == 0).sum(), (change > 0).sum())
    return Interpretation(1 + sum(bool(n >= reducing) for n in others), POPULATION)


# What full searches give --------------------------------------------------------------------------


RESULTS: dict[str, Callable[[Run], float]] = {
    "generation": lambda run: run.summary["best_generation"],
    "params": lambda run: run.summary["parameters"],
    "test_accuracy": lambda run: 100 * run.summary["test_accuracy"],
    "mean_validation": mean_validation,
}
"""The columns of table 3.2 that a search ends with, accuracies in per cent."""


def _by_search(preset: str, value: Callable[[Run], float], **also: str) -> tuple[RunSelection, str]:
    """A number that searches at the printed protocol of a preset give."""
    s = Settings.load(preset)
    needs = (
        f"full searches with the preset {preset}, {SEEDS} seeds or more: {s.population} models, "
        f"{s.generations} generations, a GPU; our recorded searches are scaled down"
    )
    config = protocol(preset) | also
    return RunSelection("revolver", config, lambda searches: value(searches[0])), needs


def of_search(row: pd.Series, column: str) -> tuple[RunSelection, str]:
    """What a search of table 3.2 ends with."""
    return _by_search(row.preset, RESULTS[column])


def of_ranked(row: pd.Series, column: str) -> tuple[RunSelection, str]:
    """Table C.1: the best shared convolutions of the best population, and their scores."""
    place = int(row["rank"]) - 1
    return _by_search(
        BEST, lambda run: shared_convolutions(tables_of(run, "modules")).iloc[place][column]
    )


def share_of_3x3() -> tuple[RunSelection, str]:
    """Per cent of the shared convolutions."""
    return _by_search(BEST, lambda run: 100 * kernel_share(tables_of(run, "modules")))


def moving_average(run: Run) -> pd.Series:
    """Figure 3.1: the average of the last validation accuracies in per cent, by generation."""
    trainings = tables_of(run, "trainings")
    window = number(said("chapter-3-text", "window"))
    average = 100 * trainings.accuracy.rolling(window, min_periods=1).mean()
    return average.groupby(trainings.generation).last()


def converged() -> tuple[RunSelection, str]:
    """The moving average at the generation around which it has converged."""
    last = number(said("chapter-3-text", "converged-generation"))
    return _by_search(BEST, lambda run: moving_average(run).loc[:last].iloc[-1])


def converged_generation() -> tuple[RunSelection, str]:
    """The first generation at which the moving average is as high as printed."""
    least = number(said("chapter-3-text", "converged"))

    def first(run: Run) -> float:
        average = moving_average(run)
        there = average[average >= least]
        return there.index[0] if len(there) else nan

    return _by_search(BEST, first)


def hours(preset: str) -> tuple[RunSelection, str]:
    """A search's hours on the author's GPU (§6.1): those of another say nothing of it."""
    device = "NVIDIA GeForce RTX 3090"
    return _by_search(preset, lambda run: run.summary["wall_seconds"] / 3600, device=device)


# Claims about two kinds of searches ---------------------------------------------------------------


@dataclass(frozen=True)
class Kind:
    """Searches of one kind that a claim compares: how they are made, and what is read of them."""

    value: Callable[[Run], float]
    mode: str = "genetic"
    more: str = ""  # a setting of which they have twice as much
    share: Callable[[pd.DataFrame], float] | None = None  # the same of a table of modules


def _share_of_modules(share: Callable[[pd.DataFrame], float]) -> Kind:
    """What a share of the shared modules is in genetic searches, in per cent."""
    return Kind(lambda run: 100 * share(tables_of(run, "modules")), share=share)


COLUMNS = {"test": RESULTS["test_accuracy"], "validation": RESULTS["mean_validation"]}


def _kinds(column: str) -> dict[str, Kind]:
    """What the claims call kinds of searches, or two numbers of one kind."""
    value = COLUMNS.get(column)
    return {
        "genetic": Kind(value),
        "random": Kind(value, mode="random"),
        "twice the samples": Kind(value, more="sample"),
        "twice the generations": Kind(value, more="generations"),
        "when trained": Kind(partial(_remembered, when="when_trained")),
        "at the end": Kind(partial(_remembered, when="now")),
        "1x1": _share_of_modules(partial(kernel_share, kernel_size=1)),
        "3x3": _share_of_modules(partial(kernel_share, kernel_size=3)),
        "reducing": _share_of_modules(reducing_share),
        "keeping or raising": _share_of_modules(lambda modules: 1 - reducing_share(modules)),
    }


def _remembered(run: Run, *, when: str) -> float:
    """Mean accuracy in per cent of the individuals whose modules others trained since.

    Those whose loss is no number any more are left out of both means, so that what was forgotten is
    at least the difference.
    """
    accuracies = [one[when] for one in run.summary["remembered"] or () if one["now"] is not None]
    return 100 * fmean(accuracies) if accuracies else nan


def compared(row: pd.Series) -> tuple[Claim, str]:
    """A comparison of two kinds of search, by our scaled-down ones.

    They are paired by their seed: searches of one seed begin with the same population.
    """
    dataset = "mnist" if "MNIST" in row.claim else "cifar10"
    pair = PRESETS[dataset]
    column = row["id"].rpartition("-")[2]
    kinds = _kinds(column)
    first, relation, second = re.split(" (may be above|above|like) ", row["value"])
    compared = {name: kinds[name] for name in (first, second)}
    both = [(name, _run_selection(pair, kind)) for name, kind in compared.items()]
    needs = " and ".join(dict.fromkeys(_command(pair, kind) for kind in compared.values()))
    # a share is said of the thesis's own population: another can agree with it, not refute it
    possible = relation == "may be above" or any(kind.share for kind in compared.values())
    claim = Claim(
        *both, _scale(pair, column, compared), alike=relation == "like", possible=possible,
        paired=True,
    )  # fmt: skip
    return claim, f"{needs}, --seed 0, 1 and more"


def _scale(pair: Mapping[str, str], column: str, kinds: Mapping[str, Kind]) -> str:
    """How large the searches are that are compared, and what is read of them."""
    s = Settings.load(pair["genetic"])
    genetic = {kind.mode for kind in kinds.values()} == {"genetic"}
    scale = (
        f"scaled-down {'genetic ' * genetic}searches on a CPU, {s.population} models, "
        f"{s.generations} generations, {f'{s.train_images:,}' if s.train_images else 'all'} images"
    )
    for name, kind in kinds.items():
        if kind.more:
            _, changes = _settings_of(pair, kind)
            scale += f" ({name}: {changes[kind.more]})"
    if kinds.keys() & {"genetic", "random"} and column == "validation":
        trainings = s.generations * s.sample
        scale += (
            f"; the last {last_trainings(trainings)} of {trainings} trainings, as the thesis's "
            f"{number(said('chapter-3-text', 'last'))} of {shortest():,}"
        )
        long = {name: [mean_validation(run, OFTEN) for run in runs(pair[name])] for name in kinds}
        if all(long.values()):
            means = ", ".join(f"{name} {fmean(values):.2f}" for name, values in long.items())
            scale += f" (of networks trained more than {OFTEN} times {means})"
    if "when trained" in kinds:
        scale += "; of individuals alive at the end, and any drop counts: no catastrophe is needed"
    if drawn := {name: kind.share for name, kind in kinds.items() if kind.share}:
        tables = untrained(pair["genetic"])
        means = (f"{name} {100 * fmean(map(share, tables)):.2f}" for name, share in drawn.items())
        scale += f"; {len(tables)} first populations, which nobody trained, have {', '.join(means)}"
    return scale


def _settings_of(pair: Mapping[str, str], kind: Kind) -> tuple[str, dict[str, object]]:
    """The preset of a kind of search, and what it has otherwise."""
    preset = pair[kind.mode]
    return preset, {kind.more: 2 * getattr(Settings.load(preset), kind.more)} if kind.more else {}


def _command(pair: Mapping[str, str], kind: Kind) -> str:
    preset, changes = _settings_of(pair, kind)
    name = "".join(f",{key}={value}" for key, value in changes.items())
    output = f" --output data/results/revolver/{preset}{name}-seedN" if changes else ""
    return f"`reuseprior evolve {preset}{options(changes)}{output}`"


def _run_selection(pair: Mapping[str, str], kind: Kind) -> RunSelection:
    preset, changes = _settings_of(pair, kind)
    return run_selection(preset, kind.value, partial(_with, kind), **changes)


def _with(kind: Kind, searches: Sequence[Run]) -> list[Run]:
    return [run for run in searches if _has(kind, run)]


def _has(kind: Kind, run: Run) -> bool:
    """Whether a search recorded what is read of it, which older packages may not have."""
    try:
        return isfinite(kind.value(run))
    except KeyError:
        return False
