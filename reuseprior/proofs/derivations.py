"""Chapter 5's theorems, and chapter 4's two, as steps that are checked when they are shown.

A step is an equation. sympy proves it (the difference simplifies to zero, or a limit is computed)
and numbers test it, mostly those of counted graphs. The mark beside it comes from these two
checks and from nothing else, so a wrong step shows as ✗.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import product
from math import ceil, inf, log10
from typing import Literal

import mpmath
import sympy as sp
from sympy.printing.str import StrPrinter

from reuseprior.measures import closed_forms as closed
from reuseprior.measures.closed_forms import N_I, N_O, D, g, j, ω

# Numbers that are read off counted graphs, in nats ------------------------------------------------

z, E, H, P = sp.symbols("z E H P", positive=True)  # N_C, ⟨ln |C|⟩, entropy, P′_G
P_bits = sp.Symbol("P_bits", positive=True)  # P′_G as equation 4.8 has it
C = sp.IndexedBase("C", positive=True)  # C_j: contexts of a parameter j layers from the output
z_h, E_h, H_h = sp.symbols("z_h E_h H_h", positive=True)  # §5.4.1's prior on the same graphs

z_β, a = sp.symbols("z_beta a", positive=True)  # Σ G_k e^(−β E_k) at any β; a factor of §5.4.1

i, k = sp.symbols("i k", integer=True, positive=True)  # a parameter, a level of equal counts
n, m = sp.symbols("n m", integer=True, positive=True)  # how many there are
c = sp.IndexedBase("c", positive=True)  # c_i: contexts of parameter i
s = sp.IndexedBase("s", positive=True)  # s_k: score |C'| of level k
γ = sp.IndexedBase("G", positive=True)  # G_k: parameters of level k
β = sp.Symbol("beta", real=True)

INDEX_OF = {c: i, s: k, γ: k, C: j}
DIALS = {β: (-1, -0.5, 0, 0.7, 2), a: (0.5, 3)}  # no graph says them: tried at these values
LATEX = {
    E: r"\langle E \rangle", P: "P'_G", P_bits: r"P'_{G,\mathrm{bits}}", E_h: r"\langle E \rangle_h"
}  # fmt: skip

COUNTED = {z, E, H, P, P_bits, z_h, E_h, H_h, z_β, *(x for b in INDEX_OF for x in (b, b.label))}
PLAIN_TEXT = {
    r"\ln\ln\omega": "ln ln ω", r"\ln\omega": "ln ω", r"\ln": "ln", r"\log_2": "log2",
    r"\omega": "ω", r"\beta": "β", r"\langle ": "⟨", r" \rangle": "⟩", r"\lvert ": "|",
    r" \rvert": "|", r"\mathcal{C}": "C", r"\sum": "Σ", r"\to": "→", r"\infty": "∞",
    r"\gg": "≫", r"\ldots": "…", r"\lambda": "λ", r"\sigma": "σ", r"\rho": "ρ",
    r"\pi": "π", r"\sqrt ": "√",
}  # fmt: skip

# Points to try equations at: width, depth, with bias
GRID = tuple(product((2, 3, 5, 10), (1, 2, 5, 40, 300), (False, True)))
SMALL = tuple(product((2, 3, 5), (1, 2, 5, 20), (False, True)))  # where each parameter is a term
DEEP = tuple(product((2, 3, 5, 10), (60, 300), (False, True)))
WIDE = tuple(product((10**4,), (1, 2, 5), (False, True)))
CHAINS = tuple(product((1,), (1, 2, 5, 40, 300), (False, True)))  # ω = 1
DEEP_CHAINS = tuple(product((1,), (300, 1000), (False, True)))

# Where numbers come from --------------------------------------------------------------------------


@dataclass(frozen=True)
class Source:
    """Things whose numbers test a step, one a point of a grid."""

    things: str
    """What they are, for steps that hold a number that is read off them."""
    settings: str
    """What they are made from, for steps that hold only that."""
    read: Callable[..., dict[sp.Basic, object]]
    """The value of every symbol at a point: numbers, and lists from 1 on for what has an index."""
    counted: frozenset[sp.Basic]
    """The symbols that are read off, not put in."""


@cache
def _graph(width: int, depth: int, bias: bool) -> dict[sp.Basic, object]:
    """What a counted perceptron says, as 30-digit floats that do not overflow."""
    from reuseprior.contexts import count_contexts
    from reuseprior.models import MLP, without_weights

    with without_weights():
        model = MLP(width, depth, bias=bias)
    found = count_contexts(model, (1, width))
    q, nats = found.quantities(), mpmath.log(2)
    levels = [mpmath.mpf(2) ** float(b) for b in found.log2_counts]
    per_level = [int(t) for t in found.multiplicities]
    spread = q.expected_spread * nats
    read = {
        ω: mpmath.mpf(width), D: depth, g: q.parameters // depth,
        N_I: q.input_nodes, N_O: q.output_nodes,
        z: mpmath.mpf(2) ** q.log2_contexts, E: spread, H: q.entropy * nats,
        P: q.P_G_spread * nats + mpmath.log((spread + 1) / (q.expected_spread + 1)),
        P_bits: q.P_G_spread, n: q.parameters, m: len(levels),
        s: [None, *levels], γ: [None, *per_level],
        C: levels[:: 1 + bias][::-1],
        c: [None, *(x for x, t in zip(levels, per_level, strict=True) for _ in range(t))]
        if q.parameters <= 2000 else [],
    }  # fmt: skip
    return read | _hypothetical(width, levels, per_level)


def _hypothetical(width: int, levels: list, per_level: list[int]) -> dict[sp.Basic, object]:
    """§5.4.1's prior summed over a graph's levels: energy by path length, β = ln ω."""
    if width == 1:  # every count is one: no length can be read from it
        return dict.fromkeys((z_h, E_h, H_h))
    beta = mpmath.log(width)
    energies = [mpmath.log(x) / beta for x in levels]
    total = mpmath.fsum(t * mpmath.exp(-beta * e) for t, e in zip(per_level, energies, strict=True))
    p = [mpmath.exp(-beta * e) / total for e in energies]
    terms = list(zip(per_level, p, energies, strict=True))
    return {
        z_h: total,
        E_h: mpmath.fsum(t * x * e for t, x, e in terms),
        H_h: -mpmath.fsum(t * x * mpmath.log(x) for t, x, _ in terms),
    }


PERCEPTRONS = Source("counted graphs", "pairs of ω, D", _graph, frozenset(COUNTED))

# What a derivation is -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Check:
    """How a step is checked: what its symbols stand for, and where it is tried.

    `where` holds the definitions that the proof may put in, in order; the numbers never use them,
    they are counted. With `kind="limit"` the difference must vanish as `variable` → `to`.
    """

    where: tuple[tuple[sp.Basic, sp.Expr], ...] = ()
    kind: Literal["equal", "limit"] = "equal"
    variable: sp.Symbol = D
    to: sp.Expr = sp.oo
    grid: tuple[tuple, ...] = GRID
    tolerance: float = 1e-10
    source: Source = PERCEPTRONS


@dataclass(frozen=True)
class Outcome:
    """What the check of a step found."""

    symbolic: bool
    deviation: float
    tolerance: float
    points: int
    """How many things it was tried on; 0 where both sides are numbers."""
    counted: bool
    """Whether a number is read off them; otherwise both sides are put in."""
    source: Source = PERCEPTRONS
    dial: sp.Symbol | None = None
    """A symbol that no graph says, tried at each of its `DIALS`."""

    @property
    def holds(self) -> bool:
        """Whether sympy proves the step and all numbers agree."""
        return self.symbolic and self.deviation <= self.tolerance

    def __str__(self) -> str:
        proof = "difference 0" if self.symbolic else "difference NOT 0"
        if not self.points:
            return f"{proof}; both sides are numbers"
        what = self.source.things if self.counted else self.source.settings
        if self.dial is not None:
            what += f", {len(DIALS[self.dial])} values of {_text(self.dial)}"
        return f"{proof}; {self.points} {what}, within {_bound(self.deviation)}"


@dataclass(frozen=True)
class Step:
    """An equation (or a limit) with its reason, and how to check it.

    >>> Step(sp.log(ω**2), 2 * sp.log(ω), "a power in a logarithm", Check(grid=SMALL)).mark
    '✓'
    >>> Step(sp.log(ω**2), 3 * sp.log(ω), "a slip", Check(grid=SMALL)).mark
    '✗'
    """

    left: sp.Expr
    right: sp.Expr
    justification: str
    check: Check = Check()

    @cached_property
    def outcome(self) -> Outcome:
        """Both checks, made once, when first asked for."""
        left, right = _worked_out(self.left), _worked_out(self.right)
        free = left.free_symbols | right.free_symbols
        dial = β if free & {β, z_β} else a if a in free else None
        return Outcome(
            _proves(self.left, self.right, self.check),
            max(_deviations(left, right, self.check, dial)),
            self.check.tolerance,
            len(self.check.grid) if free else 0,
            bool(free & self.check.source.counted),
            self.check.source,
            dial,
        )

    @property
    def mark(self) -> str:
        """✓ if both checks hold, else ✗."""
        return "✓" if self.outcome.holds else "✗"

    @property
    def latex(self) -> str:
        """The equation that was checked, in LaTeX."""
        sign = "="
        if self.check.kind == "limit":
            sign = rf"\xrightarrow[{_latex(self.check.variable)} \to {_latex(self.check.to)}]{{}}"
        return f"{_latex(self.left)} {sign} {_latex(self.right)}"

    def __str__(self) -> str:
        sign = "="
        if self.check.kind == "limit":
            sign = f"→ ({_text(self.check.variable)} → {_text(self.check.to)})"
        equation = f"{_text(self.left)} {sign} {_text(self.right)}"
        return f"{self.mark} {equation}\n    {self.justification}\n    {self.outcome}"


@dataclass(frozen=True)
class Correction:
    """What the thesis prints instead, and steps that prove how far off it is."""

    says: str
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Derivation:
    """A theorem as steps; a table in Jupyter, the derivation left and its numbers right.

    >>> theorem_1().mark
    '✓'
    """

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
        return "\n".join(self._markdown())

    def _markdown(self) -> Iterator[str]:
        yield f"**{self.name}** · {self.mark}\n\n{self.statement}\n"
        yield "| derivation | numbers that check it |\n| :--- | :--- |"
        yield from map(_row, self.steps)
        if self.correction:
            yield f"| **Correction.** {self.correction.says} | |"
            yield from map(_row, self.correction.steps)

    def _repr_pretty_(self, printer, cycle: bool) -> None:
        printer.text(str(self))

    def __str__(self) -> str:
        parts = [f"{self.name}: {self.mark}", plain(self.statement), *map(str, self.steps)]
        if self.correction:
            parts += [f"Correction: {plain(self.correction.says)}"]
            parts += map(str, self.correction.steps)
        return "\n".join(parts)


# Proof --------------------------------------------------------------------------------------------


def _proves(left: sp.Expr, right: sp.Expr, check: Check) -> bool:
    left, right = _defined(left, check.where), _defined(right, check.where)
    if check.kind == "equal" and isinstance(left, sp.log) and isinstance(right, sp.log):
        left, right = left.args[0], right.args[0]  # ln is one to one
    return _vanishes(left - right, check)


def _vanishes(expression: sp.Expr, check: Check) -> bool:
    expression = sp.expand_log(_worked_out(expression), force=True)
    if expression.has(sp.Indexed):
        return _simplified(_summed(expression, check.where)) == 0
    if check.kind == "limit" and check.variable == ω:
        return sp.limit(expression, ω, check.to) == 0
    # ω = 1 + t with t > 0 picks the branch of the sums; ω = 1 has forms of its own.
    expression = expression.doit().subs(ω, 1 + sp.Symbol("t", positive=True))
    if check.kind == "limit":
        return _simplified(sp.limit(expression, check.variable, check.to)) == 0
    return _simplified(expression) == 0


def _defined(expression: sp.Expr, where) -> sp.Expr:
    for name, meaning in where:
        if isinstance(name, sp.IndexedBase):
            expression = expression.replace(
                lambda e, name=name: isinstance(e, sp.Indexed) and e.base == name,
                lambda e, name=name, meaning=meaning: meaning.subs(INDEX_OF[name], e.indices[0]),
            )
        else:
            expression = expression.subs(name, meaning)
    return expression


def _worked_out(expression: sp.Expr) -> sp.Expr:
    """Derivatives taken and values of β put in, so that only what is left needs a number."""
    kinds = (sp.Derivative, sp.Subs)
    return expression.replace(lambda e: isinstance(e, kinds), lambda e: e.doit(deep=False))


def _summed(expression: sp.Expr, where) -> sp.Expr:
    """Sums over one index as one sum, simplified inside, its constant factors outside."""
    inside, rest = {}, sp.S.Zero
    for term in sp.Add.make_args(sp.expand(expression)):
        factors = sp.Mul.make_args(term)
        sums = [f for f in factors if isinstance(f, sp.Sum)]
        if len(sums) != 1:
            rest += term
            continue
        (total,) = sums
        inside[total.limits] = inside.get(total.limits, 0) + term / total * total.function
    for limits, function in inside.items():
        rest += sp.Sum(_simplified(function), *limits).factor().doit()
    return _defined(rest, where)


def _simplified(expression: sp.Expr) -> sp.Expr:
    return sp.simplify(sp.expand_log(sp.simplify(expression), force=True))


# Numbers ------------------------------------------------------------------------------------------


@cache
def _function(expression: sp.Expr, symbols: tuple[sp.Basic, ...]):
    return sp.lambdify(symbols, expression, "mpmath")


def _deviations(
    left: sp.Expr, right: sp.Expr, check: Check, dial: sp.Symbol | None
) -> Iterator[float]:
    free = left.free_symbols | right.free_symbols
    with mpmath.workdps(30):
        for point in check.grid:
            for read in _dials(check.source.read(*point), dial):
                for index in _indices(free, read):
                    at = {**read, i: index, k: index, j: index}
                    sides = (_function(side, tuple(at)) for side in (left, right))
                    try:
                        x, y = (side(*at.values()) for side in sides)
                    except ZeroDivisionError:  # a side without a value equals nothing
                        yield inf
                    else:
                        yield float(abs(x - y) / max(1, abs(x), abs(y)))


def _dials(read: dict, dial: sp.Symbol | None) -> Iterator[dict]:
    """What a graph says, at each value of the symbol that it does not say."""
    read = {**read, β: None, z_β: None, a: None}
    if dial is None:
        yield read
    for value in DIALS.get(dial, ()):
        at = {dial: mpmath.mpf(value)}
        if dial == β:
            terms = zip(read[γ][1:], read[s][1:], strict=True)
            at[z_β] = mpmath.fsum(times * score**-value for times, score in terms)
        yield read | at


def _indices(free, read) -> tuple[int, ...]:
    """First and last of an index that a step leaves free."""
    for index, last in ((i, n), (k, m)):
        if index in free:
            return (1, read[last])
    return (0, read[D] - 1) if j in free else (1,)


# Rendering ----------------------------------------------------------------------------------------


def _latex(expression: sp.Basic) -> str:
    text = sp.latex(expression, ln_notation=True, symbol_names=LATEX)
    text = re.sub(r"\\ln\{\\left\((\\omega|\w) \\right\)\}", r"\\ln \1", text)
    # a bare | would end the table's cell
    return re.sub(r"\\right\|_{\\substack{ (.*?) }}", r"\\right\\rvert_{\1}", text)


class _Text(StrPrinter):
    def _print_Subs(self, taken) -> str:
        expression, (old,), (new,) = taken.args
        return f"[{self._print(expression)}]({self._print(old)} = {self._print(new)})"


def _text(expression: sp.Basic) -> str:
    text = _Text().doprint(expression)
    for old, new in [
        ("omega", "ω"),
        ("beta", "β"),
        ("lambda", "λ"),
        ("sigma", "σ"),
        ("delta", "δ"),
        ("rho", "ρ"),
        ("log(", "ln("),
        ("**", "^"),
        ("Sum(", "Σ("),
        ("oo", "∞"),
    ]:
        text = text.replace(old, new)
    return text


def plain(markdown: str) -> str:
    """A statement without its LaTeX.

    >>> plain("the gap $\\\\ln\\\\omega$")
    'the gap ln ω'
    """
    replaced = markdown.replace("$", "")
    for old, new in PLAIN_TEXT.items():
        replaced = replaced.replace(old, new)
    return replaced


def _bound(deviation: float) -> str:
    """The next power of ten above it, and never below 1e-12: the last digits vary by machine."""
    if deviation == inf:
        return "no bound"
    return f"1e{max(-12, ceil(log10(deviation))) if deviation > 0 else -12}"


def _row(step: Step) -> str:
    return (
        f"| $\\displaystyle {step.latex}$ <br> {step.justification} | {step.mark} {step.outcome} |"
    )


# The derivations ----------------------------------------------------------------------------------

_TOTAL = sp.Sum(c[i], (i, 1, n))
_LEVELS = sp.Sum(γ[k] * s[k], (k, 1, m))
_LEVELS_ARE_Z = (_LEVELS, z)
_Z = (z, g * (ω**D - 1) / (ω - 1))
_E_PRINTED = (D * ω ** (D - 1) / (ω**D - 1) - 1 / (ω - 1)) * ω * sp.log(ω)  # eq. 5.12
_MLP = ((E, _E_PRINTED), _Z)


def _over_parameters(term: sp.Expr) -> sp.Sum:
    return sp.Sum(term, (i, 1, n))


def _over_levels(term: sp.Expr) -> sp.Sum:
    return sp.Sum(term, (k, 1, m))


def _over_layers(term: sp.Expr) -> sp.Sum:
    return sp.Sum(term, (j, 0, D - 1))


def lemma_1() -> Derivation:
    """Divergence from the uniform distribution is expected spread."""
    p = c[i] / z
    check = Check(((E, _over_parameters(p * sp.log(c[i]))),), grid=SMALL)
    return Derivation(
        "Lemma 1",
        "The divergence of $p_i = c_i/z$, $z = N_C$, from $1/N_C$ is the expected spread.",
        (
            Step(
                _over_parameters(p * (sp.log(p) - sp.log(1 / z))),
                _over_parameters(p * sp.log(c[i])),
                "the definition of the divergence; z cancels in each term",
                check,
            ),
            Step(_over_parameters(p * sp.log(c[i])), E, "definition 3", check),
        ),
    )


def theorem_1() -> Derivation:
    """At constant N_C more spread is less entropy."""
    p = c[i] / z
    spread, entropy = _over_parameters(p * sp.log(c[i])), -_over_parameters(p * sp.log(p))
    check = Check(((H, entropy), (E, spread), (_TOTAL, z)), grid=SMALL)
    return Derivation(
        "Theorem 1",
        "$H + \\langle E \\rangle = \\ln N_C$ (eq. 4.6), so at constant $z = N_C$ one falls as "
        "the other rises.",
        (
            Step(H, entropy, "definition 4", check),
            Step(entropy + spread, _over_parameters(p * sp.log(z)), "term by term", check),
            Step(_over_parameters(p * sp.log(z)), sp.log(z), "the counts add up to z", check),
            Step(H + E, sp.log(z), "eq. 4.6", check),
            Step(sp.Derivative(sp.log(z) - E, E), sp.S(-1), "at constant z", Check(grid=SMALL)),
        ),
    )


_BOLTZMANN = sp.exp(-β * sp.log(s[k]))
_Z_BETA = (_over_levels(γ[k] * s[k] ** (-β)), z_β)


def _at_minus_one(expression: sp.Expr) -> sp.Subs:
    return sp.Subs(expression, β, -1)


def lemma_2() -> Derivation:
    """The total score is the partition function at β = −1."""
    check = Check((_LEVELS_ARE_Z,))
    partition = _over_levels(γ[k] * _BOLTZMANN)
    return Derivation(
        "Lemma 2",
        "With $E_k = \\ln s_k$ for a level of $G_k$ parameters, $N_{C'} = \\sum G_k s_k$ is the "
        "partition function (eq. 5.4) at $\\beta = -1$.",
        (
            Step(_BOLTZMANN, s[k] ** (-β), "Boltzmann's factor, at any β", Check()),
            Step(z_β, partition, "eq. 5.4, at any β", Check((_Z_BETA[::-1],))),
            Step(_at_minus_one(partition), _LEVELS, "at β = −1", check),
            Step(_LEVELS, z, "the count of all contexts", check),
        ),
    )


def theorem_2() -> Derivation:
    """Relative frequencies of scores are Boltzmann's at β = −1."""
    return Derivation(
        "Theorem 2",
        "Relative frequencies $s_k/z$ are the Boltzmann distribution (eq. 5.7) of "
        "$E_k = \\ln s_k$ at $\\beta = -1$.",
        (
            Step(
                s[k] / z, _at_minus_one(_BOLTZMANN) / z, "Lemma 2, at β = −1",
                Check((_LEVELS_ARE_Z,)),
            ),
            Step(
                _over_levels(γ[k] * _BOLTZMANN / z_β), sp.S(1), "they add up to one, at any β",
                Check((_Z_BETA,)),
            ),
        ),
    )  # fmt: skip


