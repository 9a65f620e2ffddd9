"""Other tasks than classifying images go through the same loop, and resume bit for bit."""

import os
import signal
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from reuseprior import data
from reuseprior.training import (
    Classification,
    Interrupted,
    Protocol,
    ProtocolError,
    Task,
    checkpoint,
    train,
)  # fmt: skip
from reuseprior.training.batches import derive, steps

TIMES = ["images_per_second", "seconds"]


class Reconstruction(Task):
    name = "reconstruction"

    def batch(self, inputs, targets):
        return inputs, inputs

    def loss(self, outputs, targets):
        return F.mse_loss(outputs.float(), targets)


class Autoencoder(nn.Module):
    """Tells its own process to stop, after `left` batches, as somebody outside might."""

    def __init__(self, left=0):
        super().__init__()
        self.left = left
        self.net = nn.Sequential(
            nn.Flatten(), nn.Linear(64, 16), nn.Dropout(0.1), nn.ReLU(), nn.Linear(16, 64),
            nn.Unflatten(1, (1, 8, 8)),
        )  # fmt: skip

    def forward(self, images):
        self.left -= self.training
        if self.training and not self.left:
            os.kill(os.getpid(), signal.SIGTERM)
        return self.net(images)


@dataclass
class Texts:
    """Rows of token numbers, and one of two labels each."""

    tokens: torch.Tensor  # texts, length
    labels: torch.Tensor

    def __len__(self):
        return len(self.labels)


@dataclass
class TextSet:
    train: Texts
    test: Texts
    name = "texts"
    checksum = "c"


class TextBatches:
    def __init__(self, texts, protocol, *, device, seed, share):
        self.texts, self.size, self.seed = texts, protocol.batch_size, seed
        self.steps = steps(len(texts), protocol, share)

    def __len__(self):
        return len(self.texts)

    def epoch(self, epoch, first=0):
        generator = torch.Generator().manual_seed(derive("order", self.seed, epoch))
        order = torch.randperm(len(self), generator=generator)
        for chosen in order.split(self.size)[first : self.steps]:
            yield self.texts.tokens[chosen], self.texts.labels[chosen]

    def once(self):
        yield self.texts.tokens, self.texts.labels


class TextClassification(Classification):
    def check(self, model, data, protocol, autocast):
        Task.check(self, model, data, protocol, autocast)

    def batches(self, part, protocol, **place):
        return TextBatches(part, protocol, **place)


def measured(run):
    return run.metrics.drop(columns=TIMES)


def test_an_autoencoder_learns_and_resumes_bit_for_bit(tmp_path):
    protocol = Protocol(
        epochs=3, batch_size=32, learning_rate=0.05, channels=1, train_images=200, test_images=50,
        augmentation="flip_crop", ema_decay=0.9,
    )  # fmt: skip

    def fit(folder, left=0, **options):
        torch.manual_seed(0)
        model, images = Autoencoder(left), data.load("digits")
        options |= {"task": Reconstruction(), "seed": 0, "progress": False}
        return model, train(model, images, protocol, tmp_path / folder, **options)

    model, whole = fit("whole")
    columns = ["epoch", "learning_rate", "train_loss", "test_loss"]
    assert list(whole.metrics) == [*columns, *TIMES]
    assert whole.metrics.test_loss.is_monotonic_decreasing
    assert whole.config["task"] == "reconstruction" and "classes" not in whole.config
    assert whole.summary["test_loss"] == whole.metrics.test_loss.iloc[-1]
    with pytest.raises(Interrupted, match="stopped in epoch 2 after 3 of 6 batches"):
        fit("told", left=9)
    again, resumed = fit("told", resume=True)
    assert measured(resumed).equals(measured(whole))
    held = [checkpoint.load(run.folder / checkpoint.NAME)[0] for run in (whole, resumed)]
    assert held[0].keys() == held[1].keys()
    assert all(torch.equal(tensor, held[1][name]) for name, tensor in held[0].items())
    assert all(map(torch.equal, model.state_dict().values(), again.state_dict().values()))


def test_a_classifier_of_texts(tmp_path):
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(2, (320,), generator=generator)
    tokens = torch.randint(30, (320, 12), generator=generator) + 20 * labels[:, None]
    known = TextSet(Texts(tokens[:256], labels[:256]), Texts(tokens[256:], labels[256:]))
    torch.manual_seed(0)
    model = nn.Sequential(nn.EmbeddingBag(50, 8), nn.Linear(8, 2))
    protocol = Protocol(epochs=8, batch_size=32, learning_rate=0.2)
    run = train(
        model, known, protocol, tmp_path, task=TextClassification(2), seed=0, progress=False
    )
    assert run.config["classes"] == 2 and run.config["images"] == {"train": 256, "test": 64}
    assert run.summary["test_accuracy"] > 0.9


def test_what_has_no_classes_cannot_be_mixed(tmp_path):
    protocol = Protocol(channels=1, mixup_alpha=0.2)
    options = {"task": Reconstruction(), "seed": 0}
    with pytest.raises(ProtocolError, match=r"mixup_alpha is 0\.2 and .* reconstruction has none"):
        train(Autoencoder(), data.load("digits"), protocol, tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()
