"""Autoencoders through the trainer: resumed bit for bit, tested at fixed poses, or refused."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from reuseprior import data
from reuseprior.data import DataSet, Images
from reuseprior.models.affine_vae import VAE, AffineVAE, Halving, Poses, misfit
from reuseprior.training import Interrupted, Protocol, ProtocolError, checkpoint, train
from reuseprior.training.batches import Share
from reuseprior.training.reconstruction import Reconstruction

PROTOCOL = Protocol(
    epochs=2, batch_size=16, optimizer="adamw", learning_rate=1e-2, channels=1, train_images=64,
    test_images=20,
)  # fmt: skip
TASK = Reconstruction(12, Poses(2), "bernoulli")
PLACE = {"device": torch.device("cpu"), "share": Share()}
TIMES = ["images_per_second", "seconds"]


class Stopping(AffineVAE):
    """Tells its own process to stop in its third batch, as somebody outside might."""

    left, by = 0, signal.SIGTERM

    def forward(self, x):
        self.left -= self.training
        if self.training and not self.left:
            os.kill(os.getpid(), self.by)
        return super().forward(x)


def model(kind=AffineVAE):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        vae = VAE(3, 12, width=0.25)
    return kind(vae, Poses(2), Halving(4, ((2, 1),)), likelihood="bernoulli")


def run(folder, built=None, **options):
    built = built or model()
    found = train(
        built, data.load("digits"), PROTOCOL, folder, seed=3, task=TASK, progress=False, **options
    )
    return built, found


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return run(tmp_path_factory.mktemp("run") / "whole")


@pytest.mark.parametrize("batch", [2, 6])  # in the first epoch, and in the second
def test_killed_and_resumed_it_ends_the_same(tmp_path, whole, batch):
    stopping = model(Stopping)
    stopping.left = batch
    with pytest.raises(Interrupted):
        run(tmp_path / "run", stopping)
    resumed, found = run(tmp_path / "run", resume=True)
    expected, of_whole = whole
    for name, tensor in expected.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name
    assert found.metrics.drop(columns=TIMES).equals(of_whole.metrics.drop(columns=TIMES))
    held, _ = checkpoint.load(found.folder / checkpoint.NAME)
    same, _ = checkpoint.load(of_whole.folder / checkpoint.NAME)
    assert all(torch.equal(held[name], tensor) for name, tensor in same.items())


KILLED = """
import signal, sys
sys.path.insert(0, {tests!r})
from tests.training import test_reconstruction as t