def corollary_1() -> Derivation:
    """Expected spread in nats is expected energy."""
    energy = _over_levels(γ[k] * _BOLTZMANN / z * sp.log(s[k]))
    spread = _over_levels(γ[k] * s[k] / z * sp.log(s[k]))
    check = Check(((E, spread),))
    return Derivation(
        "Corollary 1",
        "Expected spread with $\\ln$ is expected energy (eq. 5.8).",
        (
            Step(_at_minus_one(energy), spread, "Theorem 2, at β = −1", check),
            Step(spread, E, "definition 3, in nats", check),
        ),
    )


@cache
def _recursion() -> sp.Expr:
    """C_j from its recursion: a node is read by all ω nodes of the next layer."""
    count, at = sp.Function("C"), sp.Symbol("j", integer=True, nonnegative=True)
    return sp.rsolve(count(at + 1) - ω * count(at), count(at), {count(0): 1}).subs(at, j)


def lemma_3() -> Derivation:
    """Counts, partition function and probabilities of a perceptron of constant width."""
    check = Check(((z, _over_layers(g * ω**j)), (C, _recursion())))
    total = _Z[1]
    return Derivation(
        "Lemma 3",
        "Width $\\omega$, depth $D$, $g$ parameters a layer: $N_C = g(\\omega^D-1)/(\\omega-1) "
        "= z$ (eq. 5.9–5.11); $j$ counts layers from the output.",
        (
            Step(C[j], ω**j, "solves C(j+1) = ω C(j), C(0) = 1", check),
            Step(z, _over_layers(g * ω**j), "all contexts, layer by layer", check),
            Step(_over_layers(g * ω**j), total, "a geometric sum (eq. 5.9)", check),
            Step(
                C[j] / z,
                ω**j * (ω - 1) / ((ω**D - 1) * g),
                "eq. 5.10 and 5.11",
                Check((_Z, (C, _recursion()))),
            ),
            Step(
                sp.log(z), closed.log_contexts.expression, "without overflow", Check((_Z,))
            ),
        ),
    )  # fmt: skip


