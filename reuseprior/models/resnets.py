"""Networks with skips: ResNets, wide ones, DenseNets, and those of separable convolutions.

Most are for images of 32 pixels; WRN-50-2 and ResNet-50 are ImageNet's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor, nn

from reuseprior.errors import UserError
from reuseprior.models.layers import check_numbers, conv, finish, normed

if TYPE_CHECKING:
    from torchvision.models import ResNet


STEM = 16  # channels
STAGES = ((16, 1), (32, 2), (64, 2))  # channels of a width of 1, and the first block's stride
LAYERS_A_DEPTH = 6  # two convolutions in each block, or dense layer, of the three stages


def _blocks(depth: int, more: int, known: str) -> int:
    """How many blocks a stage has, of the 6n + `more` layers of a network."""
    blocks, left = divmod(depth - more, LAYERS_A_DEPTH)
    if blocks < 1 or left:
        raise UserError(f"depth is {depth!r}: it must be 6n + {more} for a whole n, as {known}")
    return blocks


# Wide ResNets (Zagoruyko and Komodakis 2016) ------------------------------------------------------


def wide_resnet(
    depth: int,
    widening: int,
    *,
    num_classes: int = 10,
    width: float = 1.0,
    bn_momentum: float = 0.1,
) -> WideResNet:
    """The WRN-depth-widening for images of 32 pixels, without dropout.

    ```python
    model = wide_resnet(28, 10, num_classes=100)
    sum(p.numel() for p in model.parameters())  # 36_536_884
    ```

    `widening` multiplies the channels of the three stages, and not those of the stem; `width`
    scales them once more, to the nearest whole number. `bn_momentum` is the weight of the newest
    batch in the running statistics. Raises `UserError` for a depth that is not 6n + 4 or a number
    out of range.
    """
    blocks = _blocks(depth, 4, "16, 28, 40 and 52")
    check_numbers(widening=widening, width=width, num_classes=num_classes, bn_momentum=bn_momentum)
    return WideResNet(blocks, widening * width, num_classes=num_classes, bn_momentum=bn_momentum)


class WideResNet(nn.Module):
    """Stem, three stages of `blocks` blocks, batch norm, global average pool, classifier.

    Takes images (batch, 3, height, width) and gives logits (batch, num_classes).
    """

    def __init__(self, blocks: int, widening: float, *, num_classes: int, bn_momentum: float):
        super().__init__()
        self.stem = conv(3, STEM)
        channels, stages = STEM, []
        for base, first_stride in STAGES:
            stage = []
            for index in range(blocks):
                out_channels = max(1, round(base * widening))
                stage.append(
                    PreActivation(channels, out_channels, first_stride if index == 0 else 1)
                )
                channels = out_channels
            stages.append(nn.Sequential(*stage))
        self.stages = nn.Sequential(*stages)
        self.bn = nn.BatchNorm2d(channels)
        self.classifier = nn.Linear(channels, num_classes)
        finish(self, bn_momentum, "fan_in")

    def forward(self, images: Tensor) -> Tensor:
        x = self.stages(self.stem(images))  # batch, channels, height / 4, width / 4
        x = F.relu(self.bn(x))
        return self.classifier(x.mean(dim=(2, 3)))


class PreActivation(nn.Module):
    """Twice batch norm, ReLU and a 3×3 convolution, beside a skip.

    Where the number of channels or the stride changes, the skip is a 1×1 convolution of what the
    first convolution sees.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = conv(in_channels, out_channels, 3, stride)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.conv2 = conv(out_channels, out_channels)
        changes = in_channels != out_channels or stride != 1
        self.skip = conv(in_channels, out_channels, 1, stride) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(x))
        skip = x if self.skip is None else self.skip(y)
        y = self.conv1(y)
        return skip + self.conv2(F.relu(self.bn2(y)))


def wide_resnet50_2(num_classes: int = 1000):
    """ImageNet's WRN-50-2: torchvision's, with a stem of three 3×3 convolutions.

    The stem is that of SSN's experiments, which have 68,902,472 parameters so.
    """
    from torchvision.models import wide_resnet50_2 as plain

    model = plain(weights=None, num_classes=num_classes)
    convolutions = [(3, 32, 2), (32, 32, 1), (32, 64, 1)]
    layers: list[nn.Module] = []
    for in_channels, out_channels, stride in convolutions:
        layers += [*normed(in_channels, out_channels, 3, stride), nn.ReLU(inplace=True)]
    model.conv1 = nn.Sequential(*layers[:-2])  # the last batch norm and ReLU are the model's own
    return model


# ResNets for CIFAR --------------------------------------------------------------------------------


