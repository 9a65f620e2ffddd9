"""Drawings of the chapter's notebook that take more than a cell."""

from __future__ import annotations

from collections.abc import Sequence
from math import pi

import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor

from reuseprior.models.affine_vae import AffineVAE


@torch.no_grad()
def draw_passage(axes: np.ndarray, model: AffineVAE, x: Tensor) -> None:
    """Draw images' way through the network: input, in its pose, reconstructed there, turned back.

    `axes` are of four rows and a column an image; x is (images, 1, side, side).
    """
    model.eval()
    passed = model(x)
    posed = model.posed(x, passed.pose)
    rows = {"input": x, "in the pose found": posed, "out of the VAE": model.vae(posed),
            "turned back": passed.reconstruction}  # fmt: skip
    for (name, images), of_row in zip(rows.items(), axes, strict=True):
        for image, ax in zip(images, of_row, strict=True):
            ax.imshow(image[0], cmap="gray_r", vmin=0, vmax=1)
            ax.set(xticks=[], yticks=[])
        of_row[0].set_ylabel(name, rotation=0, ha="right", va="center")


@torch.no_grad()
def loss_over_angle(model: AffineVAE, x: Tensor, degrees: Sequence[float]) -> np.ndarray:
    """The loss of inputs at every angle α, (angles, inputs), in nats."""
    model.eval()
    alpha = x.new_zeros(len(degrees), len(x), model.poses.numbers)
    alpha[:, :, 0] = torch.tensor(degrees).to(x)[:, None] * pi / 180
    return model.objective(x).losses(alpha).cpu().numpy()


def draw_voxels(ax: Axes, grid: Tensor, *, level: float = 0.5) -> None:
    """Draw a grid (side, side, side) of values from 0 to 1 as cubes, those above a level."""
    ax.voxels(grid.numpy() > level, facecolor="0.75", edgecolor="0.3", linewidth=0.15)
    ax.set_axis_off()
    ax.set_box_aspect((1, 1, 1))
