"""The trainer: what a run records, that it is the plain loop, and what it refuses."""

import signal
from itertools import count
from types import SimpleNamespace

import psutil
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from reuseprior import data
from reuseprior.results import Run
from reuseprior.training import Diverged, Protocol, ProtocolError, Task, checkpoint, train, trainer
from reuseprior.training.batches import Share, open_batches
from reuseprior.training.protocol import learning_rate
from tests.training.runs import check_resumed, in_two_processes, measured

DIGITS = data.load("digits")
SMALL = Protocol(
    epochs=2, batch_size=32, optimizer="sgd", learning_rate=0.4, channels=1,
    train_images=200, test_images=50,
)  # fmt: skip


def small_net(seed=0, norm=True, dropout=0.0):
    """Two tied convolutions, batch norm and dropout."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        first, second = (nn.Conv2d(8, 8, 3, padding=1) for _ in range(2))
        second.weight = first.weight
        norms = [nn.BatchNorm2d(8) if norm else nn.Identity() for _ in range(2)]
        return nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), first, norms[0], nn.ReLU(), second, norms[1], nn.ReLU(),
            nn.Flatten(), nn.Dropout(dropout), nn.Linear(8 * 64, 10),
        )  # fmt: skip


def fit(folder, model=None, protocol=SMALL, **options):
    model = small_net() if model is None else model
    return train(model, DIGITS, protocol, folder, **{"seed": 0, "progress": False} | options)


def change(**options):
    return Protocol(**vars(SMALL) | options)


def test_a_run_is_recorded_and_learns(tmp_path, capfd):
    protocol = change(epochs=4, train_images=0, name="four")
    run = fit(tmp_path / "run", protocol=protocol, about={"model": "net"})
    assert capfd.readouterr() == ("", ""), "progress is shown where it is asked for"
    assert list(run.metrics) == [
        "epoch", "learning_rate", "train_loss", "train_accuracy", "test_loss", "test_accuracy",
        "images_per_second", "seconds",
    ]  # fmt: skip
    assert run.metrics.epoch.tolist() == [1, 2, 3, 4]
    assert run.metrics.train_loss.is_monotonic_decreasing
    assert run.summary["test_accuracy"] == run.metrics.test_accuracy.iloc[-1] > 0.8
    assert run.summary["state"] == "finished" and run.summary["reason"] is None
    assert run.summary["parameters"] == 80 + 576 + 8 + 8 + 4 * 8 + 5130  # the tied weight once
    assert run.summary["data_checksum"] == DIGITS.checksum
    assert run.summary["peak_memory_bytes"] > 1e8 and run.config["processes"] == 1
    assert run.config["model"] == "net" and run.config["protocol"]["name"] == "four"
    names = {path.name for path in run.folder.iterdir()}
    assert names == {"config.json", "metrics.csv", "summary.json", checkpoint.NAME}


def test_the_trainer_is_the_plain_loop(tmp_path):
    """Against torch's own optimiser and loss, written out, on the same batches."""
    protocol = change(
        weight_decay=0.01, label_smoothing=0.1, warmup_epochs=1, schedule="cosine",
        gradient_clip=0.5, train_images=352,
    )  # fmt: skip
    run = fit(tmp_path, small_net(), protocol)
    model = small_net()
    images = DIGITS.subset(352, 50, seed=0).train
    place = {"device": torch.device("cpu"), "seed": 0, "share": Share()}
    batches = open_batches(images, protocol, **place)
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim == 1]
    groups = [{"params": matrices, "weight_decay": 0.01}, {"params": vectors}]
    optimizer = torch.optim.SGD(groups, lr=0.1, momentum=0.9)
    for epoch in range(2):
        losses = []
        for step, (images, labels) in enumerate(batches.epoch(epoch)):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(protocol, epoch + step / 11)
            loss = F.cross_entropy(model(images), labels, label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
            losses.append(loss.item())
        assert run.metrics.train_loss[epoch] == pytest.approx(sum(losses) / 11, rel=1e-5)


def test_the_seed_decides_and_the_callers_generator_does_not(tmp_path):
    protocol = change(augmentation="flip_crop", mixup_alpha=0.2, epochs=1)
    runs = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        torch.manual_seed(len(runs))
        state = torch.get_rng_state()
        runs.append(measured(fit(tmp_path / name, small_net(dropout=0.3), protocol, seed=seed)))
        assert torch.equal(torch.get_rng_state(), state)
    assert runs[0].equals(runs[1]) and not runs[0].equals(runs[2])


def test_averaged_weights_are_tested_and_returned(tmp_path):
    model = small_net()
    run = fit(tmp_path, model, change(ema_decay=0.9, validation=0.2))
    assert {"validation_loss", "validation_accuracy"} <= set(run.metrics)
    assert model[1].weight is model[4].weight
    tested = DIGITS.subset(200, 50, seed=0).test
    model.eval()
    with torch.no_grad():
        logits = model((tested.images.float() - 128) / 128)
    assert run.summary["test_loss"] == pytest.approx(float(F.cross_entropy(logits, tested.labels)))
    accuracy = float((logits.argmax(1) == tested.labels).float().mean())
    assert run.summary["test_accuracy"] == pytest.approx(accuracy)
    saved, _ = checkpoint.load(tmp_path / checkpoint.NAME)
    assert torch.equal(saved["average.1.weight"], model[1].weight.detach())
    assert not torch.equal(saved["model.1.weight"], model[1].weight.detach())
    assert "model.4.weight" not in saved  # the tied weight is there once


@pytest.mark.parametrize(("every", "epochs"), [(0, [4]), (2, [2, 4]), (3, [3, 4])])
def test_the_test_images_are_looked_at_when_the_protocol_says(tmp_path, every, epochs):
    protocol = change(epochs=4, validation=0.2, test_every=every)
    run = fit(tmp_path, protocol=protocol)
    tested = run.metrics.dropna(subset=["test_loss", "test_accuracy"])
    assert tested.epoch.tolist() == epochs
    assert run.metrics.validation_accuracy.notna().all()
    assert run.summary["test_accuracy"] == tested.test_accuracy.iloc[-1]


def flat(outputs):
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, outputs))