def equation_5_5() -> Derivation:
    """The exponent of the partition function runs from 0."""
    d = sp.Symbol("d", integer=True, positive=True)
    p = ω**d / (ω * z)
    energy, entropy = (
        sp.Sum(g * p * d * sp.log(ω), (d, 1, D)),
        -sp.Sum(g * p * sp.log(p), (d, 1, D)),
    )
    return Derivation(
        "Equation 5.5",
        "The exponents in $z$ run from 0 to $D-1$, as eq. 5.9 has it: the last layer has one "
        "context.",
        (Step(z, _over_layers(g * ω**j), "counted (Lemma 3)", Check((_Z,))),),
        Correction(
            "The text at eq. 5.5 has $\\lvert \\mathcal{C}_{w_d} \\rvert = \\omega^d$ for "
            "$d = 1 \\ldots D$. That makes $z$ too large by the factor $\\omega$ and "
            "$\\langle E \\rangle$ by $\\ln\\omega$; probabilities and entropy stay.",
            (
                Step(
                    sp.Sum(g * ω**d, (d, 1, D)), ω * z, "exponents 1 to D", Check((_Z,))
                ),
                Step(energy, E + sp.log(ω), "the same for the energy", Check(_MLP)),
                Step(
                    ω ** (j + 1) / sp.Sum(g * ω**d, (d, 1, D)), C[j] / z,
                    "probabilities stay", Check((_Z, (C, _recursion()))),
                ),
                Step(entropy, H, "and with them the entropy", Check(((H, _mlp_entropy()), _Z))),
            ),
        ),
    )  # fmt: skip


