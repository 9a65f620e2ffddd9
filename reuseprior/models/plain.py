"""Convolutional networks of constant width and resolution, as deep as one likes."""

from itertools import pairwise

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


class CNN(nn.Module):
    """`depth` convolutions of `channels` channels with ReLU between them; no stride, no pooling.

    ```python
    model = CNN(60, 4)
    sum(p.numel() for p in model.parameters())  # 129_600, as in the thesis's Table 5.3
    ```

    Takes (batch, in_channels, height, width), `in_channels` being `channels` unless given, and
    gives (batch, channels, height, width); with `num_classes`, logits (batch, num_classes) by
    ReLU, global average pool and a linear classifier. With `batch_norm` every convolution, the
    last included, is normalised before its ReLU (Table 5.4). With `skip` the input of a layer is
    added to what comes of it, wherever their shapes agree.
    """

    def __init__(
        self,
        channels: int,
        depth: int,
        *,
        in_channels: int | None = None,
        kernel_size: int = 3,
        bias: bool = False,
        batch_norm: bool = False,
        skip: bool = False,
        num_classes: int | None = None,
    ):
        if channels < 1 or depth < 1:
            raise ValueError(
                f"a CNN needs channels and depth of 1 or more, got {channels} and {depth}"
            )
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size {kernel_size} is even and would change the image's size")
        super().__init__()
        widths = [channels if in_channels is None else in_channels] + [channels] * depth
        self.skip = skip
        self.layers = nn.ModuleList(
            nn.Conv2d(m, n, kernel_size, padding=kernel_size // 2, bias=bias)
            for m, n in pairwise(widths)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels) for _ in range(depth * batch_norm))
        self.classifier = None if num_classes is None else nn.Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = run(x, self.layers, self.norms, skip=self.skip)
        if self.classifier is None:
            return x
        return self.classifier(F.relu(x).mean(dim=(2, 3)))


class MLP(nn.Module):
    """`depth` fully connected layers of `width` nodes with ReLU between them.

    ```python
    model = MLP(60, 4)
    sum(p.numel() for p in model.parameters())  # 14_400, as in the thesis's Table 5.1
    ```

    Takes (batch, in_features), `in_features` being `width` unless given, and gives (batch, width).
    With `batch_norm` every layer, the last included, is normalised before its ReLU (Table 5.2).
    With `skip` the input of a layer is added to what comes of it, wherever their shapes agree.
    """

    def __init__(
        self,
        width: int,
        depth: int,
        *,
        in_features: int | None = None,
        bias: bool = False,
        batch_norm: bool = False,
        skip: bool = False,
    ):
        if width < 1 or depth < 1:
            raise ValueError(f"an MLP needs width and depth of 1 or more, got {width} and {depth}")
        super().__init__()
        widths = [width if in_features is None else in_features] + [width] * depth
        self.skip = skip
        self.layers = nn.ModuleList(nn.Linear(m, n, bias=bias) for m, n in pairwise(widths))
        self.norms = nn.ModuleList(nn.BatchNorm1d(width) for _ in range(depth * batch_norm))

    def forward(self, x: Tensor) -> Tensor:
        return run(x, self.layers, self.norms, skip=self.skip)
