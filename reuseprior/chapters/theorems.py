"""What chapter 5 derives for perceptrons of constant width: counts, energy, entropy, limits."""

from collections.abc import Iterator
from functools import cache, partial
from itertools import product

import mpmath
import numpy as np
import sympy as sp

from reuseprior.chapters import closed_forms as closed
from reuseprior.chapters.closed_forms import N_I, N_O, D, g, j, ω
from reuseprior.measures.energy import Ensemble
from reuseprior.proofs import Correction, Derivations, Dial, Printed, Step, Theory, derived
from reuseprior.proofs.theory import Numbers
from reuseprior.report import cells

z, E, H = sp.symbols("z E H", positive=True)  # N_C, ⟨ln |C|⟩, entropy
P_bits = sp.Symbol("P_bits", positive=True)  # P′_G as equation 4.8 has it
C = sp.IndexedBase("C", positive=True)  # C_j: contexts of a parameter j layers from the output
z_h, E_h, H_h = sp.symbols("z_h E_h H_h", positive=True)  # §5.4.1's prior on the same graphs
i, k = sp.symbols("i k", integer=True, positive=True)  # a parameter, a level of equal counts
n, m = sp.symbols("n m", integer=True, positive=True)  # how many there are
c = sp.IndexedBase("c", positive=True)  # c_i: contexts of parameter i
s = sp.IndexedBase("s", positive=True)  # s_k: score |C'| of level k
γ = sp.IndexedBase("G", positive=True)  # G_k: parameters of level k

# Numbers that no graph says
P = sp.Symbol("P", positive=True)  # P′_G in nats, which is put in: counting has it in bits
β = sp.Symbol("beta", real=True)
z_β, a = sp.symbols("z_beta a", positive=True)  # Σ G_k e^(−β E_k) at any β; a factor of §5.4.1

COUNTED = frozenset((z, E, H, P_bits, z_h, E_h, H_h, z_β)).union(
    *((base, base.label) for base in (c, s, γ, C))
)
INDICES = {i: (1, n), k: (1, m), j: (0, D - 1)}
LATEX = {
    E: r"\langle E \rangle", P: "P'_G", P_bits: r"P'_{G,\mathrm{bits}}", E_h: r"\langle E \rangle_h"
}  # fmt: skip


@cache
def graph(width: int, depth: int, bias: bool) -> Numbers:
    """What a counted perceptron says."""
    from reuseprior.contexts import count_contexts
    from reuseprior.models import MLP, without_weights

    with without_weights():
        model = MLP(width, depth, bias=bias)
    found = count_contexts(model, (1, width))
    q, nats = found.quantities(), mpmath.log(2)
    levels = [mpmath.mpf(2) ** float(b) for b in found.log2_counts]
    per_level = [int(t) for t in found.multiplicities]
    spread = q.expected_spread * nats
    share = mpmath.mpf(q.input_nodes) / (q.input_nodes + q.output_nodes + q.parameters)
    read = {
        ω: mpmath.mpf(width), D: depth, g: q.parameters // depth,
        N_I: q.input_nodes, N_O: q.output_nodes,
        z: mpmath.mpf(2) ** q.log2_contexts, E: spread, H: q.entropy * nats,
        P: mpmath.log(q.parameters * (spread + 1) * share), P_bits: q.P_G_spread,
        n: q.parameters, m: len(levels),
        s: [None, *levels], γ: [None, *per_level],
        C: levels[:: 1 + bias][::-1],
        c: [None, *(x for x, t in zip(levels, per_level, strict=True) for _ in range(t))]
        if q.parameters <= 2000 else [],
    }  # fmt: skip
    return read | _hypothetical(width, found)


def _hypothetical(width: int, found) -> Numbers:
    """§5.4.1's prior summed over a graph's levels: energy by path length, β = ln ω."""
    if width == 1:  # every count is one: no length can be read from it
        return dict.fromkeys((z_h, E_h, H_h))
    lengths = found.log2_counts / np.log2(width)
    by_length = Ensemble(lengths, found.multiplicities, beta=np.log(width))
    energy, entropy = by_length.expected_energy, by_length.entropy
    return {z_h: by_length.partition_function, E_h: energy, H_h: entropy}


