"""The engine, on a theory of squares: proof, numbers, premises, and what is shown of them."""

import ast
import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest
import sympy as sp

from reuseprior import paths
from reuseprior.proofs import (
    Blueprint,
    Chain,
    Correction,
    Derivation,
    Drawing,
    Fact,
    Note,
    Premises,
    ProofError,
    Theory,
    balls,
    define,
    derived,
    prove,
    to,
)
from reuseprior.proofs.render import text
from reuseprior.report.notebooks import imported_names

side, area = sp.symbols("alpha area", positive=True)  # a square's
last = sp.Symbol("last", integer=True, positive=True)
row = sp.Symbol("row", integer=True, positive=True)
cells = sp.IndexedBase("cells", positive=True)  # of a row
scale, scaled, diagonal = sp.symbols("scale scaled diagonal", positive=True)


def measured(size: int) -> dict:
    return {side: size, area: size**2, last: size, cells: [None, *[size] * size]}


SQUARES = Theory(
    things="drawn squares",
    read=measured,
    grid=((2,), (3,), (10,)),
    indices={row: (1, last)},
    free_parameters={scale: (sp.Rational(1, 2), sp.S(2))},
    made={scaled: area * scale, diagonal: sp.sqrt(2 * area)},
    latex={area: "A"},
)


def chain(left, *steps, **options) -> Chain:
    return Chain(options.pop("theory", SQUARES), left, steps, **options)


ABOVE = replace(SQUARES, ranges={side: 1 + sp.Symbol("more", positive=True)})
AREA = define(SQUARES, "Area", "of a square", (area, side**2))
RIGHT = chain(sp.log(side**2), to(2 * sp.log(side), "a power in a logarithm"))
WRONG = chain(sp.log(side**2), to(3 * sp.log(side), "a slip"))
IS_AREA = Fact(area, side**2, "Area")


def derivation(*chains: Chain, name="Theorem 1", **options) -> Derivation:
    return Derivation(name, "of squares", chains, options.pop("printed", chains), **options)


def blueprint(*chains: Chain, **options) -> Blueprint:
    return Blueprint((AREA, derivation(*chains, **options)))


def mark(*chains: Chain, **options) -> str:
    return blueprint(*chains, **options).mark("Theorem 1")


def faults(*chains: Chain, **options) -> str:
    return "; ".join(blueprint(*chains, **options).faults["Theorem 1"])


def test_a_chain_states_its_ends_and_shows_a_ball_a_side():
    assert (mark(RIGHT), mark(WRONG)) == ("✓", "✗")
    assert str(RIGHT) == "ln(α^2) = 2*ln(α)" and RIGHT.statement.startswith(r"\ln{\left(\alpha^{2}")
    shown = blueprint(RIGHT).one("Theorem 1")._repr_markdown_()
    assert "| ✓ 1.38629436111989061883446424292 ± 10⁻²⁹ |" in shown and "3 drawn squares" in shown
    assert "difference NOT 0" in blueprint(WRONG).one("Theorem 1")._repr_markdown_()
    (_, (left, right)), *_ = RIGHT.numbers
    assert balls.meet(left, right) and balls.width(left) < balls.WIDTH


def test_a_power_in_a_logarithm_needs_a_sign():
    either = sp.Symbol("either", real=True)
    assert not prove.equal(sp.log(either**2), 2 * sp.log(either), ())
    assert prove.equal(sp.log(side**2), 2 * sp.log(side), ())
    lack, other = side - 1, scale - 2
    squared, apart = sp.log(lack**2) - 2 * sp.log(lack), sp.log(lack / other) - sp.log(lack)
    assert not prove.equal(squared, sp.S.Zero, ())
    assert not prove.equal(apart, -sp.log(other), ()), "both may be below zero"
    assert prove.equal(sp.log(1 / lack), -sp.log(lack), ()), "which is real above zero alone"


def test_a_range_says_the_signs_that_a_proof_needs():
    """Of a factor, and of a power of what is above one less one."""
    squared = chain(sp.log((side - 1) ** 2), to(2 * sp.log(side - 1), "squared"))
    power, other = side**last - 1, scale - 2
    split = chain(sp.log(power * other), to(sp.log(power) + sp.log(other), "two factors"))
    for found in (squared, split):
        assert found.proofs == (False,) and replace(found, theory=ABOVE).proofs == (True,)
    one = define(ABOVE, "One", "which no range keeps out", (side, sp.S.One), grid=((1,),))
    put_in = chain(side**2, to(sp.S.One, "at one", *one), theory=ABOVE)
    assert put_in.proofs == (True,)


