"""Theorems in the ledger: a verdict comes from what is printed, and a correction cannot make it."""

from dataclasses import replace

import pytest
import sympy as sp

from reuseprior import paths
from reuseprior.chapters import nn_mass_theorems as nn_mass
from reuseprior.chapters import theorems as thesis
from reuseprior.proofs import Blueprint, Chain, Correction, Derivation, Note, Theory, define, to
from reuseprior.report import cells, ledger, notebooks

side, area = sp.symbols("side area", positive=True)  # a square's
SQUARES = Theory(
    things="drawn squares",
    read=lambda size: {side: size, area: size**2},
    grid=((2,), (3,)),
)
AREA = define(SQUARES, "Area", "of a square", (area, side**2))
RIGHT = Chain(SQUARES, sp.sqrt(area), (to(side, "the root of both", *AREA),))
WRONG = Chain(SQUARES, sp.sqrt(area), (to(2 * side, "a slip", *AREA),))
HOLDS = Derivation("Theorem 1", "of squares", (RIGHT,), (RIGHT,))
CORRECTED = replace(HOLDS, printed=(WRONG,), note=Correction("It has {}.", 2 * side))
COUNTS = "1 step proved, tried on 2 drawn squares"


def entry(found: Derivation, definition: Derivation = AREA, **options):
    (made,) = cells.of_theorems(Blueprint((definition, found)), "s", "squares, p. 1", **options)
    return made


def test_an_entry_of_a_theorem():
    made = entry(HOLDS)
    place = ("s-theorem-1", "squares", "squares, p. 1, Theorem 1")
    assert (made.id, made.source, made.where) == place
    assert (made.kind, made.verdict, made.note) == ("proved", "holds", COUNTS)
    assert entry(CORRECTED).note == f"It has 2*side. ({COUNTS})"
    said = entry(CORRECTED, statement=True).note
    assert said == f"sqrt(area) = side. It has 2*side. ({COUNTS})"


VERDICTS = [  # a derivation, what it has instead, its verdict: what is printed decides
    (HOLDS, {}, "holds"),
    (HOLDS, {"printed": ()}, "fails"),
    (CORRECTED, {}, "corrected"),
    (CORRECTED, {"note": None}, "fails"),
    (CORRECTED, {"note": Note("It has {}.", 2 * side)}, "fails"),
    (CORRECTED, {"printed": (RIGHT, WRONG)}, "corrected"),
    (CORRECTED, {"printed": (RIGHT,)}, "holds"),
    # a chain that fails corrects nothing
    (CORRECTED, {"chains": (WRONG,)}, "fails"),
    (CORRECTED, {"besides": (WRONG,)}, "fails"),
    (HOLDS, {"chains": (RIGHT, WRONG)}, "fails"),
]


@pytest.mark.parametrize(("found", "change", "verdict"), VERDICTS)
def test_verdicts(found, change, verdict):
    assert entry(replace(found, **change)).verdict == verdict


def test_what_rests_on_a_wrong_definition_fails():
    wrong = define(SQUARES, "Area", "of a square", (area, 4 * side**2))
    by_it = Chain(SQUARES, sp.sqrt(area), (to(2 * side, "the root of both", *wrong),))
    assert by_it.proofs == (True,)
    found = entry(replace(HOLDS, chains=(by_it,), printed=(by_it,)), wrong)
    assert found.verdict == "fails" and found.note.startswith("a step of the derivation")


def test_sliders_count_anew(monkeypatch):
    """The cell of the theorems' chapter that has them, which no notebook runs by itself."""
    ipywidgets, shown = pytest.importorskip("ipywidgets"), []
    monkeypatch.setattr(ipywidgets, "interact", lambda count, **given: shown.append((count, given)))
    cells = notebooks.read(paths.NOTEBOOKS / "05-derivations.ipynb")["cells"]
    code = next(notebooks.source(c) for c in cells if "ipywidgets" in notebooks.source(c))
    exec(code, {"interactive": True, "theorems": thesis, "derivation": thesis.derivation})
    ((count, given),) = shown
    assert given["theorem"] == list(thesis.DERIVATIONS.theorems)
    assert "| derivation | ω = 7, D = 20 |" in count("Theorem 1", 7, 20)._repr_markdown_()


WORKS = [("thesis", "", thesis.DERIVATIONS), ("nnmass", "NN-Mass, ", nn_mass.DERIVATIONS)]


@pytest.mark.slow
@pytest.mark.parametrize(("source", "prefix", "blueprint"), WORKS)
def test_with_its_correction_deleted_a_wrong_statement_fails(source, prefix, blueprint):
    corrected = [
        prefix + row["where"].rpartition(", ")[2]
        for row in ledger.committed_rows()
        if row["verdict"] == "corrected" and row["where"].startswith(f"{source}, theorems")
    ]
    assert len(corrected) == (6 if source == "thesis" else 2)
    for name in corrected:
        alone = blueprint.changed(replace(blueprint.named[name], note=None, besides=()))
        assert alone.mark(name) == "✗", name
