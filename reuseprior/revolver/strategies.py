"""Search algorithms (thesis, §3.4.1), and the fitness by which they choose (§3.5.5.2)."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection
from functools import partial
from math import inf, log, log2, prod
from typing import NamedTuple

from reuseprior.contexts import TracedModel, trace_model
from reuseprior.measures.measuring import measured
from reuseprior.measures.scores import R6
from reuseprior.revolver.blueprints import Blueprint, Tags, clone, find
from reuseprior.revolver.operators import copyover, crossover, mutate
from reuseprior.revolver.population import Individual, Population, Registry
from reuseprior.revolver.space import Settings, generate

# Fitness: lower is better -------------------------------------------------------------------------

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
    quantities = _traced(blueprint).count().quantities()
    return max(getattr(quantities, quantity), 0.0)


def score_utility(blueprint: Blueprint) -> float:
    """R6 (`measures.scores`), at least 0, for T = 50,000 training images, as of CIFAR-10.

    Recorded and counted on the model without weights, so it takes as long as `context_utility`.
    """
    traced = _traced(blueprint)
    counted = measured(
        "blueprint",
        traced,
        traced.count().quantities(),
        image_size=None,
        shape=(1, *blueprint.input_shape),
        held=blueprint.parameters(),
        start=time.perf_counter(),
    )
    return max(R6(counted.row(), IMAGES), 0.0)


def _traced(blueprint: Blueprint) -> TracedModel:
    """One forward pass of the model, without weights."""
    return trace_model(Registry(device="meta").build(blueprint), (1, *blueprint.input_shape))


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


# Search -------------------------------------------------------------------------------------------


class Found(NamedTuple):
    """A genotype that a search found."""

    blueprint: Blueprint
    fitness: float
    operator: str
    parents: tuple[int, ...] = ()


class Breeder(NamedTuple):
    """What all search algorithms draw from: the settings, the population's tags and its chance."""

    settings: Settings
    tags: Tags
    rng: random.Random
    coefficient: float

    def generate(self, operator: str = "random") -> Found | None:
        """A genotype drawn from the space, or None if it is too large."""
        return self.judge(generate(self.settings.space, self.rng, self.tags), operator)

    def judge(self, blueprint: Blueprint, operator: str, parents=()) -> Found | None:
        """A genotype with its fitness, or None if it is too large to be trained (§3.4.2)."""
        if blueprint.parameters() > self.settings.max_parameters:
            return None
        fitness = genotype_fitness(blueprint, self.coefficient, self.settings.fitness)
        return Found(blueprint, fitness, operator, parents)


def random_search(
    breeder: Breeder, target: float, tries: int, operator: str = "random"
) -> Found | None:
    """The first of `tries` random genotypes that is fitter than the target (§3.4.1.2)."""
    for _ in range(tries):
        candidate = breeder.generate(operator)
        if candidate is not None and candidate.fitness < target:
            return candidate
    return None


def genetic_search(
    breeder: Breeder,
    population: Population,
    target: float,
    *,
    exclude: Collection[int] = (),
    immigration: float = 0.0,
    best: int | None = None,
) -> Found | None:
    """Offspring of two individuals, by crossover and mutation (§3.4.1.3), or None.

    With probability `immigration` a random genotype that is fitter than the two best individuals
    comes instead. With `best` the parents are chosen among so many of the best. The fitter of two
    offspring is returned; if it is worse than the target it is eliminated with a probability, and
    the search has failed.
    """
    settings, rng = breeder.settings, breeder.rng
    if rng.random() < immigration:
        top = population[population.ranked()[0]].score
        candidate = random_search(breeder, top, settings.random_tries, "immigration")
        if candidate is not None:
            return candidate
    slots = pick(population, 2, rng, settings, exclude=exclude, best=best)
    offspring = _offspring(breeder, [population[slot] for slot in slots])
    if not offspring:
        return None
    fittest = min(offspring, key=lambda candidate: candidate.fitness)
    if fittest.fitness >= target and rng.random() < settings.elimination:
        return None
    return fittest


def slots_to_replace(population: Population, rng: random.Random, s: Settings) -> list[int]:
    """Slots of low performers: mostly among the `low` worst, else among all but the `top` best.

    The best individual keeps its slot however small the population is.
    """
    ranked = population.ranked()
    worst, others = ranked[1:][-s.low :], ranked[max(s.top, 1) :]
    is_low = rng.random() < s.low_chance or len(others) < s.replacements
    candidates = worst if is_low else others
    return rng.sample(candidates, min(s.replacements, len(candidates)))


