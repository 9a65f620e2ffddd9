import json
import os
import signal

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from reuseprior import data, paths, training
from reuseprior.cli import app
from reuseprior.cli.train import experiment
from reuseprior.models import cifar_resnet
from reuseprior.results import Recording, Run
from reuseprior.sharing import all_but_bn, tie

TINY = ["--set", "epochs=1", "--set", "train_images=128", "--set", "test_images=50"]

# What models that are not EfficientNets need of the protocol `quick`.
PLAIN = ["--set", "width=1", "--set", "bn_momentum=0.01"]

# (arguments, what the one sentence says)
BAD_USE = [
    (["nonet"], "unknown model 'nonet'"),
    (
        ["V2-B0", "--protocol", "slow"],
        "unknown protocol 'slow': choose from affine-vae, bidart, ",
    ),
    (["V2-B0", "--set", "epoch=1"], "unknown key 'epoch', did you mean 'epochs'"),
    (["V2-B0", "--set", "epochs"], "--set 'epochs' is not name=value: write it as --set epochs=2"),
    (["V2-B0", "--set", "epochs=1", "--set", "epochs=2"], "--set epochs is given twice"),
    (["V2-B0", "--set", "optimizer=adam"], "optimizer is 'adam', did you mean 'adamw'"),
    (["V2-B0", "--sharing", "all"], "unknown sharing 'all', did you mean 'all_but_bn'"),
    (["V2-B0", "--set", "model=V2-S"], "what was set has an unknown key 'model'"),
    (["V2-B0", "--set", "cls=1", "--set", "name_or_path=1"], "has an unknown key 'cls'"),
    (["V2-B0", "--set", "name=a/../../b"], "name is 'a/../../b': it becomes part of a folder's"),
    (["V2-B0", "--set", "learning_rate=1" + 400 * "0"], "it must be 0 to 1,000,000, and finite"),
    (["V2-B0", "--set", "learning_rate=1" + 5000 * "0"], "it must be a number"),
    (["V2-B0", "--set", "channels=1"], "the model cannot take images of 1×16×16 (channels, heig"),
    (["V2-B0", "--set", "image_size=10000000"], "image_size is 10000000: it must be 0 to 16,384"),
    (["V2-B0", "--set", "width=1e30"], "width is 1e+30: it must be 0 to 100"),
    (["V2-B0", "--set", "validation=0.0001"], "validation is 0.0001 of 1438 training images, wh"),
    (["V2-B0", "--blind"], "and validation is 0.0 of digits: set validation"),
    (["nets/mine.py"], "unknown model 'nets/mine.py'"),
    (["nets/mine.py:net"], "cannot import 'nets/mine.py' for model 'nets/mine.py:net'"),
    (["../nets:net"], "cannot import '../nets' for model"),
    ([":net"], "cannot import '' for model ':net'"),
    (["math:"], "module 'math' has no ''"),
    (["math:pi"], "model 'math:pi' is a float: it must be a callable"),
    (
        ["torchvision:resnet18"],
        "bn_momentum = 0.1, width = 0.25 in protocol 'quick' would do nothing, as "
        "torchvision:resnet18 is built without: train it with --set bn_momentum=0.01 --set width=1",
    ),
    (
        ["resnet20-cifar", "--set", "dropout=0.2"],
        "dropout = 0.2 in protocol 'quick' would do nothing, as resnet20-cifar is built without: "
        "train it with --set dropout=0.0",
    ),
    (["os:getcwd", *PLAIN], "model 'os:getcwd' returned a str: it must return a torch.nn.Module"),
    (["torch.nn:Flatten", *PLAIN], "Flatten has no parameter that learns: train another model"),
    (["torch.nn:Identity", *PLAIN], "the model gives a tensor of (1, 3, 16, 16) for one image of"),
]


def invoke(*arguments):
    return CliRunner().invoke(app, ["train", *map(str, arguments)])


@pytest.mark.parametrize(("arguments", "sentence"), BAD_USE)
def test_bad_use_is_one_sentence(tmp_path, arguments, sentence):
    done = invoke(*arguments, "--output", tmp_path / "run")
    assert done.exit_code == 2
    assert sentence in done.stderr and done.stdout == ""
    assert not (tmp_path / "run").exists()


