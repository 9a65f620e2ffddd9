"""The affine maps that an input is turned by, exactly undone, and where there is room for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil, cos, log, nan, pi, sqrt
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reuseprior.models.errors import ModelError

CHANNELS = 16  # of the code that the latent numbers are made from
REDUCTION = 4  # sides of an input over those of its code

# channels and (kernel, stride, padding) of the encoder; the decoder's with output padding too
ENCODER = ((32, 5, 1, 2), (32, 4, 2, 1), (64, 3, 2, 1), (16, 5, 1, 2))
DECODER = ((32, 4, 1, 2, 0), (16, 5, 2, 1, 1), (16, 5, 2, 2, 1), (1, 3, 1, 1, 0))

_CONVOLUTIONS = {
    2: (nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d),
    3: (nn.Conv3d, nn.ConvTranspose3d, nn.BatchNorm3d),
}


class VAE(nn.Module):
    """An encoder to `latent` means and log-variances, and a decoder back.

    >>> sum(p.numel() for p in VAE(6, 40).parameters())
    119565

    Takes (batch, 1, side, side), or (batch, 1, side, side, side) where `dimensions` is 3, with
    values from 0 to 1, and gives such. Four convolutions of 32, 32, 64 and 16 channels and four
    transposed ones of 32, 16, 16 and 1, with batch norm and ELU after the first three of both.
    Kernels and strides are not in the text; these are those of the author's published code.
    `width` multiplies the channels inside, for wider networks of the same shape.

    Raises `ModelError` for a latent size below 1, a side that is no multiple of 4 from 8 on, other
    dimensions than 2 and 3, and a width of 0 or less; and in training for one input of side 8.
    """

    def __init__(self, latent: int, side: int, *, dimensions: int = 2, width: float = 1.0):
        _check(latent, side, dimensions, width)
        super().__init__()
        self.latent, self.side, self.dimensions = latent, side, dimensions
        convolution, transposed, norm = _CONVOLUTIONS[dimensions]
        code = _scaled(CHANNELS, width)
        # channels, side, … of what the two fully connected layers at the middle see
        self.code_shape = (code, *[side // REDUCTION] * dimensions)
        size = code * (side // REDUCTION) ** dimensions
        self.encoder = _layers(convolution, norm, 1, ENCODER, width)
        self.mean, self.log_variance = nn.Linear(size, latent), nn.Linear(size, latent)
        self.widen = nn.Linear(latent, size)
        self.decoder = _layers(transposed, norm, code, DECODER, width)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Means and log-variances, log σ², (batch, latent) both."""
        sides = (self.side,) * self.dimensions
        if x.shape[1:] != (1, *sides):
            raise ModelError(
                f"inputs are {tuple(x.shape)} and this VAE takes (batch, 1, "
                f"{', '.join(map(str, sides))}): pad them to equal sides of {self.side}, in one "
                "channel"
            )
        if self.training and len(x) == 1 and self.side == 2 * REDUCTION:
            raise ModelError(
                f"one input of side {self.side} leaves batch norm one value a channel to learn "
                "from: give two inputs or more, or a larger side"
            )
        code = self.encoder(x).flatten(1)
        return self.mean(code), self.log_variance(code)

    def decode(self, z: Tensor) -> Tensor:
        """(batch, latent) to (batch, 1, side, …), values from 0 to 1."""
        return self.decoder(self.widen(z).view(-1, *self.code_shape)).sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """Reconstructions from the means."""
        return self.decode(self.encode(x)[0])


def sample(mean: Tensor, log_variance: Tensor) -> Tensor:
    """z of N(mean, σ²), (batch, latent), from torch's generator."""
    return mean + (log_variance / 2).exp() * torch.randn_like(mean)


def _layers(kind, norm, inputs: int, plan, width: float) -> nn.Sequential:
    """Convolutions with batch norm and ELU between them, which take the place of a bias."""
    layers: list[nn.Module] = []
    for place, (channels, *shape) in enumerate(plan, 1):
        last = place == len(plan)
        outputs = channels if channels == 1 else _scaled(channels, width)  # an image stays one
        layers.append(kind(inputs, outputs, *shape, bias=last))
        if not last:
            layers += [norm(outputs), nn.ELU()]
        inputs = outputs
    return nn.Sequential(*layers)


