"""Blocks that keep the shape: activation, dropout, batch normalisation."""

from __future__ import annotations

from torch import nn
from torch.nn import functional as F

from reuseprior.revolver.blueprints.kinds import Block, Shape, block, require
from reuseprior.revolver.blueprints.shapes import assemble

FUNCTIONS = {"relu": F.relu, "gelu": F.gelu, "silu": F.silu, "tanh": F.tanh}


@block("act")
class Activation(Block, nn.Module):
    """An activation function; the thesis used ReLU only."""

    def __init__(self, function: str = "relu"):
        super().__init__()
        self.function = FUNCTIONS[function]

    def forward(self, x):
        return self.function(x)

    @staticmethod
    def infer(node, x, flow):
        function = node.arguments["function"]
        require(function in FUNCTIONS, f"has no function {function!r}: use {', '.join(FUNCTIONS)}")
        return x


@block("dropout")
class Dropout(Block, nn.Dropout):
    """Zeroes each value with probability `p` while training."""

    def __init__(self, p: float = 0.1):
        super().__init__(p)

    @staticmethod
    def infer(node, x, flow):
        require(0 <= node.arguments["p"] < 1, "drops with p outside [0, 1)")
        return x


@block("batch_norm")
class BatchNorm(Block, nn.BatchNorm2d):
    """Batch normalisation, owned by its block (never shared) or, with scope "use", by each use.

    Owned by its block, it makes every ancestor unique, as in the thesis's experiments. Owned by
    its use, the block around it can be shared, and each place it stands in keeps its own norm.
    """

    def __init__(
        self,
        features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = True,
        scope: str = "block",
    ):
        super().__init__(features, eps=eps, momentum=momentum, affine=affine)
        self.frozen = False

    def train(self, mode: bool = True):
        return super().train(mode and not self.frozen)

    @staticmethod
    def infer(node, x, flow):
        features, scope = node.arguments["features"], node.arguments["scope"]
        require(len(x) == 3 and x[0] == features, f"needs ({features}, height, width)")
        require(scope in ("block", "use"), f"has the scope {scope!r}: use 'block' or 'use'")
        return x

    @staticmethod
    def size(node):
        return 2 * node.arguments["features"] * node.arguments["affine"]

    @staticmethod
    def shareable(node):
        return node.arguments["scope"] == "use"

    @staticmethod
    def by_use(node):
        return node.arguments["scope"] == "use"


def activation(x: Shape, function: str = "relu"):
    """An activation: `activation((8, 4, 4)).name` is `"actrelu"`."""
    return assemble("act", x, function=function)


def dropout(x: Shape, p: float = 0.1):
    """Dropout with probability `p`."""
    return assemble("dropout", x, p=p)


def batch_norm(
    x: Shape, momentum: float = 0.1, *, scope: str = "block", interval=None, eps: float = 1e-5
):
    """Batch normalisation; `interval`, a pair, lets the momentum mutate between its ends.

    >>> batch_norm((8, 4, 4)).parameters()
    16
    """
    low_high = {"momentum": dict(zip(("low", "high"), interval, strict=True))} if interval else {}
    return assemble(
        "batch_norm", x, mutables=low_high, features=x[0], eps=eps, momentum=momentum, scope=scope
    )
