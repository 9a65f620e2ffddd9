"""Steps with their marks, and derivations, which are lists of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property

import pandas as pd
import sympy as sp

from reuseprior.proofs.prove import proves
from reuseprior.proofs.render import largest, latex, plain, text
from reuseprior.proofs.sample import Sample, misdefined, samples, symbols, worked
from reuseprior.proofs.theory import EXACT, Check


@dataclass(frozen=True)
class Outcome:
    """What the checks of a step find, each made once, when first asked for."""

    left: sp.Expr
    right: sp.Expr
    check: Check

    @cached_property
    def symbolic(self) -> bool:
        """Whether sympy proves the step."""
        return proves(self.left, self.right, self.check)

    @cached_property
    def deviation(self) -> float:
        """How far the sides are apart, at the most."""
        return max(sample.deviation for sample in self.samples)

    @cached_property
    def samples(self) -> tuple[Sample, ...]:
        """Both sides wherever they were compared."""
        return tuple(samples(self.left, self.right, self.check))

    @cached_property
    def worked(self) -> Sample:
        """Both sides at one point, to be read."""
        return worked(self.left, self.right, self.check)

    @cached_property
    def free(self) -> frozenset[sp.Basic]:
        """The symbols that need a number."""
        return symbols(self.left, self.right)

    @property
    def defined(self) -> bool:
        """Whether the numbers agree with every definition that the proof may put in."""
        return misdefined(self.check) <= EXACT

    @property
    def holds(self) -> bool:
        """Whether definitions and sides agree with all numbers, and sympy proves the step."""
        return self.defined and self.deviation <= self.check.tolerance and self.symbolic

    @property
    def definition(self) -> bool:
        """Whether the proof would put one side in for the other: there is nothing to prove."""
        sides = {(self.left, self.right), (self.right, self.left)}
        return not sides.isdisjoint(self.check.where)

    @property
    def counted(self) -> bool:
        """Whether built things could contradict it.

        They cannot if the proof puts in no definition of what is read off them: then the equation
        is one between any numbers, and both sides are put in.
        """
        reached = set(self.free)
        for name, meaning in self.check.where:
            if reached & name.free_symbols:
                if name.free_symbols & self.check.theory.counted:
                    return True
                reached |= meaning.free_symbols
        return False

    @property
    def proof(self) -> str:
        """What sympy finds."""
        proof = f"difference {'0' if self.symbolic else 'NOT 0'}"
        if self.definition:
            proof = "definition"
        return proof if self.defined else f"{proof}, by a definition that the numbers contradict"

    @property
    def tried(self) -> str:
        """On what numbers both sides were compared, and how far they were apart at the most."""
        theory = self.check.theory
        what = theory.things if self.counted else theory.settings
        if dial := theory.dial(self.free):
            what += f", {len(dial.values)} values of {text(dial.symbol)}"
        return f"{len(self.check.grid)} {what}, largest deviation {largest(self.deviation)}"

    @property
    def cell(self) -> str:
        """What was found, as a cell of a table in Markdown: one point, and the others in a fold."""
        if not self.free:
            return f"both sides are numbers <br> {self.proof}"
        grid = "<br>".join(map(str, self.samples))
        fold = f"<details><summary>{self.tried}</summary>{grid}</details>"
        return f"{self.worked} <br> {self.proof} {fold}"

    def __str__(self) -> str:
        if not self.free:
            return f"{self.proof}; both sides are numbers"
        return f"{self.worked}; {self.proof}; {self.tried}"


@dataclass(frozen=True)
class Step:
    """An equation (or a limit) with its reason, and how to check it."""

    left: sp.Expr
    right: sp.Expr
    justification: str
    check: Check

    @cached_property
    def outcome(self) -> Outcome:
        """What its checks find."""
        return Outcome(self.left, self.right, self.check)

    @property
    def mark(self) -> str:
        """✓ if all checks hold, else ✗."""
        return "✓" if self.outcome.holds else "✗"

    @property
    def latex(self) -> str:
        """The equation that was checked, in LaTeX."""
        sign, names = "=", self.check.theory.latex
        if (variable := self.check.variable) is not None:
            goes = rf"{latex(variable, names)} \to {latex(self.check.to, names)}"
            sign = rf"\xrightarrow[{goes}]{{}}"
        return f"{latex(self.left, names)} {sign} {latex(self.right, names)}"

    def row(self, before: str = "", place: str = "") -> str:
        """The row of a table in Markdown, with some words `before` the justification.

        A justification that names no equation itself is followed by the `place` of the derivation.
        """
        named = re.search(r"eq\. |equation |§", self.justification)
        after = f" ({place})" if place and not named else ""
        equation = f"$\\displaystyle {self.latex}$ <br> {before}{self.justification}{after}"
        return f"| {equation} | {self.mark} {self.outcome.cell} |"

    def __str__(self) -> str:
        sign = "="
        if (variable := self.check.variable) is not None:
            sign = f"→ ({text(variable)} → {text(self.check.to)})"
        equation = f"{text(self.left)} {sign} {text(self.right)}"
        return f"{self.mark} {equation}\n    {self.justification}\n    {self.outcome}"


class Printed:
    """The statement of the source, as it is printed: steps that are tested like those derived."""

    def __init__(self, *steps: Step) -> None:
        self.steps = steps


@dataclass(frozen=True)
class Remark:
    """What else there is to say, and steps that prove it; it changes no verdict."""

    says: str
    steps: tuple[Step, ...] = ()


class Correction(Remark):
    """What a source prints instead, and steps that prove how far off it is."""


@dataclass(frozen=True)
class Derivation:
    """A theorem as steps; a table in Jupyter, the derivation left and its numbers right."""

    name: str
    statement: str
    steps: tuple[Step, ...]
    printed: tuple[Step, ...] = ()
    correction: Correction | None = None
    remark: Remark | None = None
    place: str = ""
    """The equation or the section of the source that it is about."""

    @property
    def all_steps(self) -> tuple[Step, ...]:
        """What is derived: the steps, then those of the correction and of the remark."""
        return self.steps + tuple(s for _, note in self._notes for s in note.steps)

    @property
    def _notes(self) -> list[tuple[str, Remark]]:
        notes = ("Correction", self.correction), ("Remark", self.remark)
        return [(title, note) for title, note in notes if note]

    @property
    def only_printed(self) -> tuple[Step, ...]:
        """What is printed and not derived."""
        return tuple(step for step in self.printed if step not in self.all_steps)

    @property
    def holds(self) -> bool:
        """Whether every derived step does, the correction's too."""
        return all(step.outcome.holds for step in self.all_steps)

    @property
    def printed_holds(self) -> bool:
        """Whether what is printed passes every check, no matter what is derived."""
        return bool(self.printed) and all(step.outcome.holds for step in self.printed)

    @property
    def mark(self) -> str:
        """✓, "✓ corrected" where another statement is proved than the printed one, else ✗."""
        if not self.holds or not (self.printed_holds or self.correction):
            return "✗"
        return "✓" if self.printed_holds else "✓ corrected"

    @property
    def proved(self) -> tuple[Step, ...]:
        """The derived steps that hold and are no definitions."""
        found = (s for s in self.all_steps if not s.outcome.definition)
        return tuple(step for step in found if step.outcome.holds)

    @property
    def counted(self) -> tuple[Step, ...]:
        """The proved ones that built things could contradict."""
        return tuple(step for step in self.proved if step.outcome.counted)

    @property
    def definitions(self) -> tuple[Step, ...]:
        """The derived steps that only say what a symbol stands for."""
        return tuple(step for step in self.all_steps if step.outcome.definition)

    @property
    def counts(self) -> str:
        """How many steps are proved, how many also by counting, and how many are definitions."""
        said = [f"{_number(self.proved, 'step')} proved by sympy"]
        if self.counted:
            theory = self.counted[0].check.theory
            said.append(f"{len(self.counted)} also on {theory.things}")
        if self.definitions:
            said.append(_number(self.definitions, "definition"))
        return ", ".join(said)

    @property
    def deviation(self) -> float:
        """The largest of its steps, relative where numbers are above one."""
        return max((step.outcome.deviation for step in self.all_steps), default=0.0)

    def _repr_markdown_(self) -> str:
        lines = [f"**{self.name}** · {self.mark}\n\n{self.statement}\n"]
        lines += ["| derivation | numbers that check it |\n| :--- | :--- |"]
        lines += map(self._row, self.steps)
        if self.only_printed:
            lines += [
                "| **As printed.** | |",
                *(step.row(place=self.place) for step in self.only_printed),
            ]
        for title, note in self._notes:
            lines += [f"| **{title}.** {note.says} | |", *map(self._row, note.steps)]
        return "\n".join(lines)

    def _row(self, step: Step) -> str:
        return step.row("as printed: " if step in self.printed else "", self.place)

    def _repr_pretty_(self, printer, cycle: bool) -> None:
        printer.text(str(self))

    def __str__(self) -> str:
        parts = [f"{self.name}: {self.mark}", plain(self.statement), *map(str, self.steps)]
        if self.only_printed:
            parts += ["As printed:", *map(str, self.only_printed)]
        for title, note in self._notes:
            parts += [f"{title}: {plain(note.says)}", *map(str, note.steps)]
        return "\n".join(parts)


