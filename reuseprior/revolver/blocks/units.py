"""Conv units: a convolution with normalisation, activation, dropout, pooling, in any order."""

from __future__ import annotations

from reuseprior.revolver.blocks.elementwise import activation, batch_norm, dropout
from reuseprior.revolver.blocks.pooling import pool
from reuseprior.revolver.blueprints.kinds import Chain, block
from reuseprior.revolver.blueprints.shapes import assemble


@block("unit")
class Unit(Chain):
    """Modules in the order of the children; `conv` may be any block of the same shapes."""

    @staticmethod
    def fit(x, y, space, rng):
        return space.unit(x, y, rng)


def unit(conv, order=("bn", "act", "conv"), *, norm=batch_norm, pooling=pool, p=0.1, convs=()):
    """A conv unit around a convolution, `order` naming its modules bn, act, conv, drop, pool.

    `norm` makes the batch norm of a shape and `pooling` the pooling, `p` is dropout's; `convs` are
    the kinds that the convolution may mutate to.

    >>> unit(conv((8, 4, 4), 16), ("conv", "bn")).parameters()
    1184
    """
    x = shape = conv.input_shape
    children = {}
    for role in order:
        if role == "conv":
            child = conv
        elif role == "bn":
            child = norm(shape)
        elif role == "act":
            child = activation(shape)
        elif role == "drop":
            child = dropout(shape, p)
        elif role == "pool":
            child = pooling(shape)
        else:
            raise ValueError(f"a unit has no module {role!r}: use bn, act, conv, drop, pool")
        children[role] = child
        shape = child.output_shape
    return assemble("unit", x, children, mutables={"conv": list(convs)} if convs else {})
