"""The engine, on a theory of squares: proof, numbers, and what is shown of both."""

import ast
import subprocess
import sys
from dataclasses import replace

import mpmath
import pytest
import sympy as sp

from reuseprior import paths
from reuseprior.proofs import (
    Correction,
    Derivation,
    Derivations,
    Dial,
    Printed,
    Remark,
    Step,
    Theory,
    derived,
    plain,
)
from reuseprior.proofs.render import text
from reuseprior.proofs.sample import Sample

side, area = sp.symbols("alpha area", positive=True)  # a square's
last = sp.Symbol("last", integer=True, positive=True)
row = sp.Symbol("row", integer=True, positive=True)
cells = sp.IndexedBase("cells", positive=True)  # of a row
scale, scaled = sp.symbols("scale scaled", positive=True)


def measured(size: int) -> dict:
    return {side: size, area: size**2, last: size, cells: [None, *[size] * size]}


SQUARES = Theory(
    things="drawn squares",
    settings="sides",
    read=measured,
    counted=frozenset((area, cells, cells.label, scaled)),
    grid=((2,), (3,), (10,)),
    indices={row: (1, last)},
    dials=(Dial(scale, (0.5, 2), {scaled: lambda value, read: read[area] * value}),),
    latex={area: "A"},
)
given = SQUARES.check
IS_AREA = (area, side**2)
EXACTLY = "largest deviation below 1e-12"
RIGHT = Step(sp.log(side**2), 2 * sp.log(side), "a power in a logarithm", given())
WRONG = Step(sp.log(side**2), 3 * sp.log(side), "a slip", given())


def test_a_step_says_what_was_checked():
    assert str(RIGHT) == (
        "✓ ln(α^2) = 2*ln(α)\n    a power in a logarithm\n    3: 2.19722 = 2.19722; difference 0; "
        "3 sides, largest deviation below 1e-12"
    )
    found = "3: 2.19722 and 3.29584, 1.1 apart; difference NOT 0; 3 sides, largest deviation 0.33"
    assert str(WRONG).endswith(found) and WRONG.mark == "✗"
    counted = Step(2 * area, 2 * side**2, "measured", given(IS_AREA))
    assert str(counted.outcome) == "3: 18 = 18; difference 0; 3 drawn squares, " + EXACTLY
    assert Step(area, side**2, "", given()).latex == r"A = \alpha^{2}"
    indexed = Step(sp.log(side) * cells[row], area, "", given()).latex
    assert indexed.startswith(r"{cells}_{row} \ln \alpha"), "an index stands before logarithms"
    assert str(Step(sp.S(2) + 2, sp.S(4), "sums", given())).endswith("both sides are numbers")


def test_a_row_works_one_point_out_and_folds_the_others():
    row = WRONG.row(place="p. 3")
    assert "a slip (p. 3) |" in row and "| ✗ 3: 2.19722 and 3.29584, 1.1 apart <br>" in row
    folded = row.partition("<summary>")[2]
    assert folded.startswith("3 sides, largest deviation 0.33</summary>2: 1.38629 and 2.07944")
    assert folded.count("<br>") == 2 and folded.endswith("</details> |")
    assert "(p. 3)" not in replace(WRONG, justification="eq. 5").row(place="p. 3")


def test_a_definition_is_called_one():
    for sides in IS_AREA, IS_AREA[::-1]:
        step = Step(*sides, "what area means", given(IS_AREA))
        assert step.mark == "✓"
        assert str(step.outcome) == "3: 9 = 9; definition; 3 drawn squares, " + EXACTLY
    follows = Step(2 * area, 2 * side**2, "twice", given(IS_AREA))
    assert not follows.outcome.definition
    both = Derivation("a", "b", (step, follows, RIGHT), (follows,))
    assert both.counts == "2 steps proved by sympy, 1 also on drawn squares, 1 definition"


def test_a_wrong_definition_fails_though_sympy_and_the_sides_agree():
    twice = given((area, 2 * side**2))
    step = Step(area + side - area, side, "area is put in for nothing", twice)
    assert step.outcome.symbolic and step.outcome.deviation < 1e-10
    assert step.mark == "✗" and "by a definition that the numbers contradict" in str(step)
    limit = Step(area / area, sp.S.One, "of a limit too", given((area, side), variable=side))
    assert limit.mark == "✗"


