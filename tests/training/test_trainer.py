import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from reuseprior import data
from reuseprior.results import ResultError, Run
from reuseprior.training import (
    CheckpointError,
    Diverged,
    Interrupted,
    Protocol,
    ProtocolError,
    checkpoint,
    train,
)
from reuseprior.training.batches import Share, open_batches
from reuseprior.training.schedules import learning_rate

TIMES = ["images_per_second", "seconds"]
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


def change(protocol, **options):
    return Protocol(**vars(protocol) | options)


def measured(run):
    return run.metrics.drop(columns=TIMES)


def test_a_run_is_recorded_and_learns(tmp_path):
    protocol = change(SMALL, epochs=4, train_images=0, name="four")
    run = fit(tmp_path / "run", protocol=protocol, about={"model": "net"})
    assert list(run.metrics) == [
        "epoch", "learning_rate", "train_loss", "train_accuracy", "test_loss", "test_accuracy",
        *TIMES,
    ]  # fmt: skip
    assert run.metrics.epoch.tolist() == [1, 2, 3, 4]
    assert run.metrics.train_loss.is_monotonic_decreasing
    last = run.metrics.iloc[-1]
    assert run.summary["test_accuracy"] == last.test_accuracy > 0.8
    assert run.summary["state"] == "finished" and run.summary["reason"] is None
    assert run.summary["parameters"] == 80 + 576 + 8 + 8 + 4 * 8 + 5130  # the tied weight once
    assert run.summary["data_checksum"] == DIGITS.checksum
    assert run.summary["peak_memory_bytes"] > 1e8
    assert run.config["processes"] == 1
    assert run.config["model"] == "net" and run.config["protocol"]["name"] == "four"
    names = {path.name for path in run.folder.iterdir()}
    assert names == {"config.json", "metrics.csv", "summary.json", checkpoint.NAME}


