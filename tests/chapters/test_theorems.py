"""Chapter 5's theorems and chapter 4's two: what holds, what is corrected, what the ledger says."""

from dataclasses import replace

import pytest
import sympy as sp

from reuseprior.chapters import theorems as thesis
from reuseprior.chapters.closed_forms import D, g, ω
from reuseprior.chapters.theorems import GRID, WEIGHT, WHERE, E, H, P, k, m, s, z, z_β, β, γ
from reuseprior.report import ledger

d = sp.Symbol("d", integer=True, positive=True)
S, G = s[k], γ[k]


def total(term):
    return sp.Sum(term, (k, 1, m))


def chain(name, which=0):
    return thesis.DERIVATIONS.named[name].chains[which]


HELD_AT_MINUS_ONE_ONLY = {
    "Theorem 2": (chain("Theorem 2"), S / z, S ** (β**2) / z),
    "Corollary 1": (chain("Corollary 1"), E, total(G * S ** (β**2) / z * sp.log(S))),
    "Corollary 2": (
        chain("Corollary 2"), chain("Corollary 2").left,
        sp.log(z_β) + β**3 * total(G * WEIGHT / z_β * sp.log(S)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HELD_AT_MINUS_ONE_ONLY)
def test_what_holds_at_beta_minus_one_only_is_no_theorem(name):
    found, left, right = HELD_AT_MINUS_ONE_ONLY[name]
    using = tuple(fact for step in found.steps for fact in step.using)
    step = replace(found.steps[0], right=right, using=using)
    wrong = replace(found, left=left, steps=(step,), grid=GRID[:3])
    assert wrong.proofs == wrong.checks == (False,)


def test_five_values_of_beta_are_tried():
    found = replace(chain("Corollary 2"), grid=GRID[:1])
    assert [at for at, _ in found.numbers][:2] == ["ω = 2, D = 2, β = -1", "ω = 2, D = 2, β = -1/2"]
    assert len(found.numbers) == 5


def test_by_hand():
    """Width 2, depth 2: four weights of one context, four of two."""
    values = dict(
        zip((z, E, H), (sp.S(12), sp.log(2) * 2 / 3, sp.log(12) - sp.log(2) * 2 / 3), strict=True)
    )
    for symbol, value in values.items():
        found = thesis.chain(symbol, thesis.to(value, "by hand"), grid=GRID[:1])
        assert found.checks == (True,), symbol
        assert not replace(found, grid=GRID[4:5]).checks[0]


@pytest.mark.slow
def test_a_limit_is_tried_at_a_million_layers():
    found = chain("Theorem 4")
    assert abs(float(found.far(2).mid()) - 1) < 1e-30 and found.theory.far == 10**6
    text = str(thesis.derivation("Theorem 4"))
    assert text.startswith("Theorem 4: ✓ corrected. E = (D - ω/(ω - 1))*ln(ω) + (D*ln(ω)/ω^D)(1 +")
    assert "0.693 nats at ω = 2" in text and "\\" not in text and "$" not in text


def test_entries_are_told_without_tex():
    notes = [r["note"] for r in ledger.committed_rows() if r["where"].startswith(WHERE)]
    assert notes and not {"$", "\\"} & set("".join(notes))


PRINTED = {
    "Equation 5.5": (z, sp.Sum(g * ω**d, (d, 1, D))),
    "Theorem 4": (E, (D - 1) * sp.log(ω)),
    "Theorem 5": (H, sp.log(g) + sp.log(ω) - sp.log(ω - 1)),
    "Equation 5.19": (P, sp.log((g * D * E + 1) * ω / (2 * ω + g * D))),
}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "printed"), PRINTED.items())
def test_what_is_printed_and_wrong_fails_both_checks(name, printed):
    (found,) = thesis.DERIVATIONS.named[name].only_printed
    assert (found.left, found.right) == printed
    assert found.proofs == found.checks == (False,)


def test_names():
    names = list(thesis.DERIVATIONS.theorems)
    assert names.index("Lemma 2") < names.index("Theorem 2") < names.index("Theorem 5")
    with pytest.raises(KeyError, match="no derivation 'Theorem 9'; there are Lemma 1"):
        thesis.derivation("Theorem 9")
