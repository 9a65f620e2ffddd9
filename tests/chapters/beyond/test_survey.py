"""Surveys kept with their checksums: of public models, language models, and searches."""

from itertools import product

import pandas as pd
import pytest

from reuseprior import paths, revolver
from reuseprior.chapters.beyond import compare, survey
from reuseprior.contexts import CountingError, count_contexts
from reuseprior.errors import UserError
from reuseprior.measures.measuring import Conventions, last_position, measure, measure_all
from reuseprior.measures.statistics import agreement
from reuseprior.results import ResultError, read_json


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """A survey of four networks and one that cannot be counted."""
    names = ["11111111", "20000000", "00000000"]
    table = pd.DataFrame({"model": [f"nas-bench-macro:{n}" for n in names], "image_size": 32})
    table.loc[3] = ("nas-bench-macro:wrong", 32)
    tiny = survey.Benchmark("tiny", ("cifar10",), lambda: table.assign(cifar10=1.0))
    monkeypatch.setitem(survey.BENCHMARKS, "tiny", tiny)
    monkeypatch.setitem(survey.SURVEYS, "tiny", survey.of_benchmark("tiny"))
    return survey.record("tiny", tmp_path / "tiny", progress=False)


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
    survey.record("tiny", kept, progress=False)
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
@pytest.mark.parametrize("name", list(survey.BENCHMARKS))
def test_the_committed_surveys(name):
    """Whole, of every model, finished, and by a commit without local changes."""
    rows = survey.read(name)
    wanted = survey.find(name).read()["model"]
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
    assert compare.at_random(CELLS, len(CELLS), seed=0) == "444"
    assert compare.by_evolution(CELLS, 120, seed=0) == "444"
    seen = set()

    class Noted(dict):
        def get(self, name):
            seen.add(name)
            return super().get(name)

    compare.by_evolution(Noted(CELLS), 60, seed=0)
    assert 30 < len(seen) and seen <= CELLS.keys()  # it stays among the cells
    assert compare.by_evolution(CELLS, 10, seed=1) == compare.by_evolution(CELLS, 10, seed=1)
    assert len({compare.at_random(CELLS, 5, seed) for seed in range(20)}) > 5
    for asked in (0, 126):
        with pytest.raises(UserError, match=f"{asked} evaluations of 125 cells"):
            compare.at_random(CELLS, asked, seed=0)


def test_nn_mass_is_surveyed_where_it_is_defined(tmp_path, monkeypatch):
    table = pd.DataFrame(
        {"model": ["torchvision:resnet18", "torchvision:vit_b_16"], "image_size": [64, 224]}
    )
    benchmark = survey.Benchmark("torchvision", ("top1",), lambda: table)
    monkeypatch.setitem(survey.BENCHMARKS, "torchvision", benchmark)
    folder = survey.record("torchvision-nn-mass", tmp_path / "run", progress=False)
    rows = survey.read("torchvision-nn-mass", folder).set_index("model")
    found = rows.loc["torchvision:resnet18"]
    assert (found.nn_mass, found.nn_density) == (896, 0.15) and pd.isna(found.reason)
    assert rows.loc["torchvision:vit_b_16"].reason.endswith("rank this model by P_G or P′_G.")
    with pytest.raises(UserError, match="'nas-bench-macro-nn-mass' is not surveyed, did you mean"):
        survey.record("nas-bench-macro-nn-mass")


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


# Of the sources' own column of averages, which was not typed into the table.
AVERAGES = {
    "Pythia-160M": 40.6, "Pythia-410M": 48.2, "Pythia-1B": 51.9, "Pythia-1.4B": 55.2,
    "Pythia-2.8B": 59.1, "Pythia-6.9B": 61.7, "Mamba-130M": 44.7, "Mamba-1.4B": 59.7,
    "Mamba-2.8B": 63.3, "GPT-Neo-1.3B": 52.4, "GPT-Neo-2.7B": 56.5, "OPT-1.3B": 55.0,
    "OPT-2.7B": 58.7, "OPT-6.7B": 62.9, "GPT-J-6B": 63.0, "BERT base": 82.3, "BERT large": 85.2,
    "ALBERT base": 80.1, "ALBERT large": 82.4, "ALBERT xlarge": 85.5, "ALBERT xxlarge": 88.7,
}  # fmt: skip
# Parameters of the released models, as transformers holds them.
RELEASED = {
    "Pythia-160M": 162_322_944, "Mamba-130M": 129_135_360, "OPT-1.3B": 1_315_758_080,
    "GPT-J-6B": 6_050_882_784, "GPT-Neo-1.3B": 1_315_575_808,
}  # fmt: skip


def test_scores_agree_with_the_sources_own_averages():
    scores = survey.language_models().set_index("model")["score"]
    assert len(scores) == 23
    for model, average in AVERAGES.items():
        assert scores[model] == pytest.approx(average, abs=0.051), model


@pytest.mark.slow
@pytest.mark.parametrize("model", RELEASED)
def test_configurations_are_those_of_the_released_models(model):
    pytest.importorskip("transformers")
    row = survey.language_models().set_index("model").loc[model]
    network = survey.build_language_model(row["type"], row["options"])
    assert sum(p.numel() for p in network.parameters()) == RELEASED[model]


def test_the_last_position():
    """One prediction, to which every position of a causal model leads."""
    pytest.importorskip("transformers")
    network = survey.build_language_model(
        "gpt2", "n_layer=1 n_embd=8 n_head=2 vocab_size=11 n_positions=16"
    )
    counts = count_contexts(network, {"inputs_embeds": (1, 4, 8)}, output=last_position)
    assert (counts.input_nodes, counts.output_nodes) == (32, 11)
    with pytest.raises(CountingError, match="The last position is asked of an output"):
        measure("V2-B0", Conventions(image_size=32, last=True))


SHORT = {"generations": 1, "warmup_generations": 1, "population": 4, "sample": 2, "top": 2}


@pytest.mark.slow
def test_a_row_a_search_and_what_is_there_stays(monkeypatch, tmp_path):
    """Searches of seconds, for one seed."""
    load = revolver.Settings.load
    monkeypatch.setattr(survey, "SEEDS", range(1))
    monkeypatch.setattr(
        survey.Settings, "load", lambda preset, **given: load(preset, **given, **SHORT)
    )
    folder = tmp_path / "run"
    survey.record("genotypes", folder, progress=False)
    found = survey.read("genotypes", folder)
    assert list(found["search"]) == ["R6-seed0", "thesis-seed0"]
    assert (found["generations"] == 1).all() and (found["batches"] > 0).all()
    before = (folder / "metrics.csv").read_bytes()
    survey.record("genotypes", folder, progress=False)
    assert (folder / "metrics.csv").read_bytes() == before


def compared(gap):
    """Over three seeds; R6 is better by `gap` and something of each seed's own."""
    rows = [
        {"fitness": fitness, "seed": seed, "test_accuracy": 0.9 + seed / 100 + better * gap,
         "mean_validation_accuracy": 0.5, "parameters": 100 + seed, "batches": 9, "seconds": 1.0}
        for seed in range(3)
        for fitness, better in (("thesis", 0), ("R6", 1 + seed / 10))
    ]  # fmt: skip
    return survey.compared_fitness(pd.DataFrame(rows)).loc["test_accuracy"]


def test_the_difference_is_taken_seed_by_seed():
    row = compared(0.01)
    assert row["difference"] == pytest.approx(0.011)
    assert 0.008 < row["from"] < 0.011 < row["to"] and "p = 0.0027" in row["test"]
    assert compared(-0.01)["difference"] < 0 and "no spread" in compared(0)["test"]
