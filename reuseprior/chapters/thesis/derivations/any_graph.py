"""Chapter 4's Lemma 1 and Theorem 1, and what of chapter 5 holds for the scores of any graph."""

from collections.abc import Iterator

import sympy as sp

from reuseprior.chapters.thesis.derivations.symbols import E, H, c, i, k, s, z, z_β, β, γ
from reuseprior.chapters.thesis.derivations.theory import SMALL, given, total
from reuseprior.proofs import Printed, Step, derived


@derived(
    "Lemma 1",
    "The divergence of $p_i = c_i/z$, $z = N_C$, from $1/N_C$ is the expected spread.",
    place="§4.4.4.1",
)
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
