"""ResNet-50 of He et al. (2016), version 1, as the thesis counted it."""

from collections.abc import Iterator

import torch.nn.functional as F
from torch import Tensor, nn

# (channels inside the bottleneck, blocks, stride of the first block)
RESNET50_STAGES = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))
EXPANSION = 4


def resnet50_v1(*, num_classes: int = 1000, conv_bias: bool = False) -> "ResNet":
    """ResNet-50 with the stride in each block's first 1×1 convolution.

    ```python
    model = resnet50_v1()
    sum(p.numel() for p in model.parameters())  # 25_557_032
    ```

    Keras's ResNet-50 has this graph and, with `conv_bias`, a bias in every convolution (25,636,712
    with the running statistics). torchvision's has none, and the stride in the 3×3 convolution.
    """
    return ResNet(RESNET50_STAGES, num_classes=num_classes, conv_bias=conv_bias)


class ResNet(nn.Module):
    """Stem, max-pool, bottleneck blocks, global average pool, classifier.

    Takes images (batch, 3, height, width) and gives logits (batch, num_classes).
    """

    def __init__(
        self,
        stages: tuple[tuple[int, int, int], ...],
        *,
        num_classes: int = 1000,
        conv_bias: bool = False,
    ):
        super().__init__()
        self.stem = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=conv_bias)
        self.stem_bn = _batch_norm(64)
        self.max_pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.blocks = nn.Sequential(*_blocks(stages, 64, conv_bias))
        self.classifier = nn.Linear(EXPANSION * stages[-1][0], num_classes)
        self.apply(_initialise)

    def forward(self, images: Tensor) -> Tensor:
        x = F.relu(self.stem_bn(self.stem(images)))  # batch, 64, height / 2, width / 2
        x = self.blocks(self.max_pool(x))  # batch, 2048, height / 32, width / 32
        return self.classifier(x.mean(dim=(2, 3)))


class Bottleneck(nn.Module):
    """1×1, 3×3, 1×1 beside a skip, which is a strided 1×1 where the shape changes."""

    def __init__(self, in_channels: int, channels: int, *, stride: int, bias: bool):
        super().__init__()
        out_channels = EXPANSION * channels
        self.reduce = nn.Conv2d(in_channels, channels, 1, stride=stride, bias=bias)
        self.reduce_bn = _batch_norm(channels)
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=bias)
        self.conv_bn = _batch_norm(channels)
        self.expand = nn.Conv2d(channels, out_channels, 1, bias=bias)
        self.expand_bn = _batch_norm(out_channels)
        self.shortcut = nn.Identity()
        if stride > 1 or in_channels != out_channels:
            shortcut = nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=bias)
            self.shortcut = nn.Sequential(shortcut, _batch_norm(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.reduce_bn(self.reduce(x)))
        y = F.relu(self.conv_bn(self.conv(y)))
        y = self.expand_bn(self.expand(y))
        return F.relu(self.shortcut(x) + y)


def _blocks(
    stages: tuple[tuple[int, int, int], ...], in_channels: int, bias: bool
) -> Iterator[Bottleneck]:
    for channels, repeats, first_stride in stages:
        for index in range(repeats):
            stride = first_stride if index == 0 else 1
            yield Bottleneck(in_channels, channels, stride=stride, bias=bias)
            in_channels = EXPANSION * channels


def _batch_norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1.001e-5)  # Keras's value


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
