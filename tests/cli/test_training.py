import csv
import json
import os
import signal
from itertools import product

import pytest
import torch
from torch import nn

from reuseprior import data, paths, training
from reuseprior.cli.training import experiment
from reuseprior.models import ModelConfig, catalog
from reuseprior.models.catalog import OPTIONS
from reuseprior.results import Recording, Run
from tests.cli.calling import loads, refused, run

TINY = ["--set", "epochs=1", "--set", "train_images=128", "--set", "test_images=50"]


def invoke(*arguments):
    return run("train", *arguments)


def test_a_shared_model_is_trained_recorded_and_resumed(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "checkout", lambda: tmp_path)
    arguments = ["v2-b0", "--sharing", "all_but_bn", "--seed", 3, *TINY]
    done = invoke(*arguments)
    assert done.exit_code == 0, done.stderr
    changed = "train-quick,epochs=1,test_images=50,train_images=128"
    folder = tmp_path / "data/results" / changed / "efficientnetv2-b0-all_but_bn-digits-seed3"
    made = Run.read(folder)
    assert made.config["model"] == "efficientnetv2-b0" and made.config["sharing"] == "all_but_bn"
    parameters = made.summary["parameters"]  # without sharing there are 433,444
    assert parameters < 300_000 and f"{parameters:,} parameters" in done.stdout
    assert str(folder) in done.stdout
    refused(invoke(*arguments), "holds a run already")
    resumed = invoke(*arguments, "--resume", "--json")
    assert json.loads(resumed.stdout)["test_accuracy"] == made.summary["test_accuracy"]
    other = invoke(*arguments, "--resume", "--set", "batch_size=32", "--output", folder)
    refused(other, "protocol.batch_size = 64 and this one has 32")


def test_a_model_of_ones_own_and_a_signal(tmp_path, monkeypatch):
    class Told(nn.Sequential):
        def forward(self, x):
            if self.training:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().forward(x)

    layers = [nn.Flatten(), nn.Linear(3 * 16 * 16, 10)]
    monkeypatch.setattr(training, "told", lambda: Told(*layers), raising=False)
    done = invoke("reuseprior.training:told", *TINY, "--output", tmp_path)
    assert done.exit_code == 143
    assert "stopped in epoch 1 after 1 of 2 batches; continue it with --resume" in done.stderr


class Failing(nn.Module):
    """A classifier of digits that can be tested, and not trained: `fails` is what it does then."""

    def __init__(self, fails, *layers):
        super().__init__()
        self.fails, self.net = fails, nn.Sequential(nn.Flatten(), nn.Linear(768, 10), *layers)

    def forward(self, x):
        return self.fails(self.net(x)) if self.training else self.net(x)


def asserts(x):
    raise AssertionError("only to be tested\nnever trained")


def writes_over(x):
    y = x.exp()
    y += 1
    return y


FAILING = [  # how, of what batch, and what is said of it
    (lambda x: {"logits": x}, 64, "AttributeError"),
    (lambda x: None, 64, "AttributeError"),
    (asserts, 64, "AssertionError.*only to be tested"),
    (torch.no_grad()(lambda x: x * 2), 64, "RuntimeError.*does not require grad"),
    (writes_over, 64, "RuntimeError.*modified by an inplace operation"),
    (lambda x: x[:1], 64, r"ValueError.*batch_size \(1\)"),
    (lambda x: x[:, :5], 64, "IndexError|RuntimeError"),
    (nn.BatchNorm1d(10), 1, r"ValueError.*more than 1 value per channel.*\[1, 10\]"),
    (nn.LayerNorm(9), 64, "RuntimeError.*normalized_shape"),
]


def test_what_a_model_cannot_do_in_training_is_one_sentence(tmp_path, monkeypatch):
    for number, (fails, batch, said) in enumerate(FAILING):
        monkeypatch.setattr(training, "failing", lambda f=fails: Failing(f), raising=False)
        folder = tmp_path / str(number)
        done = invoke(
            "reuseprior.training:failing", "--output", folder, "--set", f"batch_size={batch}"
        )
        told = rf"model fails in epoch 1, after 0 batches, on one of shape \({batch}, 3, 16, 16\)"
        refused(done, f"{told}: mend what it does in training, .*it says: (?:{said})")
        assert not (folder / "checkpoint.safetensors").exists()


