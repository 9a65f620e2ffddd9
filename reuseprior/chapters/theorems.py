"""What chapter 5 derives for perceptrons of constant width: counts, energy, entropy, limits."""

from collections.abc import Iterator
from functools import cache, partial
from itertools import product

import sympy as sp
from sympy import multiplicity

from reuseprior.chapters import closed_forms as closed
from reuseprior.chapters.closed_forms import N_I, N_O, D, g, j, ω
from reuseprior.proofs import Blueprint, Chain, Correction, Note, Theory, define, derived, to
from reuseprior.proofs.theory import Numbers
from reuseprior.report import cells

z, E, H = sp.symbols("z E H", positive=True)  # N_C, ⟨ln |C|⟩, entropy
P = sp.Symbol("P", positive=True)  # P′_G in nats: counting has it in bits
P_bits = sp.Symbol("P_bits", positive=True)  # P′_G as equation 4.8 has it
C = sp.IndexedBase("C", positive=True)  # C_j: contexts of a parameter j layers from the output
z_h, E_h, H_h = sp.symbols("z_h E_h H_h", positive=True)  # §5.4.1's prior on the same graphs
i, k, r = sp.symbols("i k r", integer=True, positive=True)  # a parameter, a level, a reader
n, m = sp.symbols("n m", integer=True, positive=True)  # how many there are
c = sp.IndexedBase("c", positive=True)  # c_i: contexts of parameter i
s = sp.IndexedBase("s", positive=True)  # s_k: score |C'| of level k
γ = sp.IndexedBase("G", positive=True)  # G_k: parameters of level k
length = sp.IndexedBase("length", nonnegative=True)  # layers after a level, read from its count
β = sp.Symbol("beta", real=True)
z_β, a = sp.symbols("z_beta a", positive=True)  # Σ G_k e^(−β E_k) at any β; a factor of §5.4.1

INDICES = {i: (1, n), k: (1, m), j: (0, D - 1)}
LATEX = {
    E: r"\langle E \rangle", P: "P'_G", P_bits: r"P'_{G,\mathrm{bits}}", E_h: r"\langle E \rangle_h"
}  # fmt: skip


def _total(term: sp.Expr, index: sp.Symbol) -> sp.Sum:
    return sp.Sum(term, (index, *INDICES[index]))


def _entropy(p: sp.Expr, times: sp.Expr, index: sp.Symbol) -> sp.Expr:
    return -_total(times * p * sp.log(p), index)


@cache
def graph(width: int, depth: int, bias: bool) -> Numbers:
    """What a counted perceptron says: whole numbers, and the counter's floats for what is made."""
    from reuseprior.contexts import count_contexts
    from reuseprior.models import MLP, without_weights

    with without_weights():
        model = MLP(width, depth, bias=bias)
    counted = count_contexts(model, (1, width), exact=True)
    q, nats = counted.quantities(), float(sp.log(2))
    levels = [int(p.counts.flat[0]) for p in counted.parameter_counts]
    times = [p.parameters for p in counted.parameter_counts]
    each = [x for x, t in zip(levels, times, strict=True) for _ in range(t)]
    return {
        ω: width, D: depth, g: q.parameters // depth, N_I: q.input_nodes, N_O: q.output_nodes,
        z: sum(each), n: q.parameters, c: [None, *each],
        m: len(levels), s: [None, *levels], γ: [None, *times], C: levels[:: 1 + bias][::-1],
        # of a width of one every count is one, and no length can be read from it
        length: [None, *(multiplicity(width, x) for x in levels if width > 1)],
        E: q.expected_spread * nats, H: q.entropy * nats, P_bits: q.P_G_spread,
    }  # fmt: skip


SIZE = N_I / (N_I + N_O + g * D)
EQUATION_4_8 = sp.log(g * D * (E + 1) * SIZE)
IN_BITS = sp.log(g * D * (E / sp.log(2) + 1) * SIZE) / sp.log(2)
FAR = ω ** -length[k]
MADE = {
    E: _total(γ[k] * s[k] / z * sp.log(s[k]), k), H: _entropy(s[k] / z, γ[k], k),
    P: EQUATION_4_8, P_bits: IN_BITS, z_β: _total(γ[k] * s[k] ** (-β), k),
    z_h: _total(γ[k] * FAR, k), E_h: _total(γ[k] * FAR * length[k], k) / z_h,
    H_h: _entropy(FAR / z_h, γ[k], k),
}  # fmt: skip

