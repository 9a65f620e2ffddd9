"""What chapter 5 derives for perceptrons of constant width: counts, energy, entropy, limits."""

from collections.abc import Iterator

import sympy as sp

from reuseprior.chapters.thesis.derivations.any_graph import BOLTZMANN, Z_BETA
from reuseprior.chapters.thesis.derivations.symbols import C, E, H, k, s, z, z_β, β, γ
from reuseprior.chapters.thesis.derivations.theory import CHAINS, DEEP, WIDE, given, total
from reuseprior.measures import closed_forms as closed
from reuseprior.measures.closed_forms import D, g, j, ω
from reuseprior.proofs import Correction, Printed, Step, derived

# Definitions that a proof may put in
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
