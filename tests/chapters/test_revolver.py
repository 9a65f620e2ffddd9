"""The ledger of chapter 3 and appendix C: printed shapes, and which searches judge a number."""

import json
import re
import shlex
from copy import deepcopy
from itertools import pairwise

import pandas as pd
import pytest

from reuseprior import paths, results, schemas
from reuseprior.chapters import revolver, revolver_print
from reuseprior.chapters import revolver as work
from reuseprior.cli.app import parse_settings
from reuseprior.revolver import Settings
from tests.chapters.printed import falsified, off_by_one


def test_a_misprinted_shape_and_another_input_change_verdicts(monkeypatch):
    data = revolver_print.printed()

    def worse(change):
        changed = deepcopy(data)
        change(changed)
        monkeypatch.setattr(revolver_print, "printed", lambda: changed)
        return [e.id for e in revolver_print.example() if e.verdict == "not reproduced"]

    assert worse(lambda _: None) == []
    larger = worse(lambda changed: changed.update(input_shape="(1, 3, 33, 33)"))
    assert "thesis-c-4-conv-conv/out_size" in larger
    for index, (_, part) in enumerate(revolver_print._parts(data)):
        shape = part["output_shape"].strip("()").split(", ")
        for place in range(1, min(len(shape), 3)):
            wrong = ", ".join([*shape[:place], off_by_one(shape[place]), *shape[place + 1 :]])

            def misprint(changed, index=index, wrong=wrong):
                list(revolver_print._parts(changed))[index][1]["output_shape"] = f"({wrong})"

            assert len(worse(misprint)) == 1


# Searches -----------------------------------------------------------------------------------------

TEXT = ("thesis, section 3", "thesis, section C.1", "thesis, section C.3")
CAPTION = "thesis, caption of table 3.2"
GENETIC, RANDOM = revolver.PRESETS["cifar10"].values()


def judged(*places):
    """The entries in some places by now, those of the text without any, by id less its source."""
    parts = map(work.PARTS.get, places or TEXT)
    return {e.id.removeprefix("thesis-"): e for part in parts for e in part()}