def cifar_resnet(
    depth: int, *, num_classes: int = 10, width: float = 1.0, bn_momentum: float = 0.1
) -> CifarResNet:
    """The ResNet of 6n + 2 layers: 20, 32, 56 and 110 are those of the paper.

    ```python
    model = cifar_resnet(20)
    sum(p.numel() for p in model.parameters())  # 269_722
    ```

    `width` scales the channels of all three stages, to the nearest whole number. `bn_momentum` is
    the weight of the newest batch in the running statistics.

    Raises `UserError` for a depth of another kind or a number out of range.
    """
    blocks = _blocks(depth, 2, "20, 32, 56 and 110")
    check_numbers(num_classes=num_classes, width=width, bn_momentum=bn_momentum)
    return CifarResNet(blocks, num_classes=num_classes, width=width, bn_momentum=bn_momentum)


class CifarResNet(nn.Module):
    """Stem, three stages of `blocks` blocks each, global average pool, classifier.

    Takes images (batch, 3, height, width) and gives logits (batch, num_classes).
    """

    def __init__(self, blocks: int, *, num_classes: int, width: float, bn_momentum: float):
        super().__init__()
        stages = [(max(1, round(channels * width)), stride) for channels, stride in STAGES]
        channels = stages[0][0]
        self.stem = conv(3, channels)
        self.stem_bn = nn.BatchNorm2d(channels)
        self.blocks = nn.Sequential()
        for out_channels, first_stride in stages:
            for index in range(blocks):
                stride = first_stride if index == 0 else 1
                self.blocks.append(BasicBlock(channels, out_channels, stride))
                channels = out_channels
        self.classifier = nn.Linear(channels, num_classes)
        finish(self, bn_momentum, "fan_in")  # the classifier as torch has it

    def forward(self, images: Tensor) -> Tensor:
        x = F.relu(self.stem_bn(self.stem(images)))  # batch, channels, height, width
        x = self.blocks(x)  # batch, 4 · channels, height / 4, width / 4
        return self.classifier(x.mean(dim=(2, 3)))


class BasicBlock(nn.Module):
    """Two 3×3 convolutions beside a skip without parameters, the paper's option A.

    Where the shape changes, the skip takes every second pixel and fills new channels with zeros.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int):
        super().__init__()
        self.conv1 = conv(in_channels, out_channels, 3, stride)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = conv(out_channels, out_channels)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.stride, self.new_channels = stride, out_channels - in_channels

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return F.relu(self.skip(x) + y)

    def skip(self, x: Tensor) -> Tensor:
        if self.stride > 1:
            x = x[:, :, :: self.stride, :: self.stride]
        if self.new_channels:
            x = F.pad(x, (0, 0, 0, 0, 0, self.new_channels))
        return x


# DenseNets ----------------------------------------------------------------------------------------


def densenet_bc(depth: int, growth: int, *, num_classes: int = 10):
    """The DenseNet-BC-depth-growth: torchvision's blocks behind a stem for small images.

    ```python
    sum(p.numel() for p in densenet_bc(190, 40).parameters())  # 25_624_430
    ```

    The stem is one 3×3 convolution to 2 · growth channels, without batch norm or pooling. Raises
    `UserError` for a depth that is not 6n + 4.
    """
    from torchvision.models import DenseNet

    layers, left = divmod(depth - 4, LAYERS_A_DEPTH)
    if layers < 1 or left or growth < 1:
        raise UserError(
            f"depth is {depth} and growth {growth}: depth must be 6n + 4 for a whole n, as 100 and "
            "190, and growth 1 or more"
        )
    model = DenseNet(growth, (layers,) * 3, 2 * growth, num_classes=num_classes)
    model.features.conv0 = conv(3, 2 * growth)
    nn.init.kaiming_normal_(model.features.conv0.weight)
    for name in ("norm0", "relu0", "pool0"):
        setattr(model.features, name, nn.Identity())
    return model


# Separable convolutions, and a ResNet-18 beside them ----------------------------------------------
#
# These are the networks of Bidart's experiments with shared channels (2023, chapter 3), whose text
# says no more than "the standard Xception model". Widths and skips were found from the parameter
# counts in his notebooks, four widths and three ways of sharing for each, and reproduce all of
# them. Strides leave traces there only where they ask for a skip's convolution: which of Xception's
# four middle blocks has one, and that the first block has none, is our choice.


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
        SeparableBlock((entry, middle, middle), relu=False),
        SeparableBlock((middle, inner, inner), stride=2),
    ]
    shared = [SeparableBlock((inner,) * 4, stride=stride) for stride in (1, 1, 2, 1)]
    shared.append(SeparableBlock((inner, inner, last), stride=2))
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
        SeparableBlock((scaled(128), inner, inner, inner)),
        SeparableBlock((inner,) * 4, stride=2),
        SeparableBlock((inner,) * 4, stride=2),
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
    layers = [*normed(3, channels), nn.ReLU()]
    for out, stride in MOBILENET:
        width_in = scaled(out)
        layers += [
            *normed(channels, channels, 3, stride, channels), nn.ReLU(),
            *normed(channels, width_in, 1), nn.ReLU(),
        ]  # fmt: skip
        channels = width_in
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, num_classes)]
    return finish(nn.Sequential(*layers), bn_momentum, "fan_out")


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
    model.add_module("stem", nn.Sequential(*normed(3, first), nn.ReLU()))
    channels = first
    for number, out in enumerate(widths, 1):
        stride = 1 if number == 1 else 2
        blocks = nn.Sequential(Residual(channels, out, stride), Residual(out, out, 1))
        model.add_module(f"layer{number}", blocks)
        channels = out
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model.add_module("pool", head)
    model.add_module("classifier", nn.Linear(channels, num_classes))
    return finish(model, bn_momentum, "fan_out")


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
        for width_in, out in pairwise(stem):
            self.stem.extend([*normed(width_in, out), nn.ReLU()])
        self.body = nn.Sequential(*body)
        self.shared = nn.Sequential(*shared)
        self.last = nn.Sequential()
        for width_in, out in pairwise(last):
            self.last.extend([SeparableConv(width_in, out), nn.BatchNorm2d(out), nn.ReLU()])
        self.classifier = nn.Linear(last[-1], classes)
        finish(self, bn_momentum, "fan_out")

    def forward(self, images: Tensor) -> Tensor:
        x = F.relu(self.shared(self.body(self.stem(images))))
        return self.classifier(self.last(x).mean(dim=(2, 3)))


class SeparableBlock(nn.Module):
    """Separable convolutions beside a skip, as Xception has them.

    `widths` are the channels before and after each. The skip is a convolution of kernel 1 where
    the shape changes.
    """

    def __init__(self, widths: Sequence[int], stride: int = 1, *, relu: bool = True):
        super().__init__()
        self.body = nn.Sequential()
        for index, (width_in, out) in enumerate(pairwise(widths)):
            if index or relu:
                self.body.append(nn.ReLU())
            self.body.extend([SeparableConv(width_in, out), nn.BatchNorm2d(out)])
        if stride > 1:
            self.body.append(nn.MaxPool2d(3, stride, padding=1))
        self.skip = nn.Sequential()
        if stride > 1 or widths[0] != widths[-1]:
            self.skip.extend(normed(widths[0], widths[-1], 1, stride))

    def forward(self, x: Tensor) -> Tensor:
        return self.skip(x) + self.body(x)


class SeparableConv(nn.Sequential):
    """A depthwise 3×3 convolution, and one of kernel 1 over all channels."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.depthwise = conv(in_channels, in_channels, groups=in_channels)
        self.pointwise = conv(in_channels, out_channels, 1)


