"""The book as a PDF: one page of HTML, and what Chromium makes of it."""

import re
import shutil
import subprocess

import pytest
from typer.testing import CliRunner

from reuseprior.cli import app
from reuseprior.report import book, pdf

NAMES = ["index", "notebooks/12-channel-sharing", "notebooks/05-energy-priors"]


def test_without_a_browser_it_says_so_before_the_work(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(book, "build", lambda: pytest.fail("it builds first"))
    done = CliRunner().invoke(app, ["book", "--pdf"])
    assert done.exit_code == 2 and "install one of them" in done.stderr


def test_a_browser_that_prints_nothing_is_said(tmp_path):
    page = tmp_path / "page.html"
    page.write_text("<p>x</p>")
    with pytest.raises(book.BookError, match=r"printed nothing: it says no reason$"):
        pdf._printed(shutil.which("true"), page, tmp_path)


@pytest.mark.slow
def test_one_page_is_whole(site):
    from bs4 import BeautifulSoup

    page = BeautifulSoup(pdf.one_page(site, NAMES), "html.parser")
    assert len(page("article")) == len(NAMES)
    assert not page.select(pdf.CLICKED.replace(", script", ""))
    places = [tag["id"] for tag in page.find_all(id=True)]
    assert len({*places}) == len(places), "a link would lead to the first of two of one name"
    links = [link["href"] for link in page("a", href=True)]
    inside = [link.removeprefix("#") for link in links if link.startswith("#")]
    assert len(inside) > 20 and {*inside} <= {*places}
    assert all(link.startswith(("#", "http")) for link in links)
    files = [tag.get("src") or tag["href"] for tag in page.select("img, link, script[src]")]
    assert len(files) > 15 and all((site / place.partition("?")[0]).is_file() for place in files)


@pytest.mark.browser
def test_pdf(site, tmp_path):
    for tools in (pdf.BROWSERS, ["pdftotext"]):
        if not any(map(shutil.which, tools)):
            pytest.skip(f"none of {tools}: apt-get install chromium poppler-utils")
    before = {*site.rglob("*")}
    made = pdf.make(site, NAMES, tmp_path / "book.pdf")
    assert {*site.rglob("*")} == before
    data = made.read_bytes()
    assert data.startswith(b"%PDF") and b"/Outlines" in data
    text = subprocess.run(["pdftotext", str(made), "-"], capture_output=True, text=True).stdout
    pages = text.split("\f")[:-1]
    assert 20 < len(pages) < 60
    assert pdf.TITLE in pages[0] and "Contents" in pages[1]
    unnumbered = [n for n, page in enumerate(pages, 1) if str(n) not in page.splitlines()]
    assert unnumbered == [1], "of the title"
    starts = {page.partition("\n")[0] for page in pages}
    assert {"Channel sharing", "5 · Energy priors"} <= starts, "chapters begin a page"
    assert "𝑃𝐺" in text and "mod" in text, "formulas are drawn, and can be searched for"
    assert not re.search(r"\\frac|\\sum|Skip to content|On this page", text)
