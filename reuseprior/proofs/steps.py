"""Steps with their marks, and derivations, which are lists of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property

import pandas as pd
import sympy as sp

from reuseprior.proofs.prove import proves
from reuseprior.proofs.render import bound, latex, plain, text
from reuseprior.proofs.sample import deviations, symbols
from reuseprior.proofs.theory import Check


@dataclass(frozen=True)
class Outcome:
    """What the check of a step found."""

    check: Check
    symbolic: bool
    deviation: float
    free: frozenset[sp.Basic]
    """The symbols that needed a number."""

    @property
    def holds(self) -> bool:
        """Whether sympy proves the step and all numbers agree."""
        return self.symbolic and self.deviation <= self.check.tolerance

    @property
    def counted(self) -> bool:
        """Whether a number is read off built things; otherwise both sides are put in."""
        return bool(self.free & self.check.theory.counted)

    def __str__(self) -> str:
        proof, theory = f"difference {'0' if self.symbolic else 'NOT 0'}", self.check.theory
        if not self.free:
            return f"{proof}; both sides are numbers"
        what = theory.things if self.counted else theory.settings
        if dial := theory.dial(self.free):
            what += f", {len(dial.values)} values of {text(dial.symbol)}"
        return f"{proof}; {len(self.check.grid)} {what}, within {bound(self.deviation)}"


@dataclass(frozen=True)
class Step:
    """An equation (or a limit) with its reason, and how to check it."""

    left: sp.Expr
    right: sp.Expr
    justification: str
    check: Check

    @cached_property
    def outcome(self) -> Outcome:
        """Both checks, made once, when first asked for."""
        sides = self.left, self.right
        proved, furthest = proves(*sides, self.check), max(deviations(*sides, self.check))
        return Outcome(self.check, proved, furthest, symbols(*sides))

    @property
    def mark(self) -> str:
        """✓ if both checks hold, else ✗."""
        return "✓" if self.outcome.holds else "✗"

    @property
    def latex(self) -> str:
        """The equation that was checked, in LaTeX."""
        sign, names = "=", self.check.theory.latex
        if (variable := self.check.variable) is not None:
            goes = rf"{latex(variable, names)} \to {latex(self.check.to, names)}"
            sign = rf"\xrightarrow[{goes}]{{}}"
        return f"{latex(self.left, names)} {sign} {latex(self.right, names)}"

    @property
    def row(self) -> str:
        """The row of a table in Markdown."""
        equation = f"$\\displaystyle {self.latex}$ <br> {self.justification}"
        return f"| {equation} | {self.mark} {self.outcome} |"

    def __str__(self) -> str:
        sign = "="
        if (variable := self.check.variable) is not None:
            sign = f"→ ({text(variable)} → {text(self.check.to)})"
        equation = f"{text(self.left)} {sign} {text(self.right)}"
        return f"{self.mark} {equation}\n    {self.justification}\n    {self.outcome}"


@dataclass(frozen=True)
class Correction:
    """What a source prints instead, and steps that prove how far off it is."""

    says: str
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True)
class Derivation:
    """A theorem as steps; a table in Jupyter, the derivation left and its numbers right."""

    name: str
    statement: str
    steps: tuple[Step, ...]
    correction: Correction | None = None

    @property
    def all_steps(self) -> tuple[Step, ...]:
        """The steps, then those of the correction."""
        return self.steps + (self.correction.steps if self.correction else ())

    @property
    def holds(self) -> bool:
        """Whether every step does, the correction's too."""
        return all(step.outcome.holds for step in self.all_steps)

    @property
    def mark(self) -> str:
        """✓, "✓ corrected" where the printed form differs, ✗ if any step fails."""
        if not self.holds:
            return "✗"
        return "✓ corrected" if self.correction else "✓"

    @property
    def deviation(self) -> float:
        """The largest of its exact steps, relative where numbers are above one."""
        exact = [step for step in self.all_steps if step.check.tolerance <= 1e-10]
        return max((step.outcome.deviation for step in exact), default=0.0)

    def _repr_markdown_(self) -> str:
        lines = [f"**{self.name}** · {self.mark}\n\n{self.statement}\n"]
        lines += ["| derivation | numbers that check it |\n| :--- | :--- |"]
        lines += [step.row for step in self.steps]
        if self.correction:
            lines += [f"| **Correction.** {self.correction.says} | |"]
            lines += [step.row for step in self.correction.steps]
        return "\n".join(lines)

    def _repr_pretty_(self, printer, cycle: bool) -> None:
        printer.text(str(self))

    def __str__(self) -> str:
        parts = [f"{self.name}: {self.mark}", plain(self.statement), *map(str, self.steps)]
        if self.correction:
            parts += [f"Correction: {plain(self.correction.says)}"]
            parts += map(str, self.correction.steps)
        return "\n".join(parts)


def derived(name: str, statement: str) -> Callable[..., Derivation]:
    """Make a derivation of a function that yields its steps, and the one that it becomes.

    A yielded Correction takes the steps after it.
    """

    def make(steps: Callable[[], Iterable[Step | Correction]]) -> Derivation:
        before, correction = [], None
        for one in steps():
            if isinstance(one, Correction):
                correction = one
            elif correction is None:
                before.append(one)
            else:
                correction = replace(correction, steps=(*correction.steps, one))
        return Derivation(name, statement, tuple(before), correction)

    return make


@dataclass(frozen=True)
class Derivations:
    """What a work derives, in its order."""

    derivations: tuple[Derivation, ...]
    prefix: str = ""
    """What their names begin with, and what may be left out to ask for one."""

    def all(self) -> tuple[Derivation, ...]:
        """Every derivation, checked when first shown."""
        return self.derivations

    def by_name(self) -> dict[str, Derivation]:
        """All of them by name, without the prefix."""
        return {found.name.removeprefix(self.prefix): found for found in self.derivations}

    def one(self, name: str) -> Derivation:
        """The one with this name, such as "Theorem 4"; KeyError names those there are."""
        found = self.by_name()
        if name not in found:
            raise KeyError(f"no derivation {name!r}; there are {', '.join(found)}")
        return found[name]

    def summary(self) -> pd.DataFrame:
        """Mark, steps and largest deviation of each derivation."""
        rows = [(d.name, d.mark, len(d.all_steps), bound(d.deviation)) for d in self.derivations]
        return pd.DataFrame(rows, columns=["derivation", "mark", "steps", "deviation below"])
