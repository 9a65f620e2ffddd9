"""Surveys kept with their checksums, and searches that train nothing."""

from dataclasses import replace
from itertools import product

import pandas as pd
import pytest

from reuseprior import paths
from reuseprior.chapters.beyond import benchmarks, masses, search, survey
from reuseprior.errors import UserError
from reuseprior.measures.measuring import measure_all
from reuseprior.measures.statistics import agreement
from reuseprior.results import ResultError, read_json


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
    assert survey.agree(rows, rows.copy())  # with one that cannot be counted
    much = rows[:3].assign(multiply_adds=10**12)
    assert not survey.agree(much, much.assign(multiply_adds=10**12 + 1))  # whole numbers


def test_a_survey_goes_on_where_it_stopped(kept, monkeypatch):
    lines = (kept / "metrics.csv").read_text().splitlines(keepends=True)
    (kept / "metrics.csv").write_text("".join(lines[:3]))
    asked = []

    def noted(tasks, **options):
        asked.extend(tasks)
        return measure_all(tasks, **options)

    monkeypatch.setattr(survey, "measure_all", noted)
    survey.record("tiny", folder=kept, progress=False)
    assert [name[-8:] for name, _ in asked] == ["20000000", "ro:wrong"]
    assert len(survey.read("tiny", kept)) == 4


def test_a_spoilt_survey_is_refused(kept):
    file = kept / "metrics.csv"
    text = file.read_text()
    for old, new, message in (
        ("00000000,32,387882", "00000000,32,387883", "has not the checksum of its summary"),
        ("blur", "sharpness", "unknown columns 'sharpness' and no column 'blur'"),
    ):
        file.write_text(text.replace(old, new, 1))
        with pytest.raises(ResultError, match=message):
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
    assert len(summary["commits"]) == 1 and not summary["commits"][0].endswith("-dirty")
    joined = survey.joined(name)
    assert len(joined) == len(wanted)
    assert (joined["held"] >= joined["parameters"]).all()


def test_surveys_hold_what_others_count():
    """Macro's published parameters; τ and ρ of another implementation over 75 classifiers."""
    table = survey.joined("nas-bench-macro")
    assert (table["held"] == table["parameters"]).all()
    assert (table["multiply_adds_counted"] == table["multiply_adds"]).all()
    table = survey.joined("torchvision")
    # published parameters: those that we count hold GoogLeNet's heads for training as well
    for scores, expected in ((table["P_G_spread"], (0.67, 0.85)), (table["held"], (0.317, 0.372))):
        found = agreement(scores, table["top1"], resamples=0)
        assert (found.tau, found.rho) == pytest.approx(expected, abs=0.005)


CELLS = {"".join(digits): float("".join(digits)) for digits in product("01234", repeat=3)}


def test_searches():
    assert search.at_random(CELLS, len(CELLS), seed=0) == "444"
    assert search.by_evolution(CELLS, 120, seed=0) == "444"
    assert search.by_evolution(CELLS, 10, seed=1) == search.by_evolution(CELLS, 10, seed=1)
    assert len({search.at_random(CELLS, 5, seed) for seed in range(20)}) > 5
    for asked in (0, 126):
        with pytest.raises(UserError, match=f"{asked} evaluations of 125 cells"):
            search.at_random(CELLS, asked, seed=0)


def test_evolution_stays_among_the_cells():
    seen = set()

    class Noted(dict):
        def get(self, name):
            seen.add(name)
            return super().get(name)

    search.by_evolution(Noted(CELLS), 60, seed=0)
    assert 30 < len(seen) and seen <= CELLS.keys()


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
