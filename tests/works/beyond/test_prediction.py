"""Rank correlations, surveys kept with their checksums, and searches that train nothing."""

import json
from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest

from reuseprior import paths
from reuseprior.errors import UserError
from reuseprior.measures.measuring import Conventions, measure_all
from reuseprior.measures.statistics import TauDifference
from reuseprior.results import ResultError, read_json
from reuseprior.works.beyond import benchmarks, masses, search, survey
from reuseprior.works.beyond.statistics import MEASURES, compare, mean_within, paired, within

TABLE = pd.DataFrame(
    {
        "model": list("abcdef"),
        "family": list("xxxyyy"),
        "held": [1, 2, 3, 10, 20, 30],
        "P_G": [1.0, 2, 3, 4, 5, 6],
        "blur": [0.0, 0, 0, 0, 0, np.inf],
        "top1": [1.0, 2, 3, 6, 5, 4],
    }
)


# Statistics --------------------------------------------------------------------------------------


BAD = [
    (lambda: compare(TABLE, "top2", ["P_G"]), "no column 'top2', did you mean 'top1'"),
    (lambda: paired(TABLE, "top1", "P_G", "parameters", by="famly"), "did you mean 'family'"),
    (lambda: paired(TABLE.assign(P_G=np.nan), "top1", "P_G", "parameters"), "is NaN"),
    (lambda: compare(TABLE, "top1", ["PG"]), "no measure 'PG', did you mean 'P_G'"),
]


@pytest.mark.parametrize(("ask", "message"), BAD)
def test_bad_use(ask, message):
    with pytest.raises(UserError, match=message):
        ask()


def test_a_model_without_a_path_ranks_lowest():
    found = compare(TABLE, "top1", ["parameters", "P_G", "P_G − blur"], resamples=0)
    assert found.loc["parameters", "τ"] == pytest.approx(9 / 15)
    assert found.loc["P_G", "τ"] == found.loc["P_G − blur", "τ"] == pytest.approx(7 / 15)


def test_within_families():
    found = within(TABLE, "top1", "family", "parameters")
    assert found["τ"].tolist() == [1, -1]
    pooled = mean_within(TABLE, "top1", "family", ["parameters", "P_G"])
    assert list(pooled.index) == ["parameters", "P_G"]
    tau, margin, rho, _ = pooled.loc["parameters"]
    assert (tau, rho) == (0, 0)
    # of two groups with τ = 1 and -1, samples have the mean 1, 0, 0 or -1
    assert margin == pytest.approx(1.96 * np.sqrt(1 / 2), rel=0.15)
    assert mean_within(TABLE, "top1", "model", ["parameters"]).isna().all(axis=None)


def test_within_groups_a_pair_counts_as_much_as_another():
    five = pd.DataFrame({"family": "z", "held": range(5), "top1": range(5), "blur": 0.0})
    table = pd.concat([TABLE[TABLE["family"] == "y"], five])
    found = mean_within(table, "top1", "family", ["parameters"])
    assert found.loc["parameters", "τ"] == pytest.approx((-3 + 10) / 13)


def _families(n=40, members=1):
    """Accuracy follows P_G closely and parameters loosely; members of a family are copies."""
    random = np.random.default_rng(1)
    top1 = random.normal(size=n)
    noise = {"P_G": 0.3, "held": 3.0}
    columns = {name: top1 + s * random.normal(size=n) for name, s in noise.items()}
    table = pd.DataFrame({"top1": top1, "blur": 0.0, "family": range(n), **columns})
    return table.loc[table.index.repeat(members)].reset_index(drop=True)


@pytest.mark.slow
def test_measures_compared_on_the_same_models():
    table = _families()
    found = paired(table, "top1", "P_G", "parameters")
    taus = compare(table, "top1", ["P_G", "parameters"], resamples=0)["τ"]
    assert found.tau == pytest.approx(taus["P_G"] - taus["parameters"])
    assert 0 < found.low < found.tau < found.high and str(found).endswith(") better")
    back = paired(table, "top1", "parameters", "P_G")
    assert (back.low, back.high) == pytest.approx((-found.high, -found.low), abs=0.05)
    assert str(back).endswith(") worse")
    assert paired(table, "top1", "P_G", lambda t: t["P_G"]) == TauDifference(0, 0, 0)
    assert str(TauDifference(0.1, -0.1, 0.3)) == "+0.100 (-0.100 to +0.300) not distinguishable"


