"""What a forward pass costs: multiply-adds, by torch's own counter and without computing.

A multiply-add is one product and the addition that takes it up. Papers on image classifiers,
Table 4.2 among them, print multiply-adds under the name of FLOPs; a FLOP proper is half of one.
Counted are convolutions and matrix products. Batch norm, activations, sums and means are not:
EfficientNetV2 does one such operation per 70 to 100 multiply-adds.
"""

import copy
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from reuseprior.errors import UserError


@dataclass(frozen=True)
class Flops:
    """The cost of one forward pass."""

    multiply_adds: int

    @property
    def flops(self) -> int:
        """Floating-point operations, two a multiply-add."""
        return 2 * self.multiply_adds


def flops(model: nn.Module, shape: tuple[int, ...]) -> Flops:
    """Multiply-adds of the model on an input of `shape`, batch axis included.

    ```python
    flops(efficientnet_v2("b0"), (1, 3, 224, 224)).multiply_adds  # 718_086_176: "0.7B"
    flops(efficientnet_v2("s"), (1, 3, 384, 384)).multiply_adds  # 8_365_617_152: not "8.8B"
    ```

    The released V2-S, which the thesis trained, has 8.4 billion. Its authors say that their paper's
    V2-S was wider in its last stage (272 channels, google/automl#999); with a head of 1792 that
    makes 8.6, so 8.8 is probably a figure of that model. Sharing changes no FLOPs: every layer
    still computes.

    Counts on a copy without storage, in evaluation mode; the model is left alone. Raises
    `UserError` if the model does not take such an input.
    """
    twin = _on_meta(model)
    images = torch.empty(shape, device="meta")
    try:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            twin(images)
    except (RuntimeError, ValueError) as error:
        raise UserError(
            f"the model does not take an input of shape {shape} ({error}): check its channels "
            "and size"
        ) from error
    return Flops(counter.get_total_flops() // 2)


def _on_meta(model: nn.Module) -> nn.Module:
    """A copy whose parameters and buffers have no storage; those that are shared stay shared."""
    twins = {id(p): nn.Parameter(p.to("meta"), p.requires_grad) for p in model.parameters()}
    twins |= {id(b): b.to("meta") for b in model.buffers()}
    return copy.deepcopy(model, twins).eval()
