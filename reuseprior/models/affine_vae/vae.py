"""The variational autoencoder of Bidart's chapter 4 (section 4.1.5), for images and for voxels."""

from __future__ import annotations

import torch
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
