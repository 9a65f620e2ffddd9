"""Expressions as LaTeX and as plain text."""

from __future__ import annotations

import re
from collections.abc import Mapping

import sympy as sp
from sympy.printing.pretty.pretty_symbology import greek_unicode
from sympy.printing.str import StrPrinter


def latex(expression: sp.Basic, names: Mapping[sp.Basic, str]) -> str:
    """An expression in LaTeX, with these names for symbols, fit for a cell of a table."""
    # sympy puts factors with an index behind logarithms, where ln z c_i reads as ln(z c_i)
    indexed = expression.atoms(sp.Indexed)
    letters = {e: sp.Dummy(sp.latex(e, symbol_names=names), positive=True) for e in indexed}
    text = sp.latex(expression.xreplace(letters), ln_notation=True, symbol_names=dict(names))
    text = re.sub(rf"\\ln\{{\\left\(({_ONE}) \\right\)\}}", r"\\ln \1", text)
    # a bare | would end the table's cell
    return re.sub(r"\\right\|_{\\substack{ (.*?) }}", r"\\right\\rvert_{\1}", text)


_ONE = r"\\[a-z]+|\w|\{\w\}_\{\w\}"  # a letter, with an index or without


class _Text(StrPrinter):
    def _print_Symbol(self, symbol) -> str:
        return "_".join(greek_unicode.get(part, part) for part in symbol.name.split("_"))

    def _print_Subs(self, taken) -> str:
        expression, (old,), (new,) = taken.args
        return f"[{self._print(expression)}]({self._print(old)} = {self._print(new)})"


def text(expression: sp.Basic) -> str:
    """An expression to be read in a terminal.

    >>> text(sp.log(sp.Symbol("alpha")) ** 2)
    'ln(α)^2'
    """
    read = _Text().doprint(expression)
    for old, new in (("log(", "ln("), ("**", "^"), ("Sum(", "Σ("), ("oo", "∞")):
        read = read.replace(old, new)
    return read
