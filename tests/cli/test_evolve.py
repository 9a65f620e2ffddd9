import csv

import pytest

from tests.cli.calling import loads, refused, run

TINY = [
    "population=6", "sample=2", "generations=3", "train_images=200", "test_images=50",
    "minimum_batches=2", "batch_size=32", "space.channels=4", "space.depths=[6]",
]  # fmt: skip


def evolve(folder, *arguments, changes=TINY):
    settings = [text for value in changes for text in ("--set", value)]
    return run("evolve", "quick", "--output", folder, *arguments, *settings)


@pytest.mark.soak
def test_quick_is_far_above_chance(tmp_path):
    report = loads(evolve(tmp_path, "--json", changes=[]).stdout)
    assert report["state"] == "finished" and report["generations"] == 15
    assert report["test_accuracy"] > 0.8  # chance is 0.1
    assert report["mean_validation_accuracy"] > 0.3


def test_a_search_stops_and_goes_on(tmp_path):
    done = evolve(tmp_path, "--until", "2 generations")
    assert done.exit_code == 0, done.stderr
    assert "generation 2 of 3: test accuracy" in done.stdout and str(tmp_path) in done.stdout
    assert loads((tmp_path / "summary.json").read_text())["state"] == "interrupted"
    refused(evolve(tmp_path), "holds a run already")
    done = evolve(tmp_path, "--resume", "--until", "9 minutes", "--json")
    assert done.exit_code == 0, done.stderr
    report = loads(done.stdout)
    assert (report["state"], report["generations"], report["seed"]) == ("finished", 3, 0)
    assert report["settings"]["name"] == "quick" and 0 <= report["test_accuracy"] <= 1
    again = evolve(tmp_path, "--resume")
    assert "generation 3 of 3" in again.stdout
    with (tmp_path / "metrics.csv").open() as file:
        assert [row["generation"] for row in csv.DictReader(file)] == ["1", "2", "3"]


def test_a_warm_up_alone_has_no_accuracy(tmp_path):
    warm = ["--set", "mode=random_warmup", "--set", "warmup_generations=2"]
    done = evolve(tmp_path, "--until", "0.000001 minutes", *warm)
    assert done.exit_code == 0 and "no individual was trained yet" in done.stdout
