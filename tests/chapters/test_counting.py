"""Chapter 4's settings are used: with another one printed, what is computed from it changes."""

import pytest

from reuseprior.chapters import counting as work
from reuseprior.contexts import horizontal_unroll
from reuseprior.report import published
from tests.chapters.printed import LOAD, table

# N_G does not depend on the size, an entropy of one decimal hardly, and scores are not computed.
INDEPENDENT = {"params", "entropy", "score", "image_size"}
# Rows whose digits only follow from another size than the printed one, and their columns.
COUNTED_ELSEWHERE = {
    "thesis-4-4-resnet-50": {"P_G", "P_G_spread"},
    "thesis-4-4-v2-m": {"expected_spread"},
    "thesis-4-4-v2-l": {"expected_spread"},
}


@pytest.fixture
def replaced(monkeypatch):
    """What is made of a printed table as it is, and of another in its place."""

    def both(make, name, rows):
        before = {entry.id: entry for entry in make(name)}
        load = lambda asked: rows.copy() if asked == name else LOAD(asked)  # noqa: E731
        monkeypatch.setattr(published, "load", load)
        return [(before[entry.id], entry) for entry in make(name)]

    return both


@pytest.mark.slow
@pytest.mark.parametrize("name", ["thesis/table-4-3", "thesis/table-4-4"])
def test_another_image_size_changes_what_is_counted(replaced, name):
    sizes = table(name).image_size.astype(int)
    larger = table(name).assign(image_size=(sizes + 64).astype(str))
    for before, after in replaced(work.PARTS.table, name, larger):
        row, _, column = before.id.partition("/")
        unmoved = INDEPENDENT | COUNTED_ELSEWHERE.get(row, set())
        if column not in unmoved and before.verdict != "not reproduced":
            assert after.verdict != before.verdict, before.id


OF_NODES = {"probability numerator", "probability denominator", "total surprisal", "entropy",
            "expected spread", "weight nodes", "N_G"}  # fmt: skip
UNMOVED = [("frequency", {"weight nodes", "|G|", "N_G"}), ("N_I", OF_NODES), ("N_O", OF_NODES)]


@pytest.mark.parametrize(("quantity", "unmoved"), UNMOVED)
def test_another_graph_changes_the_worked_example(replaced, quantity, unmoved):
    name = "thesis/appendix-a"
    rows = table(name).copy()
    for place, index in enumerate(rows.index[rows.quantity == quantity]):
        rows.loc[index, "value"] = str(int(rows.loc[index, "value"]) + 1 + 2 * place)
    quantities = rows.set_index("id").quantity
    for before, after in replaced(work.PARTS.table, name, rows):
        if after.kind != "setting":
            moved = after.verdict != before.verdict
            assert moved != (quantities[after.id] in unmoved), after.id


def test_the_graph_is_drawn_as_appendix_a_prints_it():
    rows = table("thesis/appendix-a").query("quantity == 'frequency'")
    printed = dict(zip(rows.parameter, rows["value"].astype(int), strict=True))
    assert horizontal_unroll(work.FIGURE_4_3A).repetitions() == printed
