"""Theorem 2 of NN-Mass, its bound and what is wrong with it, as derivations and as numbers."""

from __future__ import annotations

from functools import cache
from itertools import product
from math import e, log, pi, sqrt

import mpmath
import sympy as sp

from reuseprior.measures.nn_mass.architecture import Architecture
from reuseprior.measures.nn_mass.errors import NNMassError
from reuseprior.proofs.derivations import Check, Correction, Derivation, Source, Step, i, n

# The bound as numbers ----------------------------------------------------------------------------


def divergence(mass: float, most_links: float) -> float:
    """Equation 14's KL(Q‖P) in nats, as printed; negative from m ≈ 0.33 on, as none can be.

    `most_links` is σ, the most links that a channel can have.

    >>> round(2 * 100 * divergence(622.69, 100), 2)
    -4.29
    """
    _check("mass", mass)
    _check("most_links", most_links)
    return (1 / (6 * mass) - log(pi * e * mass) / 2) / (2 * most_links)


def repaired_divergence(mass: float, most_links: float) -> float:
    """ln 2σ − H of a Poisson distribution of mean m/2, which equation 12 leaves when mended, nats.

    The divergence of the distribution of a channel's links from a uniform one on 2σ values. H is
    that of the distribution itself, not equation 13's approximation, and nothing is cut off, so it
    holds where m/2 is well below 2σ. It bounds no error either: these are distributions of links,
    and the theorem needs distributions of predictors.
    """
    _check("mass", mass)
    _check("most_links", most_links)
    return log(2 * most_links) - float(poisson_entropy(mass / 2))


def bound(divergence: float, examples: int, confidence: float = 0.95) -> float:
    """What theorem 1 adds to the training error: √((KL + ln(2√N/δ)) / 2N), δ = 1 − confidence.

    >>> round(bound(0, 50_000), 4)
    0.0095
    """
    _check("examples", examples)
    if not 0 < confidence < 1:
        raise NNMassError(f"confidence is {confidence}: it must be between 0 and 1")
    root = divergence + log(2 * sqrt(examples) / (1 - confidence))
    if root < 0:
        raise NNMassError(
            f"a divergence of {divergence:g} leaves the root of a negative number: a divergence "
            "is at least 0"
        )
    return sqrt(root / (2 * examples))


def poisson_entropy(mean) -> mpmath.mpf:
    """The entropy of a Poisson distribution in nats, summed until terms vanish.

    >>> float(poisson_entropy(1))
    1.30484...
    """
    mean = mpmath.mpf(mean)
    last = int(mean + 40 * mpmath.sqrt(mean) + 60)
    p = [mpmath.exp(c * mpmath.log(mean) - mean - mpmath.loggamma(c + 1)) for c in range(last)]
    return -mpmath.fsum(x * mpmath.log(x) for x in p if x)


def _check(name: str, value) -> None:
    if not value > 0:
        raise NNMassError(f"{name} is {value}: it must be above 0")


# What the steps speak of -------------------------------------------------------------------------

w, d, t = sp.symbols("w_c d_c t_c", integer=True, positive=True)
L, T = sp.symbols("l_c L_c", positive=True)  # long-range links of a cell, and possible ones
ρ, λ, m, σ = sp.symbols("rho_c lambda m sigma", positive=True)
m_L, m_S = sp.symbols("m_L m_S", positive=True)  # of a deep network, and of a shallower one
K_L, K_S = sp.symbols("KL_L KL_S", real=True)  # eq. 14 of both
N, δ, H = sp.symbols("N delta H", positive=True)  # examples, 1 − confidence, entropy of q
q = sp.IndexedBase("q", positive=True)  # probabilities of a channel's numbers of links

EXAMPLES, DOUBT = 50_000, mpmath.mpf("0.05")


@cache
def _networks(width: int, depth: int, candidates: int) -> dict[sp.Basic, object]:
    """What a built cell and its record say, and one of the same width that is a layer shallower."""
    from reuseprior.measures.nn_mass.network import LongRangeCNN
    from reuseprior.measures.nn_mass.recorded import measure

    def build(depth: int) -> LongRangeCNN:
        return LongRangeCNN(Architecture(depth, (width,), (candidates,)))

    deep, shallow = build(depth), build(max(3, depth - 1))
    recorded = measure(deep, (1, 3, 8, 8))
    cell = recorded.cells[0]
    convs, links = deep.cells[0].convs, deep.cells[0].links
    most = max(conv.in_channels for conv in convs)
    mean = mpmath.mpf(sum(map(len, links))) / len(convs)
    p = [mpmath.exp(-mean) * mean**c / mpmath.factorial(c) for c in range(2 * most)]
    p = [x / mpmath.fsum(p) for x in p]  # cut to the 2σ values of equation 11
    masses = mpmath.mpf(recorded.mass), mpmath.mpf(measure(shallow, (1, 3, 8, 8)).mass)
    eq_14 = [-(mpmath.log(mpmath.pi * mpmath.e * x) / 2 - 1 / (6 * x)) / (2 * most) for x in masses]
    return {
        w: width, d: depth, t: candidates,
        L: cell.links, T: cell.possible, ρ: mpmath.mpf(cell.links) / cell.possible, λ: mean,
        m: mpmath.mpf(cell.mass.numerator) / cell.mass.denominator, σ: most,
        m_L: masses[0], m_S: masses[1], K_L: eq_14[0], K_S: eq_14[1],
        N: EXAMPLES, δ: DOUBT,
        q: [None, *p], n: len(p), H: -mpmath.fsum(x * mpmath.log(x) for x in p),
    }  # fmt: skip


