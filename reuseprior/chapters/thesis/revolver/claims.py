"""What chapter 3 and appendix C say of their own tables, computed from the printed tables."""

from __future__ import annotations

from collections.abc import Callable
from math import nan
from statistics import fmean

import pandas as pd

from reuseprior.chapters.thesis.revolver.protocol import (
    command_line,
    command_lines,
    number,
    said,
)
from reuseprior.report import published
from reuseprior.report.ledger import Cell, Reading
from reuseprior.report.published import Printed

MUTATED = "cifar10-random-warmup-evolve"  # the search of §3.5.6's mutated model, of 89.6 %
BEST = "cifar10-evolve-16"
DIGITS = 9  # of differences of printed numbers, which floats miss by less
NUMBERS = ("generation", "sample_size", "params", "test_accuracy", "mean_validation")


def searches() -> pd.DataFrame:
    """Table 3.2 as numbers, with each search's --epochs and whether it is genetic (appendix C.2).

    Accuracies are decimals, as they are printed.
    """
    table = published.load("thesis/table-3-2").set_index("preset")
    for column in NUMBERS:
        table[column] = [Printed.parse(text).value for text in table[column]]
    lines = command_lines().loc[table.index]
    table["epochs"] = lines.epochs.map(number)
    table["population"] = lines.population_size.map(number)
    table["genetic"] = lines.search_mode.str.endswith("evolve")
    return table


def of(dataset: str) -> pd.DataFrame:
    """Table 3.2's searches on a data set."""
    table = searches()
    return table[table.dataset == dataset]


def genetic_wins(column: str) -> int:
    """On CIFAR-10, the pairs of equal length and sample size that the genetic search wins."""
    pairs = of("CIFAR-10").groupby(["epochs", "sample_size"])
    both = [
        pair.sort_values("genetic")
        for _, pair in pairs
        if list(pair.genetic.sort_values()) == [False, True]
    ]
    return sum(bool(pair[column].iloc[1] > pair[column].iloc[0]) for pair in both)


def with_the_highest(dataset: str, column: str) -> int:
    """How many searches on a data set have its highest value of a column."""
    values = of(dataset)[column]
    return int((values == values.max()).sum())


def accuracy(genetic: bool, sample: int, long: bool = False) -> float:
    """Test accuracy of CIFAR-10's genetic or random search of a sample size, a long one or not."""
    table = of("CIFAR-10").query("genetic == @genetic and sample_size == @sample")
    if table.empty:
        return nan
    return float(table.sort_values("epochs").test_accuracy.iloc[-1 if long else 0])


def gain_by_samples(genetic: bool, over_long: bool = False) -> float:
    """What 16 samples a generation gain over 8, or over 8 in a long search."""
    return round(accuracy(genetic, 16) - accuracy(genetic, 8, long=over_long), DIGITS)


def gain_by_generations(genetic: bool) -> float:
    """What a long search of 8 samples gains over a short one."""
    return round(accuracy(genetic, 8, long=True) - accuracy(genetic, 8), DIGITS)


def both_best(genetic_only: bool) -> int:
    """The later of the generations in which the best models of both data sets were found."""
    table = searches()
    if genetic_only:
        table = table[table.genetic]
    best = table[table.test_accuracy == table.groupby("dataset").test_accuracy.transform("max")]
    return int(best.generation.max())


def trained_a_generation(which: Callable) -> float:
    """Per cent of the population that CIFAR-10's searches train in a generation."""
    table = of("CIFAR-10")
    return float(which(100 * table.sample_size / table.population))


def generations() -> list[int]:
    """After how many generations table 3.2's searches have their best, as it prints."""
    return [int(text) for text in published.load("thesis/table-3-2").generation]


def modules() -> pd.DataFrame:
    """Table C.1 as numbers."""
    columns = ["in_channels", "out_channels", "kernel_size", "score"]
    return published.load("thesis/table-c-1")[columns].map(lambda text: Printed.parse(text).value)


def reducing_rank() -> int:
    """The rank of table C.1's reducing convolutions among the reducing, keeping and raising."""
    change = modules().eval("out_channels - in_channels")
    reducing, others = (change < 0).sum(), ((change == 0).sum(), (change > 0).sum())
    return 1 + sum(bool(n >= reducing) for n in others)


