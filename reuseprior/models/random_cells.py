"""Networks of random cells, a number each: a small space that no published score was formed on.

Three stages of one to three copies of a cell, with a strided convolution before the second and the
third. A cell has two to five nodes; each is the sum of one or two of the nodes before it, every
edge with an operation of its own: a skip, a convolution of 1×1 or 3×3, a separable one, an average
or a max-pool. What no node reads is added up, or put side by side and mixed by a 1×1 convolution.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from reuseprior.models.errors import ModelError

OPERATIONS = ("skip", "conv1", "conv3", "separable", "average", "max")
NODES = (2, 3, 4, 5)
COPIES = (1, 2, 3)  # of the cell in a stage
WIDTHS = (8, 12, 16, 24)  # channels of the first stage, doubled in each further one
STAGES = 3
Edge = tuple[int, str]  # the node that is read, the operation


@dataclass(frozen=True)
class Plan:
    """What a number stands for."""

    width: int
    copies: int
    nodes: tuple[tuple[Edge, ...], ...]
    joins: bool  # whether the output puts nodes side by side


def plan(number: int) -> Plan:
    """The network of a number, the same each time.

    >>> plan(0).width in WIDTHS
    True
    """
    chance = random.Random(f"random cells {number}")
    width, copies = chance.choice(WIDTHS), chance.choice(COPIES)
    nodes = []
    for before in range(1, chance.choice(NODES) + 1):
        reads = chance.sample(range(before), min(before, chance.choice((1, 2))))
        nodes.append(tuple((node, chance.choice(OPERATIONS)) for node in sorted(reads)))
    return Plan(width, copies, tuple(nodes), chance.random() < 0.5)


def parse(text: str) -> int:
    """The number in a name; raises `ModelError` for what is no whole number from 0 on."""
    if not text.isdecimal():
        raise ModelError(f"{text!r} is no number of a network of random cells: write 0, 1, 2 …")
    return int(text)


def random_cells(number: int, classes: int = 10) -> nn.Module:
    """The network of a number, for images of 3 channels."""
    drawn = plan(number)
    channels = drawn.width
    layers: list[nn.Module] = [
        nn.Conv2d(3, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
    ]  # fmt: skip
    for stage in range(STAGES):
        if stage:
            layers.append(_convolution(channels, 2 * channels, 3, stride=2))
            channels *= 2
        layers += [Cell(drawn.nodes, channels, joins=drawn.joins) for _ in range(drawn.copies)]
    layers += [nn.BatchNorm2d(channels), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(channels, classes))


class Cell(nn.Module):
    """Nodes that are sums of what their edges bring; node 0 is the input."""

    def __init__(self, nodes: Sequence[Sequence[Edge]], channels: int, *, joins: bool):
        super().__init__()
        self.sources = [[source for source, _ in edges] for edges in nodes]
        self.operations = nn.ModuleList(
            nn.ModuleList(_operation(name, channels) for _, name in edges) for edges in nodes
        )
        read = {source for sources in self.sources for source in sources}
        self.ends = [n for n in range(1, len(nodes) + 1) if n not in read]
        mixes = joins and len(self.ends) > 1
        self.mix = _convolution(len(self.ends) * channels, channels, 1) if mixes else None

    def forward(self, x: Tensor) -> Tensor:  # b c h w
        made = [x]
        for sources, operations in zip(self.sources, self.operations, strict=True):
            brought = [
                operation(made[source])
                for source, operation in zip(sources, operations, strict=True)
            ]
            made.append(sum(brought[1:], brought[0]))
        ends = [made[n] for n in self.ends]
        return self.mix(torch.cat(ends, dim=1)) if self.mix else sum(ends[1:], ends[0])


def _operation(name: str, channels: int) -> nn.Module:
    if name == "skip":
        return nn.Identity()
    if name == "average":
        return nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)
    if name == "max":
        return nn.MaxPool2d(3, stride=1, padding=1)
    if name == "separable":
        depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        return nn.Sequential(
            nn.ReLU(), depthwise, nn.Conv2d(channels, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
        )  # fmt: skip
    return _convolution(channels, channels, 1 if name == "conv1" else 3)


def _convolution(before: int, channels: int, kernel: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(before, channels, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(channels),
    )