def partition(beta, read: Numbers):
    terms = zip(read[γ][1:], read[s][1:], strict=True)
    return mpmath.fsum(times * score**-beta for times, score in terms)


# Where equations are tried ------------------------------------------------------------------------

GRID = tuple(product((2, 3, 5, 10), (1, 2, 5, 40, 300), (False, True)))
SMALL = tuple(product((2, 3, 5), (1, 2, 5, 20), (False, True)))  # where each parameter is a term
DEEP = tuple(product((2, 3, 5, 10), (60, 300), (False, True)))
WIDE = tuple(product((10**4,), (1, 2, 5), (False, True)))
CHAINS = tuple(product((1,), (1, 2, 5, 40, 300), (False, True)))  # ω = 1
DEEP_CHAINS = tuple(product((1,), (300, 1000), (False, True)))

PERCEPTRONS = Theory(
    things="counted graphs",
    settings="pairs of ω, D",
    read=graph,
    counted=COUNTED,
    grid=GRID,
    indices=INDICES,
    dials=(Dial(β, (-1, -0.5, 0, 0.7, 2), {z_β: partition}), Dial(a, (0.5, 3))),
    # ω = 1 + t with t > 0 picks the branch of the sums; ω = 1 has forms of its own
    ranges={ω: 1 + sp.Symbol("t", positive=True)},
    latex=LATEX,
    example=(3, 4, False),
    told=lambda width, depth, bias: f"ω = {width}, D = {depth}" + (", with bias" if bias else ""),
)
given = PERCEPTRONS.check


def total(term: sp.Expr, index: sp.Symbol) -> sp.Sum:
    """The sum of a term over all parameters (i), levels (k) or layers (j)."""
    return sp.Sum(term, (index, *INDICES[index]))


@derived(
    "Lemma 1",
    "The divergence of $p_i = c_i/z$, $z = N_C$, from $1/N_C$ is the expected spread.",
    place="§4.4.4.1",
)
# Chapter 5's perceptrons, and chapter 4's two theorems --------------------------------------------


def lemma_1() -> Iterator[Step | Printed]:
    p = c[i] / z
    divergence, spread = (total(p * x, i) for x in (sp.log(p) - sp.log(1 / z), sp.log(c[i])))
    check = given((E, spread), grid=SMALL)
    cancels = "the definition of the divergence; z cancels in each term"
    result = Step(divergence, E, "Lemma 1", check)
    yield Step(divergence, spread, cancels, given(grid=SMALL))
    yield Step(spread, E, "definition 3", check)
    yield result
    yield Printed(result)


@derived(
    "Theorem 1",
    r"$H + \langle E \rangle = \ln N_C$ (eq. 4.6), so at constant $z = N_C$ one falls as "
    "the other rises.",
    place="eq. 4.6",
)
def theorem_1() -> Iterator[Step | Printed]:
    p = c[i] / z
    spread, entropy = total(p * sp.log(c[i]), i), -total(p * sp.log(p), i)
    both = total(p * sp.log(z), i)
    check = given((H, entropy), (E, spread), (total(c[i], i), z), grid=SMALL)
    sums_up = Step(H + E, sp.log(z), "eq. 4.6", check)
    slope = sp.Derivative(sp.log(z) - E, E)
    falls = Step(slope, sp.S(-1), "at constant z", given(grid=SMALL))
    yield Step(H, entropy, "definition 4", check)
    yield Step(entropy + spread, both, "term by term", given(grid=SMALL))
    yield Step(both, sp.log(z), "the counts add up to z", check)
    yield sums_up
    yield falls
    yield Printed(sums_up, falls)


BOLTZMANN = sp.exp(-β * sp.log(s[k]))
LEVELS = total(γ[k] * s[k], k)
Z_BETA = (total(γ[k] * s[k] ** (-β), k), z_β)


def _at_minus_one(expression: sp.Expr) -> sp.Subs:
    return sp.Subs(expression, β, -1)


