"""Pooling: maximum, average, or over the whole image."""

from __future__ import annotations

from torch import nn
from torch.nn import functional as F

from reuseprior.revolver.blueprints.kinds import Block, Shape, block, require
from reuseprior.revolver.blueprints.shapes import assemble


@block("pool")
class Pool(Block, nn.Module):
    """Max or average pooling with a window; the average does not count padding."""

    def __init__(
        self, function: str = "max", kernel_size: int = 2, stride: int = 2, padding: int = 0
    ):
        super().__init__()
        self.window = (kernel_size, stride, padding)
        self.function = function

    def forward(self, x):
        if self.function == "max":
            return F.max_pool2d(x, *self.window)
        return F.avg_pool2d(x, *self.window, count_include_pad=False)

    @staticmethod
    def infer(node, x, flow):
        function, kernel_size, stride, padding = node.arguments.values()
        require(function in ("max", "avg"), f"pools by {function!r}: use 'max' or 'avg'")
        require(min(kernel_size, stride) > 0, "needs a positive kernel size and stride")
        require(0 <= 2 * padding <= kernel_size, "pads by more than half its window")
        require(len(x) == 3, "needs (channels, height, width)")
        require(min(x[1:]) + 2 * padding >= kernel_size, f"is too small for {kernel_size} pixels")
        return (x[0], *((side + 2 * padding - kernel_size) // stride + 1 for side in x[1:]))


@block("global_pool")
class GlobalPool(Block, nn.Module):
    """The mean of each channel over the image: (C, H, W) → (C,)."""

    def forward(self, x):
        return x.mean((2, 3))

    @staticmethod
    def infer(node, x, flow):
        require(len(x) == 3, "needs (channels, height, width)")
        return x[:1]


def pool(x: Shape, function="max", kernel_size=2, stride=2, padding=0):
    """Pooling: `pool((8, 7, 7)).output_shape` is `(8, 3, 3)`."""
    return assemble(
        "pool", x, function=function, kernel_size=kernel_size, stride=stride, padding=padding
    )


def global_pool(x: Shape):
    """Average pooling over the whole image: `global_pool((8, 7, 7)).output_shape` is `(8,)`."""
    return assemble("global_pool", x)
