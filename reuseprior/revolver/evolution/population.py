"""A population: individuals, what they share, their scores and those of their modules."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field
from functools import cached_property
from statistics import fmean
from typing import Any, NamedTuple

from reuseprior import schemas
from reuseprior.revolver.blueprints.blueprint import Blueprint, Scope
from reuseprior.revolver.blueprints.kinds import find

# Parts of a module's new score: the individual's, its children's mean, that of all its uses.
NEW, CHILDREN, EVERYWHERE = 0.7, 0.2, 0.1
MEMORY = 0.95  # of a shared module's score over all its uses


class Use(NamedTuple):
    """A registered module of an individual: its blueprint, and how often it is used."""

    node: Blueprint
    parameters: int  # learnable, its own
    times: int


@dataclass(eq=False)
class Individual:
    """A blueprint with its history; `score` is what it competes by, lower is better.

    The score is the genotype fitness until the first training and then follows the phenotype's.
    A blueprint in a population is not changed: its offspring is.
    """

    number: int  # in the order of birth, for lineages
    blueprint: Blueprint
    fitness: float  # of the genotype, when it was found
    operator: str = "initial"
    parents: tuple[int, ...] = ()
    generation: int = 0  # of its birth
    rounds: int = 0  # trainings
    batches: int = 0  # trained on in all of them
    loss: float | None = None  # validation, at the last training
    accuracy: float | None = None
    _json: tuple[Any, str] | None = field(default=None, init=False, repr=False)

    @property
    def score(self) -> float:
        """The score of the whole model, kept in its blueprint's meta."""
        return self.blueprint.meta["score"]

    @cached_property
    def scopes(self) -> list[Scope]:
        """Its blueprint's scopes, which stay as they are."""
        return self.blueprint.scopes()

    @cached_property
    def modules(self) -> dict[str, Use]:
        """All its modules by registered name."""
        return _uses(self.scopes)

    @property
    def parameters(self) -> int:
        """Distinct learnable parameters."""
        return sum(use.parameters for use in self.modules.values())

    def to_data(self) -> dict[str, Any]:
        """The individual as JSON values."""
        names = ("number", "fitness", "operator", "parents", "generation", "rounds", "batches")
        plain = {name: getattr(self, name) for name in (*names, "loss", "accuracy")}
        return plain | {"parents": list(self.parents), "blueprint": self.blueprint.to_data()}

    def to_json(self) -> str:
        """The individual as JSON text, which is kept: between its trainings it does not change."""
        version = (self.rounds, [node.freeze for _, node in self.blueprint.walk()])
        if self._json is None or self._json[0] != version:
            self._json = version, json.dumps(self.to_data(), allow_nan=False)
        return self._json[1]

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> Individual:
        """The individual that `to_data` wrote."""
        blueprint = Blueprint.from_data(data["blueprint"])
        return cls(**{**data, "blueprint": blueprint, "parents": tuple(data["parents"])})


class ModuleScore(NamedTuple):
    """A shared module, as table C.1 ranks them."""

    name: str
    kind: str
    in_channels: int
    out_channels: int
    kernel_size: int | None
    score: float  # lower is better
    parameters: int
    individuals: int  # that hold it
    uses: int  # in all of them


class SharedParameters(NamedTuple):
    """How far a population shares its parameters."""

    distinct: int  # parameters, each once
    alone: int  # parameters of all individuals, each for itself
    shared: int  # distinct parameters that are used in two places or more

    @classmethod
    def of(cls, individuals: Iterable[Mapping[str, Use]]) -> SharedParameters:
        """Counted from every individual's modules by name."""
        sizes: dict[str, int] = {}
        times: dict[str, int] = {}
        alone = 0
        for modules in individuals:
            for name, use in modules.items():
                sizes[name] = use.parameters
                times[name] = times.get(name, 0) + use.times
                alone += use.parameters
        shared = sum(size for name, size in sizes.items() if times[name] > 1)
        return cls(sum(sizes.values()), alone, shared)

    @property
    def factor(self) -> float:
        """Parameters without sharing between individuals over those with; 1: nothing shared."""
        return self.alone / self.distinct if self.distinct else 1.0

    @property
    def share(self) -> float:
        """The part of the distinct parameters that is used in two places or more."""
        return self.shared / self.distinct if self.distinct else 0.0


