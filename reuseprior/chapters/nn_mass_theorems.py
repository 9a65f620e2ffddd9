"""Theorem 2 of NN-Mass, its bound and what is wrong with it, as derivations and as numbers."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from itertools import product
from math import e, factorial, log, pi, sqrt

import sympy as sp
from scipy.stats import poisson

from reuseprior.measures.nn_mass import Architecture, NNMassError
from reuseprior.proofs import Blueprint, Chain, Correction, Note, Theory, define, derived, to
from reuseprior.proofs.theory import Numbers

a, b, c = sp.symbols("a b c", positive=True)  # sides of a triangle
x, y, z = sp.symbols("x y z", nonnegative=True)  # half of what two sides have above the third


Chains = Iterator[Chain | Note | list[Chain]]


def _triangle(first: float, second: float, third: float) -> Numbers:
    half = (first + second + third) / 2
    return {a: first, b: second, c: third, x: half - first, y: half - second, z: half - third}


TRIANGLES = Theory(
    things="triangles",
    read=_triangle,
    grid=((3, 4, 5), (5, 4, 3), (1, 1, 1), (2, 3, 5), (5, 2, 3), (7, 7, 1), (1, 9, 9.5), (9, 1, 9)),
    told=lambda first, second, third: f"a = {first}, b = {second}, c = {third}",
)
SIDES = define(
    TRIANGLES, "NN-Mass, sides", "x, y and z are half of what two sides have above the third",
    (a, y + z), (b, z + x), (c, x + y),
)  # fmt: skip


@derived("NN-Mass, Lemma 1", "roots of the sides of a triangle, or of a flat one")
def lemma_1() -> Chains:
    roots, rest = sp.sqrt(b * c), x * a + y * z
    above = Chain(TRIANGLES, (sp.sqrt(b) + sp.sqrt(c)) ** 2 - a, (
        to(2 * x + 2 * roots, "with the halves", *SIDES),
        to(sp.S.Zero, "so √a is at most √b + √c", relation="≥"),
    ))  # fmt: skip
    product = Chain(TRIANGLES, b * c - x**2, (
        to(rest, "with the halves", *SIDES),
        to(sp.S.Zero, "so √(bc) is no less than x", relation="≥"),
    ))  # fmt: skip
    below = Chain(TRIANGLES, a - (sp.sqrt(b) - sp.sqrt(c)) ** 2, (
        to(2 * rest / (roots + x), "with the halves", *SIDES),
        to(sp.S.Zero, "so √a is no less than √b and √c differ by", relation="≥"),
    ))  # fmt: skip
    yield from (above, product, below)


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


def _printed(mass: sp.Expr) -> sp.Expr:
    """Equation 14."""
    return (1 / (6 * mass) - sp.log(sp.pi * sp.E * mass) / 2) / (2 * σ)


def _approximate_entropy(mean: sp.Expr) -> sp.Expr:
    """Equation 13."""
    return sp.log(2 * sp.pi * sp.E * mean) / 2 - 1 / (12 * mean)


def _over_links(term: sp.Expr) -> sp.Sum:
    return sp.Sum(term, (i, 1, n))


@cache
def _networks(width: int, depth: int, candidates: int) -> Numbers:
    """What a built cell and its record say, and one of the same width that is a layer shallower."""
    from reuseprior.measures.nn_mass import LongRangeCNN, measure

    def build(depth: int) -> LongRangeCNN:
        return LongRangeCNN(Architecture(depth, (width,), (candidates,)))

    deep, shallow = build(depth), build(max(3, depth - 1))
    recorded, fewer = (measure(network, (1, 3, 8, 8)) for network in (deep, shallow))
    cell, convs, links = recorded.cells[0], deep.cells[0].convs, deep.cells[0].links
    most, mean = max(conv.in_channels for conv in convs), Fraction(sum(map(len, links)), len(convs))
    p = [mean**k / factorial(k) for k in range(2 * most)]  # Poisson's, but for e^-λ
    return {
        w: width, d: depth, t: candidates,
        L: cell.links, T: cell.possible, ρ: cell.density, λ: mean, m: cell.mass, σ: most,
        m_L: sum(cell.mass for cell in recorded.cells), m_S: sum(cell.mass for cell in fewer.cells),
        N: 50_000, δ: Fraction(1, 20),
        q: [None, *(x / sum(p) for x in p)], n: len(p),  # cut to the 2σ values of equation 11
    }  # fmt: skip


BUILT = Theory(
    things="built networks",
    read=_networks,
    grid=tuple(product((2, 3), (4, 7, 12), (1, 5, 40))),
    made={K_L: _printed(m_L), K_S: _printed(m_S), H: -_over_links(q[i] * sp.log(q[i]))},
    indices={i: (1, n)},
    told=lambda width, depth, candidates: f"w = {width}, d = {depth}, t = {candidates}",
)


def chain(left: sp.Expr, *steps) -> Chain:
    return Chain(BUILT, left, steps)


_CHANNELS = sp.Sum(sp.Min(w * (i - 1), t), (i, 2, d - 1))
_POSSIBLE = w**2 * (d - 1) * (d - 2) / 2
_MASS = 2 * d * _CHANNELS / ((d - 1) * (d - 2))
CELL = define(
    BUILT, "NN-Mass, cell", "eq. 1, 3, 4 and 9: density, mass, links and their degree",
    (ρ, L / T), (m, w * d * ρ), (L, _CHANNELS * w), (λ, L / (w * d)),
    (T, sp.Sum(w * w * (i - 1), (i, 2, d - 1))),
)  # fmt: skip
LINKS = define(
    BUILT, "NN-Mass, links", "eq. 10: q is a distribution, H its entropy",
    (_over_links(q[i]), sp.S.One), (H, -_over_links(q[i] * sp.log(q[i]))),
)  # fmt: skip
FOURTEEN = define(
    BUILT, "NN-Mass, equation 14", "the divergence of two networks, put in as printed",
    (K_L, _printed(m_L)), (K_S, _printed(m_S)),
)  # fmt: skip
ROOT = sp.LambertW(sp.pi * sp.E / 3)
LAMBERT = define(
    BUILT, "NN-Mass, Lambert's W", "W e^W is a third of πe, in logarithms",
    (sp.log(ROOT), sp.log(sp.pi * sp.E / 3) - ROOT),
)  # fmt: skip


# The derivations ---------------------------------------------------------------------------------


@derived("NN-Mass, equations 1 to 7", "density and mass of a cell of equal layers")
def equation_3() -> Chains:
    possible = chain(T, to(CELL[T].right, "up to layer i − 2", CELL[T]), to(_POSSIBLE, "eq. 6"))
    densities = chain(
        ρ,
        to(L / T, "eq. 1: links over possible ones", CELL[ρ]),
        to(2 * _CHANNELS / (w * (d - 1) * (d - 2)), "eq. 4 to 7", CELL[L], possible),
    )
    mass = chain(m, to(w * d * ρ, "eq. 3", CELL[m]), to(_MASS, "for one cell", densities))
    yield from (possible, densities, mass)


@derived("NN-Mass, equation 9", "the average degree of the random links, in deep cells $m/2$")
def equation_9() -> Chains:
    factor, half, rate = (d - 1) * (d - 2) / (2 * d**2), sp.Rational(1, 2), -3 / (2 * d)
    degree = chain(
        λ,
        to(L / (w * d), "links a channel", CELL[λ]),
        to(m * factor, "with eq. 3", CELL[L], equation_3[m]),
    )
    grown = chain(factor, to(half, "as cells grow deep", relation="→", variable=d, rate=rate))
    yield from (degree, grown)
    yield Note("In cells of 9 to 20 layers it is 31 to 14.5 % less than half of the mass.")
    yield chain(λ / m - half, to(-(3 * d - 2) / (2 * d**2), "what m/2 leaves out", degree))


@derived("NN-Mass, Theorem 2", "Theorem 1 with the divergence of eq. 14")
def theorem_2() -> Chains:
    slope = -(1 / (6 * m**2) + 1 / (2 * m)) / (2 * σ)
    at_half = sp.Subs(-_approximate_entropy(λ) / (2 * σ), λ, m / 2)
    yield chain(at_half, to(_printed(m), "eq. 12 with eq. 13 at λ = m/2: eq. 14"))
    falls = to(slope, "it falls as the mass grows (remark 1)")
    yield chain(sp.Derivative(_printed(m), m), falls)
    scaled, uniform = q[i] / (2 * σ), 1 / (2 * σ)
    of_q = _over_links(q[i] * (sp.log(q[i]) - sp.log(uniform)))
    yield [
        chain(of_q, to(_printed(m), "eq. 14 for KL(Q‖P) of eq. 10 and 11")),
        chain(_printed(m), to(sp.S.Zero, "no divergence is below 0", relation="≥")),
    ]
    yield Correction(
        "A divergence is never negative, and eq. 14 is for every m above 0.33: it is minus an "
        "entropy. Eq. 12 takes {} for a distribution, with q Poisson's; it weighs {}, and less "
        "still in eq. 12's own sum, which begins at w_c links and so is only a part of the entropy "
        "put for it. The divergence of q itself from the uniform one is {}: at least 0, and it "
        "falls with m too. But q says how many links a channel has, where Theorem 1 needs a "
        "distribution over predictors, so neither bounds the error of a trained network.",
        q[i] / (2 * σ), uniform, sp.log(2 * σ) - H,
    )  # fmt: skip
    zero = sp.Subs(_printed(m), m, 1 / (3 * ROOT))
    at_zero = (ROOT + sp.log(ROOT) - sp.log(sp.pi * sp.E / 3)) / (4 * σ)
    yield chain(zero, to(at_zero, "m is 0.3258"), to(sp.S.Zero, "so eq. 14 is 0", *LAMBERT))
    of_scaled = _over_links(scaled * (sp.log(scaled) - sp.log(uniform)))
    whole, entropy = LINKS
    yield chain(_over_links(scaled), to(uniform, "what eq. 10's Q weighs instead of 1", whole))
    yield chain(of_scaled, to(-H / (2 * σ), "so eq. 12 is minus an entropy", entropy))
    yield chain(of_q, to(sp.log(2 * σ) - H, "q's divergence from eq. 11's P", entropy, whole))


@derived("NN-Mass, Corollary 1", "bounds of two networks of masses m_L and m_S, m_L the smaller")
def corollary_1() -> Chains:
    tail, twice = sp.log(2 * sp.sqrt(N) / δ), sp.log(4 * N / δ**2)
    a = (K_L - K_S + twice) / (2 * N)
    b, c = (K_L + tail) / (2 * N), (K_S + tail) / (2 * N)
    bracket = (m_S - m_L) / (6 * m_L * m_S) - sp.log(m_L / m_S) / 2
    yield chain(K_L - K_S, to(bracket / (2 * σ), "eq. 14 twice: eq. 18", *FOURTEEN))
    yield chain(2 * tail, to(twice, "the terms of the confidence together"))
    at_least = to(sp.S.Zero, "eq. 16", *FOURTEEN, relation="≥")
    yield [chain(b + c - a, at_least)]
    yield Correction(
        "Eq. 16 has b + c at least a because no divergence is negative; eq. 14 is, and b + c "
        "is less. That the roots differ by at most the root of a stands without it: they "
        "differ by at most the root of b − c, and a is greater. It says little, as a is mostly "
        "the term of the confidence, which has no mass in it; and two upper bounds that lie "
        "close (eq. 15) say nothing of how far apart the errors below them are."
    )
    yield chain(b + c - a, to(K_S / N, "negative, and eq. 16 needs 0 or more"))
    yield chain(a - (b - c), to(twice / (2 * N), "above 0, so a bounds b − c"))


DERIVATIONS = Blueprint((
    SIDES, CELL, LINKS, FOURTEEN, LAMBERT,
    equation_3, equation_9, lemma_1, theorem_2, corollary_1,
), "NN-Mass, ", "10-nn-mass")  # fmt: skip
derivation = DERIVATIONS.one
