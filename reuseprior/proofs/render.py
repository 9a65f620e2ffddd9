"""Expressions as LaTeX and as plain text, and statements without their LaTeX."""

from __future__ import annotations

import re
from collections.abc import Mapping

import sympy as sp
from sympy.printing.pretty.pretty_symbology import greek_unicode
from sympy.printing.str import StrPrinter

SIGNS = {
    r"\\ln(?=\\)": "ln ", r"\\ln": "ln", r"\\log_2": "log2", r"\\langle ": "⟨", r" \\rangle": "⟩",
    r"\\lvert ": "|", r" \\rvert": "|", r"\\mathcal{(\w)}": r"\1", r"\\sum": "Σ", r"\\to": "→",
    r"\\infty": "∞", r"\\gg": "≫", r"\\ldots": "…", r"\\sqrt ": "√",
    r"\\([a-z]+)": lambda found: greek_unicode[found[1]],
}  # fmt: skip
"""LaTeX in statements, as text."""


def latex(expression: sp.Basic, names: Mapping[sp.Basic, str]) -> str:
    """An expression in LaTeX, with these names for symbols, fit for a cell of a table."""
    # sympy puts factors with an index behind logarithms, where ln z c_i reads as ln(z c_i)
    places: dict[sp.Basic, sp.Dummy] = {}
    ordered = _in_places(expression, places)
    told = {place: sp.latex(one, symbol_names=names) for one, place in places.items()}
    text = sp.latex(ordered, ln_notation=True, symbol_names={**names, **told})
    text = re.sub(rf"\\ln\{{\\left\(({_ONE}) \\right\)\}}", r"\\ln \1", text)
    # a bare | would end the table's cell
    return re.sub(r"\\right\|_{\\substack{ (.*?) }}", r"\\right\\rvert_{\1}", text)


_ONE = r"\\[a-z]+|\w|\{\w\}_\{\w\}"  # a letter, with an index or without


def _in_places(expression: sp.Basic, places: dict[sp.Basic, sp.Dummy]) -> sp.Basic:
    """With a placeholder for what has an index, which sympy puts before all other factors."""
    if isinstance(expression, sp.Indexed):
        return places.setdefault(expression, sp.Dummy(str(expression), positive=True))
    if not expression.args or isinstance(expression, sp.Derivative):
        return expression
    return expression.func(*(_in_places(part, places) for part in expression.args))


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


def plain(markdown: str) -> str:
    r"""A statement without its LaTeX.

    >>> plain(r"the gap $\ln\alpha$")
    'the gap ln α'
    """
    read = markdown.replace("$", "")
    for command, sign in SIGNS.items():
        read = re.sub(command, sign, read)
    return read