# Where statements are tried; the first is worked out beside them
GRID = (*product((2, 3, 10), (2, 1, 5, 40), (False, True)), (2, 300, False), (10, 300, True))
SMALL = tuple(product((2, 3, 5), (2, 1, 5), (False, True)))  # where each parameter is a term
CHAINS = tuple(product((1,), (2, 1, 5, 300), (False, True)))  # ω = 1

PERCEPTRONS = Theory(
    things="counted graphs",
    read=graph,
    grid=GRID,
    made=MADE,
    indices=INDICES,
    free_parameters={
        β: (sp.S(-1), sp.Rational(-1, 2), sp.S.Zero, sp.Rational(7, 10), sp.S(2)),
        a: (sp.S(3), sp.Rational(1, 2)),
    },
    # ω = 1 + t with t > 0 says which way powers of ω go; ω = 1 has forms of its own
    ranges={ω: 1 + sp.Symbol("t", positive=True)},
    latex=LATEX,
    told=lambda width, depth, bias: f"ω = {width}, D = {depth}" + (", with bias" if bias else ""),
)


def chain(left: sp.Expr, *steps, grid: tuple = ()) -> Chain:
    return Chain(PERCEPTRONS, left, steps, grid)


define = partial(define, PERCEPTRONS)

# What symbols stand for ---------------------------------------------------------------------------

PARAMETERS = define(
    "By parameter", "definitions 3 and 4, over all parameters",
    (z, _total(c[i], i)), (E, _total(c[i] / z * sp.log(c[i]), i)), (H, _entropy(c[i] / z, 1, i)),
    grid=SMALL,
)  # fmt: skip
LEVELS = define(
    "By level", "the same, and eq. 5.4, over levels of equal score",
    (z, _total(γ[k] * s[k], k)), (E, MADE[E]), (z_β, MADE[z_β]),
)  # fmt: skip
LAYERS = define(
    "By layer", "the same over layers of g parameters, counted from the output",
    (z, _total(g * C[j], j)), (E, _total(g * C[j] / z * sp.log(C[j]), j)),
    (H, _entropy(C[j] / z, g, j)),
)  # fmt: skip
READERS = define(
    "Readers", "each node is read by all ω nodes of each layer after it",
    (C[j], sp.Product(ω, (r, 1, j))),
)  # fmt: skip
ESTIMATE = define(
    "Equation 4.8", "the performance estimate, in nats and in bits",
    (P, EQUATION_4_8), (P_bits, IN_BITS),
)  # fmt: skip
MIRROR = define(
    "Prior of §5.4.1", "its first bullets: E_j = j at β = ln ω, as sums over layers",
    (z_h, _total(g * ω ** (-j), j)), (E_h, _total(j * ω ** (-j) * g / z_h, j)),
    (H_h, _entropy(ω ** (-j) / z_h, g, j)),
)  # fmt: skip
SQUARE = define("Square", "N_I = N_O = ω", (N_I, ω), (N_O, ω))
BIASED = define(
    "With bias", "g = ω(ω + 1)", (g, ω * (ω + 1)), grid=tuple(point for point in GRID if point[2])
)
ONE = define("Width 1", "ω = 1, a chain", (ω, sp.S.One), grid=CHAINS)

# Chapter 4's two theorems, and chapter 5's of any graph -------------------------------------------

Chains = Iterator[Chain | Note | list[Chain]]


@derived("Lemma 1", "expected spread as a divergence from equal shares (§4.4.4.1)")
def lemma_1() -> Chains:
    p = c[i] / z
    divergence = _total(p * (sp.log(p) - sp.log(1 / z)), i)
    spread = to(_total(p * sp.log(c[i]), i), "z cancels in each term")
    yield chain(divergence, spread, to(E, "definition 3", PARAMETERS[E]))


@derived("Theorem 1", "at constant $z = N_C$ entropy falls as the spread rises (eq. 4.6)")
def theorem_1() -> Chains:
    p = c[i] / z
    spread, entropy = _total(p * sp.log(c[i]), i), -_total(p * sp.log(p), i)
    yield chain(
        H + E,
        to(entropy + spread, "definitions 3 and 4", PARAMETERS[H], PARAMETERS[E]),
        to(_total(p * sp.log(z), i), "term by term"),
        to(sp.log(z), "the counts add up to z", PARAMETERS[z]),
    )
    yield chain(sp.Derivative(sp.log(z) - E, E), to(sp.S(-1), "at constant z"))
    yield chain(
        H,
        to(entropy, "definition 4", PARAMETERS[H]),
        to(sp.log(z) - spread, "term by term", PARAMETERS[z]),
        to(sp.log(z) - E, "definition 3", PARAMETERS[E]),
    )


