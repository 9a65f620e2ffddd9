"""The numbers of a step: both sides at points, with 30 digits that do not overflow."""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import dataclass
from functools import cache
from math import inf

import mpmath
import sympy as sp

from reuseprior.proofs.prove import worked_out
from reuseprior.proofs.render import text
from reuseprior.proofs.theory import EXACT, Check, Dial, Numbers, Theory

DIGITS = 6  # of a number that is shown
PLACES = mpmath.mpf("1e-12")  # its last digit at the most


def symbols(*sides: sp.Expr) -> frozenset[sp.Basic]:
    """The symbols that need a number."""
    return frozenset().union(*(worked_out(side).free_symbols for side in sides))


@dataclass(frozen=True)
class Sample:
    """Both sides at one point; a side without a value is None."""

    at: str  # the point in words
    left: mpmath.mpf | None
    right: mpmath.mpf | None

    @property
    def gap(self) -> float:
        """How far the sides are apart, infinitely where one has no value."""
        if self.left is None or self.right is None:
            return inf
        return float(abs(self.left - self.right))

    @property
    def deviation(self) -> float:
        """The gap, relative where numbers are above one."""
        if self.gap == inf:
            return inf
        return float(abs(self.left - self.right) / max(1, abs(self.left), abs(self.right)))

    def __str__(self) -> str:
        if self.left is None or self.right is None:
            return f"{self.at}: no value"
        left, right = map(_digits, (self.left, self.right))
        if self.deviation <= EXACT:
            return f"{self.at}: {left} = {right}"
        return f"{self.at}: {left} and {right}, {self.gap:.2g} apart"


def _digits(side) -> str:
    """A number to be read, without digits that are rounding alone and vary between machines."""
    whole = mpmath.nint(mpmath.mpf(side) / PLACES) * PLACES
    return mpmath.nstr(whole, DIGITS).removesuffix(".0")


def samples(left: sp.Expr, right: sp.Expr, check: Check) -> Iterator[Sample]:
    """Both sides at each point of the check.

    At a point there is one a value of the dial and an end of the index that the step leaves free.
    """
    for point in check.grid:
        yield from _at_point(left, right, check.theory, point)


def worked(left: sp.Expr, right: sp.Expr, check: Check) -> Sample:
    """Both sides at the theory's example, or in the middle of a grid that has another purpose.

    It has one where a step is a limit, and where the example is none of the things that the step
    speaks of: its definitions, such as a width of one, are not true there.
    """
    example, middle = check.theory.example, check.grid[len(check.grid) // 2]
    elsewhere = check.variable is not None or example is None
    told = [(name, meaning, check.theory, (example,)) for name, meaning in check.where]
    if elsewhere or any(_misdefined(*definition) > EXACT for definition in told):
        point = middle
    else:
        point = example
    *_, last = _at_point(left, right, check.theory, point)  # an index at its end, not at its start
    return last


def deviations(left: sp.Expr, right: sp.Expr, check: Check) -> Iterator[float]:
    """How far the sides are apart at each point of the check, relative where they are above one."""
    return (sample.deviation for sample in samples(left, right, check))


def _at_point(left: sp.Expr, right: sp.Expr, theory: Theory, point: tuple) -> Iterator[Sample]:
    free = symbols(left, right)
    sides, dial = (worked_out(left), worked_out(right)), theory.dial(free)
    with mpmath.workdps(30):
        for read in _dialled(theory, theory.read(*point), dial):
            for index in _ends(theory, free, read):
                at = {**read, **dict.fromkeys(theory.indices, index)}
                told = [theory.told(*point)]
                if dial:
                    told.append(f"{text(dial.symbol)} = {mpmath.nstr(read[dial.symbol], 3)}")
                told += [f"{text(name)} = {index}" for name in theory.indices if name in free]
                try:
                    values = [_value(side, at) for side in sides]
                except ZeroDivisionError:
                    values = [None, None]
                yield Sample(", ".join(told), *values)


def misdefined(check: Check) -> float:
    """How far the definitions that a proof puts in are from the numbers, at the most.

    They are equations: those of a limit are tried on the whole grid of the theory, not at its end.
    """
    grid = check.grid if check.variable is None else check.theory.grid
    off = (_misdefined(name, meaning, check.theory, grid) for name, meaning in check.where)
    return max(off, default=0.0)


@cache  # most steps of a theory put in the same few
def _misdefined(name: sp.Basic, meaning: sp.Expr, theory: Theory, grid: tuple) -> float:
    return max(deviations(name, meaning, Check(theory, (), grid)))


def _dialled(theory: Theory, read: Numbers, turned: Dial | None) -> Iterator[Numbers]:
    """What is read off, at each value of the symbol that is not."""
    read = dict.fromkeys(symbol for one in theory.dials for symbol in one.symbols) | read
    if turned is None:
        yield read
        return
    for value in map(mpmath.mpf, turned.values):
        following = {symbol: of(value, read) for symbol, of in turned.follows.items()}
        yield read | {turned.symbol: value} | following


def _ends(theory: Theory, free: Set[sp.Basic], read: Numbers) -> tuple[int, ...]:
    """First and last of an index that a step leaves free."""
    for index, ends in theory.indices.items():
        if index in free:
            return tuple(int(_value(sp.sympify(end), read)) for end in ends)
    return (1,)


def _value(expression: sp.Expr, at: Numbers):
    return _function(expression, tuple(at))(*at.values())


@cache
def _function(expression: sp.Expr, arguments: tuple[sp.Basic, ...]):
    return sp.lambdify(arguments, expression, "mpmath")
