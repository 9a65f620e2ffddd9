"""Networks of depthwise separable convolutions for images of 32 pixels, and a ResNet-18 for them.

They are those of Bidart's experiments with shared channels (2023, chapter 3), whose text says no
more than "the standard Xception model". Widths and skips were found from the parameter counts in
his notebooks, four widths and three ways of sharing for each, and reproduce all of them. Strides
leave traces there only where they ask for a skip's convolution: which of Xception's four middle
blocks has one, and that the first block has none, is our choice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from reuseprior.errors import UserError


def cifar_xception(
    *, num_classes: int = 10, width: float = 1.0, narrowing: int = 1, bn_momentum: float = 0.1
) -> nn.Module:
    """Xception (Chollet 2017) with 512 channels in five blocks, numbered 4, 5, 8, 11 and 12.

    ```python
    sum(p.numel() for p in cifar_xception().parameters())  # 7_649_898
    ```

    `width` scales all channels, to the nearest whole number. `narrowing` divides those of the five
    blocks, as Bidart's removal of channels does. Raises `UserError` for a number out of range.
    """
    scaled = _scaling(num_classes, width, narrowing, bn_momentum)
    stem, entry, middle = (scaled(c) for c in (32, 64, 128))
    inner, last = scaled(512) // narrowing, scaled(1024) // narrowing
    body = [
        Block((entry, middle, middle), relu=False),
        Block((middle, inner, inner), stride=2),
    ]
    shared = [Block((inner,) * 4, stride=stride) for stride in (1, 1, 2, 1)]
    shared.append(Block((inner, inner, last), stride=2))
    exit_ = (last, scaled(1536), scaled(512))
    return Separable((3, stem, entry), body, shared, exit_, num_classes, bn_momentum)


def vs_xception(
    *, num_classes: int = 10, width: float = 1.0, narrowing: int = 1, bn_momentum: float = 0.1
) -> nn.Module:
    """The very small Xception: a stem of two convolutions and three blocks of 256 channels.

    ```python
    sum(p.numel() for p in vs_xception().parameters())  # 787_242
    ```

    Arguments and errors are those of `cifar_xception`.
    """
    scaled = _scaling(num_classes, width, narrowing, bn_momentum)
    inner = scaled(256) // narrowing
    shared = [
        Block((scaled(128), inner, inner, inner)),
        Block((inner,) * 4, stride=2),
        Block((inner,) * 4, stride=2),
    ]
    stem = (3, scaled(32), scaled(128))
    return Separable(stem, [], shared, (inner,), num_classes, bn_momentum)


def cifar_mobilenet(
    *, num_classes: int = 10, width: float = 1.0, bn_momentum: float = 0.1
) -> nn.Module:
    """MobileNet (Howard et al. 2017) with the stride of its stem and of its first halving left out.

    ```python
    sum(p.numel() for p in cifar_mobilenet().parameters())  # 3_217_226
    ```

    Arguments and errors are those of `cifar_xception`.
    """
    scaled = _scaling(num_classes, width, 1, bn_momentum)
    channels = scaled(32)
    layers = [_conv(3, channels, 3), nn.BatchNorm2d(channels), nn.ReLU()]
    for out, stride in MOBILENET:
        made = scaled(out)
        layers += [
            nn.Conv2d(channels, channels, 3, stride, 1, groups=channels, bias=False),
            nn.BatchNorm2d(channels), nn.ReLU(),
            _conv(channels, made, 1), nn.BatchNorm2d(made), nn.ReLU(),
        ]  # fmt: skip
        channels = made
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, num_classes)]
    return _finish(nn.Sequential(*layers), bn_momentum)


MOBILENET = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2),
    *((512, 1),) * 5, (1024, 2), (1024, 1),
)  # fmt: skip
"""Output channels and stride of MobileNet's thirteen separable convolutions at 32 pixels."""


