"""Affine maps: undone exactly, with room for every pose, and one sentence where there is none."""

from math import cos, pi, sin, sqrt

import pytest
import torch

from reuseprior.models import ModelError
from reuseprior.models.affine_vae import REACH, Poses, inverse, padded, room, shear, warp

KINDS = [Poses(d, translation) for d in (2, 3) for translation in (False, True)]
KIND = pytest.mark.parametrize("poses", KINDS, ids=str)


def coordinates(side: int, dimensions: int) -> torch.Tensor:
    """Every cell's place, from −1 to 1, as channels (1, dimensions + 1, side, …), and a constant.

    Interpolation is exact for them, so what deviates is the map and nothing else.
    """
    axis = (2 * torch.arange(side) + 1) / side - 1
    places = torch.meshgrid(*[axis] * dimensions, indexing="ij")
    return torch.stack([*places, torch.ones_like(places[0])])[None]


@KIND
def test_undone_inside_the_inscribed_ball(poses):
    """affine(α), then affine(α⁻¹), for 200 random α: the identity to 1e-5."""
    side, d = (40, 2) if poses.dimensions == 2 else (16, 3)
    alpha = poses.draw(200, torch.Generator().manual_seed(0))
    matrix = poses.matrix(alpha)
    x = coordinates(side, d)
    moved = REACH * sqrt(d) if poses.translation else 0.0
    # The ball less half a cell, as middles of cells lie, and a diagonal, as a cell's neighbours do;
    # and less what a translation leads outside.
    inside = (x[0, :d] ** 2).sum(0).sqrt() <= 1 - moved - 2 * (sqrt(d) + 0.5) / side
    assert inside.sum() > 0.02 * side**d
    for one, undo in zip(matrix, inverse(matrix), strict=True):
        back = warp(warp(x, one[None]), undo[None])
        assert (back - x)[0][:, inside].abs().max() < 1e-5


def test_rotation_is_the_printed_matrix_and_a_quarter_turn_moves_pixels_whole():
    """Eq. (4.2), with the sign of its sines."""
    printed = torch.tensor([[cos(0.3), sin(0.3), 0], [-sin(0.3), cos(0.3), 0]])
    torch.testing.assert_close(Poses(2).matrix(torch.tensor([[0.3]]))[0], printed)
    x = torch.rand(1, 1, 8, 8)
    turned = warp(x, Poses(2).matrix(torch.tensor([[pi / 2]])))
    torch.testing.assert_close(turned, torch.rot90(x, -1, (2, 3)), atol=1e-5, rtol=0)


def test_rotations_in_space_are_rotations():
    alpha = Poses(3).draw(50, torch.Generator().manual_seed(1))
    linear = Poses(3).matrix(alpha)[:, :, :3]
    torch.testing.assert_close(linear @ linear.mT, torch.eye(3).expand(50, 3, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(linear.det(), torch.ones(50))
    about_x = Poses(3).matrix(torch.tensor([[0.5, 0, 0]]))[0]
    torch.testing.assert_close(about_x[0], torch.tensor([1.0, 0, 0, 0]))


@KIND
def test_room_loses_nothing(poses):
    """Every corner of a grid, in its worst pose, still lies on the canvas; 4 cells less and not."""
    side, d = 28, poses.dimensions
    canvas = room(side, poses)
    alpha = poses.draw(20_000, torch.Generator().manual_seed(2))
    if poses.translation:  # as far as they reach
        alpha[:, poses.angles :] = alpha[:, poses.angles :].sign() * REACH
    undo = inverse(poses.matrix(alpha))
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * d)
    reached = undo[:, :, :-1] @ (signs.T * side / canvas) + undo[:, :, -1:]
    assert reached.abs().max() <= 1
    assert reached.abs().max() * canvas > canvas - 8  # or the canvas would be wasteful


def test_padded_holds_what_it_held():
    x = torch.rand(2, 1, 5, 8)
    found = padded(x, 12)
    assert found.shape == (2, 1, 12, 12)
    assert torch.equal(found[:, :, 3:8, 2:10], x)
    assert found.sum() == pytest.approx(x.sum())


def test_no_inverse():
    maps = torch.stack([torch.eye(2, 3), torch.zeros(2, 3)])
    said = (
        "^map 1 of the batch has determinant 0, or all but 0, so nothing undoes it: give every "
        "affine map an inverse$"
    )
    with pytest.raises(ModelError, match=said):
        inverse(maps)
    with pytest.raises(ModelError, match="map 0 of the batch is not finite, so nothing undoes it"):
        inverse(torch.full((1, 3, 4), torch.nan))


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_size_is_no_lack_of_an_inverse(size):
    """A determinant is small or large as a map is; what counts is how it lies to the norm."""
    matrix = shear(torch.tensor([30.0]).double()) * size
    both = inverse(matrix)[:, :, :2] @ matrix[:, :, :2]
    torch.testing.assert_close(both[0], torch.eye(2, dtype=torch.float64))
    assert matrix[0, 0, 1] / size == pytest.approx(1 / sqrt(3))
    flat = torch.tensor([[[1.0, 2.0, 0.0], [2.0, 4.0 + 1e-7, 0.0]]], dtype=torch.float64) * size
    with pytest.raises(ModelError, match="nothing undoes it"):
        inverse(flat)


def test_unequal_sides():
    with pytest.raises(ModelError, match="inputs have sides 28 × 40: pad them to equal sides, as"):
        warp(torch.zeros(1, 1, 28, 40), torch.eye(2, 3)[None])
    with pytest.raises(ModelError, match="inputs have sides 40 × 28 and the canvas 28: choose 40"):
        padded(torch.zeros(1, 1, 40, 28), 28)
