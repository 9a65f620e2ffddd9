"""Small populations and random operators for the tests."""

import random
from collections import Counter
from dataclasses import dataclass, field, replace

from hypothesis import settings
from hypothesis import strategies as st

from reuseprior import revolver as rv

SMALL = rv.Space(
    image=(3, 8, 8),
    classes=3,
    depths=(6, 8),
    widths=(1, 2),
    channels=4,
    groups=2,
    smallest=4,
    residual_groups=("residual_group", "residual_group", "fractal"),
    kernels=(1, 3),
    orders=(("bn", "act", "conv"), ("conv", "bn", "act", "drop")),
)
# 200 examples, and 20 in the quick checks
EXAMPLES = 2 * settings.default.max_examples
property_test = settings(max_examples=EXAMPLES, derandomize=True, deadline=None)


@dataclass(repr=False)
class World:
    """Individuals of one space, their registry's tags, and the random numbers of what follows."""

    space: rv.Space
    rng: random.Random
    tags: rv.Tags = field(default_factory=rv.Tags)
    population: list[rv.Blueprint] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"World({self.population}, {self.space.unique}, {self.space.norm_scope!r})"

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


@st.composite
def worlds(draw, individuals=2, steps=2):
    """A population, after `steps` rounds of random operators."""
    seed = draw(st.integers(0, 2**32))
    unique = draw(st.sampled_from([0.0, 0.3, 1.0]))
    scope = draw(st.sampled_from(["block", "use"]))
    groups = draw(st.sampled_from([1, 2]))
    space = replace(SMALL, unique=unique, norm_scope=scope, groups=groups)
    return World(space, random.Random(seed)).add(individuals).evolve(steps)


def places(blueprints) -> list[tuple[rv.Scope, str]]:
    return [scope for blueprint in blueprints for scope in blueprint.scopes()]


def nodes(*blueprints) -> Counter:
    """What the blueprints consist of, wherever it stands."""
    return Counter((node.kind, repr(node.arguments)) for b in blueprints for _, node in b.walk())
