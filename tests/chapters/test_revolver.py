"""Chapter 3 and appendix C: printed shapes and settings, and which searches judge a number."""

import json
import re
import shlex
from copy import deepcopy
from itertools import pairwise
from types import SimpleNamespace

import pandas as pd
import pytest

from reuseprior import paths, results, schemas
from reuseprior import revolver as rv
from reuseprior.chapters import revolver, revolver_print
from reuseprior.cli.app import parse_settings
from reuseprior.report import published
from reuseprior.revolver import Settings
from tests.chapters import printed
from tests.chapters.printed import falsified, off_by_one
from tests.chapters.runs import record

TEXT = ("thesis, section 3", "thesis, section C.1", "thesis, section C.3")
CAPTION = "thesis, caption of table 3.2"
GENETIC, RANDOM = revolver.PRESETS["cifar10"].values()


def judged(number):
    return printed.judged(revolver.PARTS, f"thesis-{number}")


def claim(name):
    return judged(f"3-claim-cifar-10-{name}")


# Searches -----------------------------------------------------------------------------------------


@pytest.fixture
def folder(root):
    """An empty place for searches."""
    return root / "revolver"


def search(place, config, trainings, modules, summary):
    """A synthetic search."""
    record(place, config, **summary)
    pd.DataFrame({"kind": "conv", "individuals": 2, **modules}).to_csv(place / "modules.csv")
    pd.DataFrame(trainings).to_csv(place / "trainings.csv")


def full_search(folder, preset, seed, accuracy, **changed):
    """One at the printed protocol of a preset, or with something changed."""
    config = json.loads(json.dumps(revolver_print.protocol(preset)))
    config["settings"] |= changed
    generations = [g for g in range(1, 161) for _ in range(16)]
    accuracies = [0.2] * 1560 + [0.91] * 1000
    search(
        folder / f"{preset}-{seed}", config | {"seed": seed},
        {"generation": generations, "individual": generations, "accuracy": accuracies},
        {"in_channels": 8, "out_channels": 16, "kernel_size": [1, 3, 1, 1] * 4, "score": 0.5},
        {"best_generation": 120 + seed, "parameters": 2_100_000, "test_accuracy": accuracy},
    )  # fmt: skip


def our_searches(folder, preset, accuracies, now=0.7, **changes):
    """One a seed with a preset of ours, as `evolve` records it."""
    settings = Settings.load(preset, **changes)
    for seed, accuracy in enumerate(accuracies):
        name = "".join([preset, *(f",{k}={v}" for k, v in changes.items()), f"-seed{seed}"])
        search(
            folder / name, {"seed": seed, "settings": settings.to_data()},
            {"individual": [1], "accuracy": [accuracy]},
            {"kernel_size": [1, 1, 1, 3], "in_channels": 8, "out_channels": [4, 4, 4, 16 + seed]},
            {"preset": preset, "mode": settings.mode, "test_accuracy": accuracy, "threads": 1,
             "remembered": [{"individual": 1, "when_trained": accuracy, "now": now},
                            {"individual": 2, "when_trained": 0.9, "now": None}]},
        )  # fmt: skip


FULL = {  # the verdict, and what is computed of these searches
    "3-2-cifar10-evolve-16/test_accuracy": ("within", 91.8333),
    "3-2-cifar10-evolve-16/generation": ("outside", 121),  # 133 is printed
    "3-2-cifar10-evolve-16/mean_validation": ("outside", 91),
    "3-2-cifar10-random-16/test_accuracy": ("open", None),
    "3-2-mnist-evolve/test_accuracy": ("open", None),  # which had another setting
    "c-1-2/kernel_size": ("outside", 3),
    "c-text-3x3-least": ("within", 25),  # which is at least 20
    "c-text-3x3-most": ("within", 25),
    "3-text-converged": ("outside", 91),
    "3-text-converged-generation": ("outside", 141),
    "c-text-hours-most": ("open", None),  # another machine's hours
}


@pytest.mark.slow
def test_full_searches_judge_their_row(folder):
    for seed, accuracy in enumerate((0.915, 0.919, 0.921)):
        full_search(folder, "cifar10-evolve-16", seed, accuracy)
        full_search(folder, "mnist-evolve", seed, 0.996, genotype_coefficient=16)
    for number, (verdict, value) in FULL.items():
        found = judged(number)
        assert (found.verdict, found.computed) == (verdict, pytest.approx(value)), number