def test_what_is_counted_is_exact_and_other_numbers_are_told_apart_in_the_fortieth_digit():
    found = chain(area / 7, to(side**2 / 7, "measured", IS_AREA))
    assert [balls.shown(x) for x in found.numbers[0][1]] == ["4/7", "4/7"] and mark(found) == "✓"
    tiny = sp.Rational(1, 10**40)
    apart = chain(area, to(side**2 + tiny, "nearly", IS_AREA))
    assert mark(apart) == "✗" and not apart.checks[0]
    assert not chain(sp.log(side), to(sp.log(side) + tiny, "nearly")).proofs[0]
    assert chain(sp.log(side), to(sp.log(side) + sp.S(10) ** -29, "nearly")).checks == (False,)


def test_proof_and_numbers_are_both_needed():
    nowhere = chain(1 / (side - 2), to(1 / (side - 2), "no value at two"))
    assert nowhere.proofs[0] and mark(nowhere) == "✗"
    assert "no value" in blueprint(nowhere).one("Theorem 1")._repr_markdown_()
    no_premise = chain(area, to(side**2, "nothing is put in"))
    assert no_premise.checks[0] and mark(no_premise) == "✗"
    wrong = define(SQUARES, "Seven", "a wrong one", (area, sp.S(7)))
    by_it = derivation(chain(area, to(sp.S(7), "defined so", *wrong)))
    found = Blueprint((wrong, by_it))
    assert found.mark("Seven") == found.mark("Theorem 1") == "✗"


NO_VALUE = [  # at the first point, at one between, at the last, at several
    1 / (side - 2), 1 / (side - 3), 1 / (side - 10), sp.log(side - 2), sp.log(5 - side),
    sp.sqrt(9 - side), side / (side - 10) ** 2, 1 / sp.log(side / 3), side / (area - side**2 + 0),
    side * sp.log(-1), side * sp.log(0),
]  # fmt: skip


@pytest.mark.parametrize("side_of_it", NO_VALUE, ids=str)
def test_what_has_no_value_anywhere_where_it_is_tried_does_not_hold(side_of_it):
    for relation in ("=", "≥"):
        found = chain(side_of_it, to(side_of_it, "the same", relation=relation))
        assert not found.checks[0] and not found.holds and mark(found) == "✗"


def test_each_step_needs_its_own_proof():
    """A right end does not make up for a wrong middle, nor a middle left out for its premise."""
    middle = to(side**2 + 1, "a slip", IS_AREA), to(side * side, "and back", IS_AREA)
    assert mark(chain(area, *middle)) == "✗"
    two = chain(2 * area, to(2 * side**2, "measured", IS_AREA), to(side**2 + side**2, "twice"))
    assert mark(two) == "✓" and two.fact == Fact(2 * area, 2 * side**2)
    assert mark(replace(two, steps=two.steps[1:])) == "✗"


GOOD = chain(2 * area, to(2 * side**2, "measured", IS_AREA))
PREMISES = [  # what is put in, and why it may not be
    (Fact(area, side**2, "Theorem 1"), "it puts in Theorem 1, which comes later"),
    (Fact(area, side**2), "does not say"),
    (Fact(area, side**3, "Area"), "area = α^3, which Area does not say"),
    (Fact(area, side**2, "Lemma 9"), "it puts in Lemma 9, which is not in this graph"),
]


@pytest.mark.parametrize(("fact", "fault"), PREMISES)
def test_premises_are_said_before_by_who_is_named(fact, fault):
    """Circular, forward and missing ones are faults, and so is another statement."""
    assert mark(GOOD) == "✓" and not faults(GOOD)
    wrong = chain(2 * area, to(2 * fact.right, "put in", fact))
    assert fault in faults(wrong) and mark(wrong) == "✗"
    printed = chain(area, to(fact.right, "printed", fact))
    assert fault in faults(GOOD, printed=(printed,)), "what is printed has premises too"
    forward = Blueprint((derivation(GOOD), AREA))
    assert forward.faults["Theorem 1"] == ["it puts in Area, which comes later"]


