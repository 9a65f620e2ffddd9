"""What chapter 3 states of shared channels and of priors on weights, tested as it stands."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import product
from typing import NamedTuple

import torch
from scipy import integrate
from scipy.stats import laplace, norm
from sympy import bell
from torch import Tensor, nn

from reuseprior import sharing
from reuseprior.models import build
from reuseprior.report import published
from reuseprior.sharing.bases import (
    distance_to_values,
    log_gaussian_mixture,
    log_laplace_mixture,
)

MOST = 60  # weights whose ways of sharing are counted


class Tested(NamedTuple):
    """Whether a statement holds as printed, and whether it does as we mend it."""

    printed: bool
    mended: bool = False
    note: str = ""
    convention: str = ""


def _depthwise(channels: int, factor: int) -> tuple[nn.Conv2d, nn.Conv2d]:
    """A depthwise convolution, and one of equal weights whose filters repeat."""
    torch.manual_seed(0)
    plain = nn.Conv2d(channels, channels, 3, groups=channels, bias=False).double()
    shared = nn.Conv2d(channels, channels, 3, groups=channels, bias=False).double()
    with torch.no_grad():
        plain.weight.copy_(plain.weight[: channels // factor].repeat(factor, 1, 1, 1))
        shared.weight.copy_(plain.weight)
    sharing.Channels(factor, layers=("0",)).share(nn.Sequential(shared))
    return plain, shared


def averaged() -> Tested:
    """Copies that take steps of their mean gradient stay equal; a stored filter takes their sum."""
    plain, shared = _depthwise(8, 4)
    x = torch.randn(2, 8, 6, 6, dtype=torch.float64)
    for layer in (plain, shared):
        layer(x).square().sum().backward()
    copies = plain.weight.grad.unflatten(0, (4, 2))
    found = shared.parametrizations.weight[0].bank.grad
    added = float((found / copies.mean(0)).mean())
    plain.weight.grad.copy_(copies.mean(0).repeat(4, 1, 1, 1))
    torch.optim.Adam(plain.parameters()).step()
    stepped = plain.weight.detach().unflatten(0, (4, 2))
    return Tested(
        torch.equal(stepped, stepped[:1].expand_as(stepped)),
        note="tested with one step of Adam, which section 3.2 names (3.6.1 prints a momentum); "
        f"filters that repeat ×4 in PyTorch take the sum of the gradients, {added:.3g} times the "
        "mean, which gradient descent sees and Adam does not",
    )


def one_copy() -> Tested:
    """With s = 1 nothing changes."""
    plain, shared = _depthwise(8, 1)
    x = torch.randn(2, 8, 6, 6, dtype=torch.float64)
    return Tested(torch.equal(plain(x), shared(x)), note="tested to the last bit")


def configurations() -> Tested:
    """Weights can be parted into sets that share in Bell(N) ways."""
    holds = [bell(n) > 2**n for n in range(1, MOST + 1)]
    return Tested(
        all(holds[4:]), note=f"partitions of N weights, counted up to N = {MOST}",
        convention=f"N is {holds.index(True) + 1} or more",
    )  # fmt: skip


def gaussian_mixture() -> Tested:
    """Equation 3.1 integrates to one."""
    return Tested(
        _is_density(log_gaussian_mixture), note="integrated numerically",
        convention="w is one weight; of the set that the text names, the densities multiply",
    )  # fmt: skip


def laplace_mixture() -> Tested:
    """Equation 3.4 integrates to one."""
    return Tested(_is_density(log_laplace_mixture), note="integrated numerically")


def laplace_density() -> Tested:
    """Equation 3.3 is scipy's Laplace density, and integrates to one."""
    one = torch.ones(1, dtype=torch.float64)
    w = torch.linspace(-3, 3, 101, dtype=torch.float64)
    printed = log_laplace_mixture(w, one, 0.5 * one, 0.7 * one).exp()
    same = torch.allclose(printed, torch.as_tensor(laplace(0.5, 0.7).pdf(w.numpy())))
    return Tested(same and _is_density(log_laplace_mixture, 1), note="integrated numerically")


def _is_density(mixture, components: int = 4) -> bool:
    torch.manual_seed(0)
    proportions = torch.randn(components, dtype=torch.float64).softmax(0)
    means, spreads = torch.randn(2, components, dtype=torch.float64)
    spreads = spreads.exp()

    def density(w: float) -> float:
        return float(mixture(torch.tensor(w).double(), proportions, means, spreads).exp())

    total, _ = integrate.quad(density, -100, 100, points=sorted(means.tolist()), limit=500)
    return abs(total - 1) < 1e-6


