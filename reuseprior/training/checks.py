"""What a training needs of its model and data, said before anything is recorded."""

from __future__ import annotations

import torch
from torch import nn

from reuseprior.data import DataSet, ImageFolderSet
from reuseprior.training.augment import to_input
from reuseprior.training.precision import autocast
from reuseprior.training.protocol import Protocol, ProtocolError
from reuseprior.training.schedules import image_size


def channels(data: DataSet | ImageFolderSet, protocol: Protocol) -> None:
    """Raise `ProtocolError` for images whose channels cannot become those of the protocol."""
    found, _ = _shape(data)
    if found not in (1, protocol.channels):
        raise ProtocolError(
            f"channels is {protocol.channels} and the images of {data.name} have {found}, of "
            f"which none can be left out or added: set channels to {found}"
        )


@torch.no_grad()
def logits(
    model: nn.Module, data: DataSet | ImageFolderSet, protocol: Protocol, device: torch.device
) -> int:
    """Give the model an image of its first, last and test size; returns the number of logits.

    Raises `ProtocolError` for a model that cannot take them, or has too few logits.
    """
    sizes = {image_size(protocol, epoch) for epoch in (0, protocol.epochs - 1)}
    sizes.add(protocol.test_image_size or protocol.image_size)
    held, own_size = _shape(data)
    black = torch.zeros(1, held, own_size, own_size, dtype=torch.uint8, device=device)
    model.eval()
    for size in sorted(sizes):
        shown = size or own_size
        what = f"{max(held, protocol.channels)}×{shown}×{shown}"
        try:
            with autocast(protocol.precision, device):
                found = model(to_input(black, size, protocol))
        except Exception as error:  # whatever a model does with images that it is not made for
            raise ProtocolError(
                f"the model cannot take images of {what} (channels, height, width): set "
                f"channels, image_size or test_image_size; it says: {_one_line(error)}"
            ) from error
        shape = tuple(found.shape) if isinstance(found, torch.Tensor) else ()
        if len(shape) != 2 or shape[0] != 1 or shape[1] < data.classes:
            kind = f"a tensor of {shape}" if shape else f"a {type(found).__name__}"
            raise ProtocolError(
                f"the model gives {kind} for one image of {what}, and {data.name} has "
                f"{data.classes} classes: its output must be (images, {data.classes}) or wider"
            )
    return shape[1]


def _shape(data: DataSet | ImageFolderSet) -> tuple[int, int]:
    """Channels and pixels a side of the images as the data have them."""
    if isinstance(data, ImageFolderSet):
        return 3, 1  # of any size: the protocol must say one
    return data.channels, data.image_size


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
