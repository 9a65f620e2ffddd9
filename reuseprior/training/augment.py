"""Augmentation of batches of images, (batch, channels, height, width), where they lie."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from reuseprior.training.protocol import Protocol

SHIFT = 8  # a random crop moves an image by at most 1/8 of its side: 4 of 32 pixels
CHUNK = 8  # images under one draw of RandAugment or AutoAugment, which draw for a whole batch


@dataclass(frozen=True)
class Draws:
    """What chance decides for every image of an epoch, in the order they are seen."""

    flipped: Tensor  # (images,) bool
    offsets: Tensor  # (images, 2) rows and columns from the corner of the padded image

    def __getitem__(self, part) -> Draws:
        return Draws(self.flipped[part], self.offsets[part])

    def to(self, device: torch.device) -> Draws:
        return Draws(self.flipped.to(device), self.offsets.to(device))


def draw(images: int, size: int, generator: torch.Generator) -> Draws:
    """Draw for so many images of `size` pixels a side."""
    flipped = torch.rand(images, generator=generator) < 0.5
    offsets = torch.randint(2 * (size // SHIFT) + 1, (images, 2), generator=generator)
    return Draws(flipped, offsets)


def augment(images: Tensor, kind: str, draws: Draws) -> Tensor:
    """Images of bytes, changed as the protocol's `augmentation` says.

    `flip` mirrors half of the images; `flip_crop` shifts them besides, over black. `randaugment`
    (2 operations of magnitude 15 of 30, as the official implementation) and `autoaugment` (the
    ImageNet policy) come on top of a flip; they draw from torch's global generator.
    """
    if kind == "none":
        return images
    images = torch.where(draws.flipped[:, None, None, None], images.flip(3), images)
    if kind == "flip_crop":
        return shift(images, draws.offsets)
    if kind in ("randaugment", "autoaugment"):
        policy = _policy(kind)
        return torch.cat([policy(chunk) for chunk in images.split(CHUNK)])
    return images


def shift(images: Tensor, offsets: Tensor) -> Tensor:
    """Pad by size // SHIFT zeros on every side, then cut each image out at its own offset."""
    count, channels, height, width = images.shape
    padded = F.pad(images, [width // SHIFT] * 2 + [height // SHIFT] * 2)
    rows = offsets[:, :1] + torch.arange(height, device=images.device)  # batch, height
    columns = offsets[:, 1:] + torch.arange(width, device=images.device)  # batch, width
    # One flat index is several times quicker than one for each axis.
    flat = (rows[:, :, None] * padded.shape[3] + columns[:, None, :]).view(count, 1, -1)
    cut = padded.flatten(2).gather(2, flat.expand(-1, channels, -1))
    return cut.view(count, channels, height, width)


def to_input(images: Tensor, size: int, protocol: Protocol) -> Tensor:
    """Bytes to what the model takes: as many channels, `size` pixels a side, (x − 128) / 128.

    Scaled bilinearly, with antialiasing where images shrink. `size` 0 leaves them as they are.
    """
    x = images.float()
    if size and size != x.shape[-1]:
        x = F.interpolate(x, (size, size), mode="bilinear", antialias=size < x.shape[-1])
    x = x.sub_(128).div_(128)
    if x.shape[1] == 1:
        x = x.expand(-1, protocol.channels, -1, -1)
    if protocol.channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    return x


def mix(
    images: Tensor, labels: Tensor, classes: int, protocol: Protocol, random: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Mixup (Zhang et al. 2018) or CutMix (Yun et al. 2019), each image with its opposite.

    The first image of the batch is mixed with the last, and so on, all in one proportion drawn
    from Beta(α, α), where α is the protocol's `mixup_alpha` or `cutmix_alpha`. Returns the images
    and their labels as probabilities, float32 (batch, classes). Where both are on, each batch gets
    one of them, by the toss of a coin.

    Of several processes each mixes its own part of a batch, with the draws of the others: their
    pairs are not those of one process. The training accuracy that a run records is that of the
    images' own labels, which mixing lowers.
    """
    cut = protocol.cutmix_alpha > 0
    if cut and protocol.mixup_alpha > 0:
        cut = random.random() < 0.5
    alpha = protocol.cutmix_alpha if cut else protocol.mixup_alpha
    kept = random.beta(alpha, alpha)
    others = images.flip(0)
    if cut:
        images, kept = _paste(images, others, kept, random)
    else:
        images = torch.lerp(others, images, kept)
    targets = F.one_hot(labels, classes).float()
    return images, torch.lerp(targets.flip(0), targets, kept)


def _paste(images, others, kept, random) -> tuple[Tensor, float]:
    """Paste a rectangle of the others' over the images; the share that stays is returned."""
    height, width = images.shape[2:]
    side = (1 - kept) ** 0.5
    spans = []
    for length in (height, width):
        centre = int(random.integers(length))
        half = int(length * side) // 2
        spans.append(slice(max(0, centre - half), min(length, centre + half)))
    rows, columns = spans
    images = images.clone()
    images[:, :, rows, columns] = others[:, :, rows, columns]
    pasted = (rows.stop - rows.start) * (columns.stop - columns.start)
    return images, 1 - pasted / (height * width)


def _policy(kind: str):
    from torchvision.transforms import v2

    if kind == "randaugment":
        return v2.RandAugment(num_ops=2, magnitude=15)
    return v2.AutoAugment(v2.AutoAugmentPolicy.IMAGENET)