def test_a_shared_model_is_trained_recorded_and_resumed(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "checkout", lambda: tmp_path)
    arguments = ["v2-b0", "--sharing", "all_but_bn", "--seed", 3, *TINY]
    done = invoke(*arguments)
    assert done.exit_code == 0, done.stderr
    changed = "train-quick,epochs=1,test_images=50,train_images=128"
    folder = tmp_path / "data/results" / changed / "efficientnetv2-b0-all_but_bn-digits-seed3"
    run = Run.read(folder)
    assert run.config["model"] == "efficientnetv2-b0" and run.config["sharing"] == "all_but_bn"
    assert run.summary["parameters"] < 300_000  # without sharing there are 433,444
    assert f"{run.summary['parameters']:,} parameters" in done.stdout and str(folder) in done.stdout
    refused = invoke(*arguments)
    assert refused.exit_code == 2 and "holds a run already" in refused.stderr
    resumed = invoke(*arguments, "--resume", "--json")
    assert json.loads(resumed.stdout)["test_accuracy"] == run.summary["test_accuracy"]
    other = invoke(*arguments, "--resume", "--set", "batch_size=32", "--output", folder)
    assert other.exit_code == 2 and "protocol.batch_size = 64 and this one has 32" in other.stderr


def test_a_cifar_resnet_is_built_to_the_data_and_the_protocol(tmp_path):
    done = invoke(
        "resnet20-cifar", "--sharing", "all_but_bn", *TINY, "--set", "width=0.5",
        "--set", "optimizer=adamw", "--set", "schedule=one_cycle", "--output", tmp_path,
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    model = cifar_resnet(20, num_classes=10, width=0.5)
    tie(model, all_but_bn)
    run = Run.read(tmp_path)
    assert run.summary["parameters"] == sum(p.numel() for p in model.parameters())
    assert run.config["model"] == "resnet20-cifar"


def test_a_model_of_ones_own_and_a_signal(tmp_path, monkeypatch):
    class Told(nn.Sequential):
        def forward(self, x):
            if self.training:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().forward(x)

    layers = [nn.Flatten(), nn.Linear(3 * 16 * 16, 10)]
    monkeypatch.setattr(training, "told", lambda: Told(*layers), raising=False)
    done = invoke("reuseprior.training:told", *TINY, *PLAIN, "--output", tmp_path)
    assert done.exit_code == 143
    assert "stopped in epoch 1 after 1 of 2 batches; continue it with --resume" in done.stderr


def test_an_output_that_cannot_be_a_folder(tmp_path):
    (tmp_path / "file").write_text("mine")
    for output in (tmp_path / "file", tmp_path / "file" / "run"):
        done = invoke("V2-B0", *TINY, "--output", output)
        assert done.exit_code == 2 and f"cannot make the folder {output} (" in done.stderr
    assert (tmp_path / "file").read_text() == "mine"


def test_runs_of_one_folder_are_trained_alike():
    quick = training.Protocol.load("quick")
    folders = {
        experiment(quick.changed(changes), quick)
        for changes in ({}, {"epochs": 6}, {"epochs": 2}, {"name": "cpu"}, {"name": "quick"})
    }
    assert folders == {"train-quick", "train-quick,epochs=2", "train-quick,name=cpu"}


def test_a_blind_training_never_has_the_test_images(tmp_path, monkeypatch):
    digits = data.load("digits")
    monkeypatch.setattr(
        training, "train", lambda model, images, plan, *_, **__: given(images, plan)
    )

    def given(images, plan):
        assert (plan.validation, plan.test_every) == (0.0, 1)
        trained, held_out = digits.split(validation=0.1, seed=0)
        assert torch.equal(images.train.images, trained.images)
        assert torch.equal(images.test.images, held_out.images)
        raise training.Interrupted("seen", 15)

    arguments = ["train", "V2-B0", "--blind", "--set", "validation=0.1"]
    result = CliRunner().invoke(app, [*arguments, "--output", str(tmp_path / "one")])
    assert result.exit_code == 143 and "seen" in result.output
    result = CliRunner().invoke(app, arguments)
    assert "--blind is for comparisons, which have folders of their own" in result.output


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
