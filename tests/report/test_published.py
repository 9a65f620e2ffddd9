"""Printed numbers: reading them, matching them, and each table against its own text."""

import math
import re
from decimal import Decimal
from fractions import Fraction

import pandas as pd
import pytest

from reuseprior import paths
from reuseprior.report.ledger import OURS
from reuseprior.report.published import Printed, load, repeats, tables

PARSED = [  # text, value, digits, unit, at_least
    ("25.00", "25.00", 2, 1, False),
    ("746.608+", "746.608", 3, 1, True),
    ("30.4 +", "30.4", 1, 1, True),
    ("620K", "620000", 0, 10**3, False),
    ("3.0 M", "3000000", 1, 10**6, False),
    ("8.8B", "8800000000", 1, 10**9, False),
    ("1,28M", "1280000", 2, 10**6, False),
    ("50 000", "50000", 0, 1, False),
    ("1.29e-04", "0.000129", 2, Decimal("1e-4"), False),
    ("−1.25", "-1.25", 2, 1, False),
]


@pytest.mark.parametrize(("text", "value", "digits", "unit", "at_least"), PARSED)
def test_parse(text, value, digits, unit, at_least):
    assert Printed.parse(text) == Printed(text, Decimal(value), digits, unit, at_least)
    assert str(Printed.parse(text)) == text


@pytest.mark.parametrize("text", ["", "about 3", "1,280", "1.2.3", "12 34", "7.1G", "2/12", "nan"])
def test_parse_refuses_what_is_no_number(text):
    with pytest.raises(ValueError, match=r"is not a printed number such as '746\.608\+'"):
        Printed.parse(text)


INTERVALS = [  # text, how, ends: no wider, as every verdict rests on them
    ("746.608", "rounded", (746.6075, 746.6085)),
    ("746.608", "cut", (746.608, 746.609)),
    ("746.608+", "rounded", (746.608, 746.609)),
    ("7.1M", "rounded", (7_050_000, 7_150_000)),
    ("7.42e-4", "rounded", (7.415e-4, 7.425e-4)),
    ("-1.25", "cut", (-1.26, -1.25)),
    ("3", "rounded", (2.5, 3.5)),
    ("0", "cut", (-1, 1)),
    ("<135", "rounded", (-math.inf, 135)),
    ("≥ 60", "cut", (60, math.inf)),
]


@pytest.mark.parametrize(("text", "how", "ends"), INTERVALS)
def test_intervals(text, how, ends):
    assert Printed.parse(text).interval(how).ends == ends


MATCHED = [  # text, computed, how
    ("746.608+", 746.608413463674, "cut"),
    ("746.608+", 746.609, None),  # more than the source says, though at least as much
    ("27.20", 27.2049, "rounded"),
    ("27.20", 27.2052, "cut"),
    ("7.42e-4", 10.683 / 14400, "rounded"),
    ("2.5", Decimal("2.45"), "rounded"),  # a tie, half up
    ("2.4", Decimal("2.45"), "rounded"),  # the same tie, half to even
    ("2.5", Decimal("2.55"), "rounded"),
    ("2.5", Decimal("2.5500001"), "cut"),
    ("2.5", Fraction(26, 10), None),
    ("0.67", Fraction(2, 3), "rounded"),
    ("0.66", Fraction(2, 3), "cut"),
    ("0.0", -0.09, "cut"),
    ("12", math.nan, None),
    ("12", math.inf, None),
    ("12", 10**400, None),
    ("<135", 135, None),
    ("≥60", 60, "rounded"),
    # 1.15 as a float lies below the tie, so it rounds down; as a decimal it is the tie itself
    ("1.2", 1.15, None),
    ("1.2", Decimal("1.15"), "rounded"),
]


@pytest.mark.parametrize(("text", "computed", "expected"), MATCHED)
def test_what_can_become_the_printed_digits(text, computed, expected):
    printed = Printed.parse(text)
    ways = ("cut",) if printed.at_least else ("rounded", "cut")
    assert next((how for how in ways if computed in printed.interval(how)), None) == expected


FACTS = "public/facts"  # what others print of what is quoted: a row a fact, not a table of a work


def test_public_facts_are_numbers_with_a_source():
    facts = load(FACTS)
    assert list(facts.columns) == ["quantity", "value", "source"]
    assert not facts.duplicated().any() and (facts != "").all(axis=None)
    assert all(Printed.parse(text).value > 0 for text in facts.value)