def test_the_trainer_is_the_plain_loop(tmp_path):
    """Against torch's own optimiser and loss, written out, on the same batches."""
    protocol = change(
        SMALL, weight_decay=0.01, label_smoothing=0.1, warmup_epochs=1, schedule="cosine",
        gradient_clip=0.5, train_images=0,
    )  # fmt: skip
    run = fit(tmp_path, small_net(), protocol)
    model = small_net()
    batches = open_batches(
        DIGITS.train, protocol, device=torch.device("cpu"), seed=0, share=Share()
    )
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim == 1]
    groups = [{"params": matrices, "weight_decay": 0.01}, {"params": vectors}]
    optimizer = torch.optim.SGD(groups, lr=0.1, momentum=0.9)
    for epoch in range(2):
        losses = []
        for step, (images, labels) in enumerate(batches.epoch(epoch)):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(protocol, epoch + step / 44)
            loss = F.cross_entropy(model(images), labels, label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
            losses.append(loss.item())
        assert run.metrics.train_loss[epoch] == pytest.approx(sum(losses) / 44, rel=1e-5)


def test_the_seed_decides_and_the_callers_generator_does_not(tmp_path):
    protocol = change(SMALL, augmentation="flip_crop", mixup_alpha=0.2, epochs=1)
    runs = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        torch.manual_seed(len(runs))
        state = torch.get_rng_state()
        runs.append(measured(fit(tmp_path / name, small_net(dropout=0.3), protocol, seed=seed)))
        assert torch.equal(torch.get_rng_state(), state)
    assert runs[0].equals(runs[1]) and not runs[0].equals(runs[2])


def test_averaged_weights_are_tested_and_returned(tmp_path):
    model = small_net()
    run = fit(tmp_path, model, change(SMALL, ema_decay=0.9, validation=0.2))
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
    protocol = change(SMALL, epochs=4, validation=0.2, test_every=every)
    run = fit(tmp_path, protocol=protocol)
    tested = run.metrics.dropna(subset=["test_loss", "test_accuracy"])
    assert tested.epoch.tolist() == epochs
    assert run.metrics.validation_accuracy.notna().all()
    assert run.summary["test_accuracy"] == tested.test_accuracy.iloc[-1]


@pytest.mark.parametrize(
    "options",
    [
        {"precision": "bfloat16"},
        {"channels_last": True, "optimizer": "rmsprop", "learning_rate": 0.016},
        {"cutmix_alpha": 1.0, "mixup_alpha": 1.0},
        {"augmentation": "autoaugment", "channels": 1},
    ],
)
def test_options_train(tmp_path, options):
    run = fit(tmp_path, protocol=change(SMALL, **options))
    assert run.metrics.train_loss.iloc[-1] < run.metrics.train_loss.iloc[0]


def test_a_loss_that_is_no_number_stops_early_and_keeps_the_last_checkpoint(tmp_path):
    class Breaking(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.calls = small_net(), 0

        def forward(self, x):
            self.calls += self.training
            return self.net(x) * (float("nan") if self.calls > 8 else 1)

    folder = tmp_path / "breaking"
    with pytest.raises(Diverged, match=r"the loss is nan in epoch 2, after 6 batches: lower learn"):
        fit(folder, Breaking())
    run = Run.read(folder)
    assert run.summary["state"] == "interrupted" and "the loss is nan" in run.summary["reason"]
    assert len(run.metrics) == 1
    saved, progress = checkpoint.load(folder / checkpoint.NAME)
    assert progress["epoch"] == 1 and all(t.isfinite().all() for t in saved.values())


ADAMW = {
    "optimizer": "adamw", "schedule": "one_cycle", "channels_last": True, "test_every": 0,
    "learning_rate": 0.01,
}  # fmt: skip


@pytest.mark.parametrize(
    ("number", "options"), [(signal.SIGTERM, {}), (signal.SIGINT, {}), (signal.SIGTERM, ADAMW)]
)
def test_a_signal_saves_at_the_next_batch_and_the_rest_is_the_same(tmp_path, number, options):
    protocol = change(SMALL, ema_decay=0.9, augmentation="flip_crop", **options)
    whole = fit(tmp_path / "whole", small_net(dropout=0.3), protocol)

    class Told(nn.Sequential):
        left = 9

        def forward(self, x):
            self.left -= self.training
            if not self.left:
                os.kill(os.getpid(), number)
            return super().forward(x)

    folder = tmp_path / "told"
    before = signal.getsignal(number)
    with pytest.raises(Interrupted, match="stopped in epoch 2 after 3 of 6 batches; continue it"):
        fit(folder, Told(*small_net(dropout=0.3)), protocol)
    assert signal.getsignal(number) is before
    assert Run.read(folder).summary["state"] == "interrupted"
    resumed = fit(folder, small_net(seed=5, dropout=0.3), protocol, resume=True)
    assert measured(resumed).equals(measured(whole))
    assert resumed.summary["state"] == "finished"


def test_a_finished_run_is_left_as_it_is(tmp_path):
    model, again = small_net(), small_net(seed=5)
    protocol = change(SMALL, ema_decay=0.5)
    run = fit(tmp_path, model, protocol)
    before = (tmp_path / "summary.json").read_bytes()
    assert fit(tmp_path, again, protocol, resume=True).summary == run.summary
    assert (tmp_path / "summary.json").read_bytes() == before
    for one, other in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)


def test_what_cannot_be_continued_is_refused(tmp_path):
    fit(tmp_path, protocol=change(SMALL, epochs=1))
    with pytest.raises(ResultError, match="holds a run already: continue it with --resume"):
        fit(tmp_path)
    with pytest.raises(
        ResultError, match=r"was started with protocol\.epochs = 1 and this one has"
    ):
        fit(tmp_path, resume=True)
    whole = (tmp_path / checkpoint.NAME).read_bytes()
    (tmp_path / checkpoint.NAME).write_bytes(whole[:-10])
    with pytest.raises(ValueError, match="is no whole checkpoint"):
        fit(tmp_path, protocol=change(SMALL, epochs=1), resume=True)
    with pytest.raises(ProtocolError, match="batch_size is 512 and there are 200 training images"):
        fit(tmp_path / "other", protocol=change(SMALL, batch_size=512))
    assert not (tmp_path / "other").exists()


class Aux(nn.Module):
    def forward(self, x):
        return x, x


UNFIT = {
    "image size": (
        lambda: small_net(), {"image_size": 9},
        r"cannot take images of 1×9×9 .*: set channels, image_size or test_image_size; it says: ",
    ),
    "test size": (lambda: small_net(), {"test_image_size": 9}, "cannot take images of 1×9×9 "),
    "last size": (
        lambda: small_net(), {"stages": 2, "start_image_size": 8, "image_size": 9},
        "cannot take images of 1×9×9 ",
    ),
    "channels": (lambda: small_net(), {"channels": 3}, "cannot take images of 3×8×8 "),
    "few classes": (
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 9)), {},
        r"gives a tensor of \(1, 9\) for one image of 1×8×8, and digits has 10 classes: its output",
    ),
    "no logits": (lambda: nn.Conv2d(1, 10, 3), {}, r"gives a tensor of \(1, 10, 6, 6\) for one im"),
    "two outputs": (Aux, {}, "gives a tuple for one image"),
    "none held out": (lambda: small_net(), {"validation": 0.001}, r"validation is 0\.001 of 200 "),
}  # fmt: skip