signal.alarm(120)
stopping = t.model(t.Stopping)
stopping.left, stopping.by = 6, signal.SIGKILL  # in the second epoch
t.run({folder!r}, stopping)
"""


@pytest.mark.slow
def test_shot_and_resumed_it_ends_the_same(tmp_path, whole):
    """A process that cannot write another word goes on from the checkpoint of its first epoch."""
    code = KILLED.format(tests=str(Path(__file__).parents[2]), folder=str(tmp_path / "run"))
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    child = subprocess.run([sys.executable, "-c", code], env=environment, timeout=180)
    assert child.returncode == -signal.SIGKILL
    resumed, _ = run(tmp_path / "run", resume=True)
    for name, tensor in whole[0].state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


@pytest.mark.slow
def test_voxels_are_learnt(tmp_path):
    """A few boxes in space, through the whole way: task, search, trainer."""
    generator = torch.Generator().manual_seed(0)
    sizes = torch.randint(2, 7, (24, 3), generator=generator)
    grids = torch.zeros(24, 1, 8, 8, 8, dtype=torch.uint8)
    for grid, (a, b, c) in zip(grids, sizes.tolist(), strict=True):
        grid[0, :a, :b, :c] = 255
    part = Images(grids, torch.zeros(24, dtype=torch.int64))
    poses = Poses(3, translation=True)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        vae = VAE(2, 12, dimensions=3, width=0.25)
    built = AffineVAE(vae, poses, Halving(2, ((1, 1),)), likelihood="bernoulli")
    protocol = Protocol(epochs=8, batch_size=8, learning_rate=2e-2, channels=1, optimizer="adamw")
    found = train(
        built, DataSet.of("boxes", 1, part, part.take(slice(8))), protocol, tmp_path / "run",
        seed=0, task=Reconstruction(12, poses, "bernoulli"), progress=False,
    )  # fmt: skip
    assert found.config["poses"] == {"dimensions": 3, "translation": True}
    assert found.metrics.train_loss.iloc[-1] < 0.85 * found.metrics.train_loss.iloc[0]
    assert set(found.metrics.train_passes) == {2 + 2 + 1}


def test_what_is_recorded(whole):
    _, found = whole
    config, passes = found.config, 4 + 2 * 2 + 2
    assert (config["task"], config["side"], config["likelihood"]) == (
        "reconstruction", 12, "bernoulli",
    )  # fmt: skip
    assert config["poses"] == {"dimensions": 2, "translation": False}
    assert set(found.metrics.train_passes) == set(found.metrics.test_passes) == {passes}
    assert found.metrics.test_loss.iloc[-1] < found.metrics.test_loss.iloc[0]
    assert TASK.shown == ("loss", "passes")


def test_measures_are_those_of_the_examples(whole):
    built, found = whole
    images = data.load("digits").subset(64, 20, seed=0).test
    built.eval()
    losses, squares = [], []
    with torch.no_grad():
        for x, _ in TASK.batches(images, PROTOCOL, seed=9, **PLACE).once():
            losses.append(built.losses(x, built.find(x).pose))
            squares.append(((built(x).reconstruction - x) ** 2).flatten(1).mean(1))
    assert found.summary["test_loss"] == pytest.approx(torch.cat(losses).mean().item(), rel=1e-5)
    assert found.summary["test_mse"] == pytest.approx(torch.cat(squares).mean().item(), rel=1e-5)


def test_poses_of_batches():
    digits = data.load("digits").train.take(slice(40))

    def first(task, seed, epoch=None):
        batches = task.batches(digits, PROTOCOL, seed=seed, **PLACE)
        return next(batches.once() if epoch is None else batches.epoch(epoch))[0]

    upright = Reconstruction(12, None, "bernoulli")
    assert torch.equal(first(TASK, 0), first(TASK, 1))  # tests see the same, whatever the seed
    assert torch.equal(first(TASK, 0, 1), first(TASK, 0, 1))
    assert not torch.equal(first(TASK, 0, 0), first(TASK, 0, 1))
    assert torch.equal(first(upright, 0)[:, :, 2:10, 2:10] * 255, digits.images[:16].float())
    batches = TASK.batches(digits, PROTOCOL, seed=0, **PLACE)
    rest = list(batches.epoch(0, first=1))
    assert torch.equal(rest[0][0], list(batches.epoch(0))[1][0])  # taken up in the middle


def test_voxels_are_pooled():
    grids = torch.zeros(2, 1, 8, 8, 8, dtype=torch.uint8)
    grids[:, :, :2, :2, 0] = 255
    task = Reconstruction(8, None, "bernoulli", pooled=2)
    found = task.grids(grids, None)
    assert found.shape == (2, 1, 8, 8, 8)
    assert found[0, 0, 2, 2, 2] == 0.5 and found[0].sum() == 0.5


@pytest.mark.parametrize("poses", [Poses(2), Poses(3, translation=True)], ids=str)
def test_turned_grids_are_chances(poses):
    """Full grids, whose interpolated values would round to more than 1."""
    full = torch.full((40, 1, *[8] * poses.dimensions), 255, dtype=torch.uint8)
    task = Reconstruction(16, poses, "bernoulli")
    found = task.grids(full, poses.draw(40, torch.Generator().manual_seed(0)))
    assert found.min() >= 0 and found.max() <= 1
    assert torch.isfinite(misfit("bernoulli", found, found + 1e-7)).all()


def grey(images):
    part = Images(images, torch.zeros(len(images), dtype=torch.int64))
    return DataSet.of("mine", 1, part, part)


@pytest.mark.parametrize(
    ("set_", "task", "said"),
    [
        (grey(torch.zeros(16, 1, 8, 8, dtype=torch.uint8)), TASK, "grid 0 of a part of mine is"),
        (grey(torch.ones(16, 3, 8, 8, dtype=torch.uint8)), TASK, "mine has 3 channels and recon"),
        (
            grey(torch.ones(16, 1, 8, 8, 8, dtype=torch.uint8)),
            TASK,
            "mine has grids of 3 dimensions and reconstruction is set up for 2: give both the same",
        ),
        (data.load("digits"), Reconstruction(12), "the model searches by the bernoulli likelihood"),
    ],
)
def test_what_cannot_be_trained(tmp_path, set_, task, said):
    with pytest.raises(ProtocolError, match=said):
        train(
            model(), set_, Protocol(epochs=1, batch_size=16, channels=1), tmp_path / "run",
            seed=0, task=task, progress=False,
        )  # fmt: skip
    assert not (tmp_path / "run").exists()


def test_voxels_in_the_order_of_images(tmp_path):
    cubes = grey(torch.ones(16, 1, 8, 8, 8, dtype=torch.uint8))
    protocol = Protocol(epochs=1, batch_size=16, channels=1, channels_last=True)
    built = AffineVAE(VAE(3, 12, dimensions=3, width=0.25), Poses(3), likelihood="bernoulli")
    with pytest.raises(ProtocolError, match="channels_last is true, which orders images and not"):
        train(
            built, cubes, protocol, tmp_path / "run", seed=0, progress=False,
            task=Reconstruction(12, Poses(3), "bernoulli"),
        )  # fmt: skip


def test_unknown_likelihood():
    with pytest.raises(ProtocolError, match="likelihood is 'poisson': choose gaussian or berno"):
        Reconstruction(12, likelihood="poisson")
