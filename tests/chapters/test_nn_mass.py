"""NN-Mass: settings and the numbers made of them, runs that judge the rest, and its theorems."""

from dataclasses import replace
from functools import cache, partial
from itertools import pairwise, product
from math import e, log, pi, sqrt

import numpy as np
import pandas as pd
import pytest
import sympy as sp

from reuseprior import data
from reuseprior.chapters import nn_mass, nn_mass_runs, nn_mass_theorems
from reuseprior.chapters.nn_mass import PARTS, architecture, with_transitions
from reuseprior.measures.nn_mass import Architecture, NNMassError
from reuseprior.report import published
from reuseprior.training import Protocol
from tests.chapters import printed, runs
from tests.chapters.printed import falsified, table

TABLE_1 = partial(PARTS.table, "nn-mass/table-1")
DENSITIES = partial(PARTS.table, "nn-mass/appendix-g")
COUNTED = cache(nn_mass.darts_parameters)


@pytest.fixture
def quick(monkeypatch):
    """Tables are read once, each network is built once, and DARTS is counted once."""
    networks = {}

    def built(row, given=None):
        key = tuple(row)
        return networks.get(key) or networks.setdefault(key, architecture(row, given))

    monkeypatch.setattr(nn_mass, "darts_parameters", COUNTED)
    monkeypatch.setattr(nn_mass, "architecture", built)
    falsified(monkeypatch)


def judged(*parts):
    """Those of some parts' entries that follow from definitions, by id."""
    return {e.id: e for part in parts for e in part() if e.kind == "computed"}


def test_the_printed_sizes_rule_out_a_convolution_before_the_cells():
    """Not even the one that figures 2 and 8 draw leaves a printed size."""
    built = nn_mass.networks("nn-mass/table-1")
    for _, row in table("nn-mass/table-1").iterrows():
        one, interval = built[row.id], published.Printed.parse(row.params).interval()
        first = 9 * one.widths[0] ** 2 + 2 * one.widths[0]
        assert one.parameters() in interval
        assert one.parameters() + first not in interval
        assert with_transitions(one) not in interval
    assert with_transitions(Architecture.of_layers(64, (90, 170, 300))) == 12_085_354


def test_a_row_is_the_network_of_its_printed_settings():
    row = table("nn-mass/table-2").iloc[-1]
    assert architecture(row) == Architecture.of_layers(64, (110, 215, 300), width_multiplier=2)
    one_cell = row.copy()
    one_cell["cells"] = "1"
    assert architecture(one_cell) == Architecture(60, (32,), (110,))
    one_cell["layers"], one_cell["cells"] = "65", "3"
    with pytest.raises(ValueError, match="65 layers are not 3 d \\+ 4"):
        architecture(one_cell)


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


APPENDIX_D = PARTS["nnmass, appendix D"]


def eight_million():
    return [printed.judged(PARTS, "nnmass-text-8M")]


