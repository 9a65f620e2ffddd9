"""The performance estimate in closed form, and §5.4.1's other prior."""

from collections.abc import Iterator

import sympy as sp

from reuseprior.chapters.thesis.derivations.perceptrons import H_OF_E, MLP
from reuseprior.chapters.thesis.derivations.symbols import E, E_h, H, H_h, P, P_bits, a, z_h, β
from reuseprior.chapters.thesis.derivations.theory import CHAINS, DEEP, DEEP_CHAINS, given, total
from reuseprior.measures import closed_forms as closed
from reuseprior.measures.closed_forms import N_I, N_O, D, g, j, ω
from reuseprior.proofs import Correction, Printed, Step, derived

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
