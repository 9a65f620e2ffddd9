"""Minus the evidence lower bound of every example, beside a plain computation in float64."""

from math import exp, log

import numpy as np
import pytest
import torch
from scipy import stats

from reuseprior.models import ModelError
from reuseprior.models.affine_vae import VAE, AffineVAE, Halving, Poses, divergence, misfit


def pixel(likelihood: str, value: float, made: float) -> float:
    if likelihood == "gaussian":
        return -stats.norm(made, 1).logpdf(value)
    return -value * log(made) - (1 - value) * log(1 - made)


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
def test_each_example_by_itself(likelihood):
    """In the pose they are in; one pixel after the other, in Python's floats."""
    torch.manual_seed(0)
    vae = VAE(5, 12, width=0.25)
    model = AffineVAE(vae, Poses(2), Halving(), likelihood=likelihood).double().eval()
    x = torch.rand(4, 1, 12, 12, dtype=torch.float64)
    mean, log_variance = vae.encode(x)
    made = vae.decode(mean).flatten(1).tolist()
    pixels = [
        sum(pixel(likelihood, *both) for both in zip(*one, strict=True))
        for one in zip(x.flatten(1).tolist(), made, strict=True)
    ]
    expected = torch.tensor(pixels).double() + divergence(mean, log_variance)
    found = model.losses(x, torch.zeros(4, 1).double())
    np.testing.assert_allclose(found.detach(), expected.detach(), rtol=1e-6)
    np.testing.assert_allclose(misfit(likelihood, x, vae(x)).detach(), pixels, rtol=1e-9)


def test_unknown_likelihood():
    with pytest.raises(ModelError, match="likelihood is 'poisson': choose gaussian or bernoulli"):
        misfit("poisson", torch.zeros(1, 1), torch.zeros(1, 1))
    with pytest.raises(ModelError, match="likelihood is 'poisson'"):
        AffineVAE(VAE(2, 8), Poses(2), likelihood="poisson")


def test_divergence_is_the_integral():
    """Against ∫ q log(q/p), so that log σ² means the variance's logarithm."""
    mean, log_variance = 0.7, -1.2
    q, p = stats.norm(mean, exp(log_variance / 2)), stats.norm()
    expected = q.expect(lambda z: q.logpdf(z) - p.logpdf(z))
    found = divergence(torch.tensor([[mean]]), torch.tensor([[log_variance]]))
    assert found.item() == pytest.approx(expected, rel=1e-6)
