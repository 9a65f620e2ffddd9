import json
import os
import signal

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from reuseprior import paths, training
from reuseprior.cli import app
from reuseprior.results import Run

TINY = ["--set", "epochs=1", "--set", "train_images=128", "--set", "test_images=50"]

# (arguments, what the one sentence says)
BAD_USE = [
    (["nonet"], "unknown model 'nonet'"),
    (["V2-B0", "--protocol", "slow"], "unknown protocol 'slow': choose from cpu, gpu, quick"),
    (["V2-B0", "--set", "epoch=1"], "unknown key 'epoch', did you mean 'epochs'?"),
    (["V2-B0", "--set", "epochs"], "--set 'epochs' is not key=value: write it as --set epochs=2"),
    (["V2-B0", "--set", "epochs=1", "--set", "epochs=2"], "--set epochs is given twice"),
    (["V2-B0", "--set", "optimizer=adam"], "optimizer is 'adam': choose from rmsprop, sgd"),
    (["V2-B0", "--sharing", "all"], "'all' is not one of"),
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
    folder = tmp_path / "data/results/train-quick/efficientnetv2-b0-all_but_bn-digits-seed3"
    run = Run.read(folder)
    assert run.config["model"] == "efficientnetv2-b0" and run.config["sharing"] == "all_but_bn"
    assert run.summary["parameters"] < 300_000  # without sharing there are 433,444
    assert f"{run.summary['parameters']:,} parameters" in done.stdout and str(folder) in done.stdout
    refused = invoke(*arguments)
    assert refused.exit_code == 2 and "holds a run already" in refused.stderr
    resumed = invoke(*arguments, "--resume", "--json")
    assert json.loads(resumed.stdout)["test_accuracy"] == run.summary["test_accuracy"]
    other = invoke(*arguments, "--resume", "--set", "batch_size=32")
    assert other.exit_code == 2 and "protocol.batch_size = 64 and this one has 32" in other.stderr


def test_a_model_of_ones_own_and_a_signal(tmp_path, monkeypatch):
    class Told(nn.Sequential):
        def forward(self, x):
            os.kill(os.getpid(), signal.SIGTERM)
            return super().forward(x)

    layers = [nn.Flatten(), nn.Linear(3 * 16 * 16, 10)]
    monkeypatch.setattr(training, "told", lambda: Told(*layers), raising=False)
    done = invoke("reuseprior.training:told", *TINY, "--output", tmp_path)
    assert done.exit_code == 143
    assert "stopped in epoch 1 after 1 of 2 batches; continue it with --resume" in done.stderr


def test_the_seed_decides_the_initial_weights(tmp_path):
    from reuseprior.cli.train import build

    protocol = training.Protocol.load("quick")
    one, same, other = (build("efficientnetv2-b0", "none", 10, protocol, s) for s in (1, 1, 2))
    assert torch.equal(one.stem.weight, same.stem.weight)
    assert not torch.equal(one.stem.weight, other.stem.weight)
