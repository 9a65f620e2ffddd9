"""What NN-Mass prints as settings makes its other numbers, and which runs judge the rest."""

from functools import cache, partial
from itertools import product

import pytest

from reuseprior import results
from reuseprior.chapters import nn_mass
from reuseprior.chapters.nn_mass import PARTS
from reuseprior.report import published
from tests.chapters.printed import falsified, table

TABLE_1 = partial(PARTS.table, "nn-mass/table-1")
DENSITIES = partial(PARTS.table, "nn-mass/appendix-g")
COUNTED = cache(nn_mass.darts_parameters)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Tables are read once, and DARTS is counted once."""
    monkeypatch.setattr(nn_mass, "darts_parameters", COUNTED)
    falsified(monkeypatch)


def judged(*parts):
    """Those of some parts' entries that follow from definitions, by id."""
    return {e.id: e for part in parts for e in part() if e.kind == "computed"}


def said():
    """What follows from tables and definitions in the text, judged."""
    return PARTS.table("nn-mass/text")


def test_the_printed_sizes_rule_out_a_convolution_before_the_cells():
    """Not even the one that figures 2 and 8 draw leaves a printed size."""
    built = nn_mass.networks("nn-mass/table-1")
    for _, row in table("nn-mass/table-1").iterrows():
        one, window = built[row.id], published.Printed.parse(row.params).window()
        first = 9 * one.widths[0] ** 2 + 2 * one.widths[0]
        assert one.parameters() in window
        assert one.parameters() + first not in window
        assert nn_mass.with_transitions(one) not in window


# Falsified settings -------------------------------------------------------------------------------


def other(row, column):
    """Another value that the setting could have."""
    value = int(row[column])
    if column == "cells":
        return "1" if value == 3 else "3"
    if row.get("quantity") == "cells":
        return "2"
    step = 3 if column == "layers" else 1 if column in ("width_multiplier", "value") else 10
    return str(value + step)


