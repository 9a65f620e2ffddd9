"""Several ways through one block: ensembles, whose members see the same input, and fractals."""

from __future__ import annotations

import torch

from reuseprior.revolver.blocks.units import drawn_unit
from reuseprior.revolver.blueprints.blueprint import numbered
from reuseprior.revolver.blueprints.kinds import Composite, block, require
from reuseprior.revolver.blueprints.shapes import assemble

MEMBERS = (3, 2)  # how many, the first that divides the channels where they are divided


@block("ensemble_mean")
class EnsembleMean(Composite):
    """The mean of the members' outputs."""

    def forward(self, x):
        first, *rest = self.parts()
        total = first(x)
        for part in rest:
            total = total + part(x)
        return total / (1 + len(rest))

    @staticmethod
    def infer(node, x, flow):
        outputs = [flow(role, x) for role in node.children]
        require(len(set(outputs)) == 1, f"cannot take the mean of {outputs}")
        return outputs[0]

    @staticmethod
    def fit(x, y, make):
        members = [make.fill("conv", x, y)] * MEMBERS[0]
        return ensemble_mean(members, tied=make.space.tied, kinds=make.space.conv_kinds)


@block("ensemble_concat")
class EnsembleConcat(Composite):
    """The members' outputs, one after another along the channels."""

    def forward(self, x):
        return torch.cat([part(x) for part in self.parts()], 1)

    @staticmethod
    def infer(node, x, flow):
        outputs = [flow(role, x) for role in node.children]
        require(len({y[1:] for y in outputs}) == 1, f"cannot concatenate {outputs}")
        return (sum(y[0] for y in outputs), *outputs[0][1:])

    @staticmethod
    def fit(x, y, make):
        count = next((n for n in MEMBERS if y[0] % n == 0), None)
        if count is None:
            return None
        members = [make.fill("conv", x, (y[0] // count, *y[1:]))] * count
        return ensemble_concat(members, tied=make.space.tied, kinds=make.space.conv_kinds)


@block("fractal")
class Fractal(Composite):
    """FractalNet (thesis, C.1.1): f₁ = base; fₙ(x) = mean of base(x) and fₙ₋₁(fₙ₋₁(x)).

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
    def fit(x, y, make):
        return fractal(drawn_unit(x, y, make), drawn_unit(y, y, make), make.rng.choice((2, 3)))


def ensemble_mean(members, *, tied: bool = False, kinds=()):
    """The mean of copies of the given blocks, each in a scope of its own (`member0/` …).

    With `tied=True` they keep their scopes: members of equal name are then one module run several
    times, whose mean is that module. `kinds` are the kinds that members may mutate to.

    >>> from reuseprior.revolver import blocks
    >>> conv = blocks.conv((8, 4, 4), 8)
    >>> ensemble_mean([conv] * 3).parameters(), ensemble_mean([conv] * 3, tied=True).parameters()
    (1728, 576)
    """
    return _ensemble("ensemble_mean", members, tied, kinds)


def ensemble_concat(members, *, tied: bool = False, kinds=()):
    """Blocks side by side, their outputs concatenated; see `ensemble_mean`."""
    return _ensemble("ensemble_concat", members, tied, kinds)


def _ensemble(kind, members, tied, kinds):
    members = [member.copy() for member in members]
    if not tied:
        for index, member in enumerate(members):
            member.rescope(f"member{index}/")
    x, children = members[0].input_shape, numbered("member", members)
    return assemble(kind, x, children, mutables={"member": kinds})


def fractal(entry, inner, depth: int):
    """A fractal group: `entry` is the base from the input on, `inner` the base of equal shapes.

    >>> from reuseprior.revolver import blocks
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