@pytest.mark.slow
def test_copies_say_no_more_than_one_of_them():
    """Families are drawn whole, so nine members of each leave the interval as wide as one does."""
    one, nine = (_families(members=members) for members in (1, 9))
    single = paired(one, "top1", "P_G", "parameters")
    assert paired(one, "top1", "P_G", "parameters", by="family") == single

    def width(found):
        return found.high - found.low

    whole = paired(nine, "top1", "P_G", "parameters", by="family", resamples=300)
    alone = paired(nine, "top1", "P_G", "parameters", resamples=300)
    assert width(whole) == pytest.approx(width(single), rel=0.25)
    assert width(alone) == pytest.approx(width(single) / 3, rel=0.25)


# Surveys -----------------------------------------------------------------------------------------


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """A survey of four networks and one that cannot be counted."""
    names = ["11111111", "20000000", "00000000"]
    table = pd.DataFrame({"model": [f"nas-bench-macro:{n}" for n in names], "image_size": 32})
    table.loc[3] = ("nas-bench-macro:wrong", 32)
    tiny = benchmarks.Benchmark("tiny", ("cifar10",), lambda: table.assign(cifar10=1.0))
    monkeypatch.setitem(benchmarks._BENCHMARKS, "tiny", tiny)
    return survey.record("tiny", folder=tmp_path / "tiny", progress=False)


def test_a_survey(kept, monkeypatch):
    rows = survey.read("tiny", kept)
    assert list(rows["model"].str[-8:]) == ["00000000", "11111111", "20000000", "ro:wrong"]
    assert "write eight digits" in rows["reason"].iloc[-1]
    summary = read_json(kept / "summary.json")
    assert (summary["state"], summary["models"], summary["refused"]) == ("finished", 4, 1)
    again = survey.recounted("tiny", rows[:3])
    assert survey.agree(rows[:3], again)
    assert not survey.agree(rows[:3], again.assign(P_G=again["P_G"] * (1 + 1e-8)))
    assert not survey.agree(rows[:2], rows[1:3])
    assert survey.agree(rows, rows.copy()), "with one that cannot be counted"
    much = rows[:3].assign(multiply_adds=10**12)
    assert not survey.agree(much, much.assign(multiply_adds=10**12 + 1)), "whole numbers"


def test_a_survey_goes_on_where_it_stopped(kept, monkeypatch):
    lines = (kept / "metrics.csv").read_text().splitlines(keepends=True)
    (kept / "metrics.csv").write_text("".join(lines[:3]))
    asked = []
    monkeypatch.setattr(
        survey, "measure_all", lambda tasks, **o: measure_all(asked.extend(tasks) or tasks, **o)
    )
    survey.record("tiny", folder=kept, progress=False)
    assert [name[-8:] for name, _ in asked] == ["20000000", "ro:wrong"]
    assert len(survey.read("tiny", kept)) == 4


def test_a_spoilt_survey_is_refused(kept):
    file = kept / "metrics.csv"
    text = file.read_text()
    file.write_text(text.replace("00000000,32,387882", "00000000,32,387883"))
    with pytest.raises(ResultError, match="has not the checksum of its summary"):
        survey.read("tiny", kept)
    file.write_text(text.replace("blur", "sharpness", 1))
    with pytest.raises(ResultError, match="unknown columns 'sharpness' and no column 'blur'"):
        survey.read("tiny", kept)
    file.unlink()
    with pytest.raises(ResultError, match="does not exist"):
        survey.read("tiny", kept)


@pytest.mark.slow
@pytest.mark.parametrize("name", benchmarks.names())
def test_the_committed_surveys(name):
    """Whole, of every model, finished, and by a commit without local changes."""
    rows = survey.read(name)
    wanted = benchmarks.find(name).read()["model"]
    assert set(rows["model"]) == set(wanted)
    assert rows["reason"].isna().all()
    summary = read_json(paths.RESULTS / "beyond" / name / "summary.json")
    assert summary["state"] == "finished"
    assert not summary["commit"].endswith("-dirty")
    joined = survey.joined(name)
    assert len(joined) == len(wanted)
    assert (joined["held"] >= joined["parameters"]).all()