def theorem_3() -> Derivation:
    """The expected energy, eq. 5.12."""
    first = sp.Sum(g * ω ** (j - 1) / z * sp.log(ω ** (j - 1)), (j, 1, D))
    inner = sp.Sum((j - 1) * ω ** (j - 2), (j, 1, D))
    slope = (1 - ω**D) / (ω - 1) ** 2 + D * ω ** (D - 1) / (ω - 1)
    derivative = sp.Derivative((ω**D - 1) / (ω - 1), ω)
    check = Check((_Z,))
    return Derivation(
        "Theorem 3",
        "$\\langle E \\rangle = (D\\omega^{D-1}/(\\omega^D-1) - "
        "1/(\\omega-1)) \\omega \\ln\\omega$ (eq. 5.12), whatever $g$ is.",
        (
            Step(E, first, "Lemma 3 in eq. 5.8", Check(((E, _over_layers(
                g * ω**j / z * j * sp.log(ω))), _Z))),
            Step(
                first, (ω - 1) / (ω**D - 1) * ω * sp.log(ω) * inner,
                "eq. 5.13, its factor ω included", check,
            ),
            Step(inner, derivative, "eq. 5.14: the derivative of a geometric sum", check),
            Step(derivative, slope, "the quotient rule", check),
            Step(E, _E_PRINTED, "eq. 5.12", Check(((E, first), _Z))),
            Step(
                _E_PRINTED, closed.expected_energy.expression, "without overflow", check
            ),
        ),
    )  # fmt: skip