@dataclass(eq=False)
class Population:
    """Individuals in slots, and the scores of shared modules over all their uses.

    In Jupyter it displays as a map of who shares what (`views.displays`).
    """

    individuals: list[Individual] = field(default_factory=list)
    scores: dict[str, float] = field(default_factory=dict)  # registered name → score

    def __len__(self) -> int:
        return len(self.individuals)

    def __iter__(self):
        return iter(self.individuals)

    def __getitem__(self, index: int) -> Individual:
        return self.individuals[index]

    def ranked(self) -> list[int]:
        """The slots from the best score to the worst; of equals, the elder first."""
        order = sorted(enumerate(self), key=lambda slot: (slot[1].score, slot[1].number))
        return [index for index, _ in order]

    def trained(self) -> list[Individual]:
        """The individuals that were trained, the best score first."""
        return [self[index] for index in self.ranked() if self[index].rounds]

    def blueprints(self) -> list[Blueprint]:
        """The blueprints in the order of their slots."""
        return [individual.blueprint for individual in self]

    def place(self, index: int, individual: Individual) -> None:
        """Put a new individual into a slot; parts without a score get its genotype fitness."""
        for _, node in individual.blueprint.walk():
            node.meta.setdefault("score", individual.fitness)
        individual.blueprint.meta["score"] = individual.fitness
        if index == len(self):
            self.individuals.append(individual)
        else:
            self.individuals[index] = individual

    def sharing(self) -> SharedParameters:
        """Distinct and shared parameters of the whole population.

        The smallest case: two individuals of one and the same shared module have a factor of 2.
        """
        return SharedParameters.of(individual.modules for individual in self)

    def ranking(self) -> list[ModuleScore]:
        """The scored shared modules with parameters that somebody holds, the best first."""
        uses: dict[str, list[Use]] = {}
        for individual in self:
            for name, use in individual.modules.items():
                if name in self.scores and use.parameters:
                    uses.setdefault(name, []).append(use)
        found = [
            ModuleScore(
                name=name,
                kind=first.node.kind,
                in_channels=first.node.input_shape[0],
                out_channels=first.node.output_shape[0],
                kernel_size=first.node.arguments.get("kernel_size"),
                score=self.scores[name],
                parameters=first.parameters,
                individuals=1 + len(others),
                uses=sum(use.times for use in (first, *others)),
            )
            for name, (first, *others) in uses.items()
        ]
        return sorted(found, key=lambda module: (module.score, module.name))

    def forget(self, names: Iterable[str]) -> None:
        """Drop the scores of modules that are no longer registered."""
        for name in names:
            self.scores.pop(name, None)

    def to_data(self) -> dict[str, Any]:
        """The population as JSON values, each individual as JSON text."""
        return {"individuals": [i.to_json() for i in self], "scores": dict(self.scores)}

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> Population:
        """The population that `to_data` wrote."""
        individuals = [
            Individual.from_data(schemas.read(text, schemas.Individual))
            for text in data["individuals"]
        ]
        return cls(individuals, dict(data["scores"]))


def distinct_parameters(blueprints: Iterable[Blueprint]) -> int:
    """Learnable parameters of a population, each name once.

    >>> from reuseprior.revolver import blocks
    >>> conv = blocks.conv((8, 4, 4), 8)
    >>> distinct_parameters([conv, conv.copy()])
    576
    """
    return SharedParameters.of(_uses(b.scopes()) for b in blueprints).distinct


def sharing_factor(blueprints: Iterable[Blueprint]) -> float:
    """The sum of the individuals' parameters over the population's: 1.0 where nothing is shared."""
    return SharedParameters.of(_uses(b.scopes()) for b in blueprints).factor


