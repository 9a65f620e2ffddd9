"""Certified numbers: fractions, exact, or balls that are sure to hold what is no fraction."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from functools import cache
from itertools import product
from math import prod
from operator import itemgetter

import sympy as sp
from flint import arb, ctx, fmpq

from reuseprior.proofs.prove import put_in, taken
from reuseprior.proofs.render import text
from reuseprior.proofs.theory import ProofError, Theory

WIDTH = 1e-30
"""How wide a ball may be, relative where numbers are above one."""
BITS = 2**22
"""The precision at which the search for narrow balls ends."""
FLOAT = 1e-10
"""How far a float may be from what it stands for, relative where numbers are above one."""
DIGITS = 30

Ball = fmpq | arb


def _power(base: Ball, exponent: Ball) -> Ball:
    if isinstance(base, fmpq) and isinstance(exponent, fmpq) and exponent.q == 1:
        if abs(exponent.p) < 5000:  # beyond, the fractions are slower than balls
            return base ** int(exponent.p)
    if exponent == fmpq(1, 2):
        return arb(base).sqrt()
    return arb(base) ** exponent


def _sum(*parts: Ball) -> Ball:
    return sum(parts, fmpq(0))


def _product(*parts: Ball) -> Ball:
    return prod(parts, start=fmpq(1))


_CALLS = {
    sp.Add: _sum, sp.Sum: _sum, sp.Mul: _product, sp.Product: _product, sp.Pow: _power,
    sp.Max: max, sp.Min: min, sp.log: lambda x: arb(x).log(), sp.exp: lambda x: arb(x).exp(),
    sp.LambertW: lambda x: arb(x).lambertw(), type(sp.E): arb.const_e, type(sp.pi): arb.pi,
    **{type(one): lambda: arb("nan") for one in (sp.I, sp.zoo, sp.nan)},  # as log(-1), no number
}  # fmt: skip


class Numbers(dict):
    """The numbers at a point; what is made of others is worked out when it is asked for."""

    def __init__(self, theory: Theory, read: dict) -> None:
        super().__init__({s: v for s, v in read.items() if s not in theory.made})
        self.made = theory.made

    def __missing__(self, symbol: sp.Basic) -> Ball:
        self[symbol] = value(self.made[symbol], self)
        return self[symbol]


def value(e: sp.Expr, at: dict) -> Ball:
    """An expression at these numbers, at the precision that is set."""
    return _compiled(e)(at)


@cache
def _compiled(e: sp.Expr) -> Callable[[dict], Ball]:
    if e.is_Rational:
        number = fmpq(e.p, e.q)
        return lambda at: number
    if e.is_Symbol:
        return itemgetter(e)
    if isinstance(e, sp.Indexed):
        base, which = e.base, _compiled(e.indices[0])
        return lambda at: at[base][int(which(at).p)]
    if isinstance(e, sp.Sum | sp.Product):
        parts = _over(*e.limits[0], e.function)
    else:
        each = [_compiled(part) for part in e.args]
        parts = lambda at: (part(at) for part in each)  # noqa: E731
    call = _CALLS[type(e)]
    return lambda at: call(*parts(at))


def _over(index: sp.Symbol, first: sp.Expr, last: sp.Expr, term: sp.Expr) -> Callable:
    first, last, term = map(_compiled, (first, last, term))

    def terms(at: dict) -> Iterator[Ball]:
        outer = at.get(index)  # what is made may be a sum over the same index
        for k in range(int(first(at).p), int(last(at).p) + 1):
            at[index] = fmpq(k)
            yield term(at)
        at[index] = outer

    return terms


def exact(number) -> Ball | list[Ball]:
    """A number, or a list of them, as fractions."""
    if isinstance(number, list):
        return [None if one is None else exact(one) for one in number]
    fraction = Fraction(number)
    return fmpq(fraction.numerator, fraction.denominator)


def width(ball: Ball) -> float:
    """How wide a ball is, relative where the number is above one; infinite where there is none."""
    if isinstance(ball, fmpq):
        return 0.0
    if not ball.is_finite():
        return float("inf")
    return float(2 * ball.rad() / arb(1).max(abs(ball.mid())))


def meet(left: Ball | None, right: Ball | None) -> bool:
    """Whether the sides can be one number: fractions that are equal, or balls that overlap."""
    if left is None or right is None:
        return False
    if isinstance(left, fmpq) and isinstance(right, fmpq):
        return left == right
    return arb(left).overlaps(arb(right))


def at_least(left: Ball | None, right: Ball | None) -> bool:
    """Whether the sides have numbers, and the left one is not surely less than the right one."""
    return left is not None and right is not None and not arb(left) < arb(right)


def near(ball: Ball, goal: int, distance: float) -> bool:
    """Whether a number is surely within a distance of another."""
    return bool(abs(arb(ball) - goal) < distance)


def shown(ball: Ball | None) -> str:
    """A fraction, or 30 digits and how far at the most the number is from them.

    >>> shown(fmpq(2, 3)), shown(arb(14.5))
    ('2/3', '14.5000000000000000000000000000 ± 10⁻²⁸')
    """
    if ball is None:
        return "no value"
    exact = str(ball)
    if isinstance(ball, fmpq) and len(exact) < DIGITS:
        return exact
    middle = arb(ball).mid()
    before = int(float(abs(middle).log() / arb(10).log())) if abs(middle) >= 1 else -1
    power = str(before + 1 - DIGITS).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{middle.str(DIGITS, radius=False)} ± 10{power}"


def at_point(
    sides: Sequence[sp.Expr], theory: Theory, point: tuple
) -> Iterator[tuple[str, list[Ball | None]]]:
    """Each side at a point, with the point in words, as narrow as `WIDTH` where that is found.

    There is one at each value of the parameters and the indices that are left free.
    """
    sides = [taken(side) for side in sides]
    symbols = (put_in(side, theory.made.items()).free_symbols for side in sides)
    free, read = set().union(*symbols), numbers(theory, point)
    varied = [s for s in (*theory.free_parameters, *theory.indices) if s in free]
    for values in product(*(_values(theory, read, symbol) for symbol in varied)):
        words = [
            f"{text(symbol)} = {number}" for symbol, number in zip(varied, values, strict=True)
        ]
        values_read = read | dict(zip(varied, map(exact, values), strict=True))
        yield ", ".join([theory.told(*point), *words]), narrow(sides, theory, values_read)


def narrow(sides: Sequence[sp.Expr], theory: Theory, read: dict) -> list[Ball | None]:
    """The sides at these numbers with as much precision as it takes, or None without a value."""
    bits = 160
    while True:
        ctx.prec, at = bits, Numbers(theory, read)
        try:
            balls = [value(side, at) for side in sides]
        except ZeroDivisionError:
            return [None] * len(sides)
        finally:
            ctx.prec = 53
        if max(map(width, balls)) < WIDTH:
            return balls
        if bits > BITS or any(isinstance(x, arb) and x.is_nan() for x in balls):
            return [None] * len(sides)
        bits *= 2


def _values(theory: Theory, read: dict, symbol: sp.Symbol) -> tuple:
    """The values of a free parameter or of an index."""
    if symbol in theory.free_parameters:
        return theory.free_parameters[symbol]
    first, last = (int(value(sp.sympify(end), read).p) for end in theory.indices[symbol])
    return tuple(range(first, last + 1))


@cache
def numbers(theory: Theory, point: tuple) -> dict:
    """What is read off; a float is compared with what it stands for."""
    counts = theory.read(*point)
    read = {symbol: exact(number) for symbol, number in counts.items()}
    for symbol in theory.made.keys() & counts.keys():
        (ball,) = narrow([symbol], theory, read)
        exactly, counted = float(arb(ball)), float(counts[symbol])
        if abs(exactly - counted) > FLOAT * max(1, abs(exactly)):
            raise ProofError(
                f"{symbol} of {theory.told(*point)} is {counted} as it is counted and {exactly} as "
                f"it is defined: {theory.things} and definition do not belong together"
            )
    return read
