"""Autoencoders through the trainer: resumed bit for bit, tested at fixed transforms, or refused."""

import pytest
import torch

from reuseprior import data
from reuseprior.data import DataSet, Images
from reuseprior.models.affine_vae import VAE, AffineVAE, Halving, Transforms, misfit
from reuseprior.training import Protocol, ProtocolError, train
from reuseprior.training.batches import Share
from reuseprior.training.task import Reconstruction
from tests.training.runs import check_resumed

PROTOCOL = Protocol(
    epochs=2, batch_size=16, optimizer="adamw", learning_rate=1e-2, channels=1, train_images=64,
    test_images=20,
)  # fmt: skip
TASK = Reconstruction(12, Transforms(2), "bernoulli")
PLACE = {"device": torch.device("cpu"), "share": Share()}


def model():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        vae = VAE(3, 12, width=0.25)
    return AffineVAE(vae, Transforms(2), Halving(4, ((2, 1),)), likelihood="bernoulli")


def fit(folder, built, known=None, protocol=PROTOCOL, task=TASK, **options):
    options |= {"seed": 3, "task": task, "progress": False}
    return train(built, known or data.load("digits"), protocol, folder, **options)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    built = model()
    return built, fit(tmp_path_factory.mktemp("run") / "whole", built)


def test_stopped_and_resumed_it_ends_the_same(tmp_path, whole):
    check_resumed(fit, model, tmp_path, whole, 6)


@pytest.mark.slow
def test_voxels_are_learnt(tmp_path):
    """A few boxes in space, through the whole way: task, search, trainer."""
    generator = torch.Generator().manual_seed(0)
    sizes = torch.randint(2, 7, (16, 3), generator=generator)
    grids = torch.zeros(16, 1, 8, 8, 8, dtype=torch.uint8)
    for grid, (a, b, c) in zip(grids, sizes.tolist(), strict=True):
        grid[0, :a, :b, :c] = 255
    part = Images(grids, torch.zeros(16, dtype=torch.int64))
    transforms = Transforms(3, translation=True)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        vae = VAE(2, 12, dimensions=3, width=0.25)
    built = AffineVAE(vae, transforms, Halving(2, ((1, 1),)), likelihood="bernoulli")
    protocol = Protocol(epochs=4, batch_size=4, learning_rate=4e-2, channels=1, optimizer="adamw")
    boxes = DataSet.of("boxes", 1, part, part.take(slice(4)))
    found = fit(
        tmp_path / "run", built, boxes, protocol, Reconstruction(12, transforms, "bernoulli")
    )
    assert found.config["poses"] == {"dimensions": 3, "translation": True}
    assert found.metrics.train_loss.iloc[-1] < 0.9 * found.metrics.train_loss.iloc[0]
    assert set(found.metrics.train_passes) == {2 + 2 + 1}


def test_what_is_recorded_are_measures_of_the_examples(whole):
    built, found = whole
    about = {key: found.config[key] for key in ("task", "side", "likelihood", "poses")}
    assert about == {
        "task": "reconstruction", "side": 12, "likelihood": "bernoulli",
        "poses": {"dimensions": 2, "translation": False},
    }  # fmt: skip
    assert set(found.metrics.train_passes) == set(found.metrics.test_passes) == {4 + 2 * 2 + 2}
    assert found.metrics.test_loss.iloc[-1] < found.metrics.test_loss.iloc[0]
    images = data.load("digits").subset(64, 20, seed=0).test
    built.eval()
    losses, squares = [], []
    with torch.no_grad():
        for x, _ in TASK.batches(images, PROTOCOL, seed=9, **PLACE).once():
            losses.append(built.losses(x, built.find(x).transform))
            squares.append(((built(x).reconstruction - x) ** 2).flatten(1).mean(1))
    for name, each in (("loss", losses), ("mse", squares)):
        assert found.summary[f"test_{name}"] == pytest.approx(torch.cat(each).mean().item(), 1e-5)


def test_transforms_of_batches():
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
    found = Reconstruction(8, None, "bernoulli", pooled=2).grids(grids, None)
    assert found.shape == (2, 1, 8, 8, 8)
    assert found[0, 0, 2, 2, 2] == 0.5 and found[0].sum() == 0.5


@pytest.mark.parametrize("transforms", [Transforms(2), Transforms(3, translation=True)], ids=str)
def test_turned_grids_are_chances(transforms):
    """Full grids, whose interpolated values would round to more than 1."""
    full = torch.full((40, 1, *[8] * transforms.dimensions), 255, dtype=torch.uint8)
    task = Reconstruction(16, transforms, "bernoulli")
    found = task.grids(full, transforms.draw(40, torch.Generator().manual_seed(0)))
    assert found.min() >= 0 and found.max() <= 1
    assert torch.isfinite(misfit("bernoulli", found, found + 1e-7)).all()


def grey(*shape, value=1):
    part = Images(torch.full(shape, value, dtype=torch.uint8), torch.zeros(16, dtype=torch.int64))
    return DataSet.of("mine", 1, part, part)


def in_space():
    return AffineVAE(VAE(3, 12, dimensions=3, width=0.25), Transforms(3), likelihood="bernoulli")


CUBES, IN_SPACE = grey(16, 1, 8, 8, 8), Reconstruction(12, Transforms(3), "bernoulli")
REFUSED = [
    (model, grey(16, 1, 8, 8, value=0), {}, TASK, "grid 0 of a part of mine is"),
    (model, grey(16, 3, 8, 8), {}, TASK, "mine has 3 channels and recon"),
    (model, CUBES, {}, TASK, "of 3 dimensions and reconstruction is set up for 2: give both the"),
    (model, None, {}, Reconstruction(12), "the model searches by the bernoulli likelihood"),
    (in_space, CUBES, {"channels_last": True}, IN_SPACE, "channels_last is true, which orders im"),
]


@pytest.mark.parametrize(("build", "known", "options", "task", "said"), REFUSED)
def test_what_cannot_be_trained(tmp_path, build, known, options, task, said):
    protocol = Protocol(epochs=1, batch_size=16, channels=1, **options)
    with pytest.raises(ProtocolError, match=said):
        fit(tmp_path / "run", build(), known, protocol, task)
    assert not (tmp_path / "run").exists()
    with pytest.raises(ProtocolError, match="likelihood is 'poisson': choose gaussian or berno"):
        Reconstruction(12, likelihood="poisson")
