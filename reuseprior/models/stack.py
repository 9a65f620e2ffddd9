"""What plain deep networks have in common: one layer after another."""

import torch.nn.functional as F
from torch import Tensor, nn


def run(x: Tensor, layers: nn.ModuleList, norms: nn.ModuleList, *, skip: bool) -> Tensor:
    """Layer, normalisation, ReLU, layer, normalisation, ReLU … with no ReLU at the end.

    `norms` has one module a layer, or none at all. With `skip` the input of a layer is added to
    what comes of it, where their shapes agree.
    """
    for index, layer in enumerate(layers):
        y = layer(x)
        if norms:
            y = norms[index](y)
        if index < len(layers) - 1:
            y = F.relu(y)
        x = x + y if skip and x.shape == y.shape else y
    return x