def gaussian_is_l2() -> Tested:
    """−log N(w | 0, σ²) is w² / 2σ² and a constant."""
    w = torch.linspace(-3, 3, 101, dtype=torch.float64)
    left = -torch.as_tensor(norm(0, 0.7).logpdf(w.numpy())) - w**2 / (2 * 0.7**2)
    return Tested(
        _constant(left), note="−log p − w² / 2σ² is constant",
        convention="the norm is squared, as in ridge regression",
    )  # fmt: skip


def laplace_is_l1() -> Tested:
    """−log of the Laplace density is |w| / b and a constant."""
    w = torch.linspace(-3, 3, 101, dtype=torch.float64)
    return Tested(_constant(-torch.as_tensor(laplace(0, 0.7).logpdf(w.numpy())) - w.abs() / 0.7))


def _constant(values: Tensor) -> bool:
    return bool(values.max() - values.min() < 1e-9)


def norm_of_a_number() -> Tested:
    """The p-norm of one number is its absolute value; p-th powers, and a norm of all, differ."""
    torch.manual_seed(0)
    weights, basis = torch.randn(20), torch.randn(4)
    gaps = (weights[:, None] - basis).abs().amin(1, keepdim=True)

    def differ(loss: Callable[[int], Tensor]) -> bool:
        return not torch.isclose(loss(1), loss(2))

    each = differ(lambda p: torch.linalg.vector_norm(gaps, p, dim=1).sum())
    powers = differ(lambda p: distance_to_values(weights, basis, p))
    over_all = differ(lambda p: torch.linalg.vector_norm(gaps, p))
    return Tested(
        powers and over_all and not each,
        note="as printed it is of each number alone, which is its absolute value for every p",
        convention="of p-th powers that are added, which is how we read it, or of one norm over "
        "all weights",
    )  # fmt: skip


def first_layer_alone() -> Tested:
    """The notebook's Xception of printed size shares in five blocks, and not in all but one."""
    rows = published.load("bidart/chapter-3-notebook-xception").set_index("factor")
    counts = {
        text: {int(f): _size(f"channels:{f}{text}") for f in rows.index if f != "1"}
        for text in ("", ",layers=shared.*")
    }
    printed = {int(f): int(n) for f, n in rows.depthwise_parameters.items() if f != "1"}
    return Tested(
        counts[""] == printed, counts[",layers=shared.*"] == printed,
        "of the Xception of the author's notebook, whose printed sizes are those of sharing in "
        "blocks 4, 5, 8, 11 and 12 alone; the thesis prints no sizes",
    )  # fmt: skip


def _size(text: str) -> int:
    return sum(p.numel() for p in sharing.apply(build("xception-cifar"), text).parameters())


def formulas() -> Mapping[str, bool]:
    """Table 3.3 by its rows, on layers that are built: d and s, h and w of several sizes."""
    holds = {"regular": True, "depthwise separable": True, "weight shared": True}
    for d, s, h, w in product((4, 8, 16), (1, 2, 4), (1, 3), (2, 5)):
        regular = nn.Conv2d(d, d, (h, w), bias=False)
        depthwise = nn.Conv2d(d, d, (h, w), groups=d, bias=False)
        holds["regular"] &= _learnable(regular) == d**2 * h * w
        holds["depthwise separable"] &= _learnable(depthwise) == d * h * w
        sharing.Channels(s, layers=("0",)).share(model := nn.Sequential(depthwise))
        holds["weight shared"] &= _learnable(model) == d // s * h * w
    return holds


def _learnable(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


STATEMENTS = {
    "bidart-3-averaged": averaged,
    "bidart-3-one-copy": one_copy,
    "bidart-3-configurations": configurations,
    "bidart-3-eq-1": gaussian_mixture,
    "bidart-3-eq-3": laplace_density,
    "bidart-3-eq-4": laplace_mixture,
    "bidart-3-l2-gaussian": gaussian_is_l2,
    "bidart-3-l1-laplace": laplace_is_l1,
    "bidart-3-eq-5": norm_of_a_number,
    "bidart-3-first-layer": first_layer_alone,
}
"""By the row of `bidart/chapter-3-text`."""
