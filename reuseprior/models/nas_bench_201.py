"""NAS-Bench-201's networks: fifteen copies of a cell between a stem and a classifier.

Dong and Yang, "NAS-Bench-201: Extending the scope of reproducible neural architecture search",
ICLR 2020, section 2.1; the same cells are the topology space of NATS-Bench (2021).
"""

from collections.abc import Sequence
from functools import cache
from itertools import product

import torch
from torch import Tensor, nn

from reuseprior.errors import did_you_mean
from reuseprior.models.errors import ModelError

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


def structure(architecture: str) -> str:
    """What a cell computes, written so that isomorphic cells are written alike.

    >>> structure("301004"), structure("010300"), structure("110101")
    ('((0)3)4', '(0)3', '0+0')

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
        self.stem = nn.Sequential(
            nn.Conv2d(3, first, 3, padding=1, bias=False), nn.BatchNorm2d(first)
        )
        self.cells = nn.ModuleList()
        before = first
        for channels in CHANNELS:
            if channels != before:
                self.cells.append(Reduction(before, channels))
            self.cells.extend(Cell(channels, operations) for _ in range(CELLS))
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

    An edge out of a node that nothing reaches brings nothing. (The benchmark sends zeros along,
    and `none` is a product with zero, which a count of paths would take for a path.)
    """

    def __init__(self, channels: int, operations: tuple[str, ...]):
        super().__init__()
        # edges without a path to the output have weights too, and belong to the model's size
        self.edges = nn.ModuleDict(
            {
                f"{start}-{end}": _operation(name, channels)
                for (start, end), name in zip(EDGES, operations, strict=True)
                if name != "none"
            }
        )

    def forward(self, x: Tensor) -> Tensor:  # b c h w
        out = through(self.edges, x)
        return torch.zeros_like(x) if out is None else out


class Reduction(nn.Module):
    """The residual block between two stages: half the size, twice the channels."""

    def __init__(self, before: int, channels: int):
        super().__init__()
        self.a = _convolution(before, channels, 3, stride=2)
        self.b = _convolution(channels, channels, 3)
        self.shortcut = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(before, channels, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut(x) + self.b(self.a(x))


def _operation(name: str, channels: int) -> nn.Module:
    if name == "skip_connect":
        return nn.Identity()
    if name == "avg_pool_3x3":
        return nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)
    return _convolution(channels, channels, 1 if name == "nor_conv_1x1" else 3)


def _convolution(before: int, channels: int, kernel: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(before, channels, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(channels),
    )