def test_what_holds_for_any_numbers_is_not_counted():
    anyway = Step(sp.log(area**2), 2 * sp.log(area), "any number's", given())
    assert str(anyway.outcome) == "3: 4.39445 = 4.39445; difference 0; 3 sides, " + EXACTLY
    through = given((scaled, 2 * area), IS_AREA, grid=SQUARES.grid)
    assert Step(2 * area, 2 * side**2, "measured", through).outcome.counted
    doubled = sp.Symbol("doubled", positive=True)  # not counted, made of what is
    made = replace(SQUARES, read=lambda size: {**measured(size), doubled: 2 * size**2})
    is_double = (doubled, 2 * area)
    assert not Step(doubled, 2 * area, "defined", made.check(is_double)).outcome.counted
    assert Step(doubled, 2 * side**2, "measured", made.check(is_double, IS_AREA)).outcome.counted


def test_a_limit():
    """And the largest deviation is that of all steps."""
    near = given(variable=side, grid=((1000,),), tolerance=0.01)
    limit = Step(side / (2 * side + 1), sp.Rational(1, 2), "grows", near)
    assert Derivation("a", "b", (RIGHT, limit)).deviation == pytest.approx(0.00025, rel=1e-2)
    assert limit.mark == "✓" and "→ (α → ∞) 1/2" in str(limit)
    assert limit.latex.endswith(r"\xrightarrow[\alpha \to \infty]{} \frac{1}{2}")
    assert replace(limit, right=sp.Rational(1, 3)).mark == "✗"
    assert not replace(limit, check=given()).outcome.symbolic


class Fives(list):
    def __getitem__(self, index):
        self.append(index)
        return 5


def test_an_index_that_is_free_is_tried_at_both_ends():
    tried = Fives()
    theory = replace(SQUARES, read=lambda size: {**measured(size), cells: tried})
    assert Step(cells[row], sp.S(5), "five", theory.check((cells[row], sp.S(5)))).mark == "✓"
    assert list(tried) == 2 * [1, 2, 1, 3, 1, 10], "the definition, then the step"


def test_sums_over_an_index():
    summed = sp.Sum(cells[row] * side, (row, 1, last))
    rows = (sp.Sum(cells[row], (row, 1, last)), area)
    assert Step(summed, area * side, "row by row", given(rows)).mark == "✓"
    each = given((cells[row], area / last))
    assert Step(sp.Sum(cells[row], (row, 1, last)), area, "equal rows", each).mark == "✓"


def test_a_dial_is_tried_at_each_value():
    step = Step(scaled, scale * area, "stretched", given((scaled, scale * area)))
    assert step.mark == "✓" and str(step).endswith(f"drawn squares, 2 values of scale, {EXACTLY}")
    assert replace(step, right=scale**2 * area).mark == "✗"


def test_a_range_that_no_assumption_says():
    inside = sp.Abs(side - 1)
    assert not Step(inside, side - 1, "above one", given()).outcome.symbolic
    above = replace(SQUARES, ranges={side: 1 + sp.Symbol("more", positive=True)})
    assert Step(inside, side - 1, "above one", above.check()).mark == "✓"


def test_the_mark_is_that_of_what_is_printed_and_what_is_derived():
    holds = Derivation("a", "b", (RIGHT,), (RIGHT,))
    corrected = replace(holds, printed=(RIGHT, WRONG), correction=Correction("c", (RIGHT,)))
    assert (holds.mark, corrected.mark) == ("✓", "✓ corrected")
    assert holds.printed_holds and not corrected.printed_holds
    assert replace(corrected, correction=None).mark == "✗"
    assert replace(corrected, correction=None, remark=Remark("c", (RIGHT,))).mark == "✗"
    assert replace(corrected, printed=(RIGHT,)).mark == "✓"
    assert replace(corrected, correction=Correction("c", (WRONG,))).mark == "✗"
    assert replace(holds, remark=Remark("c", (WRONG,))).mark == "✗"
    assert not replace(holds, printed=()).printed_holds


