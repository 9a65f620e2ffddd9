"""Fractal groups (FractalNet; thesis, C.1.1): a short path beside two fractals in a row."""

from __future__ import annotations

from reuseprior.revolver.blueprints.kinds import Composite, block, require
from reuseprior.revolver.blueprints.shapes import assemble


@block("fractal")
class Fractal(Composite):
    """f₁ = base; fₙ(x) = mean of base(x) and fₙ₋₁(fₙ₋₁(x)).

    A fractal of depth n holds 2ⁿ − 1 bases; those of equal shape, shared, are one.
    """

    def forward(self, x):
        short = self.base(x)
        if "first" not in self._modules:
            return short
        return (short + self.second(self.first(x))) / 2

    @staticmethod
    def infer(node, x, flow):
        short = flow("base", x)
        if "first" not in node.children:
            return short
        long = flow("second", flow("first", x))
        require(short == long, f"cannot take the mean of {short} and {long}")
        return short

    @staticmethod
    def fit(x, y, space, rng):
        return fractal(space.unit(x, y, rng), space.unit(y, y, rng), rng.choice((2, 3)))


def fractal(entry, inner, depth: int):
    """A fractal group: `entry` is the base from the input on, `inner` the base of equal shapes.

    >>> unit = blocks.conv((8, 4, 4), 8)
    >>> node = fractal(unit, unit, 4)
    >>> node.weights() // node.parameters()
    15
    """
    if depth < 1:
        raise ValueError(f"a fractal of depth {depth} has no base: give at least 1")
    children = {"base": entry.copy()}
    if depth > 1:
        children["first"] = fractal(entry, inner, depth - 1)
        children["second"] = fractal(inner, inner, depth - 1)
    return assemble("fractal", entry.input_shape, children)