@derived(
    "Lemma 2",
    r"With $E_k = \ln s_k$ for a level of $G_k$ parameters, $N_{C'} = \sum G_k s_k$ is the "
    r"partition function (eq. 5.4) at $\beta = -1$.",
    place="eq. 5.4",
)
def lemma_2() -> Iterator[Step | Printed]:
    check, partition = given((LEVELS, z)), total(γ[k] * BOLTZMANN, k)
    result = Step(_at_minus_one(partition), z, "Lemma 2", check)
    yield Step(BOLTZMANN, s[k] ** (-β), "Boltzmann's factor, at any β", given())
    yield Step(z_β, partition, "eq. 5.4, at any β", given(Z_BETA[::-1]))
    yield Step(_at_minus_one(partition), LEVELS, "at β = −1", given())
    yield Step(LEVELS, z, "the count of all contexts", check)
    yield result
    yield Printed(result)


@derived(
    "Theorem 2",
    r"Relative frequencies $s_k/z$ are the Boltzmann distribution (eq. 5.7) of "
    r"$E_k = \ln s_k$ at $\beta = -1$.",
    place="eq. 5.7",
)
def theorem_2() -> Iterator[Step | Printed]:
    frequency = Step(s[k] / z, _at_minus_one(BOLTZMANN) / z, "Lemma 2, at β = −1", given())
    yield frequency
    weights = total(γ[k] * BOLTZMANN / z_β, k)
    yield Step(weights, sp.S.One, "they add up to one, at any β", given(Z_BETA))
    yield Printed(frequency)


@derived(
    "Corollary 1",
    r"Expected spread with $\ln$ is expected energy (eq. 5.8).",
    place="eq. 5.8",
)
def corollary_1() -> Iterator[Step | Printed]:
    energy = total(γ[k] * BOLTZMANN / z * sp.log(s[k]), k)
    spread = total(γ[k] * s[k] / z * sp.log(s[k]), k)
    check = given((E, spread))
    result = Step(_at_minus_one(energy), E, "eq. 5.8", check)
    yield Step(_at_minus_one(energy), spread, "Theorem 2, at β = −1", given())
    yield Step(spread, E, "definition 3, in nats", check)
    yield result
    yield Printed(result)


Z = (z, g * (ω**D - 1) / (ω - 1))
EQUATION_5_12 = (D * ω ** (D - 1) / (ω**D - 1) - 1 / (ω - 1)) * ω * sp.log(ω)
MLP = ((E, EQUATION_5_12), Z)
H_OF_E = (H, sp.log(z) - E)
H_SUM = (H, -total(g * ω**j / z * sp.log(ω**j / z), j))
_count, _at = sp.Function("C"), sp.Symbol("j", integer=True, nonnegative=True)
_recursion = _count(_at + 1) - ω * _count(_at)  # a node is read by all ω nodes of the next layer
COUNTS = (C[j], sp.rsolve(_recursion, _count(_at), {_count(0): 1}).subs(_at, j))


@derived(
    "Equation 5.5",
    "The exponents in $z$ run from 0 to $D-1$, as eq. 5.9 has it: the last layer has one context.",
    place="eq. 5.5",
)
def equation_5_5() -> Iterator[Step | Printed | Correction]:
    d = sp.Symbol("d", integer=True, positive=True)
    p, exponents = ω**d / (ω * z), (d, 1, D)
    sums = (sp.Sum(g * term, exponents) for term in (ω**d, p * d * sp.log(ω), p * sp.log(p)))
    partition, energy, negative_entropy = sums
    yield Step(z, total(g * ω**j, j), "counted (Lemma 3)", given(Z))
    yield Printed(Step(z, partition, "eq. 5.5, with exponents 1 to D", given(Z)))
    yield Correction(
        r"The text at eq. 5.5 has $\lvert \mathcal{C}_{w_d} \rvert = \omega^d$ for "
        r"$d = 1 \ldots D$. That makes $z$ too large by the factor $\omega$ and "
        r"$\langle E \rangle$ by $\ln\omega$; probabilities and entropy stay."
    )
    yield Step(partition, ω * z, "exponents 1 to D", given(Z))
    yield Step(energy, E + sp.log(ω), "the same for the energy", given(*MLP))
    yield Step(ω ** (j + 1) / partition, C[j] / z, "probabilities stay", given(Z, COUNTS))
    yield Step(-negative_entropy, H, "and with them the entropy", given(H_SUM, Z))


