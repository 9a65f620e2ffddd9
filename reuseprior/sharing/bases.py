"""Learning what to share: weights drawn to a few bases as they train, then quantised (Bidart).

A layer's basis is a small set of values, or of whole kernels, that learns together with the
weights. A penalty on the loss draws every weight there: less the log of a mixture of Gaussian or
Laplace densities about the basis (equations 3.1 to 3.4), or the distance to the nearest member
(3.5, and 3.6 for kernels). `quantise` then puts the nearest member in place of each weight, so that
the basis is all that is stored beside the assignment.

Not printed, and ours: τ, the proportions and spreads to begin with, and where a basis begins.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from fnmatch import fnmatchcase
from math import log, pi

import torch
from torch import Tensor, nn

from reuseprior.errors import did_you_mean
from reuseprior.sharing.channels import CONVOLUTIONS, first_convolution
from reuseprior.sharing.scopes import SharingError
from reuseprior.sharing.weights import Parametrization, attach, parametrized, shareable

NARROWEST = 1e-2  # of a component, in spacings of the basis; a narrower one has no largest density


def log_gaussian_mixture(w: Tensor, proportions: Tensor, means: Tensor, deviations: Tensor):
    """log Σ_j π_j N(w | μ_j, σ_j²) for each w (equation 3.1).

    >>> one = torch.ones(1)
    >>> log_gaussian_mixture(torch.zeros(1), one, 0 * one, one).exp()  # 1 / √2π
    tensor([0.3989])
    """
    z = (w[..., None] - means) / deviations
    return torch.logsumexp(proportions.log() - deviations.log() - (z**2 + log(2 * pi)) / 2, -1)


def log_laplace_mixture(w: Tensor, proportions: Tensor, means: Tensor, scales: Tensor):
    """log Σ_j π_j exp(−|w − μ_j| / b_j) / 2b_j for each w (equation 3.4).

    >>> one = torch.ones(1)
    >>> log_laplace_mixture(torch.zeros(1), one, 0 * one, one).exp()
    tensor([0.5000])
    """
    z = (w[..., None] - means).abs() / scales
    return torch.logsumexp(proportions.log() - (2 * scales).log() - z, -1)


def distance_to_values(weights: Tensor, basis: Tensor, p: float = 2) -> Tensor:
    """Σ_j min_i |w_j − b_i|^p (equation 3.5).

    A p-norm of one number is its absolute value whatever p is; the text's "l2 loss" is read as the
    p-th power.

    >>> distance_to_values(torch.tensor([1.0, 5.0]), torch.tensor([0.0, 3.0]))
    tensor(5.)
    """
    return _power((weights.reshape(-1, 1) - basis).abs().amin(1), p).sum()


def distance_to_kernels(kernels: Tensor, basis: Tensor, p: float = 2) -> Tensor:
    """Σ_j (min_i ‖k_j − b_i‖₂)^p over kernels (n, size) and a basis (m, size) (equation 3.6).

    >>> distance_to_kernels(torch.tensor([[3.0, 4.0]]), torch.zeros(1, 2), p=1)
    tensor(5.)
    """
    return _power((kernels[:, None] - basis).square().sum(-1).amin(1), p / 2).sum()


def _power(x: Tensor, p: float) -> Tensor:
    """x^p for x ≥ 0, whose gradient at 0 is taken as 0 where there is none (p < 1)."""
    return torch.where(x > 0, x, 1) ** p * (x > 0)


def distances(points: Tensor, basis: Tensor) -> Tensor:
    """‖p_i − b_j‖₂ of points (n, size) from a basis (m, size), (n, m); exactly 0 for equal ones."""
    return torch.cdist(points, basis, compute_mode="donot_use_mm_for_euclid_dist")


MIXTURES = ("gaussian", "laplace")
PENALTIES = (*MIXTURES, "values", "kernels")


class Basis(nn.Module):
    """The basis of one layer, and what its weights cost there.

    `members` (size,), or (size, …kernel) with the penalty `kernels`, learn; so do a mixture's
    proportions and spreads.
    """

    def __init__(self, weight: Tensor, penalty: str, size: int, p: float):
        super().__init__()
        self.penalty, self.p = penalty, p
        weight = weight.detach()
        if penalty == "kernels":
            kernels = weight.flatten(0, 1)
            chosen = torch.randperm(len(kernels))[:size]
            self.members = nn.Parameter(kernels[chosen].clone())
            return
        middle = (torch.arange(size) + 0.5) / size
        order = weight.reshape(-1).sort().values
        self.members = nn.Parameter(order[(middle * len(order)).long()].clone())
        if penalty != "values":
            spacing = (order[-1] - order[0]) / size
            self.register_buffer("narrowest", NARROWEST * spacing)
            self.logits = nn.Parameter(torch.zeros_like(self.members))
            self.log_spreads = nn.Parameter(torch.full_like(self.members, float(spacing.log())))

    def forward(self, weight: Tensor) -> Tensor:
        """What the weights of the layer cost: the sum that the equations have."""
        if self.penalty == "kernels":
            kernels = weight.flatten(0, 1).flatten(1)
            return distance_to_kernels(kernels, self.members.flatten(1), self.p)
        if self.penalty == "values":
            return distance_to_values(weight, self.members, self.p)
        mixture = log_gaussian_mixture if self.penalty == "gaussian" else log_laplace_mixture
        spreads = self.narrowest + self.log_spreads.exp()
        return -mixture(weight.reshape(-1), self.logits.softmax(0), self.members, spreads).sum()

    @torch.no_grad()
    def fit(self, weight: Tensor) -> None:
        """Move the members, and not the weights, to where distances are least: k-means."""
        from scipy.cluster.vq import kmeans2  # half a second, for clusters alone

        points = weight.flatten(0, 1) if self.penalty == "kernels" else weight.reshape(-1, 1)
        start = self.members.reshape(len(self.members), -1)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "One of the clusters is empty")  # and so it stays
            centres, _ = kmeans2(
                *(x.flatten(1).double().cpu().numpy() for x in (points, start)),
                minit="matrix", iter=50,
            )  # fmt: skip
        self.members.copy_(torch.as_tensor(centres).reshape(self.members.shape))

    def nearest(self, weight: Tensor) -> Tensor:
        """Which member is nearest: an index for each weight, or (out, in) with `kernels`."""
        if self.penalty == "kernels":
            kernels = weight.flatten(0, 1).flatten(1)
            indices = distances(kernels, self.members.flatten(1)).argmin(1)
            return indices.reshape(weight.shape[:2])
        return (weight[..., None] - self.members).abs().argmin(-1)


class Clustered(nn.Module):
    """A model whose convolutions are drawn to a basis each while it trains (equation 3.2).

    In training it gives (outputs, τ · penalty), for `training.Penalised`; in evaluation the
    model's outputs alone.

    `penalty` is `gaussian`, `laplace`, `values` or `kernels`, and `size` how many members each
    basis has. `layers` are patterns of names; without them it is all convolutions but the first,
    and with `kernels` those alone whose kernel is larger than 1. Draws from torch's generator where
    kernels begin.

    Raises `SharingError` for an unknown penalty, a size below 1 or above what a layer has, τ below
    0, p of 0 or less, layers that are not there or, for a mixture, of equal weights, and as
    `weights.shareable` does.
    """

    def __init__(
        self, model: nn.Module, penalty: str, size: int = 16, *, tau: float, p: float = 2,
        layers: str | Iterable[str] | None = None,
    ):  # fmt: skip
        super().__init__()
        if penalty not in PENALTIES:
            raise SharingError(
                f"unknown penalty {penalty!r}{did_you_mean(penalty, PENALTIES)}: choose from "
                f"{', '.join(PENALTIES)}"
            )
        if not (tau >= 0 and p > 0):
            raise SharingError(f"tau is {tau} and p {p}: tau must be 0 or more, and p above 0")
        chosen = _layers(model, penalty, layers)
        for name, layer in chosen.items():
            weight = layer.weight
            if penalty in MIXTURES and weight.min() == weight.max():
                raise SharingError(
                    f"all weights of layer {name!r} are equal, which a mixture cannot begin with: "
                    "give them values that differ, or leave the layer out"
                )
            most = len(weight.flatten(0, 1)) if penalty == "kernels" else weight.numel()
            if not 1 <= size <= most:
                what = "kernels" if penalty == "kernels" else "weights"
                raise SharingError(
                    f"a basis of {size} is no basis for the {most} {what} of layer {name!r}: "
                    f"choose a size from 1 to {most}, or leave the layer out"
                )
        self.model, self.tau, self.names = model, tau, tuple(chosen)
        self.bases = nn.ModuleList(
            Basis(layer.weight, penalty, size, p) for layer in chosen.values()
        )

    def forward(self, x: Tensor):
        outputs = self.model(x)
        return (outputs, self.tau * self.penalty()) if self.training else outputs

    def penalty(self) -> Tensor:
        """What all weights cost, without τ."""
        weights = (self.model.get_submodule(name).weight for name in self.names)
        return torch.stack([basis(w) for basis, w in zip(self.bases, weights, strict=True)]).sum()

    def fit(self) -> None:
        """Move the bases, and not the weights, to where distances are least (k-means)."""
        for name, basis in zip(self.names, self.bases, strict=True):
            basis.fit(self.model.get_submodule(name).weight)


class Assigned(Parametrization):
    """A weight whose entries, or kernels, are members of a basis as an assignment says."""

    def __init__(self, members: Tensor, assignment: Tensor):
        super().__init__()
        self.members = nn.Parameter(members.detach().clone())
        self.register_buffer("assignment", assignment)

    def compute(self) -> Tensor:
        return self.members[self.assignment]


def quantise(clustered: Clustered) -> nn.Module:
    """Put the nearest member of the basis in place of each weight, in place; returns the model.

    The model's parameters are then the bases, with members that no weight took left out, and all
    that was not clustered; the assignment is a buffer. How many members are left depends on the
    weights, so save the merged network where it is to be loaded anew. Raises `SharingError` for
    what is quantised already.
    """
    if done := [name for name in clustered.names if name in parametrized(clustered.model)]:
        raise SharingError(f"layer {done[0]!r} is quantised already: quantise a model once")
    for name, basis in zip(clustered.names, clustered.bases, strict=True):
        layer = clustered.model.get_submodule(name)
        taken, assignment = basis.nearest(layer.weight.detach()).unique(return_inverse=True)
        attach(layer, Assigned(basis.members[taken], assignment))
    return clustered.model


def _layers(
    model: nn.Module, penalty: str, layers: str | Iterable[str] | None
) -> dict[str, nn.Module]:
    every = shareable(model, CONVOLUTIONS)
    if layers is None:
        first = first_convolution(model)
        picked = {name: layer for name, layer in every.items() if name != first}
        if penalty == "kernels":
            picked = {name: layer for name, layer in picked.items() if max(layer.kernel_size) > 1}
    else:
        patterns = [layers] if isinstance(layers, str) else list(layers)
        picked = {
            n: layer for n, layer in every.items() if any(fnmatchcase(n, p) for p in patterns)
        }
    if not picked:
        raise SharingError(
            f"{type(model).__name__} has no convolution to cluster"
            f"{' but its first' if layers is None else f' whose name is like {layers}'}: "
            "name layers that it has"
        )
    return picked
