"""A run that an older package began goes on.

`old_run` was recorded by commit d88a3d9, on one thread, and stopped by SIGTERM in its second epoch:
`train(net(), data.load("digits"), PROTOCOL, "old_run", seed=0, about={"model": "net"})`. Not
stopped, that package measured END.
"""

import json
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from reuseprior import data
from reuseprior.results import ResultError
from reuseprior.training import CheckpointError, Protocol, train

OLD = Path(__file__).parent / "old_run"
PROTOCOL = Protocol(
    epochs=2, batch_size=32, optimizer="rmsprop", learning_rate=0.016, schedule="cosine",
    channels=1, train_images=200, test_images=50, ema_decay=0.9, augmentation="flip_crop",
    label_smoothing=0.1, mixup_alpha=0.2, cutmix_alpha=0.5, validation=0.1, gradient_clip=1.0,
)  # fmt: skip
END = {
    "train_loss": 2.535616874694824, "train_accuracy": 0.075,
    "validation_loss": 2.4635107040405275, "validation_accuracy": 0.05,
    "test_loss": 2.50620361328125, "test_accuracy": 0.04,
}  # fmt: skip


def net(width=4):
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.Flatten(),
        nn.Dropout(0.3), nn.Linear(64 * width, 12),
    )  # fmt: skip


@pytest.fixture
def resume(tmp_path):
    folder = shutil.copytree(OLD, tmp_path / "run")
    options = {"seed": 0, "about": {"model": "net"}, "resume": True, "progress": False}
    return lambda model, protocol: train(model, data.load("digits"), protocol, folder, **options)


def test_it_ends_as_it_would_have(resume, caplog):
    known = json.loads((OLD / "config.json").read_text())["protocol"]
    assert "test_every" not in known, "what the older package did not know is what this is about"
    run = resume(net(), PROTOCOL)
    assert "by an older package, without a digest" in caplog.text  # it cannot be checked
    assert run.summary["state"] == "finished"
    # on the processor that recorded it, to the last bit
    assert run.metrics.iloc[-1][list(END)].to_dict() == pytest.approx(END, abs=1e-4)


def test_another_training_is_refused_by_one_sentence(resume):
    with pytest.raises(ResultError, match=r"protocol\.test_every = nothing and this one has 0: re"):
        resume(net(), PROTOCOL.changed({"test_every": 0}))
    with pytest.raises(ResultError, match=r"parameters = 3132 and this one has 6252: resume with"):
        resume(net(8), PROTOCOL)
    reordered = nn.Sequential(*net(), nn.Identity())
    reordered[6], reordered[5] = reordered[5], reordered[6]
    bias = reordered[0].bias.detach().clone()
    with pytest.raises(CheckpointError, match=r"holds \S+\.[56]\.\w+ as .* and this training"):
        resume(reordered, PROTOCOL)
    assert torch.is_grad_enabled() and torch.equal(reordered[0].bias, bias), "nothing is copied"
