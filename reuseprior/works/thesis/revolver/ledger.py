"""Every printed number of chapter 3's tables and of table C.1, with what we have for it."""

from __future__ import annotations

from collections.abc import Iterator

from reuseprior.press import published
from reuseprior.press.ledger import Entry, Reading, entry, judge
from reuseprior.revolver import Settings
from reuseprior.works.thesis.revolver.experiments import runs

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
        for column in ("train", "validation", "test", "classes", "image"):
            if run is None:
                yield entry(row, column, None, "not yet", "no recorded search has read this set")
                continue
            images, space = run.config["images"], run.config["settings"]["space"]
            held_out = round(HELD_OUT * images["whole"])
            value = {
                "train": images["whole"] - held_out,
                "validation": held_out,
                "test": images["test"],
                "classes": space["classes"],
                "image": space["image"][-1],
            }[column]
            verdict, _, note = judge(row[column], [Reading(value)])
            split = column in ("train", "validation")
            said = f"10 % of {images['whole']:,} images held out" if split else note
            yield entry(row, column, value, verdict, said)


def searches() -> Iterator[Entry]:
    """Table 3.2: settings are compared with appendix C.2's, results wait for full runs."""
    for _, row in published.load("thesis/table-3-2").iterrows():
        settings = Settings.load(row.preset)
        verdict, value, _ = judge(row.sample_size, [Reading(settings.sample)])
        yield entry(row, "sample_size", value, verdict, "a setting; appendix C.2 says the same")
        for column in ("generation", "params", "test_accuracy", "mean_validation"):
            yield entry(row, column, None, "not yet", _WAITING.format(preset=row.preset))


_WAITING = "waits for a full run of preset {preset}; our recorded searches are scaled down"


def ranked_modules() -> Iterator[Entry]:
    """Table C.1: the scores of one population of the authors."""
    for _, row in published.load("thesis/table-c-1").iterrows():
        for column in ("in_channels", "out_channels", "kernel_size", "score"):
            yield entry(row, column, None, "not yet", _WAITING.format(preset="cifar10-evolve-16"))


def kernel_sizes() -> Iterator[Entry]:
    """What appendix C says of all of the authors' populations: how many kernels are 3x3."""
    for _, row in published.load("thesis/appendix-c-text").iterrows():
        yield entry(row, "value", None, "not yet", _WAITING.format(preset="cifar10-evolve-16"))
