"""Verdicts on what NN-Mass prints, and what they are when a printed number is falsified."""

import re
from collections import Counter
from decimal import Decimal
from functools import cache

import pytest

from reuseprior import paths, results
from reuseprior.press import published
from reuseprior.press.ledger import KINDS
from reuseprior.works import nn_mass
from reuseprior.works.nn_mass import PARTS, ledger
from tests.works.printed import falsified, table

COUNTED = cache(ledger.darts_parameters)
AGREE = ("reproduced", "unsaid", "against the text")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Tables are read once, and DARTS is counted once."""
    monkeypatch.setattr(ledger, "darts_parameters", COUNTED)
    falsified(monkeypatch)


@cache
def whole():
    """All entries as printed but those of the theorems, by id."""
    made = (e for place, make in PARTS.items() if "theorems" not in place for e in make())
    return {e.id: e for e in made}


VERDICTS = {
    ("computed", "reproduced"): 44,
    ("computed", "against the text"): 11,
    ("computed", "erratum"): 4,
    ("derived", "reproduced"): 2,
    ("quoted", "confirmed"): 8,
    ("measured", "open"): 22,
    ("quoted", "unchecked"): 1,
    ("measured", "undecided"): 3,
    ("setting", "used"): 183,
}


def test_verdicts_and_places():
    found = whole()
    assert Counter((e.kind, e.verdict) for e in found.values()) == VERDICTS
    assert all(e.verdict in KINDS[e.kind] for e in found.values())
    for place, make in PARTS.items():
        assert "theorems" in place or all(e.where.startswith(place) for e in make()), place


def test_masses_and_densities_are_cut_and_nothing_else_is():
    found = whole()
    cut = {i for i, e in found.items() if "cut" in e.note}
    ends = ("/mass", "/density", "nnmass-d-density")
    assert cut == {i for i in found if i.endswith(ends)}


def test_the_printed_sizes_rule_out_a_convolution_before_the_cells():
    """Not even the one that figures 2 and 8 draw leaves a printed size."""
    built = ledger.networks("nn-mass/table-1")
    for _, row in published.load("nn-mass/table-1").iterrows():
        one, window = built[row.id], published.Printed.parse(row.params).window()
        first = 9 * one.widths[0] ** 2 + 2 * one.widths[0]
        assert one.parameters() in window
        assert one.parameters() + first not in window
        assert ledger.with_transitions(one) not in window


def test_notes_say_where_the_text_contradicts_a_table():
    found = whole()
    contradicted = {"4.6M": "table 1, p. 10, prints 4.69M for it", "mass-most": "a mass of 856",
                    "large-most": "a mass of 1126", "cells": "a single cell"}  # fmt: skip
    errata = {i: e.note for i, e in found.items() if e.verdict == "erratum"}
    assert errata.keys() == {f"nnmass-text-{name}" for name in contradicted}
    assert all(said in errata[f"nnmass-text-{name}"] for name, said in contradicted.items())
    first, second = (found[f"nnmass-1-darts-{n}-params"] for n in (1, 2))
    for entry, counted in ((first, "3,169,414"), (second, "3,349,342")):
        assert (entry.kind, entry.verdict) == ("quoted", "confirmed")
        assert entry.note.endswith(f"the released cells, counted: {counted}")
    assert "an error of 3.00 %: 97.00" in found["nnmass-1-darts-1-accuracy"].note


# Falsified numbers --------------------------------------------------------------------------------


def off_by_one(text):
    """The text with its number one more and one less in the last digit."""
    number = re.search(r"\d+(\.\d+)?", text)
    value = Decimal(number[0])
    step = Decimal(1).scaleb(value.as_tuple().exponent)
    return [text.replace(number[0], str(value + sign * step)) for sign in (1, -1)]


def judged(*parts):
    """Those of some parts' entries that follow from definitions, by id."""
    return {e.id: e for part in parts for e in part() if e.kind == "computed"}


def said():
    """What follows from tables and definitions in the text, judged."""
    return ledger.judged(ledger.claims().values())


PRINTED = {  # table, what is computed beside it, and the column of its computed numbers
    "table-1": ((ledger.table_1,), ("params", "flops_G", "mass")),
    "appendix-g": ((ledger.densities,), ("value",)),
    "appendix-d": ((ledger.appendix_d, ledger.densities), ("value",)),
    "text": ((said, ledger.quotations), ("value",)),
}
TOO_LOOSE = {  # falsified bounds that the computed number still keeps
    ("nnmass-text-more-than-3x-params", ">2"),
    ("nnmass-text-64-layers", ">7M"),
    ("nnmass-text-mass-least", "≥749"),
    ("nnmass-text-mass-least", "≥751"),  # 755
    ("nnmass-text-large-least", "≥599"),
    ("nnmass-text-large-least", "≥601"),  # 622
}


