"""Proofs: with premises put in, the canonical form of a difference is zero, or a limit one."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import sympy as sp
from sympy.concrete.gosper import gosper_sum

Premise = tuple[sp.Basic, sp.Expr]  # what is put in, and for what: the left side goes


@cache
def equal(left: sp.Expr, right: sp.Expr, premises: tuple[Premise, ...]) -> bool:
    """Whether the premises make both sides the same."""
    return canonical(worked_out(left - right, premises)) == 0


@cache
def at_least(left: sp.Expr, right: sp.Expr, premises: tuple[Premise, ...]) -> bool:
    """Whether the left side is no less than the right one, by the signs of the symbols."""
    difference = worked_out(left - right, premises)
    return bool(difference.is_nonnegative or sp.expand(difference).is_nonnegative)


def limit(expression: sp.Expr, variable: sp.Symbol) -> sp.Expr:
    """What an expression goes to as a variable grows."""
    return sp.limit(sp.together(sp.expand(_logarithms(expression))), variable, sp.oo)


@cache
def worked_out(expression: sp.Expr, premises: Iterable[Premise] = ()) -> sp.Expr:
    """Premises put in until nothing changes, derivatives taken, sums in closed form or in parts."""
    expression = taken(put_in(expression, premises), sp.Product)
    return put_in(expression.replace(sp.Sum, _summed), premises)


@cache
def taken(expression: sp.Expr, *kinds: type) -> sp.Expr:
    """With derivatives taken and values put in, and what else is of these kinds worked out."""
    kinds = (sp.Derivative, sp.Subs, *kinds)
    done = expression.replace(lambda e: isinstance(e, kinds), lambda e: e.doit(deep=False))
    return done.replace(sp.exp, lambda exponent: sp.powdenest(sp.exp(exponent)))


def canonical(expression: sp.Expr) -> sp.Expr:
    """The numerator of an expression in terms and in logarithms of what cannot be factored."""
    return sp.expand(sp.numer(sp.together(sp.expand(_logarithms(expression)))))


def put_in(expression: sp.Expr, premises: Iterable[Premise]) -> sp.Expr:
    """The expression with each premise put in, until nothing changes."""
    for _ in range(5):  # one may hold what another is for
        before = expression
        for name, meaning in premises:
            if isinstance(name, sp.Indexed) and name.indices[0].is_Symbol:  # of any
                expression = expression.replace(
                    lambda e, name=name: isinstance(e, sp.Indexed) and e.base == name.base,
                    lambda e, n=name, m=meaning: m.subs(n.indices[0], e.indices[0]),
                )
            else:
                expression = expression.subs(name, meaning)
        if expression == before:
            break
    return expression


def _summed(function: sp.Expr, *limits: tuple) -> sp.Expr:
    """A sum term by term: constants outside, in closed form where nothing has an index."""
    ((index, *_),) = limits
    total = sp.S.Zero
    for term in sp.Add.make_args(sp.expand(_logarithms(function))):
        outside, inside = sp.factor(term).as_independent(index, as_Add=False)
        plain = not inside.has(sp.Indexed, sp.Min, sp.Function)
        closed = gosper_sum(inside, limits[0]) if plain else None
        total += outside * (sp.Sum(inside, *limits) if closed is None else closed)
    return total


def _logarithms(expression: sp.Expr) -> sp.Expr:
    """Each logarithm as those of its factors, where these are known to be positive."""
    return expression.replace(sp.log, _of_factors)


def _of_factors(x: sp.Expr) -> sp.Expr:
    x = sp.factor(sp.cancel(x))
    unknown = [one for one in sp.Mul.make_args(x) if not _above_one(one).is_positive]
    # a logarithm that is real says the sign of one factor, unless that is squared
    known = not unknown or (len(unknown) == 1 and unknown[0].as_base_exp()[1].is_odd)
    return sp.expand_log(sp.log(x), deep=False, force=known)


def _above_one(x: sp.Expr) -> sp.Expr:
    """With powers of what is above one as something above one, which sympy does not see."""
    above = lambda e: e.is_Pow and (e.base - 1).is_positive and e.exp.is_positive  # noqa: E731
    return x.replace(above, lambda e: 1 + sp.Dummy(positive=True))
