"""Fully connected layers: never shared, as in the thesis's experiments."""

from __future__ import annotations

from torch import nn

from reuseprior.revolver.blueprints.kinds import Block, Shape, block, require
from reuseprior.revolver.blueprints.shapes import assemble


@block("linear")
class Linear(Block, nn.Linear):
    """A fully connected layer."""

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


def linear(x: Shape, features: int, *, bias: bool = True):
    """A fully connected layer: `linear((64,), 10).parameters()` is 650."""
    return assemble("linear", x, in_features=x[0], out_features=features, bias=bias)
