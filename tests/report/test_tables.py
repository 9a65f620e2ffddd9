"""Printed tables to take away: what is in them is what the ledger says."""

import csv
import io
import re
import sys
from collections import Counter
from html import escape
from itertools import chain
from types import SimpleNamespace

import pytest

from reuseprior import paths
from reuseprior.report import ledger, tables
from reuseprior.report.tables import ExportError


@pytest.fixture(scope="module")
def made():
    return tables.found()


def test_every_number_stands_in_one_table_and_the_list_goes_by_chapter(made):
    rows = [(table.where, row["printed"], row["verdict"]) for table in made for row in table.rows]
    committed = ledger.committed_rows()
    assert sorted(rows) == sorted((r["where"], r["printed"], r["verdict"]) for r in committed)
    assert len({table.name for table in made}) == len(made)
    listed = r'<p class="tables">(.*?)</p>\n<ul.*?>(.*?)</ul>'
    shown = re.findall(listed, tables.as_markdown({}), re.DOTALL)
    places = {title: re.findall(r">([^<]+)</a>", links) for title, links in shown}
    assert sorted(chain(*places.values())) == sorted(escape(table.where) for table in made)
    assert list(places)[:2] == ["3 · Revolver", "4 · Counting contexts"]
    assert "thesis, table 4.3, p. 84" in places["4 · Counting contexts"]
    assert {place.partition(",")[0] for place in places["NN-Mass"]} == {"nnmass"}


def test_marks_are_counted_and_csv_reads_back(made):
    for table in made:
        told = table.marks.replace("\xa0", " ").split()  # a number, its mark, and so on
        marks = Counter(ledger.MARKS[row["verdict"]] for row in table.rows)
        marks.pop("", None)  # of settings
        assert {mark: int(n) for n, mark in zip(told[::2], told[1::2], strict=False)} == marks
        assert list(csv.DictReader(io.StringIO(table.csv))) == [dict(row) for row in table.rows]


def test_table_4_3(made):
    (table,) = [table for table in made if table.where.startswith("thesis, table 4.3")]
    row = next(r for r in table.rows if (r["row"], r["quantity"]) == ("v2-b0", "P_G"))
    assert (row["printed"], row["verdict"]) == ("26.28", "reproduced")
    assert r"v2-b0 & $P_G$ & 26.28 & 26.278392 & reproduced \\" in table.latex
    assert r"v2-b0 & $P'_G$ & 26.72 & 26.715486 & reproduced \\" in table.latex


def test_latex_is_whole_and_plain(made):
    for table in made:
        lines = table.latex.splitlines()[5:-2]
        assert table.latex.isascii() and len(lines) == len(table.rows)
        for line in lines:
            assert len(re.findall(r"(?<!\\)&", line)) == 4 and line.endswith(r" \\")
            assert not re.search(r"(?<!\\)[%#_]", re.sub(r"\$[^$]*\$", "", line))
    with pytest.raises(ExportError, match="has 'ß', for which no LaTeX is known"):
        tables.latex("Maß")


def test_export(tmp_path, monkeypatch):
    pytest.importorskip("cairosvg")
    monkeypatch.setattr(paths, "FIGURES", tmp_path)
    square = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><path d="M0 0h9"/></svg>'
    (tmp_path / "fig-1.svg").write_text(square)
    made, drawn = tables.export(tmp_path / "paper")
    assert drawn == 1 and made == 2 * len(tables.found())
    assert (tmp_path / "paper" / "figures" / "fig-1.pdf").read_bytes().startswith(b"%PDF")
    assert len(list((tmp_path / "paper" / "tables").glob("*.tex"))) == made / 2


MISSING = [  # what a machine lacks, the sentence
    (ImportError("No module named 'cairosvg'"), r"pip install -e '/.*\[export\]'"),
    (OSError("no library called 'cairo-2' was found"), "apt-get install libcairo2"),
]


@pytest.mark.parametrize(("fault", "sentence"), MISSING)
def test_export_says_what_is_missing(tmp_path, monkeypatch, fault, sentence):
    def find(name, path=None, target=None):
        if name == "cairosvg":
            raise fault

    monkeypatch.delitem(sys.modules, "cairosvg", raising=False)
    monkeypatch.setattr(sys, "meta_path", [SimpleNamespace(find_spec=find), *sys.meta_path])
    with pytest.raises(ExportError, match=sentence):
        tables.export(tmp_path / "paper")
    assert not (tmp_path / "paper").exists()
