"""Fitness (thesis, §3.5.5.2): of a blueprint without training, and of a trained model.

Lower is better. All functions are pure: they look at blueprints and change nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from math import log, log2, prod

from reuseprior.contexts import count_contexts, record_model
from reuseprior.measures.measuring import measured
from reuseprior.measures.scores import R6
from reuseprior.revolver.blueprints.blueprint import Blueprint
from reuseprior.revolver.blueprints.kinds import find
from reuseprior.revolver.evolution.registry import Registry

CONVOLUTIONS = ("conv", "deconv", "conv3d")  # kinds that are one; others are made of these
PENALTY = 0.0075  # of a hundredfold number of parameters
IMAGES = 50_000  # T of R6


def genotype_fitness(blueprint: Blueprint, coefficient: float, measure: str = "thesis") -> float:
    """Algorithm 2: coefficient / (utility + 1), with the utility by one of `MEASURES`.

    >>> from reuseprior.revolver import blocks
    >>> genotype_fitness(blocks.conv((4, 8, 8), 4), 32)  # the utility is log2 9
    7.67399...
    """
    return coefficient / (MEASURES[measure](blueprint) + 1)


def utility(blueprint: Blueprint) -> float:
    """Algorithm 2's utility, at least 0: log2(parameters · score / weights).

    The score is 1 plus, for every convolution, log2 of the geometric mean of its input's and its
    output's size; sharing layers means fewer parameters than weights.

    >>> from reuseprior.revolver import blocks
    >>> utility(blocks.conv((4, 8, 8), 4))  # log2(1 + log2 √(256 · 256))
    3.169925001442312
    """
    score = 1 + sum(
        log2(prod(node.input_shape) * prod(node.output_shape)) / 2
        for _, node in blueprint.walk()
        if node.kind in CONVOLUTIONS
    )
    return _clipped(blueprint.parameters() * score, blueprint.weights())


def author_utility(blueprint: Blueprint, batch_size: int = 128) -> float:
    """The utility as the author's library has it.

    It starts from 0, takes a quarter of each layer's score, counts fully connected layers too and
    the batch as a part of all shapes, and gives grouped convolutions the weights of full ones.
    """
    score = sum(
        log2(batch_size**2 * prod(node.input_shape) * prod(node.output_shape)) / 8
        for _, node in blueprint.walk()
        if node.kind in (*CONVOLUTIONS, "linear")
    )
    sizes = [(name, _ungrouped_size(node)) for _, node, name in blueprint.scopes()]
    return _clipped(sum(dict(sizes).values()) * score, sum(size for _, size in sizes))


def context_utility(blueprint: Blueprint, quantity: str = "P_G_spread") -> float:
    """P_G or P′_G (thesis, equations 4.7 and 4.8), at least 0: chapter 4 as genotype fitness.

    Contexts are counted on the model without weights. This is the future work of §3.6; it takes
    about a hundred times as long as `utility`.
    """
    model = Registry(device="meta").build(blueprint)
    quantities = count_contexts(model, (1, *blueprint.input_shape)).quantities()
    return max(getattr(quantities, quantity), 0.0)


def score_utility(blueprint: Blueprint) -> float:
    """R6 (`measures.scores`), at least 0, for T = 50,000 training images, as of CIFAR-10.

    Recorded and counted on the model without weights, so it takes as long as `context_utility`.
    """
    model = Registry(device="meta").build(blueprint)
    shape = (1, *blueprint.input_shape)
    recorded = record_model(model, shape)
    found = measured(
        "blueprint",
        recorded,
        recorded.count().quantities(),
        image_size=None,
        shape=shape,
        held=blueprint.parameters(),
        start=time.perf_counter(),
    )
    return max(R6(found.row(), IMAGES), 0.0)


MEASURES: dict[str, Callable[[Blueprint], float]] = {
    "thesis": utility,
    "author": author_utility,
    "P_G": lambda blueprint: context_utility(blueprint, "P_G"),
    "P_G_spread": context_utility,
    "R6": score_utility,
}


def phenotype_fitness(loss: float, parameters: int, penalty: float = PENALTY) -> float:
    """Algorithm 3: loss · (1 + penalty · log_100(parameters)).

    The validation loss counts 2.25 % more for a model of a million parameters.

    >>> phenotype_fitness(0.4, 1_000_000)
    0.409...
    """
    return loss * (1 + penalty * log(max(parameters, 1), 100))


def _clipped(score: float, weights: int) -> float:
    return max(log2(score / weights), 0.0) if score > 0 else 0.0


def _ungrouped_size(node: Blueprint) -> int:
    return find(node.kind).size(node) * node.arguments.get("groups", 1)