def test_what_is_to_be_proved_is_no_second_definition():
    again = define(SQUARES, "Area again", "circular", (area, side**2))
    scaled_up = chain(area * 2, to(side**2 * 2, "difference 0", *again))
    found = Blueprint((AREA, again, derivation(scaled_up)))
    assert scaled_up.proofs[0] and found.mark("Area again") == found.mark("Theorem 1") == "✗"
    says = "area = α^2 is no definition, as what area is, Area says: prove it"
    assert found.faults["Area again"] == [says]
    twice = define(SQUARES, "Twice", "hidden in a product", (2 * area, 2 * side**2))
    assert Blueprint((AREA, twice)).mark("Twice") == "✗"


def test_what_rests_on_a_case_is_one():
    two = define(SQUARES, "Two", "sides of two", (side, sp.S(2)), grid=((2,),))
    four = derivation(chain(area, to(sp.S(4), "two by two", IS_AREA, *two)))
    eight = chain(2 * area, to(sp.S(8), "twice", four[area]))
    assert eight.points == ((2,),)
    found = Blueprint((AREA, two, four, derivation(eight, name="Theorem 2")))
    assert found.mark("Theorem 2") == "✓"
    everywhere = replace(eight, steps=(to(sp.S(8), "twice", four[area]._replace(grid=())),))
    forged = found.changed(derivation(everywhere, name="Theorem 2"))
    assert forged.mark("Theorem 2") == "✗" and "does not say" in forged.faults["Theorem 2"][0]


def test_a_case_does_not_prove_what_is_printed_of_all():
    two = define(SQUARES, "Two", "sides of two", (side, sp.S(2)), grid=((2,),))
    four = chain(area, to(sp.S(4), "two by two", IS_AREA, *two))
    everywhere, there = (chain(area, to(sp.S(4), "so"), grid=grid) for grid in ((), ((2,),)))
    for printed, says in ((everywhere, "✗"), (there, "✓")):
        found = Blueprint((AREA, two, derivation(four, printed=(printed,))))
        assert found.mark("Theorem 1") == says


def test_what_is_tried_nowhere_is_not_proved():
    """Not by cases that have no point in common, whatever would follow from them."""
    two = define(SQUARES, "Two", "sides of two", (side, last), grid=((2,),))
    three = define(SQUARES, "Three", "rows of three", (last, sp.S(3)), grid=((3,),))
    both = chain(side, to(sp.S(3), "both", two[side], three[last]))
    assert both.points == () and both.proofs == (True,) and not both.holds
    found = Blueprint((two, three, derivation(both)))
    assert (found.mark("Two"), found.mark("Three"), found.mark("Theorem 1")) == ("✓", "✓", "✗")
    assert "is tried nowhere" in found.faults["Theorem 1"][0]
    assert "**Not proved:** α = 3 is tried" in found.one("Theorem 1")._repr_markdown_()


def test_a_chain_may_put_in_those_above_it():
    below = chain(area**2, to(side**4, "squared", chain(area, to(side**2, "measured", IS_AREA))))
    above = chain(area, to(side**2, "measured", IS_AREA))
    assert mark(above, below) == "✓" and mark(below, above) == "✗"


def limit(right, rate, left=side / (2 * side + 1), **options) -> Chain:
    return chain(left, to(right, "grows", relation="→", variable=side, rate=rate, **options))


def test_a_limit_is_proved_with_its_rate():
    half, rate = sp.Rational(1, 2), -1 / (4 * side)
    found = limit(half, rate)
    assert mark(found) == "✓" and str(found).endswith("(-1/(4*α))(1 + o(1)) for α → ∞")
    assert mark(limit(half, -rate)) == mark(limit(half, 2 * rate)) == "✗"
    assert mark(limit(half + 1 / side, rate)) == "✗", "the same limit, and another rate"
    assert mark(limit(sp.Rational(1, 3), rate)) == "✗"
    assert mark(limit(half, sp.Rational(1, 4))) == "✗", "a rate vanishes"
    assert "is a limit without its rate" in faults(limit(half, None))
    with pytest.raises(ProofError, match="is no equation, so that no step can put it in"):
        to(side, "grows", found)


def test_a_limit_is_no_equation_by_any_name_and_printed_needs_no_rate():
    half = sp.Rational(1, 2)
    found = limit(half, -1 / (4 * side))
    equal = Fact(found.left, found.right, "Theorem 1")
    forged = derivation(chain(2 * found.left, to(sp.S.One, "put in", equal)), name="Theorem 2")
    said = Blueprint((AREA, derivation(found), forged)).faults["Theorem 2"]
    assert said == ["it puts in α/(2*α + 1) = 1/2, which Theorem 1 does not say"]
    for right, says in ((half, "✓"), (sp.Rational(1, 3), "✗")):
        assert mark(found, printed=(limit(right, None),)) == says
    grows = chain(side**last / (side**last + 1), to(
        sp.S.One, "above one", relation="→", variable=last, rate=-(side**-last)
    ))  # fmt: skip
    assert replace(grows, theory=ABOVE).proofs == (True,), "by a range that no assumption says"


