"""What our recorded searches say, read from `data/results/revolver`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from math import nan

import pandas as pd
import torch

from reuseprior import paths, results
from reuseprior.chapters.thesis.revolver.protocol import OF_THE_DATA, number, said
from reuseprior.data import DataSet, Images
from reuseprior.report import published
from reuseprior.report.runs import Evidence, machine, options, runs_for, settings
from reuseprior.results import Run
from reuseprior.revolver import Population, Search, Settings
from reuseprior.revolver.blueprints import Blueprint

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
    found = {key: value for key, value in data.items() if key not in ("space", "rates")}
    for table in ("space", "rates"):
        inner = {k: v for k, v in data[table].items() if k not in OF_THE_DATA}
        found |= {f"{table}.{key}": value for key, value in inner.items()}
    return json.loads(json.dumps(found))  # as it is read: tuples are lists


def runs(preset: str | None = None, **changes: object) -> list[Run]:
    """The finished searches with all settings of a preset, some replaced, by their seed; or all."""
    if preset is not None:
        found = runs_for(evidence(preset, lambda run: nan, **changes))
        return [run for of_a_seed in found.values() for run in of_a_seed]
    there = any(paths.RESULTS.glob("revolver/*/config.json"))
    found = results.runs("revolver") if there else []
    return [run for run in found if run.summary["state"] == "finished"]


def evidence(
    preset: str,
    value: Callable[[Run], float],
    counts: Callable[[Sequence[Run]], Sequence[Run]] = lambda found: found,
    **changes: object,
) -> Evidence:
    """The searches with all settings of a preset, some replaced, and the `value` of one."""
    config = settings(Settings.load(preset, **changes).to_data(), {})
    space = {key: value for key, value in config["space"].items() if key not in OF_THE_DATA}
    whole = {"settings": config | {"space": space}}
    return Evidence("revolver", whole, lambda found: value(found[0]), counts=counts)


def tables_of(run: Run, name: str) -> pd.DataFrame:
    """A table of a search beside its generations: `trainings`, `modules` or `lineage`."""
    return pd.read_csv(run.folder / f"{name}.csv")


def results_table(found: Iterable[Run]) -> pd.DataFrame:
    """Our searches in the columns of table 3.2, one row a search; accuracies in per cent.

    The mean validation accuracy is that of the `last_trainings` of a search, of all networks and of
    those that were trained more than OFTEN times by then. `focus` says whether only the best part
    of the population was trained in the last fifth, which searches from before it do not say.
    """
    rows = {}
    for run in found:
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


def by_times_trained(found: Iterable[Run], most: int = OFTEN + 1) -> pd.DataFrame:
    """`mean_validation` of searches, by how many trainings are too few to count: 0 to `most`.

    A row a number of trainings, a column a search.
    """
    return pd.DataFrame(
        {run.name: [mean_validation(run, n) for n in range(most + 1)] for run in found}
    ).rename_axis("trained more than")


def first_and_later(found: Iterable[Run]) -> pd.DataFrame:
    """The highest validation accuracy of the first population and of who came later, in per cent.

    A search improves on its first population where the difference is above 0.
    """
    rows = {}
    for run in found:
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
