"""Every step of every work holds, every flipped step and every poisoned definition fails."""

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest
import sympy as sp

from reuseprior.chapters import nn_mass_theorems
from reuseprior.chapters import theorems as thesis
from reuseprior.proofs.prove import proves
from reuseprior.proofs.sample import deviations, worked
from tests.soak import drawn

pytestmark = pytest.mark.slow

# Every run of their notebooks proves them all; here a few of both works are
DERIVATIONS = drawn((*thesis.all_derivations(), *nn_mass_theorems.DERIVATIONS.all()), 6, seed=3)
STEPS = [
    pytest.param(d, index, id=f"{d.name}-{index}", marks=case.marks)
    for case in DERIVATIONS
    for (d,) in [case.values]
    for index in range(len(d.all_steps))
]
PLACES = [  # of definitions
    pytest.param(*case.values, which, id=f"{case.id}-{which}", marks=case.marks)
    for case in STEPS
    for which in range(len(case.values[0].all_steps[case.values[1]].check.where))
]
EACH_DERIVATION = pytest.mark.parametrize("derivation", DERIVATIONS, ids=lambda d: d.name)
EACH_STEP = pytest.mark.parametrize("derivation, index", STEPS)


@EACH_STEP
def test_each_step_holds(derivation, index):
    step = derivation.all_steps[index]
    outcome = step.outcome
    assert outcome.symbolic
    assert outcome.deviation <= outcome.check.tolerance
    # the point worked out is one that the step speaks of: with bias, or of width one
    found = worked(step.left, step.right, step.check)
    assert step.check.variable or found.deviation <= step.check.tolerance, str(found)
    # what holds for any numbers is not called counted
    assert not outcome.counted or not proves(step.left, step.right, replace(step.check, where=()))


@EACH_STEP
def test_a_flipped_sign_fails_both_checks_and_turns_its_derivation_red(derivation, index):
    """The step with its right side's sign flipped, tried on the deep end of its grid."""
    step = derivation.all_steps[index]
    step = replace(step, right=-step.right, check=replace(step.check, grid=step.check.grid[-6:]))
    assert not step.outcome.symbolic
    assert step.outcome.deviation > step.check.tolerance
    broken = replace(derivation, steps=(step, *derivation.steps))
    assert step.mark == broken.mark == "✗"
    assert f"**{derivation.name}** · ✗" in broken._repr_markdown_()
    assert str(broken).startswith(f"{derivation.name}: ✗")


@pytest.mark.parametrize("poison", [lambda x: 2 * x + 1, lambda x: 1 - x])  # 0 changes too
@pytest.mark.parametrize("derivation, index, which", PLACES)
def test_a_poisoned_definition_turns_its_derivation_red(derivation, index, which, poison):
    step = derivation.all_steps[index]
    where = list(step.check.where)
    where[which] = where[which][0], poison(where[which][1])
    poisoned = replace(step, check=replace(step.check, where=tuple(where)))
    assert step.outcome.defined and not poisoned.outcome.holds
    # the poisoned step comes first, so that the others need not be proved
    broken = replace(derivation, steps=(poisoned, *derivation.steps), correction=None, remark=None)
    assert broken.mark == "✗"


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
    inside = step.check.variable is None and not step.right.has(sp.Derivative)
    some = step.check.grid[4:10] if inside else step.check.grid[-6:]
    check = replace(step.check, grid=some)
    for right in with_a_term_flipped(step.right, inside=inside):
        assert max(deviations(step.left, right, check)) > check.tolerance, right


DEFINITIONS = {  # steps that are proved by putting a definition in
    "Lemma 1": [2], "Theorem 1": [1], "Lemma 2": [4], "Corollary 1": [2], "Lemma 3": [1, 2],
    "Equation 5.19": [1], "§5.4.1": [2, 4], "NN-Mass, equations 1 to 7": [1],
}  # fmt: skip


@EACH_DERIVATION
def test_what_is_shown(derivation):
    """A table of two columns with math, and no LaTeX in text."""
    numbers = [derivation.all_steps.index(step) + 1 for step in derivation.definitions]
    assert numbers == DEFINITIONS.get(derivation.name, [])
    text = derivation._repr_markdown_()
    assert derivation.mark.startswith("✓")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert all(row.count("|") == 3 for row in rows)
    assert text.count("$") % 2 == 0
    shown = len(derivation.all_steps + derivation.only_printed)
    assert sum("\\displaystyle" in row for row in rows) == shown
    assert not hasattr(derivation, "_repr_html_")
    assert not re.search(r"\\[,;:!{}*|]", text), "Markdown eats such a backslash"
    assert "$" not in str(derivation) and "\\" not in str(derivation)