def shapes(*told_apart_by: str) -> int:
    """How many of table C.1's convolutions differ in shape, or in more."""
    shape = ["in_channels", "out_channels", "kernel_size"]
    return len(modules().drop_duplicates([*shape, *told_apart_by]))


def minutes_a_model(hours: str) -> float:
    """The minutes of each of a population's models, if they had equal parts of all hours."""
    population = number(command_line(BEST)["population_size"])
    return 60 * number(said("appendix-c-text", hours)) / population


# Readings of a number: the text's own first -------------------------------------------------------


def samples() -> list[Reading]:
    """The gain by 16 samples a generation instead of 8, as the caption of table 3.2 tells it."""

    def mean(over_long: bool) -> float:
        return fmean(gain_by_samples(genetic, over_long) for genetic in (True, False))

    return [
        Reading(round(mean(False), DIGITS)),
        Reading(round(mean(True), DIGITS), "over the long searches of 8 samples"),
    ]


def distinct_shapes() -> list[Reading]:
    """Table C.1's convolutions, told apart by what it prints."""
    twice = "128 to 32 channels, 3x3, stands twice: two strides or names, which are not printed"
    return [Reading(shapes()), Reading(shapes("score"), twice)]


def of_the_population(value: float) -> list[Reading]:
    """What section C.3 says of the converged population, from the part of it that is printed."""
    return [Reading(value, "table C.1's top-ranked convolutions stand for the whole population")]


COMPUTED: dict[str, Callable[[], list[Reading]]] = {
    "3-text-top-candidates": lambda: [Reading(100 / number(command_line(BEST)["warmup_x"]))],
    "3-text-trained-least": lambda: [
        Reading(min(generations())),
        Reading(min(generations()) // 10 * 10, "cut to whole tens"),
    ],
    "3-text-trained-most": lambda: [Reading(max(generations()))],
    "3-text-genetic-test": lambda: [Reading(genetic_wins("test_accuracy"))],
    "3-text-genetic-validation": lambda: [Reading(genetic_wins("mean_validation"))],
    "3-text-mnist-test": lambda: [Reading(with_the_highest("MNIST", "test_accuracy"))],
    "3-text-mnist-validation": lambda: [Reading(with_the_highest("MNIST", "mean_validation"))],
    "3-text-sample-least": lambda: [Reading(trained_a_generation(min))],
    "3-text-sample-most": lambda: [Reading(trained_a_generation(max))],
    "3-text-samples": samples,
    "3-text-samples-generations": lambda: [
        Reading(sum(gain_by_samples(g) > gain_by_generations(g) for g in (True, False)))
    ],
    "3-text-generations": lambda: [Reading(both_best(genetic_only=True))],
    "c-text-kernel": lambda: of_the_population(int(modules().kernel_size.mode()[0])),
    "c-text-reducing": lambda: of_the_population(reducing_rank()),
    "c-text-shapes": distinct_shapes,
    "c-text-minutes-least": lambda: [Reading(minutes_a_model("hours-least"))],
    "c-text-minutes-most": lambda: [Reading(minutes_a_model("hours-most"))],
    "c-text-generations": lambda: [Reading(both_best(genetic_only=False))],
}
"""The numbers of the text that follow from printed tables, by id less its source."""

IN_WORDS = {
    "3-text-genetic-test", "3-text-genetic-validation", "3-text-mnist-test",
    "3-text-mnist-validation", "3-text-samples-generations", "c-text-kernel", "c-text-reducing",
    "c-text-shapes",
}  # fmt: skip
"""Those that the text says in words, and that are counts and ranks of ours."""

NOTES = {
    "3-text-trained-least": "of table 3.2's searches; the text gives it for example",
    "3-text-trained-most": "of table 3.2's searches; the text gives it for example",
    "3-text-samples": "table 3.2's four differences are 1.4 to 2.3",
}


def cell(row: pd.Series) -> Cell:
    """The cell of a number of the text that follows from printed tables."""
    name = row["id"].removeprefix("thesis-")
    return Cell(row, "value", COMPUTED[name](), note=NOTES.get(name, ""), derived=True)
