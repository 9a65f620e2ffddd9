"""Every printed number of chapter 3 and appendix C, with what became of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from math import isfinite, nan
from statistics import fmean

import pandas as pd

from reuseprior.chapters.thesis.revolver import blueprint, claims
from reuseprior.chapters.thesis.revolver.experiments import (
    OFTEN,
    PRESETS,
    evidence,
    kernel_share,
    last_trainings,
    mean_validation,
    reducing_share,
    runs,
    shared_convolutions,
    shortest,
    tables_of,
    untrained,
)
from reuseprior.chapters.thesis.revolver.protocol import (
    COMMAND_LINE,
    IN_TEXT,
    WIDTHS,
    number,
    protocol,
    said,
)
from reuseprior.report import published
from reuseprior.report.ledger import (
    Cell,
    Entry,
    Reading,
    in_words,
    judged,
    public,
    quoted,
    setting,
)
from reuseprior.report.runs import SEEDS, Claim, Evidence, claimed, measured, options
from reuseprior.results import Run
from reuseprior.revolver import Settings

TEXTS = ("thesis/chapter-3-text", "thesis/appendix-c-text")
SHOWN = {"last", "window"}  # settings of what is shown of a search, not of the search


# Table 3.1 ----------------------------------------------------------------------------------------


def data_sets() -> Iterator[Entry]:
    """Table 3.1: the split follows from the public sizes, which are quoted like the rest."""
    rows = [row for _, row in published.load("thesis/table-3-1").iterrows()]
    yield from judged(cell for row in rows for cell in _split(row))
    for row in rows:
        for column, name in (("test", "test images"), ("classes", "classes"),
                             ("image", "image size")):  # fmt: skip
            yield quoted(row, column, public(f"{row.dataset}, {name}"))


def _split(row: pd.Series) -> Iterator[Cell]:
    whole = number(public(f"{row.dataset}, training images")[0].printed)
    per_cent = said("chapter-3-text", "validation")
    held_out = round(whole * Decimal(per_cent) / 100)
    note = f"{per_cent} % of the public {whole:,} images held out"
    yield Cell(row, "train", [Reading(whole - held_out)], note=note, derived=True)
    yield Cell(row, "validation", [Reading(held_out)], note=note, derived=True)


# Table 3.2 and appendix C.2 -----------------------------------------------------------------------


RESULTS: dict[str, Callable[[Run], float]] = {
    "generation": lambda run: run.summary["best_generation"],
    "params": lambda run: run.summary["parameters"],
    "test_accuracy": lambda run: 100 * run.summary["test_accuracy"],
    "mean_validation": mean_validation,
}
"""The columns of table 3.2 that a search ends with, accuracies in per cent."""


def searches() -> Iterator[Entry]:
    """Table 3.2: the sample size is put in, and what a search ends with takes full searches."""
    for _, row in published.load("thesis/table-3-2").iterrows():
        yield setting(row, "sample_size")
        yield from _measured(row, row.preset, RESULTS)


def command_lines() -> Iterator[Entry]:
    """Appendix C.2: the settings of the eight searches, which our presets carry."""
    for _, row in published.load("thesis/appendix-c-2").iterrows():
        for column in COMMAND_LINE:
            if column not in ("search_mode", "dataset"):  # words
                yield setting(row, column)


def _measured(
    row: pd.Series, preset: str, values: Mapping[str, Callable[[Run], float]], **also: str
) -> Iterator[Entry]:
    """The entries of a row's numbers that searches at the printed protocol of a preset give."""
    config, s = protocol(preset) | also, Settings.load(preset)
    needs = (
        f"full searches with the preset {preset}, {SEEDS} seeds or more: {s.population} models, "
        f"{s.generations} generations, a GPU; our recorded searches are scaled down"
    )
    for column, value in values.items():
        of_a_search = Evidence("revolver", config, partial(_of_one, value))
        yield measured(row, column, of_a_search, needs)


def _of_one(value: Callable[[Run], float], found: Sequence[Run]) -> float:
    return value(found[0])


# Table C.1 ----------------------------------------------------------------------------------------


def ranked_modules() -> Iterator[Entry]:
    """Table C.1: the best shared convolutions of the best population, and their scores."""
    for _, row in published.load("thesis/table-c-1").iterrows():
        values = {
            column: partial(_of_ranked, rank=int(row["rank"]), column=column)
            for column in ("in_channels", "out_channels", "kernel_size", "score")
        }
        yield from _measured(row, claims.BEST, values)


def _of_ranked(run: Run, *, rank: int, column: str) -> float:
    return shared_convolutions(tables_of(run, "modules")).iloc[rank - 1][column]


# What the text says -------------------------------------------------------------------------------


def text(place: str) -> Iterator[Entry]:
    """The numbers and the words of the text of chapter 3 and appendix C in a place."""
    rows = [row for _, row in published.load(*TEXTS).iterrows() if row["where"].startswith(place)]
    found = [row for row in rows if _name(row) in claims.COMPUTED]
    yield from judged(claims.cell(row) for row in found if _name(row) not in claims.IN_WORDS)
    yield from (in_words(claims.cell(row)) for row in found if _name(row) in claims.IN_WORDS)
    for row in rows:
        if _name(row) not in claims.COMPUTED:
            yield _said(row)
    for _, row in published.load("thesis/chapter-3-claims").iterrows():
        if row["where"].startswith(place):
            yield _compared(row)


