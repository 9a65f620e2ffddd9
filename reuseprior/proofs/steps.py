"""Statements as chains of steps, each proved from what it puts in, and derivations of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import sympy as sp

from reuseprior.proofs import balls, prove
from reuseprior.proofs.render import latex, text
from reuseprior.proofs.theory import ProofError, Theory

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

    def tends(self, left: sp.Expr) -> tuple[sp.Expr, int]:
        """What goes to which number if a limit is right."""
        if self.relation == "~":
            return left / self.right, 1
        if self.rate is None:
            return left - self.right, 0
        return (left - self.right) / self.rate, 1


def to(right: sp.Expr, why: str, *using: Fact | Chain, **options) -> Step:
    """The next step: an equation, or the `relation` "≥", "~" or "→" as a `variable` grows.

    "→" is a limit whose difference from what is before is like the `rate`, which vanishes.
    """
    facts = (one.fact if isinstance(one, Chain) else one for one in using)
    return Step(right, why, tuple(facts), **options)


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
    def stated(self) -> Step:
        """From end to end, by the relation of the step that is no equation if there is one."""
        weakest = next((s for s in self.steps if s.relation != "="), self.steps[-1])
        return replace(weakest, right=self.right, why="", using=())

    @property
    def states(self) -> tuple:
        """What it states and of which points, whatever the steps between its ends."""
        return self.left, self.stated, frozenset(self.points)

    @property
    def fact(self) -> Fact:
        """Its statement, to be put in; ProofError where that is no equation."""
        if self.stated.relation != "=":
            raise ProofError(f"{self} is no equation, so that no step can put it in")
        return Fact(self.left, self.right, grid=self.points if self.grid or self.cases else ())

    @property
    def using(self) -> tuple[Fact, ...]:
        """All that its steps put in."""
        return tuple(fact for step in self.steps for fact in step.using)

    @property
    def cases(self) -> list[tuple[tuple, ...]]:
        """Where alone what it puts in is so."""
        return [fact.grid for fact in self.using if fact.grid]

    @property
    def points(self) -> tuple[tuple, ...]:
        """Where it is tried: its own points, those of the cases that it puts in, or all."""
        first, *others = [self.grid] if self.grid else self.cases or [self.theory.grid]
        return tuple(point for point in first if all(point in other for other in others))

    def fits(self, point: tuple) -> bool:
        """Whether it is said of a point: it is tried there, or the cases that it puts in are so."""
        cases = [(fact.left, fact.right) for fact in self.using if fact.grid]
        at_point = (values for case in cases for _, values in self.at(point, case))
        return point in self.points or (not self.grid and all(balls.meet(*v) for v in at_point))

    @cached_property
    def numbers(self) -> tuple[tuple[str, list[balls.Ball | None]], ...]:
        """All sides wherever they are tried."""
        return tuple(x for point in self.points for x in self.at(point))

    def at(self, point: tuple, sides: Sequence = ()) -> list[tuple[str, list[balls.Ball | None]]]:
        """All sides, or these, at one point."""
        return list(balls.at_point(sides or self.sides, self.theory, point))

    @cached_property
    def proofs(self) -> tuple[bool, ...]:
        """Whether each step is proved."""
        steps = zip(self.sides[:-1], self.steps, strict=True)
        return tuple(self.defines or self._proved(*step) for step in steps)

    @cached_property
    def checks(self) -> tuple[bool, ...]:
        """Whether the numbers agree with each step, wherever they are tried."""
        return tuple(map(self._checked, range(len(self.steps))))

    @property
    def holds(self) -> bool:
        """Whether it is tried somewhere, and each step is proved and agrees with all numbers."""
        return bool(self.points) and all(self.checks) and all(self.proofs)

    def _proved(self, left: sp.Expr, step: Step) -> bool:
        put_in = {fact.left for fact in step.using}
        of = {index for one in put_in if isinstance(one, sp.Indexed) for index in one.indices}
        if any(index.is_Symbol and index not in self.theory.indices for index in of):
            return False  # what is said of the last, say, would be put in for all
        ranges = {
            symbol: inside
            for symbol, inside in self.theory.ranges.items()
            if symbol not in put_in and symbol != step.variable
        }

        def within(expression: sp.Expr) -> sp.Expr:
            return expression.subs(ranges)

        premises = tuple((within(fact.left), within(fact.right)) for fact in step.using)
        if step.relation in "=≥":
            proof = prove.equal if step.relation == "=" else prove.at_least
            return proof(within(left), within(step.right), premises)
        if step.rate is not None and prove.limit(within(step.rate), step.variable) != 0:
            return False  # what does not vanish is no rate
        tends, goal = step.tends(left)
        limit = prove.limit(prove.worked_out(within(tends), premises), step.variable)
        return prove.canonical(limit - goal) == 0

    def _checked(self, k: int) -> bool:
        step = self.steps[k]
        if step.variable is not None:
            distance = self.far(k)
            return distance is not None and balls.near(distance, step.tends(self.left)[1], NEAR)
        agree = balls.meet if step.relation == "=" else balls.at_least
        return all(agree(*values[k : k + 2]) for _, values in self.numbers)

    def far(self, k: int, point: tuple | None = None) -> balls.Ball | None:
        """What a limit's step says goes to a number, where its variable is far."""
        step, theory = self.steps[k], self.theory
        read = balls.numbers(theory, point or self.points[0])
        tends, _ = step.tends(self.sides[k])
        premises = [(fact.left, fact.right) for fact in step.using]
        far = read | {step.variable: balls.exact(theory.far)}
        return balls.narrow([prove.put_in(tends, premises)], theory, far)[0]

    def latex(self, step: Step) -> str:
        """What a step does in LaTeX, without its left side."""
        names = self.theory.latex
        sign, right = RELATIONS[step.relation], latex(step.right, names)
        if step.rate is not None:
            rate = latex(step.rate, names)
            sign, right = "=", rf"{right} + \left({rate}\right)(1 + o(1))"
        if step.variable is not None:
            right += rf" \quad ({latex(step.variable, names)} \to \infty)"
        return f"{sign} {right}"

    @property
    def statement(self) -> str:
        """What it states, in LaTeX."""
        return f"{latex(self.left, self.theory.latex)} {self.latex(self.stated)}"

    def __str__(self) -> str:
        step = self.stated
        sign, right = step.relation, text(step.right)
        if step.rate is not None:
            sign, right = "=", f"{right} + ({text(step.rate)})(1 + o(1))"
        goes = f" for {text(step.variable)} → ∞" if step.variable is not None else ""
        return f"{text(self.left)} {sign} {right}{goes}"


class Note:
    """What else there is to say, in words with {} for expressions, and chains that prove it."""

    kind = "Remark"

    def __init__(self, words: str, *expressions: sp.Expr) -> None:
        self.words, self.expressions = words, expressions

    def told(self, write: Callable[[sp.Expr], str]) -> str:
        """The words with the expressions, as they are written."""
        return self.words.format(*map(write, self.expressions))


class Correction(Note):
    """What a source prints instead, and how far off it is."""

    kind = "Correction"


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


def derived(name: str, title: str) -> Callable[..., Derivation]:
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
        return Derivation(name, title, tuple(stated), printed, note, tuple(besides))

    return make


def define(
    theory: Theory, name: str, title: str, *pairs: tuple, grid: tuple[tuple, ...] = ()
) -> Derivation:
    """What symbols mean, as premises: pairs of a symbol and its meaning, a case at its points."""
    chains = (Chain(theory, left, (Step(right, title),), grid, True) for left, right in pairs)
    return Derivation(name, title, tuple(chains))
