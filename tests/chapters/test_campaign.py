"""What is to be run: where each run lies, and what makes it, lists it and records it."""

import json
import shlex
from collections import Counter
from dataclasses import asdict, replace
from importlib import import_module
from itertools import pairwise
from math import nan

import pytest

from reuseprior import paths, results
from reuseprior.chapters import nn_mass_runs
from reuseprior.cli.app import parse_settings
from reuseprior.cli.training import experiment
from reuseprior.errors import UserError
from reuseprior.report import campaign, chapters
from reuseprior.revolver import Settings
from reuseprior.training import Protocol, baselines
from tests.cli.calling import refused, run

EVERY = list(campaign.planned())


def test_a_row_names_a_chapter_a_kind_a_device_and_one_run():
    assert {one.chapter for one in EVERY} <= {c.notebook.stem for c in chapters.found()}
    assert {one.kind for one in EVERY} == set(campaign.KINDS)
    assert {one.device for one in EVERY} == {"cpu", "gpu"}
    for place in campaign.KINDS.values():
        module, _, name = place.partition(":")
        assert callable(getattr(import_module(f"reuseprior.{module}"), name))
    # a run may be wanted by two chapters, and is then one run
    assert max(Counter((one.chapter, one.place) for one in EVERY).values()) == 1
    made = {one.place: replace(one, chapter="", minutes=0) for one in EVERY}
    assert all(replace(one, chapter="", minutes=0) == made[one.place] for one in EVERY)


def test_minutes_are_those_of_the_fastest_alike():
    """Sharing saves no multiply-add, so that networks with and without it take as long."""
    taken = {}
    for one in EVERY:
        if results.finished(one.folder()):
            summary = results.read_json(one.folder() / results.SUMMARY)
            core_minutes = summary["wall_seconds"] * summary.get("threads", 1) / 60
            taken.setdefault(_alike(one), []).append(core_minutes)
    assert len(taken) > 60
    for one in EVERY:
        if _alike(one) in taken:
            assert one.minutes == pytest.approx(min(taken[_alike(one)]), rel=0.06), one.place


def _alike(one):
    return one.run if one.kind != "train" else (one.model, one.data, one.protocol, one.changes)


@pytest.mark.slow
def test_a_training_is_where_its_command_records_it():
    for one in campaign.planned(kind="train"):
        words = shlex.split(one.command)
        given = dict(pairwise(words))
        as_written = Protocol.load(given["--protocol"], model=one.model)
        changes = parse_settings(v for key, v in pairwise(words) if key == "--set")
        plan = as_written.changed(changes)
        assert asdict(plan) == campaign.config(one, 10)["protocol"] and words[2] == one.model
        own = f"{experiment(plan, as_written)}/{one.model}-{one.sharing}-{one.data}-seed{one.seed}"
        assert given.get("--output", f"data/results/{own}") == f"data/results/{one.place}"


def test_networks_of_equal_budgets_are_planned():
    """Each budget of stores has its two baselines, each network that repeats filters its own."""
    budgets = [int(baselines.parameters_of(baselines.WIDE) * p / 100) for p in (2, 5, 10, 25, 50)]
    wanted = {baselines.baseline(m, n) for m in ("wrn-16-2", baselines.SHALLOW) for n in budgets}
    every = baselines.listed(campaign.planned(protocol="stores"))
    for one in every:
        if one.kind.startswith(("scopes", "channels")) and "norms" not in one.sharing:
            wanted.add(baselines.baseline(one.model, baselines.parameters_of(one)))
    narrow = {baselines.Model("wrn-16-2", width=1 / factor) for factor in (2, 4, 8)}
    plain = {one for one in every if one.sharing == "none"}
    assert plain == wanted | narrow | {baselines.WIDE, baselines.SMALL}
    for one in campaign.planned(protocol="stores"):
        (model,) = baselines.listed([one])
        assert one.run.partition("/")[2] == model.name


def test_networks_of_grids_are_planned():
    for grid in nn_mass_runs.GRIDS.values():
        rows = campaign.planned("10-nn-mass", protocol=grid.protocol)
        planned = [(one.changed["layers"], one.changed["density"]) for one in rows]
        assert planned == [(layers, density) for layers, density, _ in grid.architectures()]


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    """A campaign of a training and a search of seconds, and data/results that are empty."""
    monkeypatch.setattr(paths, "RESULTS", tmp_path / "results")
    one = next(campaign.planned(kind="train", model="wrn-16-2", sharing="none"))
    changes = "epochs=1 train_images=64 test_images=32 image_size=8 test_image_size=8"
    training = replace(one, data="digits", changes=changes, minutes=2.0)
    search = next(campaign.planned(kind="evolve"))
    quick = {"protocol": "quick", "data": "digits", "run": "revolver/quick"}
    search = replace(search, **quick, device="gpu", minutes=nan)
    load, short = Settings.load, {"generations": 1, "population": 4, "sample": 2, "top": 2}
    monkeypatch.setattr(Settings, "load", lambda name, **given: load(name, **given | short))
    monkeypatch.setattr(campaign, "_rows", lambda: (training, search))
    return training, search