BUILT = Source(
    "built networks", "triples of w, d, t", _networks,
    frozenset({L, T, ρ, λ, m, σ, m_L, m_S, K_L, K_S, H, q, q.label}),
)  # fmt: skip
GRID = tuple(product((2, 3), (4, 7, 12), (1, 5, 40)))
DEEP = tuple(product((1,), (60, 80), (1, 2, 3)))

_CHANNELS = sp.Sum(sp.Min(w * (i - 1), t), (i, 2, d - 1))
_POSSIBLE = w**2 * (d - 1) * (d - 2) / 2
_MASS = 2 * d * _CHANNELS / ((d - 1) * (d - 2))


def _check_with(*where, **options) -> Check:
    return Check(where, **{"grid": GRID, "source": BUILT, **options})


# The derivations ---------------------------------------------------------------------------------


def equation_3() -> Derivation:
    """Density and mass of a cell."""
    links, possible = (L, w * _CHANNELS), (T, _POSSIBLE)
    all_of_them = sp.Sum(w * w * (i - 1), (i, 2, d - 1))
    return Derivation(
        "NN-Mass, equations 1 to 7",
        "A cell of $d_c$ layers of $w_c$ channels: density is long-range links over possible ones, "
        "mass is channels times density. Links are counted on built networks.",
        (
            Step(L, w * _CHANNELS, "eq. 4 and 5: each linked channel serves w", _check_with(links)),
            Step(T, all_of_them, "all channels up to layer i − 2", _check_with(possible)),
            Step(all_of_them, _POSSIBLE, "eq. 6", _check_with()),
            Step(
                ρ, 2 * _CHANNELS / (w * (d - 1) * (d - 2)), "eq. 1 and 7: L over possible links",
                _check_with((ρ, L / T), links, possible),
            ),
            Step(
                m, _MASS, "eq. 3 for one cell: w d ρ",
                _check_with((m, w * d * ρ), (ρ, L / T), links, possible),
            ),
        ),
    )  # fmt: skip


def equation_9() -> Derivation:
    """The average degree, and half of the mass."""
    factor = (d - 1) * (d - 2) / (2 * d**2)
    mass, degree = (m, _MASS), (λ, _CHANNELS / d)
    return Derivation(
        "NN-Mass, equation 9",
        "The average degree of the random links is $\\lambda = m(d_c-1)(d_c-2)/(2d_c^2)$, which "
        "becomes $m/2$ in deep cells. In cells of 9 to 20 layers it is 31 to 14.5 % less.",
        (
            Step(λ, L / (w * d), "links a channel", _check_with(degree, (L, w * _CHANNELS))),
            Step(λ, m * factor, "with eq. 3", _check_with(degree, mass)),
            Step(
                factor, sp.Rational(1, 2), "as cells grow deep",
                _check_with(kind="limit", variable=d, grid=DEEP, tolerance=0.03),
            ),
            Step(
                λ / m - sp.Rational(1, 2), -(3 * d - 2) / (2 * d**2), "what m/2 leaves out",
                _check_with(degree, mass),
            ),
        ),
    )  # fmt: skip


def _printed(mass: sp.Expr) -> sp.Expr:
    """Equation 14."""
    return (1 / (6 * mass) - sp.log(sp.pi * sp.E * mass) / 2) / (2 * σ)


def _approximate_entropy(mean: sp.Expr) -> sp.Expr:
    """Equation 13."""
    return sp.log(2 * sp.pi * sp.E * mean) / 2 - 1 / (12 * mean)