@pytest.fixture
def built(monkeypatch):
    """Networks are built once a row, while no setting of all networks is falsified."""
    networks, build = {}, ledger.architecture

    def architecture(row, given=None):
        key = tuple(row)
        return networks.get(key) or networks.setdefault(key, build(row, given))

    monkeypatch.setattr(ledger, "architecture", architecture)
    monkeypatch.setattr(ledger, "setup", cache(ledger.setup))


@pytest.mark.slow
def test_a_falsified_number_turns_something_red(monkeypatch, built):
    """By one in the last digit, up and down.

    Its own verdict changes, or where it is what rounding would give, its column can no longer be
    cut, so that others change theirs.
    """
    own, tried, silent = 0, 0, set()
    for name, (parts, columns) in PRINTED.items():
        falsified(monkeypatch)
        before = judged(*parts)
        for row in table(f"nn-mass/{name}").id:
            for column in columns:
                one = before.get(row if column == "value" else f"{row}/{column}")
                for text in off_by_one(one.printed) if one and one.verdict in AGREE else ():
                    falsified(monkeypatch, f"nn-mass/{name}", row, column, text)
                    after = judged(*parts)
                    tried += 1
                    own += after[one.id].verdict != one.verdict
                    if all(after[i].verdict == before[i].verdict for i in before):
                        silent.add((one.id, text))
    assert silent == TOO_LOOSE
    assert own >= 0.8 * tried > 0, f"{own} of {tried} have another verdict themselves"


# Falsified settings -------------------------------------------------------------------------------


def other(row, column):
    """Another value that the setting could have."""
    value = int(row[column])
    if column == "cells" or row.get("quantity") == "cells":
        return {"3": "1", "1": "3"}[row[column]] if column == "cells" else "2"
    step = 3 if column == "layers" else 1 if column in ("width_multiplier", "value") else 10
    return str(value + step)


SETTINGS = {  # table: columns, what is made from it, and the numbers that depend on a row
    "table-1": (
        ("layers", "cells", "t_1", "t_2", "t_3"),
        (ledger.table_1,),
        lambda row: [f"{row.id}/{column}" for column in ("params", "flops_G", "mass")],
    ),
    "table-2": (
        ("layers", "cells", "t_1", "t_2", "t_3", "width_multiplier"),
        (ledger.densities,),
        lambda row: [f"{row.id}/density"],
    ),
    "table-2-contributions": (
        ("layers", "cells", "candidates", "width_multiplier"),
        (said,),
        lambda row: ["nnmass-text-8M"],
    ),
    "appendix-d": (
        ("value",),
        (ledger.appendix_d,),
        lambda row: ["nnmass-d-density", "nnmass-d-mass"],
    ),
}
TOO_COARSE = {  # row, setting: the number whose digits cannot tell, though the value is another
    # a mass hardly depends on depth: λ is m/2 where cells are deep
    ("nnmass-1-64-90-170-300", "layers"): "mass",
    # 1.2, two digits
    **{("nnmass-1-31-70-140-200", f"t_{cell}"): "flops_G" for cell in (1, 2, 3)},
    # two decimals of a mean over cells, of which 10 candidates more in a wide one move little
    **{
        (f"nnmass-2-{row}", column): "density"
        for column, rows in {
            "layers": "49-25-50-90 64-30-80-117",
            "t_2": "64-50-110-150 64-70-140-200 64-90-175-250 64-110-215-300",
            "t_3": "40-30-50-100 40-60-130-170 49-50-105-150 49-70-130-170 49-90-150-210 "
            "64-50-110-150 64-70-140-200 64-90-175-250 64-110-215-300",
        }.items()
        for row in rows.split()
    },
    # "about 8M", one digit, of which each of three rows is a third
    **{
        (f"nnmass-2-{kind}", column): "8M"
        for kind in ("constant", "ones", "random")
        for column in ("layers", "cells", "candidates")
    },
    ("nnmass-d-depth", "value"): "mass",  # 28.3 for 28
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SETTINGS)
def test_a_falsified_setting_changes_every_number_made_from_it(monkeypatch, built, name):
    """Its value always, and its verdict unless the printed digits are too coarse."""
    columns, parts, made_from = SETTINGS[name]
    before, coarse = judged(*parts), set()
    for _, row in table(f"nn-mass/{name}").iterrows():
        if name == "appendix-d" and (row.id in before or row.quantity == "density"):
            continue
        for column in columns:
            falsified(monkeypatch, f"nn-mass/{name}", row.id, column, other(row, column))
            after = judged(*parts)
            for number in made_from(row):
                assert after[number].computed != before[number].computed, (row.id, column)
                if after[number].verdict == before[number].verdict:
                    coarse.add((row.id, column, re.split("[-/]", number)[-1]))
    rows = set(table(f"nn-mass/{name}").id)
    assert coarse == {(row, column, n) for (row, column), n in TOO_COARSE.items() if row in rows}


