"""The numbers of a step: both sides at points, with 30 digits that do not overflow."""

from __future__ import annotations

from collections.abc import Iterator, Set
from functools import cache
from math import inf

import mpmath
import sympy as sp

from reuseprior.proofs.prove import worked_out
from reuseprior.proofs.theory import Check, Dial, Numbers, Theory


def symbols(*sides: sp.Expr) -> frozenset[sp.Basic]:
    """The symbols that need a number."""
    return frozenset().union(*(worked_out(side).free_symbols for side in sides))


def deviations(left: sp.Expr, right: sp.Expr, check: Check) -> Iterator[float]:
    """How far the sides are apart at each point of the check, relative where they are above one.

    At a point there is one a value of the dial and an end of the index that the step leaves free.
    A side without a value is infinitely far from anything.
    """
    free, theory = symbols(left, right), check.theory
    sides = worked_out(left), worked_out(right)
    with mpmath.workdps(30):
        for point in check.grid:
            for read in _dialled(theory, theory.read(*point), theory.dial(free)):
                for index in _ends(theory, free, read):
                    at = {**read, **dict.fromkeys(theory.indices, index)}
                    try:
                        x, y = (_value(side, at) for side in sides)
                    except ZeroDivisionError:
                        yield inf
                    else:
                        yield float(abs(x - y) / max(1, abs(x), abs(y)))


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