def test_macro_holds_the_published_parameters():
    table = survey.joined("nas-bench-macro")
    assert (table["held"] == table["parameters"]).all()
    assert (table["multiply_adds_counted"] == table["multiply_adds"]).all()


def test_torchvision_as_an_independent_count_has_it():
    """τ and ρ of another implementation over the same 75 classifiers."""
    found = compare(survey.joined("torchvision"), "top1", ["P′_G", "parameters"], resamples=0)
    assert found.loc["P′_G", ["τ", "ρ"]].tolist() == pytest.approx([0.67, 0.85], abs=0.005)
    # published parameters: those that we count hold GoogLeNet's heads for training as well
    assert found.loc["parameters", ["τ", "ρ"]].tolist() == pytest.approx([0.317, 0.372], abs=5e-4)


# Searches ----------------------------------------------------------------------------------------

CELLS = {"".join(digits): float("".join(digits)) for digits in product("01234", repeat=3)}


def test_searches():
    assert search.at_random(CELLS, len(CELLS), seed=0) == "444"
    assert search.by_evolution(CELLS, 120, seed=0) == "444"
    assert search.by_evolution(CELLS, 10, seed=1) == search.by_evolution(CELLS, 10, seed=1)
    found = {search.at_random(CELLS, 5, seed) for seed in range(20)}
    assert len(found) > 5
    for asked in (0, 126):
        with pytest.raises(UserError, match=f"{asked} evaluations of 125 cells"):
            search.at_random(CELLS, asked, seed=0)


def test_evolution_changes_one_edge():
    seen = []

    class Noted(dict):
        def get(self, name):
            seen.append(name)
            return super().get(name)

    search.by_evolution(Noted(CELLS), 60, seed=0)
    assert set(seen) <= CELLS.keys()


def test_measures_are_named_as_the_table_has_them():
    table = survey.joined("torchvision")
    for name, measure in MEASURES.items():
        assert len(measure(table).dropna()) == 75, name
    assert Conventions(32).size("nas-bench-201:000000") == 32
    assert json.loads(json.dumps(survey.COLUMNS))[0] == "model"


def test_nn_mass_is_surveyed_where_it_is_defined(tmp_path, monkeypatch):
    table = pd.DataFrame(
        {"model": ["torchvision:resnet18", "torchvision:vit_b_16"], "image_size": [64, 224]}
    )
    benchmark = benchmarks.Benchmark("torchvision", ("top1",), lambda: table)
    monkeypatch.setattr(benchmarks, "find", lambda name: benchmark)
    folder = masses.record("torchvision", progress=False, folder=tmp_path / "run")
    rows = survey.checked_rows(folder, masses.COLUMNS).set_index("model")
    found = rows.loc["torchvision:resnet18"]
    assert (found.nn_mass, found.nn_density) == (896, 0.15) and pd.isna(found.reason)
    assert rows.loc["torchvision:vit_b_16"].reason.endswith("rank this model by P_G or P′_G.")
    monkeypatch.setattr(masses, "_folder", lambda name: folder)
    assert masses.refused("torchvision")["layers on sequences"] == 1
    monkeypatch.setattr(benchmarks, "find", lambda n: replace(benchmark, read=lambda: table[:1]))
    assert set(masses.refused("torchvision").values()) == {0}
    monkeypatch.undo()
    with pytest.raises(UserError, match="NN-Mass of 'nas-bench-macro' is not surveyed: there are"):
        masses.record("nas-bench-macro")


def test_rows_named_by_digits_are_kept_once(tmp_path):
    asked = []

    def rows(todo):
        asked.append(todo)
        return ({"cell": cell, "score": 1.0} for cell in todo)

    cells = {cell: cell for cell in ("303003", "000001")}
    for _ in range(2):
        survey.keep(tmp_path / "run", {"columns": ("cell", "score")}, cells, rows)
    assert asked == [["303003", "000001"], []]
    assert survey.checked_rows(tmp_path / "run", ("cell", "score"))["cell"].tolist()[0] == "000001"
