"""Recorded runs become verdicts, and only those at the printed protocol."""

import json
import shlex
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pandas as pd
import pytest

from reuseprior import paths, results
from reuseprior.chapters import counting, sharing
from reuseprior.cli.app import parse_settings
from reuseprior.report import published
from reuseprior.report.ledger import Entry
from reuseprior.report.published import Interval
from reuseprior.report.runs import (
    Claim,
    RunSelection,
    claimed,
    machine,
    measured,
    options,
    runs_for,
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty place for results."""
    monkeypatch.setattr(paths, "RESULTS", tmp_path)
    return tmp_path


def record(folder, config, *accuracies, seed=0, state="finished", **summary):
    """Synthetic runs, a seed for each accuracy."""
    for number, accuracy in enumerate(accuracies, seed):
        place = folder / f"seed{number}"
        recording = results.Recording.start(place, {**config, "seed": number}, resume=False)
        recording.finish({"test_accuracy": accuracy, **summary}, state=state)


SELECTION = RunSelection(
    "train-x*", {"data": "a", "protocol": {"epochs": 9, "sizes": (1, 2)}},
    lambda runs: 100 * runs[0].summary["test_accuracy"],
)  # fmt: skip
AS_PRINTED = {"data": "a", "protocol": {"epochs": 9, "sizes": [1, 2], "workers": 4}}


def judged(selection: RunSelection, printed="91.0", **more) -> Entry:
    row = pd.Series({"id": "a-1", "source": "a", "where": "a, table 1", "score": printed})
    return measured(row, "score", selection, "days", **more)


def test_a_number_is_judged_by_an_interval_for_one_run_more(folder):
    assert judged(SELECTION).verdict == "open" and judged(SELECTION).note == "needs days"
    record(folder / "train-x", AS_PRINTED, 0.90, seed=1)
    one = judged(SELECTION)
    assert (one.verdict, one.computed) == ("open", 90) and "needs 3 or more: days" in one.note
    record(folder / "train-x", AS_PRINTED, 0.91, seed=0)
    record(folder / "train-x", AS_PRINTED, 0.92, seed=2)
    # Student's t with two degrees of freedom: 91 ± 4.303 · 1 · √(1/k + 1/3)
    assert judged(SELECTION, "95.9").verdict == judged(SELECTION, "94.4", of=3).verdict == "within"
    assert judged(SELECTION, "96.1").verdict == judged(SELECTION, "94.7", of=3).verdict == "outside"
    both = judged(SELECTION)
    assert (both.kind, both.verdict, both.computed) == ("measured", "within", pytest.approx(91))
    assert both.note.startswith("3 seeds at the printed protocol in data/results/train-x; 95 %")
    about = judged(
        SELECTION, "105", interval=Interval(Fraction(90), Fraction(120)), protocol="ours"
    )
    assert (about.verdict, about.interval) == ("within", (90, 120))
    assert about.note.startswith("3 seeds at ours in data/results/train-x; 95 %")
    assert judged(SELECTION, "105").verdict == "outside"
    spread = judged(SELECTION, "0.06", over_seeds=True)
    assert (spread.verdict, spread.computed) == ("open", pytest.approx(1)), "shown, not judged"


def said_of(claim: Claim) -> Entry:
    row = pd.Series({"id": "a-1", "source": "a", "where": "a, p. 1", "value": "in words"})
    return claimed(row, "value", claim, "days")


CLAIM = Claim(("ours", SELECTION), ("theirs", RunSelection("other", {}, SELECTION.value)), "small")
POSSIBLE = {"possible": True}


CLAIMS = [  # their accuracies, what the claim says, verdict
    ((0.50, 0.51), {}, "claim holds"),
    ((0.98, 0.99), {}, "claim fails"),
    ((0.90, 0.92), {}, "undecided"),
    ((0.50,), {}, "undecided"),  # one seed cannot tell
    ((0.50, 0.51), {"alike": True}, "claim fails"),
    ((0.90, 0.92), {"alike": True}, "undecided"),  # no test can show that two are alike
    ((0.50, 0.51), POSSIBLE, "example agrees"),
    ((0.98, 0.99), POSSIBLE, "undecided"),  # an example refutes no possibility
    ((), {}, "open"),
]


@pytest.mark.parametrize(("theirs", "said", "verdict"), CLAIMS)
def test_a_claim_is_judged_by_a_test(folder, theirs, said, verdict):
    record(folder / "train-x", AS_PRINTED, 0.90, 0.91)
    record(folder / "other", {}, *theirs)
    found = said_of(replace(CLAIM, **said))
    assert (found.kind, found.verdict) == ("measured", verdict)
    assert verdict == "open" or found.note.startswith("small: ours 90.50, theirs")
    assert ("and not refute it" in found.note) == (said == POSSIBLE)
    assert ("it goes the other way" in found.note) == (said == POSSIBLE and theirs[0] > 0.9)


def test_pairs_are_of_one_seed_and_two_decide_nothing_however_close_they_lie(folder):
    """Seed 2 has no second number, which must not pair seed 3's with it."""
    second = replace(
        SELECTION,
        value=lambda runs: 100 * runs[0].summary["second"],
        counts=lambda found: [run for run in found if "second" in run.summary],
    )
    claim = Claim(("one", SELECTION), ("one", second), "small", paired=True)
    pairs = ({"second": 0.80}, {"second": 0.801}, {}, {"second": 0.802})
    verdicts = ["undecided", "undecided", "undecided", "claim holds"]
    for seed, (pair, verdict) in enumerate(zip(pairs, verdicts, strict=True)):
        record(folder / "train-x", AS_PRINTED, 0.90, seed=seed, **pair)
        assert said_of(claim).verdict == verdict
    found = said_of(claim)
    assert found.computed == pytest.approx(90 - (80 + 80.1 + 80.2) / 3)
    assert "one 90.00, one 80.10; Student's t over 3 seeds" in found.note


def test_an_undecided_claim_says_how_many_seeds_would_decide(folder):
    for seed in (0, 1, 2):
        record(folder / "train-x", AS_PRINTED, 0.90 + seed / 100, seed=seed)
        record(folder / "other", {}, 0.89 + seed / 100, seed=seed)
        few = "; 3 seeds or more would say how many can" in said_of(CLAIM).note
        assert few == (seed < 2)
    of_each = "; 17 seeds of each would find it with a power of 80 %, if it and the spread are as"
    assert of_each in said_of(CLAIM).note
    same = said_of(replace(CLAIM, second=("again", CLAIM.first[1]), paired=True)).note
    assert "no spread over seeds" in same and "number of seeds" not in same
    assert "seeds that differ would say how many can" in same
    none = replace(SELECTION, counts=lambda found: [], otherwise="not converged")
    found = said_of(replace(CLAIM, first=("ours", none)))
    note = "ours: 3 seeds recorded, not converged; needs days"
    assert (found.verdict, found.note) == ("open", note)


def test_a_command_computes_as_the_run_did(folder):
    record(folder / "x", {}, 0.9, seed=0, threads=1)
    record(folder / "x", {}, 0.9, seed=1, threads=2, instructions="AVX512")
    old, new = runs_for(RunSelection("x", {}, SELECTION.value)).values()
    assert machine(*old) == "OMP_NUM_THREADS=1 ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 "
    assert machine(*new) == "OMP_NUM_THREADS=2 ATEN_CPU_CAPABILITY=avx512 "
    changes = {"width": 0.5, "compile": True, "name": "a b", "space.widths": [1, 2], "rate": 1e-5}
    words = shlex.split(options(changes))
    assert words[::2] == ["--set"] * len(changes)
    assert parse_settings(words[1::2]) == changes


OTHERS = [  # what a run is instead of one at the printed protocol
    ({**AS_PRINTED, "data": "b"}, "finished"),
    ({**AS_PRINTED, "protocol": {"epochs": 2, "sizes": [1, 2]}}, "finished"),
    ({"data": "a"}, "finished"),
    (AS_PRINTED, "interrupted"),
]


def test_other_runs_and_too_few_bear_on_nothing(folder):
    for seed, (config, state) in enumerate(OTHERS):
        record(folder / "train-x", config, 0.9, seed=seed, state=state)
    assert runs_for(SELECTION) == {}
    record(folder / "train-x", AS_PRINTED, 0.9, seed=9)
    assert runs_for(SELECTION).keys() == {9} and runs_for(replace(SELECTION, runs=2)) == {}


def config_of(selection, **changed):
    """What a run that bears on the number says of itself."""
    return json.loads(json.dumps({**selection.config, **changed}))


SCORES = [  # a row's table and model, which runs, folder of its runs, some of their settings
    ("thesis/table-4-2", "V2-S-shared", sharing, "train-thesis",
     {"model": "efficientnetv2-s", "sharing": "all_but_bn"}, {"epochs": 300, "batch_size": 512}),
    ("thesis/table-4-4", "V2-B1", counting, "train-thesis,image_size=240",
     {"data": "imagenet"}, {"test_image_size": 240}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "model", "work", "place", "config", "protocol"), SCORES)
def test_a_full_training_fills_its_score(folder, name, model, work, place, config, protocol):
    selection, _ = work.score_of(published.load(name).query("model == @model").iloc[0])
    found = config_of(selection)
    assert found.items() >= config.items() and found["protocol"].items() >= protocol.items()
    record(folder / place, found, 0.96)
    record(folder / place, config_of(selection, data="cifar100"), 0.5, seed=1)
    assert judged(selection).computed == 96.0 and len(runs_for(selection)) == 1


def test_a_run_of_the_first_package_could_be_the_thesis_s(folder):
    """It says nothing of settings that came later, which are at their defaults."""
    old = Path(__file__).parents[1] / "training" / "old_run" / "config.json"
    known = json.loads(old.read_text())["protocol"].keys()
    selection = counting.score("V2-B0", False, "cifar10", {})
    config = config_of(selection)
    assert config["protocol"].keys() - known == {"patience", "step_epochs", "step_factor"}
    config["protocol"] = {k: v for k, v in config["protocol"].items() if k in known}
    record(folder / "train-thesis", config, 0.798)
    assert judged(selection).computed == pytest.approx(79.8)
    protocol = {**selection.config["protocol"], "step_epochs": 2.0}
    assert not runs_for(replace(selection, config={**selection.config, "protocol": protocol}))