WEIGHT = s[k] ** (-β)  # Boltzmann's factor of E_k = ln s_k


def _at_minus_one(expression: sp.Expr) -> sp.Subs:
    return sp.Subs(expression, β, -1)


@derived("Lemma 2", "with $E_k = \\ln s_k$ the partition function counts all contexts (eq. 5.4)")
def lemma_2() -> Chains:
    yield chain(
        _at_minus_one(_total(γ[k] * WEIGHT, k)),
        to(_total(γ[k] * s[k], k), "eq. 5.4 at β = −1"),
        to(z, "the count of all contexts", LEVELS[z]),
    )


@derived("Theorem 2", "relative frequencies are Boltzmann's distribution (eq. 5.7)")
def theorem_2() -> Chains:
    partition = _at_minus_one(_total(γ[k] * WEIGHT, k))
    weight = to(_at_minus_one(WEIGHT) / partition, "at β = −1", lemma_2[partition])
    yield chain(s[k] / z, weight)
    add_up = to(sp.S.One, "they add up to one, at any β", LEVELS[z_β])
    yield chain(_total(γ[k] * WEIGHT / z_β, k), add_up)


@derived("Corollary 1", "expected spread with $\\ln$ is expected energy (eq. 5.8)")
def corollary_1() -> Chains:
    spread = _total(γ[k] * s[k] / z * sp.log(s[k]), k)
    yield chain(
        _at_minus_one(_total(γ[k] * WEIGHT / z * sp.log(s[k]), k)),
        to(spread, "at β = −1"),
        to(E, "definition 3, in nats", LEVELS[E]),
    )


# Perceptrons of constant width --------------------------------------------------------------------

EQUATION_5_12 = (D * ω ** (D - 1) / (ω**D - 1) - 1 / (ω - 1)) * ω * sp.log(ω)
LIMIT = closed.expected_energy_limit.expression
deep, wide = {"variable": D}, {"variable": ω}


@derived("Lemma 3", "all contexts, and the share of a parameter (eq. 5.9)")
def lemma_3() -> Chains:
    each = chain(
        C[j], to(READERS[C[j]].right, "ω readers a layer", *READERS), to(ω**j, "j factors")
    )
    contexts = chain(
        z,
        to(_total(g * C[j], j), "layer by layer", LAYERS[z]),
        to(_total(g * ω**j, j), "each with its count", each),
        to(g * (ω**D - 1) / (ω - 1), "a geometric sum (eq. 5.9)"),
    )
    share = ω**j * (ω - 1) / ((ω**D - 1) * g)
    yield from (each, contexts)
    yield chain(C[j] / z, to(share, "eq. 5.10 and 5.11", each, contexts))
    yield Note("And without overflow:")
    yield chain(sp.log(z), to(closed.log_contexts.expression, "ω^D taken out", contexts))


@derived("Equation 5.5", "all contexts by the exponents of ω (eq. 5.5)")
def equation_5_5() -> Chains:
    d = sp.Symbol("d", integer=True, positive=True)
    p, exponents = ω**d / (ω * z), (d, 1, D)
    sums = (sp.Sum(g * term, exponents) for term in (ω**d, p * d * sp.log(ω), p * sp.log(p)))
    partition, energy, negative_entropy = sums
    counts, contexts = lemma_3[C[j]], lemma_3[z]
    yield chain(z, to(_total(g * ω**j, j), "exponents 0 to D − 1, as eq. 5.9 has it", contexts))
    yield [chain(z, to(partition, "exponents 1 to D", contexts))]
    yield Correction(
        "The text at eq. 5.5 counts {} contexts for d = 1 to D. That makes z too large by the "
        "factor ω and the energy by {}; probabilities and entropy stay.",
        ω**d, sp.log(ω),
    )  # fmt: skip
    yield chain(partition, to(ω * z, "exponents 1 to D", contexts))
    yield chain(energy, to(E + sp.log(ω), "the energy with them", LAYERS[E], counts, contexts))
    yield chain(ω ** (j + 1) / partition, to(C[j] / z, "probabilities stay", counts, contexts))
    yield chain(-negative_entropy, to(H, "and the entropy", LAYERS[H], counts))