def derived(name: str, statement: str, place: str = "") -> Callable[..., Derivation]:
    """Make a derivation of a function that yields its steps, and the one that it becomes.

    `place` is the equation or the section that it is about.

    A yielded Correction or Remark takes the steps after it. What is Printed is derived as well only
    if it is yielded as a step too.
    """

    def make(steps: Callable[[], Iterable[Step | Printed | Remark]]) -> Derivation:
        derived, printed = [[]], ()  # the steps, then each note with its own
        for one in steps():
            if isinstance(one, Printed):
                printed += one.steps
            elif isinstance(one, Remark):
                derived.append([one])
            else:
                derived[-1].append(one)
        before, *notes = derived
        noted = {type(note): replace(note, steps=tuple(own)) for note, *own in notes}
        correction, remark = noted.get(Correction), noted.get(Remark)
        return Derivation(name, statement, tuple(before), printed, correction, remark, place)

    return make


def _number(what: tuple, name: str) -> str:
    return f"{len(what)} {name}{'' if len(what) == 1 else 's'}"


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
        """Mark, number of steps and largest deviation of each derivation."""
        rows = [
            (d.name, d.mark, *map(len, (d.proved, d.counted, d.definitions)), largest(d.deviation))
            for d in self.derivations
        ]
        counts = ["proved", "also counted", "definitions"]
        return pd.DataFrame(rows, columns=["derivation", "mark", *counts, "largest deviation"])