def test_unknown_table_lists_the_known_ones():
    with pytest.raises(ValueError, match="no published table 'table-9-9': there are bidart/chap"):
        load("table-9-9")


# a graph's quantities are no parameter's
MAY_BE_EMPTY = ["repeats", "score_repeats", "put_as", "parameter"]


@pytest.mark.parametrize("name", sorted(set(tables()) - {FACTS}))
def test_table_is_whole(name):
    table = load(name)
    source = name.partition("/")[0].replace("-", "")
    assert table["id"].is_unique and table.id.str.startswith(source).all()
    examples = table.source == OURS  # which no source prints
    assert (table.source[~examples] == source).all()
    places = ("our example" if ours else source for ours in examples)
    assert all(map(str.startswith, table["where"], places))
    assert (table.drop(columns=MAY_BE_EMPTY, errors="ignore") != "").all(axis=None)
    assert all(cell == cell.strip() for cell in table.to_numpy().ravel())


PAPER = {  # the same models and numbers, printed again
    "thesis/appendix-a": "paper/appendix-b",
    **{f"thesis/table-4-{n}": f"paper/table-{n}" for n in (1, 2, 3, 4)},
}


def test_what_a_source_prints_twice_is_the_same():
    lines = load("thesis/appendix-c-2").set_index("preset")
    table = load("thesis/table-3-2").set_index("preset").loc[lines.index]
    assert len(lines) == 8 and (lines.sample_size == table.sample_size).all()
    assert (lines.top_test_accuracy == table.test_accuracy).all()
    assert (lines.dataset == table.dataset.str.replace("-", "")).all()
    genetic = lines.search_mode.str.endswith("evolve")
    assert (genetic == table["mode"].str.endswith("Evolve")).all()
    trained = load("thesis/table-4-2", "paper/table-2").query("dataset == 'ImageNet-1K'")
    trained = trained.assign(model=trained["model"].str.removesuffix("-original"))
    analysed = load("thesis/table-4-3", "paper/table-3")
    both = trained.merge(analysed, on=["source", "model"], suffixes=("_2", "_3"))
    assert len(both) == 6 and (both["score_2"] == both["score_3"]).all()
    values = both[["params_2", "params_3"]].map(lambda text: Printed.parse(text).value)
    assert (values.params_2 == values.params_3).all()


def differing(name):
    """Where thesis and paper print different values: (model, column, thesis, paper)."""
    keys = {"1": ["dataset"], "2": ["model", "dataset"]}.get(name[-1], ["model"])
    thesis, paper = (load(place).set_index(keys) for place in (name, PAPER[name]))
    numbers = thesis.columns.difference(["id", "source", "where", "augmentation", "score_repeats"])
    return [
        (row, column, thesis.loc[row, column], paper.loc[row, column])
        for row in thesis.index
        for column in thesis.columns.intersection(numbers, sort=False)
        if Printed.parse(thesis.loc[row, column]).value
        != Printed.parse(paper.loc[row, column]).value
    ]


def test_thesis_and_paper_differ_in_one_row_only():
    found = [entry for name in PAPER if "table" in name for entry in differing(name)]
    assert found == [
        ("V2-S", "score", "83.2", "83.6+"),
        ("V2-S", "expected_spread", "1505.546", "1505.5"),
    ]


def test_what_repeats_is_another_source_s_row():
    first = {i for name in tables() if name.startswith("thesis/") for i in load(name).id}
    found = repeats()
    rows = {i: other for i, other in found.items() if i.startswith("paper-")}
    assert set(rows.values()) <= first
    assert len(rows) == sum(len(load(name)) for name in tables() if name.startswith("paper/"))
    printed = pd.concat([load(name) for name in PAPER]).set_index("id").score
    for again, before in found.items():
        if again not in rows:  # a score, printed digit for digit as before
            assert printed[again.split("/")[0]] == printed[before.split("/")[0]]


def test_the_readme_of_the_data_says_how_many_rows_each_table_has():
    readme = (paths.PUBLISHED.parent / "README.md").read_text(encoding="utf-8")
    said = dict(re.findall(r"^\| `([\w/-]+)\.csv` \| ([\d,]+) \|", readme, re.MULTILINE))
    assert {name: f"{len(load(name)):,}" for name in tables()}.items() <= said.items()
