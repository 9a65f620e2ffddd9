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

from reuseprior.proofs.prove import taken
from reuseprior.proofs.render import text
from reuseprior.proofs.theory import ProofError, Theory

WIDTH = 1e-30
"""How wide a ball may be, relative where numbers are above one."""
BITS = 2**22
"""The precision at which the search for narrow balls ends."""
FLOAT = 1e-10
"""How far a float may be from what it stands for, relative where numbers are above one."""
DIGITS = 30
FEW = 10
"""Up to how many values of an index are all tried."""

Ball = fmpq | arb
_CALLS = {
    sp.log: lambda x: arb(x).log(), sp.exp: lambda x: arb(x).exp(), sp.Max: max, sp.Min: min,
    sp.LambertW: lambda x: arb(x).lambertw(), type(sp.E): arb.const_e, type(sp.pi): arb.pi,
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
        return _over(*e.limits[0], _compiled(e.function), sum if isinstance(e, sp.Sum) else prod)
    parts = [_compiled(part) for part in e.args]
    if e.is_Add:
        return lambda at: sum((part(at) for part in parts), fmpq(0))
    if e.is_Mul:
        return lambda at: prod((part(at) for part in parts), start=fmpq(1))
    call = _power if e.is_Pow else _CALLS[type(e)]
    return lambda at: call(*(part(at) for part in parts))


def _over(index: sp.Symbol, first: sp.Expr, last: sp.Expr, part: Callable, how: Callable):
    first, last = _compiled(first), _compiled(last)

    def found(at: dict) -> Ball:
        outer, parts = at.get(index), []
        for k in range(int(first(at).p), int(last(at).p) + 1):
            at[index] = fmpq(k)
            parts.append(part(at))
        at[index] = outer
        return how(parts, start=fmpq(0 if how is sum else 1))

    return found


def exact(number) -> Ball | list[Ball]:
    """A number, or a list of them, as fractions."""
    if isinstance(number, list):
        return [None if one is None else exact(one) for one in number]
    found = Fraction(number)
    return fmpq(found.numerator, found.denominator)


def _power(base: Ball, exponent: Ball) -> Ball:
    if isinstance(base, fmpq) and isinstance(exponent, fmpq) and exponent.q == 1:
        if abs(exponent.p) < 5000:  # beyond, the fractions are slower than balls
            return base ** int(exponent.p)
    if exponent == fmpq(1, 2):
        return arb(base).sqrt()
    return arb(base) ** exponent


def width(found: Ball) -> float:
    """How wide a ball is, relative where the number is above one; infinite where there is none."""
    if isinstance(found, fmpq):
        return 0.0
    if not found.is_finite():
        return float("inf")
    return float(2 * found.rad() / arb(1).max(abs(found.mid())))


def meet(left: Ball, right: Ball) -> bool:
    """Whether the sides can be one number: fractions that are equal, or balls that overlap."""
    if isinstance(left, fmpq) and isinstance(right, fmpq):
        return left == right
    return arb(left).overlaps(arb(right))


def below(left: Ball, right: Ball) -> bool:
    """Whether the left side is surely less than the right one."""
    return bool(arb(left) < arb(right))


def near(found: Ball, goal: int, distance: float) -> bool:
    """Whether a number is surely within a distance of another."""
    return bool(abs(arb(found) - goal) < distance)


def shown(found: Ball | None) -> str:
    """A fraction, or 30 digits and how far at the most the number is from them.

    >>> shown(fmpq(2, 3)), shown(arb(14.5))
    ('2/3', '14.5000000000000000000000000000 ± 10⁻²⁸')
    """
    if found is None:
        return "no value"
    exact = str(found)
    if isinstance(found, fmpq) and len(exact) < DIGITS:
        return exact
    middle = arb(found).mid()
    before = int(float(abs(middle).log() / arb(10).log())) if abs(middle) >= 1 else -1
    power = str(before + 1 - DIGITS).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{middle.str(DIGITS, radius=False)} ± 10{power}"


def at_point(
    sides: Sequence[sp.Expr], theory: Theory, point: tuple
) -> Iterator[tuple[str, list[Ball | None]]]:
    """Each side at a point, with the point in words, as narrow as `WIDTH` where that is found.

    There is one at each value of the dials and of the indices that are left free, of an index
    with many values at its ends.
    """
    sides = [taken(side) for side in sides]
    free = theory.free(sides)
    turned = [s for s in (*theory.dials, *theory.indices) if s in free]
    read = numbers(theory, point)
    for values in product(*(_values(theory, read, symbol) for symbol in turned)):
        told = [f"{text(symbol)} = {number}" for symbol, number in zip(turned, values, strict=True)]
        given = read | dict(zip(turned, map(exact, values), strict=True))
        yield ", ".join([theory.told(*point), *told]), narrow(sides, theory, given)


def narrow(sides: Sequence[sp.Expr], theory: Theory, read: dict) -> list[Ball | None]:
    """The sides at these numbers with as much precision as it takes, or None without a value."""
    bits = 160
    while True:
        ctx.prec, at = bits, Numbers(theory, read)
        try:
            found = [value(side, at) for side in sides]
        except ZeroDivisionError:
            return [None] * len(sides)
        finally:
            ctx.prec = 53
        if max(map(width, found)) < WIDTH:
            return found
        if bits > BITS or any(isinstance(x, arb) and x.is_nan() for x in found):
            return [None] * len(sides)
        bits *= 4


def _values(theory: Theory, read: dict, symbol: sp.Symbol) -> tuple:
    """The values of a dial, or all of an index that has few, else its first and last."""
    if symbol in theory.dials:
        return theory.dials[symbol]
    first, end = (int(value(sp.sympify(end), read).p) for end in theory.indices[symbol])
    few = range(first, end + 1) if 0 <= end - first < FEW else (first, end)
    return tuple(dict.fromkeys(few))


@cache
def numbers(theory: Theory, point: tuple) -> dict:
    """What is read off; a float is compared with what it stands for."""
    found = theory.read(*point)
    read = {symbol: exact(number) for symbol, number in found.items()}
    for symbol in theory.made.keys() & found.keys():
        (ball,) = narrow([symbol], theory, read)
        told, counted = float(arb(ball)), float(found[symbol])
        if abs(told - counted) > FLOAT * max(1, abs(told)):
            raise ProofError(
                f"{symbol} of {theory.told(*point)} is {counted} as it is counted and {told} as "
                f"it is defined: {theory.things} and definition do not belong together"
            )
    return read