@derived(
    "Lemma 3",
    r"Width $\omega$, depth $D$, $g$ parameters a layer: $N_C = g(\omega^D-1)/(\omega-1) "
    r"= z$ (eq. 5.9–5.11); $j$ counts layers from the output.",
    place="eq. 5.9",
)
def lemma_3() -> Iterator[Step | Printed]:
    layers, probability = total(g * ω**j, j), ω**j * (ω - 1) / ((ω**D - 1) * g)
    check = given((z, layers), COUNTS)
    contexts = Step(z, Z[1], "a geometric sum (eq. 5.9)", check)
    each = Step(C[j] / z, probability, "eq. 5.10 and 5.11", given(Z, COUNTS))
    yield Step(C[j], ω**j, "solves C(j+1) = ω C(j), C(0) = 1", check)
    yield Step(z, layers, "all contexts, layer by layer", check)
    yield contexts
    yield each
    yield Step(sp.log(z), closed.log_contexts.expression, "without overflow", given(Z))
    yield Printed(contexts, each)


@derived(
    "Theorem 3",
    r"$\langle E \rangle = (D\omega^{D-1}/(\omega^D-1) - "
    r"1/(\omega-1)) \omega \ln\omega$ (eq. 5.12), whatever $g$ is.",
    place="eq. 5.12",
)
def theorem_3() -> Iterator[Step | Printed]:
    first = sp.Sum(g * ω ** (j - 1) / z * sp.log(ω ** (j - 1)), (j, 1, D))
    inner = sp.Sum((j - 1) * ω ** (j - 2), (j, 1, D))
    factored = (ω - 1) / (ω**D - 1) * ω * sp.log(ω) * inner
    derivative = sp.Derivative((ω**D - 1) / (ω - 1), ω)
    slope = (1 - ω**D) / (ω - 1) ** 2 + D * ω ** (D - 1) / (ω - 1)
    energy = (E, total(g * ω**j / z * j * sp.log(ω), j))
    result = Step(E, EQUATION_5_12, "eq. 5.12", given((E, first), Z))
    yield Step(E, first, "Lemma 3 in eq. 5.8", given(energy, Z))
    yield Step(first, factored, "eq. 5.13, its factor ω included", given(Z))
    yield Step(inner, derivative, "eq. 5.14: the derivative of a geometric sum", given(Z))
    yield Step(derivative, slope, "the quotient rule", given(Z))
    yield result
    yield Step(EQUATION_5_12, closed.expected_energy.expression, "without overflow", given(Z))
    yield Printed(result)


@derived(
    "Theorem 4",
    r"For $D \to \infty$ at constant $\omega > 1$, $\langle E \rangle \to "
    r"(D - \omega/(\omega-1)) \ln\omega$.",
    place="eq. 5.15",
)
def theorem_4() -> Iterator[Step | Printed | Correction]:
    printed, limit = (D - 1) * sp.log(ω), closed.expected_energy_limit.expression
    term, grown = D * ω ** (D - 1) / (ω**D - 1), (D / ω - 1 / (ω - 1)) * ω * sp.log(ω)
    deep = given(*MLP, variable=D, grid=DEEP)
    yield Step(term, D / ω, "the term that holds D", deep)
    yield Step(E, grown, "put into eq. 5.12", deep)
    yield Step(grown, limit, "multiplied out", given())
    yield Step(E, limit, "Theorem 4, corrected", deep)
    yield Printed(Step(E, printed, "Theorem 4", deep))
    yield Correction(
        r"The thesis has $(D-1)\ln\omega$. Eq. 5.15 puts $1/\omega$ for $1/(\omega-1)$, "
        r"which holds for $\omega \to \infty$ and not for $D \to \infty$; the gap grows "
        r"with depth from 0 at $D = 1$ to $\ln\omega/(\omega-1)$ (0.693 nats at "
        r"$\omega = 2$, 0.047 at 100). The ratio of the two does go to 1, but Theorem 5 puts the "
        "one for the other in a difference."
    )
    gap, wide = sp.log(ω) / (ω - 1), given(variable=ω, grid=WIDE, tolerance=1e-3)
    at_any_depth = (1 / (ω - 1) - D / (ω**D - 1)) * sp.log(ω)
    yield Step((1 / (ω - 1) - 1 / ω) * ω * sp.log(ω), gap, "what eq. 5.15's step adds", given())
    ratio = (1 / (ω - 1)) / (1 / ω)
    yield Step(ratio, sp.S.One, "that step is right for wide networks", wide)
    yield Step(printed - E, at_any_depth, "printed less counted, at any depth", given(*MLP))
    yield Step(printed - E, gap, "and what that grows to", deep)
    near = given(*MLP, variable=D, grid=DEEP, tolerance=0.02)
    yield Step(E / printed, sp.S.One, "the ratio has that limit", near)


