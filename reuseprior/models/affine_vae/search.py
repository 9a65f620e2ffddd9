"""The search for α: the pose in which the network knows an input best, eq. (4.4).

A search proposes poses for every example of a batch and sees their losses. What it costs is
counted in passes: a forward pass of the network for one example is one, a backward pass to its
pose another.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import cos, pi
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from reuseprior.models.affine_vae.poses import Poses
from reuseprior.models.errors import ModelError

CHUNK = 128  # examples in one pass, so that thousands of candidates fit into memory
SLOWER = 0.3  # a translation's steps beside an angle's, as its range is much the smaller
BETAS, EPSILON = (0.9, 0.999), 1e-8  # Adam's, as torch has them


class Found(NamedTuple):
    """What a search found for every example."""

    pose: Tensor  # (batch, numbers)
    loss: Tensor  # (batch,)
    passes: int  # of the network, for one example


class Objective:
    """The losses of poses, and the passes spent on them.

    `loss` takes poses (n, numbers) and the example (n,) that each is of, and gives losses (n,).
    Poses are of the dtype and on the device of `like`, torch's own if it is not given.
    """

    def __init__(
        self, loss: Callable[[Tensor, Tensor], Tensor], batch: int, poses: Poses,
        like: Tensor | None = None,
    ):  # fmt: skip
        self._loss, self.batch, self.poses = loss, batch, poses
        self._like = torch.empty(0) if like is None else like
        self.passes = 0

    def uniform(self, count: int, generator: torch.Generator | None) -> Tensor:
        """Numbers from 0 to 1, (count, batch, numbers), drawn on the CPU.

        A generator draws them once for all examples, so that none depends on its place in the
        batch; without one, torch's draws every example its own.
        """
        examples = self.batch if generator is None else 1
        drawn = torch.rand(count, examples, self.poses.numbers, generator=generator)
        return drawn.expand(-1, self.batch, -1)

    def spread(self, unit: Tensor) -> Tensor:
        """Numbers from 0 to 1 as poses, of the dtype and on the device of the inputs."""
        return self.poses.spread(unit).to(self._like)

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
    steps. Of every candidate the best pose that it has been at counts, so no step is lost. The
    defaults are for one angle; `of` gives those for other poses, 71 passes instead of 57.

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
    def of(cls, poses: Poses) -> Halving:
        """The search for poses: more starts for more numbers, longer steps for angles in space.

        A fifth of the passes of `Restarts()`, or less. For an angle it finds as low a loss; for a
        rotation with a translation in space it stays above (notebook 13, section 4).
        """
        if poses.numbers == 1:
            return cls()
        return cls(24, ((4, 3), (2, 3), (1, 5)), 0.1 if poses.dimensions == 2 else 0.25)

    def __call__(self, objective: Objective, generator: torch.Generator | None = None) -> Found:
        alpha = objective.spread(even(self.starts, objective, generator))
        losses = objective.losses(alpha)
        steps, done = sum(steps for _, steps in self.rungs), 0
        descent = Descent(alpha)
        pace = torch.ones_like(alpha[0, 0])
        pace[objective.poses.angles :] = SLOWER
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
        found = Descent(at(self.alpha, places))
        found.first, found.second = at(self.first, places), at(self.second, places)
        found.count = self.count
        return found


def even(starts: int, objective: Objective, generator: torch.Generator | None) -> Tensor:
    """Starts from 0 to 1, (starts, batch, numbers), spread evenly and shifted at random.

    The first number in equal steps, the others by the additive recurrence of the generalised
    golden ratio, the root of x^(d+1) = x + 1 (Roberts 2018).
    """
    places, others = torch.arange(starts)[:, None], objective.poses.numbers - 1
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
    (pose,), (loss,) = best(1, alpha, losses)
    return Found(pose, loss, passes)


def at(alpha: Tensor, places: Tensor) -> Tensor:
    """Candidates (k, batch, numbers) at places (kept, batch)."""
    return alpha.gather(0, places[:, :, None].expand(-1, -1, alpha.shape[2]))


def _at_least(least: int, **values: int) -> None:
    for name, value in values.items():
        if value < least:
            raise ModelError(f"{name} of a search is {value}: choose {least} or more")