SETTINGS = {  # table: columns, what is made from it, and the numbers that depend on a row
    "table-1": ("layers cells t_1 t_2 t_3", TABLE_1, "{}/params {}/flops_G {}/mass"),
    "table-2": ("layers cells t_1 t_2 t_3 width_multiplier", DENSITIES, "{}/density"),
    "table-2-contributions": (
        "layers cells candidates width_multiplier",
        eight_million,
        "nnmass-text-8M",
    ),
    "appendix-d": ("value", APPENDIX_D, "nnmass-d-density nnmass-d-mass"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SETTINGS)
def test_a_falsified_setting_changes_every_number_made_from_it(quick, monkeypatch, name):
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


@pytest.mark.slow
def test_falsified_settings_of_several_networks(quick, monkeypatch):
    """Of all networks every number moves; of trainings none does, as runs are asked of them."""

    def falsify(row, value, name="setup"):
        falsified(monkeypatch, f"nn-mass/{name}", f"nnmass-{row}", "value", value)

    before = judged(TABLE_1, DENSITIES)
    monkeypatch.setattr(nn_mass, "architecture", architecture)  # which the text decides on
    for row, value in [("g-around", "1"), *((f"g-base-width-{n}", "24") for n in (1, 2, 3))]:
        falsify(row, value)
        after = judged(TABLE_1, DENSITIES)
        assert all(after[i].computed != before[i].computed for i in before), row
    # any other depth or density that table 2 lacks is as unknown, so 20 does not depend on it
    for row, value in [("h-2-layers-1", "31"), ("h-2-density-2", "0.20")]:
        falsify(row, value)
        assert printed.judged(PARTS, "nnmass-text-unknown").verdict == "not reproduced"
    falsify("g-learning-rate", "0.06")
    assert nn_mass._trained(200, {})["protocol"]["learning_rate"] == 0.06
    falsify("g-epochs", "201")
    assert nn_mass.fit(published.row("nn-mass/text", "r2-2"))[0].config["protocol"]["epochs"] == 201
    falsify("1-darts-2-cells", "18", "text")
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
            place = root / "nn-mass-paper" / f"seed{seed}-{about['layers']}-{about['density']}"
            runs.record(place, config | {"seed": seed}, test_accuracy=accuracy)

    return made


@pytest.mark.parametrize("changed", [{}, {"learning_rate": 1.0}])
def test_three_seeds_at_the_printed_protocol_judge_an_accuracy(quick, record, changed):
    """And at no other."""
    first = table("nn-mass/table-1").iloc[0]
    about, accuracies = {"layers": 64, "density": 0.3}, (0.9700, 0.9705, 0.9698)
    record(600, architecture(first), about, accuracies, changed)
    found = {e.id: e for e in TABLE_1()}
    mean, spread = (found[f"{first.id}/{column}"] for column in ("test_accuracy", "std"))
    if changed:
        assert mean.computed is None
    else:
        assert (mean.verdict, spread.verdict) == ("within", "open")
        assert spread.computed == pytest.approx(0.0361, abs=1e-4)


def test_a_fit_needs_the_whole_grid_and_is_then_judged(quick, record):
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


def test_goodness_of_fit():
    random = np.random.default_rng(1)
    mass = np.exp(np.linspace(3, 6, 12))
    accuracy = 40 + 5 * np.log(mass) + random.normal(size=12)
    models = {"mass": mass, "accuracy": accuracy, "parameters": random.permutation(mass)}
    others = {c: random.normal(size=12) for c in ("P_G", "P_G_spread", "layers", "density")}
    models = pd.DataFrame(models | others)
    found = nn_mass.goodness_of_fit(models)
    row = found.loc["ln mass"]
    assert row.R2 == pytest.approx(np.corrcoef(np.log(mass), accuracy)[0, 1] ** 2)
    assert row.slope == pytest.approx(5, abs=1)
    assert row.low < row.R2 < row.high and found.R2.idxmax() == "ln mass"
    assert nn_mass.goodness_of_fit(models).equals(found)  # by a seed


def test_a_grid_is_trained_once(tmp_path, monkeypatch):
    grid = nn_mass_runs.Grid("nn-mass", (13,), (0.1, 0.5), 0.125)
    digits = data.load("digits")
    small = {"train_images": 256, "test_images": 64, "image_size": 8, "test_image_size": 8}
    short = Protocol.load("nn-mass", epochs=1, **small)
    monkeypatch.setattr(data, "load", lambda name: digits)
    monkeypatch.setattr(Protocol, "load", lambda name: replace(short, name=name))
    found = nn_mass.train_grid(grid, root=tmp_path, progress=False)
    table = nn_mass.trained(found)
    assert [r.name for r in found] == ["layers13-density10-seed0", "layers13-density50-seed0"]
    assert table.mass.tolist() == sorted(table.mass)
    share = table.accuracy / 100
    assert sorted(share) == sorted(run.summary["test_accuracy"] for run in found)
    assert table.error.tolist() == pytest.approx(100 * (share * (1 - share) / 64) ** 0.5)
    monkeypatch.setattr(nn_mass_runs, "train", None)  # a second training would fail
    again = nn_mass.train_grid(grid, root=tmp_path, progress=False)
    assert [r.summary for r in again] == [r.summary for r in found]


# Theorem 2, whose steps are tested with all others in test_derivations ----------------------------


def test_the_divergence_is_negative_from_a_third_on():
    divergence = nn_mass_theorems.divergence
    zero = float(1 / (3 * sp.LambertW(sp.pi * sp.E / 3)))
    assert zero == pytest.approx(0.3258, abs=5e-5)
    assert divergence(zero, 10) == pytest.approx(0, abs=1e-12)
    assert divergence(0.9 * zero, 10) > 0 > divergence(1.1 * zero, 10)
    assert 2 * 50 * divergence(622.69, 50) == pytest.approx(-4.29, abs=0.005)


def test_mended_it_is_positive_and_still_falls_and_bounds():
    """And equation 13 is a good approximation."""
    repaired = nn_mass_theorems.repaired_divergence
    for mean in (3, 30, 300):
        approximate = log(2 * pi * e * mean) / 2 - 1 / (12 * mean)
        entropy = log(2 * 10**4) - repaired(2 * mean, 10**4)
        assert entropy == pytest.approx(approximate, abs=0.1 / mean**2)
    mended = [repaired(mass, 428) for mass in (100, 400, 800)]
    assert mended == sorted(mended, reverse=True) and mended[-1] > 0
    by_hand = sqrt((2 + log(2 * sqrt(1000) / 0.1)) / 2000)
    assert nn_mass_theorems.bound(2, 1000, confidence=0.9) == pytest.approx(by_hand)


REFUSED = [
    ("divergence", (0, 1), {}, "mass is 0: it must be above 0"),
    ("repaired_divergence", (1, -2), {}, "most_links is -2: it must be above 0"),
    ("bound", (1, 0), {}, "examples is 0: it must be above 0"),
    ("bound", (1, 10), {"confidence": 1}, "confidence is 1: it must be between 0 and 1"),
    ("bound", (-99, 10), {}, "a divergence of -99 leaves the root of a negative number"),
]


def test_q_is_exactly_poissons():
    """Its divergence is shown to 30 digits, so no processor's exp may stand in it."""
    λ, q = nn_mass_theorems.λ, nn_mass_theorems.q
    for point in nn_mass_theorems.BUILT.grid:
        read = nn_mass_theorems.BUILT.read(*point)
        chances = read[q][1:]
        assert sum(chances) == 1
        for k, (one, after) in enumerate(pairwise(chances), 1):
            assert after * k == one * read[λ]


def test_what_cannot_be_is_refused():
    for name, given, options, message in REFUSED:
        with pytest.raises(NNMassError, match=message):
            getattr(nn_mass_theorems, name)(*given, **options)
    with pytest.raises(KeyError, match="no derivation 'Theorem 3'; there are equations 1 to 7"):
        nn_mass_theorems.derivation("Theorem 3")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Theorem 2", "Corollary 1"])
def test_what_is_printed_needs_a_divergence_that_is_not_negative(name):
    found = nn_mass_theorems.derivation(name)
    assert found.mark == "✓ corrected"
    for chain in found.found.only_printed:
        assert chain.proofs == chain.checks == (False,)