CLAIMS = [  # verdict, value, and what is said; searches of a seed begin alike, so they are paired
    ("3-claim-cifar-10-test", "claim holds", 1.9, "Student's t over 3 seeds"),
    ("3-claim-cifar-10-test", "claim holds", 1.9, "8 models, 36 generations, all images"),
    ("3-claim-cifar-10-forgetting-validation", "example agrees", 6.1, "Student's t over 3 seeds"),
    ("c-claim-cifar-10-kernels-share", "undecided", 50, "no spread over seeds"),
    ("3-claim-cifar-10-samples-test", "open", None, ""),
]


@pytest.mark.slow
def test_claims_are_judged_once_both_kinds_of_search_are_recorded(folder):
    our_searches(folder, GENETIC, (0.76, 0.761, 0.762))
    assert claim("test").verdict == "open"
    our_searches(folder, RANDOM, (0.74, 0.742, 0.744))
    for name, verdict, value, said in CLAIMS:
        entry = judged(name)
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


@pytest.mark.slow
def test_every_claim_s_command_makes_a_search_that_judges_it(folder):
    """The commands of a claim's note, told to the command line's own reader of settings."""

    def claims():
        found = (e for place in (*TEXT, CAPTION) for e in revolver.PARTS[place]())
        return [e for e in found if "-claim-" in e.id]

    before, made = claims(), {}
    assert {e.verdict for e in before} == {"open"}
    for entry in before:
        for text in re.findall(r"`reuseprior evolve ([^`]+)`", entry.note):
            preset, *words = shlex.split(text)
            changes = parse_settings([b for a, b in pairwise(words) if a == "--set"])
            made[preset, *changes.items()] = changes
    for (preset, *_), changes in made.items():
        our_searches(folder, preset, (0.7, 0.7), now=0.6, **changes)
    assert "open" not in {e.verdict for e in claims()}


def test_what_is_shown_of_a_search_follows_the_printed_window(folder, monkeypatch):
    full_search(folder, "cifar10-evolve-16", 0, 0.9)
    (run,) = results.runs("revolver", paths.RESULTS)
    text = "thesis/chapter-3-text"
    falsified(monkeypatch, text, "thesis-3-text-last", "value", "2000")
    assert revolver.mean_validation(run) == pytest.approx((1000 * 91 + 1000 * 20) / 2000)
    falsified(monkeypatch, text, "thesis-3-text-window", "value", "2000")
    assert revolver.moving_average(run).iloc[-1] == pytest.approx(55.5)


def test_networks_count_by_how_often_they_were_trained_and_when_they_were_born(monkeypatch):
    trained = {"individual": [1, 1, 2, 1, 3], "accuracy": [0.1, 0.5, 0.9, 0.7, 0.2]}
    born = {"child": [1, 2, 3], "operator": ["initial", "random", "mutation"]}
    tables = {"trainings": trained, "lineage": born}
    monkeypatch.setattr(revolver, "tables_of", lambda run, name: pd.DataFrame(tables[name]))
    monkeypatch.setattr(revolver, "last_trainings", lambda trainings: 4)
    run = SimpleNamespace(name="one")
    found = revolver.by_times_trained([run], most=3).one
    assert list(found) == pytest.approx([57.5, 60, 70, float("nan")], nan_ok=True)
    best = revolver.first_and_later([run]).loc["one"]
    assert list(best) == pytest.approx([70, 90, 20])


@pytest.mark.parametrize("data", ["mnist", "cifar10"])
def test_searches_of_a_seed_begin_with_the_same_population(data):
    """Which is why they are compared in pairs."""
    first = {}
    for runs in revolver.searches(data).values():
        for run in runs:
            lineage = revolver.tables_of(run, "lineage").query("operator == 'initial'")
            first.setdefault(run.config["seed"], []).append(lineage.parameters.tolist())
    assert any(len(begun) == 2 for begun in first.values())
    for begun in first.values():
        assert all(one == begun[0] for one in begun)
    assert len({str(begun[0]) for begun in first.values()}) == len(first)


def test_the_share_of_a_kernel_size_counts_shared_convolutions():
    rows = [("conv", 3, 2), ("conv", 1, 5), ("conv", 1, 2), ("conv", 3, 1), ("deconv", 3, 9)]
    modules = pd.DataFrame(rows, columns=["kind", "kernel_size", "individuals"])
    assert revolver.kernel_share(modules) == 1 / 3
    assert revolver.kernel_share(modules, individuals=1) == 2 / 4


# Printed settings and shapes ----------------------------------------------------------------------


