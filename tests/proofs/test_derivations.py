"""Every step of every work holds, and broken it turns what rests on it red, and nothing else."""

import re
from dataclasses import replace

import networkx as nx
import pytest
import sympy as sp

from reuseprior.chapters import nn_mass_theorems
from reuseprior.chapters import theorems as thesis
from reuseprior.proofs import balls
from tests.soak import drawn

pytestmark = pytest.mark.slow

BLUEPRINTS = [thesis.DERIVATIONS, nn_mass_theorems.DERIVATIONS]
EACH = [(blueprint, name) for blueprint in BLUEPRINTS for name in blueprint.named]
STEPS = [
    (blueprint, name, which, k)
    for blueprint, name in EACH
    for which, chain in enumerate(blueprint.named[name].all_chains)
    for k in range(len(chain.steps))
]


def more(power: sp.Pow) -> sp.Expr:
    return power.base ** (power.exp + 1)


def another_sign(right: sp.Expr) -> sp.Expr:
    return -right if right != 0 else sp.S.One


def another_coefficient(right: sp.Expr) -> sp.Expr:
    """Of one term where there are several."""
    first, *others = sp.Add.make_args(right)
    return 2 * first + sum(others) if right != 0 else sp.S.One


def another_exponent(right: sp.Expr) -> sp.Expr:
    """Of one power where there are some."""
    powers = [e for e in sp.preorder_traversal(right) if e.is_Pow]
    return right.xreplace({powers[0]: more(powers[0])}) if powers else 3 * right**2 + 7


BREAKS = [another_sign, another_coefficient, another_exponent]


def changed(chain, k, change):
    """The chain with the right side of a step changed, and its rate kept."""
    steps = list(chain.steps)
    steps[k] = replace(steps[k], right=change(steps[k].right))
    assert steps[k].right != chain.steps[k].right
    return replace(chain, steps=tuple(steps))


def broken(blueprint, name, which, k, change):
    found = blueprint.named[name]
    chains = list(found.all_chains)
    chains[which] = changed(chains[which], k, change)
    at = len(found.chains)
    return blueprint.changed(replace(found, chains=tuple(chains[:at]), besides=tuple(chains[at:])))


def red(blueprint) -> set[str]:
    return {name for name in blueprint.named if not blueprint.proved(name)}


@pytest.mark.parametrize("blueprint, name", drawn(EACH, 8, seed=2))
def test_all_that_is_stated_is_proved(blueprint, name):
    assert not blueprint.faults[name]
    assert blueprint.mark(name) != "✗"
    for chain in blueprint.named[name].all_chains:
        for _, values in chain.numbers:
            assert max(map(balls.width, values)) < balls.WIDTH


@pytest.mark.parametrize("change", BREAKS)
@pytest.mark.parametrize("blueprint, name, which, k", drawn(STEPS, 4))
def test_a_broken_step_turns_what_rests_on_it_red(blueprint, name, which, k, change):
    """Its derivation and what descends from it, and nothing else."""
    found = broken(blueprint, name, which, k, change)
    assert red(found) == {name} | nx.descendants(blueprint.graph, name)
    assert f"**{name}** · ✗" in found.one(name)._repr_markdown_()


RATES = [step for step in STEPS if step[0].named[step[1]].all_chains[step[2]].steps[step[3]].rate]


@pytest.mark.parametrize("blueprint, name, which, k", drawn(RATES, 3))
def test_another_rate_is_refused(blueprint, name, which, k):
    chain = blueprint.named[name].all_chains[which]
    step = chain.steps[k]
    for rate in (-step.rate, 2 * step.rate, step.rate / step.variable, sp.S.One):
        assert not replace(chain, steps=(replace(step, rate=rate),), left=chain.sides[k]).holds


PREMISES = [
    (blueprint, name, which, k, premise)
    for blueprint, name, which, k in STEPS
    if not blueprint.named[name].defines
    for premise in range(len(blueprint.named[name].all_chains[which].steps[k].using))
]


@pytest.mark.parametrize("blueprint, name, which, k, premise", drawn(PREMISES, 6))
def test_each_premise_is_needed(blueprint, name, which, k, premise):
    chain = blueprint.named[name].all_chains[which]
    step = chain.steps[k]
    using = (*step.using[:premise], *step.using[premise + 1 :])
    alone = replace(chain, left=chain.sides[k], steps=(replace(step, using=using),))
    assert alone.proofs == (False,), f"{step.why} puts in {step.using[premise].of} for nothing"


@pytest.mark.parametrize("change", BREAKS)
@pytest.mark.parametrize("blueprint, name", drawn(EACH, 4, seed=1))
def test_no_printed_statement_can_be_changed(blueprint, name, change):
    """What is printed and holds, with another text: its mark changes."""
    found = blueprint.named[name]
    for which, chain in enumerate(found.printed):
        if chain in found.only_printed and not chain.holds:
            continue
        printed = list(found.printed)
        printed[which] = changed(chain, len(chain.steps) - 1, change)
        other = blueprint.changed(replace(found, printed=tuple(printed)))
        assert not other.named[name].printed_holds


@pytest.mark.parametrize("blueprint, name", drawn(EACH, 6))
def test_what_is_shown(blueprint, name):
    """A table of two columns with math, links that lead somewhere, and no LaTeX in text."""
    page = blueprint.one(name)
    shown = page._repr_markdown_()
    rows = [line for line in shown.splitlines() if line.startswith("|")]
    assert all(row.count("|") == 3 for row in rows) and shown.count("$") % 2 == 0
    anchors = {blueprint.one(n)._repr_markdown_().split('"')[1] for n in blueprint.named}
    assert set(re.findall(r'href="#([^"]+)"', shown)) <= anchors
    assert not hasattr(page, "_repr_html_")
    assert not re.search(r"\\[,;:!{}*|]", shown), "Markdown eats such a backslash"
    assert "$" not in str(page) and "\\" not in str(page)


OFFS = [  # what vanishes, and may not be added: the rate would be another
    ("Equation 5.20", sp.log(thesis.D - 1) - sp.log(thesis.D)),
    ("Theorem 4", thesis.D * thesis.ω**-thesis.D),
    ("Theorem 5", thesis.ω**-thesis.D * thesis.D),
]


@pytest.mark.parametrize(("name", "off"), OFFS)
def test_a_weak_limit_does_not_pass(name, off):
    chain = thesis.DERIVATIONS.named[name].chains[0]
    assert chain.holds
    assert not changed(chain, len(chain.steps) - 1, lambda right: right + off).proofs[-1]