def update_scores(
    scopes: Iterable[Scope],
    fitness: float,
    scores: MutableMapping[str, float],
    *,
    weight: float = 0.5,
) -> None:
    """Carry an individual's new fitness into the scores of all its modules (thesis, §3.4).

    `scopes` are the individual's. From the leaves up,
    s ← w·(0.7·fitness + 0.2·mean of the children + 0.1·everywhere) + (1−w)·s. What a shared
    module scores everywhere, in `scores` by name, moves by a twentieth of the way.
    """
    for _, node, name in scopes:
        below = [child.meta["score"] for child in node.children.values()]
        shared = not node.unique and "@" not in name  # a batch norm of one use belongs to it alone
        everywhere = scores.get(name, fitness) if shared else fitness
        new = NEW * fitness + CHILDREN * (fmean(below) if below else fitness)
        new += EVERYWHERE * everywhere
        score = weight * new + (1 - weight) * node.meta.get("score", fitness)
        node.meta["score"] = score
        if shared:
            scores[name] = (1 - MEMORY) * score + MEMORY * scores.get(name, score)


def slots_to_replace(
    population: Population,
    count: int,
    rng: random.Random,
    *,
    low: int = 6,
    low_chance: float = 0.8,
    top: int = 4,
) -> list[int]:
    """Slots of low performers: mostly among the `low` worst, else among all but the `top` best.

    The best individual keeps its slot however small the population is.
    """
    ranked = population.ranked()
    worst, others = ranked[1:][-low:], ranked[max(top, 1) :]
    candidates = worst if rng.random() < low_chance or len(others) < count else others
    return rng.sample(candidates, min(count, len(candidates)))


def pick(
    population: Population,
    count: int,
    rng: random.Random,
    *,
    explore: float = 0.5,
    tournament: int = 3,
    exclude: Iterable[int] = (),
    best: int | None = None,
) -> list[int]:
    """Different slots, each by chance with probability `explore` and else by score (§3.4.3).

    By score: the best of `tournament` drawn ones, so that better individuals come more often.
    With `best`, among so many of the best that are not excluded, by tournaments of two: chances
    fall with rank, to none for the last.
    """
    if best is not None:
        explore, tournament = 0.0, 2
    out = set(exclude)
    left = sorted([index for index in population.ranked() if index not in out][:best])
    chosen = []
    for _ in range(min(count, len(left))):
        drawn = rng.sample(left, 1 if rng.random() < explore else min(tournament, len(left)))
        best = min(drawn, key=lambda index: (population[index].score, population[index].number))
        chosen.append(best)
        left.remove(best)
    return chosen


def budget(
    score: float,
    mean: float,
    most: int,
    *,
    minimum: int = 96,
    rule: str = "thesis",
    generation: int = 0,
    generations: int = 0,
) -> int:
    """Batches to train an individual on: more for better scores, at most an epoch (§3.5.5.2).

    `most` is an epoch, or less where turns are to be short. The formula is the author's:
    minimum · (mean score / score)³. The rule "thesis" gives at least the minimum; "author" a fifth
    of it, the most in the first two generations, and a base of 512 in the last fifth. It is never
    less than one.

    >>> budget(0.5, 1.0, 400), budget(2.0, 1.0, 400), budget(2.0, 1.0, 400, rule="author")
    (400, 96, 19)
    """
    ratio = (mean / score) ** 3 if score > 0 else float("inf")
    if rule == "author":
        if 1 <= generation <= 2:
            return most
        if generation > 0.8 * generations:
            minimum = 512
        batches = minimum * max(ratio, 0.2)
    else:
        batches = minimum * max(ratio, 1.0)
    return max(int(min(batches, most)), 1)


def _uses(scopes: Iterable[Scope]) -> dict[str, Use]:
    found: dict[str, Use] = {}
    for _, node, name in scopes:
        times = found[name].times if name in found else 0
        found[name] = Use(node, find(node.kind).size(node), times + 1)
    return found
