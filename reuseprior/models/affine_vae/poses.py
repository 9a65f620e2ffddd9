"""Poses: the affine maps that an input is turned by, exactly undone, and where there is room."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, pi, sqrt

import torch
import torch.nn.functional as F
from torch import Tensor

from reuseprior.models.affine_vae.vae import REDUCTION
from reuseprior.models.errors import ModelError

REACH = 0.2  # of translations, in halves of a side; the text says none, the author's code this
LEAST_DETERMINANT = 1e-6  # of a map that can be undone, scaled to lengths of 1 on average


@dataclass(frozen=True)
class Poses:
    """Rotations, or rotations and translations, of images (2) or voxels (3).

    >>> Poses(2).numbers, Poses(2, translation=True).numbers, Poses(3, translation=True).numbers
    (1, 3, 6)

    A pose α is the angles in radians, one about the middle of an image or three about x, y and z,
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
        """How many numbers a pose has."""
        return self.angles + self.dimensions * self.translation

    def spread(self, unit: Tensor) -> Tensor:
        """Numbers from 0 to 1, (…, numbers), to poses: angles up to 2π, translations to ±REACH."""
        turned = unit[..., : self.angles] * 2 * pi
        return torch.cat([turned, (2 * unit[..., self.angles :] - 1) * REACH], -1)

    def draw(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Poses (count, numbers), every number uniform by itself.

        Three uniform angles are not uniform over rotations; the text says only "random". Drawn on
        the CPU, so that a seed gives the same poses for every device.
        """
        return self.spread(torch.rand(count, self.numbers, generator=generator))

    def matrix(self, alpha: Tensor) -> Tensor:
        """The maps (batch, dimensions, dimensions + 1) of poses (batch, numbers), eq. (4.2)."""
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
    found = torch.eye(dimensions, dimensions + 1).to(degrees).repeat(len(degrees), 1, 1)
    found[:, 0, 1] = degrees.deg2rad().tan()
    return found


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


def room(side: int, poses: Poses) -> int:
    """The least side, a multiple of 4, on which no pose of a grid of `side` loses a corner.

    >>> room(28, Poses(2)), room(32, Poses(3)), room(28, Poses(2, translation=True))
    (40, 56, 56)
    """
    corner = sqrt(poses.dimensions)  # how far it lies from the middle, in halves of a side
    moved = corner * REACH if poses.translation else 0.0
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
    found = torch.zeros(len(angle), 3, 3, dtype=angle.dtype, device=angle.device)
    found[:, axis, axis] = 1
    plane = _plane(angle)
    for i, row in enumerate(others):
        for j, column in enumerate(others):
            found[:, row, column] = plane[:, i, j]
    return found
