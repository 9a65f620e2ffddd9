"""Every step holds, every flipped step fails, and a failing step cannot show as ✓."""

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import pytest
import sympy as sp

from reuseprior.proofs import derivations as dv
from reuseprior.proofs.derivations import Check, Correction, Derivation, Step, ω
from reuseprior.works.nn_mass import theory
from reuseprior.works.thesis.energy.ledger import theorems

ALL = (*dv.all_derivations(), *theory.all_derivations())
STEPS = [
    pytest.param(d, index, id=f"{d.name}-{index}") for d in ALL for index in range(len(d.all_steps))
]
EACH_STEP = pytest.mark.parametrize("derivation, index", STEPS)
QUICK = Check(grid=((2, 3, False), (3, 2, True)))
WRONG = Step(sp.log(ω**2), 3 * sp.log(ω), "a slip", QUICK)


@cache
def flipped(derivation: Derivation, index: int) -> Step:
    """The step with its right side's sign flipped, tried on the deep end of its grid."""
    step = derivation.all_steps[index]
    return replace(step, right=-step.right, check=replace(step.check, grid=step.check.grid[-6:]))


@EACH_STEP
def test_each_step_holds(derivation, index):
    outcome = derivation.all_steps[index].outcome
    assert outcome.symbolic
    assert outcome.deviation <= outcome.tolerance


@EACH_STEP
def test_a_flipped_sign_fails_both_checks(derivation, index):
    step = flipped(derivation, index)
    assert not step.outcome.symbolic
    assert step.outcome.deviation > step.outcome.tolerance
    assert step.mark == "✗"


def with_a_term_flipped(expression: sp.Expr, *, inside: bool) -> Iterator[sp.Expr]:
    """The expression with the sign of one term of one of its sums flipped."""
    sums = [e for e in sp.preorder_traversal(expression) if e.is_Add] if inside else [expression]
    for total in sums:
        for term in sp.Add.make_args(total):
            yield expression.xreplace({total: total - 2 * term})


@EACH_STEP
def test_a_flipped_term_fails(derivation, index):
    """Inside logarithms and fractions too; in a limit what vanishes may have any sign."""
    step = derivation.all_steps[index]
    inside = step.check.kind == "equal" and not step.right.has(sp.Derivative)
    some = step.check.grid[4:10] if inside else step.check.grid[-6:]
    check = replace(step.check, grid=some)
    for right in with_a_term_flipped(step.right, inside=inside):
        left_number, right_number = dv._worked_out(step.left), dv._worked_out(right)
        dial = step.outcome.dial
        deviation = max(dv._deviations(left_number, right_number, check, dial))
        assert deviation > check.tolerance, right


S, G, Z = dv.s[dv.k], dv.γ[dv.k], dv.z_β
HELD_AT_MINUS_ONE_ONLY = {
    "Lemma 2": (S ** (-dv.β), S ** (dv.β**2)),
    "Theorem 2": (S / dv.z, S ** (dv.β**2) / dv.z),
    "Corollary 1": (dv.E, dv._over_levels(G * S ** (dv.β**2) / dv.z * sp.log(S))),
    "Corollary 2": (
        dv.derivation("Corollary 2").steps[0].left,
        sp.log(Z) + dv.β**3 * dv._over_levels(G * dv._BOLTZMANN / Z * sp.log(S)),
    ),
}


@pytest.mark.parametrize("name", HELD_AT_MINUS_ONE_ONLY)
def test_what_holds_at_beta_minus_one_only_is_no_theorem(name):
    left, right = HELD_AT_MINUS_ONE_ONLY[name]
    step = dv.derivation(name).steps[0]
    wrong = replace(step, left=left, right=right, check=replace(step.check, grid=dv.SMALL[:4]))
    assert wrong.mark == "✗", wrong
    assert not wrong.outcome.symbolic and wrong.outcome.deviation > 0.01


def test_beta_is_tried_at_several_values():
    step = dv.derivation("Corollary 2").steps[0]
    assert step.outcome.dial == dv.β and len(dv.DIALS[dv.β]) == 5
    assert "5 values of β" in str(step)


def test_a_step_without_a_counted_quantity_does_not_say_counted():
    said = {d.name: sum(s.outcome.counted for s in d.all_steps) for d in dv.all_derivations()}
    assert said["Lemma 2"] == 4 and said["Theorem 3"] == 3 and said["Theorem 4"] == 4
    slope = dv.derivation("Theorem 1").steps[-1]
    assert not slope.outcome.counted and "both sides are numbers" in str(slope)