def theorem_4() -> Derivation:
    """How the expected energy grows with depth."""
    printed = (D - 1) * sp.log(ω)
    limit = closed.expected_energy_limit.expression
    deep = Check(_MLP, "limit", grid=DEEP)
    return Derivation(
        "Theorem 4",
        "For $D \\to \\infty$ at constant $\\omega > 1$, $\\langle E \\rangle \\to "
        "(D - \\omega/(\\omega-1)) \\ln\\omega$.",
        (
            Step(D * ω ** (D - 1) / (ω**D - 1), D / ω, "the term that holds D", deep),
            Step(E, (D / ω - 1 / (ω - 1)) * ω * sp.log(ω), "put into eq. 5.12", deep),
            Step((D / ω - 1 / (ω - 1)) * ω * sp.log(ω), limit, "multiplied out", Check()),
            Step(E, limit, "Theorem 4, corrected", deep),
        ),
        Correction(
            "The thesis has $(D-1)\\ln\\omega$. Eq. 5.15 puts $1/\\omega$ for $1/(\\omega-1)$, "
            "which holds for $\\omega \\to \\infty$ and not for $D \\to \\infty$; the gap grows "
            "with depth from 0 at $D = 1$ to $\\ln\\omega/(\\omega-1)$ (0.693 nats at "
            "$\\omega = 2$, 0.047 at 100).",
            (
                Step(
                    (1 / (ω - 1) - 1 / ω) * ω * sp.log(ω), sp.log(ω) / (ω - 1),
                    "what eq. 5.15's step adds", Check(),
                ),
                Step(
                    (1 / (ω - 1)) / (1 / ω), sp.S(1), "that step is right for wide networks",
                    Check(kind="limit", variable=ω, grid=WIDE, tolerance=1e-3),
                ),
                Step(
                    printed - E, (1 / (ω - 1) - D / (ω**D - 1)) * sp.log(ω),
                    "printed less counted, at any depth", Check(_MLP),
                ),
                Step(printed - E, sp.log(ω) / (ω - 1), "and what that grows to", deep),
            ),
        ),
    )  # fmt: skip