def test_falsified_settings_of_several_networks(monkeypatch):
    """Of all networks every number moves; of trainings none does, as runs are asked of them."""
    before = judged(ledger.table_1, ledger.densities)
    widths = [(f"nnmass-g-base-width-{n}", "24") for n in (1, 2, 3)]
    for row, value in [("nnmass-g-around", "1"), *widths]:
        falsified(monkeypatch, "nn-mass/setup", row, "value", value)
        after = judged(ledger.table_1, ledger.densities)
        assert all(after[i].computed != before[i].computed for i in before), row
    # any other depth or density that table 2 lacks is as unknown, so 20 does not depend on it
    for row, value in [("layers-1", "31"), ("density-2", "0.20")]:
        falsified(monkeypatch, "nn-mass/setup", f"nnmass-h-2-{row}", "value", value)
        assert judged(said)["nnmass-text-unknown"].verdict == "not reproduced"
    falsified(monkeypatch, "nn-mass/setup", "nnmass-g-learning-rate", "value", "0.06")
    assert ledger._trained(200, {})["protocol"]["learning_rate"] == 0.06
    falsified(monkeypatch, "nn-mass/setup", "nnmass-g-epochs", "value", "201")
    assert ledger._fit("cifar10", "ln mass", 2).config["protocol"]["epochs"] == 201
    falsified(monkeypatch, "nn-mass/text", "nnmass-1-darts-2-cells", "value", "18")
    found = {e.id: e for e in ledger.quotations()}
    assert found["nnmass-1-darts-2-cells"].verdict == "differs"
    assert not found["nnmass-1-darts-2-params"].note.endswith("3,349,342")


# Runs ---------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty place for results."""
    monkeypatch.setattr(paths, "RESULTS", tmp_path)
    return tmp_path


def record(folder, config, *, seed, **summary):
    """A synthetic run."""
    run = folder / "nn-mass-paper" / f"seed{seed}-{config['layers']}-{config['density']}"
    results.Recording.start(run, {**config, "seed": seed}, resume=False).finish(summary)


def printed_grid():
    """The configuration of every run of figure 5's grid, at twice the base channels."""
    trained = ledger._trained(200, {})
    for layers, density, one in nn_mass.GRIDS["full"].architectures():
        shape = {"depth": one.depth, "widths": one.widths, "candidates": one.candidates}
        about = {"layers": layers, "density": density, "parameters": one.parameters()}
        yield {**trained, **about, "architecture": shape}


PROTOCOLS = [{}, {"learning_rate": 1.0}, {"validation": 0.5}, {"image_size": 8},
             {"optimizer": "adamw"}]  # fmt: skip


@pytest.mark.parametrize("changed", PROTOCOLS)
def test_three_seeds_at_the_printed_protocol_judge_an_accuracy(folder, changed):
    """And at no other."""
    first = table("nn-mass/table-1").iloc[0]
    one = ledger.architecture(first)
    shape = {"depth": one.depth, "widths": one.widths, "candidates": one.candidates}
    config = {**ledger._trained(600, shape), "layers": 64, "density": 0.3}
    config["protocol"] = config["protocol"] | changed
    for seed, accuracy in enumerate((0.9700, 0.9705, 0.9698)):
        record(folder, config, seed=seed, test_accuracy=accuracy)
    found = {e.id: e for e in ledger.table_1()}
    mean, spread = (found[f"{first.id}/{column}"] for column in ("test_accuracy", "std"))
    if changed:
        assert mean.computed is None
    else:
        assert (mean.verdict, spread.verdict) == ("within", "open")
        assert spread.computed == pytest.approx(0.0361, abs=1e-4)


def test_a_fit_needs_the_whole_grid_and_is_then_judged(folder):
    assert {e.verdict for e in ledger.text("nnmass, figure")} == {"open"}
    for seed in range(3):
        for config in printed_grid():
            accuracy = 0.95 + 0.002 * seed * config["density"] + 1e-3 * config["layers"] / 64
            record(folder, config, seed=seed, test_accuracy=accuracy)
    found = {e.id: e for e in ledger.text("nnmass, figure 5")}
    judged = found["nnmass-text-r2-2"]
    assert judged.verdict in ("within", "outside") and "3 seeds" in judged.note
    assert found["nnmass-text-r2-1"].verdict == "open"
    for claim in table("nn-mass/text").claim:
        assert not claim.startswith("R² of accuracy") or ledger.FIT.fullmatch(claim), claim


def test_one_seed_of_the_reduced_grid_decides_nothing():
    found = whole()
    for name in ("rises", "r2-2", "r2-params-2"):
        entry = found[f"nnmass-text-{name}"]
        assert entry.verdict == "undecided" and "one seed cannot tell" in entry.note
