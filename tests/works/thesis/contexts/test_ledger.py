"""Chapter 4's settings are used: with another one printed, what is computed from it changes."""

import pytest

from reuseprior.contexts import horizontal_unroll
from reuseprior.press import published
from reuseprior.works.thesis import contexts as work

# N_G does not depend on the size, an entropy of one decimal hardly, and scores are not computed.
INDEPENDENT = {"params", "entropy", "score", "image_size"}
# Rows whose digits only follow from another size than the printed one, and their columns.
COUNTED_ELSEWHERE = {
    "thesis-4-4-resnet-50": {"P_G", "P_G_spread"},
    "thesis-4-4-v2-m": {"expected_spread"},
    "thesis-4-4-v2-l": {"expected_spread"},
}


def with_another(monkeypatch, column, other):
    load = published.load

    def loaded(*names):
        table = load(*names)
        if column in table:
            table[column] = [other(text) for text in table[column]]
        return table

    monkeypatch.setattr(published, "load", loaded)


@pytest.mark.slow
@pytest.mark.parametrize("table", ["thesis/table-4-3", "thesis/table-4-4"])
def test_another_image_size_changes_what_is_counted(monkeypatch, table):
    before = {e.id: e for e in work.ranked_models(table)}
    with_another(monkeypatch, "image_size", lambda size: str(int(size) + 64))
    after = {e.id: e for e in work.ranked_models(table)}
    for identity, entry in before.items():
        row, _, column = identity.partition("/")
        unmoved = INDEPENDENT | COUNTED_ELSEWHERE.get(row, set())
        if column not in unmoved and entry.verdict != "not reproduced":
            assert after[identity].verdict != entry.verdict, identity


@pytest.mark.parametrize(
    ("quantity", "unmoved"),
    [
        ("frequency", {"weight nodes", "|G|", "N_G"}),
        ("N_I", {"probability numerator", "probability denominator", "total surprisal", "entropy",
                 "expected spread", "weight nodes", "N_G"}),
        ("N_O", {"probability numerator", "probability denominator", "total surprisal", "entropy",
                 "expected spread", "weight nodes", "N_G"}),
    ],
)  # fmt: skip
def test_another_graph_changes_the_worked_example(monkeypatch, quantity, unmoved):
    rows = published.load("thesis/appendix-a").set_index("id")
    before = {e.id: e for e in work.appendix_a("thesis/appendix-a")}
    load = published.load

    def loaded(*names):
        table = load(*names)
        if "quantity" in table:
            chosen = table["quantity"] == quantity
            table.loc[chosen, "value"] = [
                str(int(text) + 1 + 2 * place)
                for place, text in enumerate(table.loc[chosen, "value"])
            ]
        return table

    monkeypatch.setattr(published, "load", loaded)
    for entry in work.appendix_a("thesis/appendix-a"):
        if entry.kind == "computed":
            moved = entry.verdict != before[entry.id].verdict
            assert moved != (rows.loc[entry.id, "quantity"] in unmoved), entry.id


def test_the_graph_is_drawn_as_appendix_a_prints_it():
    rows = published.load("thesis/appendix-a").query("quantity == 'frequency'")
    printed = dict(zip(rows.parameter, rows["value"].astype(int), strict=True))
    assert horizontal_unroll(work.FIGURE_4_3A).repetitions() == printed
