"""Trees and comparisons of blueprints: what they say, as text and as HTML."""

import random
import re
from xml.etree import ElementTree

import pytest

from reuseprior import revolver as rv
from reuseprior.revolver import blocks
from reuseprior.revolver.show import SAME, compare, mutations, tree
from tests.revolver.worlds import SMALL, populate, settled


def residual(kernel_size=3, inner="conv"):
    """conv 8 → 8 and again, each in a unit with a batch norm, around which the input is added."""
    convs = [blocks.conv((8, 4, 4), 8, kernel_size), blocks.conv((8, 4, 4), 8, kernel_size)]
    if inner == "ensemble":
        convs[1] = blocks.ensemble_mean([blocks.conv((8, 4, 4), 8, 3) for _ in range(3)])
    return blocks.residual([blocks.unit(conv) for conv in convs])


KEPT = {*"div p code b span details summary ul li table thead tbody tr th td pre".split()}


def read(html):
    """A page whose tags nest and are of those that GitHub and JupyterLab keep of any notebook.

    JupyterLab keeps these, and what is styled on them, of a notebook that it does not trust.
    """
    spaces = re.sub("&[a-z]+sp;", " ", html)
    page = ElementTree.fromstring(spaces.replace("<details open>", '<details open="">'))
    assert {element.tag for element in page.iter()} <= KEPT
    assert not any(name.startswith("on") for element in page.iter() for name in element.attrib)
    return page


def text(html):
    return "".join(read(html).itertext())


def test_a_convolution_as_text():
    node = blocks.conv((3, 32, 32), 16, kernel_size=7, stride=2)
    assert str(tree(node)).splitlines() == [
        "   block                 shape               parameters  uses  score",
        "S  conv3_16_7_2_3_1_1_F  3×32×32 → 16×16×16       2,352     1",
        "S shared   U unique   F frozen   M mutated",
    ]
    node.meta["score"] = 0.5
    assert "0.500" in str(tree(node)) and "0.125" in str(tree(node, {node.name: 0.125}))


def test_every_mark_is_written():
    node = settled(residual())
    conv = node.at("unit0/conv")
    conv.freeze = True
    conv.meta |= {"mutation_history": [blocks.conv((8, 4, 4), 8, 5).to_data()], "score": 0.25}
    lines = str(tree(node)).splitlines()
    assert lines[1].startswith("U  ") and "residual" in lines[1]
    assert "0.250" in next(line for line in lines if line.startswith("SFM"))
    shown = text(tree(node)._repr_html_())
    assert "SFM conv conv8_8_3" in shown and "score 0.250 · was conv8_8_5" in shown
    assert "used 2×" in shown  # the second unit holds the same convolution


def test_batch_norms_of_one_use_have_a_mark_of_their_own():
    space = rv.Space(**{**SMALL.to_data(), "norm_scope": "use", "unique": 0.0})
    node = rv.generate(space, random.Random(0), rv.Tags())
    assert "@ owned by this use" in str(tree(node))
    assert "@ owned by this use" not in str(tree(settled(residual())))


@pytest.mark.parametrize("levels, opened", [(0, 0), (1, 1), (2, 3), (9, 3)])
def test_levels_open_the_tree(levels, opened):
    node = settled(residual())  # two units in the root: three blocks that open
    shown = tree(node, levels=levels)
    assert len(read(shown._repr_html_()).findall(".//details[@open]")) == opened
    deep = sum("conv8_8" in line for line in str(shown).splitlines())
    assert deep == (2 if levels >= 2 else 0)


def test_names_are_escaped():
    node = blocks.conv((8, 4, 4), 8)
    node.prefix = "<script>/"
    assert "<script>" not in tree(node)._repr_html_()
    assert "<script>/conv8" in text(tree(node)._repr_html_())


