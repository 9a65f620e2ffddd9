"""The printed settings of the searches: chapter 3's text, table 3.2 and appendix C.2's lines."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pandas as pd

from reuseprior.report import published, runs
from reuseprior.report.published import Printed
from reuseprior.revolver import Settings

Value = int | float | str

COMMAND_LINE = {
    "search_mode": "mode",
    "dataset": "data",
    "batch_size": "batch_size",
    "sample_size": "sample",
    "epochs": "generations",
    "lr": "learning_rate",
    "min_lr": "minimum_learning_rate",
    "genotype_cost": "genotype_coefficient",
    "warmup_x": "warmup_x",
    "warmup_epoch": "warmup_generations",
    "population_size": "population",
}
"""What appendix C.2 calls our settings."""

PER_CENT = Decimal("0.01")

IN_TEXT: dict[str, tuple[str, Decimal | int]] = {
    "replacements": ("replacements", 1),
    "passes": ("passes", 1),
    "max-parameters": ("max_parameters", 1),
    "explore": ("explore", PER_CENT),
    "validation": ("validation", PER_CENT),
    "constant-generations": ("constant_generations", 1),
    "learning-rate": ("learning_rate", 1),
    "minimum-learning-rate": ("minimum_learning_rate", 1),
    "batch-mnist": ("batch_size", 1),
    "batch-cifar-10": ("batch_size", 1),
    "minimum-batches": ("minimum_batches", 1),
}
"""The rows of `chapter-3-text.csv` that are settings, and what ours are of what they print."""

FOR = {"batch-mnist": "mnist", "batch-cifar-10": "cifar10"}  # others are for both data sets

WIDTHS = {"mnist-random-width": "mnist-random", "mnist-evolve-width": "mnist-evolve"}
"""The rows of `appendix-c-text.csv` that are settings, and whose: the upper end of a range."""

OF_THE_DATA = ("image", "classes")  # which a search takes from its data, whatever a preset says


def command_lines() -> pd.DataFrame:
    """The printed settings of appendix C.2's searches, by our presets of them."""
    return published.load("thesis/appendix-c-2").set_index("preset")


def command_line(preset: str) -> dict[str, str]:
    """The printed settings of one of appendix C.2's searches."""
    return command_lines().loc[preset].to_dict()


def said(table: str, name: str) -> str:
    """What a row of a table of chapter 3's or appendix C's text prints, by the end of its id."""
    rows = published.load(f"thesis/{table}").set_index("id").value
    return rows[f"thesis-{'3' if table == 'chapter-3-text' else 'c'}-text-{name}"]


def number(text: str, unit: Decimal | int = 1) -> int | float:
    """A printed number as one of Python's."""
    value = Printed.parse(text).value * unit
    return int(value) if value == int(value) else float(value)


def protocol(preset: str) -> dict[str, Any]:
    """What `config.json` must say of the settings of a search at the printed protocol.

    That is the preset with every printed setting. A setting for which the source prints several
    values in several places is the list of them, which no run has.
    """
    printed = {
        key: values[0] if len(values) == 1 else values
        for key, values in printed_settings(preset).items()
    }
    config = runs.settings(Settings.load(preset).to_data(), printed)
    space = {key: value for key, value in config["space"].items() if key not in OF_THE_DATA}
    if preset in WIDTHS.values():
        (row,) = (row for row, its in WIDTHS.items() if its == preset)
        space["widths"] = list(range(1, number(said("appendix-c-text", row)) + 1))
    return {"settings": config | {"space": space}}


def printed_settings(preset: str) -> dict[str, list[Value]]:
    """Our settings that the source prints for a search, each with the values that it prints."""
    found: dict[str, list[Value]] = defaultdict(list)
    for key, value in _printed(preset):
        if value not in found[key]:
            found[key].append(value)
    return dict(found)


def _printed(preset: str) -> Iterator[tuple[str, Value]]:
    line = command_line(preset)
    data = line["dataset"].lower()
    for name, key in COMMAND_LINE.items():
        yield key, (data if key == "data" else line[name] if key == "mode" else number(line[name]))
    table = published.load("thesis/table-3-2").set_index("preset")
    yield "sample", number(table.sample_size[preset])
    text = published.load("thesis/chapter-3-text").set_index("id").value
    for name, (key, unit) in IN_TEXT.items():
        if FOR.get(name, data) == data:
            yield key, number(text[f"thesis-3-text-{name}"], unit)