@derived("Theorem 3", "the expected energy, whatever $g$ is (eq. 5.12)")
def theorem_3() -> Chains:
    first = sp.Sum(g * ω ** (j - 1) / z * sp.log(ω ** (j - 1)), (j, 1, D))
    inner = sp.Sum((j - 1) * ω ** (j - 2), (j, 1, D))
    outside = (ω - 1) / (ω**D - 1) * ω * sp.log(ω)
    derivative = sp.Derivative((ω**D - 1) / (ω - 1), ω)
    slope = (1 - ω**D) / (ω - 1) ** 2 + D * ω ** (D - 1) / (ω - 1)
    result = chain(
        E,
        to(_total(g * C[j] / z * sp.log(C[j]), j), "eq. 5.8, layer by layer", LAYERS[E]),
        to(first, "with Lemma 3, layers from 1 on", lemma_3[C[j]]),
        to(outside * inner, "eq. 5.13, its factor ω included", lemma_3[z]),
        to(outside * derivative, "eq. 5.14: the derivative of a geometric sum"),
        to(outside * slope, "the quotient rule"),
        to(EQUATION_5_12, "multiplied out"),
    )
    yield result
    yield Note("And without overflow:")
    yield chain(E, to(closed.expected_energy.expression, "ω^D taken out", result))


@derived("Theorem 4", "the expected energy of deep networks at constant $\\omega > 1$ (eq. 5.15)")
def theorem_4() -> Chains:
    printed, energy = (D - 1) * sp.log(ω), theorem_3[E]
    gap, rest = sp.log(ω) / (ω - 1), D * sp.log(ω) / (ω**D - 1)
    vanishing = D * ω ** (-D) * sp.log(ω)
    yield chain(
        E,
        to(EQUATION_5_12, "Theorem 3", energy),
        to(LIMIT + rest, "multiplied out"),
        to(LIMIT, "what is left vanishes", relation="→", rate=vanishing, **deep),
    )
    yield [chain(E, to(printed, "as a difference", energy, relation="→", **deep))]
    yield Correction(
        "The thesis has {}, which is right as a ratio and too large by {} as a difference (0.693 "
        "nats at ω = 2, 0.047 at 100). Its proof writes ≈; but eq. 5.15 puts {} for {}, which is "
        "right for wide networks and not for deep ones, and Theorem 5 puts the one for the other "
        "in a difference.",
        printed, gap, 1 / ω, 1 / (ω - 1),
    )  # fmt: skip
    yield chain(E, to(printed, "the ratio goes to 1", energy, relation="~", **deep))
    yield chain(1 / (ω - 1), to(1 / ω, "for wide networks", relation="~", **wide))
    yield chain((1 / (ω - 1) - 1 / ω) * ω * sp.log(ω), to(gap, "what eq. 5.15's step adds"))
    yield chain(
        printed - E,
        to(gap - rest, "printed less counted, at any depth", energy),
        to(gap, "and what that grows to", relation="→", rate=-vanishing, **deep),
    )


@derived("Corollary 2", "entropy from energy, at any $\\beta$ and of perceptrons (eq. 5.16)")
def corollary_2() -> Chains:
    p = WEIGHT / z_β
    entropy, energy = -_total(γ[k] * p * sp.log(p), k), _total(γ[k] * p * sp.log(s[k]), k)
    result = sp.log(g * (ω**D - 1) / (ω - 1)) - EQUATION_5_12
    add_up = to(sp.log(z_β) + β * energy, "eq. 5.16: the p add up to one", LEVELS[z_β])
    of_perceptrons = chain(
        H,
        to(sp.log(z) - E, "at β = −1 it is Theorem 1", theorem_1[H]),
        to(result, "eq. 5.17", lemma_3[z], theorem_3[E]),
    )
    yield chain(entropy, add_up)
    yield of_perceptrons
    yield Note("And without overflow:")
    yield chain(H, to(closed.entropy.expression, "ω^D taken out", of_perceptrons))


