"""Single layers: activation, dropout, batch normalisation, pooling, fully connected."""

from __future__ import annotations

from functools import partial

from torch import nn
from torch.nn import functional as F

from reuseprior.revolver.blueprints.domains import between
from reuseprior.revolver.blueprints.kinds import Block, Shape, block, require, require_image
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
        scope = node.arguments["scope"]
        require_image(x, node.arguments["features"])
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
        require_image(x)
        require(min(x[1:]) + 2 * padding >= kernel_size, f"is too small for {kernel_size} pixels")
        return (x[0], *((side + 2 * padding - kernel_size) // stride + 1 for side in x[1:]))


@block("global_pool")
class GlobalPool(Block, nn.Module):
    """The mean of each channel over the image: (C, H, W) → (C,)."""

    def forward(self, x):
        return x.mean((2, 3))

    @staticmethod
    def infer(node, x, flow):
        require_image(x)
        return x[:1]


@block("linear")
class Linear(Block, nn.Linear):
    """A fully connected layer: never shared, as in the thesis's experiments."""

    def __init__(self, in_features: int, out_features: int, bias: bool = True):
        super().__init__(in_features, out_features, bias)

    @staticmethod
    def infer(node, x, flow):
        inputs, outputs = node.arguments["in_features"], node.arguments["out_features"]
        require(x == (inputs,), f"needs ({inputs},)")
        require(outputs > 0, "needs at least one output")
        return (outputs,)

    @staticmethod
    def size(node):
        inputs, outputs, bias = node.arguments.values()
        return outputs * (inputs + bias)

    @staticmethod
    def shareable(node):
        return False


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
    arguments = {"features": x[0], "eps": eps, "momentum": momentum, "scope": scope}
    return assemble("batch_norm", x, mutables={"momentum": between(interval)}, **arguments)


def norms(space):
    """What makes a batch norm of a shape, as a search space has them."""
    return partial(batch_norm, scope=space.norm_scope, interval=space.momentum)


def pool(x: Shape, function="max", kernel_size=2, stride=2, padding=0):
    """Pooling: `pool((8, 7, 7)).output_shape` is `(8, 3, 3)`."""
    return assemble(
        "pool", x, function=function, kernel_size=kernel_size, stride=stride, padding=padding
    )


def global_pool(x: Shape):
    """Average pooling over the whole image: `global_pool((8, 7, 7)).output_shape` is `(8,)`."""
    return assemble("global_pool", x)


def linear(x: Shape, features: int, *, bias: bool = True):
    """A fully connected layer: `linear((64,), 10).parameters()` is 650."""
    return assemble("linear", x, in_features=x[0], out_features=features, bias=bias)