@derived(
    "Corollary 2",
    r"$H = \ln z + \beta\langle E \rangle$ (eq. 5.16) at any $\beta$, and at $\beta = -1$ "
    "for perceptrons eq. 5.17.",
    place="eq. 5.16",
)
def corollary_2() -> Iterator[Step | Printed]:
    p = BOLTZMANN / z_β
    entropy, energy = -total(γ[k] * p * sp.log(p), k), total(γ[k] * p * sp.log(s[k]), k)
    result = sp.log(g * (ω**D - 1) / (ω - 1)) - EQUATION_5_12
    add_up = "eq. 5.16, at any β: the p add up to one"
    identity = Step(entropy, sp.log(z_β) + β * energy, add_up, given(Z_BETA))
    of_perceptrons = Step(H, result, "eq. 5.17", given(H_SUM, Z))
    yield identity
    yield Step(*H_OF_E, "at β = −1", given(H_SUM, *MLP))
    yield of_perceptrons
    yield Step(result, closed.entropy.expression, "without overflow", given())
    yield Printed(identity, of_perceptrons)


@derived(
    "Theorem 5",
    r"For $D \to \infty$ at constant $\omega > 1$, $H \to \ln g - \ln(\omega-1) + "
    r"(\omega/(\omega-1)) \ln\omega$.",
    place="eq. 5.18",
)
def theorem_5() -> Iterator[Step | Printed | Correction]:
    limit, printed = closed.entropy_limit.expression, closed.printed_entropy_limit.expression
    deep = given(H_OF_E, *MLP, variable=D, grid=DEEP)
    with_energy = (
        sp.log(g) + D * sp.log(ω) - sp.log(ω - 1) - closed.expected_energy_limit.expression
    )
    with_bias = sp.log(ω + 1) - sp.log(ω - 1) + (1 + ω / (ω - 1)) * sp.log(ω)
    biased = given((g, ω * (ω + 1)), grid=tuple(point for point in DEEP if point[2]))
    yield Step(sp.log(ω**D - 1), D * sp.log(ω), "as before eq. 5.18; holds", deep)
    yield Step(H, with_energy, "with Theorem 4, corrected", deep)
    yield Step(H, limit, "Theorem 5, corrected", deep)
    yield Step(limit, with_bias, "with bias, g = ω(ω + 1)", biased)
    yield Printed(Step(H, printed, "Theorem 5 (eq. 5.18)", deep))
    yield Correction(
        r"The thesis has $\ln g + \ln\omega - \ln(\omega-1)$ (eq. 5.18), which takes over "
        r"the gap of Theorem 4. What it needs is $\omega^{-D} \to 0$ and, for the energy, "
        r"$D\omega^{-D} \to 0$, not $D \gg \omega$; and at $\omega = 1$ nothing converges, "
        r"$H = \ln(gD)$."
    )
    dropped = sp.log(1 - ω ** (-D)) - D * ω ** (-D) * sp.log(ω) / (1 - ω ** (-D))
    chain = given((H, closed.entropy.expression), variable=ω, to=sp.S.One, grid=CHAINS)
    yield Step(H - printed, sp.log(ω) / (ω - 1), "counted less printed", deep)
    yield Step(H - limit, dropped, "what the limit drops, at any depth", given(H_OF_E, *MLP))
    yield Step(H, sp.log(g * D), "width 1: a chain, where all counts are one", chain)


# Estimates of P′_G --------------------------------------------------------------------------------

SIZE = N_I / (N_I + N_O + g * D)
NATS = (P, sp.log(g * D * (E + 1) * SIZE))
BITS = (P_bits, sp.log(g * D * (E / sp.log(2) + 1) * SIZE) / sp.log(2))
SQUARE = ((N_I, ω), (N_O, ω))