def pick(
    population: Population,
    count: int,
    rng: random.Random,
    s: Settings,
    *,
    by_score: bool = False,
    exclude: Collection[int] = (),
    best: int | None = None,
) -> list[int]:
    """Different slots, each by chance with probability `explore` and else by score (§3.4.3).

    By score: the best of `tournament` drawn ones, so that better individuals come more often.
    With `best`, among so many of the best that are not excluded, by tournaments of two: chances
    fall with rank, to none for the last.
    """
    explore = 0.0 if by_score or best is not None else s.explore
    tournament = s.tournament if best is None else 2
    left = sorted([index for index in population.ranked() if index not in exclude][:best])
    chosen = []
    for _ in range(min(count, len(left))):
        drawn = rng.sample(left, 1 if rng.random() < explore else min(tournament, len(left)))
        first = min(drawn, key=lambda index: (population[index].score, population[index].number))
        chosen.append(first)
        left.remove(first)
    return chosen


def budget(score: float, mean: float, most: int, s: Settings, generation: int = 0) -> int:
    """Batches to train an individual on: more for better scores, at most an epoch (§3.5.5.2).

    `most` is an epoch, or less where turns are to be short. The formula is the author's:
    minimum · (mean score / score)³. The rule "thesis" gives at least the minimum; "author" a fifth
    of it, the most in the first two generations, and a base of 512 in the last fifth. It is never
    less than one.

    >>> [budget(score, 1.0, 400, Settings()) for score in (0.5, 2.0)]
    [400, 96]
    >>> budget(2.0, 1.0, 400, Settings(budget="author"))
    19
    """
    ratio, minimum, least = (mean / score) ** 3 if score > 0 else inf, s.minimum_batches, 1.0
    if s.budget == "author":
        if 1 <= generation <= 2:
            return most
        minimum = 512 if generation > 0.8 * s.generations else minimum
        least = 0.2
    return max(int(min(minimum * max(ratio, least), most)), 1)


def immigration_chance(settings: Settings, generation: int) -> float:
    """The probability of immigration, which falls in a straight line to 0 at the end.

    >>> round(immigration_chance(Settings(immigration=0.05, generations=100), 51), 6)
    0.025
    """
    past = max(generation - 1, 0) / settings.generations
    return settings.immigration * max(1 - past, 0.0)


def best_part(settings: Settings, generation: int, count: int) -> int | None:
    """Among how many of the best individuals `count` are chosen; None: among all.

    With `focus`, in the last part of a search: the best 1 − i/n of the population in generation i
    of n, counted from 0, and at least count + 2; and the next one, which `pick` never takes. The
    thesis does not say it. Its author's library does it, for those who are trained and for parents
    (github.com/gozepolat/revolver, `Population.pick_indices` and `POPULATION_FOCUS_PICK_RATIO`).

    >>> s = Settings(focus=True)  # 80 individuals, 160 generations
    >>> [best_part(s, generation, count=8) for generation in (128, 129, 140, 160)]
    [None, 17, 11, 11]
    """
    s = settings
    if not (s.focus and generation > (1 - s.exploit) * s.generations):
        return None
    part = s.population * (s.generations - generation + 1) // s.generations
    return max(count + 2, part) + 1


def _offspring(breeder: Breeder, parents: list[Individual]) -> list[Found]:
    """The offspring of two parents that differ from them and are small enough."""
    settings, tags, rng = breeder.settings, breeder.tags, breeder.rng
    born = [clone(p.blueprint, tags, rng, unique=settings.clone_unique) for p in parents]
    changes: list[list[str]] = [[] for _ in born]
    if len(born) == 2 and rng.random() < settings.crossover_chance:
        for index, name in _exchange(breeder, *born):
            changes[index].append(name)
    for blueprint, changed in zip(born, changes, strict=True):
        if rng.random() < settings.mutation_chance:
            attempt = partial(mutate, blueprint, settings.space, tags, rng, settings.rates)
            if _until(attempt, settings.mutation_tries):
                changed.append("mutation")
    entries = []
    for index, (blueprint, changed) in enumerate(zip(born, changes, strict=True)):
        if changed:
            exchanged = changed[0] != "mutation"
            line = [parents[index].number]
            if exchanged:
                line.append(parents[1 - index].number)
            entries.append(breeder.judge(blueprint, "+".join(changed), tuple(line)))
    return [entry for entry in entries if entry is not None]


def _exchange(breeder: Breeder, a: Blueprint, b: Blueprint) -> list[tuple[int, str]]:
    """Which of two offspring an exchange changed, and by what operator."""
    settings, tags, rng = breeder.settings, breeder.tags, breeder.rng
    if rng.random() < settings.copyover_chance:
        done = _until(lambda: copyover(b, a, tags, rng, settings.rates), settings.crossover_tries)
        return [(0, "copyover")] if done else []
    done = _until(lambda: crossover(a, b, tags, rng, settings.rates), settings.crossover_tries)
    return [(0, "crossover"), (1, "crossover")] if done else []


def _until(attempt: Callable[[], bool], tries: int) -> bool:
    """Whether one of so many attempts changed something; the first that does is the last."""
    return any(attempt() for _ in range(tries))