def corollary_2() -> Derivation:
    """Entropy from partition function and energy."""
    p = _BOLTZMANN / z_β
    entropy, energy = -_over_levels(γ[k] * p * sp.log(p)), _over_levels(γ[k] * p * sp.log(s[k]))
    result = sp.log(g * (ω**D - 1) / (ω - 1)) - _E_PRINTED
    return Derivation(
        "Corollary 2",
        "$H = \\ln z + \\beta\\langle E \\rangle$ (eq. 5.16) at any $\\beta$, and at $\\beta = -1$ "
        "for perceptrons eq. 5.17.",
        (
            Step(
                entropy, sp.log(z_β) + β * energy, "eq. 5.16, at any β: the p add up to one",
                Check((_Z_BETA,)),
            ),
            Step(H, sp.log(z) - E, "at β = −1", Check(((H, _mlp_entropy()), *_MLP))),
            Step(H, result, "eq. 5.17", Check(((H, _mlp_entropy()), _Z))),
            Step(result, closed.entropy.expression, "without overflow", Check()),
        ),
    )  # fmt: skip


def _mlp_entropy() -> sp.Expr:
    p = ω**j / z
    return -_over_layers(g * p * sp.log(p))


_H = (H, sp.log(z) - E)


def theorem_5() -> Derivation:
    """What the entropy converges to with depth."""
    limit = closed.entropy_limit.expression
    printed = sp.log(g) + sp.log(ω) - sp.log(ω - 1)
    deep = Check((_H, *_MLP), "limit", grid=DEEP)
    with_bias = sp.log(ω + 1) - sp.log(ω - 1) + (1 + ω / (ω - 1)) * sp.log(ω)
    biased = Check(
        ((g, ω * (ω + 1)),), grid=tuple((w, d, bias) for w, d, bias in DEEP if bias)
    )  # fmt: skip
    return Derivation(
        "Theorem 5",
        "For $D \\to \\infty$ at constant $\\omega > 1$, $H \\to \\ln g - \\ln(\\omega-1) + "
        "(\\omega/(\\omega-1)) \\ln\\omega$.",
        (
            Step(sp.log(ω**D - 1), D * sp.log(ω), "as before eq. 5.18; holds", deep),
            Step(
                H, sp.log(g) + D * sp.log(ω) - sp.log(ω - 1)
                - closed.expected_energy_limit.expression,
                "with Theorem 4, corrected", deep,
            ),
            Step(H, limit, "Theorem 5, corrected", deep),
            Step(limit, with_bias, "with bias, g = ω(ω + 1)", biased),
        ),
        Correction(
            "The thesis has $\\ln g + \\ln\\omega - \\ln(\\omega-1)$ (eq. 5.18), which takes over "
            "the gap of Theorem 4. What it needs is $\\omega^{-D} \\to 0$ and, for the energy, "
            "$D\\omega^{-D} \\to 0$, not $D \\gg \\omega$; and at $\\omega = 1$ nothing converges, "
            "$H = \\ln(gD)$.",
            (
                Step(H - printed, sp.log(ω) / (ω - 1), "counted less printed", deep),
                Step(
                    H - limit, sp.log(1 - ω ** (-D)) - D * ω ** (-D) * sp.log(ω) / (1 - ω ** (-D)),
                    "what the limit drops, at any depth", Check((_H, *_MLP)),
                ),
                Step(
                    H, sp.log(g * D), "width 1: a chain, where all counts are one",
                    Check(
                        ((H, closed.entropy.expression),), "limit", ω, sp.S.One, grid=CHAINS
                    ),
                ),
            ),
        ),
    )  # fmt: skip