def test_ledger_notes_say_what_was_checked():
    notes = {e.id: e.note for e in theorems()}
    assert notes["thesis-5-theorem-3"] == "6 steps proved by sympy, 3 also on counted graphs"
    assert notes["thesis-5-theorem-4"].startswith(
        "For D → ∞ at constant ω > 1, ⟨E⟩ → (D - ω/(ω-1)) ln ω. The thesis has (D-1)ln ω."
    )
    assert not any("$" in note or "\\" in note for note in notes.values())


@pytest.mark.parametrize("good", ALL, ids=lambda d: d.name)
def test_a_flipped_step_turns_its_derivation_red(good):
    bad = flipped(good, len(good.steps) - 1)
    broken = replace(good, steps=(*good.steps[:-1], bad))
    assert good.mark.startswith("✓") and broken.mark == "✗"
    assert f"**{good.name}** · ✗" in broken._repr_markdown_()
    assert str(broken).startswith(f"{good.name}: ✗")


def test_the_corrected_ones():
    corrected = {d.name for d in dv.all_derivations() if d.mark == "✓ corrected"}
    assert corrected == {
        "Equation 5.5", "Theorem 4", "Theorem 5", "Equation 5.19", "Equation 5.20", "§5.4.1",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["Theorem 4", "Theorem 5"])
def test_the_printed_limits_fail_as_steps(name):
    printed = {
        "Theorem 4": (dv.E, (dv.D - 1) * sp.log(ω)),
        "Theorem 5": (dv.H, sp.log(dv.g) + sp.log(ω) - sp.log(ω - 1)),
    }
    left, right = printed[name]
    step = dv.derivation(name).steps[2 if name == "Theorem 5" else 3]
    assert step.left == left and step.mark == "✓"
    as_printed = replace(step, right=right)
    assert as_printed.mark == "✗" and not as_printed.outcome.symbolic


def test_a_wrong_correction_turns_the_derivation_red():
    right = replace(WRONG, right=2 * sp.log(ω))
    assert Derivation("a", "b", (right,)).mark == "✓"
    assert Derivation("a", "b", (right,), Correction("c", (right,))).mark == "✓ corrected"
    assert Derivation("a", "b", (right,), Correction("c", (WRONG,))).mark == "✗"


def test_proof_and_numbers_are_both_needed():
    only_proved = Step(dv.E, sp.S(7), "defined so", replace(QUICK, where=((dv.E, sp.S(7)),)))
    assert only_proved.outcome.symbolic and only_proved.mark == "✗"
    only_counted = Step(dv.E, dv._E_PRINTED, "no definition", QUICK)
    assert only_counted.outcome.deviation < 1e-10 and only_counted.mark == "✗"


def test_a_side_without_a_value_fails():
    step = Step(1 / (dv.D - 2), 1 / (dv.D - 2), "no value at depth 2", QUICK)
    assert step.outcome.symbolic and step.mark == "✗"
    assert "within no bound" in str(step)


def test_markdown_is_a_table_of_two_columns_with_math():
    for d in ALL:
        text = d._repr_markdown_()
        rows = [line for line in text.splitlines() if line.startswith("|")]
        assert all(row.count("|") == 3 for row in rows), d.name
        assert text.count("$") % 2 == 0
        assert sum("\\displaystyle" in row for row in rows) == len(d.all_steps)
        assert not hasattr(d, "_repr_html_")
        assert not re.search(r"\\[,;:!{}*|]", text), "Markdown eats such a backslash"


def test_text_is_readable():
    text = str(dv.derivation("Theorem 4"))
    assert text.startswith("Theorem 4: ✓ corrected\n")
    assert "ln(ω)" in text and "\\" not in text and "$" not in text
    assert "counted graphs" in text and "0.693 nats at ω = 2" in text


def test_no_statement_leaves_latex_in_its_text():
    for d in ALL:
        assert "$" not in str(d) and "\\" not in str(d), str(d)


def test_the_thesis_order():
    names = [d.name for d in dv.all_derivations()]
    assert names.index("Lemma 2") < names.index("Theorem 2") < names.index("Theorem 5")
    assert dv.summary().derivation.tolist() == names


def test_unknown_name():
    with pytest.raises(KeyError, match="no derivation 'Theorem 9'; there are Lemma 1"):
        dv.derivation("Theorem 9")


def test_imports_without_torch():
    code = "import sys, reuseprior.derivations; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
