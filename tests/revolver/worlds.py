"""Small populations and random operators for the tests."""

import random
from collections import Counter
from dataclasses import dataclass, field, replace

import pytest

from reuseprior import revolver as rv
from reuseprior.revolver import operators
from tests.soak import drawn

SMALL = rv.Space(
    image=(3, 8, 8), classes=3, depths=(6, 8), widths=(1, 2), channels=4, groups=2, smallest=4,
    residual_groups=("residual_group", "residual_group", "fractal"), kernels=(1, 3),
    orders=(("bn", "act", "conv"), ("conv", "bn", "act", "drop")),
)  # fmt: skip


@dataclass
class World:
    """Individuals of one space, their registry's tags, and the random numbers of what follows."""

    space: rv.Space
    rng: random.Random
    tags: rv.Tags = field(default_factory=rv.Tags)
    population: list[rv.Blueprint] = field(default_factory=list)

    def add(self, count: int) -> "World":
        for _ in range(count):
            self.population.append(rv.generate(self.space, self.rng, self.tags))
        return self

    def offspring(self) -> rv.Blueprint:
        return rv.clone(self.rng.choice(self.population), self.tags, self.rng, unique=0.16)

    def operate(self, a: rv.Blueprint, b: rv.Blueprint) -> bool:
        """One random operator on two individuals (copyover and mutation change `a` alone)."""
        name = self.rng.choice(["mutate", "crossover", "copyover", "unique", "common"])
        if name == "mutate":
            return rv.mutate(a, self.space, self.tags, self.rng)
        if name == "crossover":
            return rv.crossover(a, b, self.tags, self.rng)
        if name == "copyover":
            return rv.copyover(b, a, self.tags, self.rng)
        path = self.place(a)
        if name == "common":
            return rv.make_common(a, path)
        rv.make_unique(a, path, self.tags)
        return True

    def place(self, blueprint: rv.Blueprint):
        return self.rng.choice([path for path, _ in blueprint.walk()])

    def evolve(self, steps: int) -> "World":
        """Replace individuals by offspring that operators have changed."""
        for _ in range(steps):
            a, b = self.offspring(), self.offspring()
            for _ in range(2):
                self.operate(a, b)
            self.population[self.rng.randrange(len(self.population))] = a
            self.population[self.rng.randrange(len(self.population))] = b
        return self


def world(seed: int, individuals: int = 2, steps: int = 2) -> World:
    """A population, after `steps` rounds of random operators."""
    rng = random.Random(seed)
    unique, scope = rng.choice([0.0, 0.3, 1.0]), rng.choice(["block", "use"])
    space = replace(SMALL, unique=unique, norm_scope=scope, groups=rng.choice([1, 2]))
    return World(space, rng).add(individuals).evolve(steps)


def property_test(**options):
    """Try a property of a world on 200 of them, a fifth of which is drawn for every run."""

    def of_worlds(property_):
        @pytest.mark.parametrize("tenth", drawn(range(10), 2))
        def test(tenth):
            for seed in range(20 * tenth, 20 * (tenth + 1)):
                try:
                    property_(world(seed, **options))
                except Exception as error:
                    error.add_note(f"in world({seed})")
                    raise

        test.__name__, test.__doc__ = property_.__name__, property_.__doc__
        return test

    return of_worlds


def settled(node: rv.Blueprint, tags: rv.Tags | None = None) -> rv.Blueprint:
    """A blueprint of blocks, with the tags that its unique ones need."""
    rv.settle(node, rv.Tags() if tags is None else tags)
    return node


def populate(blueprints, scores=None) -> rv.Population:
    """Individuals that were not trained, with these scores or with 1 each."""
    found = rv.Population()
    for number, blueprint in enumerate(blueprints):
        score = scores[number] if scores else 1.0
        found.place(number, rv.Individual(number, blueprint, fitness=score))
    return found


def places(blueprints) -> list[tuple[rv.Scope, str]]:
    return [scope for blueprint in blueprints for scope in blueprint.scopes()]


def nodes(*blueprints) -> Counter:
    """What the blueprints consist of, wherever it stands."""
    return Counter((node.kind, repr(node.arguments)) for b in blueprints for _, node in b.walk())


def mutable_sites(blueprint):
    """Every mutable of a blueprint: the place of its block, and the argument or role."""
    return {
        (path, key)
        for path, node in blueprint.walk()
        for key in (*node.arguments, *node.children)
        if node.domain(key) is not None
    }


def compatible(a, b):
    """All pairs of pieces, as (path, roles), that crossover could swap between two blueprints."""
    return [
        ((path, left), (other, right))
        for path, mine in a.walk()
        for other, theirs in b.walk()
        for left, right in operators._pairs(mine, theirs, mutual=True)
    ]
