"""Every chapter's ledger: as it is committed, and another one where a printed number is another."""

from functools import cache

import pytest

from reuseprior.chapters import affine, channels, counting, energy, revolver, shapeshifter
from reuseprior.report import ledger, published
from tests.chapters.printed import LOAD, falsified, judged, table


@pytest.mark.check  # the others take longer, and are compared in tests/report with these
@pytest.mark.parametrize("chapter", [counting, affine])
def test_entries_are_the_committed_ones(chapter):
    places, parts = [*chapter.PARTS], ledger.parts()
    found = [entry for place in places for entry in parts[place]()]
    assert {entry.id for entry in found} == {
        row["id"] for row in ledger.committed_rows()
        if max(filter(row["where"].startswith, parts), key=len) in places
    }  # fmt: skip
    others = "is no longer in the ledger"
    assert [told for told in ledger.changes(found) if not told.endswith(others)] == []


TEXT_3, TEXT_C = "thesis/chapter-3-text", "thesis/appendix-c-text"
SEARCHES, LINES = "thesis/table-3-2", "thesis/appendix-c-2"
GENETIC, SETUP, CHANNELS = "cifar10-evolve-16", "bidart/chapter-4-setup", "bidart/chapter-3-text"
FALSIFIED = [  # table, row, column, another text, or off by one; the number that it turns
    (SEARCHES, f"thesis-3-2-{GENETIC}", "test_accuracy", "90.7", "thesis-3-text-genetic-test"),
    (SEARCHES, f"thesis-3-2-{GENETIC}", "mean_validation", "89.3",
     "thesis-3-text-genetic-validation"),
    (SEARCHES, "thesis-3-2-mnist-random", "test_accuracy", "99.5", "thesis-3-text-mnist-test"),
    (SEARCHES, "thesis-3-2-mnist-random", "mean_validation", "99.4",
     "thesis-3-text-mnist-validation"),
    (SEARCHES, f"thesis-3-2-{GENETIC}", "generation", "135", "thesis-3-text-generations"),
    (SEARCHES, f"thesis-3-2-{GENETIC}", "generation", "160", "thesis-c-text-generations"),
    (SEARCHES, f"thesis-3-2-{GENETIC}", "sample_size", None, "thesis-3-text-sample-most"),
    (SEARCHES, "thesis-3-2-cifar10-random-warmup", "sample_size", "7",
     "thesis-3-text-sample-least"),
    (SEARCHES, "thesis-3-2-cifar10-random-16", "test_accuracy", "88.7",
     "thesis-3-text-samples-generations"),
    (TEXT_3, "thesis-3-text-genetic-test", "put_as", None, "thesis-3-text-genetic-test"),
    (LINES, f"thesis-c-2-{GENETIC}", "warmup_x", None, "thesis-3-text-top-candidates"),
    (LINES, f"thesis-c-2-{GENETIC}", "population_size", "90", "thesis-c-text-minutes-least"),
    (LINES, f"thesis-c-2-{GENETIC}", "population_size", "90", "thesis-c-text-minutes-most"),
    (TEXT_3, "thesis-3-text-validation", "value", None, "thesis-3-1-mnist/train"),
    (TEXT_3, "thesis-3-text-validation", "value", None, "thesis-3-1-cifar-10/validation"),
    (TEXT_C, "thesis-c-text-hours-least", "value", None, "thesis-c-text-minutes-least"),
    ("thesis/table-c-1", "thesis-c-1-12", "in_channels", None, "thesis-c-text-shapes"),
    *(("thesis/appendix-c-5", "thesis-c-5-convolution", column, None,
       "thesis-c-5-convolution/shape_size") for column in ("kernel_size", "stride", "padding",
                                                           "image")),
    ("thesis/appendix-c-5", "thesis-c-5-convolution", "out_channels", None,
     "thesis-c-5-convolution/shape_channels"),
    ("bidart/chapter-3-table-6", "bidart-3-6-half", "remaining", None,
     "bidart-3-6-half/remaining"),
    *((CHANNELS, f"bidart-3-{name}", "value", None, f"bidart-3-{name}")
      for name in ("b0", "half-cifar", "epochs", "batch", "step-factor", "step-epochs", "rate",
                   "decay", "momentum")),
    *((SETUP, row, "value", "12", row) for row in table(SETUP).id
      if not row.endswith(("image", "classes", "half-turn", "halves", "degrades-1", "degrades-2"))),
    (SETUP, "bidart-4-setup-shape-mnist", "value", None, "bidart-4-text-mnist-rotation"),
    *((f"npas/{name}", row, column, text, f"{row}/{column}" if column != "value" else row)
      for name, row, column, text in (
        ("table-12", "npas-12-b-ssn-wrn-40-10", "percent_of_parameters", "6.9"),
        ("table-12", "npas-12-a-wrn-52-10", "percent_of_wrn_28_10", None),
        ("table-12", "npas-12-c-ssn-wrn-52-10", "percent_of_wrn_28_10", "41.7"),
        ("table-8", "npas-8-wrn-50-2-imagenet", "groups", None),
        ("table-3-networks", "npas-3-wrn-16-2-params", "params", None),
        ("text", "npas-4-swrn-50-2", "value", None), ("text", "npas-e-76-12", "value", None))),
    ("npas/text", "npas-4-upsampled", "value", "0.9M",
     "npas-6-wrn-28-10-cifar-10/percent_of_parameters"),
    ("npas/table-12", "npas-12-c-ssn-wrn-52-10", "percent_of_parameters", "25.7",
     "npas-12-c-ssn-wrn-52-10/used_M"),
    ("npas/text", "npas-4-runs-imagenet", "value", "9", "npas-13-ssn-wrn-50-2-22.6/error"),
]  # fmt: skip


