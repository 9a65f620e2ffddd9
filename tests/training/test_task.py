"""A task of one's own goes through the same loop, and resumes bit for bit."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from reuseprior import data
from reuseprior.training import Protocol, ProtocolError, Task, train
from tests.training.runs import check_resumed


class Reconstruction(Task):
    name = "reconstruction"

    def batch(self, inputs, targets):
        return inputs, inputs

    def loss(self, outputs, targets):
        return F.mse_loss(outputs.float(), targets)


def autoencoder():
    torch.manual_seed(0)
    layers = [nn.Linear(64, 16), nn.Dropout(0.1), nn.ReLU(), nn.Linear(16, 64)]
    return nn.Sequential(nn.Flatten(), *layers, nn.Unflatten(1, (1, 8, 8)))


def test_an_autoencoder_learns_and_resumes_bit_for_bit(tmp_path):
    protocol = Protocol(
        epochs=3, batch_size=32, learning_rate=0.05, channels=1, train_images=200, test_images=50,
        augmentation="flip_crop", ema_decay=0.9,
    )  # fmt: skip

    def fit(folder, model, **options):
        options |= {"task": Reconstruction(), "seed": 0, "progress": False}
        return train(model, data.load("digits"), protocol, folder, **options)

    model = autoencoder()
    whole = fit(tmp_path / "whole", model)
    columns = ["epoch", "learning_rate", "train_loss", "test_loss"]
    assert list(whole.metrics) == [*columns, "images_per_second", "seconds"]
    assert whole.metrics.test_loss.is_monotonic_decreasing
    assert whole.config["task"] == "reconstruction" and "classes" not in whole.config
    assert whole.summary["test_loss"] == whole.metrics.test_loss.iloc[-1]
    check_resumed(fit, autoencoder, tmp_path / "told", (model, whole), 9)


def test_what_has_no_classes_cannot_be_mixed(tmp_path):
    protocol = Protocol(channels=1, mixup_alpha=0.2)
    options = {"task": Reconstruction(), "seed": 0}
    with pytest.raises(ProtocolError, match=r"mixup_alpha is 0\.2 and .* reconstruction has none"):
        train(autoencoder(), data.load("digits"), protocol, tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()
