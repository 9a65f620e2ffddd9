"""Other tasks than classifying images go through the same loop, and resume bit for bit."""

from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from reuseprior import data
from reuseprior.training import Classification, Protocol, ProtocolError, Task, train
from reuseprior.training.batches import derive, steps
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
        train(autoencoder(), data.load("digits"), protocol, tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()