def test_what_is_left_is_listed_made_and_recorded(tiny, tmp_path, monkeypatch):
    training, search = tiny
    listed = run("campaign").stdout.splitlines()
    assert [line.split()[-1] for line in listed[:2]] == [training.place, search.place]
    assert listed[2] == "2 runs are left: 0.0 hours of one core, and 1 runs of unknown length"
    place = tmp_path / "elsewhere"
    assert run("campaign", training.chapter[:2], "--start", "--output", place).exit_code == 0
    made = results.Run.read(place / training.place)
    assert made.config["protocol"]["epochs"] == 1 and made.config["model"] == training.model
    assert campaign.left() == [training, search] and campaign.left(root=place) == [search]
    monkeypatch.setattr(campaign, "train", None)  # another training would fail
    training.start(place)
    monkeypatch.setattr(results, "record", lambda folder: results.Run.read(folder))
    recorded = run("campaign", "--record", "--output", place, "--minutes", 1).stdout
    assert str(place) not in recorded.splitlines()[0]  # it takes longer
    recorded = run("campaign", "--record", "--output", place, "--device", "cpu").stdout
    assert recorded.splitlines()[0] == str(place / training.place)


def test_a_training_without_what_is_recorded_beside_it_is_not_finished(tmp_path):
    one = next(one for one in EVERY if one.kind == "affine" and one.model == "avae")
    training, angles, orientations = one.folders(tmp_path)
    assert training == one.folder(tmp_path) and training.name == angles.name == orientations.name
    for folder in one.folders(tmp_path):
        assert not one.finished(tmp_path)
        folder.mkdir(parents=True)
        (folder / results.SUMMARY).write_text('{"state": "finished"}')
    assert one.finished(tmp_path)
    plain = next(one for one in EVERY if one.kind == "affine" and one.model == "vae")
    assert len(plain.folders()) == 2 and len(next(campaign.planned(kind="train")).folders()) == 1


def test_a_run_that_cannot_be_recorded_stops_no_other(tiny, tmp_path, monkeypatch):
    for one in tiny:
        one.folder(tmp_path).mkdir(parents=True)
        (one.folder(tmp_path) / results.SUMMARY).write_text('{"state": "finished"}')

    def record(folder):
        raise UserError(f"{folder.name}: no commit has its code")

    monkeypatch.setattr(results, "record", record)
    done = run("campaign", "--record", "--output", tmp_path)
    assert done.exit_code == 1 and done.stderr.count("no commit has its code") == 2


def test_searches_go_on_and_a_run_that_cannot_be_made_stops_no_other(tiny, monkeypatch):
    training, search = tiny
    lost = replace(training, data="imagenet", seed=9)
    monkeypatch.setattr(campaign, "_rows", lambda: (lost, search))
    (listed,) = json.loads(run("campaign", "--device", "gpu", "--json").stdout)
    assert listed["command"] == "reuseprior evolve quick --seed 0 --resume"
    assert listed["minutes"] is None and not listed["begun"]
    done = run("campaign", "--start")
    assert done.exit_code == 1 and "imagenet" in done.stderr
    assert campaign.left() == [lost] and search.folder().parent.name == "revolver"


def test_an_error_of_ours_is_shown_and_stops_no_other_run(tiny, monkeypatch):
    made = []

    def start(self, root=None, progress=True):
        made.append(self.place)
        raise ZeroDivisionError("a slip")

    monkeypatch.setattr(campaign.Planned, "start", start)
    done = run("campaign", "--start")
    assert done.exit_code == 1 and made == [one.place for one in tiny]
    assert done.stderr.count("ZeroDivisionError: a slip") == 2 and "Traceback" in done.stderr


def test_a_run_that_two_chapters_want_is_each_one_s_and_made_once(tiny, monkeypatch):
    training, search = tiny
    again = replace(training, chapter="07-reuse")
    monkeypatch.setattr(campaign, "_rows", lambda: (training, again, search))
    done = run("campaign", "--start", "--minutes", 0, "--device", "cpu")
    assert done.exit_code == 0 and done.stdout.startswith("0 runs are left")
    for wanted in ([training.chapter], ["07-reuse"], ["07"], [training.place], []):
        listed = json.loads(run("campaign", *wanted, "--json").stdout)
        assert [one["place"] for one in listed].count(training.place) == 1, wanted


WRONG = [
    ("nowhere", r"no planned run or chapter 'nowhere'"),
    ("04-parameter-sharin", r"did you mean '?04-parameter-sharing"),
    ("--device tpu", r"--device 'tpu' is neither: choose cpu or gpu"),
    ("--output ''", r"'--output': it is empty"),
    ("--record", r"--record takes what was made elsewhere: add --output"),
]


@pytest.mark.parametrize(("words", "sentence"), WRONG)
def test_what_is_not_planned_is_a_sentence(words, sentence):
    refused(run("campaign", *shlex.split(words)), sentence)
