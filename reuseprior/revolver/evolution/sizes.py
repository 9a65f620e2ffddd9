"""How many parameters a population holds, and how far it shares them, without building it."""

from __future__ import annotations

from collections.abc import Iterable

from reuseprior.revolver.blueprints import kinds
from reuseprior.revolver.blueprints.blueprint import Blueprint


def distinct_parameters(blueprints: Iterable[Blueprint]) -> int:
    """Learnable parameters of a population, each name once.

    >>> conv = blocks.conv((8, 4, 4), 8)
    >>> distinct_parameters([conv, conv.copy()])
    576
    """
    sizes = {
        name: kinds.find(node.kind).size(node)
        for blueprint in blueprints
        for _, node, name in blueprint.scopes()
    }
    return sum(sizes.values())


def sharing_factor(blueprints: Iterable[Blueprint]) -> float:
    """The sum of the individuals' parameters over the population's: 1.0 where nothing is shared."""
    blueprints = list(blueprints)
    alone = sum(blueprint.parameters() for blueprint in blueprints)
    return alone / distinct_parameters(blueprints) if alone else 1.0