@pytest.mark.parametrize("case", UNFIT)
def test_a_model_that_does_not_fit_is_refused_before_anything_is_recorded(tmp_path, case):
    build, options, message = UNFIT[case]
    with pytest.raises(ProtocolError, match=message) as caught:
        fit(tmp_path / "run", build(), change(SMALL, **options))
    assert "\n" not in str(caught.value) and not (tmp_path / "run").exists()


def test_channels_of_coloured_images_stay(tmp_path):
    parts = [data.Images(p.images.expand(-1, 3, -1, -1), p.labels) for p in (DIGITS.train,) * 2]
    coloured = data.DataSet.of("coloured", 10, *parts)
    with pytest.raises(ProtocolError, match="channels is 1 and the images of coloured have 3, of"):
        train(small_net(), coloured, SMALL, tmp_path, seed=0)


@pytest.mark.parametrize("options", [{"mixup_alpha": 1.0}, {"cutmix_alpha": 1.0}])
def test_more_logits_than_classes_can_be_mixed(tmp_path, options):
    wide = nn.Sequential(nn.Flatten(), nn.Linear(64, 12))
    run = fit(tmp_path, wide, change(SMALL, **options))
    assert run.metrics.train_loss.iloc[-1] < run.metrics.train_loss.iloc[0]


def test_a_shape_that_the_first_image_decides(tmp_path):
    run = fit(tmp_path, nn.Sequential(nn.Flatten(), nn.LazyLinear(10)), change(SMALL, epochs=1))
    assert run.summary["parameters"] == 64 * 10 + 10


def test_parameters_of_one_memory_are_saved_and_continued(tmp_path):
    def build():
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 10))
        model[2].weight = nn.Parameter(model[1].weight.detach())
        return model

    torch.manual_seed(0)
    fit(tmp_path, build(), change(SMALL, epochs=1))
    again = build()
    fit(tmp_path, again, change(SMALL, epochs=1), resume=True)
    saved, _ = checkpoint.load(tmp_path / checkpoint.NAME)
    assert torch.equal(saved["model.1.weight"], again[2].weight)


def test_a_checkpoint_that_is_a_folder(tmp_path):
    fit(tmp_path, protocol=change(SMALL, epochs=1))
    (tmp_path / checkpoint.NAME).unlink()
    (tmp_path / checkpoint.NAME).mkdir()
    with pytest.raises(CheckpointError, match=r"\(Is a directory\): the run is finished and its"):
        fit(tmp_path, protocol=change(SMALL, epochs=1), resume=True)


def test_parts_of_a_folder_are_refused(tmp_path):
    folders = data.ImageFolderSet("pictures", 2, None, None, "")
    with pytest.raises(ProtocolError, match="pictures is a folder of images: leave them at 0"):
        train(small_net(), folders, SMALL, tmp_path, seed=0)