TRAINED = [  # more logits than classes can be mixed, too
    (small_net, {"precision": "bfloat16"}),
    (small_net, {"channels_last": True, "optimizer": "rmsprop", "learning_rate": 0.016}),
    (small_net, {"cutmix_alpha": 1.0, "mixup_alpha": 1.0}),
    (small_net, {"augmentation": "autoaugment"}),
    (lambda: flat(12), {"mixup_alpha": 1.0}),
    (lambda: flat(12), {"cutmix_alpha": 1.0}),
]


@pytest.mark.parametrize(("build", "options"), TRAINED)
def test_options_train_and_are_followed(tmp_path, build, options):
    plain = fit(tmp_path / "plain", build(), change(epochs=1)).metrics.train_loss
    losses = fit(tmp_path / "run", build(), change(**options)).metrics.train_loss
    assert losses.iloc[-1] < losses[0] != plain[0]


def test_a_loss_that_is_no_number_stops_early_and_keeps_the_last_checkpoint(tmp_path):
    model, calls = small_net(), count(1)

    def broken(module, images, logits):
        return logits * float("nan") if module.training and next(calls) > 8 else None

    model.register_forward_hook(broken)
    with pytest.raises(Diverged, match=r"the loss is nan in epoch 2, after 6 batches: lower learn"):
        fit(tmp_path, model)
    run = Run.read(tmp_path)
    assert run.summary["state"] == "interrupted" and "the loss is nan" in run.summary["reason"]
    assert len(run.metrics) == 1
    saved, progress = checkpoint.load(tmp_path / checkpoint.NAME)
    assert progress["epoch"] == 1 and all(t.isfinite().all() for t in saved.values())


ADAMW = {
    "optimizer": "adamw", "schedule": "one_cycle", "channels_last": True, "test_every": 0,
    "learning_rate": 0.01,
}  # fmt: skip
STOPPED = [(signal.SIGUSR2, {}), (signal.SIGINT, {}), (signal.SIGTERM, ADAMW)]