def _said(row: pd.Series) -> Entry:
    name = _name(row)
    if name in FROM_RUNS:
        preset, value, also = FROM_RUNS[name]
        (entry,) = _measured(row, preset, {"value": value}, **also)
        return entry
    kind = name.removeprefix("3-text-enas-")
    if kind != name:
        return quoted(row, "value", public(f"ENAS, epochs from scratch, {kind}"))
    if name == "c-text-start":
        elsewhere = said("chapter-3-text", "learning-rate")
        note = f'"may have started"; section 3.5.1 and C.2 have {elsewhere}, which our presets have'
        return setting(row, "value", note)
    if name.split("-text-")[1] in {*IN_TEXT, *WIDTHS, *SHOWN}:
        return setting(row, "value")
    raise KeyError(f"{row['id']}: say in {__name__} or in {claims.__name__} what it follows from")


def _name(row: pd.Series) -> str:
    return row["id"].removeprefix("thesis-")


def _share_of_3x3(run: Run) -> float:
    return 100 * kernel_share(tables_of(run, "modules"))


def moving_average(run: Run) -> pd.Series:
    """Figure 3.1: the average of the last validation accuracies in per cent, by generation."""
    trainings = tables_of(run, "trainings")
    window = number(said("chapter-3-text", "window"))
    average = 100 * trainings.accuracy.rolling(window, min_periods=1).mean()
    return average.groupby(trainings.generation).last()


def _converged(run: Run) -> float:
    return (
        moving_average(run).loc[: number(said("chapter-3-text", "converged-generation"))].iloc[-1]
    )


def _converged_generation(run: Run) -> float:
    average = moving_average(run)
    there = average[average >= number(said("chapter-3-text", "converged"))]
    return there.index[0] if len(there) else nan


def _hours(run: Run) -> float:
    return run.summary["wall_seconds"] / 3600


GPU = {"device": "NVIDIA GeForce RTX 3090"}  # §6.1; hours of another say nothing of the author's

FROM_RUNS: dict[str, tuple[str, Callable[[Run], float], dict[str, str]]] = {
    "3-text-converged": (claims.BEST, _converged, {}),
    "3-text-converged-generation": (claims.BEST, _converged_generation, {}),
    "c-text-3x3-least": (claims.BEST, _share_of_3x3, {}),
    "c-text-3x3-most": (claims.BEST, _share_of_3x3, {}),
    "c-text-hours-least": (claims.MUTATED, _hours, GPU),
    "c-text-hours-most": (claims.BEST, _hours, GPU),
}
"""The numbers of the text that searches give, by id less its source."""


@dataclass(frozen=True)
class Kind:
    """Searches of one kind that a claim compares: how they are made, and what is read of them."""

    value: Callable[[Run], float]
    mode: str = "genetic"
    more: str = ""  # a setting of which they have twice as much
    share: Callable[[pd.DataFrame], float] | None = None  # the same of a table of modules


def _modules(share: Callable[[pd.DataFrame], float]) -> Kind:
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
        "1x1": _modules(partial(kernel_share, kernel_size=1)),
        "3x3": _modules(partial(kernel_share, kernel_size=3)),
        "reducing": _modules(reducing_share),
        "keeping or raising": _modules(lambda modules: 1 - reducing_share(modules)),
    }


def _remembered(run: Run, *, when: str) -> float:
    """Mean accuracy in per cent of the individuals whose modules others trained since.

    Those whose loss is no number any more are left out of both means, so that what was forgotten is
    at least the difference.
    """
    found = [one[when] for one in run.summary["remembered"] or () if one["now"] is not None]
    return 100 * fmean(found) if found else nan


def _compared(row: pd.Series) -> Entry:
    """The entry of a comparison of two kinds of search, by our scaled-down ones.

    They are paired by their seed: searches of one seed begin with the same population.
    """
    dataset = "mnist" if "MNIST" in row.claim else "cifar10"
    pair = PRESETS[dataset]
    column = row["id"].rpartition("-")[2]
    kinds = _kinds(column)
    first, relation, second = re.split(" (may be above|above|like) ", row["value"])
    compared = {name: kinds[name] for name in (first, second)}
    both = [(name, _evidence(pair, kind)) for name, kind in compared.items()]
    needs = " and ".join(dict.fromkeys(_command(pair, kind) for kind in compared.values()))
    # a share is said of the thesis's own population: another can agree with it, not refute it
    possible = relation == "may be above" or any(kind.share for kind in compared.values())
    claim = Claim(
        *both, _scale(pair, column, compared), alike=relation == "like", possible=possible,
        paired=True,
    )  # fmt: skip
    return claimed(row, "value", claim, f"{needs}, --seed 0, 1 and more")


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


def _evidence(pair: Mapping[str, str], kind: Kind) -> Evidence:
    preset, changes = _settings_of(pair, kind)
    return evidence(preset, kind.value, partial(_with, kind), **changes)


def _with(kind: Kind, found: Sequence[Run]) -> list[Run]:
    return [run for run in found if _has(kind, run)]


def _has(kind: Kind, run: Run) -> bool:
    """Whether a search recorded what is read of it, which older packages may not have."""
    try:
        return isfinite(kind.value(run))
    except KeyError:
        return False


def _mutated() -> Iterator[Entry]:
    yield from blueprint.mutation()
    yield from text("thesis, section C.5")


def _settings() -> Iterator[Entry]:
    yield from command_lines()
    yield from text("thesis, section C.2")


PARTS: dict[str, Callable[[], Iterator[Entry]]] = {
    "thesis, table 3.1": data_sets,
    "thesis, table 3.2": searches,
    "thesis, caption of table 3.2": partial(text, "thesis, caption of table 3.2"),
    "thesis, section 3": partial(text, "thesis, section 3"),
    "thesis, table C.1": ranked_modules,
    "thesis, section C.1": partial(text, "thesis, section C.1"),
    "thesis, section C.2": _settings,
    "thesis, section C.3": partial(text, "thesis, section C.3"),
    "thesis, section C.4": blueprint.example,
    "thesis, section C.5": _mutated,
}
