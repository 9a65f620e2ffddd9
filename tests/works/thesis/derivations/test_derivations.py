"""Chapter 5's theorems and chapter 4's two: what holds, what is corrected, what the ledger says."""

from dataclasses import replace

import pytest
import sympy as sp

from reuseprior.measures.closed_forms import D, g, ω
from reuseprior.proofs import Step
from reuseprior.works.thesis import derivations as thesis
from reuseprior.works.thesis.derivations.any_graph import BOLTZMANN
from reuseprior.works.thesis.derivations.perceptrons import EQUATION_5_12
from reuseprior.works.thesis.derivations.symbols import E, H, k, s, z, z_β, β, γ
from reuseprior.works.thesis.derivations.theory import PERCEPTRONS, SMALL, given, total

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
def test_beta_is_tried_at_several_values():
    step = thesis.derivation("Corollary 2").steps[0]
    dial = PERCEPTRONS.dial(step.outcome.free)
    assert dial.symbol == β and len(dial.values) == 5
    assert "5 values of β" in str(step)


@pytest.mark.slow
def test_a_step_without_a_counted_quantity_does_not_say_counted():
    said = {d.name: sum(s.outcome.counted for s in d.all_steps) for d in thesis.all_derivations()}
    assert said["Lemma 2"] == 4 and said["Theorem 3"] == 3 and said["Theorem 4"] == 4
    slope = thesis.derivation("Theorem 1").steps[-1]
    assert not slope.outcome.counted and "both sides are numbers" in str(slope)


@pytest.mark.slow
def test_ledger_notes_say_what_was_checked():
    notes = {e.id: e.note for e in thesis.entries()}
    assert notes["thesis-5-theorem-3"] == "6 steps proved by sympy, 3 also on counted graphs"
    assert notes["thesis-5-theorem-4"].startswith(
        "For D → ∞ at constant ω > 1, ⟨E⟩ → (D - ω/(ω-1)) ln ω. The thesis has (D-1)ln ω."
    )
    assert not any("$" in note or "\\" in note for note in notes.values())


@pytest.mark.slow
def test_the_corrected_ones():
    corrected = {d.name for d in thesis.all_derivations() if d.mark == "✓ corrected"}
    assert corrected == {
        "Equation 5.5", "Theorem 4", "Theorem 5", "Equation 5.19", "Equation 5.20", "§5.4.1",
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Theorem 4", "Theorem 5"])
def test_the_printed_limits_fail_as_steps(name):
    printed = {
        "Theorem 4": (E, (D - 1) * sp.log(ω)),
        "Theorem 5": (H, sp.log(g) + sp.log(ω) - sp.log(ω - 1)),
    }
    left, right = printed[name]
    step = thesis.derivation(name).steps[2 if name == "Theorem 5" else 3]
    assert step.left == left and step.mark == "✓"
    as_printed = replace(step, right=right)
    assert as_printed.mark == "✗" and not as_printed.outcome.symbolic


def test_proof_and_numbers_are_both_needed():
    only_proved = Step(E, sp.S(7), "defined so", replace(QUICK, where=((E, sp.S(7)),)))
    assert only_proved.outcome.symbolic and only_proved.mark == "✗"
    only_counted = Step(E, EQUATION_5_12, "no definition", QUICK)
    assert only_counted.outcome.deviation < 1e-10 and only_counted.mark == "✗"


@pytest.mark.slow
def test_text_is_readable():
    text = str(thesis.derivation("Theorem 4"))
    assert text.startswith("Theorem 4: ✓ corrected\n")
    assert "ln(ω)" in text and "\\" not in text and "$" not in text
    assert "counted graphs" in text and "0.693 nats at ω = 2" in text


@pytest.mark.slow
def test_the_thesis_order():
    names = [d.name for d in thesis.all_derivations()]
    assert names.index("Lemma 2") < names.index("Theorem 2") < names.index("Theorem 5")
    assert thesis.summary().derivation.tolist() == names


def test_unknown_name():
    with pytest.raises(KeyError, match="no derivation 'Theorem 9'; there are Lemma 1"):
        thesis.derivation("Theorem 9")
