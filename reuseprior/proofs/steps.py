"""Statements as chains of steps, each proved from what it puts in, and derivations of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import sympy as sp

from reuseprior.proofs import prove
from reuseprior.proofs.render import latex, text
from reuseprior.proofs.theory import ProofError, Theory

if TYPE_CHECKING:  # python-flint is imported when numbers are asked for
    from reuseprior.proofs import balls

NEAR = 1e-3
"""How far from its limit something may be where a limit is tried."""
RELATIONS = {"=": "=", "≥": r"\ge", "~": r"\sim", "→": r"\to"}


class Fact(NamedTuple):
    """An equation that a step may put in: its left side goes, its right one comes."""

    left: sp.Basic
    right: sp.Expr
    of: str = ""
    """Who says so; nobody's is that of an earlier chain of the same derivation."""
    grid: tuple[tuple, ...] = ()
    """Where alone it is so, if it is a case."""


@dataclass(frozen=True)
class Step:
    """What comes next in a chain, why, and the premises that its proof puts in."""

    right: sp.Expr
    why: str
    using: tuple[Fact, ...] = ()
    relation: str = "="
    variable: sp.Symbol | None = None
    rate: sp.Expr | None = None
    """What is left of a limit: it vanishes, and the difference is like it."""


def to(right: sp.Expr, why: str, *using: Fact | Chain, **options) -> Step:
    """The next step: an equation, or the `relation` "≥", "~" or "→" as a `variable` grows.

    "→" is a limit whose difference from what is before is like the `rate`, which vanishes.
    """
    found = (one.fact if isinstance(one, Chain) else one for one in using)
    return Step(right, why, tuple(found), **options)


@dataclass(frozen=True)
class Chain:
    """a₀ = a₁ = … = aₙ: its ends are what it states, and each step has its own proof."""

    theory: Theory
    left: sp.Expr
    steps: tuple[Step, ...]
    grid: tuple[tuple, ...] = ()
    defines: bool = False

    @property
    def right(self) -> sp.Expr:
        """Its other end."""
        return self.steps[-1].right

    @property
    def sides(self) -> tuple[sp.Expr, ...]:
        """a₀ to aₙ."""
        return self.left, *(step.right for step in self.steps)

    @property
    def weakest(self) -> Step:
        """The step that is no equation, else the last."""
        return next((s for s in self.steps if s.relation != "="), self.steps[-1])

    @property
    def states(self) -> tuple:
        """What it states and of which points, whatever the steps between its ends."""
        weakest = self.weakest
        ends = self.left, weakest.relation, self.right
        return *ends, weakest.variable, weakest.rate, frozenset(self.points)

    @property
    def fact(self) -> Fact:
        """Its statement, to be put in; ProofError where that is no equation."""
        if self.weakest.relation != "=":
            raise ProofError(f"{self} is no equation, so that no step can put it in")
        return Fact(self.left, self.right, grid=self.points if self.grid or self.cases else ())

    @property
    def cases(self) -> list[tuple[tuple, ...]]:
        """Where alone what it puts in is so."""
        return [fact.grid for step in self.steps for fact in step.using if fact.grid]

    @property
    def points(self) -> tuple[tuple, ...]:
        """Where it is tried: its own points, those of the cases that it puts in, or all."""
        first, *others = [self.grid] if self.grid else self.cases or [self.theory.grid]
        return tuple(point for point in first if all(point in other for other in others))

    @cached_property
    def numbers(self) -> tuple[tuple[str, list[balls.Ball | None]], ...]:
        """All sides wherever they are tried."""
        return tuple(x for point in self.points for x in self.at(point))

    def at(self, point: tuple) -> list[tuple[str, list[balls.Ball | None]]]:
        """All sides at one point."""
        from reuseprior.proofs import balls

        return list(balls.at_point(self.sides, self.theory, point))

    @cached_property
    def proofs(self) -> tuple[bool, ...]:
        """Whether each step is proved."""
        return tuple(map(self._proved, range(len(self.steps))))

    @cached_property
    def checks(self) -> tuple[bool, ...]:
        """Whether the numbers agree with each step, wherever they are tried."""
        return tuple(map(self._checked, range(len(self.steps))))

    @property
    def holds(self) -> bool:
        """Whether it is tried somewhere, and each step is proved and agrees with all numbers."""
        return bool(self.points) and all(self.checks) and all(self.proofs)

    def _proved(self, k: int) -> bool:
        left, step = self.sides[k], self.steps[k]
        premises = tuple((fact.left, fact.right) for fact in step.using)
        if self.defines:
            return True
        of = {i for name, _ in premises if isinstance(name, sp.Indexed) for i in name.indices}
        if any(index.is_Symbol and index not in self.theory.indices for index in of):
            return False  # what is said of the last, say, would be put in for all
        if step.relation in "=≥":
            proof = prove.equal if step.relation == "=" else prove.at_least
            return proof(left, step.right, premises)
        goes = step.variable, self.theory.ranges
        tends, goal = self._tends(left, step)
        if step.rate is not None and prove.limit(step.rate, *goes) != 0:
            return False  # what does not vanish is no rate
        return prove.canonical(prove.limit(prove.worked_out(tends, premises), *goes) - goal) == 0

    @staticmethod
    def _tends(left: sp.Expr, step: Step) -> tuple[sp.Expr, int]:
        """What goes to which number if the step is right."""
        if step.relation == "~":
            return left / step.right, 1
        if step.rate is None:
            return left - step.right, 0
        return (left - step.right) / step.rate, 1

    def _checked(self, k: int) -> bool:
        from reuseprior.proofs import balls

        step = self.steps[k]
        if step.variable is not None:
            distance = self.far(k)
            return distance is not None and balls.near(
                distance, self._tends(self.left, step)[1], NEAR
            )
        pairs = [values[k : k + 2] for _, values in self.numbers]
        if any(None in pair for pair in pairs):
            return False
        if step.relation == "≥":
            return not any(balls.below(*pair) for pair in pairs)
        return all(balls.meet(*pair) for pair in pairs)

    def far(self, k: int, point: tuple | None = None) -> balls.Ball | None:
        """What a limit's step says goes to a number, where its variable is far."""
        from reuseprior.proofs import balls

        step, theory = self.steps[k], self.theory
        read = balls.numbers(theory, point or self.points[0]) | {
            step.variable: balls.exact(theory.far)
        }
        tends, _ = self._tends(self.sides[k], step)
        premises = [(fact.left, fact.right) for fact in step.using]
        return balls.narrow([prove.put_in(tends, premises)], theory, read)[0]

    def latex(self, left: sp.Expr | None = None, step: Step | None = None) -> str:
        """What it states in LaTeX, or what a step does, without a left side where none is given."""
        names, step = self.theory.latex, step or replace(self.weakest, right=self.right)
        sign, right = RELATIONS[step.relation], latex(step.right, names)
        if step.rate is not None:
            rate = latex(step.rate, names)
            sign, right = "=", rf"{right} + \left({rate}\right)(1 + o(1))"
        if step.variable is not None:
            right += rf" \quad ({latex(step.variable, names)} \to \infty)"
        return f"{'' if left is None else latex(left, names)} {sign} {right}"

    @property
    def statement(self) -> str:
        """What it states, in LaTeX."""
        return self.latex(self.left)

    def __str__(self) -> str:
        step = self.weakest
        sign, right = step.relation, text(self.right)
        if step.rate is not None:
            sign, right = "=", f"{right} + ({text(step.rate)})(1 + o(1))"
        goes = f" for {text(step.variable)} → ∞" if step.variable is not None else ""
        return f"{text(self.left)} {sign} {right}{goes}"


