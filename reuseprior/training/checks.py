"""What a training needs of its model and data, said before anything is recorded."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from reuseprior.data import DataSet, ImageFolderSet
from reuseprior.training.augment import to_input
from reuseprior.training.protocol import Protocol, ProtocolError
from reuseprior.training.schedules import image_size


def outputs(
    model: nn.Module, data: DataSet | ImageFolderSet, protocol: Protocol, autocast
) -> Iterator[tuple[str, object]]:
    """Give the model a black image of its first, last and test size; each size and the output.

    Raises `ProtocolError` for images whose channels cannot become those of the protocol, and for a
    model that cannot take them. `autocast` makes the context in which the model computes.
    """
    folder = isinstance(data, ImageFolderSet)  # of any size: the protocol must say one
    held, own_size = (3, 1) if folder else (data.channels, data.image_size)
    if held not in (1, protocol.channels):
        raise ProtocolError(
            f"channels is {protocol.channels} and the images of {data.name} have {held}, of "
            f"which none can be left out or added: set channels to {held}"
        )
    sizes = {image_size(protocol, epoch) for epoch in (0, protocol.epochs - 1)}
    sizes.add(protocol.test_image_size or protocol.image_size)
    device = next((p.device for p in model.parameters()), None)
    black = torch.zeros(1, held, own_size, own_size, dtype=torch.uint8, device=device)
    model.eval()
    for size in sorted(sizes):
        shown = size or own_size
        what = f"{protocol.channels}×{shown}×{shown}"
        try:
            with torch.no_grad(), autocast():
                found = model(to_input(black, size, protocol))
        except Exception as error:  # whatever a model does with images that it is not made for
            said = " ".join(str(error).split())
            raise ProtocolError(
                f"the model cannot take images of {what} (channels, height, width): set "
                f"channels, image_size or test_image_size; it says: {said}"
            ) from error
        yield what, found
