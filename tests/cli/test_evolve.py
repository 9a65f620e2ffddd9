import csv
import json

import pytest
from typer.testing import CliRunner

from reuseprior.cli import app

TINY = [
    "population=6", "sample=2", "generations=3", "train_images=200", "test_images=50",
    "minimum_batches=2", "batch_size=32", "space.channels=4", "space.depths=[6]",
]  # fmt: skip


def evolve(*arguments, tiny=True):
    settings = [text for value in TINY if tiny for text in ("--set", value)]
    return CliRunner().invoke(app, ["evolve", *map(str, arguments), *settings])


@pytest.mark.slow
def test_quick_is_far_above_chance(tmp_path):
    done = evolve("quick", "--output", tmp_path, "--json", tiny=False)
    assert done.exit_code == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["state"] == "finished" and report["generations"] == 15
    assert report["test_accuracy"] > 0.8  # chance is 0.1
    assert report["mean_validation_accuracy"] > 0.3
    assert report["settings"]["name"] == "quick" and report["seed"] == 0


def test_a_search_stops_and_goes_on(tmp_path):
    done = evolve("quick", "--output", tmp_path, "--until", "2 generations")
    assert done.exit_code == 0, done.stderr
    assert "generation 2 of 3: test accuracy" in done.stdout and str(tmp_path) in done.stdout
    assert json.loads((tmp_path / "summary.json").read_text())["state"] == "interrupted"
    again = evolve("quick", "--output", tmp_path)
    assert again.exit_code == 2 and "holds a run already" in again.stderr
    done = evolve("quick", "--output", tmp_path, "--resume", "--until", "9 minutes")
    assert done.exit_code == 0 and "generation 3 of 3" in done.stdout
    with (tmp_path / "metrics.csv").open() as file:
        assert [row["generation"] for row in csv.DictReader(file)] == ["1", "2", "3"]


def test_a_warm_up_alone_has_no_accuracy(tmp_path):
    warm = ["--set", "mode=random_warmup", "--set", "warmup_generations=2"]
    done = evolve("quick", "--output", tmp_path, "--until", "0.000001 minutes", *warm)
    assert done.exit_code == 0 and "no individual was trained yet" in done.stdout


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["quik"], "unknown preset 'quik', did you mean 'quick'?"),
        (["quick", "--set", "populaton=3"], "unknown key 'populaton', did you mean 'population'?"),
        (["quick", "--set", "population=1"], "population is 1: it must be 2 to 10,000"),
        (["quick", "--set", "population"], "is not name=value"),
        (["quick", "--until", "soon"], "--until 'soon' is no limit: write it as"),
        (["quick", "--until", "-3 minutes"], "is no limit"),
        (["quick", "--data", "letters"], "no data set 'letters': there are digits"),
    ],
)
def test_bad_use_is_one_sentence(tmp_path, arguments, message):
    done = evolve(*arguments, "--output", tmp_path / "run", tiny=False)
    assert done.exit_code == 2 and message in done.stderr
    assert done.stderr.count("\n") == 1 and not (tmp_path / "run").exists()