def test_progress_is_shown_where_it_is_asked_for(tmp_path, capfd):
    fit(tmp_path / "quiet")
    assert capfd.readouterr() == ("", "")
    fit(tmp_path / "shown", progress=True)
    assert "12/12" in capfd.readouterr().err


LIMIT = 300  # seconds, after which processes end themselves by an alarm, as do their children

# One thread: a forked process waits for ever for the threads that its parent had.
CHILD = """
import os, signal, sys
sys.path.insert(0, {tests!r})
from tests.training import test_trainer as t

class Dying(t.nn.Sequential):
    left = None

    def forward(self, x):
        if self.training and self.left is not None:
            self.left -= 1
            if self.left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(x)

def attempt(folder, left=None, torn=False):
    signal.alarm(t.LIMIT)
    model = Dying(*t.small_net(dropout=0.3))
    model.left = left
    if torn:  # die between writing a checkpoint and putting it in place
        replace = os.replace
        def die(old, new):
            if str(new).endswith(".safetensors"):
                os.kill(os.getpid(), signal.SIGKILL)
            replace(old, new)
        os.replace = die
    t.fit(folder, model, t.KILLED, resume=True)

for left, torn in {deaths!r}:
    child = os.fork()
    if not child:
        attempt({folder!r} + "/killed", left, torn)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
for name in ("killed", "whole"):
    attempt({folder!r} + "/" + name)
"""
KILLED = change(
    SMALL, epochs=5, checkpoint_every=2, ema_decay=0.9, augmentation="flip_crop", mixup_alpha=0.2,
    optimizer="rmsprop", learning_rate=0.016, schedule="cosine",
)  # fmt: skip


@pytest.mark.slow
def test_killed_anywhere_it_ends_the_same_bit_for_bit(tmp_path):
    generator = torch.Generator().manual_seed(0)
    deaths = [(int(n), False) for n in torch.randint(1, 12, (4,), generator=generator)]
    deaths.insert(2, (None, True))
    code = CHILD.format(tests=str(Path(__file__).parents[2]), folder=str(tmp_path), deaths=deaths)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, timeout=LIMIT)
    killed, whole = Run.read(tmp_path / "killed"), Run.read(tmp_path / "whole")
    assert measured(killed).equals(measured(whole))
    saved = [checkpoint.load(run.folder / checkpoint.NAME)[0] for run in (whole, killed)]
    assert saved[0].keys() == saved[1].keys()
    for name, tensor in saved[0].items():
        assert torch.equal(tensor, saved[1][name]), name


PARALLEL = """
import signal, sys
sys.path.insert(0, {tests!r})
from tests.training import test_trainer as t

signal.alarm(t.LIMIT)
t.fit({folder!r}, t.small_net(norm=False), t.PARALLEL_PROTOCOL)
t.torch.distributed.destroy_process_group()
"""
PARALLEL_PROTOCOL = change(
    SMALL, epochs=3, ema_decay=0.9, augmentation="flip_crop", learning_rate=0.1, test_images=51,
    label_smoothing=0.1, weight_decay=1e-3, gradient_clip=1.0,
)  # fmt: skip


@pytest.mark.slow
def test_two_processes_train_as_one(tmp_path):
    alone = fit(tmp_path / "alone", small_net(norm=False), PARALLEL_PROTOCOL)
    script = tmp_path / "both.py"
    both = tmp_path / "both"
    script.write_text(PARALLEL.format(tests=str(Path(__file__).parents[2]), folder=str(both)))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [*torchrun, "--standalone", str(script)]
    subprocess.run(command, check=True, env=environment, timeout=LIMIT)
    run = Run.read(both)
    assert run.config["processes"] == run.summary["processes"] == 2
    torch.testing.assert_close(
        torch.tensor(measured(run).to_numpy()),
        torch.tensor(measured(alone).to_numpy()),
        rtol=0,
        atol=1e-5,
    )
    assert json.loads((both / "summary.json").read_text())["state"] == "finished"
