"""Minus the evidence lower bound of every example, beside a plain computation in float64."""

from math import exp, log, pi

import numpy as np
import pytest
import torch
from scipy import stats

from reuseprior.models import ModelError
from reuseprior.models.affine_vae import VAE, AffineVAE, Halving, Poses, divergence, misfit


def plain(likelihood, x, reconstruction, mean, log_variance) -> list[float]:
    """One example after the other, one number after the other, in Python's floats."""
    found = []
    for example in zip(x, reconstruction, mean, log_variance, strict=True):
        pixels, made, means, logs = (part.flatten().tolist() for part in example)
        total = 0.0
        for value, other in zip(pixels, made, strict=True):
            if likelihood == "gaussian":
                total += (value - other) ** 2 / 2 + log(2 * pi) / 2
            else:
                total -= value * log(other) + (1 - value) * log(1 - other)
        for m, s in zip(means, logs, strict=True):
            total += (m * m + exp(s) - 1 - s) / 2
        found.append(total)
    return found


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
def test_each_example_by_itself(likelihood):
    torch.manual_seed(0)
    vae = VAE(5, 12, width=0.25)
    model = AffineVAE(vae, Poses(2), Halving(), likelihood=likelihood).double().eval()
    x, alpha = torch.rand(4, 1, 12, 12, dtype=torch.float64), torch.zeros(4, 1)
    found = model.losses(x, alpha.double())  # in the pose they are in
    mean, log_variance = vae.encode(x)
    expected = plain(likelihood, x, vae.decode(mean), mean, log_variance)
    np.testing.assert_allclose(found.detach(), expected, rtol=1e-9)
    np.testing.assert_allclose(
        (misfit(likelihood, x, vae(x)) + divergence(mean, log_variance)).detach(), found.detach()
    )


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


def test_gaussian_is_a_density():
    x, other = torch.tensor([[0.2, 0.9]]), torch.tensor([[0.5, 0.4]])
    expected = -stats.norm(other, 1).logpdf(x).sum()
    assert misfit("gaussian", x, other).item() == pytest.approx(expected, rel=1e-6)