@derived("Theorem 5", "the entropy of deep networks at constant $\\omega > 1$ (eq. 5.18)")
def theorem_5() -> Chains:
    limit, printed = closed.entropy_limit.expression, closed.printed_entropy_limit.expression
    entropy, gap = corollary_2[H], sp.log(ω) / (ω - 1)
    with_bias = sp.log(ω + 1) - sp.log(ω - 1) + (1 + ω / (ω - 1)) * sp.log(ω)
    dropped = sp.log(1 - ω ** (-D)) - D * sp.log(ω) / (ω**D - 1)
    rate = {"relation": "→", "rate": -D * ω ** (-D) * sp.log(ω), **deep}
    yield chain(
        H,
        to(entropy.right, "Corollary 2", entropy),
        to(limit + dropped, "multiplied out"),
        to(limit, "what is left vanishes", **rate),
    )
    yield [chain(H, to(printed, "as a difference", entropy, relation="→", **deep))]
    yield Correction(
        "The thesis has {}: it takes over the gap of Theorem 4. What it needs is that {} and, for "
        "the energy, {} vanish, not D ≫ ω; and at ω = 1 nothing converges.",
        printed, ω**-D, D * ω**-D,
    )  # fmt: skip
    yield chain(
        sp.log(ω**D - 1),
        to(D * sp.log(ω) + sp.log(1 - ω**-D), "one factor out"),
        to(D * sp.log(ω), "as before eq. 5.18", relation="→", rate=-(ω**-D), **deep),
    )
    yield chain(
        H - printed,
        to(gap + dropped, "counted less printed, at any depth", entropy),
        to(gap, "and what that grows to", **rate),
    )
    yield chain(limit, to(with_bias, "with bias", *BIASED))
    alike = LAYERS[H], lemma_3[C[j]], LAYERS[z], *ONE
    yield chain(H, to(sp.log(g * D), "width 1, where all counts are one", *alike))


# Estimates of P′_G --------------------------------------------------------------------------------


@derived("Equation 5.19", "eq. 4.8 with $N_G = gD$, and $N_I = N_O = \\omega$ (eq. 5.19)")
def equation_5_19() -> Chains:
    as_text = sp.log(g * D * (E + 1) * ω / (2 * ω + g * D))
    moved = sp.log((g * D * E + 1) * ω / (2 * ω + g * D))
    nats = ESTIMATE[P]
    yield chain(P, to(EQUATION_4_8, "eq. 4.8 in nats", nats), to(as_text, "in the text", *SQUARE))
    yield [chain(P, to(moved, "eq. 5.19", nats, *SQUARE))]
    yield Correction(
        "The thesis has {} for {}: a parenthesis moved, and {} lost. Chapter 5's tables take "
        "N_O = 1. Nor is ln for log2 a mere factor here (footnote 3): the 1 that is added is a bit "
        "in eq. 4.8 and a nat in eq. 5.19.",
        g * D * E + 1, g * D * (E + 1), g * D - 1,
    )  # fmt: skip
    lost, ratio = (g * D - 1) * SIZE, sp.log((E + 1) / (E / sp.log(2) + 1))
    yield chain(P, to(closed.performance.expression, "with Theorem 3", nats, theorem_3[E]))
    yield chain(sp.exp(P) - (g * D * E + 1) * SIZE, to(lost, "counted less printed", nats))
    yield chain(P - P_bits * sp.log(2), to(ratio, "nats less bits, in nats", *ESTIMATE))


@derived("Equation 5.20", "the estimate of deep networks at constant $\\omega > 1$ (eq. 5.20)")
def equation_5_20() -> Chains:
    grown, energy = closed.performance_limit.expression, theorem_3[E]
    dropped, lack = 1 / sp.log(ω) - ω / (ω - 1) - 2 * ω / g, -sp.log(sp.log(2)) / sp.log(2)
    middle = sp.log((g * D * (D - 1) * sp.log(ω) + 1) * ω / (2 * ω + g * D))
    estimate, limit = equation_5_19[P], {"relation": "→", **deep}
    yield chain(
        P,
        to(estimate.right, "eq. 5.19, corrected", estimate),
        to(grown, "with Theorem 3", energy, rate=dropped / D, **limit),
    )
    yield [
        chain(P, to(grown, "the last form", estimate, energy, **limit)),
        chain(D * (P - middle), to(sp.S.Zero, "the middle", estimate, energy, **limit)),
    ]
    yield Correction(
        "The middle of eq. 5.20 should have {}: it inherits eq. 5.19's parenthesis and Theorem 4's "
        "limit. Its last form holds: both have the same limit, and another 1/D term. At ω = 1 "
        "eq. 5.20 is −∞; in truth the estimate goes to 0.",
        g * D * (LIMIT + 1),
    )  # fmt: skip
    bits = {"rate": (sp.log(2) - 1) / (sp.log(2) * D * sp.log(ω)), **limit}
    yield chain(middle, to(grown, "its middle", rate=(-1 - 2 * ω / g) / D, **limit))
    more = P_bits - P / sp.log(2)
    yield chain(more, to(lack, "in bits 0.53 more", *ESTIMATE, energy, **bits))
    nothing = chain(E, to(sp.S.Zero, "at ω = 1 all counts are one", LAYERS[E], lemma_3[C[j]], *ONE))
    yield nothing
    yield chain(
        sp.exp(P),
        to(g * D / (2 + g * D), "so there", estimate, nothing, *ONE),
        to(sp.S.One, "and P goes to ln 1 = 0", rate=-2 / (g * D), **limit),
    )


