"""Chapter 4's settings are used: with another one printed, what is computed from it changes."""

import pytest

from reuseprior.contexts import horizontal_unroll
from reuseprior.press import published
from reuseprior.works.thesis import contexts as work
from tests.works.printed import LOAD, table

# N_G does not depend on the size, an entropy of one decimal hardly, and scores are not computed.
INDEPENDENT = {"params", "entropy", "score", "image_size"}
# Rows whose digits only follow from another size than the printed one, and their columns.
COUNTED_ELSEWHERE = {
    "thesis-4-4-resnet-50": {"P_G", "P_G_spread"},
    "thesis-4-4-v2-m": {"expected_spread"},
    "thesis-4-4-v2-l": {"expected_spread"},
}


def replaced(monkeypatch, name, rows):
    """Let a printed table be another."""
    load = lambda asked: rows.copy() if asked == name else LOAD(asked)  # noqa: E731
    monkeypatch.setattr(published, "load", load)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["thesis/table-4-3", "thesis/table-4-4"])
def test_another_image_size_changes_what_is_counted(monkeypatch, name):
    before = {e.id: e for e in work.ranked_models(name)}
    sizes = table(name).image_size.astype(int)
    replaced(monkeypatch, name, table(name).assign(image_size=(sizes + 64).astype(str)))
    after = {e.id: e for e in work.ranked_models(name)}
    for identity, entry in before.items():
        row, _, column = identity.partition("/")
        unmoved = INDEPENDENT | COUNTED_ELSEWHERE.get(row, set())
        if column not in unmoved and entry.verdict != "not reproduced":
            assert after[identity].verdict != entry.verdict, identity


OF_NODES = {"probability numerator", "probability denominator", "total surprisal", "entropy",
            "expected spread", "weight nodes", "N_G"}  # fmt: skip
UNMOVED = [("frequency", {"weight nodes", "|G|", "N_G"}), ("N_I", OF_NODES), ("N_O", OF_NODES)]


@pytest.mark.parametrize(("quantity", "unmoved"), UNMOVED)
def test_another_graph_changes_the_worked_example(monkeypatch, quantity, unmoved):
    name = "thesis/appendix-a"
    before, rows = {e.id: e for e in work.appendix_a(name)}, table(name).copy()
    chosen = rows.index[rows.quantity == quantity]
    for place, index in enumerate(chosen):
        rows.loc[index, "value"] = str(int(rows.loc[index, "value"]) + 1 + 2 * place)
    replaced(monkeypatch, name, rows)
    quantities = rows.set_index("id").quantity
    for entry in work.appendix_a(name):
        if entry.kind != "setting":
            moved = entry.verdict != before[entry.id].verdict
            assert moved != (quantities[entry.id] in unmoved), entry.id


def test_the_graph_is_drawn_as_appendix_a_prints_it():
    rows = table("thesis/appendix-a").query("quantity == 'frequency'")
    printed = dict(zip(rows.parameter, rows["value"].astype(int), strict=True))
    assert horizontal_unroll(work.FIGURE_4_3A).repetitions() == printed