def test_a_misprinted_shape_and_another_input_change_verdicts(monkeypatch):
    def worse(change):
        changed = deepcopy(data)
        change(changed)
        monkeypatch.setattr(revolver_print, "printed", lambda: changed)
        return [e.id for e in revolver_print.example() if e.verdict == "not reproduced"]

    def misprint(changed):
        """Every channel and size of an output."""
        for _, part in revolver_print._parts(changed):
            batch, *shape = part["output_shape"].strip("()").split(", ")
            wrong = [batch, *map(off_by_one, shape[:2]), *shape[2:]]
            part["output_shape"] = f"({', '.join(wrong)})"
            misprinted.extend(shape[:2])

    data, misprinted = revolver_print.printed(), []
    assert worse(lambda _: None) == []
    assert len(worse(misprint)) == len(misprinted) > 10
    larger = worse(lambda changed: changed.update(input_shape="(1, 3, 33, 33)"))
    assert "thesis-c-4-conv-conv/out_size" in larger


def test_appendix_c4_loads_and_builds():
    tree = revolver.from_thesis(revolver_print.printed())
    assert tree.name.endswith("+c3f") and tree.unique and tree.at("conv/bn").tag == "e89"
    assert tree.at("conv/conv").name == "ResNetd4w1c2/cnv/conv3_16_7_2_3_1_1_F"
    assert tree.at("conv").output_shape == (16, 8, 8) and tree.output_shape == (2,)
    assert tree.at("conv/conv").meta == {"mutation_p": 0.8, "toggle_p": 0.02}
    rv.check(tree)
    model = rv.Registry().build(tree)
    assert sum(p.numel() for p in model.parameters()) == tree.parameters() == 2450
    for key, value, sentence in [
        ("output_shape", "(1, 3)", r"printed output shape \(3,\) of 'linear' at linear does not"),
        ("type", "<class ’ScopedX’>", "at linear has the type 'ScopedX': known are ScopedResNet"),
    ]:
        data = revolver_print.printed()
        data["linear"][key] = value
        with pytest.raises(rv.BlueprintError, match=sentence):
            revolver.from_thesis(data)
    for data in ({}, [], {"type": "conv"}):
        with pytest.raises(rv.BlueprintError, match=r"does not have the format of appendix C\.4"):
            revolver.from_thesis(data)


PRESETS = list(published.load("thesis/appendix-c-2").preset)


def changed(*presets):
    """Those of the presets whose own settings are not at the printed protocol any more."""
    found = []
    for preset in presets:
        has, asked = Settings.load(preset).to_data(), revolver_print.protocol(preset)["settings"]
        widths = list(asked.pop("space")["widths"])
        same = all(has[key] == value for key, value in asked.items())
        if not same or list(has["space"]["widths"]) != widths:
            found.append(preset)
    return found


def test_the_presets_carry_every_printed_setting():
    assert changed(*PRESETS) == []
    for preset in PRESETS:
        asked, has = revolver_print.printed_settings(preset), Settings.load(preset).to_data()
        assert {key: [has[key]] for key in asked} == asked
        assert len(asked) == 18  # 11 of the command line, and 7 of the text that it lacks
    # MNIST's images are not those of the preset
    assert not {"image", "classes"} & revolver_print.protocol(preset)["settings"]["space"].keys()


@pytest.mark.slow
@pytest.mark.parametrize("column", revolver_print.COMMAND_LINE)
def test_a_falsified_command_line_is_another_search(monkeypatch, column):
    to = {"search_mode": "evolve", "dataset": "DIGITS"}.get(column)
    for preset, other in zip(PRESETS, PRESETS[1:] + PRESETS[:1], strict=True):
        falsified(monkeypatch, "thesis/appendix-c-2", f"thesis-c-2-{preset}", column, to)
        same = column == "search_mode" and Settings.load(preset).mode == to
        assert changed(preset, other) == ([] if same else [preset])


@pytest.mark.slow
@pytest.mark.parametrize("name", [*revolver_print.IN_TEXT, *revolver_print.WIDTHS])
def test_a_falsified_setting_of_the_text_is_another_search(monkeypatch, name):
    widths = name in revolver_print.WIDTHS
    table, part = ("appendix-c-text", "c") if widths else ("chapter-3-text", "3")
    falsified(monkeypatch, f"thesis/{table}", f"thesis-{part}-text-{name}", "value")
    whose = (revolver_print.FOR | revolver_print.WIDTHS).get(name, "")
    assert changed(*PRESETS) == [preset for preset in PRESETS if preset.startswith(whose)]


def test_table_3_2_s_sample_size_is_the_command_line_s(monkeypatch):
    falsified(monkeypatch, "thesis/table-3-2", "thesis-3-2-mnist-evolve", "sample_size")
    assert revolver_print.protocol("mnist-evolve")["settings"]["sample"] == [8, 9]
    assert changed("mnist-evolve", "mnist-random") == ["mnist-evolve"]
