"""Networks of constant width and resolution, as deep as one likes, and small blocks of layers."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reuseprior.models.layers import conv


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


# Small blocks, to compare ways of joining and sharing convolutions (thesis, §C.1.1) ---------------
#
# Every layer is a convolution and a ReLU, with batch norm between them if asked. Each convolution
# has a `depth`: how many convolutions the longest path from the block's input has up to and with
# it.


def layer(
    in_channels: int, out_channels: int, *, depth: int, batch_norm: bool = False
) -> nn.Sequential:
    """A 3×3 convolution that keeps the image's size, batch norm if asked, ReLU."""
    convolution = conv(in_channels, out_channels)
    convolution.depth = depth
    norm = [nn.BatchNorm2d(out_channels)] if batch_norm else []
    return nn.Sequential(convolution, *norm, nn.ReLU())


class ResidualBlock(nn.Module):
    """x ← x + f_i(x), for i = 1 … d, with layers f_i."""

    def __init__(self, channels: int, d: int, *, batch_norm: bool = False):
        super().__init__()
        self.layers = nn.ModuleList(
            layer(channels, channels, depth=i + 1, batch_norm=batch_norm) for i in range(d)
        )

    def forward(self, x: Tensor) -> Tensor:
        for f in self.layers:
            x = x + f(x)
        return x


class SummingDenseBlock(nn.Module):
    """A DenseNet that adds: x_l = x_0 + Σ f_il(x_i) over i < l, for l = 1 … d; gives x_d.

    Each of the d(d+1)/2 connections has a layer of its own, as it has its own part of a weight
    where DenseNet concatenates. If f_il is the same for all l, x_l = x_{l-1} + f_{l-1}(x_{l-1}),
    which is `ResidualBlock`.
    """

    def __init__(self, channels: int, d: int, *, batch_norm: bool = False):
        super().__init__()
        self.layers = nn.ModuleList(
            nn.ModuleList(
                layer(channels, channels, depth=i + 1, batch_norm=batch_norm) for i in range(to)
            )
            for to in range(1, d + 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        states = [x]
        for incoming in self.layers:
            y = x
            for f, state in zip(incoming, states, strict=True):
                y = y + f(state)
            states.append(y)
        return states[-1]


class DenseBlock(nn.Module):
    """x ← [x, f_i(x)], for i = 1 … d: each layer sees everything before it (DenseNet).

    A layer adds as many channels as the block is given, so it gives `(d + 1) · channels`.
    """

    def __init__(self, channels: int, d: int, *, batch_norm: bool = False):
        super().__init__()
        self.layers = nn.ModuleList(
            layer((i + 1) * channels, channels, depth=i + 1, batch_norm=batch_norm)
            for i in range(d)
        )

    def forward(self, x: Tensor) -> Tensor:
        for f in self.layers:
            x = torch.cat([x, f(x)], 1)
        return x


class FractalBlock(nn.Module):
    """FractalNet's expansion: f_1 is a layer, f_{n+1}(x) the mean of f_n(f_n(x)) and a layer's.

    All 2^n - 1 layers are alike; the deepest path has 2^(n-1) of them.
    """

    def __init__(self, channels: int, n: int, *, depth: int = 1, batch_norm: bool = False):
        super().__init__()
        self.n = n
        self.short = layer(channels, channels, depth=depth, batch_norm=batch_norm)
        if n > 1:
            half = 2 ** (n - 2)
            self.long = nn.Sequential(
                FractalBlock(channels, n - 1, depth=depth, batch_norm=batch_norm),
                FractalBlock(channels, n - 1, depth=depth + half, batch_norm=batch_norm),
            )

    def forward(self, x: Tensor) -> Tensor:
        short = self.short(x)
        return (self.long(x) + short) / 2 if self.n > 1 else short


class DenseFractalBlock(nn.Module):
    """Another expansion: g_0(x) is x, g_{n+1}(x) is [g_n(x), f(g_n(x))], each g_n a new copy.

    It has 2^n - 1 layers too, at only n depths. If those of equal depth are the same, so are the
    copies of g_n, and the block is `DenseBlock` with n layers.
    """

    def __init__(self, channels: int, n: int, *, batch_norm: bool = False):
        super().__init__()
        self.n = n
        if n > 0:
            self.kept = DenseFractalBlock(channels, n - 1, batch_norm=batch_norm)
            self.seen = DenseFractalBlock(channels, n - 1, batch_norm=batch_norm)
            self.last = layer(n * channels, channels, depth=n, batch_norm=batch_norm)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.kept(x), self.last(self.seen(x))], 1) if self.n > 0 else x