def test_ratios_and_inequalities():
    ratio = {"relation": "~", "variable": side}
    assert mark(chain(side + 5, to(side, "as ratios", **ratio))) == "✓"
    assert mark(chain(side + 5, to(2 * side, "as ratios", **ratio))) == "✗"
    assert mark(chain(side + 5, to(side, "more", relation="≥"))) == "✓"
    assert mark(chain(side, to(side + 5, "less", relation="≥"))) == "✗"
    twice = chain(side + 5, to(side, "more", relation="≥"), to(side, "as ratios", **ratio))
    assert "has more than one step that is no equation" in faults(twice)


def test_indices_sums_and_dials():
    summed, each = sp.Sum(cells[row] * side, (row, 1, last)), Fact(cells[row], area / last, "Rows")
    rows = define(SQUARES, "Rows", "equal", (cells[row], area / last))
    found = chain(summed, to(area * side, "row by row", each))
    assert Blueprint((rows, derivation(found))).mark("Theorem 1") == "✓"
    told = [at for at, _ in rows.chains[0].at((3,))]
    assert told == ["3, row = 1", "3, row = 2", "3, row = 3"]
    stretch = define(SQUARES, "Stretch", "by a scale", (scaled, scale * area))
    assert [at for at, _ in stretch.chains[0].at((3,))] == ["3, scale = 1/2", "3, scale = 2"]
    assert stretch.holds and not define(SQUARES, "S", "", (scaled, scale**2 * area)).holds


def test_what_is_said_of_one_of_a_row_is_not_put_in_for_all():
    """Neither of the first nor of the last, and the one between two ends is tried."""
    uneven = replace(
        SQUARES, grid=((3,),), read=lambda size: {**measured(size), cells: [None, 5, 7, 5]}
    )
    for one in (sp.S(1), last):
        says = define(uneven, "One", "of one", (cells[one], sp.S(5)))
        for which, holds in ((one, True), (row, False)):
            found = chain(cells[which] / 2, to(sp.S(5) / 2, "half", *says), theory=uneven)
            proved = holds and one != last
            assert says.holds and (found.proofs, found.checks) == ((proved,), (holds,))
    assert not define(uneven, "All", "wrong between", (cells[row], sp.S(5))).holds


def test_a_case_holds_at_its_points_and_is_tried_there():
    case = define(SQUARES, "Two", "sides of two", (side, sp.S(2)), grid=((2,),))
    found = chain(area, to(sp.S(4), "two by two", IS_AREA, *case))
    assert found.points == ((2,),) and Blueprint((AREA, case, derivation(found))).mark("Theorem 1")
    assert not replace(case, chains=(replace(case.chains[0], grid=()),)).holds
    everywhere = define(SQUARES, "Small", "tried on small ones", (area, side**2), grid=((2,), (3,)))
    small = chain(2 * area, to(2 * side**2, "measured", *everywhere))
    assert [small.fits(point) for point in ((3,), (10,), (7,))] == [True] * 3
    assert [found.fits(point) for point in ((2,), (3,), (7,))] == [True, False, False]
    shown = Blueprint((everywhere, derivation(small))).one("Theorem 1").at(7)._repr_markdown_()
    assert "✓ 98 |" in shown and "2 drawn squares" in shown


def test_floats_are_compared_with_what_they_stand_for():
    off = replace(SQUARES, read=lambda size: {**measured(size), diagonal: 2**0.5 * size + 1e-6})
    with pytest.raises(ProofError, match=r"diagonal of 2 is 2\.82"):
        _ = chain(diagonal, to(diagonal, "so"), theory=off).numbers


def test_the_mark_is_that_of_what_is_printed_and_what_is_derived():
    corrected = {"printed": (RIGHT, WRONG), "note": Correction("c")}
    assert mark(RIGHT, **corrected) == "✓ corrected"
    assert mark(RIGHT, printed=(RIGHT, WRONG)) == "✗"
    assert mark(RIGHT, printed=(RIGHT, WRONG), note=Note("c")) == "✗"
    assert mark(RIGHT, note=Correction("c"), besides=(WRONG,)) == "✗"
    assert mark(RIGHT, printed=()) == "✗"