@pytest.mark.parametrize(("number", "options"), STOPPED)
def test_a_signal_saves_at_the_next_batch_and_the_rest_is_the_same(tmp_path, number, options):
    protocol = change(ema_decay=0.9, augmentation="flip_crop", **options)

    def build():
        return small_net(dropout=0.3)

    def told(folder, model, **options):
        return fit(folder, model, protocol, **options)

    whole = build()
    run = told(tmp_path / "whole", whole)
    message = "stopped in epoch 2 after 3 of 6 batches; continue it"
    check_resumed(told, build, tmp_path / "told", (whole, run), 9, number, message)
    assert Run.read(tmp_path / "told").summary["state"] == "finished"


def test_a_finished_run_is_left_as_it_is(tmp_path):
    model, again = small_net(), small_net(seed=5)
    protocol = change(ema_decay=0.5)
    run = fit(tmp_path, model, protocol)
    before = (tmp_path / "summary.json").read_bytes()
    assert fit(tmp_path, again, protocol, resume=True, progress=True).summary == run.summary
    assert (tmp_path / "summary.json").read_bytes() == before
    assert all(map(torch.equal, model.parameters(), again.parameters()))


class Autoencoding(Task):
    """A task of one's own."""

    name = "autoencoding"

    def batch(self, inputs, targets):
        return inputs, inputs

    def loss(self, outputs, targets):
        return F.mse_loss(outputs.float(), targets)


def autoencoder():
    torch.manual_seed(0)
    layers = [nn.Linear(64, 16), nn.Dropout(0.1), nn.ReLU(), nn.Linear(16, 64)]
    return nn.Sequential(nn.Flatten(), *layers, nn.Unflatten(1, (1, 8, 8)))


def test_a_task_of_one_s_own_learns_and_resumes_bit_for_bit(tmp_path, capfd):
    protocol = change(epochs=3, learning_rate=0.05, augmentation="flip_crop", ema_decay=0.9)

    def fit_task(folder, model, **options):
        return fit(folder, model, protocol, task=Autoencoding(), **options)

    model = autoencoder()
    whole = fit_task(tmp_path / "whole", model, progress=True)
    assert "18/18" in capfd.readouterr().err
    columns = ["epoch", "learning_rate", "train_loss", "test_loss"]
    assert list(whole.metrics) == [*columns, "images_per_second", "seconds"]
    assert whole.metrics.test_loss.is_monotonic_decreasing
    assert whole.config["task"] == "autoencoding" and "classes" not in whole.config
    assert whole.summary["test_loss"] == whole.metrics.test_loss.iloc[-1]
    check_resumed(fit_task, autoencoder, tmp_path / "told", (model, whole), 9)
    with pytest.raises(ProtocolError, match=r"mixup_alpha is 0\.2 and .* autoencoding has none"):
        fit(tmp_path / "run", autoencoder(), change(mixup_alpha=0.2), task=Autoencoding())
    assert not (tmp_path / "run").exists()


class Aux(nn.Module):
    def forward(self, x):
        return x, x


THREE = data.Images(DIGITS.train.images.expand(-1, 3, -1, -1), DIGITS.train.labels)
COLOURED = data.DataSet.of("coloured", 10, THREE, THREE)
FOLDERS = data.ImageFolderSet("pictures", 2, None, None, "")
UNFIT = [
    (small_net, {"image_size": 9}, DIGITS,
     r"cannot take images of 1×9×9 .*: set channels, image_size or test_image_size to .*says: "),
    (small_net, {"test_image_size": 9}, DIGITS, "cannot take images of 1×9×9 "),
    (small_net, {"stages": 2, "start_image_size": 8, "image_size": 9}, DIGITS, "of 1×9×9 "),
    (small_net, {"channels": 3}, DIGITS, "cannot take images of 3×8×8 "),
    (lambda: flat(9), {}, DIGITS,
     r"gives a tensor of \(1, 9\) for one image of 1×8×8, and digits has 10 classes: its output"),
    (lambda: nn.Conv2d(1, 10, 3), {}, DIGITS, r"gives a tensor of \(1, 10, 6, 6\) for one im"),
    (Aux, {}, DIGITS, "gives a tuple for one image"),
    (small_net, {"validation": 0.001}, DIGITS, r"validation is 0\.001 of 200 "),
    (small_net, {"batch_size": 512}, DIGITS, "batch_size is 512 and there are 200 training images"),
    (small_net, {"patience": 1}, DIGITS, "patience is 1, and digits has no validation part"),
    (small_net, {}, COLOURED, "channels is 1 and the images of coloured have 3, of"),
    (small_net, {}, FOLDERS, "pictures is a folder of images: leave them at 0"),
]  # fmt: skip


