"""The proof of a step: with its definitions put in, the difference of its sides is zero."""

from __future__ import annotations

import sympy as sp

from reuseprior.proofs.theory import Check


def proves(left: sp.Expr, right: sp.Expr, check: Check) -> bool:
    """Whether sympy finds that the sides are equal, or become so in the limit."""
    left, right = _defined(left, check), _defined(right, check)
    if check.variable is None and isinstance(left, sp.log) and isinstance(right, sp.log):
        left, right = left.args[0], right.args[0]  # ln is one to one
    difference = sp.expand_log(worked_out(left - right), force=True)
    if difference.has(sp.Indexed):
        return _simplified(_summed(difference, check)) == 0
    difference = difference.doit()
    for symbol, inside in check.theory.ranges.items():
        if symbol != check.variable:
            difference = difference.subs(symbol, inside)
    if check.variable is not None:
        difference = sp.limit(difference, check.variable, check.to)
    return _simplified(difference) == 0


def worked_out(expression: sp.Expr) -> sp.Expr:
    """Derivatives taken and values put in, so that only what is left needs a number."""
    kinds = (sp.Derivative, sp.Subs)
    return expression.replace(lambda e: isinstance(e, kinds), lambda e: e.doit(deep=False))


def _defined(expression: sp.Expr, check: Check) -> sp.Expr:
    for name, meaning in check.where:
        if isinstance(name, sp.Indexed):
            expression = expression.replace(
                lambda e, name=name: isinstance(e, sp.Indexed) and e.base == name.base,
                lambda e, name=name, meaning=meaning: meaning.subs(name.indices[0], e.indices[0]),
            )
        else:
            expression = expression.subs(name, meaning)
    return expression


def _summed(expression: sp.Expr, check: Check) -> sp.Expr:
    """Sums over one index as one sum, simplified inside, its constant factors outside."""
    inside, rest = {}, sp.S.Zero
    for term in sp.Add.make_args(sp.expand(expression)):
        sums = [factor for factor in sp.Mul.make_args(term) if isinstance(factor, sp.Sum)]
        if len(sums) != 1:
            rest += term
            continue
        (total,) = sums
        inside[total.limits] = inside.get(total.limits, 0) + term / total * total.function
    for limits, function in inside.items():
        rest += sp.Sum(_simplified(function), *limits).factor().doit()
    return _defined(rest, check)


def _simplified(expression: sp.Expr) -> sp.Expr:
    return sp.simplify(sp.expand_log(sp.simplify(expression), force=True))