_SIZE = N_I / (N_I + N_O + g * D)
_P = (P, sp.log(g * D * (E + 1) * _SIZE))
_P_BITS = (P_bits, sp.log(g * D * (E / sp.log(2) + 1) * _SIZE) / sp.log(2))


def equation_5_19() -> Derivation:
    """The performance estimate in nats."""
    printed = sp.log((g * D * E + 1) * _SIZE)
    square = ((N_I, ω), (N_O, ω))
    return Derivation(
        "Equation 5.19",
        "Eq. 4.8 with $N_G = gD$: $P'_G = \\ln(gD(\\langle E \\rangle + 1) "
        "N_I/(N_I + N_O + gD))$, and $N_I = N_O = \\omega$ in the text.",
        (
            Step(P, _P[1], "eq. 4.8 in nats", Check((_P,))),
            Step(
                P, sp.log(g * D * (E + 1) * ω / (2 * ω + g * D)), "N_I = N_O = ω",
                Check((_P, *square)),
            ),
            Step(P, closed.performance.expression, "with Theorem 3", Check((_P, *_MLP))),
        ),
        Correction(
            "The thesis has $gD\\langle E \\rangle + 1$ for $gD(\\langle E \\rangle + 1)$: a "
            "parenthesis moved, and $gD - 1$ lost. Chapter 5's tables take $N_O = 1$. Nor is "
            "$\\ln$ for $\\log_2$ a mere factor here (footnote 3): the 1 that is added is a bit "
            "in eq. 4.8 and a nat in eq. 5.19.",
            (
                Step(
                    sp.exp(P) - sp.exp(printed), (g * D - 1) * _SIZE,
                    "inside the logarithm, counted less printed", Check((_P,)),
                ),
                Step(
                    P - P_bits * sp.log(2), sp.log((E + 1) / (E / sp.log(2) + 1)),
                    "nats less bits, in nats", Check((_P, _P_BITS)),
                ),
            ),
        ),
    )  # fmt: skip


def equation_5_20() -> Derivation:
    """What the performance estimate grows like."""
    grown = closed.performance_limit.expression
    square = ((N_I, ω), (N_O, ω))
    deep = Check((_P, *square, *_MLP), "limit", grid=DEEP, tolerance=0.01)
    bits = Check((_P, _P_BITS, *_MLP), "limit", grid=DEEP[2::4] + DEEP[3::4], tolerance=0.01)
    dropped = 1 / sp.log(ω) - ω / (ω - 1) - 2 * ω / g
    first = sp.log((g * D * (D - 1) * sp.log(ω) + 1) * ω / (2 * ω + g * D))
    printed = -1 - 2 * ω / g
    chain = g * D / (2 + g * D)
    ones = ((ω, sp.S.One), (N_I, sp.S.One), (N_O, sp.S.One), (E, sp.S.Zero))
    return Derivation(
        "Equation 5.20",
        "$P'_G \\to \\ln D + \\ln\\omega + \\ln\\ln\\omega$ for $D \\to \\infty$ at constant "
        "$\\omega > 1$: right, with an error that falls as $1/D$.",
        (
            Step(P, grown, "the limit; both slips vanish in it", deep),
            Step(D * (P - grown), dropped, "what it drops, times D", deep),
            Step(
                P_bits - P / sp.log(2), -sp.log(sp.log(2)) / sp.log(2),
                "in bits, as eq. 4.8 has it, 0.53 more", bits,
            ),
        ),
        Correction(
            "The middle of eq. 5.20 inherits eq. 5.19's parenthesis and Theorem 4's limit. It has "
            "the same limit and another $1/D$ term. At $\\omega = 1$ eq. 5.20 is "
            "$-\\infty$; in truth $P'_G \\to 0$.",
            (
                Step(first, grown, "the printed middle, same limit", deep),
                Step(D * (first - grown), printed, "its error, times D", deep),
                Step(
                    sp.exp(P), chain, "at ω = 1, where ⟨E⟩ = 0", Check((_P, *ones), grid=CHAINS)
                ),
                Step(
                    chain, sp.S.One, "so P′ → ln 1 = 0",
                    Check(kind="limit", grid=DEEP_CHAINS, tolerance=0.01),
                ),
            ),
        ),
    )  # fmt: skip