class Note:
    """What else there is to say, in words with {} for expressions, and chains that prove it."""

    def __init__(self, words: str, *expressions: sp.Expr) -> None:
        self.words, self.expressions = words, expressions

    def told(self, write: Callable[[sp.Expr], str]) -> str:
        """The words with the expressions, as they are written."""
        return self.words.format(*map(write, self.expressions))


class Correction(Note):
    """What a source prints instead, and how far off it is."""


@dataclass(frozen=True)
class Derivation:
    """What a theorem, a definition or a case states, and the chains that prove it."""

    name: str
    title: str
    chains: tuple[Chain, ...]
    printed: tuple[Chain, ...] = ()
    note: Note | None = None
    besides: tuple[Chain, ...] = ()
    """The chains of the note."""
    place: str = ""
    """The equation or the section of the source that it is about."""

    def __iter__(self) -> Iterator[Fact]:
        """All that it says, to be put in."""
        return (chain.fact._replace(of=self.name) for chain in self.chains)

    def __getitem__(self, left: sp.Basic) -> Fact:
        """What it says of this left side, to be put in by steps of others."""
        for chain in self.all_chains:
            if chain.left == left:
                return chain.fact._replace(of=self.name)
        raise ProofError(f"{self.name} does not say what {text(left)} is")

    @property
    def all_chains(self) -> tuple[Chain, ...]:
        """Those of what it states, then those of its note."""
        return self.chains + self.besides

    @property
    def every_chain(self) -> tuple[Chain, ...]:
        """Those, and those of what is printed and not derived."""
        return self.all_chains + self.only_printed

    @property
    def defines(self) -> bool:
        """Whether there is nothing to prove: it is a definition or a case."""
        return bool(self.chains) and all(chain.defines for chain in self.chains)

    @property
    def holds(self) -> bool:
        """Whether it states something and all its chains hold, whatever they rest on."""
        return bool(self.chains) and all(chain.holds for chain in self.all_chains)

    @property
    def only_printed(self) -> tuple[Chain, ...]:
        """What is printed and not derived."""
        derived = [chain.states for chain in self.all_chains]
        return tuple(chain for chain in self.printed if chain.states not in derived)

    @property
    def printed_holds(self) -> bool:
        """Whether what is printed does, derived or not."""
        return bool(self.printed) and all(chain.holds for chain in self.only_printed)


def derived(name: str, title: str, place: str = "") -> Callable[..., Derivation]:
    """Make a derivation of a function that yields its chains, and the one that it becomes.

    A yielded Correction or Note takes the chains after it; a list of chains is what is printed,
    without which that is what is stated.
    """

    def make(chains: Callable[[], Iterable[Chain | Note | Sequence[Chain]]]) -> Derivation:
        stated, besides, printed, note = [], [], (), None
        for one in chains():
            if isinstance(one, Note):
                note = one
            elif isinstance(one, Chain):
                (besides if note else stated).append(one)
            else:
                printed = tuple(one)
        printed = printed or tuple(stated)
        return Derivation(name, title, tuple(stated), printed, note, tuple(besides), place)

    return make


def define(
    theory: Theory, name: str, title: str, *pairs: tuple, grid: tuple[tuple, ...] = ()
) -> Derivation:
    """What symbols mean, as premises: pairs of a symbol and its meaning, a case at its points."""
    chains = (Chain(theory, left, (Step(right, title),), grid, True) for left, right in pairs)
    return Derivation(name, title, tuple(chains))