def claim(name):
    return judged()[f"3-claim-cifar-10-{name}"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty place for searches."""
    monkeypatch.setattr(paths, "RESULTS", tmp_path)
    return tmp_path / "revolver"


def record(place, config, trainings, modules, summary):
    """A synthetic search."""
    recording = results.Recording.start(place, config, resume=False)
    pd.DataFrame({"kind": "conv", "individuals": 2, **modules}).to_csv(place / "modules.csv")
    pd.DataFrame(trainings).to_csv(place / "trainings.csv")
    recording.finish(summary)


def full_search(folder, preset, seed, accuracy, **changed):
    """One at the printed protocol of a preset, or with something changed."""
    config = json.loads(json.dumps(revolver_print.protocol(preset)))
    config["settings"] |= changed
    generations = [g for g in range(1, 161) for _ in range(16)]
    accuracies = [0.2] * 1560 + [0.91] * 1000
    record(
        folder / f"{seed}", config | {"seed": seed},
        {"generation": generations, "individual": generations, "accuracy": accuracies},
        {"in_channels": 8, "out_channels": 16, "kernel_size": [1, 3, 1, 1] * 4, "score": 0.5},
        {"best_generation": 120 + seed, "parameters": 2_100_000, "test_accuracy": accuracy},
    )  # fmt: skip


def our_searches(folder, preset, accuracies, now=0.7, **changes):
    """One a seed with a preset of ours, as `evolve` records it."""
    settings = Settings.load(preset, **changes)
    for seed, accuracy in enumerate(accuracies):
        name = "".join([preset, *(f",{k}={v}" for k, v in changes.items()), f"-seed{seed}"])
        record(
            folder / name, {"seed": seed, "settings": settings.to_data()},
            {"individual": [1], "accuracy": [accuracy]},
            {"kernel_size": [1, 1, 1, 3], "in_channels": 8, "out_channels": [4, 4, 4, 16 + seed]},
            {"preset": preset, "mode": settings.mode, "test_accuracy": accuracy, "threads": 1,
             "remembered": [{"individual": 1, "when_trained": accuracy, "now": now},
                            {"individual": 2, "when_trained": 0.9, "now": None}]},
        )  # fmt: skip


@pytest.mark.slow
def test_full_searches_judge_their_row(folder):
    for seed, accuracy in enumerate((0.915, 0.919, 0.921)):
        full_search(folder, "cifar10-evolve-16", seed, accuracy)
    found = judged("thesis, table 3.2", "thesis, table C.1", *TEXT)
    expected = {  # the verdict, and what is computed of these searches
        "3-2-cifar10-evolve-16/test_accuracy": ("within", 91.8333),
        "3-2-cifar10-evolve-16/generation": ("outside", 121),  # 133 is printed
        "3-2-cifar10-evolve-16/mean_validation": ("outside", 91),
        "3-2-cifar10-random-16/test_accuracy": ("open", None),
        "c-1-2/kernel_size": ("outside", 3),
        "c-text-3x3-least": ("within", 25),  # which is at least 20
        "c-text-3x3-most": ("within", 25),
        "3-text-converged": ("outside", 91),
        "3-text-converged-generation": ("outside", 141),
        "c-text-hours-most": ("open", None),  # another machine's hours
    }
    for name, (verdict, value) in expected.items():
        assert (found[name].verdict, found[name].computed) == (verdict, pytest.approx(value)), name


def test_a_search_with_another_setting_judges_nothing(folder):
    for seed in range(3):
        full_search(folder, "mnist-evolve", seed, 0.996, genotype_coefficient=16)
    assert {e.verdict for e in judged("thesis, table 3.2").values()} == {"open", "used"}


def test_claims_are_judged_once_both_kinds_of_search_are_recorded(folder):
    our_searches(folder, GENETIC, (0.76, 0.761, 0.762))
    assert claim("test").verdict == "open"
    our_searches(folder, RANDOM, (0.74, 0.742, 0.744))
    found, paired = judged(), "Student's t over 3 seeds"  # as searches of a seed begin alike
    for name, verdict, value, said in (
        ("3-claim-cifar-10-test", "claim holds", 1.9, paired),
        ("3-claim-cifar-10-test", "claim holds", 1.9, "8 models, 36 generations, all images"),
        ("3-claim-cifar-10-forgetting-validation", "example agrees", 6.1, paired),
        ("c-claim-cifar-10-kernels-share", "undecided", 50, "no spread over seeds"),
        ("3-claim-cifar-10-samples-test", "open", None, ""),
    ):
        entry = found[name]
        assert (entry.verdict, entry.computed) == (verdict, pytest.approx(value)), name
        assert said in entry.note


def test_what_may_be_forgotten_is_refuted_by_no_search(folder):
    for preset in (GENETIC, RANDOM):
        our_searches(folder, preset, (0.76, 0.761, 0.762), now=0.8)
    found = claim("forgetting-validation")
    assert found.verdict == "undecided" and "and not refute it" in found.note
    for path in folder.glob("*/summary.json"):  # of a package that did not say who was trained
        told = results.read_json(path) | {"remembered": None}
        results.write_json(path, schemas.sealed(told))
    assert claim("forgetting-validation").verdict == "open"


def test_a_search_with_more_samples_is_another_kind_to_ledger_and_notebook(folder):
    our_searches(folder, GENETIC, (0.76, 0.761, 0.762), sample=6)
    our_searches(folder, RANDOM, (0.74, 0.741, 0.742))
    assert revolver.searches("cifar10")["genetic"] == []
    our_searches(folder, GENETIC, [0.75])
    assert [run.config["seed"] for run in revolver.searches("cifar10")["genetic"]] == [0]
    note = claim("samples-test").note
    assert "(twice the samples: 6): twice the samples 76.00, genetic 75.00; one seed" in note
    again = revolver.repeat(results.Run.read(folder / f"{GENETIC},sample=6-seed0"))
    assert again.startswith("OMP_NUM_THREADS=1 ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 ")
    assert f" reuseprior evolve {GENETIC} --set sample=6 --seed 0 --output " in again


def test_every_claim_s_command_makes_a_search_that_judges_it(folder):
    """The commands of a claim's note, told to the command line's own reader of settings."""

    def claims():
        return {i: e for i, e in judged(*TEXT, CAPTION).items() if "-claim-" in i}

    before, made = claims(), {}
    assert {e.verdict for e in before.values()} == {"open"}
    for entry in before.values():
        for text in re.findall(r"`reuseprior evolve ([^`]+)`", entry.note):
            preset, *words = shlex.split(text)
            made[text] = preset, parse_settings([b for a, b in pairwise(words) if a == "--set"])
    unlike = {(preset, *changes.items()): changes for preset, changes in made.values()}
    for (preset, *_), changes in unlike.items():
        our_searches(folder, preset, (0.7, 0.7), now=0.6, **changes)
    assert "open" not in {e.verdict for e in claims().values()}


def test_what_is_shown_of_a_search_follows_the_printed_window(folder, monkeypatch):
    full_search(folder, "cifar10-evolve-16", 0, 0.9)
    (run,) = results.runs("revolver", paths.RESULTS)
    text = "thesis/chapter-3-text"
    falsified(monkeypatch, text, "thesis-3-text-last", "value", "2000")
    assert revolver.mean_validation(run) == pytest.approx((1000 * 91 + 1000 * 20) / 2000)
    falsified(monkeypatch, text, "thesis-3-text-window", "value", "2000")
    assert revolver.moving_average(run).iloc[-1] == pytest.approx(55.5)