def section_5_4_1() -> Derivation:
    """The hypothetical prior, p ∝ ω^(−j)."""
    weight = sp.exp(-j * sp.log(ω))
    z_sum = (z_h, _over_layers(g * ω ** (-j)))
    z_closed = (z_h, g * (1 - ω ** (-D)) / (1 - 1 / ω))
    energy = _over_layers(j * ω ** (-j) * g / z_h)
    entropy = sp.log(z_h) + sp.log(ω) * E_h
    h_sum = -_over_layers(g * ω ** (-j) / z_h * sp.log(ω ** (-j) / z_h))
    e_closed = (E_h, closed.hypothetical_expected_energy.expression)
    estimate = g * D * (E_h + 1) * ω / (2 * ω + g * D)
    scaled_estimate = g * D * (a * E_h + 1) * ω / (2 * ω + g * D)
    printed = (g * D * E_h + 1) * ω / (2 * ω + g * D)
    return Derivation(
        "§5.4.1",
        "The prior $E_j = j$, $\\beta = \\ln\\omega$, $T = 1/\\ln\\omega$: each bullet as a sum "
        "over counted graphs, then closed.",
        (
            Step(weight, ω ** (-j), "β = ln ω and E = j", Check()),
            Step(z_h, z_sum[1], "partition function", Check((z_sum,))),
            Step(z_h, z_closed[1], "closed", Check((z_sum,))),
            Step(E_h, energy, "expected energy", Check(((E_h, energy),))),
            Step(E_h, e_closed[1], "closed", Check(((E_h, energy), z_closed))),
            Step(H_h, entropy, "entropy", Check(((H_h, h_sum), e_closed, z_closed))),
            Step(E_h, 1 / (ω - 1), "so depth no longer matters", Check(
                (e_closed,), "limit", grid=DEEP)),
            Step(H_h, H, "the mirror of the reusability prior: the same entropy", Check(
                ((H_h, entropy), e_closed, z_closed, _H, *_MLP))),
            Step(E_h, D - 1 - E / sp.log(ω), "and the mirrored energy", Check(
                (e_closed, *_MLP))),
        ),
        Correction(
            "The performance bullet repeats eq. 5.19's parenthesis, and its logarithm closes "
            "before the factor $\\omega/(2\\omega+gD)$. The sums are right. $\\beta$ is not "
            "determined by $p$: $E_j = aj$ with $\\beta = \\ln\\omega/a$ has the same $z$, $p$ "
            "and $H$, while $\\langle E \\rangle$ scales with $a$, and so the estimate changes. "
            "And at $\\beta > 0$ probabilities fall exponentially with energy, not inversely.",
            (
                Step(
                    estimate - printed, (g * D - 1) * ω / (2 * ω + g * D),
                    "inside the logarithm, right less printed", Check(),
                ),
                Step(
                    _over_layers(g * _scaled(sp.exp(-β * a * j))), z_h,
                    "E = aj: the same z", Check((z_closed,)),
                ),
                Step(_scaled(sp.exp(-β * a * j)) / z_h, ω ** (-j) / z_h, "so the same p", Check()),
                Step(
                    _over_layers(a * j * ω ** (-j) * g / z_h), a * E_h, "a times the energy",
                    Check(((E_h, energy),)),
                ),
                Step(_scaled(sp.log(z_h) + β * a * E_h), H_h, "the same entropy", Check(
                    ((H_h, h_sum), e_closed, z_closed))),
                Step(
                    sp.log(scaled_estimate) - sp.log(estimate), sp.log((a * E_h + 1) / (E_h + 1)),
                    "and another estimate", Check(),
                ),
            ),
        ),
    )  # fmt: skip


def _scaled(expression: sp.Expr) -> sp.Subs:
    return sp.Subs(expression, β, sp.log(ω) / a)


ALL = (
    lemma_1, theorem_1, lemma_2, theorem_2, corollary_1, equation_5_5, lemma_3, theorem_3,
    theorem_4, corollary_2, theorem_5, equation_5_19, equation_5_20, section_5_4_1,
)  # fmt: skip


@cache
def all_derivations() -> tuple[Derivation, ...]:
    """Every derivation in the thesis's order, checked when first shown.

    >>> [d.name for d in all_derivations()][:3]
    ['Lemma 1', 'Theorem 1', 'Lemma 2']
    """
    return tuple(make() for make in ALL)


def derivation(name: str) -> Derivation:
    """The one with this name, such as "Theorem 4"; KeyError names those there are."""
    found = {d.name: d for d in all_derivations()}
    if name not in found:
        raise KeyError(f"no derivation {name!r}; there are {', '.join(found)}")
    return found[name]


def summary():
    """A pandas DataFrame: mark, steps and largest deviation of each derivation."""
    import pandas as pd

    rows = [(d.name, d.mark, len(d.all_steps), _bound(d.deviation)) for d in all_derivations()]
    return pd.DataFrame(rows, columns=["derivation", "mark", "steps", "deviation below"])
