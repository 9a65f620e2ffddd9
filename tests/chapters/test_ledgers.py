"""Every chapter's ledger: as it is committed, and another one where a printed number is another."""

from functools import cache
from importlib import import_module

import pytest

from reuseprior.report import chapters, ledger
from tests.chapters.printed import falsified, table

# Those of minutes are compared in tests/report, with all others.
LONG = ("thesis, theorems", "nnmass, theorems", "thesis, section 5", "thesis, table 5",
        "thesis, caption of table 5", "thesis, caption of figure 5")  # fmt: skip
CHAPTERS = {
    chapter.name: [
        place for place in import_module(chapter.module).PARTS if not place.startswith(LONG)
    ]
    for chapter in chapters.found()
    if chapter.entries
}
PARTS = ledger.parts()
PLACES = {  # by number, the place of its part
    row["id"]: max(filter(row["where"].startswith, PARTS), key=len)
    for row in ledger.committed_rows()
}


@pytest.mark.check
@pytest.mark.parametrize("chapter", [name for name, places in CHAPTERS.items() if places])
def test_entries_are_the_committed_ones(chapter):
    places = CHAPTERS[chapter]
    found = [entry for place in places for entry in PARTS[place]()]
    assert {entry.id for entry in found} == {i for i in PLACES if PLACES[i] in places}
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


@cache
def as_printed(place):
    """The entries of a part without our runs, and with the tables as they are."""
    return list(PARTS[place]())


def the(number, entries):
    (found,) = (entry for entry in entries if entry.id == number)
    return found


@pytest.mark.parametrize(("name", "row", "column", "text", "number"), FALSIFIED)
def test_another_printed_number_turns_what_follows_from_it(
    root, monkeypatch, name, row, column, text, number
):
    """The verdict, or the note where a verdict says nothing of the digits; without our runs."""
    place = PLACES[number]
    before = the(number, as_printed(place))
    falsified(monkeypatch, name, row, column, text)
    after = the(number, PARTS[place]())
    if before.kind in ("setting", "measured"):
        assert after.note != before.note
    else:
        assert after.verdict not in (before.verdict, "unsaid")