def theorem_2() -> Derivation:
    """The divergence of theorem 2, and why it is none."""
    weight = sp.Sum(q[i], (i, 1, n))
    whole, entropy = (weight, sp.S.One), (H, -sp.Sum(q[i] * sp.log(q[i]), (i, 1, n)))
    scaled, uniform = q[i] / (2 * σ), 1 / (2 * σ)
    third = sp.pi * sp.E / 3
    lambert = sp.LambertW(third)  # W e^W is a third of π e
    zero, inverse = sp.exp(lambert), (sp.exp(lambert), third / lambert)
    return Derivation(
        "NN-Mass, Theorem 2",
        "Theorem 1 with the divergence of eq. 14, $(1/(6m) - \\ln(\\pi e m)/2)/(2\\sigma)$, "
        "$\\sigma$ the most links of a channel.",
        (
            Step(
                sp.Subs(-_approximate_entropy(λ) / (2 * σ), λ, m / 2), _printed(m),
                "eq. 12 with eq. 13 at λ = m/2: eq. 14", _check_with(),
            ),
            Step(
                sp.Derivative(_printed(m), m), -(1 / (6 * m**2) + 1 / (2 * m)) / (2 * σ),
                "it falls as the mass grows (remark 1)", _check_with(),
            ),
        ),
        Correction(
            "A divergence is never negative, and eq. 14 is for every $m$ above 0.33: it is minus "
            "an entropy. Eq. 12 takes $q/(2\\sigma)$ for a distribution, with $q$ Poisson's; it "
            "weighs $1/(2\\sigma)$, and less still in eq. 12's own sum, which begins at $w_c$ "
            "links and so is only a part of the entropy put for it. The divergence of $q$ itself "
            "from the uniform one is $\\ln 2\\sigma - H$: at least 0, and it falls with $m$ too. "
            "But $q$ says how many links a channel has, where Theorem 1 needs a distribution over "
            "predictors, so "
            "neither bounds the error of a trained network.",
            (
                Step(
                    sp.log(zero), third / zero,
                    "eq. 14 is 0 where ln(πem) = 1/(3m): πem is e to the W, m is 0.3258",
                    _check_with(inverse),
                ),
                Step(
                    sp.Sum(scaled, (i, 1, n)), uniform, "what eq. 10's Q weighs instead of 1",
                    _check_with(whole),
                ),
                Step(
                    sp.Sum(scaled * (sp.log(scaled) - sp.log(uniform)), (i, 1, n)), -H / (2 * σ),
                    "so eq. 12 is minus an entropy", _check_with(entropy, whole),
                ),
                Step(
                    sp.Sum(q[i] * (sp.log(q[i]) - sp.log(uniform)), (i, 1, n)),
                    sp.log(2 * σ) - H, "the divergence of q from eq. 11's P",
                    _check_with(entropy, whole),
                ),
            ),
        ),
    )  # fmt: skip


def corollary_1() -> Derivation:
    """The gap between two networks, and an inequality on the way that fails."""
    printed = (K_L, _printed(m_L)), (K_S, _printed(m_S))
    tail, twice = sp.log(2 * sp.sqrt(N) / δ), sp.log(4 * N / δ**2)
    a = (K_L - K_S + twice) / (2 * N)
    b, c = (K_L + tail) / (2 * N), (K_S + tail) / (2 * N)
    bracket = (m_S - m_L) / (6 * m_L * m_S) - sp.log(m_L / m_S) / 2
    return Derivation(
        "NN-Mass, Corollary 1",
        "Networks of mass $m_L$ and $m_S$, $m_L$ the smaller: $a$ bounds the square of what their "
        "bounds $\\sqrt b$ and $\\sqrt c$ differ by (eq. 15 to 18).",
        (
            Step(K_L - K_S, bracket / (2 * σ), "eq. 14 twice: eq. 18", _check_with(*printed)),
            Step(2 * tail, twice, "the terms of the confidence together", _check_with()),
        ),
        Correction(
            "Eq. 16 has b + c at least a because no divergence is negative; eq. 14 is, and b + c "
            "is less. The conclusion stands without it: the roots differ by at most the root of "
            "b − c, and a is greater. It says little, as a is mostly the term of the confidence, "
            "which has no mass in it.",
            (
                Step(b + c - a, K_S / N, "negative, and eq. 16 needs 0 or more", _check_with()),
                Step(a - (b - c), twice / (2 * N), "above 0, so a bounds b − c", _check_with()),
            ),
        ),
    )  # fmt: skip


@cache
def all_derivations() -> tuple[Derivation, ...]:
    """Every derivation of the paper in its order, checked when first shown.

    >>> [d.name for d in all_derivations()][0]
    'NN-Mass, equations 1 to 7'
    """
    return equation_3(), equation_9(), theorem_2(), corollary_1()


def derivation(name: str) -> Derivation:
    """The one with this name, such as "Theorem 2"; KeyError names those there are."""
    found = {d.name.removeprefix("NN-Mass, "): d for d in all_derivations()}
    if name not in found:
        raise KeyError(f"no derivation {name!r}; there are {', '.join(found)}")
    return found[name]
