"""ResNets for images of 32 pixels (He et al. 2016, section 4.2)."""

import math

import torch.nn.functional as F
from torch import Tensor, nn

from reuseprior.errors import UserError

STAGES = ((16, 1), (32, 2), (64, 2))  # channels, and the stride of the first block
LAYERS_A_DEPTH = 6  # two convolutions in each block of the three stages


def cifar_resnet(
    depth: int, *, num_classes: int = 10, width: float = 1.0, bn_momentum: float = 0.1
) -> "CifarResNet":
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
