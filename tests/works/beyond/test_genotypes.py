"""Revolver with R6 as a genotype's fitness: two searches a seed, alike but for that."""

import pandas as pd
import pytest

from reuseprior import revolver
from reuseprior.works.beyond import genotypes

SHORT = {"generations": 1, "warmup_generations": 1, "population": 4, "sample": 2, "top": 2}


@pytest.fixture
def short(monkeypatch):
    """A search of seconds, for one seed."""
    load = revolver.Settings.load
    monkeypatch.setattr(genotypes, "SEEDS", range(1))
    monkeypatch.setattr(
        genotypes.Settings, "load", lambda preset, **given: load(preset, **given, **SHORT)
    )


@pytest.mark.slow
def test_a_row_a_search_and_what_is_there_stays(short, tmp_path):
    folder = genotypes.record(tmp_path / "run")
    found = genotypes.read(folder)
    assert list(found["search"]) == ["R6-seed0", "thesis-seed0"]
    assert (found["generations"] == 1).all() and (found["batches"] > 0).all()
    before = (folder / "metrics.csv").read_bytes()
    assert (genotypes.record(folder) / "metrics.csv").read_bytes() == before


def table(gap):
    """Three seeds; R6 is better by `gap` and something of each seed's own."""
    rows = [
        {"fitness": fitness, "seed": seed, "test_accuracy": 0.9 + seed / 100 + better * gap,
         "mean_validation_accuracy": 0.5, "parameters": 100 + seed, "batches": 9, "seconds": 1.0}
        for seed in range(3)
        for fitness, better in (("thesis", 0), ("R6", 1 + seed / 10))
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_the_difference_is_taken_seed_by_seed():
    row = genotypes.compared(table(0.01)).loc["test_accuracy"]
    assert row["difference"] == pytest.approx(0.011)
    assert row["from"] < 0.011 < row["to"] and row["from"] > 0.008
    assert "p = 0.0027" in row["test"]
    assert genotypes.compared(table(-0.01)).loc["test_accuracy", "difference"] < 0


def test_without_a_difference_nothing_is_told():
    assert "no spread" in genotypes.compared(table(0)).loc["test_accuracy", "test"]


def test_the_record_is_whole():
    found = genotypes.read()
    assert set(zip(found["fitness"], found["seed"], strict=True)) == {
        (fitness, seed) for fitness in genotypes.FITNESS for seed in genotypes.SEEDS
    }