class Residual(nn.Module):
    """Two 3×3 convolutions beside a skip, which is a convolution where the shape changes."""

    def __init__(self, in_channels: int, out_channels: int, stride: int):
        super().__init__()
        self.body = nn.Sequential(
            *normed(in_channels, out_channels, 3, stride), nn.ReLU(),
            *normed(out_channels, out_channels, 3, 1),
        )  # fmt: skip
        self.skip = nn.Sequential()
        if stride > 1 or in_channels != out_channels:
            self.skip.extend(normed(in_channels, out_channels, 1, stride))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.skip(x) + self.body(x))


def _scaling(
    num_classes: int, width: float, narrowing: int, bn_momentum: float
) -> Callable[[int], int]:
    """The function from channels to those of a width, once all numbers are in range."""
    check_numbers(
        num_classes=num_classes, width=width, narrowing=narrowing, bn_momentum=bn_momentum
    )

    def scaled(channels: int) -> int:
        return max(narrowing, round(channels * width))

    return scaled


# ResNet-50 as Keras has it ------------------------------------------------------------------------

KERAS_EPSILON = 1.001e-5  # of batch norm


def resnet50_v1(*, num_classes: int = 1000, conv_bias: bool = False) -> ResNet:
    """torchvision's ResNet-50 with the stride in each block's first 1×1 convolution.

    ```python
    model = resnet50_v1()
    sum(p.numel() for p in model.parameters())  # 25_557_032
    ```

    Keras's ResNet-50 has this graph and, with `conv_bias`, a bias in every convolution (25,636,712
    with the running statistics). torchvision's own has none, and the stride in the 3×3 convolution.
    """
    from torchvision.models import resnet50  # takes as long as torch, so only where it is built
    from torchvision.models.resnet import Bottleneck

    norm = partial(nn.BatchNorm2d, eps=KERAS_EPSILON)
    model = resnet50(weights=None, num_classes=num_classes, norm_layer=norm)
    for module in model.modules():
        if isinstance(module, Bottleneck):
            module.conv1.stride, module.conv2.stride = module.conv2.stride, module.conv1.stride
        elif isinstance(module, nn.Conv2d) and conv_bias:
            module.bias = nn.Parameter(module.weight.new_zeros(module.out_channels))
    return model