@derived(
    "Equation 5.19",
    r"Eq. 4.8 with $N_G = gD$: $P'_G = \ln(gD(\langle E \rangle + 1) "
    r"N_I/(N_I + N_O + gD))$, and $N_I = N_O = \omega$ in the text.",
    place="eq. 5.19",
)
def equation_5_19() -> Iterator[Step | Printed | Correction]:
    as_text = sp.log(g * D * (E + 1) * ω / (2 * ω + g * D))
    yield Step(*NATS, "eq. 4.8 in nats", given(NATS))
    yield Step(P, as_text, "N_I = N_O = ω", given(NATS, *SQUARE))
    yield Step(P, closed.performance.expression, "with Theorem 3", given(NATS, *MLP))
    moved = sp.log((g * D * E + 1) * ω / (2 * ω + g * D))
    yield Printed(Step(P, moved, "eq. 5.19", given(NATS, *SQUARE)))
    yield Correction(
        r"The thesis has $gD\langle E \rangle + 1$ for $gD(\langle E \rangle + 1)$: a "
        "parenthesis moved, and $gD - 1$ lost. Chapter 5's tables take $N_O = 1$. Nor is "
        r"$\ln$ for $\log_2$ a mere factor here (footnote 3): the 1 that is added is a bit "
        "in eq. 4.8 and a nat in eq. 5.19."
    )
    gap, lost = sp.exp(P) - (g * D * E + 1) * SIZE, (g * D - 1) * SIZE
    units, ratio = P - P_bits * sp.log(2), sp.log((E + 1) / (E / sp.log(2) + 1))
    yield Step(gap, lost, "inside the logarithm, counted less printed", given(NATS))
    yield Step(units, ratio, "nats less bits, in nats", given(NATS, BITS))


@derived(
    "Equation 5.20",
    r"$P'_G \to \ln D + \ln\omega + \ln\ln\omega$ for $D \to \infty$ at constant "
    r"$\omega > 1$: right, with an error that falls as $1/D$.",
    place="eq. 5.20",
)
def equation_5_20() -> Iterator[Step | Printed | Correction]:
    grown = closed.performance_limit.expression
    deep = given(NATS, *SQUARE, *MLP, variable=D, grid=DEEP, tolerance=0.01)
    deepest = DEEP[2::4] + DEEP[3::4]
    bits = given(NATS, BITS, *MLP, variable=D, grid=deepest, tolerance=0.01)
    dropped, lack = 1 / sp.log(ω) - ω / (ω - 1) - 2 * ω / g, -sp.log(sp.log(2)) / sp.log(2)
    middle = sp.log((g * D * (D - 1) * sp.log(ω) + 1) * ω / (2 * ω + g * D))
    limit = Step(P, grown, "the limit, in which two slips vanish", deep)
    of_middle = Step(middle, grown, "the printed middle, same limit", deep)
    yield limit
    yield Step(D * (P - grown), dropped, "what it drops, times D", deep)
    yield Step(P_bits - P / sp.log(2), lack, "in bits, as eq. 4.8 has it, 0.53 more", bits)
    to_order = Step(D * (P - middle), sp.S.Zero, "its middle, to the order of 1/D", deep)
    yield Printed(limit, to_order)
    yield Correction(
        r"The middle of eq. 5.20 should have $gD((D - \omega/(\omega-1))\ln\omega + 1)$: it "
        "inherits eq. 5.19's parenthesis and Theorem 4's limit. Its last form holds: both have the "
        r"same limit, and another $1/D$ term. At $\omega = 1$ eq. 5.20 is $-\infty$; in truth "
        r"$P'_G \to 0$."
    )
    one = sp.S.One
    ones = given(NATS, (ω, one), (N_I, one), (N_O, one), (E, sp.S.Zero), grid=CHAINS)
    chain, deep_chains = g * D / (2 + g * D), given(variable=D, grid=DEEP_CHAINS, tolerance=0.01)
    yield of_middle
    yield Step(D * (middle - grown), -1 - 2 * ω / g, "its error, times D", deep)
    yield Step(sp.exp(P), chain, "at ω = 1, where ⟨E⟩ = 0", ones)
    yield Step(chain, one, "so P′ → ln 1 = 0", deep_chains)


def _scaled(expression: sp.Expr) -> sp.Subs:
    return sp.Subs(expression, β, sp.log(ω) / a)


