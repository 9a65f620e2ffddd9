"""Wide ResNets (Zagoruyko and Komodakis 2016): for images of 32 pixels, and for ImageNet."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor, nn

from reuseprior.errors import UserError

if TYPE_CHECKING:
    from torchvision.models import ResNet


STEM = 16  # channels
STAGES = ((16, 1), (32, 2), (64, 2))  # channels of a width of 1, and the first block's stride
LAYERS_A_DEPTH = 6  # two convolutions in each block, or dense layer, of the three stages


# Wide ResNets -------------------------------------------------------------------------------------


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
    blocks, left = divmod(depth - 4, LAYERS_A_DEPTH)
    for name, value, fits, needed in [
        ("depth", depth, blocks >= 1 and not left, "6n + 4 for a whole n, as 16, 28, 40 and 52"),
        ("widening", widening, widening >= 1, "1 or more"),
        ("width", width, 0 < width < math.inf, "above 0"),
        ("num_classes", num_classes, num_classes >= 1, "1 or more"),
        ("bn_momentum", bn_momentum, 0 < bn_momentum <= 1, "above 0 and at most 1"),
    ]:
        if not fits:
            raise UserError(f"{name} is {value!r}: it must be {needed}")
    return WideResNet(blocks, widening * width, num_classes=num_classes, bn_momentum=bn_momentum)


class WideResNet(nn.Module):
    """Stem, three stages of `blocks` blocks, batch norm, global average pool, classifier.

    Takes images (batch, 3, height, width) and gives logits (batch, num_classes).
    """

    def __init__(self, blocks: int, widening: float, *, num_classes: int, bn_momentum: float):
        super().__init__()
        self.stem = nn.Conv2d(3, STEM, 3, padding=1, bias=False)
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
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = bn_momentum
            elif isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

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
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        changes = in_channels != out_channels or stride != 1
        self.skip = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False) if changes else None

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
        layers += [
            nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        ]
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
    blocks, left = divmod(depth - 2, LAYERS_A_DEPTH)
    for name, value, fits, needed in [
        ("depth", depth, blocks >= 1 and not left, "6n + 2 for a whole n, as 20, 32, 56 and 110"),
        ("num_classes", num_classes, num_classes >= 1, "1 or more"),
        ("width", width, 0 < width < math.inf, "above 0"),
        ("bn_momentum", bn_momentum, 0 < bn_momentum <= 1, "above 0 and at most 1"),
    ]:
        if not fits:
            raise UserError(f"{name} is {value!r}: it must be {needed}")
    return CifarResNet(blocks, num_classes=num_classes, width=width, bn_momentum=bn_momentum)


class CifarResNet(nn.Module):
    """Stem, three stages of `blocks` blocks each, global average pool, classifier.

    Takes images (batch, 3, height, width) and gives logits (batch, num_classes).
    """

    def __init__(self, blocks: int, *, num_classes: int, width: float, bn_momentum: float):
        super().__init__()
        stages = [(max(1, round(channels * width)), stride) for channels, stride in STAGES]
        channels = stages[0][0]
        self.stem = _conv(3, channels, 1)
        self.stem_bn = nn.BatchNorm2d(channels)
        self.blocks = nn.Sequential()
        for out_channels, first_stride in stages:
            for index in range(blocks):
                stride = first_stride if index == 0 else 1
                self.blocks.append(BasicBlock(channels, out_channels, stride))
                channels = out_channels
        self.classifier = nn.Linear(channels, num_classes)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = bn_momentum
        self.apply(_initialise)

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
        self.conv1 = _conv(in_channels, out_channels, stride)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = _conv(out_channels, out_channels, 1)
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


def _conv(in_channels: int, out_channels: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)


def _initialise(module: nn.Module) -> None:
    """He et al. (2015) by fan-in, as the paper; the classifier as torch has it."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")


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
    model.features.conv0 = nn.Conv2d(3, 2 * growth, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(model.features.conv0.weight)
    for name in ("norm0", "relu0", "pool0"):
        setattr(model.features, name, nn.Identity())
    return model


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
