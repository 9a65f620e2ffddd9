"""From a printed number in the book to the lines that made it, click by click."""

import posixpath
import re
from html import unescape

import pytest

from reuseprior import paths
from reuseprior.report import book, chapters, ledger, notebooks, tables, why
from reuseprior.report.trails import Trails

pytestmark = pytest.mark.slow

NUMBER = "thesis-4-3-v2-s-shared/P_G"
FILE = "reuseprior/quantities.py"


@pytest.fixture(scope="module")
def whys():
    source = (paths.PACKAGE.parent / FILE).read_text(encoding="utf-8").splitlines()
    lines = [n for n, line in enumerate(source, 1) if "sys.audit" in line]
    rows = [row["id"] for row in ledger.committed_rows() if row["where"].startswith("thesis, t")]
    said = {"commit": "c0ffee", "numbers": {i: {} for i in rows}, "lines": {}, "needs": {}}
    said |= {"lines": {f"= {i}": {FILE: lines} for i in rows}}
    return Trails(why.Trace(said | {"read": {}, "quantities": {}, "layers": {}, "entered": []}))


def test_two_clicks_from_a_table_to_a_line(whys):
    """A number's page names the lines, and a page of each file has them, at the commit."""
    pages = whys.pages()
    page, _, number = whys.links[NUMBER].partition(".html#")
    (told,) = re.findall(
        rf'<details class="why" id="{number}">.*?</details>', pages[f"{page}.md"], re.S
    )
    assert "26.33" in told and "against the text" in told
    place, line = re.search(r'<a href="\.\./(source/.*?)#(L-\d+)">derive</a>', told).groups()
    assert "c0ffee" in pages[place] and f'id="{line}"' in pages[place]
    text = unescape(re.sub(r"<[^>]*>", "", pages[place].split(f'name="{line}"')[1]))
    assert text.removeprefix(">").startswith("def derive(")
    assert whys.line(NUMBER).startswith(f'<a href="source/{FILE}.html#')


def test_tables_and_the_ledger_lead_there(whys):
    link = f'<a href="{whys.links[NUMBER]}">'
    assert tables.as_markdown(whys.links).count(link) == 2, "printed and computed"
    (row,) = re.findall(rf'<tr id="{NUMBER}".*', book.ledger_table(whys))
    assert f"{link}why</a>" in row and whys.line(NUMBER) in row
    assert "why" not in tables.as_markdown({}), "where nothing was traced"
    assert ">why<" not in book.ledger_table(Trails(None)) and Trails(None).pages() == {}


def test_chapters_lead_there_from_each_number_that_is_known(whys):
    """Each link is of the number that stands there, by its digits and its column."""
    printed = {
        whys.links[row["id"]]: row for row in ledger.committed_rows() if row["id"] in whys.links
    }
    found = 0
    for chapter in chapters.found():
        for cell in notebooks.read(chapter.notebook)["cells"]:
            for output in cell.get("outputs", ()):
                html = "".join(output.get("data", {}).get("text/html", ""))
                led = whys.lead(html, chapter, cell["id"], "")
                assert re.sub(r"</?a\b[^>]*>", "", led) == re.sub(r"</?a\b[^>]*>", "", html)
                for link, text in re.findall(r'<td><a href="(why[^"]*)">([^<]*)</a></td>', led):
                    row, digits = printed[link], unescape(text).split(" | ")[0]
                    assert row["printed"] == digits and chapter.cell_of(row["where"]) == cell["id"]
                    found += 1
    assert found > 100


def test_links_of_chapters_end_at_pages(whys):
    """From where each stands in the book, a chapter's own page or that of its provenance."""
    pages, followed = whys.pages(), 0
    for chapter in chapters.found():
        for place, text in book._pages(chapter, whys).items():
            for link in re.findall(r'<a href=\\"([^"#]*why/[^"#]*)\.html#', text):
                target = posixpath.normpath(posixpath.join(posixpath.dirname(place), link))
                assert f"{target}.md" in pages, (place, link)
                followed += 1
    assert followed > 100


def test_of_other_code_there_are_none(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "BUILD", tmp_path)
    assert Trails.load().links == {}
