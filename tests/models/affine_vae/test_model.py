"""The network between two affine maps: its slopes, its randomness, and what it refuses."""

from contextlib import suppress

import pytest
import torch

from reuseprior.models import ModelError
from reuseprior.models.affine_vae import VAE, AffineVAE, Halving, Poses, Restarts


def blob(side: int, dimensions: int, batch: int = 3) -> torch.Tensor:
    """Smooth inputs that differ in every pose."""
    axis = (2 * torch.arange(side) + 1) / side - 1
    places = torch.stack(torch.meshgrid(*[axis] * dimensions, indexing="ij"))
    centres = torch.tensor([[0.4, 0.1, -0.2], [-0.2, 0.3, 0.1]])[:, :dimensions]
    shape = (-1, *[1] * dimensions)
    away = [((places - centre.view(shape)) ** 2).sum(0) for centre in centres]
    one = (-12 * away[0]).exp() + (-4 * away[1]).exp()
    return (one / one.max())[None, None].repeat(batch, 1, *[1] * dimensions)


@pytest.mark.parametrize("translation", [False, True])
@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
def test_slopes_are_those_of_finite_differences(dimensions, translation, likelihood):
    torch.manual_seed(0)
    side, poses = (16 if dimensions == 2 else 8), Poses(dimensions, translation)
    vae = VAE(3, side, dimensions=dimensions, width=0.25)
    model = AffineVAE(vae, poses, Halving(), likelihood=likelihood).double().eval()
    x = blob(side, dimensions, 2).double()
    alpha = poses.draw(2, torch.Generator().manual_seed(3)).double()[None] / 3
    _, slopes = model.objective(x).slopes(alpha)
    step = 1e-6
    for number in range(poses.numbers):
        there, back = alpha.clone(), alpha.clone()
        there[..., number] += step
        back[..., number] -= step
        objective = model.objective(x)
        expected = (objective.losses(there) - objective.losses(back)) / (2 * step)
        torch.testing.assert_close(slopes[..., number], expected, rtol=1e-3, atol=1e-4)
    assert slopes.abs().min() > 0


def test_without_a_search_it_is_the_vae():
    torch.manual_seed(0)
    model = AffineVAE(VAE(3, 12, width=0.25), Poses(2)).eval()
    x = torch.rand(2, 1, 12, 12)
    passed = model(x)
    assert torch.equal(passed.reconstruction, model.vae(x))
    assert passed.passes == 0 and not passed.pose.any()


def test_passes_and_modes():
    torch.manual_seed(0)
    model = AffineVAE(VAE(3, 12, width=0.25), Poses(2), Halving(4, ((2, 1),)))
    x = blob(12, 2)
    norm = model.vae.encoder[1].running_mean.clone()
    found = model.find(x)
    assert torch.equal(model.vae.encoder[1].running_mean, norm)  # a search leaves no trace
    assert model.vae.training and all(p.grad is None for p in model.parameters())
    assert found.passes == 4 + 2 * 2 + 2
    model.eval()
    assert torch.equal(model(x).pose, model(x).pose)  # the same draws every time
    alone, together = model(x[:1]).reconstruction, model(x).reconstruction[:1]
    torch.testing.assert_close(alone, together)


SEARCHES = pytest.mark.parametrize(
    "search", [Restarts(6, 3, 4), Halving(6, ((3, 2), (1, 3)))], ids=lambda s: s.name
)


@SEARCHES
def test_a_pose_does_not_depend_on_its_batch(search):
    """Shuffled, in batches of other sizes, alone, twice the same: the same pose in evaluation."""
    torch.manual_seed(0)
    model = AffineVAE(VAE(3, 12, width=0.25), Poses(2, translation=True), search).double().eval()
    x = torch.rand(7, 1, 12, 12, dtype=torch.float64)
    x[5] = x[1]
    whole, order = model.find(x).pose, torch.randperm(7)
    assert torch.allclose(whole[5], whole[1], atol=1e-7)
    assert torch.allclose(model.find(x[order]).pose, whole[order], atol=1e-7)
    for size in (1, 3):
        found = torch.cat([model.find(part).pose for part in x.split(size)])
        assert torch.allclose(found, whole, atol=1e-7)
    assert len(whole[:5].unique(dim=0)) == 5  # of different inputs
    model.train()
    assert not torch.allclose(model.find(x).pose[5], model.find(x).pose[1])  # starts of their own


@SEARCHES
def test_another_dtype(search):
    torch.manual_seed(0)
    model = AffineVAE(VAE(3, 12, width=0.25), Poses(2), search).double().eval()
    passed = model(blob(12, 2).double())
    assert {part.dtype for part in passed[:-1]} == {torch.float64}


class Failing:
    def __call__(self, objective, generator):
        raise RuntimeError("nothing found")


@pytest.mark.parametrize("search", [Restarts(2, 1, 1), Failing()], ids=["found", "failed"])
def test_every_part_goes_back_to_its_mode(search):
    model = AffineVAE(VAE(3, 12, width=0.25), Poses(2), search)
    model.vae.encoder[1].eval()  # frozen by somebody
    modes = [part.training for part in model.modules()]
    with suppress(RuntimeError):
        model.find(blob(12, 2))
    assert [part.training for part in model.modules()] == modes


def test_an_empty_batch_and_an_empty_grid():
    model = AffineVAE(VAE(3, 8, dimensions=3, width=0.25), Poses(3), Restarts(2, 1, 1))
    with pytest.raises(ModelError, match="the batch is empty: give one input or more"):
        model(torch.zeros(0, 1, 8, 8, 8))
    said = "^input 1 of the batch is empty, so no pose can be found for it: leave empty grids out$"
    with pytest.raises(ModelError, match=said):
        model(torch.stack([blob(8, 3, 1)[0], torch.zeros(1, 8, 8, 8)]))


def test_dimensions_differ():
    with pytest.raises(ModelError, match="poses are of 3 dimensions and the VAE of 2: give both"):
        AffineVAE(VAE(3, 8), Poses(3))
