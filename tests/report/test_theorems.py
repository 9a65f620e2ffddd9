"""Theorems in the ledger: a verdict comes from what is printed, and a correction cannot make it."""

from dataclasses import replace

import pytest
import sympy as sp

from reuseprior.chapters import nn_mass_theorems as nn_mass
from reuseprior.chapters import theorems as thesis
from reuseprior.proofs import Correction, Derivation, Derivations, Remark, Step, Theory
from reuseprior.report import cells
from reuseprior.report.ledger import KINDS
from tests.soak import drawn

side, area = sp.symbols("side area", positive=True)  # a square's
SQUARES = Theory(
    things="drawn squares",
    settings="sides",
    read=lambda size: {side: size, area: size**2},
    counted=frozenset({area}),
    grid=((2,), (3,)),
    indices={},
)
IS_AREA = SQUARES.check((area, side**2))
MEANS = Step(area, side**2, "what area means", IS_AREA)
RIGHT = Step(sp.sqrt(area), side, "the root of both", IS_AREA)
WRONG = Step(sp.sqrt(area), 2 * side, "a slip", IS_AREA)
HOLDS = Derivation("Theorem 1", "Areas have $\\sqrt A$.", (MEANS, RIGHT), (RIGHT,))
CORRECTED = replace(HOLDS, printed=(WRONG,), correction=Correction("It has $2a$."))
COUNTS = "1 step proved by sympy, 1 also on drawn squares, 1 definition"


def entry(found: Derivation, **options):
    (made,) = cells.of_theorems(Derivations((found,)), "s", "squares, p. 1", **options)
    return made


def verdict(found: Derivation) -> str:
    return entry(found).verdict


def test_an_entry_of_a_theorem():
    made = entry(HOLDS)
    place = ("s-theorem-1", "squares", "squares, p. 1, Theorem 1")
    assert (made.id, made.source, made.where) == place
    assert (made.kind, made.verdict, made.note) == ("proved", "holds", COUNTS)
    assert entry(CORRECTED).note == f"It has 2a. ({COUNTS})"
    assert entry(CORRECTED, statement=True).note == f"Areas have √A. It has 2a. ({COUNTS})"
    remarked = replace(HOLDS, remark=Remark("At $a = 1$ too."))
    assert entry(remarked).note == f"At a = 1 too. ({COUNTS})"


POISONED = SQUARES.check((area, 4 * side**2))
PROVABLE = Step(sp.sqrt(area), 2 * side, "by a wrong definition", POISONED)
UNUSED = Step(sp.log(area**2), 2 * sp.log(area), "whatever area means", POISONED)
VERDICTS = [  # a derivation, what it has instead, its verdict: what is printed decides
    (HOLDS, {}, "holds"),
    (HOLDS, {"printed": ()}, "fails"),
    (CORRECTED, {}, "corrected"),
    (CORRECTED, {"correction": None}, "fails"),
    (CORRECTED, {"correction": None, "remark": Remark("It has 2a.")}, "fails"),
    (CORRECTED, {"printed": (RIGHT, WRONG)}, "corrected"),
    (CORRECTED, {"printed": (RIGHT,)}, "holds"),
    # a step that fails corrects nothing, nor does one by a wrong definition
    (CORRECTED, {"steps": (WRONG,)}, "fails"),
    (CORRECTED, {"correction": Correction("It has 2a.", (WRONG,))}, "fails"),
    (HOLDS, {"steps": (MEANS, WRONG)}, "fails"),
    (HOLDS, {"steps": (PROVABLE,), "printed": (PROVABLE,)}, "fails"),
    (HOLDS, {"steps": (UNUSED,), "printed": (UNUSED,)}, "fails"),
]


def test_verdicts():
    assert PROVABLE.outcome.symbolic
    for found, change, expected in VERDICTS:
        assert verdict(replace(found, **change)) == expected, (found.printed, change)
    note = entry(replace(HOLDS, steps=(MEANS, WRONG))).note
    assert note.startswith("a step of the derivation")
    # that one is of statements without a proof
    assert {expected for *_, expected in VERDICTS} == set(KINDS["proved"]) - {"unsaid"}


EVERY = (*thesis.all_derivations(), *nn_mass.DERIVATIONS.all())
WRONG_AS_PRINTED = {
    "Equation 5.5", "Theorem 4", "Theorem 5", "Equation 5.19", "Equation 5.20", "§5.4.1",
    "NN-Mass, Theorem 2", "NN-Mass, Corollary 1",
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("found", drawn(EVERY, 6), ids=lambda found: found.name)
def test_with_its_correction_deleted_a_wrong_statement_fails(found):
    wrong = found.name in WRONG_AS_PRINTED
    assert verdict(found) == ("corrected" if wrong else "holds")
    assert verdict(replace(found, correction=None)) == ("fails" if wrong else "holds")