def cifar_resnet18(
    *, num_classes: int = 10, width: float = 1.0, narrowing: int = 1, bn_momentum: float = 0.1
) -> nn.Module:
    """ResNet-18 (He et al. 2016) with a 3×3 stem without stride or pooling.

    ```python
    sum(p.numel() for p in cifar_resnet18().parameters())  # 11_173_962
    ```

    `narrowing` divides the channels of all stages but the first. Arguments and errors are those of
    `cifar_xception`.
    """
    scaled = _scaling(num_classes, width, narrowing, bn_momentum)
    first, *rest = (scaled(c) for c in (64, 128, 256, 512))
    widths = [first, *(c // narrowing for c in rest)]
    model = nn.Sequential()
    model.add_module("stem", nn.Sequential(_conv(3, first, 3), nn.BatchNorm2d(first), nn.ReLU()))
    channels = first
    for number, out in enumerate(widths, 1):
        stride = 1 if number == 1 else 2
        blocks = nn.Sequential(Residual(channels, out, stride), Residual(out, out, 1))
        model.add_module(f"layer{number}", blocks)
        channels = out
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model.add_module("pool", head)
    model.add_module("classifier", nn.Linear(channels, num_classes))
    return _finish(model, bn_momentum)


class Separable(nn.Module):
    """Stem, blocks, blocks that Bidart shares, separable convolutions, pool, classifier.

    Takes images (batch, 3, height, width) and gives logits (batch, classes).
    """

    def __init__(
        self, stem: Sequence[int], body: Sequence[nn.Module], shared: Sequence[nn.Module],
        last: Sequence[int], classes: int, bn_momentum: float,
    ):  # fmt: skip
        super().__init__()
        self.stem = nn.Sequential()
        for made, out in pairwise(stem):
            self.stem.extend([_conv(made, out, 3), nn.BatchNorm2d(out), nn.ReLU()])
        self.body = nn.Sequential(*body)
        self.shared = nn.Sequential(*shared)
        self.last = nn.Sequential()
        for made, out in pairwise(last):
            self.last.extend([SeparableConv(made, out), nn.BatchNorm2d(out), nn.ReLU()])
        self.classifier = nn.Linear(last[-1], classes)
        _finish(self, bn_momentum)

    def forward(self, images: Tensor) -> Tensor:
        x = F.relu(self.shared(self.body(self.stem(images))))
        return self.classifier(self.last(x).mean(dim=(2, 3)))


class Block(nn.Module):
    """Separable convolutions beside a skip, as Xception has them.

    `widths` are the channels before and after each. The skip is a convolution of kernel 1 where
    the shape changes.
    """

    def __init__(self, widths: Sequence[int], stride: int = 1, *, relu: bool = True):
        super().__init__()
        self.body = nn.Sequential()
        for index, (made, out) in enumerate(pairwise(widths)):
            if index or relu:
                self.body.append(nn.ReLU())
            self.body.extend([SeparableConv(made, out), nn.BatchNorm2d(out)])
        if stride > 1:
            self.body.append(nn.MaxPool2d(3, stride, padding=1))
        self.skip = nn.Sequential()
        if stride > 1 or widths[0] != widths[-1]:
            self.skip.extend(_norm_conv(widths[0], widths[-1], 1, stride))

    def forward(self, x: Tensor) -> Tensor:
        return self.skip(x) + self.body(x)


class SeparableConv(nn.Sequential):
    """A depthwise 3×3 convolution, and one of kernel 1 over all channels."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.depthwise = nn.Conv2d(
            in_channels, in_channels, 3, padding=1, groups=in_channels, bias=False
        )
        self.pointwise = _conv(in_channels, out_channels, 1)


class Residual(nn.Module):
    """Two 3×3 convolutions beside a skip, which is a convolution where the shape changes."""

    def __init__(self, in_channels: int, out_channels: int, stride: int):
        super().__init__()
        self.body = nn.Sequential(
            *_norm_conv(in_channels, out_channels, 3, stride), nn.ReLU(),
            *_norm_conv(out_channels, out_channels, 3, 1),
        )  # fmt: skip
        self.skip = nn.Sequential()
        if stride > 1 or in_channels != out_channels:
            self.skip.extend(_norm_conv(in_channels, out_channels, 1, stride))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.skip(x) + self.body(x))


def _norm_conv(in_channels: int, out_channels: int, kernel: int, stride: int) -> list[nn.Module]:
    return [_conv(in_channels, out_channels, kernel, stride), nn.BatchNorm2d(out_channels)]


def _conv(in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, bias=False)


def _finish(model: nn.Module, bn_momentum: float) -> nn.Module:
    """Batch norm's momentum, and kernels by He et al. (2015), fan-out."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = bn_momentum
        elif isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return model


def _scaling(
    num_classes: int, width: float, narrowing: int, bn_momentum: float
) -> Callable[[int], int]:
    """The function from channels to those of a width, once all numbers are in range."""
    for name, value, fits, needed in [
        ("num_classes", num_classes, num_classes >= 1, "1 or more"),
        ("width", width, 0 < width < math.inf, "above 0"),
        ("narrowing", narrowing, narrowing in (1, 2, 4, 8, 16), "1, 2, 4, 8 or 16"),
        ("bn_momentum", bn_momentum, 0 < bn_momentum <= 1, "above 0 and at most 1"),
    ]:
        if not fits:
            raise UserError(f"{name} is {value!r}: it must be {needed}")

    def scaled(channels: int) -> int:
        return max(narrowing, round(channels * width))

    return scaled
