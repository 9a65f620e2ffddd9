"""Chapter 5's theorems and chapter 4's two: what holds, what is corrected, what the ledger says."""

from dataclasses import replace

import pytest
import sympy as sp

from reuseprior.chapters import theorems as thesis
from reuseprior.chapters.closed_forms import D, g, ω
from reuseprior.chapters.theorems import (
    BOLTZMANN,
    EQUATION_5_12,
    PERCEPTRONS,
    SMALL,
    WHERE,
    E,
    H,
    P,
    given,
    k,
    s,
    total,
    z,
    z_β,
    β,
    γ,
)
from reuseprior.proofs import Derivations, Step
from reuseprior.report import cells, ledger
from tests.soak import drawn

d = sp.Symbol("d", integer=True, positive=True)
QUICK = given(grid=((2, 3, False), (3, 2, True)))

S, G = s[k], γ[k]
HELD_AT_MINUS_ONE_ONLY = {
    "Lemma 2": (S ** (-β), S ** (β**2)),
    "Theorem 2": (S / z, S ** (β**2) / z),
    "Corollary 1": (E, total(G * S ** (β**2) / z * sp.log(S), k)),
    "Corollary 2": (
        thesis.derivation("Corollary 2").steps[0].left,
        sp.log(z_β) + β**3 * total(G * BOLTZMANN / z_β * sp.log(S), k),
    ),
}


@pytest.mark.parametrize("name", HELD_AT_MINUS_ONE_ONLY)
def test_what_holds_at_beta_minus_one_only_is_no_theorem(name):
    left, right = HELD_AT_MINUS_ONE_ONLY[name]
    step = thesis.derivation(name).steps[0]
    wrong = replace(step, left=left, right=right, check=replace(step.check, grid=SMALL[:4]))
    assert wrong.mark == "✗", wrong
    assert not wrong.outcome.symbolic and wrong.outcome.deviation > 0.01


@pytest.mark.slow
def test_a_step_says_what_was_tried():
    """And one without a counted quantity does not say counted."""
    step = thesis.derivation("Corollary 2").steps[0]
    dial = PERCEPTRONS.dial(step.outcome.free)
    assert dial.symbol == β and len(dial.values) == 5 and "5 values of β" in str(step)
    # of eq. 5.19 P′ in nats is eq. 4.8 itself; that in bits is counted
    for name, counted in {"Theorem 4": 5, "Equation 5.19": 2}.items():
        steps = thesis.derivation(name).all_steps
        assert sum(step.outcome.counted for step in steps) == counted
    slope = thesis.derivation("Theorem 1").steps[-1]
    in_nats = thesis.derivation("Equation 5.19").steps[0]
    assert in_nats.outcome.proof == "definition"
    assert in_nats.outcome.tried == "40 pairs of ω, D, largest deviation below 1e-12"
    assert not slope.outcome.counted and "both sides are numbers" in str(slope)
    text = str(thesis.derivation("Theorem 4"))
    assert text.startswith("Theorem 4: ✓ corrected\n")
    assert "ln(ω)" in text and "\\" not in text and "$" not in text
    assert "counted graphs" in text and "0.693 nats at ω = 2" in text


NAMES = [d.name for d in thesis.all_derivations()]
COMMITTED = {row["id"]: row for row in ledger.committed_rows()}


@pytest.mark.slow
@pytest.mark.parametrize("name", drawn(NAMES, 6, seed=1))
def test_an_entry_is_the_committed_one(name):
    one = Derivations((thesis.derivation(name),))
    (entry,) = cells.of_theorems(one, "thesis-5", WHERE, statement=True)
    row = COMMITTED[entry.id]
    assert (entry.verdict, entry.note) == (row["verdict"], row["note"])
    assert not {"$", "\\"} & set(entry.note)


PRINTED = {
    "Equation 5.5": (z, sp.Sum(g * ω**d, (d, 1, D))),
    "Theorem 4": (E, (D - 1) * sp.log(ω)),
    "Theorem 5": (H, sp.log(g) + sp.log(ω) - sp.log(ω - 1)),
    "Equation 5.19": (P, sp.log((g * D * E + 1) * ω / (2 * ω + g * D))),
}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "printed"), PRINTED.items())
def test_what_is_printed_and_wrong_fails_both_checks(name, printed):
    (step,) = thesis.derivation(name).only_printed
    assert (step.left, step.right) == printed
    assert step.outcome.defined and not step.outcome.symbolic
    assert step.outcome.deviation > step.check.tolerance


def test_proof_and_numbers_are_both_needed():
    only_proved = Step(E, sp.S(7), "defined so", replace(QUICK, where=((E, sp.S(7)),)))
    assert only_proved.outcome.symbolic and only_proved.mark == "✗"
    only_counted = Step(E, EQUATION_5_12, "no definition", QUICK)
    assert only_counted.outcome.deviation < 1e-10 and only_counted.mark == "✗"


def test_names():
    assert NAMES.index("Lemma 2") < NAMES.index("Theorem 2") < NAMES.index("Theorem 5")
    with pytest.raises(KeyError, match="no derivation 'Theorem 9'; there are Lemma 1"):
        thesis.derivation("Theorem 9")
