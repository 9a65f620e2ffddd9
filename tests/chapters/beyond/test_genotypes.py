"""Revolver with R6 as a genotype's fitness: two searches a seed, alike but for that."""

import pandas as pd
import pytest

from reuseprior import revolver
from reuseprior.chapters.beyond import genotypes

SHORT = {"generations": 1, "warmup_generations": 1, "population": 4, "sample": 2, "top": 2}


@pytest.mark.slow
def test_a_row_a_search_and_what_is_there_stays(monkeypatch, tmp_path):
    """Searches of seconds, for one seed."""
    load = revolver.Settings.load
    monkeypatch.setattr(genotypes, "SEEDS", range(1))
    monkeypatch.setattr(
        genotypes.Settings, "load", lambda preset, **given: load(preset, **given, **SHORT)
    )
    folder = genotypes.record(tmp_path / "run")
    found = genotypes.read(folder)
    assert list(found["search"]) == ["R6-seed0", "thesis-seed0"]
    assert (found["generations"] == 1).all() and (found["batches"] > 0).all()
    before = (folder / "metrics.csv").read_bytes()
    assert (genotypes.record(folder) / "metrics.csv").read_bytes() == before


def compared(gap):
    """Over three seeds; R6 is better by `gap` and something of each seed's own."""
    rows = [
        {"fitness": fitness, "seed": seed, "test_accuracy": 0.9 + seed / 100 + better * gap,
         "mean_validation_accuracy": 0.5, "parameters": 100 + seed, "batches": 9, "seconds": 1.0}
        for seed in range(3)
        for fitness, better in (("thesis", 0), ("R6", 1 + seed / 10))
    ]  # fmt: skip
    return genotypes.compared(pd.DataFrame(rows)).loc["test_accuracy"]


def test_the_difference_is_taken_seed_by_seed():
    row = compared(0.01)
    assert row["difference"] == pytest.approx(0.011)
    assert 0.008 < row["from"] < 0.011 < row["to"] and "p = 0.0027" in row["test"]
    assert compared(-0.01)["difference"] < 0 and "no spread" in compared(0)["test"]
