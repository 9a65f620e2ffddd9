"""Theorem 2 of NN-Mass, its bound and what is wrong with it, as derivations and as numbers."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import product
from math import e, log, pi, sqrt

import sympy as sp
from scipy.stats import entropy, poisson

from reuseprior.measures.nn_mass import Architecture, NNMassError
from reuseprior.proofs import Correction, Derivations, Printed, Step, Theory, derived
from reuseprior.proofs.theory import Numbers

a, b, c = sp.symbols("a b c", positive=True)  # sides of a triangle
x, y, z = sp.symbols("x y z", nonnegative=True)  # half of what two sides have above the third


def _triangle(first: float, second: float, third: float) -> Numbers:
    half = (first + second + third) / 2
    return {a: first, b: second, c: third, x: half - first, y: half - second, z: half - third}


TRIANGLES = Theory(
    things="triangles",
    settings="triples of a, b, c",
    read=_triangle,
    counted=frozenset({x, y, z}),
    grid=((3, 4, 5), (5, 4, 3), (1, 1, 1), (2, 3, 5), (5, 2, 3), (7, 7, 1), (1, 9, 9.5), (9, 1, 9)),
    indices={},
    told=lambda first, second, third: f"a = {first}, b = {second}, c = {third}",
)


@derived(
    "NN-Mass, Lemma 1",
    "Sides $a$, $b$ and $c$ of a triangle, or of a flat one: $\\sqrt a$ is at most "
    "$\\sqrt b + \\sqrt c$ and at least their difference. With $a=y+z$, $b=z+x$ and $c=x+y$ the "
    "differences of the squares have only terms that are at least 0.",
)
def lemma_1() -> Iterator[Step | Printed]:
    sides = TRIANGLES.check((a, y + z), (b, z + x), (c, x + y))
    roots = sp.sqrt(b * c)
    above = Step(
        (sp.sqrt(b) + sp.sqrt(c)) ** 2 - a, 2 * x + 2 * roots, "at least 0: √a ≤ √b + √c", sides
    )
    product = Step(b * c - x**2, x * a + y * z, "so √(bc) is at least x", sides)
    below = Step(
        a - (sp.sqrt(b) - sp.sqrt(c)) ** 2,
        2 * (x * a + y * z) / (roots + x),
        "at least 0: √a is no less than √b and √c differ by",
        sides,
    )
    yield above
    yield product
    yield below
    yield Printed(above, below)


def divergence(mass: float, most_links: float) -> float:
    """Equation 14's KL(Q‖P) in nats, as printed; negative from m ≈ 0.33 on, as none can be.

    `most_links` is σ, the most links that a channel can have.

    >>> round(2 * 100 * divergence(622.69, 100), 2)
    -4.29
    """
    _check(mass=mass, most_links=most_links)
    return (1 / (6 * mass) - log(pi * e * mass) / 2) / (2 * most_links)


def repaired_divergence(mass: float, most_links: float) -> float:
    """ln 2σ − H of a Poisson distribution of mean m/2, which equation 12 leaves when mended, nats.

    The divergence of the distribution of a channel's links from a uniform one on 2σ values. H is
    that of the distribution itself, not equation 13's approximation, and nothing is cut off, so it
    holds where m/2 is well below 2σ. It bounds no error either: these are distributions of links,
    and the theorem needs distributions of predictors.
    """
    _check(mass=mass, most_links=most_links)
    return log(2 * most_links) - float(poisson(mass / 2).entropy())


def bound(divergence: float, examples: int, confidence: float = 0.95) -> float:
    """What theorem 1 adds to the training error: √((KL + ln(2√N/δ)) / 2N), δ = 1 − confidence.

    >>> round(bound(0, 50_000), 4)
    0.0095
    """
    _check(examples=examples)
    if not 0 < confidence < 1:
        raise NNMassError(f"confidence is {confidence}: it must be between 0 and 1")
    root = divergence + log(2 * sqrt(examples) / (1 - confidence))
    if root < 0:
        raise NNMassError(
            f"a divergence of {divergence:g} leaves the root of a negative number: a divergence "
            "is at least 0"
        )
    return sqrt(root / (2 * examples))


def _check(**values: float) -> None:
    for name, value in values.items():
        if not value > 0:
            raise NNMassError(f"{name} is {value}: it must be above 0")


# What the steps speak of -------------------------------------------------------------------------

w, d, t = sp.symbols("w_c d_c t_c", integer=True, positive=True)
L, T = sp.symbols("l_c L_c", positive=True)  # long-range links of a cell, and possible ones
ρ, λ, m, σ = sp.symbols("rho_c lambda m sigma", positive=True)
m_L, m_S = sp.symbols("m_L m_S", positive=True)  # of a deep network, and of a shallower one
K_L, K_S = sp.symbols("KL_L KL_S", real=True)  # eq. 14 of both, put in: nothing counts it
N, δ, H = sp.symbols("N delta H", positive=True)  # examples, 1 − confidence, entropy of q
i, n = sp.symbols("i n", integer=True, positive=True)  # a layer or a value of q, and the last
q = sp.IndexedBase("q", positive=True)  # probabilities of a channel's numbers of links


@cache
def _networks(width: int, depth: int, candidates: int) -> Numbers:
    """What a built cell and its record say, and one of the same width that is a layer shallower."""
    from reuseprior.measures.nn_mass import LongRangeCNN, measure

    def build(depth: int) -> LongRangeCNN:
        return LongRangeCNN(Architecture(depth, (width,), (candidates,)))

    deep, shallow = build(depth), build(max(3, depth - 1))
    recorded, fewer = (measure(network, (1, 3, 8, 8)) for network in (deep, shallow))
    cell, convs, links = recorded.cells[0], deep.cells[0].convs, deep.cells[0].links
    most, mean = max(conv.in_channels for conv in convs), sum(map(len, links)) / len(convs)
    p = poisson(mean).pmf(range(2 * most))
    p /= p.sum()  # cut to the 2σ values of equation 11
    return {
        w: width, d: depth, t: candidates,
        L: cell.links, T: cell.possible, ρ: cell.links / cell.possible, λ: mean,
        m: float(cell.mass), σ: most,
        m_L: recorded.mass, K_L: divergence(recorded.mass, most),
        m_S: fewer.mass, K_S: divergence(fewer.mass, most),
        N: 50_000, δ: 0.05,
        q: [None, *p.tolist()], n: len(p), H: float(entropy(p)),
    }  # fmt: skip


GRID = tuple(product((2, 3), (4, 7, 12), (1, 5, 40)))
DEEP = tuple(product((1,), (60, 80), (1, 2, 3)))

BUILT = Theory(
    things="built networks",
    settings="triples of w, d, t",
    read=_networks,
    counted=frozenset({L, T, ρ, λ, m, σ, m_L, m_S}),  # q is Poisson's, at a degree counted
    grid=GRID,
    indices={i: (1, n)},
    told=lambda width, depth, candidates: f"w = {width}, d = {depth}, t = {candidates}",
)
given = BUILT.check

_CHANNELS = sp.Sum(sp.Min(w * (i - 1), t), (i, 2, d - 1))
_POSSIBLE = w**2 * (d - 1) * (d - 2) / 2
_MASS = 2 * d * _CHANNELS / ((d - 1) * (d - 2))
LINKS, POSSIBLE = (L, _CHANNELS * w), (T, _POSSIBLE)
DENSITY, DEGREE = (ρ, L / T), (λ, _CHANNELS / d)


# The derivations ---------------------------------------------------------------------------------


@derived(
    "NN-Mass, equations 1 to 7",
    "A cell of $d_c$ layers of $w_c$ channels: density is long-range links over possible ones, "
    "mass is channels times density. Links are counted on built networks.",
)
def equation_3() -> Iterator[Step | Printed]:
    all_of_them = sp.Sum(w * w * (i - 1), (i, 2, d - 1))
    density = 2 * _CHANNELS / (w * (d - 1) * (d - 2))
    by_channels = given((m, w * d * ρ), DENSITY, LINKS, POSSIBLE)
    over_possible = given(DENSITY, LINKS, POSSIBLE)
    densities = Step(ρ, density, "eq. 1 and 7: L over possible links", over_possible)
    mass = Step(m, _MASS, "eq. 3 for one cell: w d ρ", by_channels)
    yield Step(*LINKS, "eq. 4 and 5: each linked channel serves w", given(LINKS))
    yield Step(T, all_of_them, "all channels up to layer i − 2", given(POSSIBLE))
    yield Step(all_of_them, _POSSIBLE, "eq. 6", given())
    yield densities
    yield mass
    yield Printed(densities, mass)


@derived(
    "NN-Mass, equation 9",
    r"The average degree of the random links is $\lambda = m(d_c-1)(d_c-2)/(2d_c^2)$, which "
    "becomes $m/2$ in deep cells. In cells of 9 to 20 layers it is 31 to 14.5 % less.",
)
def equation_9() -> Iterator[Step | Printed]:
    factor, half = (d - 1) * (d - 2) / (2 * d**2), sp.Rational(1, 2)
    both, deep = given(DEGREE, (m, _MASS)), given(variable=d, grid=DEEP, tolerance=0.03)
    degree = Step(λ, m * factor, "with eq. 3", both)
    grown = Step(factor, half, "as cells grow deep", deep)
    yield Step(λ, L / (w * d), "links a channel", given(DEGREE, LINKS))
    yield degree
    yield grown
    yield Printed(degree, grown)
    yield Step(λ / m - half, -(3 * d - 2) / (2 * d**2), "what m/2 leaves out", both)


def _printed(mass: sp.Expr) -> sp.Expr:
    """Equation 14."""
    return (1 / (6 * mass) - sp.log(sp.pi * sp.E * mass) / 2) / (2 * σ)


def _approximate_entropy(mean: sp.Expr) -> sp.Expr:
    """Equation 13."""
    return sp.log(2 * sp.pi * sp.E * mean) / 2 - 1 / (12 * mean)


def _over_links(term: sp.Expr) -> sp.Sum:
    return sp.Sum(term, (i, 1, n))


@derived(
    "NN-Mass, Theorem 2",
    r"Theorem 1 with the divergence of eq. 14, $(1/(6m) - \ln(\pi e m)/2)/(2\sigma)$, "
    r"$\sigma$ the most links of a channel.",
)
def theorem_2() -> Iterator[Step | Printed | Correction]:
    at_half = sp.Subs(-_approximate_entropy(λ) / (2 * σ), λ, m / 2)
    derivative, slope = sp.Derivative(_printed(m), m), -(1 / (6 * m**2) + 1 / (2 * m)) / (2 * σ)
    yield Step(at_half, _printed(m), "eq. 12 with eq. 13 at λ = m/2: eq. 14", given())
    yield Step(derivative, slope, "it falls as the mass grows (remark 1)", given())
    scaled, uniform = q[i] / (2 * σ), 1 / (2 * σ)
    of_q = _over_links(q[i] * (sp.log(q[i]) - sp.log(uniform)))
    yield Printed(
        Step(of_q, _printed(m), "eq. 14 for KL(Q‖P) of eq. 10 and 11", given(tolerance=0.1)),
        Step(sp.Max(0, _printed(m)), _printed(m), "which is never below 0", given()),
    )
    yield Correction(
        "A divergence is never negative, and eq. 14 is for every $m$ above 0.33: it is minus "
        r"an entropy. Eq. 12 takes $q/(2\sigma)$ for a distribution, with $q$ Poisson's; it "
        r"weighs $1/(2\sigma)$, and less still in eq. 12's own sum, which begins at $w_c$ "
        "links and so is only a part of the entropy put for it. The divergence of $q$ itself "
        r"from the uniform one is $\ln 2\sigma - H$: at least 0, and it falls with $m$ too. "
        "But $q$ says how many links a channel has, where Theorem 1 needs a distribution over "
        "predictors, so neither bounds the error of a trained network."
    )
    third = sp.pi * sp.E / 3
    lambert = sp.LambertW(third)  # W e^W is a third of π e
    zero, inverse = sp.exp(lambert), given((sp.exp(lambert), third / lambert))
    zero_at = "eq. 14 is 0 where ln(πem) = 1/(3m): πem is e to the W, m is 0.3258"
    yield Step(sp.log(zero), third / zero, zero_at, inverse)
    whole, entropy = (_over_links(q[i]), sp.S.One), (H, -_over_links(q[i] * sp.log(q[i])))
    of_scaled = _over_links(scaled * (sp.log(scaled) - sp.log(uniform)))
    both = given(entropy, whole)
    yield Step(_over_links(scaled), uniform, "what eq. 10's Q weighs instead of 1", given(whole))
    yield Step(of_scaled, -H / (2 * σ), "so eq. 12 is minus an entropy", both)
    yield Step(of_q, sp.log(2 * σ) - H, "the divergence of q from eq. 11's P", both)


@derived(
    "NN-Mass, Corollary 1",
    "Networks of mass $m_L$ and $m_S$, $m_L$ the smaller: $a$ bounds the square of what their "
    r"bounds $\sqrt b$ and $\sqrt c$ differ by (eq. 15 to 18).",
)
def corollary_1() -> Iterator[Step | Printed | Correction]:
    eq_14 = given((K_L, _printed(m_L)), (K_S, _printed(m_S)))
    tail, twice = sp.log(2 * sp.sqrt(N) / δ), sp.log(4 * N / δ**2)
    a = (K_L - K_S + twice) / (2 * N)
    b, c = (K_L + tail) / (2 * N), (K_S + tail) / (2 * N)
    bracket = (m_S - m_L) / (6 * m_L * m_S) - sp.log(m_L / m_S) / 2
    yield Step(K_L - K_S, bracket / (2 * σ), "eq. 14 twice: eq. 18", eq_14)
    yield Step(2 * tail, twice, "the terms of the confidence together", given())
    at_least = "eq. 16, times 2N: b + c is no less than a"
    yield Printed(Step(sp.Max(K_L + K_S, K_L - K_S), K_L + K_S, at_least, eq_14))
    yield Correction(
        "Eq. 16 has b + c at least a because no divergence is negative; eq. 14 is, and b + c "
        "is less. That the roots differ by at most the root of a stands without it: they "
        "differ by at most the root of b − c, and a is greater. It says little, as a is mostly "
        "the term of the confidence, which has no mass in it; and two upper bounds that lie "
        "close (eq. 15) say nothing of how far apart the errors below them are."
    )
    yield Step(b + c - a, K_S / N, "negative, and eq. 16 needs 0 or more", given())
    yield Step(a - (b - c), twice / (2 * N), "above 0, so a bounds b − c", given())


DERIVATIONS = Derivations((equation_3, equation_9, lemma_1, theorem_2, corollary_1), "NN-Mass, ")
derivation = DERIVATIONS.one