def test_what_is_only_printed_has_rows_of_its_own():
    shown = Derivation("a", "b", (RIGHT,), (RIGHT, WRONG), Correction("c"))
    rows = shown._repr_markdown_().splitlines()[6:]
    assert ["as printed: " in row for row in rows] == [True, False, False, False]
    assert rows[1] == "| **As printed.** | |" and "✗" in rows[2]
    assert rows[3] == "| **Correction.** c | |"
    assert "\nAs printed:\n✗ ln(α^2) = 3*ln(α)" in str(shown)


def test_proof_and_numbers_are_both_needed():
    nowhere = Step(1 / (side - 2), 1 / (side - 2), "no value at two", given())
    assert nowhere.outcome.symbolic and nowhere.mark == "✗"
    assert "largest deviation without bound" in str(nowhere) and "2: no value" in nowhere.row()
    only_proved = Step(area, sp.S(7), "defined so", given((area, sp.S(7))))
    assert only_proved.outcome.symbolic and only_proved.mark == "✗"
    only_counted = Step(area, side**2, "no definition", given())
    assert only_counted.outcome.deviation < 1e-10 and only_counted.mark == "✗"


def test_a_function_becomes_a_derivation():
    @derived("Squares, Theorem 1", r"Of $\alpha$.")
    def theorem_1():
        yield RIGHT
        yield Printed(WRONG)
        yield Correction("It says three.")
        yield RIGHT
        yield Remark("Twice.")
        yield RIGHT
        yield RIGHT

    assert theorem_1 == Derivation(
        "Squares, Theorem 1", r"Of $\alpha$.", (RIGHT,), (WRONG,),
        Correction("It says three.", (RIGHT,)), Remark("Twice.", (RIGHT, RIGHT)),
    )  # fmt: skip
    derivations = Derivations((theorem_1,), "Squares, ")
    assert derivations.one("Theorem 1") is theorem_1
    expected = ["Squares, Theorem 1", "✓ corrected", 4, 0, 0, "below 1e-12"]
    assert derivations.summary().iloc[0].tolist() == expected
    with pytest.raises(KeyError, match="no derivation 'Theorem 9'; there are Theorem 1"):
        derivations.one("Theorem 9")


def test_text():
    assert text(sp.Sum(sp.Symbol("x_beta") ** row, (row, 1, sp.oo))) == "Σ(x_β^row, (row, 1, ∞))"
    assert text(sp.Subs(area**2, area, 1)) == "[area^2](area = 1)"
    assert plain(r"$\ln\omega \to \infty$, $\langle E \rangle$") == "ln ω → ∞, ⟨E⟩"
    assert plain(r"$\lvert \mathcal{C}_w \rvert \gg \sqrt b$") == "|C_w| ≫ √b"


SOURCES = sorted((paths.PACKAGE / "proofs").glob("*.py"))
MAKERS = {"symbols", "Symbol", "IndexedBase", "Idx", "Function", "Wild", "var", "abc"}
OF_THEORIES = ["omega", "beta", "lambda_", "sigma", "rho", "perceptron", "graph", "layer"]


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_the_engine_knows_no_theory(source):
    """It imports no other room, makes no symbol, and names nothing that a theory speaks of."""
    code = source.read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            assert not any(name.name.startswith("reuseprior") for name in node.names)
        if isinstance(node, ast.ImportFrom) and node.module.startswith("reuseprior"):
            assert node.module.startswith("reuseprior.proofs")
        elif isinstance(node, ast.ImportFrom) and node.module.startswith("sympy"):
            assert not MAKERS & {name.name for name in node.names}
        if isinstance(node, ast.Call):
            assert getattr(node.func, "attr", None) not in MAKERS
    assert not [name for name in (*OF_THEORIES, *"ωβλσργδ") if name in code]


def test_imports_without_torch():
    modules = "reuseprior.proofs, reuseprior.chapters.theorems"
    code = f"import sys, {modules}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_digits_that_are_rounding_alone_are_not_shown():
    """They are others on another machine."""
    shown = Sample("D = 300", mpmath.mpf("-7.33335e-17"), mpmath.mpf("-1.02082e-88"))
    assert str(shown) == "D = 300: 0 = 0"
    shown = Sample("D = 40", mpmath.mpf("-2.61265e-11"), mpmath.mpf("-2.61260e-11"))
    assert str(shown) == "D = 40: -2.6e-11 = -2.6e-11"
