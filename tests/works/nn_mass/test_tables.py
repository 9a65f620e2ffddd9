"""Verdicts on what NN-Mass prints, and the grid that we trained."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from reuseprior import data
from reuseprior.measures.nn_mass import Architecture
from reuseprior.press import published
from reuseprior.training import Protocol
from reuseprior.works import nn_mass as work
from reuseprior.works.nn_mass import experiments
from reuseprior.works.nn_mass.ledger import with_transitions


@pytest.fixture(scope="module")
def entries():
    return {e.id: e for e in work.entries()}


@pytest.mark.slow
def test_masses_densities_and_sizes_are_as_printed(entries):
    cells = {
        i: e for i, e in entries.items() if i.startswith(("nnmass-1-", "nnmass-2-", "nnmass-d"))
    }
    verdicts = Counter(e.verdict for e in cells.values())
    assert verdicts == {"reproduced": 194, "convention": 10, "not yet": 18}
    masses = [e for i, e in cells.items() if i.endswith("/mass")]
    assert [e.note for e in masses].count("cut, not rounded") == 3
    assert all(e.verdict == "reproduced" for e in masses)


@pytest.mark.slow
def test_only_numbers_of_trainings_wait(entries):
    waiting = {e.where for e in entries.values() if e.verdict == "not yet"}
    assert all("table 1" in where or "figure" in where for where in waiting)


def test_a_changed_digit_is_an_erratum(monkeypatch):
    load = published.load
    monkeypatch.setattr(published, "load", lambda *names: load(*names).replace({"755": "756"}))
    verdicts = {e.id: e.verdict for e in work.table_1()}
    assert verdicts["nnmass-1-40-60-130-170/mass"] == "erratum"
    assert verdicts["nnmass-1-31-70-140-200/mass"] == "reproduced"


@pytest.mark.slow
def test_theorem_2_is_an_erratum_that_says_why(entries):
    found = entries["nnmass-theorem-2"]
    assert found.verdict == "erratum" and "minus an entropy" in found.note
    assert entries["nnmass-equation-9"].verdict == "reproduced"


def test_more_convolutions_would_not_give_the_printed_parameters():
    largest = Architecture.of_layers(64, (90, 170, 300))
    assert with_transitions(largest) == 12_085_354


def test_goodness_of_fit():
    random = np.random.default_rng(1)
    mass = np.exp(np.linspace(3, 6, 12))
    accuracy = 40 + 5 * np.log(mass) + random.normal(size=12)
    models = pd.DataFrame(
        {"mass": mass, "accuracy": accuracy, "parameters": random.permutation(mass)}
    )
    for column in ("P_G", "P_G_spread", "layers", "density"):
        models[column] = random.normal(size=12)
    found = work.goodness_of_fit(models)
    row = found.loc["ln mass"]
    assert row.R2 == pytest.approx(np.corrcoef(np.log(mass), accuracy)[0, 1] ** 2)
    assert row.slope == pytest.approx(5, abs=1)
    assert row.low < row.R2 < row.high
    assert found.R2.idxmax() == "ln mass"
    assert work.goodness_of_fit(models).equals(found), "seeded"


def test_a_grid_is_trained_once(tmp_path, monkeypatch):
    grid = experiments.Grid("nn-mass", (13,), (0.1, 0.5), 0.125)
    digits = data.load("digits")
    small = {"train_images": 256, "test_images": 64, "image_size": 8, "test_image_size": 8}
    short = Protocol.load("nn-mass", epochs=1, **small)
    monkeypatch.setattr(data, "load", lambda name: digits)
    monkeypatch.setattr(Protocol, "load", lambda name: replace(short, name=name))
    found = work.train_grid(grid, root=tmp_path, progress=False)
    table = work.trained(found)
    assert [r.name for r in found] == ["layers13-density10-seed0", "layers13-density50-seed0"]
    assert table.mass.tolist() == sorted(table.mass)
    share = table.accuracy / 100
    assert sorted(share) == sorted(run.summary["test_accuracy"] for run in found)
    assert table.error.tolist() == pytest.approx(100 * (share * (1 - share) / 64) ** 0.5)
    monkeypatch.setattr(experiments, "train", None)  # a second training would fail
    again = work.train_grid(grid, root=tmp_path, progress=False)
    assert [r.summary for r in again] == [r.summary for r in found]
