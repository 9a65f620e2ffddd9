"""Convolutions: plain, transposed, depthwise separable, conv-deconv, and along the channels."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from reuseprior.revolver.blueprints.kinds import Block, Chain, Shape, block, require, require_image
from reuseprior.revolver.blueprints.shapes import assemble


@block("conv")
class Conv(Block, nn.Conv2d):
    """A convolution; its name holds what appendix C.4's does, in the same order."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        stride: int = 1,
        padding: int = 1,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = False,
    ):
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias
        )
        self._skips = kernel_size == 1 < stride and padding == 0 and in_channels < 8

    def forward(self, x):
        if self._skips and x.is_contiguous(memory_format=torch.channels_last):
            # The same of the pixels that it reads: on processors the backward of a strided 1×1
            # convolution writes out of bounds in this layout (torch 2.15, 2 to 7 channels in).
            x = x[..., :: self.stride[0], :: self.stride[1]]
            x = x.contiguous(memory_format=torch.channels_last)
            return F.conv2d(x, self.weight, self.bias, groups=self.groups)
        return super().forward(x)

    @staticmethod
    def infer(node, x, flow):
        channels, out, kernel_size, stride, padding, dilation, groups, _ = node.arguments.values()
        require_image(x, channels)
        require(min(out, kernel_size, stride, dilation, groups) > 0, "has a size below 1")
        require(padding >= 0, "has a negative padding")
        require(channels % groups == out % groups == 0, f"cannot split into {groups} groups")
        span = dilation * (kernel_size - 1) + 1
        require(min(x[1:]) + 2 * padding >= span, f"is too small for a span of {span} pixels")
        return (out, *((side + 2 * padding - span) // stride + 1 for side in x[1:]))

    @staticmethod
    def size(node):
        channels, out, kernel_size, _, _, _, groups, bias = node.arguments.values()
        return out * (channels // groups * kernel_size**2 + bias)

    @staticmethod
    def adjust(arguments, key, value):
        arguments[key] = value
        if key == "kernel_size":  # the output keeps its shape only with the padding to match
            arguments["padding"] = arguments["dilation"] * (value - 1) // 2

    @staticmethod
    def fit(x, y, make):
        return conv(x, y[0], **_drawn(x, y, make))


@block("deconv")
class Deconv(Block, nn.ConvTranspose2d):
    """A transposed convolution."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        stride: int = 2,
        padding: int = 1,
        output_padding: int = 1,
        bias: bool = False,
    ):
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, output_padding, bias=bias
        )

    @staticmethod
    def infer(node, x, flow):
        channels, out, kernel_size, stride, padding, extra, _ = node.arguments.values()
        require_image(x, channels)
        require(min(out, kernel_size, stride) > 0, "has a size below 1")
        require(0 <= extra < stride, f"needs an output padding below its stride {stride}")
        sides = [(side - 1) * stride - 2 * padding + kernel_size + extra for side in x[1:]]
        require(min(sides) > 0, "would give an empty image")
        return (out, *sides)

    @staticmethod
    def size(node):
        channels, out, kernel_size, *_, bias = node.arguments.values()
        return out * (channels * kernel_size**2 + bias)


@block("separable")
class Separable(Chain):
    """A depthwise convolution, one filter a channel, then a 1×1 convolution over the channels."""

    @staticmethod
    def fit(x, y, make):
        return separable(x, y[0], **_drawn(x, y, make))


@block("conv_deconv")
class ConvDeconv(Chain):
    """A convolution that halves the image, then a transposed one that doubles it again."""

    @staticmethod
    def fit(x, y, make):
        if y[1:] != x[1:] or x[1] != x[2] or x[1] < 2:
            return None
        kernels = make.space.kernels
        return conv_deconv(x, y[0], make.rng.choice(kernels), kernels=kernels)


@block("conv3d")
class Conv3d(Block, nn.Conv3d):
    """A 3-d convolution over (channels, height, width): one small filter bank for all channels.

    `expansion` filters widen the channels by that factor; `reduction`, a stride along them,
    divides them.
    """

    def __init__(
        self, expansion: int = 1, reduction: int = 1, kernel_size: int = 3, stride: int = 1
    ):
        super().__init__(
            1,
            expansion,
            (max(3, reduction), kernel_size, kernel_size),
            (reduction, stride, stride),
            (1 if reduction < 3 else 0, kernel_size // 2, kernel_size // 2),
            bias=False,
        )

    def forward(self, x):
        return super().forward(x.unsqueeze(1)).flatten(1, 2)  # (N, expansion, C', H', W') first

    @staticmethod
    def infer(node, x, flow):
        expansion, reduction, kernel_size, stride = node.arguments.values()
        require(min(node.arguments.values()) > 0, "has a size below 1")
        require(kernel_size % 2 == 1, "needs an odd kernel size")
        require(len(x) == 3 and x[0] % reduction == 0, f"needs channels divisible by {reduction}")
        return (expansion * x[0] // reduction, *((side - 1) // stride + 1 for side in x[1:]))

    @staticmethod
    def size(node):
        expansion, reduction, kernel_size, _ = node.arguments.values()
        return expansion * max(3, reduction) * kernel_size**2

    @staticmethod
    def fit(x, y, make):
        (c, *_), (d, *_) = x, y
        if c % d and d % c:
            return None
        return conv3d(x, max(d // c, 1), max(c // d, 1), **_drawn(x, y, make))


def conv(
    x: Shape,
    channels: int,
    kernel_size: int = 3,
    *,
    stride: int = 1,
    groups: int = 1,
    bias: bool = False,
    kernels=(),
):
    """A convolution padded to keep the image's size; `kernels` are sizes it may mutate to.

    >>> conv((8, 32, 32), 16, 5, stride=2).output_shape
    (16, 16, 16)
    """
    return assemble(
        "conv",
        x,
        mutables={"kernel_size": kernels},
        in_channels=x[0],
        out_channels=channels,
        kernel_size=kernel_size,
        stride=stride,
        padding=kernel_size // 2,
        groups=groups,
        bias=bias,
    )


def deconv(x: Shape, channels: int, kernel_size: int = 3, *, stride: int = 2, to: int = 0):
    """A transposed convolution to an image of `to` pixels a side, by default `stride` × as many."""
    padding = (kernel_size - 1) // 2
    least = (x[1] - 1) * stride - 2 * padding + kernel_size
    return assemble(
        "deconv",
        x,
        in_channels=x[0],
        out_channels=channels,
        kernel_size=kernel_size,
        stride=stride,
        padding=padding,
        output_padding=(to or x[1] * stride) - least,
    )


def separable(x: Shape, channels: int, kernel_size: int = 3, *, stride: int = 1, kernels=()):
    """A depthwise separable convolution: `separable((8, 4, 4), 16).parameters()` is 8·9 + 8·16."""
    depthwise = conv(x, x[0], kernel_size, stride=stride, groups=x[0], kernels=kernels)
    pointwise = conv(depthwise.output_shape, channels, 1)
    return assemble("separable", x, {"depthwise": depthwise, "pointwise": pointwise})


def conv_deconv(x: Shape, channels: int, kernel_size: int = 3, *, kernels=()):
    """A convolution with stride 2, then back: (8, 7, 7) becomes (channels, 7, 7)."""
    down = conv(x, channels, kernel_size, stride=2, kernels=kernels)
    up = deconv(down.output_shape, channels, to=x[1])
    return assemble("conv_deconv", x, {"conv": down, "deconv": up})


def conv3d(x: Shape, expansion=1, reduction=1, kernel_size=3, *, stride=1, kernels=()):
    """A 3-d convolution over the channels: `conv3d((8, 4, 4), 2).parameters()` is 2·27."""
    return assemble(
        "conv3d",
        x,
        mutables={"kernel_size": kernels},
        expansion=expansion,
        reduction=reduction,
        kernel_size=kernel_size,
        stride=stride,
    )


def stride(x: Shape, y: Shape) -> int:
    """The stride that takes an image of shape `x` to one of shape `y`: 28 pixels to 14 is 2."""
    return -(-x[1] // y[1])


def _drawn(x: Shape, y: Shape, make) -> dict:
    """A kernel size, the sizes it may mutate to, and the stride from `x` to `y`."""
    kernels = make.space.kernels
    return {"kernel_size": make.rng.choice(kernels), "stride": stride(x, y), "kernels": kernels}
