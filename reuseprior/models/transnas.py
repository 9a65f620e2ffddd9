"""TransNAS-Bench-101's networks: backbones of residual blocks (macro) or of cells (micro).

Duan et al., "TransNAS-Bench-101: Improving transferability and generalizability of cross-task
neural architecture search", CVPR 2021; the layout is that of their released training code
(yawen-d/TransNASBench). Seven tasks share a backbone; here it stands with the head of its object
classification: a mean over positions and a linear layer of 75 classes.
"""

from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor, nn

from reuseprior.models import nas_bench_201
from reuseprior.models.errors import ModelError

STEM = 64  # channels after the stem, at a quarter of the image's size
CLASSES = 75  # of object classification
IMAGE_SIZE = 256
MODULES = "1234"  # 1 plain, 2 twice the channels, 3 half the size, 4 both
BLOCKS = 2  # in a module
LENGTHS = (4, 5, 6)  # modules of a macro network
WIDER, SMALLER = range(1, 4), range(1, 5)  # how many may double the channels, halve the size
MICRO = "41414"  # modules of a micro network, whose cells are searched
OPERATIONS = "0123"  # none, skip, convolution 1×1 and 3×3, as in NAS-Bench-201 without pooling


def macro_codes() -> list[str]:
    """All 3,256 macro networks, shortest first."""
    texts = ("".join(kinds) for n in LENGTHS for kinds in product(MODULES, repeat=n))
    return [text for text in texts if _is_macro(text)]


def micro_codes() -> list[str]:
    """All 4⁶ = 4,096 cells, six digits each, in the order of NAS-Bench-201's edges."""
    return ["".join(digits) for digits in product(OPERATIONS, repeat=6)]


def check_macro(modules: str) -> None:
    """Raise `ModelError` for anything but one of `macro_codes()`."""
    if not _is_macro(modules):
        raise ModelError(
            f"{modules!r} is no macro network of TransNAS-Bench-101: write four to six digits of "
            "1 (plain), 2 (twice the channels), 3 (half the size) and 4 (both), of which one to "
            "three double the channels and one to four halve the size"
        )


def _is_macro(modules: str) -> bool:
    wider, smaller = (sum(map(modules.count, kinds)) for kinds in ("24", "34"))
    known = len(modules) in LENGTHS and not set(modules) - set(MODULES)
    return known and wider in WIDER and smaller in SMALLER


def check_micro(cell: str) -> None:
    """Raise `ModelError` for anything but six digits from 0 to 3."""
    if len(cell) != len(nas_bench_201.EDGES) or set(cell) - set(OPERATIONS):
        raise ModelError(
            f"{cell!r} is no cell of TransNAS-Bench-101: write six digits of 0 (none), 1 (skip), "
            "2 (convolution 1×1) and 3 (convolution 3×3)"
        )


def transnas_macro(modules: str, classes: int = CLASSES) -> nn.Module:
    """The network of modules of residual blocks, for images of 3 channels.

    Raises `ModelError` as `check_macro` does.
    """
    check_macro(modules)
    return _network(modules, ResidualBlock, classes)


def transnas_micro(cell: str, classes: int = CLASSES) -> nn.Module:
    """The network of ten cells, for images of 3 channels.

    Raises `ModelError` as `check_micro` does.
    """
    check_micro(cell)

    def block(before: int, channels: int, stride: int) -> nn.Module:
        return Cell(nas_bench_201.parse(cell), before, channels, stride)

    return _network(MICRO, block, classes)


def _network(modules: str, block, classes: int) -> nn.Module:
    half = STEM // 2
    layers = [
        nn.Conv2d(3, half, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(half),
        _convolution(half, STEM, 3, 2),
    ]
    channels = STEM
    for kind in modules:
        before, stride = channels, 2 if kind in "34" else 1
        channels = before * 2 if kind in "24" else before
        layers.append(block(before, channels, stride))
        layers += [block(channels, channels, 1) for _ in range(BLOCKS - 1)]
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)]
    return nn.Sequential(*layers)


class ResidualBlock(nn.Module):
    """Two convolutions, added to the input, or to a 1×1 convolution of it where shapes differ."""

    def __init__(self, before: int, channels: int, stride: int):
        super().__init__()
        self.a = _convolution(before, channels, 3, stride)
        self.b = _convolution(channels, channels, 3)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or before != channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(before, channels, 1, stride=stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut(x) + self.b(self.a(x))


class Cell(nn.Module):
    """Four nodes as in NAS-Bench-201; edges from the first take the stride and the new channels.

    There a skip is two 1×1 convolutions side by side. `none` brings nothing, and no path.
    """

    def __init__(self, operations: Sequence[str], before: int, channels: int, stride: int):
        super().__init__()
        self.channels, self.stride = channels, stride
        first, others = (before, channels, stride), (channels, channels, 1)
        self.edges = nn.ModuleDict(
            {
                f"{start}-{end}": _operation(name, *(others if start else first))
                for (start, end), name in zip(nas_bench_201.EDGES, operations, strict=True)
                if name != "none"
            }
        )

    def forward(self, x: Tensor) -> Tensor:  # b c h w
        out = nas_bench_201.through(self.edges, x)
        if out is not None:
            return out
        b, _, h, w = x.shape
        return x.new_zeros(b, self.channels, h // self.stride, w // self.stride)


class HalvedSkip(nn.Module):
    """Two 1×1 convolutions of stride 2, one of them a position further on, side by side."""

    def __init__(self, before: int, channels: int):
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv2d(before, channels // 2, 1, stride=2, bias=False) for _ in range(2)
        )
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.relu(x)
        moved = nn.functional.pad(x, (0, 1, 0, 1))[:, :, 1:, 1:]
        return self.norm(torch.cat([self.convs[0](x), self.convs[1](moved)], dim=1))


def _operation(name: str, before: int, channels: int, stride: int) -> nn.Module:
    if name == "skip_connect":
        same = stride == 1 and before == channels
        return nn.Identity() if same else HalvedSkip(before, channels)
    return _convolution(before, channels, 1 if name == "nor_conv_1x1" else 3, stride)


def _convolution(before: int, channels: int, kernel: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(before, channels, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(channels),
    )