ELSEWHERE = "torchvision:resnet18 timm:vit nas-bench-201:000000 my_nets:tiny hf:vit".split()


@pytest.mark.slow
def test_every_protocol_fits_every_model():
    """What a model is built without is at rest, and so its record says."""
    for name, protocol in product((*catalog.names(), *ELSEWHERE), training.names()):
        plan = training.Protocol.load(protocol, model=name)
        taken = () if name in ELSEWHERE else catalog.find(name).options or ()
        if name not in ELSEWHERE:
            assert set(ModelConfig.of(name, vars(plan)).options) == set(taken)
        assert all(vars(plan)[key] == rest for key, rest in OPTIONS.items() if key not in taken)
        others = training.Protocol.load(protocol)
        assert all(vars(plan)[key] == vars(others)[key] for key in taken)


def test_what_a_protocol_sets_in_vain_is_said_and_at_rest(tmp_path):
    done = invoke("nas-bench-201:000000", *TINY, "--output", tmp_path)
    assert done.exit_code == 0, done.stderr
    said = "nas-bench-201:000000 is built without {}, which protocol 'quick' sets for others"
    assert done.stderr.splitlines() == [said.format(key) for key in ("bn_momentum", "width")]
    made = Run.read(tmp_path).config["protocol"]
    assert (made["bn_momentum"], made["width"]) == (OPTIONS["bn_momentum"], OPTIONS["width"])


def test_runs_of_one_folder_are_trained_alike():
    quick = training.Protocol.load("quick")
    folders = {
        experiment(quick.changed(changes), quick)
        for changes in ({}, {"epochs": 6}, {"epochs": 2}, {"name": "cpu"}, {"name": "quick"})
    }
    assert folders == {"train-quick", "train-quick,epochs=2", "train-quick,name=cpu"}


def test_a_blind_training_never_has_the_test_images(tmp_path, monkeypatch):
    digits = data.load("digits")

    def given(model, images, plan, *_, **__):
        assert (plan.validation, plan.test_every) == (0.0, 1)
        trained, held_out = digits.split(validation=0.1, seed=0)
        assert torch.equal(images.train.images, trained.images)
        assert torch.equal(images.test.images, held_out.images)
        raise training.Interrupted("seen", 15)

    monkeypatch.setattr(training, "train", given)
    done = invoke("V2-B0", "--blind", "--set", "validation=0.1", "--output", tmp_path / "one")
    assert done.exit_code == 143 and "seen" in done.output


@pytest.mark.slow
def test_a_blind_training_that_was_killed_goes_on(tmp_path, monkeypatch):
    arguments = ["V2-B0", "--blind", *TINY[2:], "--set", "epochs=2", "--set", "validation=0.1"]
    append = Recording.append

    def killed(self, row):
        if row["epoch"] == 2:
            raise SystemExit(137)
        append(self, row)

    monkeypatch.setattr(Recording, "append", killed)
    assert invoke(*arguments, "--output", tmp_path / "one").exit_code == 137
    assert len(Run.read(tmp_path / "one").metrics) == 1
    monkeypatch.setattr(Recording, "append", append)
    for name in ("one", "whole"):
        done = invoke(*arguments, "--output", tmp_path / name, "--resume")
        assert done.exit_code == 0, done.stderr
    one, whole = (Run.read(tmp_path / name) for name in ("one", "whole"))
    assert one.config == whole.config and one.config["images"] == {"train": 128, "test": 50}
    clock = ["images_per_second", "seconds"]
    assert one.metrics.drop(columns=clock).equals(whole.metrics.drop(columns=clock))


# Searching ---------------------------------------------------------------------------------------

SMALL = [
    "population=6", "sample=2", "generations=3", "train_images=200", "test_images=50",
    "minimum_batches=2", "batch_size=32", "space.channels=4", "space.depths=[6]",
]  # fmt: skip


def evolve(folder, *arguments, changes=SMALL):
    settings = [text for value in changes for text in ("--set", value)]
    return run("evolve", "quick", "--output", folder, *arguments, *settings)


@pytest.mark.soak
def test_quick_is_far_above_chance(tmp_path):
    report = loads(evolve(tmp_path, "--json", changes=[]).stdout)
    assert report["state"] == "finished" and report["generations"] == 15
    assert report["test_accuracy"] > 0.8  # chance is 0.1
    assert report["mean_validation_accuracy"] > 0.3


@pytest.mark.slow
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