OWNERS = {"thesis": revolver, "bidart-3": channels, "bidart-4": affine, "npas": shapeshifter}


def by_now(number):
    (owner,) = (module for start, module in OWNERS.items() if number.startswith(start))
    return judged(owner.PARTS, number)


as_printed = cache(by_now)  # without our runs, and with the tables as they are


@pytest.mark.parametrize(("name", "row", "column", "text", "number"), FALSIFIED)
def test_another_printed_number_turns_what_follows_from_it(
    root, monkeypatch, name, row, column, text, number
):
    """The verdict, or the note where a verdict says nothing of the digits; without our runs."""
    before = as_printed(number)
    falsified(monkeypatch, name, row, column, text)
    after = by_now(number)
    if before.kind in ("setting", "measured"):
        assert after.note != before.note
    else:
        assert after.verdict not in (before.verdict, "unsaid")


# Settings of a whole table ------------------------------------------------------------------------


@pytest.fixture
def replaced(monkeypatch):
    """By number, what is made of a printed table, and of each other in its place."""

    def both(parts, name, *tables):
        made = []
        for rows in tables:
            load = lambda asked, rows=rows: rows.copy() if asked == name else LOAD(asked)  # noqa: E731
            monkeypatch.setattr(published, "load", load)
            made.append({entry.id: entry for entry in parts.table(name)})
        return {number: [entries[number] for entries in made] for number in made[0]}

    return both


# N_G does not depend on the size, an entropy of one decimal hardly, and scores are not computed.
INDEPENDENT = {"params", "entropy", "score", "image_size"}
# Rows whose digits only follow from another size than the printed one, and their columns.
COUNTED_ELSEWHERE = {
    "thesis-4-4-resnet-50": {"P_G", "P_G_spread"},
    "thesis-4-4-v2-m": {"expected_spread"},
    "thesis-4-4-v2-l": {"expected_spread"},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["thesis/table-4-3", "thesis/table-4-4"])
def test_another_image_size_changes_what_is_counted(replaced, name):
    larger = table(name).assign(image_size=(table(name).image_size.astype(int) + 64).astype(str))
    for number, (before, after) in replaced(counting.PARTS, name, table(name), larger).items():
        row, _, column = number.partition("/")
        unmoved = INDEPENDENT | COUNTED_ELSEWHERE.get(row, set())
        if column not in unmoved and before.verdict != "not reproduced":
            assert after.verdict != before.verdict, number


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
    for number, (before, after) in replaced(counting.PARTS, name, table(name), rows).items():
        if after.kind != "setting":
            moved = after.verdict != before.verdict
            assert moved != (quantities[number] in unmoved), number


WIDTHS = [(f"thesis/table-5-{n}", "width" if n < 3 else "channels") for n in range(1, 5)]


@pytest.mark.slow
@pytest.mark.parametrize("layers", [36, pytest.param(3600, marks=pytest.mark.soak)])
@pytest.mark.parametrize(("name", "width"), WIDTHS)
def test_another_width_or_depth_changes_all_that_is_counted(replaced, name, width, layers):
    """Of rows of so many layers at most, and of one that shares: wider, or of half the layers.

    And what rules the tables' convention out is said.
    """
    rows = table(name)
    depth = rows.depth.astype(int)
    shares = depth[rows.get("shared", rows.depth) == "True"]
    rows = rows[(depth <= layers) | (depth == shares.min())]

    wider = rows.assign(**{width: (rows[width].astype(int) + 1).astype(str)})
    halved = rows.assign(depth=[str(2 if d == 1 else d // 2) for d in rows.depth.astype(int)])
    made = replaced(energy.PARTS, name, rows, wider, halved)
    made = {i: entries for i, entries in made.items() if entries[0].kind in ("computed", "derived")}
    assert len(made) >= 3 * len(rows) > 0
    for number, (before, *others) in made.items():
        assert before.verdict not in {after.verdict for after in others}, number
    against = [before.note for before, *_ in made.values() if before.verdict == "against the text"]
    assert all("N_O = 1" in note and "definition 6" in note for note in against)
