"""Conv units in any order, and the blocks that are made of them: residual and bottleneck."""

from __future__ import annotations

from functools import partial

from torch import nn

from reuseprior.revolver.blocks.convolution import conv, stride
from reuseprior.revolver.blocks.layers import activation, batch_norm, dropout, norms, pool
from reuseprior.revolver.blueprints.blueprint import numbered
from reuseprior.revolver.blueprints.kinds import Chain, Composite, block, require
from reuseprior.revolver.blueprints.shapes import assemble


@block("unit")
class Unit(Chain):
    """Modules in the order of the children; `conv` may be any block of the same shapes."""

    @staticmethod
    def fit(x, y, make):
        return drawn_unit(x, y, make)


@block("residual")
class Residual(Composite):
    """y = units(x) + x, or + shortcut(x) where the units change the shape."""

    chain = "unit"

    def __init__(self, parts: dict[str, nn.Module]):
        super().__init__(parts)
        self.keeps_input = "shortcut" not in parts

    def forward(self, x):
        y = x
        for unit in self.parts("unit"):
            y = unit(y)
        return y + (x if self.keeps_input else self.shortcut(x))

    @staticmethod
    def infer(node, x, flow):
        y = _through_units(node, x, flow)
        around = flow("shortcut", x) if "shortcut" in node.children else x
        require(y == around, f"adds {around} from around its units to {y} from their end")
        return y

    @staticmethod
    def fit(x, y, make):
        units = [drawn_unit(x, y, make), drawn_unit(y, y, make)]
        return residual(units, None if x == y else drawn_unit(x, y, make, kernel_size=1))


@block("bottleneck")
class Bottleneck(Composite):
    """Units of different channels; `skip` adds the input, where the shape is the same."""

    chain = "unit"

    def __init__(self, parts: dict[str, nn.Module], skip: bool = False):
        super().__init__(parts)
        self.keeps_input = skip

    def forward(self, x):
        y = x
        for unit in self.parts("unit"):
            y = unit(y)
        return x + y if self.keeps_input else y

    @staticmethod
    def infer(node, x, flow):
        y = _through_units(node, x, flow)
        require(y == x or not node.arguments["skip"], f"adds its input to {y}")
        return y

    @staticmethod
    def fit(x, y, make):
        if x[0] > y[0]:  # as in DenseNet: four times the growth in the middle
            middle = (4 * y[0], *x[1:])
            ends = [(x, middle, 1), (middle, y, None)]
        else:  # as in ResNet: a quarter of the channels in the middle
            middle = (max(y[0] // 4, 1), *x[1:])
            ends = [(x, middle, 1), (middle, (middle[0], *y[1:]), None)]
            ends.append((ends[-1][1], y, 1))
        units = [drawn_unit(a, b, make, size) for a, b, size in ends]
        return bottleneck(units, skip=x == y)


def unit(conv, order=("bn", "act", "conv"), *, norm=batch_norm, pooling=pool, p=0.1, convs=()):
    """A conv unit around a convolution, `order` naming its modules bn, act, conv, drop, pool.

    `norm` makes the batch norm of a shape and `pooling` the pooling, `p` is dropout's; `convs` are
    the kinds that the convolution may mutate to.

    >>> unit(blocks.conv((8, 4, 4), 16), ("conv", "bn")).parameters()
    1184
    """
    x = shape = conv.input_shape
    makers = {
        "bn": norm, "act": activation, "conv": lambda _: conv, "drop": partial(dropout, p=p),
        "pool": pooling,
    }  # fmt: skip
    children = {}
    for role in order:
        if role not in makers:
            raise ValueError(f"a unit has no module {role!r}: use {', '.join(makers)}")
        children[role] = makers[role](shape)
        shape = children[role].output_shape
    return assemble("unit", x, children, mutables={"conv": convs})


def drawn_unit(x, y, make, kernel_size=None):
    """A unit around a plain convolution from `x` to `y`; its order, and the kernel if not given."""
    space = make.space
    kernel_size = kernel_size or make.rng.choice(space.kernels)
    plain = conv(x, y[0], kernel_size, stride=stride(x, y), kernels=space.kernels)
    return unit(plain, make.rng.choice(space.orders), norm=norms(space), convs=space.conv_kinds)


def residual(units, shortcut=None):
    """A residual block of conv units; `shortcut` must map the first's input to the last's output.

    ```python
    x = (8, 4, 4)
    residual([unit(conv(x, 8)), unit(conv(x, 8))]).parameters()  # 2·(8·8·9 + 2·8), one conv: 608
    ```
    """
    children = numbered("unit", list(units)) | ({"shortcut": shortcut} if shortcut else {})
    return assemble("residual", units[0].input_shape, children)


def bottleneck(units, *, skip: bool = False):
    """A bottleneck block of conv units of different channels, with or without a skip connection."""
    return assemble("bottleneck", units[0].input_shape, numbered("unit", list(units)), skip=skip)


def _through_units(node, x, flow):
    for role in node.children:
        if role.startswith("unit"):
            x = flow(role, x)
    return x