CHANGES = [  # what is done to a residual block of two units, and the rows of the table
    (lambda n: n.children.update(rv.clone(n, rv.Tags(99)).children), []),
    (lambda n: setattr(n, "freeze", True), [("the root", "freeze", "False", "True")]),
    (lambda n: n.at("unit1").children.update(conv=residual(inner="ensemble").at("unit1/conv")),
     [("unit1/conv", "replaced", "conv8_8_3_1_1_1_1_F", "ensemble_mean8_8-")]),
    (lambda n: n.at("unit0/conv").arguments.update(kernel_size=5, padding=2),
     [("unit0/conv", "kernel_size", "3", "5"), ("unit0/conv", "padding", "1", "2")]),
    (lambda n: n.children.update(unit2=n.at("unit1").copy()),
     [("unit2", "added", "", "unit8_8-")]),
    (lambda n: n.children.pop("unit1"), [("unit1", "removed", "unit8_8-", "")]),
    (lambda n: n.at("unit0").children.update(bn=n.at("unit0").children.pop("bn")),
     [("unit0", "moved", "bn act conv", "act conv bn")]),
]  # fmt: skip


@pytest.mark.parametrize("change, expected", CHANGES)
def test_changes(change, expected):
    before = settled(residual())
    after = before.copy()
    change(after)
    rows = list(compare(before, after).table().itertuples(index=False, name=None))
    assert len(rows) == len(expected)
    assert (str(compare(before, after)) == SAME) == (not expected)
    for row, wanted in zip(rows, expected, strict=True):
        assert row[:2] == wanted[:2]
        assert row[2].startswith(wanted[2]) and row[3].startswith(wanted[3])


def test_a_block_that_comes_first_does_not_change_those_after_it():
    before = settled(residual())
    after = before.copy()
    first = blocks.unit(blocks.conv((8, 4, 4), 8, kernel_size=1))
    units = [first, *after.children.values()]
    after.children = {f"unit{index}": unit for index, unit in enumerate(units)}
    (change,) = compare(before, after).changes
    assert (change.what, change.left, change.right) == ("added", None, ("unit0",))


def test_two_columns():
    before = settled(residual())
    after = before.copy()
    after.at("unit1").children["conv"] = residual(inner="ensemble").at("unit1/conv")
    found = compare(before, after)
    lines = str(found).splitlines()
    middle = lines[0].index("│")
    lines = lines[: lines.index("")]
    left = [line[:middle].strip() for line in lines]
    right = [line[middle + 1 :].strip() for line in lines]
    assert (left[0], right[0]) == ("before", "after")
    for side, name in [(left, "conv conv8_8"), (right, "conv ensemble_mean8_8")]:
        (marked,) = [line for line in side if name in line]
        assert marked.startswith("≠") and "8×4×4 → 8×4×4" in marked
        assert any("(1 not changed)" in line for line in side)
    assert sum("member" in line for line in right) == 3
    assert "≠" in text(found._repr_html_())


def test_offspring_are_told_from_their_parents():
    rng, tags = random.Random(0), rv.Tags()
    space = rv.Space(**{**SMALL.to_data(), "schemes": ("resnet", "densenet")})
    parents = [rv.generate(space, rng, tags) for _ in range(2)]
    for seed in range(5):
        rng = random.Random(seed)
        children = [rv.clone(parent, tags) for parent in parents]
        while not rv.crossover(*children, tags, rng):
            pass
        for parent, child in zip(parents, children, strict=True):
            found = compare(parent, child)
            # pieces that differ in their tags alone may be swapped as well
            one, other = (
                [(path, node.kind, node.arguments, node.unique) for path, node in side.walk()]
                for side in (parent, child)
            )
            assert bool(found.changes) == (one != other)
            read(found._repr_html_())


def test_history_of_a_mutated_convolution():
    node = settled(residual())
    assert mutations(node).empty
    ensemble = residual(inner="ensemble").at("unit1/conv")
    ensemble.meta["mutation_history"] = [node.at("unit1/conv").to_data()]
    node.at("unit1").children["conv"] = ensemble
    table = mutations(node)[["place", "state", "kind", "blocks", "output"]]
    assert list(table.itertuples(index=False, name=None)) == [
        ("unit1/conv", "1", "conv", 1, "8×4×4"),
        ("unit1/conv", "now", "ensemble_mean", 4, "8×4×4"),
    ]


def test_blueprints_and_populations_display_by_their_views():
    node = settled(residual())
    assert node._repr_html_() == tree(node)._repr_html_()
    assert populate([node])._repr_png_()[0].startswith(b"\x89PNG")
