"""Residual and bottleneck blocks: conv units one after another, and what goes round them."""

from __future__ import annotations

from torch import nn

from reuseprior.revolver.blueprints.blueprint import numbered
from reuseprior.revolver.blueprints.kinds import Composite, block, require
from reuseprior.revolver.blueprints.shapes import assemble


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
    def fit(x, y, space, rng):
        units = [space.unit(x, y, rng), space.unit(y, y, rng)]
        return residual(units, None if x == y else space.unit(x, y, rng, kernel_size=1))


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
    def fit(x, y, space, rng):
        if x[0] > y[0]:  # as in DenseNet: four times the growth in the middle
            middle = (4 * y[0], *x[1:])
            ends = [(x, middle, 1), (middle, y, None)]
        else:  # as in ResNet: a quarter of the channels in the middle
            middle = (max(y[0] // 4, 1), *x[1:])
            ends = [(x, middle, 1), (middle, (middle[0], *y[1:]), None)]
            ends.append((ends[-1][1], y, 1))
        units = [space.unit(a, b, rng, kernel_size=size) for a, b, size in ends]
        return bottleneck(units, skip=x == y)


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