SETTINGS = {  # table: columns, what is made from it, and the numbers that depend on a row
    "table-1": ("layers cells t_1 t_2 t_3", TABLE_1, "{}/params {}/flops_G {}/mass"),
    "table-2": (
        "layers cells t_1 t_2 t_3 width_multiplier",
        DENSITIES,
        "{}/density",
    ),
    "table-2-contributions": ("layers cells candidates width_multiplier", said, "nnmass-text-8M"),
    "appendix-d": ("value", PARTS["nnmass, appendix D"], "nnmass-d-density nnmass-d-mass"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SETTINGS)
def test_a_falsified_setting_changes_every_number_made_from_it(monkeypatch, name):
    networks, build = {}, nn_mass.architecture  # which are built once a row

    def architecture(row, given=None):
        key = tuple(row)
        return networks.get(key) or networks.setdefault(key, build(row, given))

    monkeypatch.setattr(nn_mass, "architecture", architecture)
    monkeypatch.setattr(nn_mass, "setup", cache(nn_mass.setup))
    columns, part, numbers = SETTINGS[name]
    before, rows = judged(part), [row for _, row in table(f"nn-mass/{name}").iterrows()]
    if name == "appendix-d":
        rows = [row for row in rows if row.id not in before and row.quantity != "density"]
    # numbers of a row's own are told apart, so all rows are falsified at once
    groups = [rows] if "{}" in numbers else [[row] for row in rows]
    for column, group in product(columns.split(), groups):
        falsified(monkeypatch, f"nn-mass/{name}", {r.id: other(r, column) for r in group}, column)
        after = judged(part)
        for row in group:
            for number in numbers.replace("{}", row.id).split():
                assert after[number].computed != before[number].computed, (row.id, column)


def test_falsified_settings_of_several_networks(monkeypatch):
    """Of all networks every number moves; of trainings none does, as runs are asked of them."""

    def printed(row, value, name="setup"):
        falsified(monkeypatch, f"nn-mass/{name}", f"nnmass-{row}", "value", value)

    before = judged(TABLE_1, DENSITIES)
    for row, value in [("g-around", "1"), *((f"g-base-width-{n}", "24") for n in (1, 2, 3))]:
        printed(row, value)
        after = judged(TABLE_1, DENSITIES)
        assert all(after[i].computed != before[i].computed for i in before), row
    # any other depth or density that table 2 lacks is as unknown, so 20 does not depend on it
    for row, value in [("h-2-layers-1", "31"), ("h-2-density-2", "0.20")]:
        printed(row, value)
        assert judged(said)["nnmass-text-unknown"].verdict == "not reproduced"
    printed("g-learning-rate", "0.06")
    assert nn_mass._trained(200, {})["protocol"]["learning_rate"] == 0.06
    printed("g-epochs", "201")
    assert nn_mass.fit(published.row("nn-mass/text", "r2-2"))[0].config["protocol"]["epochs"] == 201
    printed("1-darts-2-cells", "18", "text")
    found = {e.id: e for e in PARTS["nnmass, table 1"]()}
    assert found["nnmass-1-darts-2-cells"].verdict == "differs"
    assert not found["nnmass-1-darts-2-params"].note.endswith("3,349,342")


# Runs ---------------------------------------------------------------------------------------------


@pytest.fixture
def record(root):
    """Makes synthetic runs of a network, an accuracy each."""

    def made(epochs, one, about, accuracies, changed=None):
        shape = {"depth": one.depth, "widths": one.widths, "candidates": one.candidates}
        config = {**nn_mass._trained(epochs, shape), **about}
        config["protocol"] = config["protocol"] | (changed or {})
        for seed, accuracy in enumerate(accuracies):
            run = root / "nn-mass-paper" / f"seed{seed}-{about['layers']}-{about['density']}"
            recording = results.Recording.start(run, config | {"seed": seed}, resume=False)
            recording.finish({"test_accuracy": accuracy})

    return made


PROTOCOLS = [{}, {"learning_rate": 1.0}, {"validation": 0.5}, {"image_size": 8},
             {"optimizer": "adamw"}]  # fmt: skip


@pytest.mark.parametrize("changed", PROTOCOLS)
def test_three_seeds_at_the_printed_protocol_judge_an_accuracy(record, changed):
    """And at no other."""
    first = table("nn-mass/table-1").iloc[0]
    about, accuracies = {"layers": 64, "density": 0.3}, (0.9700, 0.9705, 0.9698)
    record(600, nn_mass.architecture(first), about, accuracies, changed)
    found = {e.id: e for e in TABLE_1()}
    mean, spread = (found[f"{first.id}/{column}"] for column in ("test_accuracy", "std"))
    if changed:
        assert mean.computed is None
    else:
        assert (mean.verdict, spread.verdict) == ("within", "open")
        assert spread.computed == pytest.approx(0.0361, abs=1e-4)


def test_a_fit_needs_the_whole_grid_and_is_then_judged(record):
    """Figure 5's grid, at twice the base channels."""
    assert {e.verdict for e in PARTS["nnmass, figure"]()} == {"open"}
    for layers, density, one in nn_mass.GRIDS["full"].architectures():
        about = {"layers": layers, "density": density, "parameters": one.parameters()}
        accuracies = [0.95 + 0.002 * seed * density + 1e-3 * layers / 64 for seed in range(3)]
        record(200, one, about, accuracies)
    found = {e.id: e for e in PARTS["nnmass, figure"]()}
    fit = found["nnmass-text-r2-2"]
    assert fit.verdict in ("within", "outside") and "3 seeds" in fit.note
    assert found["nnmass-text-r2-1"].verdict == "open"
    for claim in table("nn-mass/text").claim:
        assert not claim.startswith("R² of accuracy") or nn_mass.FIT.fullmatch(claim), claim
