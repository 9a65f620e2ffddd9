"""The VAE's sizes, shapes, and one sentence for what it cannot be."""

import pytest
import torch

from reuseprior.models import ModelError
from reuseprior.models.affine_vae import VAE, sample

PARAMETERS = {  # by latent size, of the published network
    2: 100_357, 4: 109_961, 6: 119_565, 7: 124_367, 8: 129_169, 9: 133_971, 16: 167_585,
    32: 244_417, 64: 398_081,
}  # fmt: skip


@pytest.mark.parametrize("latent", PARAMETERS)
def test_parameters_in_the_plane(latent):
    assert sum(p.numel() for p in VAE(latent, 40).parameters()) == PARAMETERS[latent]


def by_hand(latent: int, side: int) -> int:
    """Parameters of the network on voxels, layer by layer."""
    encoder = 32 * 5**3 + 32 * 32 * 4**3 + 64 * 32 * 3**3 + 16 * 64 * 5**3 + 16
    decoder = 16 * 32 * 4**3 + 32 * 16 * 5**3 + 16 * 16 * 5**3 + 16 * 3**3 + 1
    norms = 2 * (32 + 32 + 64 + 32 + 16 + 16)
    code = 16 * (side // 4) ** 3
    return encoder + decoder + norms + 2 * (code + 1) * latent + code * (latent + 1)


@pytest.mark.parametrize(("latent", "side"), [(16, 48), (19, 48), (22, 48), (4, 12)])
def test_parameters_in_space(latent, side):
    found = sum(p.numel() for p in VAE(latent, side, dimensions=3).parameters())
    assert found == by_hand(latent, side)


@pytest.mark.parametrize(("side", "dimensions"), [(8, 2), (12, 2), (40, 2), (8, 3), (12, 3)])
def test_shapes(side, dimensions):
    model = VAE(3, side, dimensions=dimensions, width=0.25).eval()
    x = torch.rand(2, 1, *[side] * dimensions)
    assert [part.shape for part in model.encode(x)] == [(2, 3)] * 2
    found = model(x)
    assert found.shape == x.shape and 0 < found.min() and found.max() < 1


def test_sample_has_the_variance_that_its_name_says():
    torch.manual_seed(0)
    mean, log_variance = torch.full((200_000, 1), 2.0), torch.full((200_000, 1), 4.0).log()
    z = sample(mean, log_variance)
    assert z.mean().item() == pytest.approx(2, abs=0.02)
    assert z.var().item() == pytest.approx(4, rel=0.02)  # not the deviation


@pytest.mark.parametrize(("given", "said"), [
    ({"latent": 0}, "latent is 0: a VAE needs at least 1 latent number"),
    ({"side": 30}, "side is 30: the VAE halves it twice, so choose 8 or 12 or 16 …"),
    ({"side": 4}, "side is 4: the VAE halves it twice, so choose 8 or 12 or 16 …"),
    ({"dimensions": 1}, "dimensions is 1: choose 2 for images or 3 for voxels"),
    ({"width": 0}, "width is 0: it multiplies channels, so choose more than 0"),
])  # fmt: skip
def test_what_cannot_be_built(given, said):
    with pytest.raises(ModelError) as error:
        VAE(**{"latent": 2, "side": 40} | given)
    assert str(error.value) == said


@pytest.mark.parametrize("shape", [(1, 1, 40, 28), (1, 3, 40, 40), (1, 1, 28, 28)])
def test_other_inputs(shape):
    with pytest.raises(ModelError, match=r"this VAE takes \(batch, 1, 40, 40\): pad them to equal"):
        VAE(2, 40).encode(torch.zeros(shape))


def test_one_input_of_the_least_side_cannot_be_learnt_from():
    vae = VAE(2, 8, width=0.25)
    said = "one input of side 8 leaves batch norm one value a channel to learn from: give two inpu"
    with pytest.raises(ModelError, match=said):
        vae(torch.rand(1, 1, 8, 8))
    assert vae.eval()(torch.rand(1, 1, 8, 8)).shape == (1, 1, 8, 8)
    assert vae.train()(torch.rand(2, 1, 8, 8)).shape == (2, 1, 8, 8)
