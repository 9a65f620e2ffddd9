"""What a variational autoencoder lowers: for every example a misfit and a divergence.

With z a sample their sum is, in the mean, minus the evidence lower bound. With z at its mean it is
less than that, and so is it at a pose that is free to choose, as an affine VAE's is: what it takes
to say the pose is not in it.
"""

from __future__ import annotations

from math import log, pi

import torch.nn.functional as F
from torch import Tensor

from reuseprior.models.errors import ModelError

LIKELIHOODS = ("gaussian", "bernoulli")  # Bidart 4.1.4: of images, of voxels


def check_likelihood(likelihood: str) -> None:
    """Raise `ModelError` for a likelihood that there is none of."""
    if likelihood not in LIKELIHOODS:
        raise ModelError(f"likelihood is {likelihood!r}: choose {' or '.join(LIKELIHOODS)}")


def misfit(likelihood: str, x: Tensor, reconstruction: Tensor) -> Tensor:
    """−log p(x | z) in nats, (batch,): Gaussian of variance 1, or Bernoulli, each value by itself.

    A fractional x of a Bernoulli is the chance that it is 1. Its logarithms are cut at −100, as
    torch does. Raises `ModelError` for another likelihood.
    """
    check_likelihood(likelihood)
    if likelihood == "gaussian":
        each = (x - reconstruction) ** 2 / 2 + log(2 * pi) / 2
    else:
        chance = reconstruction.clamp(0, 1)  # which interpolating may leave by a last bit
        each = F.binary_cross_entropy(chance, x, reduction="none")
    return each.flatten(1).sum(1)


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, σ²) ‖ N(0, 1)) in nats, (batch,), of means and log σ² (batch, latent)."""
    return (mean**2 + log_variance.exp() - 1 - log_variance).sum(1) / 2
