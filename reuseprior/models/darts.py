"""The CIFAR-10 networks of DARTS: twenty cells that a search by gradients found.

Liu, Simonyan and Yang, "DARTS: differentiable architecture search", ICLR 2019. The cells are the
two that they released, found with the first-order and with the second-order approximation; the
layout is that of their evaluation, without what only trains (auxiliary head, drop path).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from reuseprior.models.errors import ModelError
from reuseprior.models.layers import conv, normed, preactivated

CELLS = 20
CHANNELS = 36  # of a node of the first cells; twice as many after each reduction
STEM = 3  # times as many channels leave the stem

Edge = tuple[str, int]
"""An operation and the node that it reads: 0 and 1 are the two cells before, 2 to 5 this one's."""


@dataclass(frozen=True)
class Genotype:
    """A cell and a cell that halves the image: two edges for each of the nodes 2, 3, 4 and 5."""

    normal: tuple[Edge, ...]
    reduce: tuple[Edge, ...]


GENOTYPES = {
    "first": Genotype(
        normal=(
            ("sep_conv_3x3", 1), ("sep_conv_3x3", 0),
            ("skip_connect", 0), ("sep_conv_3x3", 1),
            ("skip_connect", 0), ("sep_conv_3x3", 1),
            ("sep_conv_3x3", 0), ("skip_connect", 2),
        ),
        reduce=(
            ("max_pool_3x3", 0), ("max_pool_3x3", 1),
            ("skip_connect", 2), ("max_pool_3x3", 0),
            ("max_pool_3x3", 0), ("skip_connect", 2),
            ("skip_connect", 2), ("avg_pool_3x3", 0),
        ),
    ),
    "second": Genotype(
        normal=(
            ("sep_conv_3x3", 0), ("sep_conv_3x3", 1),
            ("sep_conv_3x3", 0), ("sep_conv_3x3", 1),
            ("sep_conv_3x3", 1), ("skip_connect", 0),
            ("skip_connect", 0), ("dil_conv_3x3", 2),
        ),
        reduce=(
            ("max_pool_3x3", 0), ("max_pool_3x3", 1),
            ("skip_connect", 2), ("max_pool_3x3", 1),
            ("max_pool_3x3", 0), ("skip_connect", 2),
            ("skip_connect", 2), ("max_pool_3x3", 1),
        ),
    ),
}  # fmt: skip
"""The released cells, DARTS_V1 and DARTS_V2, by the order of the search's approximation."""


def darts(order: str, num_classes: int = 10, *, cells: int = CELLS) -> nn.Module:
    """The network of the `first` or the `second` order, for images of 3 channels.

    ```python
    sum(p.numel() for p in darts("second").parameters())  # 3_349_342
    ```

    Raises `ModelError` for another order, and for too few cells to halve the image twice.
    """
    if order not in GENOTYPES:
        raise ModelError(f"DARTS has no order {order!r}: choose from {', '.join(GENOTYPES)}")
    if cells < 3:
        raise ModelError(f"cells is {cells}: two cells halve the image, so it must be 3 or more")
    return Network(GENOTYPES[order], cells, num_classes)


class Network(nn.Module):
    """Stem, cells, of which those at a third and at two thirds halve the image, classifier."""

    def __init__(self, genotype: Genotype, cells: int, classes: int):
        super().__init__()
        before_last = last = STEM * CHANNELS
        self.stem = nn.Sequential(*normed(3, last))
        self.cells = nn.ModuleList()
        channels, halved = CHANNELS, False
        for position in range(cells):
            halves = position in (cells // 3, 2 * cells // 3)
            channels *= 2 if halves else 1
            edges = genotype.reduce if halves else genotype.normal
            self.cells.append(Cell(edges, before_last, last, channels, halves, halved))
            before_last, last, halved = last, len(edges) // 2 * channels, halves
        self.classifier = nn.Linear(last, classes)

    def forward(self, x: Tensor) -> Tensor:  # b 3 h w -> b classes
        before_last = last = self.stem(x)
        for cell in self.cells:
            before_last, last = last, cell(before_last, last)
        return self.classifier(nn.functional.adaptive_avg_pool2d(last, 1).flatten(1))


class Cell(nn.Module):
    """Four nodes, each the sum of two edges, side by side.

    `halved` says that the cell before has halved the image, so that what the one before that gave
    must be halved too.
    """

    def __init__(
        self, edges: tuple[Edge, ...], before_last: int, last: int, channels: int, halves: bool,
        halved: bool,
    ):  # fmt: skip
        super().__init__()
        entry = Halving(before_last, channels) if halved else preactivated(before_last, channels, 1)
        self.before_last, self.last = entry, preactivated(last, channels, 1)
        self.reads = [node for _, node in edges]
        self.edges = nn.ModuleList(
            _operation(name, channels, 2 if halves and node < 2 else 1) for name, node in edges
        )

    def forward(self, before_last: Tensor, last: Tensor) -> Tensor:
        nodes = [self.before_last(before_last), self.last(last)]
        for i in range(0, len(self.edges), 2):
            a, b = (self.edges[k](nodes[self.reads[k]]) for k in (i, i + 1))
            nodes.append(a + b)
        return torch.cat(nodes[2:], 1)


class Halving(nn.Module):
    """Half the size by two convolutions of kernel 1, one of them a pixel further."""

    def __init__(self, before: int, channels: int):
        super().__init__()
        self.even = conv(before, channels // 2, 1, 2)
        self.odd = conv(before, channels - channels // 2, 1, 2)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        x = x.relu()
        return self.norm(torch.cat([self.even(x), self.odd(x[:, :, 1:, 1:])], 1))


def _operation(name: str, channels: int, stride: int) -> nn.Module:
    if name == "skip_connect":
        return nn.Identity() if stride == 1 else Halving(channels, channels)
    if name == "max_pool_3x3":
        return nn.MaxPool2d(3, stride, padding=1)
    if name == "avg_pool_3x3":
        return nn.AvgPool2d(3, stride, padding=1, count_include_pad=False)
    if name == "dil_conv_3x3":
        return nn.Sequential(*_separable(channels, stride, dilation=2))
    return nn.Sequential(*_separable(channels, stride), *_separable(channels, 1))  # sep_conv_3x3


def _separable(channels: int, stride: int, dilation: int = 1) -> list[nn.Module]:
    return [
        nn.ReLU(),
        nn.Conv2d(channels, channels, 3, stride, dilation, dilation, groups=channels, bias=False),
        *normed(channels, channels, 1),
    ]
