"""All that a work states as a graph: who rests on whom, what is proved, and a page for each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from html import escape

import networkx as nx
import pandas as pd
import sympy as sp

from reuseprior.proofs import balls
from reuseprior.proofs.render import latex, text
from reuseprior.proofs.steps import Chain, Correction, Derivation, Fact


@dataclass(frozen=True)
class Blueprint:
    """Derivations in their order, each resting on what comes before it.

    Arrows come from what steps put in. What puts in something that comes later, that is not here or
    that nobody says, has a fault and is not proved; nor is what rests on it.
    """

    derivations: tuple[Derivation, ...]
    prefix: str = ""
    """What their names begin with, and what may be left out to ask for one."""
    page: str = ""
    """The notebook that shows them, for links from others."""

    @cached_property
    def named(self) -> dict[str, Derivation]:
        """All of them by their whole names."""
        return {derivation.name: derivation for derivation in self.derivations}

    @cached_property
    def graph(self) -> nx.DiGraph:
        """An arrow from each premise to what puts it in."""
        graph = nx.DiGraph()
        graph.add_nodes_from(self.named)
        for derivation in self.derivations:
            facts = (fact for chain in derivation.every_chain for fact in chain.using)
            graph.add_edges_from((fact.of, derivation.name) for fact in facts if fact.of)
        return graph

    @cached_property
    def faults(self) -> dict[str, list[str]]:
        """What is wrong with how each derivation is built, in words; nothing where all is right."""
        faults_of, before, defined = {}, {}, {}
        for one in self.derivations:
            faults_of[one.name] = list(self._faults(one, before, defined))
            before[one.name] = one
        return faults_of

    def _faults(self, derivation: Derivation, before: dict, defined: dict) -> Iterator[str]:
        above: list[Chain] = []
        for chain in derivation.every_chain:
            for fact in chain.using:
                yield from self._fault(fact, before, above)
            if not chain.points:
                yield f"{chain} is tried nowhere, as no point is in all its cases"
            if sum(step.relation != "=" for step in chain.steps) > 1:
                yield f"{chain} has more than one step that is no equation"
            rateless = chain.stated.relation == "→" and chain.stated.rate is None
            if rateless and chain in derivation.all_chains:
                yield f"{chain} is a limit without its rate"
            if chain.defines:
                if not chain.right.has(sp.Indexed):  # no sum of what is counted
                    for symbol in defined.keys() & chain.left.free_symbols:
                        says = f"what {text(symbol)} is, {defined[symbol]} says"
                        yield f"{chain} is no definition, as {says}: prove it"
                defined |= dict.fromkeys(chain.left.free_symbols, derivation.name)
            above.append(chain)

    def _fault(self, fact: Fact, before: dict, above: list[Chain]) -> Iterator[str]:
        said = f"{text(fact.left)} = {text(fact.right)}"
        if fact.of and fact.of not in before:
            later = "comes later" if fact.of in self.named else "is not in this graph"
            yield f"it puts in {fact.of}, which {later}"
        else:
            chains = before[fact.of].all_chains if fact.of else above
            if fact._replace(of="") not in [c.fact for c in chains if c.stated.relation == "="]:
                yield f"it puts in {said}, which {fact.of or 'no chain above it'} does not say"

    def proved(self, name: str) -> bool:
        """Whether it holds and is built without a fault, and all that it rests on."""
        rests_on = {name} | nx.ancestors(self.graph, name)
        return all(n in self.named and self.named[n].holds and not self.faults[n] for n in rests_on)

    def mark(self, name: str) -> str:
        """✓, "✓ corrected" where another statement is proved than the printed one, else ✗."""
        derivation = self.named[name]
        if not self.proved(name):
            return "✗"
        if derivation.defines or derivation.printed_holds:
            return "✓"
        return "✓ corrected" if isinstance(derivation.note, Correction) else "✗"

    def changed(self, derivation: Derivation) -> Blueprint:
        """With another derivation of the same name."""
        others = (derivation if d.name == derivation.name else d for d in self.derivations)
        return replace(self, derivations=tuple(others))

    @cached_property
    def theorems(self) -> dict[str, Page]:
        """What is no definition, by its name without the prefix."""
        names = (d.name for d in self.derivations if not d.defines)
        return {name.removeprefix(self.prefix): Page(self, name) for name in names}

    def one(self, name: str) -> Page:
        """The one with this name, such as "Theorem 4"; KeyError names those there are."""
        whole = next((n for n in (name, self.prefix + name) if n in self.named), None)
        if whole is None:
            raise KeyError(f"no derivation {name!r}; there are {', '.join(self.theorems)}")
        return Page(self, whole)

    def summary(self) -> pd.DataFrame:
        """Mark, number of chains, steps and points where they are tried, of each theorem."""
        rows = [
            (page.name, page.mark, len(page.found.all_chains), *page.tried)
            for page in self.theorems.values()
        ]
        columns = ["derivation", "mark", "chains", "steps", "points"]
        return pd.DataFrame(rows, columns=columns)

    def link(self, name: str) -> str:
        """A link to a derivation."""
        return f'<a href="#{anchor(name)}">{escape(name.removeprefix(self.prefix))}</a>'


def anchor(name: str) -> str:
    """What a page calls a derivation."""
    return re.sub(r"\W+", "-", name.replace("§", "section-").lower()).strip("-")


@dataclass(frozen=True, repr=False)
class Page:
    """A derivation as it is read: what is stated, its chains with numbers, and its neighbours."""

    blueprint: Blueprint
    name: str
    point: tuple | None = None
    """Where its numbers are worked out, else at the first of its points."""

    @property
    def found(self) -> Derivation:
        """The derivation."""
        return self.blueprint.named[self.name]

    @property
    def mark(self) -> str:
        """Its mark."""
        return self.blueprint.mark(self.name)

    @property
    def tried(self) -> tuple[int, int]:
        """How many steps it has, and at how many points at most they were tried."""
        chains = self.found.all_chains
        return sum(len(c.steps) for c in chains), max(len(c.points) for c in chains)

    @property
    def counts(self) -> str:
        """How many steps are proved, and on how many things they were tried."""
        steps, points = self.tried
        things = self.found.chains[0].theory.things
        return f"{steps} step{'s' * (steps > 1)} proved, tried on {points} {things}"

    @property
    def statements(self) -> str:
        """What is proved, as text."""
        return "; ".join(map(str, self.found.chains))

    @property
    def words(self) -> str:
        """What its correction or remark says, as text."""
        return self.found.note.told(text) if self.found.note else ""

    def at(self, *point) -> Page:
        """The same with the numbers of another point."""
        return replace(self, point=point)

    def _repr_markdown_(self) -> str:
        this, theory, graph = self.found, self.found.chains[0].theory, self.blueprint.graph
        point = self.point or theory.grid[0]
        lines = [f'<a id="{anchor(self.name)}"></a>**{self.name}** · {self.mark} · {this.title}\n']
        lines += [f"$\\displaystyle {chain.statement}$\n" for chain in this.chains]
        lines += [f"**Not proved:** {fault}.\n" for fault in self.blueprint.faults[self.name]]
        lines += [f"| derivation | {theory.told(*point)} |\n| :--- | :--- |"]
        lines += self._rows(point, this.chains)
        if this.only_printed:
            lines += ["| **As printed.** | |", *self._rows(point, this.only_printed)]
        if note := this.note:
            says = note.told(lambda e: f"${latex(e, theory.latex)}$")
            lines += [f"| **{note.kind}.** {says} | |", *self._rows(point, this.besides)]
        for words, others in (("Rests on", graph.pred), ("Needed by", graph.succ)):
            if names := list(others[self.name]):
                lines += [f"\n*{words}:* {', '.join(map(self.blueprint.link, names))}."]
        return "\n".join(lines)

    def _rows(self, point: tuple, chains: tuple[Chain, ...]) -> Iterator[str]:
        for chain in chains:
            theory = chain.theory
            at = point if chain.fits(point) else (chain.points or theory.grid)[0]
            *_, (words, values) = chain.at(at)
            shown = [balls.shown(value) for value in values]
            shown[0] += f" <br> {words}" if words != theory.told(*point) else ""
            left = f"$\\displaystyle {latex(chain.left, theory.latex)}$"
            yield f"| {left} | {shown[0]} <br> {len(chain.points)} {theory.things} |"
            for k, step in enumerate(chain.steps):
                using = dict.fromkeys(fact.of or "above" for fact in step.using)
                links = ", ".join(n if n == "above" else self.blueprint.link(n) for n in using)
                why = f"{step.why} · *using:* {links}" if links else step.why
                value = shown[k + 1]
                if step.variable is not None:
                    far = f"{text(step.variable)} = {theory.far:,}"
                    value = f"{balls.shown(chain.far(k, at))} at {far}"
                mark = "✓" if chain.proofs[k] and chain.checks[k] else "✗"
                says = "" if chain.proofs[k] else " <br> difference NOT 0"
                yield f"| $\\displaystyle {chain.latex(step)}$ <br> {why} | {mark} {value}{says} |"

    def __str__(self) -> str:
        printed = "".join(f" Printed: {chain}." for chain in self.found.only_printed)
        return f"{self.name}: {self.mark}. {self.statements}.{printed} {self.words}".rstrip()

    __repr__ = __str__


@dataclass(frozen=True, repr=False)
class Premises:
    """The definitions and cases of a blueprint, as a table with a place for links to each."""

    blueprint: Blueprint

    def __repr__(self) -> str:
        return "; ".join(str(c) for d in self.blueprint.derivations if d.defines for c in d.chains)

    def _repr_markdown_(self) -> str:
        lines = ["| premise | what is put in |\n| :--- | :--- |"]
        for derivation in self.blueprint.derivations:
            if derivation.defines:
                name = derivation.name.removeprefix(self.blueprint.prefix)
                mark, title = self.blueprint.mark(derivation.name), derivation.title
                says = " <br> ".join(f"$\\displaystyle {c.statement}$" for c in derivation.chains)
                start = f'<a id="{anchor(derivation.name)}"></a>**{name}** · {mark}'
                lines += [f"| {start} <br> {title} | {says} |"]
        return "\n".join(lines)
