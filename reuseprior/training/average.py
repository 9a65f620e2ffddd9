"""Exponentially averaged weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Average:
    """An exponential moving average of a model's distinct parameters and buffers.

    ```python
    average = Average(model)
    average.update(0.9)  # average ← 0.9 · average + 0.1 · model
    with average.applied():
        model(images)  # by the averaged weights, batch norm's statistics included
    ```

    Whole numbers, such as batch norm's count of batches, are copied. Tied parameters stay tied.
    """

    def __init__(self, model: nn.Module):
        self._live = tensors(model)
        self.tensors = copies(self._live)

    @torch.no_grad()
    def update(self, decay: float) -> None:
        """Move the average towards the model by 1 - decay."""
        names = [name for name, tensor in self._live.items() if tensor.is_floating_point()]
        torch._foreach_lerp_(
            [self.tensors[name] for name in names], [self._live[name] for name in names], 1 - decay
        )
        for name in self._live.keys() - set(names):
            self.tensors[name].copy_(self._live[name])

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Let the model hold the average, and its own weights again afterwards."""
        own = copies(self._live)
        self.apply()
        try:
            yield
        finally:
            put_back(own, self._live)

    def apply(self) -> None:
        """Copy the average into the model."""
        put_back(self.tensors, self._live)


def copies(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copies of tensors, to go back to."""
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


@torch.no_grad()
def put_back(saved: dict[str, Tensor], tensors: dict[str, Tensor]) -> None:
    """Copy saved values into tensors of the same names, in place: whoever shares one sees them."""
    for name, tensor in saved.items():
        tensors[name].copy_(tensor)


def tensors(model: nn.Module) -> dict[str, Tensor]:
    """A model's parameters and saved buffers by name, each tensor once however often it is tied."""
    saved = model.state_dict(keep_vars=True)  # leaves out buffers that are not to be saved
    first: dict[int, str] = {}
    return {
        name: tensor for name, tensor in saved.items() if first.setdefault(id(tensor), name) == name
    }