@derived(
    "§5.4.1",
    r"The prior $E_j = j$, $\beta = \ln\omega$, $T = 1/\ln\omega$: each bullet as a sum "
    "over counted graphs, then closed.",
    place="§5.4.1",
)
def section_5_4_1() -> Iterator[Step | Printed | Correction]:
    z_sum = (z_h, total(g * ω ** (-j), j))
    z_closed = (z_h, g * (1 - ω ** (-D)) / (1 - 1 / ω))
    e_sum = (E_h, total(j * ω ** (-j) * g / z_h, j))
    e_closed = (E_h, closed.hypothetical_expected_energy.expression)
    h_sum = (H_h, -total(g * ω ** (-j) / z_h * sp.log(ω ** (-j) / z_h), j))
    h_closed = (H_h, sp.log(z_h) + sp.log(ω) * E_h)
    deep, mirrored = given(e_closed, variable=D, grid=DEEP), D - 1 - E / sp.log(ω)
    mirror = given(h_closed, e_closed, z_closed, H_OF_E, *MLP)
    yield Step(sp.exp(-j * sp.log(ω)), ω ** (-j), "β = ln ω and E = j", given())
    sums = Step(*z_sum, "partition function", given(z_sum))
    energies = Step(*e_sum, "expected energy", given(e_sum))
    entropies = Step(*h_closed, "entropy", given(h_sum, e_closed, z_closed))
    yield sums
    yield Step(*z_closed, "closed", given(z_sum))
    yield energies
    yield Step(*e_closed, "closed", given(e_sum, z_closed))
    yield entropies
    yield Step(E_h, 1 / (ω - 1), "so depth no longer matters", deep)
    yield Step(H_h, H, "the mirror of the reusability prior: the same entropy", mirror)
    yield Step(E_h, mirrored, "and the mirrored energy", given(e_closed, *MLP))
    size = ω / (2 * ω + g * D)
    estimate, scaled = (g * D * (times * E_h + 1) * size for times in (1, a))
    bullet = sp.log(g * D * E_h + 1) * size
    performance = Step(sp.log(estimate), bullet, "eq. 4.8, and the bullet for it", given())
    yield Printed(sums, energies, entropies, performance)
    yield Correction(
        "The performance bullet repeats eq. 5.19's parenthesis, and its logarithm closes "
        r"before the factor $\omega/(2\omega+gD)$. The sums are right. $\beta$ is not "
        r"determined by $p$: $E_j = aj$ with $\beta = \ln\omega/a$ has the same $z$, $p$ "
        r"and $H$, while $\langle E \rangle$ scales with $a$, and so the estimate changes. "
        r"And at $\beta > 0$ probabilities fall exponentially with energy, not inversely."
    )
    weight = _scaled(sp.exp(-β * a * j))
    gap, lost = estimate - (g * D * E_h + 1) * size, (g * D - 1) * size
    ratio, energy = sp.log((a * E_h + 1) / (E_h + 1)), total(a * j * ω ** (-j) * g / z_h, j)
    entropy = _scaled(sp.log(z_h) + β * a * E_h)
    yield Step(gap, lost, "inside the logarithm, right less printed", given())
    yield Step(total(g * weight, j), z_h, "E = aj: the same z", given(z_closed))
    yield Step(weight / z_h, ω ** (-j) / z_h, "so the same p", given())
    yield Step(energy, a * E_h, "a times the energy", given(e_sum))
    yield Step(entropy, H_h, "the same entropy", given(h_sum, e_closed, z_closed))
    yield Step(sp.log(scaled) - sp.log(estimate), ratio, "and another estimate", given())


# All of them --------------------------------------------------------------------------------------

DERIVATIONS = Derivations((
    lemma_1, theorem_1, lemma_2, theorem_2,
    corollary_1, equation_5_5, lemma_3, theorem_3,
    theorem_4, corollary_2, theorem_5,
    equation_5_19, equation_5_20, section_5_4_1,
))  # fmt: skip


WHERE = "thesis, theorems of chapters 4 and 5"
"""Lemmas, theorems, corollaries and equations."""

PARTS = {WHERE: partial(cells.of_theorems, DERIVATIONS, "thesis-5", WHERE, statement=True)}


all_derivations = DERIVATIONS.all
derivation = DERIVATIONS.one
summary = DERIVATIONS.summary
