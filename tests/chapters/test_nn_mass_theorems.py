"""Theorem 2's numbers; its steps are tested with all others, in test_derivations."""

from math import e, log, pi, sqrt

import pytest
import sympy as sp

from reuseprior.chapters import nn_mass_theorems
from reuseprior.measures.nn_mass import NNMassError


def test_the_divergence_is_negative_from_a_third_on():
    zero = float(1 / (3 * sp.LambertW(sp.pi * sp.E / 3)))
    assert zero == pytest.approx(0.3258, abs=5e-5)
    assert nn_mass_theorems.divergence(zero, 10) == pytest.approx(0, abs=1e-12)
    assert (
        nn_mass_theorems.divergence(0.9 * zero, 10)
        > 0
        > nn_mass_theorems.divergence(1.1 * zero, 10)
    )
    assert 2 * 50 * nn_mass_theorems.divergence(622.69, 50) == pytest.approx(-4.29, abs=0.005)


def test_equation_13_is_a_good_approximation():
    for mean in (3, 30, 300):
        approximate = log(2 * pi * e * mean) / 2 - 1 / (12 * mean)
        entropy = log(2 * 10**4) - nn_mass_theorems.repaired_divergence(2 * mean, 10**4)
        assert entropy == pytest.approx(approximate, abs=0.1 / mean**2)


def test_mended_it_is_positive_and_still_falls_and_bounds():
    mended = [nn_mass_theorems.repaired_divergence(mass, 428) for mass in (100, 400, 800)]
    assert mended == sorted(mended, reverse=True) and mended[-1] > 0
    by_hand = sqrt((2 + log(2 * sqrt(1000) / 0.1)) / 2000)
    assert nn_mass_theorems.bound(2, 1000, confidence=0.9) == pytest.approx(by_hand)


REFUSED = [
    (lambda: nn_mass_theorems.divergence(0, 1), "mass is 0: it must be above 0"),
    (lambda: nn_mass_theorems.repaired_divergence(1, -2), "most_links is -2: it must be above 0"),
    (lambda: nn_mass_theorems.bound(1, 0), "examples is 0: it must be above 0"),
    (
        lambda: nn_mass_theorems.bound(1, 10, confidence=1),
        "confidence is 1: it must be between 0 and 1",
    ),
    (
        lambda: nn_mass_theorems.bound(-99, 10),
        "a divergence of -99 leaves the root of a negative number",
    ),
]


def test_what_cannot_be_is_refused():
    for call, message in REFUSED:
        with pytest.raises(NNMassError, match=message):
            call()
    with pytest.raises(KeyError, match="no derivation 'Theorem 3'; there are equations 1 to 7"):
        nn_mass_theorems.derivation("Theorem 3")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Theorem 2", "Corollary 1"])
def test_what_is_printed_needs_a_divergence_that_is_not_negative(name):
    found = nn_mass_theorems.derivation(name)
    assert found.mark == "✓ corrected"
    for chain in found.found.only_printed:
        assert chain.proofs == chain.checks == (False,)
