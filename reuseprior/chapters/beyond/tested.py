"""What scores are tested on: populations of models with their accuracies, and what was seen before.

A population stands with what was in sight when R6 got its form and constants, so that a table that
reports on it says so as well.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from reuseprior.chapters.beyond import benchmarks, choice, comparison, fresh, own, survey

SEEN = "yes"
FORM_SEEN = "before log2 T only"  # the study printed it; the threshold came before
UNSEEN = "no"


@dataclass(frozen=True)
class Population:
    """Models of a benchmark with an accuracy, or several whose mean agreement counts."""

    name: str
    benchmark: str
    accuracies: tuple[str, ...]
    seen: str
    by: str = "rho"
    chosen: Callable[[pd.DataFrame], pd.Series] | None = None
    """Which rows, all if None."""

    def rows(self) -> pd.DataFrame:
        """Its part of the survey."""
        table = survey.joined(self.benchmark)
        return table if self.chosen is None else table[self.chosen(table)]

    def scores(self, table: pd.DataFrame, **options) -> pd.DataFrame:
        """`comparison.scores` of its rows, with the benchmark's T."""
        examples = benchmarks.find(self.benchmark).examples(self.accuracies[0])
        return comparison.scores(table, examples, **options)

    def compared(self, *, more=(), **options) -> pd.DataFrame:
        """`comparison.compare` on it, drawing together what is alike."""
        table = self.rows()
        found = self.scores(table, more=more)
        accuracies = table[list(self.accuracies)]
        return comparison.compare(found, accuracies, table["alike"], by=self.by, **options)


def _outside(table: pd.DataFrame) -> pd.Series:
    return ~choice.cells_of(table)


def own_live_cells(table: pd.DataFrame) -> pd.Series:
    """One cell for each live cell of NAS-Bench-201: the one without any other edge, 9,445."""
    return table["model"].str.partition(":")[2] == table["cell"]


_SHORT = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "imagenet16_120": "ImageNet16"}
POPULATIONS = (
    *(
        Population(f"201 {_SHORT[data]}", "nas-bench-201", (data,), SEEN, chosen=_outside)
        for data in benchmarks.DATA_SETS
    ),
    Population(
        "torchvision", "torchvision", ("top1",), "half of it", "tau",
        lambda table: ~choice.classifiers_of(table),
    ),
    Population("timm", "timm", ("top1",), SEEN, "tau"),
    Population("NAS-Bench Macro", "nas-bench-macro", ("cifar10",), SEEN),
    Population("TransNAS macro", "transnas-macro", benchmarks.MACRO_TASKS, FORM_SEEN),
    Population("TransNAS micro", "transnas-micro", benchmarks.MICRO_TASKS, UNSEEN),
    Population("FlexiBERT", "flexibert", ("glue",), UNSEEN),
)  # fmt: skip
"""Of NAS-Bench-201 and torchvision what our own choice did not see; the study's own sets of choice
are not known. FlexiBERT's accuracy is the mean over GLUE's tasks."""


def all_compared(**options) -> dict[str, pd.DataFrame]:
    """Every population's table."""
    return {population.name: population.compared(**options) for population in POPULATIONS}


def fresh_compared(*, more=(), **options) -> pd.DataFrame:
    """`comparison.compare` on the networks of random cells."""
    table = fresh.read()
    scores = comparison.scores(table, table["examples"].iloc[0], more=more)
    return comparison.compare(scores, table[["accuracy"]], **options)


def own_compared(*, more=(), **options) -> pd.DataFrame:
    """`comparison.within` the groups of networks that other chapters trained."""
    table = own.read()
    parts = [
        comparison.scores(part, part["examples"].iloc[0], more=more)
        for _, part in table.groupby("group")
    ]
    scores = pd.concat(parts).loc[table.index]
    return comparison.within(scores, table["accuracy"], table["group"], models=True, **options)


def title(benchmark: str) -> str:
    """A benchmark's name, and whether what is tested on it had been seen: it heads each table.

    >>> title("timm")
    'timm, seen before: yes'
    """
    said = dict.fromkeys(p.seen for p in POPULATIONS if p.benchmark == benchmark)
    return f"{benchmark}, seen before: {', '.join(said)}"


def with_seen(table: pd.DataFrame) -> pd.DataFrame:
    """A table with a row a population, and a first column that says whether that had been seen."""
    seen = {population.name: population.seen for population in POPULATIONS}
    result = table.copy()
    result.insert(0, "seen before", [seen[name] for name in table.index])
    return result


def overview(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """A row a measure, a column a population, seen before or not: agreement, without intervals."""
    seen = {population.name: population.seen for population in POPULATIONS}
    found = {
        (name, seen[name]): table["agreement"].map(lambda e: e.value)
        for name, table in tables.items()
    }
    return pd.DataFrame(found).rename_axis(columns=[None, "seen before"])


def differences(tables: dict[str, pd.DataFrame], other: str) -> pd.DataFrame:
    """A row a population: whether it had been seen, R6's agreement, and R6 less `other`."""
    rows = {
        name: (str(table.loc["R6", "agreement"]), str(table.loc[other, "difference"]))
        for name, table in tables.items()
    }
    columns = ["R6", f"R6 less {other}"]
    return with_seen(pd.DataFrame.from_dict(rows, orient="index", columns=columns))


def bars(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """What was expected of R6 (`preregistration.toml`), and whether it was reached."""
    expected = comparison.preregistration.settled()["expected"]
    names = [population.name for population in POPULATIONS]
    wanted = dict(zip(names[:3], expected["nas-bench-201"], strict=True))
    wanted |= {"torchvision": expected["torchvision"], "timm": expected["timm"]}
    wanted |= {"NAS-Bench Macro": expected["nas-bench-macro"], "FlexiBERT": expected["flexibert"]}
    rows = {}
    for name, bar in wanted.items():
        found = tables[name].loc["R6", "agreement"]
        verdict = "reached" if found.value >= bar else "missed"
        within = " (within the interval)" if verdict == "missed" and found.high >= bar else ""
        rows[name] = (bar, str(found), verdict + within)
    columns = ["at least", "R6", "verdict"]
    return with_seen(pd.DataFrame.from_dict(rows, orient="index", columns=columns))
