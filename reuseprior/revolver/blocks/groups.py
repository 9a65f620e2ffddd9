"""Groups of blocks: residual with stochastic depth, dense by concatenation, dense by sum."""

from __future__ import annotations

import torch
from torch import nn

from reuseprior.revolver.blueprints.blueprint import numbered
from reuseprior.revolver.blueprints.kinds import Chain, Composite, Shape, block, require
from reuseprior.revolver.blueprints.shapes import assemble


@block("residual_group")
class ResidualGroup(Chain):
    """Blocks one after another; each with a skip is left out with probability `drop` in training.

    In evaluation such a block's change to its input is scaled by 1 − drop, its expectation. A
    group without blocks hands its input on, as those of appendix C.4 do.
    """

    chain = "block"

    def __init__(self, parts: dict[str, nn.Module], drop: float = 0.0):
        super().__init__(parts)
        self.drop = drop

    def forward(self, x):
        for part in self.parts():
            if not self.drop or not getattr(part, "keeps_input", False):
                x = part(x)
            elif not self.training:
                x = torch.lerp(x, part(x), 1 - self.drop)
            elif torch.rand(()) >= self.drop:
                x = part(x)
        return x

    @staticmethod
    def infer(node, x, flow):
        require(0 <= node.arguments["drop"] < 1, "drops with a probability outside [0, 1)")
        return Chain.infer(node, x, flow)

    @staticmethod
    def fit(x, y, make):
        space, rng = make.space, make.rng
        first, *rest = [rng.choice(space.blocks) for _ in range(rng.randint(1, 3))]
        blocks = [make.fill(first, x, y), *(make.fill(kind, y, y) for kind in rest)]
        if None in blocks:
            return None
        return residual_group(blocks, drops=space.drops, kinds=space.blocks)


class _Dense(Composite):
    @classmethod
    def fit(cls, x, y, make):
        added = y[0] - x[0]
        depths = [n for n in range(2, 7) if added > 0 and added % n == 0]
        if not depths or y[1:] != x[1:]:
            return None
        n = make.rng.choice(depths)
        return cls.grow(x, added // n, n, make.rng.choice(make.space.dense_blocks), make)


@block("dense_concat")
class DenseConcat(_Dense):
    """Each block sees its input and all earlier outputs, concatenated (DenseNet)."""

    def forward(self, x):
        for part in self.parts():
            x = torch.cat((x, part(x)), 1)
        return x

    @staticmethod
    def infer(node, x, flow):
        for role in node.children:
            y = flow(role, x)
            require(y[1:] == x[1:], f"cannot concatenate {y} of {role!r} to {x}")
            x = (x[0] + y[0], *x[1:])
        return x

    @staticmethod
    def grow(x, growth, n, kind, make):
        blocks = []
        for index in range(n):
            shape = (x[0] + index * growth, *x[1:])
            blocks.append(make.filled(kind, shape, (growth, *x[1:])))
        return dense_concat(blocks, x)


@block("dense_sum")
class DenseSum(_Dense):
    """Each block sees the sum of all earlier outputs; the group's output concatenates them.

    All blocks but the first have the same shape, so they can be one (thesis, §3.3.5). The output
    holds the input too, and so has the channels that `dense_concat` gives.
    """

    def forward(self, x):
        first, *rest = self.parts()
        total = first(x)
        outputs = [x, total]
        for part in rest:
            outputs.append(part(total))
            total = total + outputs[-1]
        return torch.cat(outputs, 1)

    @staticmethod
    def infer(node, x, flow):
        require(bool(node.children), "has no blocks to sum")
        first, *rest = node.children
        total = flow(first, x)
        require(total[1:] == x[1:], f"cannot concatenate {total} of {first!r} to {x}")
        for role in rest:
            y = flow(role, total)
            require(y == total, f"cannot add {y} of {role!r} to {total}")
        return (x[0] + (1 + len(rest)) * total[0], *x[1:])

    @staticmethod
    def grow(x, growth, n, kind, make):
        y = (growth, *x[1:])
        later = make.filled(kind, y, y)
        blocks = [make.filled(kind, x, y), *(later.copy() for _ in range(n - 1))]
        return dense_sum(blocks)


def residual_group(blocks, *, drop=0.0, drops=(), kinds=(), x: Shape | None = None):
    """Blocks in a row with stochastic depth; `kinds` and `drops` are what they may mutate to.

    A group without blocks needs its input shape `x`.
    """
    return assemble(
        "residual_group",
        x or blocks[0].input_shape,
        numbered("block", list(blocks)),
        mutables={"block": kinds, "drop": drops},
        drop=drop,
    )


def dense_concat(blocks, x: Shape):
    """Blocks whose outputs are concatenated to their inputs: x + n·growth channels."""
    return assemble("dense_concat", x, numbered("block", list(blocks)))


def dense_sum(blocks):
    """Blocks that see sums of outputs, concatenated at the end: x + n·growth channels."""
    return assemble("dense_sum", blocks[0].input_shape, numbered("block", list(blocks)))
