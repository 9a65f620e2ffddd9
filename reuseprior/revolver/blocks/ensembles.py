"""Ensembles of blocks with the same input: their mean, or their outputs concatenated."""

from __future__ import annotations

import torch

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
    def fit(x, y, space, rng):
        member = space.fill("conv", x, y, rng)
        return ensemble_mean([member] * MEMBERS[0], tied=space.tied, kinds=space.convs)


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
    def fit(x, y, space, rng):
        count = next((n for n in MEMBERS if y[0] % n == 0), None)
        if count is None:
            return None
        member = space.fill("conv", x, (y[0] // count, *y[1:]), rng)
        return ensemble_concat([member] * count, tied=space.tied, kinds=space.convs)


def ensemble_mean(members, *, tied: bool = False, kinds=()):
    """The mean of copies of the given blocks, each in a scope of its own (`member0/` …).

    With `tied=True` they keep their scopes: members of equal name are then one module run several
    times, whose mean is that module. `kinds` are the kinds that members may mutate to.

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
    mutables = {"member": list(kinds)} if kinds else {}
    return assemble(kind, members[0].input_shape, numbered("member", members), mutables=mutables)
