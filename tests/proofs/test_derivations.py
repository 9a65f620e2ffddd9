"""Every step of every work holds, every flipped step and every poisoned definition fails."""

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import pytest
import sympy as sp

from reuseprior.proofs import Derivation, Step
from reuseprior.proofs.prove import proves
from reuseprior.proofs.sample import deviations, worked
from reuseprior.works.nn_mass import theory
from reuseprior.works.thesis import derivations as thesis

ALL = (*thesis.all_derivations(), *theory.DERIVATIONS.all())
STEPS = [
    pytest.param(d, index, id=f"{d.name}-{index}") for d in ALL for index in range(len(d.all_steps))
]
EACH_STEP = pytest.mark.parametrize("derivation, index", STEPS)


@cache
def flipped(derivation: Derivation, index: int) -> Step:
    """The step with its right side's sign flipped, tried on the deep end of its grid."""
    step = derivation.all_steps[index]
    return replace(step, right=-step.right, check=replace(step.check, grid=step.check.grid[-6:]))


@pytest.mark.slow
@EACH_STEP
def test_each_step_holds(derivation, index):
    outcome = derivation.all_steps[index].outcome
    assert outcome.symbolic
    assert outcome.deviation <= outcome.check.tolerance


@pytest.mark.slow
@EACH_STEP
def test_the_point_that_is_worked_out_is_one_that_the_step_speaks_of(derivation, index):
    """A step about networks with bias, or of width one, shows none without or of width three."""
    step = derivation.all_steps[index]
    found = worked(step.left, step.right, step.check)
    if step.check.variable is None:
        assert found.deviation <= step.check.tolerance, str(found)


@pytest.mark.slow
@EACH_STEP
def test_a_flipped_sign_fails_both_checks(derivation, index):
    step = flipped(derivation, index)
    assert not step.outcome.symbolic
    assert step.outcome.deviation > step.check.tolerance
    assert step.mark == "✗"


DEFINITIONS = [
    pytest.param(d, index, which, id=f"{d.name}-{index}-{which}")
    for d in ALL
    for index, step in enumerate(d.all_steps)
    for which in range(len(step.check.where))
]


@pytest.mark.slow
@pytest.mark.parametrize("poison", [lambda x: 2 * x + 1, lambda x: 1 - x])  # 0 changes too
@pytest.mark.parametrize("derivation, index, which", DEFINITIONS)
def test_a_poisoned_definition_turns_its_derivation_red(derivation, index, which, poison):
    step = derivation.all_steps[index]
    where = list(step.check.where)
    where[which] = where[which][0], poison(where[which][1])
    poisoned = replace(step, check=replace(step.check, where=tuple(where)))
    assert step.outcome.defined and not poisoned.outcome.holds
    # the poisoned step comes first, so that the others need not be proved
    broken = replace(derivation, steps=(poisoned, *derivation.steps), correction=None, remark=None)
    assert broken.mark == "✗"


@pytest.mark.slow
@EACH_STEP
def test_what_holds_for_any_numbers_is_not_called_counted(derivation, index):
    step = derivation.all_steps[index]
    without_definitions = replace(step.check, where=())
    if step.outcome.counted:
        assert not proves(step.left, step.right, without_definitions)


@pytest.mark.slow
def test_definitions_are_proved_by_being_put_in():
    definitions = {f"{d.name}, {d.all_steps.index(s) + 1}" for d in ALL for s in d.definitions}
    assert definitions == {
        "Lemma 1, 2", "Theorem 1, 1", "Lemma 2, 4", "Corollary 1, 2", "Lemma 3, 1", "Lemma 3, 2",
        "Equation 5.19, 1", "§5.4.1, 2", "§5.4.1, 4", "NN-Mass, equations 1 to 7, 1",
    }  # fmt: skip


def with_a_term_flipped(expression: sp.Expr, *, inside: bool) -> Iterator[sp.Expr]:
    """The expression with the sign of one term of one of its sums flipped."""
    sums = [e for e in sp.preorder_traversal(expression) if e.is_Add] if inside else [expression]
    for total in sums:
        for term in sp.Add.make_args(total):
            yield expression.xreplace({total: total - 2 * term})


@pytest.mark.slow
@EACH_STEP
def test_a_flipped_term_fails(derivation, index):
    """Inside logarithms and fractions too; in a limit what vanishes may have any sign."""
    step = derivation.all_steps[index]
    inside = step.check.variable is None and not step.right.has(sp.Derivative)
    some = step.check.grid[4:10] if inside else step.check.grid[-6:]
    check = replace(step.check, grid=some)
    for right in with_a_term_flipped(step.right, inside=inside):
        assert max(deviations(step.left, right, check)) > check.tolerance, right


@pytest.mark.slow
@pytest.mark.parametrize("good", ALL, ids=lambda d: d.name)
def test_a_flipped_step_turns_its_derivation_red(good):
    bad = flipped(good, len(good.steps) - 1)
    broken = replace(good, steps=(*good.steps[:-1], bad))
    assert good.mark.startswith("✓") and broken.mark == "✗"
    assert f"**{good.name}** · ✗" in broken._repr_markdown_()
    assert str(broken).startswith(f"{good.name}: ✗")


@pytest.mark.slow
def test_markdown_is_a_table_of_two_columns_with_math():
    for d in ALL:
        text = d._repr_markdown_()
        rows = [line for line in text.splitlines() if line.startswith("|")]
        assert all(row.count("|") == 3 for row in rows), d.name
        assert text.count("$") % 2 == 0
        assert sum("\\displaystyle" in row for row in rows) == len(d.all_steps + d.only_printed)
        assert not hasattr(d, "_repr_html_")
        assert not re.search(r"\\[,;:!{}*|]", text), "Markdown eats such a backslash"


@pytest.mark.slow
def test_no_statement_leaves_latex_in_its_text():
    for d in ALL:
        assert "$" not in str(d) and "\\" not in str(d), str(d)