def _scaled(channels: int, width: float) -> int:
    return max(1, round(channels * width))


def _check(latent: int, side: int, dimensions: int, width: float) -> None:
    if latent < 1:
        raise ModelError(f"latent is {latent}: a VAE needs at least 1 latent number")
    if dimensions not in _CONVOLUTIONS:
        raise ModelError(f"dimensions is {dimensions}: choose 2 for images or 3 for voxels")
    if side < 2 * REDUCTION or side % REDUCTION:
        raise ModelError(f"side is {side}: the VAE halves it twice, so choose 8 or 12 or 16 …")
    if width <= 0:
        raise ModelError(f"width is {width}: it multiplies channels, so choose more than 0")


# Maps of the input --------------------------------------------------------------------------------

REACH = 0.2  # of translations, in halves of a side; the text says none, the author's code this
LEAST_DETERMINANT = 1e-6  # of a map that can be undone, scaled to lengths of 1 on average


@dataclass(frozen=True)
class Transforms:
    """Rotations, or rotations and translations, of images (2) or voxels (3).

    >>> Transforms(2).numbers, Transforms(2, True).numbers, Transforms(3, translation=True).numbers
    (1, 3, 6)

    A transform α is the angles in radians, one about the middle of an image or three about x, y, z,
    then the translation along every axis, in halves of a side: Bidart's [r, t_x, t_y] and
    [r_x, r_y, r_z, t_x, t_y, t_z].
    """

    dimensions: int
    translation: bool = False

    @property
    def angles(self) -> int:
        return 1 if self.dimensions == 2 else 3

    @property
    def numbers(self) -> int:
        """How many numbers a transform has."""
        return self.angles + self.dimensions * self.translation

    def spread(self, unit: Tensor) -> Tensor:
        """Numbers from 0 to 1, (…, numbers), as angles up to 2π and translations up to ±REACH."""
        turned = unit[..., : self.angles] * 2 * pi
        return torch.cat([turned, (2 * unit[..., self.angles :] - 1) * REACH], -1)

    def draw(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Transforms (count, numbers), every number uniform by itself.

        Three uniform angles are not uniform over rotations; the text says only "random". Drawn on
        the CPU, so that a seed gives the same transforms for every device.
        """
        return self.spread(torch.rand(count, self.numbers, generator=generator))

    def matrix(self, alpha: Tensor) -> Tensor:
        """The maps (batch, dimensions, dimensions + 1) of α (batch, numbers), eq. (4.2)."""
        if self.dimensions == 2:
            turned = _plane(alpha[:, 0])
        else:  # about x, then y, then z
            x, y, z = (_about(axis, alpha[:, axis]) for axis in range(3))
            turned = z @ y @ x
        moved = alpha[:, self.angles :]
        moved = moved if self.translation else moved.new_zeros(len(alpha), self.dimensions)
        return torch.cat([turned, moved[:, :, None]], 2)


def shear(degrees: Tensor, dimensions: int = 2) -> Tensor:
    """The maps (batch, dimensions, dimensions + 1) that shear x along y, as in figure 4.6.

    `degrees` is (batch,); the maps are of its dtype and on its device.
    """
    maps = torch.eye(dimensions, dimensions + 1).to(degrees).repeat(len(degrees), 1, 1)
    maps[:, 0, 1] = degrees.deg2rad().tan()
    return maps


def inverse(matrix: Tensor) -> Tensor:
    """The maps that undo maps (batch, d, d + 1).

    Raises `ModelError` for a map that has no inverse, or that is not finite.
    """
    linear, moved = matrix[:, :, :-1], matrix[:, :, -1:]
    d, held = linear.shape[1], matrix.detach()
    wild = (~held.isfinite().flatten(1).all(1)).nonzero()
    if len(wild):
        raise ModelError(
            f"map {wild[0].item()} of the batch is not finite, so nothing undoes it: give every "
            "number of an affine map a finite value"
        )
    held = held[:, :, :-1]
    scale = (held.flatten(1).norm(dim=1) / sqrt(d)) ** d  # the determinant of as large a rotation
    flat = (held.det().abs() <= LEAST_DETERMINANT * scale).nonzero()
    if len(flat):
        raise ModelError(
            f"map {flat[0].item()} of the batch has determinant 0, or all but 0, so nothing undoes "
            "it: give every affine map an inverse"
        )
    undone = torch.linalg.inv(linear)
    return torch.cat([undone, -undone @ moved], 2)


def warp(x: Tensor, matrix: Tensor) -> Tensor:
    """Inputs (batch, channels, side, …) seen through maps (batch, d, d + 1), linearly interpolated.

    Where the output stands at p, from −1 to 1 along every axis, it shows the input at A p + t; what
    lies outside of it is 0. Differentiable in both.
    """
    if len(set(x.shape[2:])) > 1:
        raise ModelError(
            f"inputs have sides {' × '.join(map(str, x.shape[2:]))}: pad them to equal sides, as a "
            "rotation needs"
        )
    grid = F.affine_grid(matrix, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, align_corners=False)


def room(side: int, transforms: Transforms) -> int:
    """The least side, a multiple of 4, on which no transform of a grid of `side` loses a corner.

    >>> room(28, Transforms(2)), room(32, Transforms(3)), room(28, Transforms(2, translation=True))
    (40, 56, 56)
    """
    corner = sqrt(transforms.dimensions)  # how far it lies from the middle, in halves of a side
    moved = corner * REACH if transforms.translation else 0.0
    return REDUCTION * ceil(side * corner / (1 - moved) / REDUCTION)


def padded(x: Tensor, side: int) -> Tensor:
    """Inputs (batch, channels, …) in the middle of zeros, with equal sides."""
    if (largest := max(x.shape[2:])) > side:
        raise ModelError(
            f"inputs have sides {' × '.join(map(str, x.shape[2:]))} and the canvas {side}: choose "
            f"{largest} or more"
        )
    margins: list[int] = []
    for length in reversed(x.shape[2:]):  # the last axis first, as `pad` has it
        margins += [(side - length) // 2, (side - length + 1) // 2]
    return F.pad(x, margins)


def _plane(angle: Tensor) -> Tensor:
    cos, sin = angle.cos(), angle.sin()
    return torch.stack([cos, sin, -sin, cos], -1).view(-1, 2, 2)


def _about(axis: int, angle: Tensor) -> Tensor:
    """Rotations (batch, 3, 3) that leave one axis alone."""
    others = [i for i in range(3) if i != axis]
    rotations = torch.zeros(len(angle), 3, 3, dtype=angle.dtype, device=angle.device)
    rotations[:, axis, axis] = 1
    plane = _plane(angle)
    for i, row in enumerate(others):
        for j, column in enumerate(others):
            rotations[:, row, column] = plane[:, i, j]
    return rotations


# Losses -------------------------------------------------------------------------------------------

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


# Searches for the map -----------------------------------------------------------------------------

CHUNK = 128  # examples in one pass, so that thousands of candidates fit into memory
SLOWER = 0.3  # a translation's steps beside an angle's, as its range is much the smaller
BETAS, EPSILON = (0.9, 0.999), 1e-8  # Adam's, as torch has them


class Found(NamedTuple):
    """What a search found for every example."""

    transform: Tensor  # (batch, numbers)
    loss: Tensor  # (batch,)
    passes: int  # of the network, for one example


class Objective:
    """The losses of transforms, and the passes spent on them.

    `loss` takes transforms (n, numbers) and the example (n,) of each, and gives losses (n,).
    Transforms are of the dtype and on the device of `like`, torch's own if it is not given.
    """

    def __init__(
        self, loss: Callable[[Tensor, Tensor], Tensor], batch: int, transforms: Transforms,
        like: Tensor | None = None,
    ):  # fmt: skip
        self._loss, self.batch, self.transforms = loss, batch, transforms
        self._like = torch.empty(0) if like is None else like
        self.passes = 0

    def uniform(self, count: int, generator: torch.Generator | None) -> Tensor:
        """Numbers from 0 to 1, (count, batch, numbers), drawn on the CPU.

        A generator draws them once for all examples, so that none depends on its place in the
        batch; without one, torch's draws every example its own.
        """
        examples = self.batch if generator is None else 1
        drawn = torch.rand(count, examples, self.transforms.numbers, generator=generator)
        return drawn.expand(-1, self.batch, -1)

    def spread(self, unit: Tensor) -> Tensor:
        """Numbers from 0 to 1 as transforms, of the dtype and on the device of the inputs."""
        return self.transforms.spread(unit).to(self._like)

    @torch.no_grad()
    def losses(self, alpha: Tensor) -> Tensor:
        """Losses (k, batch) of candidates (k, batch, numbers)."""
        self.passes += len(alpha)
        flat, rows = self._flat(alpha)
        parts = zip(flat.split(CHUNK), rows.split(CHUNK), strict=True)
        return torch.cat([self._loss(*part) for part in parts]).view(len(alpha), -1)

    @torch.enable_grad()
    def slopes(self, alpha: Tensor) -> tuple[Tensor, Tensor]:
        """Losses (k, batch) of candidates, and their gradients (k, batch, numbers)."""
        self.passes += 2 * len(alpha)
        losses, slopes = [], []
        flat, rows = self._flat(alpha)
        for part, of in zip(flat.split(CHUNK), rows.split(CHUNK), strict=True):
            part = part.detach().requires_grad_()
            loss = self._loss(part, of)
            slopes += torch.autograd.grad(loss.sum(), part)
            losses.append(loss.detach())
        return torch.cat(losses).view(len(alpha), -1), torch.cat(slopes).view_as(alpha)

    def _flat(self, alpha: Tensor) -> tuple[Tensor, Tensor]:
        """Candidates one after the other, (k · batch, numbers), and the example of each."""
        rows = torch.arange(self.batch, device=alpha.device).repeat(len(alpha))
        return alpha.flatten(0, 1), rows


@dataclass(frozen=True)
class Restarts:
    """Bidart's search (section 4.1.5): random starts, the best of them, Adam, the lowest.

    The text says no rate; 0.03 is that of the author's code. Raises `ModelError` for no start, none
    kept, and less than no step.
    """

    name: ClassVar[str] = "restarts"
    starts: int = 32
    kept: int = 8
    steps: int = 20
    rate: float = 0.03

    def __post_init__(self):
        _at_least(1, starts=self.starts, kept=self.kept)
        _at_least(0, steps=self.steps)

    def __call__(self, objective: Objective, generator: torch.Generator | None = None) -> Found:
        alpha = objective.spread(objective.uniform(self.starts, generator))
        alpha = self.chosen(alpha, objective.losses(alpha))
        descent = Descent(alpha)
        for _ in range(self.steps):
            descent.step(objective.slopes(descent.alpha)[1], self.rate)
        return lowest(descent.alpha, objective.losses(descent.alpha), objective.passes)

    def chosen(self, alpha: Tensor, losses: Tensor) -> Tensor:
        """The best candidates of every example, (kept, batch, numbers)."""
        return best(self.kept, alpha, losses)[0]


@dataclass(frozen=True)
class Halving:
    """Successive halving: starts spread evenly, and more steps for ever fewer of them.

    A rung keeps so many candidates for so many steps of Adam. Rates fall as half a cosine over all
    steps. Of every candidate the best transform that it has been at counts, so no step is lost. The
    defaults are for one angle; `of` gives those for other transforms, 71 passes instead of 57.

    Raises `ModelError` for no start, and for a rung that keeps none or takes less than no step.
    """

    name: ClassVar[str] = "halving"
    starts: int = 12
    rungs: tuple[tuple[int, int], ...] = ((4, 2), (2, 4), (1, 6))
    rate: float = 0.1

    def __post_init__(self):
        _at_least(1, starts=self.starts)
        for kept, steps in self.rungs:
            _at_least(1, kept=kept)
            _at_least(0, steps=steps)

    @classmethod
    def of(cls, transforms: Transforms) -> Halving:
        """The search: more starts for more numbers, longer steps for angles in space.

        A fifth of the passes of `Restarts()`, or less. For an angle it finds as low a loss; for a
        rotation with a translation in space it stays above (notebook 13, section 4).
        """
        if transforms.numbers == 1:
            return cls()
        return cls(24, ((4, 3), (2, 3), (1, 5)), 0.1 if transforms.dimensions == 2 else 0.25)

    def __call__(self, objective: Objective, generator: torch.Generator | None = None) -> Found:
        alpha = objective.spread(even(self.starts, objective, generator))
        losses = objective.losses(alpha)
        steps, done = sum(steps for _, steps in self.rungs), 0
        descent = Descent(alpha)
        pace = torch.ones_like(alpha[0, 0])
        pace[objective.transforms.angles :] = SLOWER
        top, top_losses = alpha, losses  # the best that each candidate has been at
        for kept, of_rung in self.rungs:
            top_losses, places = top_losses.topk(min(kept, len(top)), dim=0, largest=False)
            top, descent = at(top, places), descent.at(places)
            for _ in range(of_rung):
                losses, slopes = objective.slopes(descent.alpha)
                top, top_losses = better(top, top_losses, descent.alpha, losses)
                descent.step(slopes, pace * self.rate * (1 + cos(pi * done / steps)) / 2)
                done += 1
        if self.rungs:  # where the last step led has not been seen
            losses = objective.losses(descent.alpha)
            top, top_losses = better(top, top_losses, descent.alpha, losses)
        return lowest(top, top_losses, objective.passes)


class Descent:
    """Adam on every number of every candidate by itself, (k, batch, numbers)."""

    def __init__(self, alpha: Tensor):
        self.alpha, self.count = alpha, 0
        self.first, self.second = torch.zeros_like(alpha), torch.zeros_like(alpha)

    def step(self, slopes: Tensor, rate: float | Tensor) -> None:
        """Take a step at a rate, or at one of each number, (numbers,)."""
        self.count += 1
        one, two = BETAS
        self.first = one * self.first + (1 - one) * slopes
        self.second = two * self.second + (1 - two) * slopes**2
        first, second = (m / (1 - b**self.count) for m, b in
                         ((self.first, one), (self.second, two)))  # fmt: skip
        self.alpha = self.alpha - rate * first / (second.sqrt() + EPSILON)

    def at(self, places: Tensor) -> Descent:
        """The descent of some candidates of every example, where they are, with their averages."""
        descent = Descent(at(self.alpha, places))
        descent.first, descent.second = at(self.first, places), at(self.second, places)
        descent.count = self.count
        return descent


def even(starts: int, objective: Objective, generator: torch.Generator | None) -> Tensor:
    """Starts from 0 to 1, (starts, batch, numbers), spread evenly and shifted at random.

    The first number in equal steps, the others by the additive recurrence of the generalised
    golden ratio, the root of x^(d+1) = x + 1 (Roberts 2018).
    """
    places, others = torch.arange(starts)[:, None], objective.transforms.numbers - 1
    golden = 2.0
    for _ in range(40):
        golden = (1 + golden) ** (1 / (others + 1))
    steps = torch.tensor([1 / starts, *(golden ** -(i + 1) for i in range(others))])
    return ((places * steps)[:, None] + objective.uniform(1, generator)) % 1


def best(kept: int, alpha: Tensor, losses: Tensor) -> tuple[Tensor, Tensor]:
    """The `kept` candidates of least loss of every example, and their losses."""
    losses, places = losses.topk(min(kept, len(alpha)), dim=0, largest=False)
    return at(alpha, places), losses


def better(alpha: Tensor, losses: Tensor, other: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """Of two candidates each the one of less loss, and its loss."""
    won = others < losses
    return torch.where(won[:, :, None], other, alpha), torch.where(won, others, losses)


def lowest(alpha: Tensor, losses: Tensor, passes: int) -> Found:
    """The candidate of least loss of every example."""
    (transform,), (loss,) = best(1, alpha, losses)
    return Found(transform, loss, passes)


def at(alpha: Tensor, places: Tensor) -> Tensor:
    """Candidates (k, batch, numbers) at places (kept, batch)."""
    return alpha.gather(0, places[:, :, None].expand(-1, -1, alpha.shape[2]))


def _at_least(least: int, **values: int) -> None:
    for name, value in values.items():
        if value < least:
            raise ModelError(f"{name} of a search is {value}: choose {least} or more")


Search = Callable[[Objective, torch.Generator | None], Found]


# The affine VAE -----------------------------------------------------------------------------------


class Passed(NamedTuple):
    """What a batch becomes on its way through the network."""

    reconstruction: Tensor  # (batch, 1, side, …), turned back
    mean: Tensor  # (batch, latent)
    log_variance: Tensor  # (batch, latent)
    transform: Tensor  # (batch, numbers)
    passes: int  # of the network that finding the transform took, for one example


class AffineVAE(nn.Module):
    """x → affine(α) → VAE → affine(α⁻¹) → x′, with α found by lowering the loss (eq. 4.4).

    ```python
    model = AffineVAE(VAE(6, 40), Transforms(2), Halving())
    passed = model(images)  # (batch, 1, 40, 40), from 0 to 1
    passed.reconstruction, passed.transform
    ```

    `search` may be set at any time; None leaves every input as it is, which is the plain
    VAE. While searching, z is the mean and batch norm takes its running statistics, so examples
    of a batch know nothing of one another. In training z is a sample and the search draws from
    torch's generator, each example its own starts; otherwise z is the mean, and all examples have
    the same starts every time, so that an input's transform does not depend on its batch.

    What it lowers is the loss under the best transform. α is free: it has no prior here and costs
    nothing, while a VAE pays a divergence for every number that says as much.
    """

    def __init__(
        self, vae: VAE, transforms: Transforms, search: Search | None = None, *,
        likelihood: str = "gaussian",
    ):  # fmt: skip
        super().__init__()
        if transforms.dimensions != vae.dimensions:
            raise ModelError(
                f"transforms have {transforms.dimensions} dimensions and the VAE {vae.dimensions}: "
                "give both the same"
            )
        check_likelihood(likelihood)
        self.vae, self.transforms = vae, transforms
        self.search, self.likelihood = search, likelihood

    def forward(self, x: Tensor) -> Passed:
        searched = self.find(x)
        transform = None if self.search is None else searched.transform
        mean, log_variance, reconstruction = self.through(x, transform, sampled=self.training)
        return Passed(reconstruction, mean, log_variance, searched.transform, searched.passes)

    def find(self, x: Tensor) -> Found:
        """The transform that the search finds for every input.

        Without a search it is the identity, whose loss is not computed (NaN). Raises
        `ModelError` for an empty batch, and for an input that is all zeros, which looks the same in
        every transform.
        """
        if not len(x):
            raise ModelError("the batch is empty: give one input or more")
        if self.search is None:
            unknown = x.new_full((len(x),), nan)
            return Found(x.new_zeros(len(x), self.transforms.numbers), unknown, 0)
        empty = (x.flatten(1).amax(1) == 0).nonzero()
        if len(empty):
            raise ModelError(
                f"input {empty[0].item()} of the batch is empty, so no transform can be found: "
                "leave empty grids out"
            )
        generator = None if self.training else torch.Generator().manual_seed(0)
        with evaluating(self.vae):
            return self.search(self.objective(x), generator)

    def objective(self, x: Tensor) -> Objective:
        """What a search for the transforms of a batch lowers."""
        return Objective(lambda a, rows: self.losses(x[rows], a), len(x), self.transforms, x)

    def losses(self, x: Tensor, alpha: Tensor) -> Tensor:
        """The loss of every input under a transform, in nats, (batch,), with z the mean."""
        mean, log_variance, reconstruction = self.through(x, alpha, sampled=False)
        return misfit(self.likelihood, x, reconstruction) + divergence(mean, log_variance)

    def through(
        self, x: Tensor, alpha: Tensor | None, *, sampled: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Mean, log-variance and reconstruction of inputs, transformed or as they stand (None)."""
        mean, log_variance = self.vae.encode(x if alpha is None else self.transformed(x, alpha))
        reconstruction = self.vae.decode(sample(mean, log_variance) if sampled else mean)
        if alpha is not None:
            reconstruction = warp(reconstruction, inverse(self.transforms.matrix(alpha)))
        return mean, log_variance, reconstruction

    def transformed(self, x: Tensor, alpha: Tensor) -> Tensor:
        """Inputs as the VAE sees them under transforms."""
        return warp(x, self.transforms.matrix(alpha))


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
