"""NN-Mass's tables, and the grid that we trained."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from reuseprior import data
from reuseprior.chapters import nn_mass as work
from reuseprior.chapters import nn_mass_runs
from reuseprior.chapters.nn_mass import architecture, with_transitions
from reuseprior.measures.nn_mass import Architecture
from reuseprior.report import published
from reuseprior.training import Protocol


@pytest.mark.slow
def test_printed_beside_computed():
    shown = work.printed_beside_computed().loc["nnmass-1-64-50-100-150"]
    assert (shown.mass, shown.params) == ("622 | 622.69 ✓", "8.15M | 8,146,242 ≈")
    assert shown.test_accuracy == "96.99 | – …"
    networks = work.table_2()  # beside what appendix G prints
    off = networks.density - networks.printed.astype(float)
    assert len(networks) == 20 and off.between(0, 0.01).all()
    # more convolutions would not give the printed parameters
    assert with_transitions(Architecture.of_layers(64, (90, 170, 300))) == 12_085_354


def test_a_row_is_the_network_of_its_printed_settings():
    rows = published.load("nn-mass/table-2")
    built = architecture(rows.iloc[-1])
    assert built == Architecture.of_layers(64, (110, 215, 300), width_multiplier=2)
    one_cell = rows.iloc[-1].copy()
    one_cell["cells"] = "1"
    assert architecture(one_cell) == Architecture(60, (32,), (110,))
    one_cell["layers"], one_cell["cells"] = "65", "3"
    with pytest.raises(ValueError, match="65 layers are not 3 d \\+ 4"):
        architecture(one_cell)


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
    assert row.low < row.R2 < row.high and found.R2.idxmax() == "ln mass"
    assert work.goodness_of_fit(models).equals(found)  # by a seed


def test_a_grid_is_trained_once(tmp_path, monkeypatch):
    grid = nn_mass_runs.Grid("nn-mass", (13,), (0.1, 0.5), 0.125)
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
    monkeypatch.setattr(nn_mass_runs, "train", None)  # a second training would fail
    again = work.train_grid(grid, root=tmp_path, progress=False)
    assert [r.summary for r in again] == [r.summary for r in found]