def test_what_only_prints_something_states_nothing():
    only = derived("Theorem 1", "")(lambda: [[chain(side, to(side + 1, "so"))]])
    assert not only.defines and Blueprint((AREA, only)).mark("Theorem 1") == "✗"


def test_a_page():
    """Math in two columns, links to premises, and what stands for what is only printed."""
    note = Correction("It has {}.", 3 * side)
    page = blueprint(GOOD, printed=(WRONG,), note=note, besides=(RIGHT,)).one("Theorem 1")
    shown = page._repr_markdown_()
    assert '· *using:* <a href="#area">Area</a> | ✓ 8 |' in shown
    assert "| **As printed.** | |" in shown and r"| **Correction.** It has $3 \alpha$. | |" in shown
    assert shown.endswith('*Rests on:* <a href="#area">Area</a>.')
    text = "Theorem 1: ✓ corrected. 2*area = 2*α^2. Printed: ln(α^2) = 3*ln(α). It has 3*α."
    assert str(page) == repr(page) == text
    assert page.words == "It has 3*α." and page.counts == "2 steps proved, tried on 3 drawn squares"
    elsewhere = page.at(10)._repr_markdown_()
    assert "| derivation | 10 |" in elsewhere and "✓ 200 |" in elsewhere
    premises = Premises(blueprint(GOOD))._repr_markdown_()
    assert '| <a id="area"></a>**Area** · ✓ <br> of a square | $\\displaystyle A = ' in premises
    assert "Theorem 1" not in premises


def test_a_drawing_has_a_box_for_each_and_a_line_for_what_is_put_in():
    fine = Drawing(blueprint(GOOD), Blueprint((AREA,), "Other, ", "10-other"))._repr_html_()
    root = ElementTree.fromstring(fine)
    links = list(root.iter(f"{HTML}a"))  # of HTML, which JupyterLab follows
    assert [a.get("href") for a in links] == ["#area", "#theorem-1", "10-other.ipynb#area"]
    assert links[1].get("title") == "Theorem 1: ✓. 2*area = 2*α^2" and "Other" in fine
    assert len(list(root.iter(f"{SVG}path"))) == 1 and "dashed" not in fine
    wrong = define(SQUARES, "Area", "a wrong one", (area, side))
    broken = Drawing(Blueprint((wrong, derivation(GOOD))))._repr_html_()
    assert broken.count("dashed") == 2, "what rests on it is not proved either"


SVG, HTML = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xhtml}"


def test_a_function_becomes_a_derivation():
    @derived("Squares, Theorem 1", r"of $\alpha$")
    def theorem_1():
        yield RIGHT
        yield [WRONG]
        yield Correction("It says three.")
        yield RIGHT

    assert theorem_1.chains == theorem_1.besides == (RIGHT,) and theorem_1.printed == (WRONG,)
    found = Blueprint((theorem_1,), "Squares, ")
    assert found.one("Theorem 1") == found.one("Squares, Theorem 1")
    assert found.summary().iloc[0].tolist() == ["Squares, Theorem 1", "✓ corrected", 2, 2, 3]
    with pytest.raises(KeyError, match="no derivation 'Theorem 9'; there are Theorem 1"):
        found.one("Theorem 9")
    with pytest.raises(ProofError, match="Squares, Theorem 1 does not say what area is"):
        theorem_1[area]


def test_text():
    assert text(sp.Sum(sp.Symbol("x_beta") ** row, (row, 1, sp.oo))) == "Σ(x_β^row, (row, 1, ∞))"
    assert text(sp.Subs(area**2, area, 1)) == "[area^2](area = 1)"


SOURCES = sorted((paths.PACKAGE / "proofs").glob("*.py"))
MAKERS = {"symbols", "Symbol", "IndexedBase", "Idx", "Function", "Wild", "var"}
OF_THEORIES = "omega|beta|lambda_|sigma|rho|perceptron|layer|[ωβλσργδ]"


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_the_engine_knows_no_theory(source):
    """It imports no other room, makes no symbol, and names nothing that a theory speaks of."""
    code = source.read_text(encoding="utf-8")
    rooms = {name for name in imported_names(code) if name.startswith("reuseprior.")}
    assert all(name.startswith("reuseprior.proofs") for name in rooms)
    calls = [node.func for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)]
    assert not MAKERS & {ast.unparse(called).rpartition(".")[2] for called in calls}
    assert not re.search(OF_THEORIES, code)
