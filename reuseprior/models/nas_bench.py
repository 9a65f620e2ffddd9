"""Networks of cells or blocks that searches choose among: three benchmarks' and random ones.

NAS-Bench-201 (Dong and Yang, "NAS-Bench-201: Extending the scope of reproducible neural
architecture search", ICLR 2020, section 2.1; the same cells are the topology space of NATS-Bench,
2021): fifteen copies of a cell between a stem and a classifier. TransNAS-Bench-101,
NAS-Bench-Macro and random cells say below what they are. All take images of 3 channels.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product

import torch
from torch import Tensor, nn

from reuseprior.errors import did_you_mean
from reuseprior.models.errors import ModelError
from reuseprior.models.layers import conv, normed, preactivated

# NAS-Bench-201 ------------------------------------------------------------------------------------

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
"""(from, to) between a cell's four nodes, in the order of the benchmark's strings."""

CHANNELS = (16, 32, 64)  # of the three stages
CELLS = 5  # in each stage


def codes() -> list[str]:
    """All 5⁶ = 15,625 cells as six digits, the operations of `EDGES` by their place in the list.

    >>> codes()[1]
    '000001'
    """
    return ["".join(digits) for digits in product("01234", repeat=len(EDGES))]


def code(architecture: str) -> str:
    """A cell's six digits, whichever way it is written.

    >>> code("|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|avg_pool_3x3~2|")
    '301004'
    """
    return "".join(str(OPERATIONS.index(name)) for name in parse(architecture))


@cache
def live(architecture: str) -> str:
    """The cell as digits, with `none` for every edge that no path through the cell takes.

    >>> live("301004")
    '301004'
    >>> live("330000")  # nothing arrives at the last node
    '000000'

    Cells of equal live edges have the same contexts; their other edges hold weights without any.
    """
    edges = dict(zip(EDGES, parse(architecture), strict=True))
    kept = {edge for edge, name in edges.items() if name != "none"}
    for _ in range(2):  # what hangs on a dropped edge may be dropped in turn
        kept = {
            (start, end)
            for start, end in kept
            if (start == 0 or any(e == start for _, e in kept))
            and (end == 3 or any(s == end for s, _ in kept))
        }
    return "".join(str(OPERATIONS.index(edges[e])) if e in kept else "0" for e in EDGES)


@cache
def isomorphism_class(architecture: str) -> str:
    """What a cell computes, written so that isomorphic cells are written alike.

    >>> [isomorphism_class(c) for c in ("301004", "010300", "110101")]
    ['((0)3)4', '(0)3', '0+0']

    A node is the sum of what its edges bring, in one order; a skip brings the node's own terms, and
    `none`, and what hangs on it, nothing. Also written alike are cells that add one convolution's
    result twice and cells that add two such convolutions, so there are fewer texts than functions.
    The empty one is that of cells that no path passes.
    """
    digits = dict(zip(EDGES, live(architecture), strict=True))
    terms = {0: ["0"]}
    for end in (1, 2, 3):
        terms[end] = []
        for start in range(end):
            digit = digits[start, end]
            if digit == "1":
                terms[end] += terms[start]
            elif digit != "0":
                terms[end].append(f"({'+'.join(sorted(terms[start]))}){digit}")
    return "+".join(sorted(terms[3]))


def parse(architecture: str) -> tuple[str, ...]:
    """The operations of a cell's six edges, in the order of `EDGES`.

    A cell is written as six digits (`codes`) or as the benchmark writes it:

    >>> parse("|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|avg_pool_3x3~2|")
    ('nor_conv_3x3', 'none', 'skip_connect', 'none', 'none', 'avg_pool_3x3')

    Raises `ModelError` for a text that is no cell of the benchmark.
    """
    if len(architecture) == len(EDGES) and not set(architecture) - set("01234"):
        return tuple(OPERATIONS[int(digit)] for digit in architecture)
    operations = [part.partition("~")[0] for part in architecture.split("|") if "~" in part]
    for name in operations:
        if name not in OPERATIONS:
            raise ModelError(
                f"{name!r} in the cell {architecture!r} is no operation"
                f"{did_you_mean(name, OPERATIONS)}: there are {', '.join(OPERATIONS)}"
            )
    if len(operations) != len(EDGES) or _written(operations) != architecture:
        raise ModelError(
            f"{architecture!r} is no cell of NAS-Bench-201: write six digits from 0 to 4, or six "
            f"operations as {_written(OPERATIONS[1:2] * len(EDGES))}"
        )
    return tuple(operations)


def _written(operations: Sequence[str]) -> str:
    parts = [f"{name}~{start}" for name, (start, _) in zip(operations, EDGES, strict=True)]
    return "+".join("|" + "|".join(row) + "|" for row in (parts[:1], parts[1:3], parts[3:]))


@cache
def parameters(architecture: str, classes: int = 10) -> int:
    """All parameters of a cell's network, those without a context too, in closed form.

    >>> parameters("333333")
    1531546
    """
    total = _parameters_outside_cells(classes)
    kernels = {"nor_conv_1x1": 1, "nor_conv_3x3": 9}
    for taps in (kernels[name] for name in parse(architecture) if name in kernels):
        total += CELLS * sum(taps * c * c + 2 * c for c in CHANNELS)  # 2c: its batch norm
    return total


@cache
def _parameters_outside_cells(classes: int) -> int:
    return sum(p.numel() for p in nas_bench_201("0" * len(EDGES), classes).parameters())


def nas_bench_201(architecture: str, classes: int = 10) -> nn.Module:
    """The network of a cell, for images of 3 channels.

    ```python
    sum(p.numel() for p in nas_bench_201("333333").parameters())  # 1_531_546
    ```

    Raises `ModelError` as `parse` does.
    """
    return Network(parse(architecture), classes)


class Network(nn.Module):
    """Stem, three stages of cells with a residual block of stride 2 between them, classifier."""

    def __init__(self, operations: tuple[str, ...], classes: int):
        super().__init__()
        first, *_, last = CHANNELS
        self.stem = nn.Sequential(*normed(3, first))
        self.cells = nn.ModuleList()
        before = first
        for channels in CHANNELS:
            if channels != before:
                self.cells.append(Reduction(before, channels))
            self.cells.extend(Cell(operations, channels, channels) for _ in range(CELLS))
            before = channels
        self.last_act = nn.Sequential(nn.BatchNorm2d(last), nn.ReLU())
        self.classifier = nn.Linear(last, classes)

    def forward(self, x: Tensor) -> Tensor:  # b 3 h w
        x = self.stem(x)
        for cell in self.cells:
            x = cell(x)
        x = self.last_act(x)  # b 64 h/4 w/4
        x = nn.functional.adaptive_avg_pool2d(x, 1)
        return self.classifier(x.flatten(1))


def through(edges: nn.ModuleDict, x: Tensor) -> Tensor | None:
    """What reaches the last of four nodes by edges named `start-end`; None where nothing does."""
    nodes = {0: x}
    for end in (1, 2, 3):
        incoming = [
            edges[f"{start}-{end}"](nodes[start])
            for start in range(end)
            if start in nodes and f"{start}-{end}" in edges
        ]
        if incoming:
            nodes[end] = sum(incoming[1:], incoming[0])
    return nodes.get(3)


class Cell(nn.Module):
    """Four nodes; each is the sum of what its edges bring, and the last one is the output.

    Edges from the first node take the stride and the new channels. An edge out of a node that
    nothing reaches brings nothing. (The benchmark sends zeros along, and `none` is a product with
    zero, which a count of paths would take for a path.)
    """

    def __init__(self, operations: Sequence[str], before: int, channels: int, stride: int = 1):
        super().__init__()
        self.channels, self.stride = channels, stride
        first, others = (before, channels, stride), (channels, channels, 1)
        # edges without a path to the output have weights too, and belong to the model's size
        self.edges = nn.ModuleDict(
            {
                f"{start}-{end}": _operation(name, *(others if start else first))
                for (start, end), name in zip(EDGES, operations, strict=True)
                if name != "none"
            }
        )

    def forward(self, x: Tensor) -> Tensor:  # b c h w
        out = through(self.edges, x)
        if out is not None:
            return out
        b, _, h, w = x.shape
        return x.new_zeros(b, self.channels, h // self.stride, w // self.stride)


class Reduction(nn.Module):
    """The residual block between two stages: half the size, twice the channels."""

    def __init__(self, before: int, channels: int):
        super().__init__()
        self.a = preactivated(before, channels, 3, 2)
        self.b = preactivated(channels, channels)
        self.shortcut = nn.Sequential(nn.AvgPool2d(2), conv(before, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut(x) + self.b(self.a(x))


def _operation(name: str, before: int, channels: int, stride: int) -> nn.Module:
    if name == "skip_connect":
        same = stride == 1 and before == channels
        return nn.Identity() if same else HalvedSkip(before, channels)
    if name == "avg_pool_3x3":
        return nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)
    return preactivated(before, channels, 1 if name == "nor_conv_1x1" else 3, stride)


class HalvedSkip(nn.Module):
    """Two 1×1 convolutions of stride 2, one of them a position further on, side by side."""

    def __init__(self, before: int, channels: int):
        super().__init__()
        self.convs = nn.ModuleList(conv(before, channels // 2, 1, stride=2) for _ in range(2))
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.relu(x)
        moved = nn.functional.pad(x, (0, 1, 0, 1))[:, :, 1:, 1:]
        return self.norm(torch.cat([self.convs[0](x), self.convs[1](moved)], dim=1))


# TransNAS-Bench-101: backbones of residual blocks (macro) or of cells (micro) ---------------------
#
# Duan et al., "TransNAS-Bench-101: Improving transferability and generalizability of cross-task
# neural architecture search", CVPR 2021; the layout is that of their released training code
# (yawen-d/TransNASBench). Seven tasks share a backbone; here it stands with the head of its object
# classification: a mean over positions and a linear layer of 75 classes.

STEM = 64  # channels after the stem, at a quarter of the image's size
CLASSES = 75  # of object classification
IMAGE_SIZE = 256
MODULES = "1234"  # 1 plain, 2 twice the channels, 3 half the size, 4 both
BLOCKS = 2  # in a module
LENGTHS = (4, 5, 6)  # modules of a macro network
WIDER, SMALLER = range(1, 4), range(1, 5)  # how many may double the channels, halve the size
MICRO = "41414"  # modules of a micro network, whose cells are searched
MICRO_OPERATIONS = "0123"  # none, skip, convolution 1×1 and 3×3: NAS-Bench-201's but pooling


def transnas_macro_codes() -> list[str]:
    """All 3,256 macro networks, shortest first."""
    texts = ("".join(kinds) for n in LENGTHS for kinds in product(MODULES, repeat=n))
    return [text for text in texts if _is_macro(text)]


def transnas_micro_codes() -> list[str]:
    """All 4⁶ = 4,096 cells, six digits each, in the order of NAS-Bench-201's edges."""
    return ["".join(digits) for digits in product(MICRO_OPERATIONS, repeat=len(EDGES))]


