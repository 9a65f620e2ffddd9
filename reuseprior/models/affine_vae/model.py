"""The affine variational autoencoder: a VAE between an affine map and the one that undoes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import nan
from typing import NamedTuple

import torch
from torch import Tensor, nn

from reuseprior.models.affine_vae.loss import check_likelihood, divergence, misfit
from reuseprior.models.affine_vae.poses import Poses, inverse, warp
from reuseprior.models.affine_vae.search import Found, Objective
from reuseprior.models.affine_vae.vae import VAE, sample
from reuseprior.models.errors import ModelError

Search = Callable[[Objective, torch.Generator | None], Found]


class Passed(NamedTuple):
    """What a batch becomes on its way through the network."""

    reconstruction: Tensor  # (batch, 1, side, …), in the pose of the input
    mean: Tensor  # (batch, latent)
    log_variance: Tensor  # (batch, latent)
    pose: Tensor  # (batch, numbers)
    passes: int  # of the network that finding the pose took, for one example


class AffineVAE(nn.Module):
    """x → affine(α) → VAE → affine(α⁻¹) → x′, with α found by lowering the loss (eq. 4.4).

    ```python
    model = AffineVAE(VAE(6, 40), Poses(2), Halving())
    passed = model(images)  # (batch, 1, 40, 40), from 0 to 1
    passed.reconstruction, passed.pose
    ```

    `search` may be set at any time; None leaves every input in its own pose, which is the plain
    VAE. While searching, z is the mean and batch norm takes its running statistics, so examples
    of a batch know nothing of one another. In training z is a sample and the search draws from
    torch's generator, each example its own starts; otherwise z is the mean, and all examples have
    the same starts every time, so that an input's pose does not depend on its batch.

    What it lowers is the loss at the best pose. α is free: it has no prior here and costs nothing,
    while a VAE pays a divergence for every number that says as much.
    """

    def __init__(
        self, vae: VAE, poses: Poses, search: Search | None = None, *, likelihood: str = "gaussian"
    ):
        super().__init__()
        if poses.dimensions != vae.dimensions:
            raise ModelError(
                f"poses are of {poses.dimensions} dimensions and the VAE of {vae.dimensions}: give "
                "both the same"
            )
        check_likelihood(likelihood)
        self.vae, self.poses, self.search, self.likelihood = vae, poses, search, likelihood

    def forward(self, x: Tensor) -> Passed:
        found = self.find(x)
        pose = None if self.search is None else found.pose
        mean, log_variance, reconstruction = self.through(x, pose, sampled=self.training)
        return Passed(reconstruction, mean, log_variance, found.pose, found.passes)

    def find(self, x: Tensor) -> Found:
        """The pose that the search finds for every input.

        Without a search it is the pose that they are in, whose loss is not computed (NaN). Raises
        `ModelError` for an empty batch, and for an input that is all zeros, which looks the same in
        every pose.
        """
        if not len(x):
            raise ModelError("the batch is empty: give one input or more")
        if self.search is None:
            unknown = x.new_full((len(x),), nan)
            return Found(x.new_zeros(len(x), self.poses.numbers), unknown, 0)
        empty = (x.flatten(1).amax(1) == 0).nonzero()
        if len(empty):
            raise ModelError(
                f"input {empty[0].item()} of the batch is empty, so no pose can be found for it: "
                "leave empty grids out"
            )
        generator = None if self.training else torch.Generator().manual_seed(0)
        with evaluating(self.vae):
            return self.search(self.objective(x), generator)

    def objective(self, x: Tensor) -> Objective:
        """What a search for the poses of a batch lowers."""
        return Objective(lambda alpha, rows: self.losses(x[rows], alpha), len(x), self.poses, x)

    def losses(self, x: Tensor, alpha: Tensor) -> Tensor:
        """The loss of every input at a pose, in nats, (batch,), with z the mean."""
        mean, log_variance, reconstruction = self.through(x, alpha, sampled=False)
        return misfit(self.likelihood, x, reconstruction) + divergence(mean, log_variance)

    def through(
        self, x: Tensor, alpha: Tensor | None, *, sampled: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Mean, log-variance and reconstruction of inputs at poses, or as they stand (None)."""
        mean, log_variance = self.vae.encode(x if alpha is None else self.posed(x, alpha))
        reconstruction = self.vae.decode(sample(mean, log_variance) if sampled else mean)
        if alpha is not None:
            reconstruction = warp(reconstruction, inverse(self.poses.matrix(alpha)))
        return mean, log_variance, reconstruction

    def posed(self, x: Tensor, alpha: Tensor) -> Tensor:
        """Inputs as the VAE sees them at poses."""
        return warp(x, self.poses.matrix(alpha))


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Have a module evaluate for a while; each part of it goes back to the mode that it was in."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode
