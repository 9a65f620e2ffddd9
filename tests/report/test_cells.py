"""What a TOML says of printed cells, and one sentence for whatever does not fit."""

from fractions import Fraction

import pytest

from reuseprior import paths
from reuseprior.report import ledger, published
from reuseprior.report.cells import Cells, CellsError
from reuseprior.report.ledger import Contradiction, Interpretation, Public, Statement

TABLE = """id,source,model,a,b,average,where
new-1-one,new,One,1.0,2.0,1.5,"new, table 1"
new-1-two,new,Two,3.0,4.0,3.6,"new, table 1"
"""
TEXT = """id,source,claim,value,where
new-text-more,new,one more,2.5,"new, section 2"
new-text-said,new,a claim,in words,"new, section 2.1"
new-text-mended,new,a slip,in words,"new, section 2.2"
new-text-elsewhere,new,another chapter's,7,"new, section 3"
"""
TOML = """
places = ["new, table 1", "new, section 2"]
[words]
b = "the second"
net = "a network"
["table-*"]
ids = "new-1-"
"*/*" = ["open", "{model} of {column}, {net}", "as {text/said/claim} says"]
"two/*" = ["setting", "mine"]
"*/average" = ["derived", "mean"]
"*/model" = ["label"]
[text]
"*-more" = ["computed", "{table-1/one/average} + 1", "of table 1"]
"*-said" = ["stated", ["holds", true]]
"*-mended" = ["mended", "it is {net}"]
"""


def mean(row):
    return [Fraction(row.a) / 2 + Fraction(row.b) / 2, Contradiction("3.5", "it has 3.5"), "a note"]


def mine(row, column):
    return f"{row.model}'s {column}"


def holds(whether):
    return Statement(whether, note="tested")


@pytest.fixture
def cells(root, monkeypatch):
    """The cells of two tables by a TOML, of which a text may be another."""

    def made(old="", new=""):
        folder = paths.PUBLISHED / "new"
        folder.mkdir(exist_ok=True)
        (folder / "table-1.csv").write_text(TABLE)
        (folder / "text.csv").write_text(TEXT)
        assert old in TOML
        (folder / "cells.toml").write_text(TOML.replace(old, new, 1) if old else TOML)
        return Cells(__name__, "new/cells")

    monkeypatch.setattr(ledger, "public", lambda quantity: [])
    return made


def entries(found):
    return [entry for part in found.values() for entry in part()]


def test_the_last_pattern_that_fits_says_what_a_cell_is(cells):
    found = {entry.id: entry for entry in entries(cells())}
    assert {i: (e.kind, e.verdict, e.note) for i, e in found.items()} == {
        "new-1-one/a": ("measured", "open", "needs One of a, a network; as a claim says"),
        "new-1-one/b": ("measured", "open", "needs One of the second, a network; as a claim says"),
        "new-1-one/average": ("derived", "reproduced", "a note"),
        "new-1-two/a": ("setting", "used", "Two's a"),
        "new-1-two/b": ("setting", "used", "Two's b"),
        "new-1-two/average": ("derived", "erratum", "it has 3.5; computed: 3.5; a note"),
        "new-text-more": ("computed", "reproduced", "one more; of table 1"),
        "new-text-said": ("proved", "holds", "a claim; tested"),
        "new-text-mended": ("proved", "corrected", "a slip; it is a network"),
    }  # the last row of the text stands in no place of these
    assert found["new-text-more"].computed == 2.5


KINDS = [  # what a TOML has, what a function returns, kind, verdict, computed
    ("setting", "known", ("setting", "used", 2.5)),
    ("setting", Contradiction("3", "it has 3"), ("setting", "erratum", None)),
    ("quoted", [Public("2.5", "b"), "a note"], ("quoted", "confirmed", 2.5)),
    ("computed", 2.5, ("computed", "reproduced", 2.5)),
    ("derived", [Interpretation(2), Interpretation(2.5, "so")], ("derived", "unsaid", 2.5)),
    ("stated", False, ("proved", "fails", None)),
    ("stated", Statement(False, True, "so"), ("proved", "corrected", None)),
    ("measured", "runs", ("measured", "open", None)),
    ("measured", (None, "runs", {"of": 3}), ("measured", "open", None)),
    ("measured", Contradiction("3", "it has 3"), ("measured", "erratum", None)),
]


@pytest.mark.parametrize(("kind", "said", "entry"), KINDS)
def test_what_a_function_says_of_a_kind(cells, monkeypatch, kind, said, entry):
    monkeypatch.setitem(globals(), "told", lambda: said)
    told = cells('["computed", "{table-1/one/average} + 1"', f'["{kind}", "told"')
    (found,) = (e for e in entries(told) if e.id == "new-text-more")
    assert (found.kind, found.verdict, found.computed) == entry


@pytest.mark.parametrize("said", [2.5, ("a claim", "needs"), [Public("2.5", "b")]])
def test_what_is_only_truthy_is_no_statement_that_holds(cells, monkeypatch, said):
    monkeypatch.setitem(globals(), "told", lambda: said)
    with pytest.raises(CellsError, match=r"new-text-more/value is stated by .*: let its function"):
        entries(cells('["computed", "{table-1/one/average} + 1"', '["stated", "told"'))


FORMULAS = [("1 + 1", 2), ("{table-1/two/b} / 2", 2.0), ("1.5 * {table-1/two/b} / 4", 1.5)]


@pytest.mark.parametrize(("formula", "value"), FORMULAS)
def test_a_quotient_is_no_whole_number(cells, formula, value):
    told = cells("{table-1/one/average} + 1", formula)
    (found,) = (e for e in entries(told) if e.id == "new-text-more")
    assert found.computed == value and type(found.computed) is type(value)


WRONG = [  # a text, another instead, the sentence after the file's name
    ("[text]", "[text", r" \(.*\): mend the file"),
    ("[text]", "[others]\ntext = 3\n[text]", r"'text' is 3: make it a list of kind, what is said"),
    ('"stated", ["holds", true]', '"stated", "one budget"', "is stated by no function: name one"),
    ('"setting", "mine"', '"open", ""', "is open without words: say what it needs"),
    ("[words]", "word = 3\n[words]", ": word is 3: make it a table of patterns"),
    ('["table-*"]', "[tabel-1]", r"\[tabel-1\]: '\*/\*' is of no table, .* mean 'new/table-1'"),
    ('ids = "new-1-"', 'ids = "new-"', r"'two/\*' fits no cell: correct it, or take it away"),
    ('["label"]', '"label"', r"'\*/model' is 'label': make it a list of kind, what is said, a no"),
    ('"setting"', '"seting"', r"'two/\*' has the unknown kind 'seting', did you mean 'setting'\?"),
    ('"mine"', '"mime"', r"names the function 'mime', which is none, did you mean 'mine'\?"),
    ('net = "a network"', "", r", \[table-\*\]: '\*/\*' names \{net\}: name a column, a word or"),
    ('"setting", "mine"', '"quoted", "a size"', "quotes 'a size', of which public/facts.csv has"),
    ('"*-said" =', '"*-mor*" =', "says nothing of new-text-said/value of new/text: add a pattern"),
]


@pytest.mark.parametrize(("old", "new", "message"), WRONG)
def test_one_sentence_says_what_does_not_fit(cells, old, new, message):
    with pytest.raises(CellsError, match=message) as caught:
        entries(cells(old, new))
    assert "cells.toml" in str(caught.value) and "\n" not in str(caught.value)


def test_a_row_is_named_by_the_end_of_its_id(cells):
    cells()
    assert published.row("new/table-1", "two").model == "Two"
    assert published.number("new/table-1", "new-1-two", "b") == 4
    with pytest.raises(ValueError, match="0 rows of new/table-1 end with '1-tow': give one of"):
        published.row("new/table-1", "1-tow")