def check_transnas_macro(modules: str) -> None:
    """Raise `ModelError` for anything but one of `transnas_macro_codes()`."""
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


def check_transnas_micro(cell: str) -> None:
    """Raise `ModelError` for anything but six digits from 0 to 3."""
    if len(cell) != len(EDGES) or set(cell) - set(MICRO_OPERATIONS):
        raise ModelError(
            f"{cell!r} is no cell of TransNAS-Bench-101: write six digits of 0 (none), 1 (skip), "
            "2 (convolution 1×1) and 3 (convolution 3×3)"
        )


def transnas_macro(modules: str, classes: int = CLASSES) -> nn.Module:
    """The network of modules of residual blocks, for images of 3 channels.

    Raises `ModelError` as `check_transnas_macro` does.
    """
    check_transnas_macro(modules)
    return _transnas(modules, ResidualBlock, classes)


def transnas_micro(cell: str, classes: int = CLASSES) -> nn.Module:
    """The network of ten cells, for images of 3 channels.

    Raises `ModelError` as `check_transnas_micro` does.
    """
    check_transnas_micro(cell)

    def block(before: int, channels: int, stride: int) -> nn.Module:
        return Cell(parse(cell), before, channels, stride)

    return _transnas(MICRO, block, classes)


def _transnas(modules: str, block, classes: int) -> nn.Module:
    half = STEM // 2
    layers = [*normed(3, half, 3, 2), preactivated(half, STEM, 3, 2)]
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
        self.a = preactivated(before, channels, 3, stride)
        self.b = preactivated(channels, channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or before != channels:
            self.shortcut = nn.Sequential(*normed(before, channels, 1, stride))

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut(x) + self.b(self.a(x))


# NAS-Bench-Macro: eight layers, each an identity or one of two MobileNetV2 blocks -----------------
#
# Su et al., "Prioritized architecture sampling with Monto-Carlo tree search", CVPR 2021; the layout
# is that of their released training code (xiusu/NAS-Bench-Macro, `train/model.py`).

MACRO_STAGES = (2, 3, 3)  # layers; the first of each halves the size and doubles the channels
MACRO_CHOICES = "012"  # identity, kernel 3 and expansion 3, kernel 5 and expansion 6
MACRO_HEAD = 1280  # channels before the classifier


def nas_bench_macro_codes() -> list[str]:
    """All 3⁸ = 6,561 networks, `"00000000"` first."""
    return ["".join(choices) for choices in product(MACRO_CHOICES, repeat=sum(MACRO_STAGES))]


def nas_bench_macro(architecture: str, classes: int = 10) -> nn.Module:
    """The network of eight digits, for images of 3 channels.

    ```python
    sum(p.numel() for p in nas_bench_macro("11111111").parameters())  # 1_588_874
    ```

    Raises `ModelError` as `check_nas_bench_macro` does.
    """
    check_nas_bench_macro(architecture)
    channels = 32
    layers = [*normed(3, channels), nn.ReLU()]
    choices = iter(architecture)
    for length in MACRO_STAGES:
        for position in range(length):
            stride, before = (2, channels) if position == 0 else (1, channels)
            channels = before * stride
            layers.append(_macro_layer(next(choices), before, channels, stride))
    layers += [*normed(channels, MACRO_HEAD, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(MACRO_HEAD, classes))


def check_nas_bench_macro(architecture: str) -> None:
    """Raise `ModelError` for anything but eight digits of 0, 1 and 2."""
    if len(architecture) != sum(MACRO_STAGES) or set(architecture) - set(MACRO_CHOICES):
        raise ModelError(
            f"{architecture!r} is no network of NAS-Bench-Macro: write eight digits of 0 "
            "(identity), 1 (kernel 3, expansion 3) and 2 (kernel 5, expansion 6)"
        )


def _macro_layer(choice: str, before: int, channels: int, stride: int) -> nn.Module:
    if choice == "1":
        return InvertedResidual(before, channels, stride, kernel=3, expansion=3)
    if choice == "2":
        return InvertedResidual(before, channels, stride, kernel=5, expansion=6)
    if stride == 1:
        return nn.Identity()
    return nn.Sequential(*normed(before, channels, 1, stride))


class InvertedResidual(nn.Module):
    """Widen, convolve each channel, narrow; added to the input where the shape stays."""

    def __init__(self, before: int, channels: int, stride: int, *, kernel: int, expansion: int):
        super().__init__()
        wide = before * expansion
        self.layers = nn.Sequential(
            *normed(before, wide, 1),
            nn.ReLU(),
            *normed(wide, wide, kernel, stride, wide),
            nn.ReLU(),
            *normed(wide, channels, 1),
        )
        self.is_residual = stride == 1

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x) + x if self.is_residual else self.layers(x)


# Random cells: a small space that no published score was formed on --------------------------------
#
# Three stages of one to three copies of a cell, with a strided convolution before the second and
# the third. A cell has two to five nodes; each is the sum of one or two of the nodes before it,
# every edge with an operation of its own: a skip, a convolution of 1×1 or 3×3, a separable one, an
# average or a max-pool. What no node reads is added up, or put side by side and mixed by a 1×1
# convolution.

RANDOM_OPERATIONS = ("skip", "conv1", "conv3", "separable", "average", "max")
RANDOM_NODES = (2, 3, 4, 5)
RANDOM_COPIES = (1, 2, 3)  # of the cell in a stage
RANDOM_WIDTHS = (8, 12, 16, 24)  # channels of the first stage, doubled in each further one
RANDOM_STAGES = 3
RandomEdge = tuple[int, str]  # the node that is read, the operation


@dataclass(frozen=True)
class RandomPlan:
    """What a number stands for."""

    width: int
    copies: int
    nodes: tuple[tuple[RandomEdge, ...], ...]
    joins: bool  # whether the output puts nodes side by side


def random_plan(number: int) -> RandomPlan:
    """The network of a number, the same each time.

    >>> random_plan(0).width in RANDOM_WIDTHS
    True
    """
    chance = random.Random(f"random cells {number}")
    width, copies = chance.choice(RANDOM_WIDTHS), chance.choice(RANDOM_COPIES)
    nodes = []
    for before in range(1, chance.choice(RANDOM_NODES) + 1):
        reads = chance.sample(range(before), min(before, chance.choice((1, 2))))
        nodes.append(tuple((node, chance.choice(RANDOM_OPERATIONS)) for node in sorted(reads)))
    return RandomPlan(width, copies, tuple(nodes), chance.random() < 0.5)


def check_random(number: str) -> None:
    """Raise `ModelError` for what is no whole number from 0 on."""
    if not number.isdecimal():
        raise ModelError(f"{number!r} is no number of a network of random cells: write 0, 1, 2 …")


def random_cells(number: int | str, classes: int = 10) -> nn.Module:
    """The network of a number, for images of 3 channels."""
    drawn = random_plan(int(number))
    channels = drawn.width
    layers = normed(3, channels)
    for stage in range(RANDOM_STAGES):
        if stage:
            layers.append(preactivated(channels, 2 * channels, 3, 2))
            channels *= 2
        layers += [
            RandomCell(drawn.nodes, channels, joins=drawn.joins) for _ in range(drawn.copies)
        ]
    layers += [nn.BatchNorm2d(channels), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(channels, classes))


class RandomCell(nn.Module):
    """Nodes that are sums of what their edges bring; node 0 is the input."""

    def __init__(self, nodes: Sequence[Sequence[RandomEdge]], channels: int, *, joins: bool):
        super().__init__()
        self.sources = [[source for source, _ in edges] for edges in nodes]
        self.operations = nn.ModuleList(
            nn.ModuleList(_random_operation(name, channels) for _, name in edges) for edges in nodes
        )
        read = {source for sources in self.sources for source in sources}
        self.ends = [n for n in range(1, len(nodes) + 1) if n not in read]
        mixes = joins and len(self.ends) > 1
        self.mix = preactivated(len(self.ends) * channels, channels, 1) if mixes else None

    def forward(self, x: Tensor) -> Tensor:  # b c h w
        nodes = [x]
        for sources, operations in zip(self.sources, self.operations, strict=True):
            brought = [
                operation(nodes[source])
                for source, operation in zip(sources, operations, strict=True)
            ]
            nodes.append(sum(brought[1:], brought[0]))
        ends = [nodes[n] for n in self.ends]
        return self.mix(torch.cat(ends, dim=1)) if self.mix else sum(ends[1:], ends[0])


def _random_operation(name: str, channels: int) -> nn.Module:
    if name == "skip":
        return nn.Identity()
    if name == "average":
        return nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)
    if name == "max":
        return nn.MaxPool2d(3, stride=1, padding=1)
    if name == "separable":
        depthwise = conv(channels, channels, groups=channels)
        return nn.Sequential(nn.ReLU(), depthwise, *normed(channels, channels, 1))
    return preactivated(channels, channels, 1 if name == "conv1" else 3)