@pytest.mark.parametrize(("build", "options", "known", "message"), UNFIT)
def test_what_does_not_fit_is_refused_before_anything_is_recorded(
    tmp_path, build, options, known, message
):
    with pytest.raises(ProtocolError, match=message) as caught:
        train(build(), known, change(**options), tmp_path / "run", seed=0)
    assert "\n" not in str(caught.value) and not (tmp_path / "run").exists()


def test_a_shape_that_the_first_image_decides(tmp_path):
    run = fit(tmp_path, nn.Sequential(nn.Flatten(), nn.LazyLinear(10)), change(epochs=1))
    assert run.summary["parameters"] == 64 * 10 + 10


def test_parameters_of_one_memory_are_saved_and_continued(tmp_path):
    def build():
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 10))
        model[2].weight = nn.Parameter(model[1].weight.detach())
        return model

    torch.manual_seed(0)
    fit(tmp_path, build(), change(epochs=1))
    again = build()
    fit(tmp_path, again, change(epochs=1), resume=True)
    saved, _ = checkpoint.load(tmp_path / checkpoint.NAME)
    assert torch.equal(saved["model.1.weight"], again[2].weight)


def fit_as_one_of_two(folder):
    protocol = change(
        ema_decay=0.9, augmentation="flip_crop", learning_rate=0.1, test_images=51,
        label_smoothing=0.1, weight_decay=1e-3, gradient_clip=1.0,
    )  # fmt: skip
    return fit(folder, small_net(norm=False), protocol)


@pytest.mark.slow
def test_two_processes_train_as_one(tmp_path):
    alone, both = fit_as_one_of_two(tmp_path / "alone"), tmp_path / "both"
    in_two_processes("tests.training.test_trainer", f"fit_as_one_of_two({str(both)!r})")
    run = Run.read(both)
    assert run.config["processes"] == run.summary["processes"] == 2
    tables = (torch.tensor(measured(found).to_numpy()) for found in (run, alone))
    torch.testing.assert_close(*tables, rtol=0, atol=1e-5)
    assert run.summary["state"] == "finished"


LAUNCHED = [  # the command of the process that started this one, and how many it was to start
    ("accelerate launch --cpu --num_processes 2 -m reuseprior", 2),
    ("accelerate launch --num_processes=4 --cpu -m reuseprior", 4),
    ("accelerate launch --num-processes 3 train.py", 3),
    ("python -m accelerate.commands.launch --num_processes 2 train.py", 2),
    ("python -m accelerate.commands.accelerate_cli launch --num_processes 2 a.py", 2),
    ("accelerate launch --cpu -m reuseprior train", 1),
    ("torchrun --num_processes 2 -m reuseprior", 1),
    ("", 1),
]


@pytest.mark.parametrize(("command", "asked"), LAUNCHED)
def test_as_many_processes_run_as_were_asked_for(tmp_path, monkeypatch, command, asked):
    """`accelerate launch` starts one on processors, and says nothing."""
    started = SimpleNamespace(cmdline=command.split)
    monkeypatch.setattr(psutil, "Process", lambda *_: started)
    assert trainer._asked() == 1, "another launcher"
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")
    assert trainer._asked() == asked
    if asked > 1:
        sentence = f"asked for {asked} processes and started 1.*torchrun --nproc_per_node {asked}`"
        with pytest.raises(ProtocolError, match=sentence):
            trainer.Loop("float32", ProtocolError)
