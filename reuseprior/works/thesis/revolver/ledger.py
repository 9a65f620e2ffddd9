"""Every printed number of chapter 3's tables and of table C.1, with what we have for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from statistics import fmean, median_low

from reuseprior.press import published
from reuseprior.press.ledger import Entry, Reading, entry, judge
from reuseprior.press.runs import Evidence, recorded
from reuseprior.results import Run
from reuseprior.revolver import Settings
from reuseprior.works.thesis.revolver.experiments import (
    kernel_share,
    runs,
    shared_convolutions,
    tables_of,
)

HELD_OUT = 0.1  # the part of the training images that serves for validation, §3.5


def entries() -> Iterator[Entry]:
    """Every printed number of tables 3.1, 3.2 and C.1 and of appendix C's text, judged."""
    yield from data_sets()
    yield from searches()
    yield from ranked_modules()
    yield from kernel_sizes()


def data_sets() -> Iterator[Entry]:
    """Table 3.1, from the data sets that our recorded searches read."""
    for _, row in published.load("thesis/table-3-1").iterrows():
        name = row.dataset.lower().replace("-", "")
        run = next((r for r in runs() if r.config["data"] == name), None)
        sizes = {} if run is None else _sizes(run)
        for column in ("train", "validation", "test", "classes", "image"):
            readings = [Reading(sizes[column])] if sizes else []
            waiting = "no recorded search has read this set"
            verdict, value, note = judge(row[column], readings, waiting)
            if sizes and column in ("train", "validation"):
                note = f"10 % of {run.config['images']['whole']:,} images held out"
            yield entry(row, column, value, verdict, note)


def _sizes(run: Run) -> dict[str, int]:
    """The columns of table 3.1 for the data set that a search read."""
    images, space = run.config["images"], run.config["settings"]["space"]
    held_out = round(HELD_OUT * images["whole"])
    return {
        "train": images["whole"] - held_out,
        "validation": held_out,
        "test": images["test"],
        "classes": space["classes"],
        "image": space["image"][-1],
    }


RESULTS: dict[str, Callable[[Run], float]] = {
    "generation": lambda run: run.summary["best_generation"],
    "params": lambda run: run.summary["parameters"],
    "test_accuracy": lambda run: 100 * run.summary["test_accuracy"],
    "mean_validation": lambda run: 100 * run.summary["mean_validation_accuracy"],
}
"""The columns of table 3.2 that a search ends with, accuracies in per cent."""


def searches() -> Iterator[Entry]:
    """Table 3.2: settings are compared with appendix C.2's, results wait for full runs."""
    for _, row in published.load("thesis/table-3-2").iterrows():
        settings = Settings.load(row.preset)
        verdict, value, _ = judge(row.sample_size, [Reading(settings.sample)])
        yield entry(row, "sample_size", value, verdict, "a setting; appendix C.2 says the same")
        for column, value in RESULTS.items():
            yield _recorded(row, column, row.preset, value)


def _recorded(row, column: str, preset: str, value: Callable, over: Callable = fmean) -> Entry:
    """The entry of a number that the searches with all settings of a preset give, one a seed."""
    config = {"settings": Settings.load(preset).to_data()}
    evidence = Evidence("revolver", config, lambda found: value(found[0]), over)
    waiting = f"waits for a full run of preset {preset}; our recorded searches are scaled down"
    return recorded(row, column, evidence, waiting)


def ranked_modules() -> Iterator[Entry]:
    """Table C.1: the best shared convolutions of one population and their scores.

    Of several seeds the median that one of them has stands for a shape, and the mean for a score.
    """
    for _, row in published.load("thesis/table-c-1").iterrows():
        for column in ("in_channels", "out_channels", "kernel_size", "score"):
            value = partial(_of_ranked, rank=int(row["rank"]), column=column)
            over = fmean if column == "score" else median_low
            yield _recorded(row, column, "cifar10-evolve-16", value, over)


def _of_ranked(run: Run, *, rank: int, column: str) -> float:
    return shared_convolutions(tables_of(run, "modules")).iloc[rank - 1][column]


def kernel_sizes() -> Iterator[Entry]:
    """What appendix C says of all of the authors' populations: how many kernels are 3x3."""
    for _, row in published.load("thesis/appendix-c-text").iterrows():
        least_or_most = min if row.claim.endswith("least") else max
        yield _recorded(row, "value", "cifar10-evolve-16", _share_of_3x3, least_or_most)


def _share_of_3x3(run: Run) -> float:
    return 100 * kernel_share(tables_of(run, "modules"))