def _scaled(expression: sp.Expr) -> sp.Subs:
    return sp.Subs(expression, β, sp.log(ω) / a)


@derived("§5.4.1", "another prior: $E_j = j$, $\\beta = \\ln\\omega$ (§5.4.1)")
def section_5_4_1() -> Chains:
    partition = chain(
        z_h,
        to(MIRROR[z_h].right, "the bullet", MIRROR[z_h]),
        to(g * (1 - ω ** (-D)) / (1 - 1 / ω), "closed"),
    )
    energy = chain(
        E_h,
        to(MIRROR[E_h].right, "the bullet", MIRROR[E_h]),
        to(closed.hypothetical_expected_energy.expression, "closed", partition),
    )
    entropy = chain(
        H_h,
        to(MIRROR[H_h].right, "the sum", MIRROR[H_h]),
        to(sp.log(z_h) + sp.log(ω) * E_h, "the bullet", partition, energy),
    )
    size = ω / (2 * ω + g * D)
    estimate, scaled = (g * D * (times * E_h + 1) * size for times in (1, a))
    bullet = chain(sp.log(estimate), to(sp.log(g * D * E_h + 1) * size, "the bullet"))
    yield from (partition, energy, entropy)
    sums = (chain(h, to(MIRROR[h].right, "the bullet", MIRROR[h])) for h in (z_h, E_h))
    yield [*sums, entropy, bullet]
    yield Correction(
        "The performance bullet repeats eq. 5.19's parenthesis, and its logarithm closes before "
        "the factor {}. The sums are right. β is not determined by p: energies {} with β = {} have "
        "the same z, p and H, while their mean scales with a, and so the estimate changes. And at "
        "β > 0 probabilities fall exponentially with energy, not inversely.",
        size, a * j, sp.log(ω) / a,
    )  # fmt: skip
    mirrored = to(H, "the mirror: the same entropy", entropy, energy, partition, corollary_2[H])
    yield chain(H_h, mirrored)
    yield chain(E_h, to(D - 1 - E / sp.log(ω), "the mirrored energy", energy, theorem_3[E]))
    rate = -D * ω**-D
    yield chain(
        E_h, to(1 / (ω - 1), "depth no longer matters", energy, relation="→", rate=rate, **deep)
    )
    weight, lost = _scaled(sp.exp(-β * a * j)), (g * D - 1) * size
    ratio = sp.log((a * E_h + 1) / (E_h + 1))
    yield chain(estimate - (g * D * E_h + 1) * size, to(lost, "right less printed"))
    yield chain(_total(g * weight, j), to(z_h, "E = aj: the same z", partition))
    yield chain(weight / z_h, to(ω ** (-j) / z_h, "so the same p"))
    sum_ = _total(a * j * ω ** (-j) * g / z_h, j)
    yield chain(sum_, to(a * E_h, "a times the energy", MIRROR[E_h]))
    same = to(H_h, "the same entropy", entropy)
    yield chain(_scaled(sp.log(z_h) + β * a * E_h), same)
    yield chain(sp.log(scaled) - sp.log(estimate), to(ratio, "and another estimate"))


# All of them --------------------------------------------------------------------------------------

DERIVATIONS = Blueprint((
    PARAMETERS, LEVELS, LAYERS, READERS, ESTIMATE, MIRROR, SQUARE, BIASED, ONE,
    lemma_1, theorem_1, lemma_2, theorem_2,
    corollary_1, lemma_3, equation_5_5, theorem_3,
    theorem_4, corollary_2, theorem_5,
    equation_5_19, equation_5_20, section_5_4_1,
), page="05-derivations")  # fmt: skip


WHERE = "thesis, theorems of chapters 4 and 5"
"""Lemmas, theorems, corollaries and equations."""

PARTS = {WHERE: partial(cells.of_theorems, DERIVATIONS, "thesis-5", WHERE, statement=True)}


derivation = DERIVATIONS.one
summary = DERIVATIONS.summary
