"""Search algorithms: each looks for a genotype that is fitter than a target (thesis, §3.4.1)."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection
from typing import NamedTuple

from reuseprior.revolver.blueprints.blueprint import Blueprint
from reuseprior.revolver.blueprints.uniqueness import Tags, clone
from reuseprior.revolver.evolution.fitness import genotype_fitness
from reuseprior.revolver.evolution.generator import generate
from reuseprior.revolver.evolution.operators import copyover, crossover, mutate
from reuseprior.revolver.evolution.population import Individual, Population, pick
from reuseprior.revolver.evolution.settings import Settings


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
        found = breeder.generate(operator)
        if found is not None and found.fitness < target:
            return found
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
        found = random_search(breeder, top, settings.random_tries, "immigration")
        if found is not None:
            return found
    slots = pick(
        population, 2, rng, explore=settings.explore, tournament=settings.tournament,
        exclude=exclude, best=best,
    )  # fmt: skip
    offspring = _offspring(breeder, [population[slot] for slot in slots])
    if not offspring:
        return None
    fittest = min(offspring, key=lambda found: found.fitness)
    if fittest.fitness >= target and rng.random() < settings.elimination:
        return None
    return fittest


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
        if rng.random() < settings.mutation_chance and _until(
            lambda blueprint=blueprint: mutate(
                blueprint, settings.space, tags, rng, settings.rates
            ),
            settings.mutation_tries,
        ):
            changed.append("mutation")
    found = []
    for index, (blueprint, changed) in enumerate(zip(born, changes, strict=True)):
        if changed:
            exchanged = changed[0] != "mutation"
            line = [parents[index].number]
            if exchanged:
                line.append(parents[1 - index].number)
            found.append(breeder.judge(blueprint, "+".join(changed), tuple(line)))
    return [entry for entry in found if entry is not None]


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
