"""The book as it is built, and as a reader without a network sees it in Chromium."""

import csv
import io
import json
import re
import runpy
from html import escape
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree as ET

import nbformat
import pytest

import reuseprior
from reuseprior import paths
from reuseprior.report import book, chapters, contents, ledger, notebooks, provenance, tables
from reuseprior.report.trails import Trails
from tests.conftest import until
from tests.report import house

CHAPTERS = [f"notebooks/{chapter.name}" for chapter in chapters.found()]
NOTES = [f"docs/provenance/{c.name}" for c in chapters.found() if provenance.notes(c).exists()]
PAGES = ["index", "api", "tables", "ledger", "figures/README", "notebooks/README"]
PAGES += [*CHAPTERS, *NOTES]


class Page(HTMLParser):
    """The links, the embedded files and the anchors of a page."""

    def __init__(self, path):
        super().__init__()
        self.links, self.embedded, self.anchors = [], [], set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.anchors.add(given.get("id"))
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif place := given.get("src") or given.get("href"):
            self.embedded.append(place)


@pytest.mark.slow
def test_the_reference_has_the_front_with_examples(site):
    text = (site / "api.html").read_text(encoding="utf-8")
    names = {*re.findall(r'id="reuseprior\.[\w.]*?(\w+)"', text)}
    assert {*reuseprior.__all__} - {"sharing"} <= names
    assert text.count("&gt;&gt;&gt;") > 10
    assert "Args:" not in text and text.count(">Parameters<") >= 2, "sections, not bare text"
    words = " ".join(re.sub("<[^>]*>", "", text).split())
    assert "N_G: parameters with at least one context" in words and "E[log2 |C|]" in words


@pytest.fixture(scope="module")
def pages(site):
    return {path: Page(path) for path in site.rglob("*.html")}


@pytest.mark.slow
def test_every_page_is_there_and_is_reached_from_the_first(site, pages):
    """Its tally, every chapter, and every printed table, which is two clicks away."""
    assert {site / f"{page}.html" for page in (*PAGES, "search")} <= pages.keys()
    text = (site / "index.html").read_text(encoding="utf-8")
    assert contents.tally().replace("'", "’") in text, "with the quotes that Sphinx sets"
    index, page = (pages[site / f"{name}.html"] for name in ("index", "tables"))
    assert {"tables.html", *(f"{chapter}.html" for chapter in CHAPTERS)} <= {*index.links}
    names = {table.name for table in tables.found()}
    assert names <= page.anchors and {f"#{name}" for name in names} <= {*page.links}


@pytest.mark.slow
def test_internal_links_resolve_and_nothing_is_embedded_from_elsewhere(pages):
    checked = 0
    for path, page in pages.items():
        assert not any(urlsplit(place).netloc for place in page.embedded), path
        for link in (*page.links, *page.embedded):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            assert target.exists(), f"{path} links to {link}"
            if parts.fragment and target in pages:
                assert unquote(parts.fragment) in pages[target].anchors, f"{path}: {link}"
            checked += 1
    assert checked > 500


@pytest.mark.slow
def test_saved_figures_are_svg(site, pages):
    def drawn(*names):
        found = (pages[site / f"{name}.html"] for name in names if name in PAGES)
        return [place for page in found for place in page.embedded if "_images" in place]

    for chapter in chapters.found():
        cells = notebooks.read(chapter.notebook)["cells"]
        shown = [c for c in cells if c["cell_type"] == "code" and "image/png" in str(c["outputs"])]
        saved = sum(len([*notebooks.saved_figures(chapter.notebook, c)]) == 1 for c in shown)
        places = drawn(f"notebooks/{chapter.name}", f"docs/provenance/{chapter.name}")
        assert sum(place.endswith(".svg") for place in places) == saved, chapter.name
    assert len(drawn("index")) == 3 and all(place.endswith(".svg") for place in drawn("index"))


def test_scripts_and_styles_fetch_nothing():
    for path in (paths.ROOT / "docs").rglob("*"):
        if path.suffix in {".js", ".css"}:
            text = path.read_text(encoding="utf-8")
            assert "http" not in text and len(text.splitlines()) < 100, path.name


FORMULAS = [  # which would leave something of their own in the page
    r"\href{javascript:alert(1)}{x}",
    r"\require{html}\href{javascript:alert(1)}{x}",
    r"\class{a-class}{x}",
    r"\cssId{an-identity}{x}",
    r"\style{background:url(//fetched)}{x}",
    r"\bbox[background:url(//box)]{x}",
    r"\unicode[font]{x41}",
    r"\mmlToken{mtext}[href='javascript:token']{x}",
    r"\let\other=\mmlToken\other{mi}[style='background:url(//renamed)']{x}",
]
ATTRIBUTES = """
const made = document.querySelectorAll("mjx-container svg, mjx-container svg *, a");
return [...made].flatMap(e => ["href", "xlink:href", "style", "class", "id", "font-family"]
  .map(name => e.getAttribute(name) || "").filter(text =>
    /javascript|url\\(|a-class|an-identity|^font/.test(text)));
"""


def test_a_formula_is_a_formula_and_nothing_else(browser, tmp_path):
    conf = runpy.run_path(str(paths.ROOT / "docs" / "conf.py"))
    script = conf["_mathjax"] / conf["_MATHJAX"]

    def left(config):
        shown = "".join(f"<p>${escape(text)}$</p>" for text in (*FORMULAS, r"\frac{a}{b}"))
        (tmp_path / "page.html").write_text(
            f"<html><head><script>MathJax = {json.dumps(config)}</script>"
            f'<script src="{script.as_uri()}"></script></head><body>{shown}</body></html>'
        )
        browser.get((tmp_path / "page.html").as_uri())
        browser.execute_async_script("MathJax.startup.promise.then(arguments[0])")
        drawn = browser.execute_script("return document.querySelectorAll('svg').length")
        assert drawn > len(FORMULAS)
        return browser.execute_script(ATTRIBUTES)

    config = conf["mathjax3_config"]
    everything = config["tex"] | {"packages": {"[+]": []}, "macros": {}}
    assert len(left(config | {"tex": everything})) >= 7, "this would find nothing"
    assert left(config) == []
    browser.get_log("browser")  # of what could not be fetched: the next test begins without


def resize(browser, width):
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def show(browser, site, page, *, width=1280, theme="light"):
    """Open a page and wait until its formulas are set."""
    resize(browser, width)
    browser.get((site / f"{page}.html").as_uri())
    browser.execute_script("document.body.dataset.theme = arguments[0]", theme)
    browser.execute_async_script(
        "const done = arguments[0]; window.MathJax ? MathJax.startup.promise.then(done) : done()"
    )


def find(browser, selector):
    return browser.find_element("css selector", selector)


def bring(browser, selector):
    """Scroll to an element."""
    found = find(browser, selector)
    browser.execute_script(
        "arguments[0].scrollIntoView({behavior: 'instant', block: 'center'})", found
    )
    return found


# The formulas that are not drawn; what is wrong in them; how high the outputs of a chapter are that
# scroll by themselves, on the page and whole; how wide the page is; and what stands there in
# letters: not in code, not in what MathJax has drawn.
DRAWN = """
const all = (selector) => [...document.querySelectorAll(selector)];
const walker = document.createTreeWalker(document.querySelector("article"), NodeFilter.SHOW_TEXT);
const texts = [];
while (walker.nextNode())
  if (!walker.currentNode.parentElement.closest("pre, code, script, style, mjx-container"))
    texts.push(walker.currentNode.data);
return [
  all(".math").filter(e => !e.querySelector("mjx-container svg")).map(e => e.textContent),
  all("[data-mjx-error], mjx-container mtext").map(e => e.textContent)
    .filter(text => !text || text.includes("mmlToken")),
  all(".output:is(.text_html, .stream)").map(e => [e.clientHeight, e.scrollHeight]),
  document.documentElement.scrollWidth, texts.join(" "),
];
"""


@pytest.mark.parametrize("page", PAGES)
def test_page_is_drawn(browser, site, page):
    """Formulas are set, nothing is wrong on the console, and a telephone need not scroll aside.

    Long outputs fold, so that a chapter is not lost behind a table.
    """
    show(browser, site, page, width=390)
    assert not browser.get_log("browser")
    raw, wrong, outputs, width, text = browser.execute_script(DRAWN)
    assert raw == wrong == [] and width <= 390 and len(text) > 300
    assert not re.search(r"\\[a-zA-Z(\[]|\$\S", text), "raw TeX"
    assert all(shown <= 0.85 * 900 for shown, _ in outputs)
    folded = sum(whole > shown + 40 for shown, whole in outputs)
    assert folded >= 2 * (page == "notebooks/00-ledger")


def test_numbers_break_nowhere(browser, site):
    show(browser, site, "notebooks/04-counting-contexts", width=700)
    lines = browser.execute_script(
        "return [...document.querySelectorAll('article td')].filter(e => / \\| [\\d.,]+.[✓≈✗]$/"
        ".test(e.textContent.trim())).map(e => [e.textContent, e.innerText.length, e.clientHeight"
        " / parseFloat(getComputedStyle(e).lineHeight)])"
    )
    assert len(lines) > 20 and all(high < 2 for *_, high in lines), lines
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 700


# Of every table of derivations: how wide its columns are, how far its numbers are from the top of
# their row, and how many rows have a formula and beside it a number that checks it. Cells of
# formulas alone scroll, where one is wider than its column.
DERIVATIONS = """
return [...document.querySelectorAll(".cell_output table.docutils")]
  .filter(t => t.querySelector("th").textContent.trim() === "derivation").map(t => {
    const [left, right] = t.querySelector("tbody tr").cells;
    return [left, right].map(e => Math.round(e.getBoundingClientRect().width)).concat(
      Math.round(right.getBoundingClientRect().top - left.getBoundingClientRect().bottom),
      [...t.rows].filter(r => r.cells[0].querySelector("svg")
        && r.cells[1]?.textContent.includes("✓")).length);
  });
"""


@pytest.mark.parametrize(
    ("page", "least"), [("notebooks/05-derivations", 50), ("docs/provenance/10-nn-mass", 3)]
)
def test_derivations_have_equal_columns_and_on_a_telephone_one(browser, site, page, least):
    show(browser, site, page, theme="dark")
    found = browser.execute_script(DERIVATIONS)
    left, right, *_ = found[0]
    assert len(found) >= 4 and left > right > 250 and sum(beside for *_, beside in found) > least
    assert all(abs(one[0] - left) <= 1 and abs(one[1] - right) <= 1 for one in found)
    show(browser, site, page, width=400)
    for left, right, below, _ in browser.execute_script(DERIVATIONS):
        assert left == right > 300 and below >= 0


# The contrast of an element's letters with what is painted behind them, as WCAG 2 defines it.
LEAST_CONTRAST = """
const colour = (text) => text.match(/[\\d.]+/g).map(Number);
const light = (rgb) => rgb.slice(0, 3).map(c => c / 255)
  .map(c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
  .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
const behind = (element) => {
  for (let e = element; e; e = e.parentElement) {
    const painted = colour(getComputedStyle(e).backgroundColor);
    if (painted.length === 3 || painted[3] === 1) return painted;
  }
  return [255, 255, 255];
};
const contrast = (element) => {
  const pair = [colour(getComputedStyle(element).color), behind(element)].map(light).sort();
  return (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
};
return [...document.querySelectorAll("article :is(p, li, a, td, th, pre, button, select)")]
  .filter(e => e.textContent.trim() && e.checkVisibility())
  .map(e => [contrast(e), e.outerHTML.slice(0, 80)]).reduce((a, b) => a[0] < b[0] ? a : b);
"""


def check_contrast(browser):
    least, where = browser.execute_script(LEAST_CONTRAST)
    assert least >= 4.5, where


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("page", ["index", "notebooks/04-counting-contexts"])
def test_readable(browser, site, page, theme):
    show(browser, site, page, theme=theme)
    check_contrast(browser)
    house.screenshot(browser, f"{page.rpartition('/')[-1]}-{theme}")


# The links of what a search has found, once it has ended.
FOUND = """
const done = arguments[0]; const look = setInterval(() => {
  const links = [...document.querySelectorAll('#search-results li a')];
  const told = document.querySelector('#search-results .search-summary')?.textContent;
  if (/finished/.test(told)) { clearInterval(look); done(links.map(a => a.href)); } }, 50)
"""
HEADINGS = [  # what is asked for, the page and the heading that come first
    ("theorem+4", "05-derivations.html#theorem-4-what-the-energy-grows-like"),
    ("table+4.3", "tables.html#thesis-table-4-3-p-84"),
    ("table+c.1", "03-revolver.html#table-c-1"),
    ("horizontal+unrolling", "04-counting-contexts.html#horizontal-unrolling-and-appendix"),
]


def test_search_finds_the_thesis_first(browser, site):
    for words, place in HEADINGS:
        browser.get((site / "search.html").as_uri() + f"?q={words}")
        assert place in browser.execute_async_script(FOUND)[0]
    assert not browser.get_log("browser")


FORM = "form.ledger-controls"
MORE = "button.ledger-more"


def column(browser, name):
    """The texts of a column as shown, and the values by which it is sorted."""
    return browser.execute_script(
        "const at = arguments[0];"
        "const rows = [...document.querySelectorAll('table.ledger tbody tr')];"
        "return rows.filter(row => row.checkVisibility()).map(row => row.cells[at])"
        ".map(cell => [cell.textContent, cell.dataset.value])",
        book.COLUMNS.index(name),
    )


def head(browser, name):
    return find(browser, f"table.ledger th:nth-child({book.COLUMNS.index(name) + 1})")


def sort(browser, name):
    """Sort by a column, by the keyboard; its new order."""
    find(head(browser, name), "button").send_keys("\ue007")  # enter
    return head(browser, name).get_attribute("aria-sort")


def test_ledger_sorts(browser, site):
    show(browser, site, "ledger")
    bring(browser, MORE).click()
    assert shown_ids(browser) == [row["id"] for row in ledger.committed_rows()]
    for name, least in (("computed", 400), ("interval", 300)):
        for order in ("ascending", "descending"):
            assert sort(browser, name) == order
            values = [value for _, value in column(browser, name)]
            numbers = [float(value) for value in values if value]
            assert numbers == sorted(numbers, reverse=order == "descending")
            assert len(numbers) > least and not any(values[len(numbers) :]), "empty ones come last"
    assert sort(browser, "verdict") == "ascending"
    ranks = [int(value) for _, value in column(browser, "verdict")]
    assert ranks == sorted(ranks) and len(set(ranks)) > 2
    assert not head(browser, name).get_attribute("aria-sort")
    others = {*book.COLUMNS} - {"verdict"}
    assert {sort(browser, other) for other in others} == {"ascending"}


def test_from_the_readme_to_a_table_in_two_clicks(browser, site):
    """What the README says is the first page; table 4.3's verdicts are two clicks away."""
    show(browser, site, "index")
    for link in ("a[href='tables.html']", "ul.tables a[href='#thesis-table-4-3-p-84']"):
        bring(browser, f"article {link}").click()
    table = find(browser, ":target")
    assert table.is_displayed() and find(table, "h2").text.startswith("thesis, table 4.3")
    assert browser.execute_script("return document.documentElement.scrollHeight") < 40_000
    cells = [row.text for row in table.find_elements("css selector", "tbody tr")]
    assert any("26.28" in cell and "reproduced" in cell for cell in cells)


def choose(browser, **wanted):
    for name, value in wanted.items():
        field = find(browser, f"{FORM} [name={name}]")
        field.send_keys(value) if name == "words" else find(field, f"[value='{value}']").click()


def shown_ids(browser):
    return [text for text, _ in column(browser, "id")]


def test_ledger_filters_and_saves_what_is_shown(browser, site, tmp_path):
    show(browser, site, "ledger", width=390, theme="dark")
    height = browser.execute_script("return document.documentElement.scrollHeight")
    assert len(shown_ids(browser)) == 50 and height < 15_000, "a telephone's screens"
    bring(browser, MORE).click()
    downloads = {"behavior": "allow", "downloadPath": str(tmp_path)}
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", downloads)
    rows = ledger.committed_rows()
    for row in rows:
        del row[ledger.TYPED]  # the words of data/published
    assert saved(browser, tmp_path) == rows, "all rows are the committed file"
    assert find(browser, f"{FORM} output").text == f"{len(rows)} of {len(rows)}"
    works = [chapter for chapter in chapters.found() if not chapter.last]
    about = {c.name for c in works if any(c.is_about(row["where"]) for row in rows)}
    marked = {f"{ledger.MARKS[row['verdict']]} {row['verdict']}".strip() for row in rows}
    assert choices(browser, "chapter") == about and choices(browser, "verdict") == marked
    assert choices(browser, "kind") == {row["kind"] for row in rows}

    chapter = next(c for c in works if c.name == "04-counting-contexts")
    for wanted, fits in (
        ({"kind": "computed", "verdict": "against the text"},
         lambda r: (r["kind"], r["verdict"]) == ("computed", "against the text")),
        ({"source": "paper"}, lambda r: r["source"] == "paper"),
        ({"chapter": chapter.name}, lambda r: chapter.is_about(r["where"])),
        ({"words": "TABLE resnet"}, lambda r: "table" in r["where"] and "resnet" in r["id"]),
    ):  # fmt: skip
        choose(browser, **wanted)
        rows = [row for row in rows if fits(row)]
        assert rows and shown_ids(browser) == [row["id"] for row in rows]
    told = find(browser, f"{FORM} output").text
    assert told.startswith(f"{len(rows)} of ") and not find(browser, MORE).is_displayed()
    sort(browser, "printed")
    ids = shown_ids(browser)
    assert [row["id"] for row in saved(browser, tmp_path)] == ids, "in the order that is shown"


def choices(browser, name):
    """What a menu offers but for all."""
    options = find(browser, f"{FORM} select[name={name}]").find_elements("tag name", "option")
    return {option.text.replace("\xa0", " ") for option in options} - {"any"}


def saved(browser, folder):
    """The rows of what the button leaves in the folder, which is then empty again."""
    bring(browser, f"{FORM} button[name=save]").click()
    file = folder / "ledger.csv"
    until(file.exists)
    text = file.read_bytes().decode()
    file.unlink()
    return list(csv.DictReader(io.StringIO(text)))


def test_a_figure_shrinks_and_opens(browser, site):
    """What is cut fades there."""
    show(browser, site, "index", width=400)
    figure = find(browser, "article img")
    parent = figure.find_element("xpath", "..")
    assert figure.size["width"] <= 400 and "smaller" in parent.get_attribute("class")
    figure.click()
    assert figure.size["width"] > 600 and "cut" in parent.get_attribute("class")
    browser.execute_script("arguments[0].scrollLeft = 9999", parent)
    until(lambda: "cut" not in parent.get_attribute("class"))
    figure.click()
    assert figure.size["width"] <= 400


def test_links_of_rows(browser, site):
    """One to a row shows it, wherever it is; a row's own leads to the cell that shows it."""
    last = ledger.committed_rows()[-1]["id"]
    show(browser, site, "index")
    browser.get((site / "ledger.html").as_uri() + f"#{last}")
    assert find(browser, ":target").is_displayed() and len(shown_ids(browser)) == 51
    link = find(browser, "[id='thesis-4-3-v2-b0/P_G'] td:last-child a")
    browser.get(link.get_attribute("href"))
    assert "table-4-3" in find(browser, ":target .cell_input").text
    assert "25.00" in find(browser, ":target .cell_output").text


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_ledger_is_readable_and_needs_no_scrolling_aside(browser, site, theme):
    show(browser, site, "ledger", theme=theme)
    browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
    check_contrast(browser)
    for width in (390, 700, 1280, 1440):
        resize(browser, width)
        wide = "return [...document.querySelectorAll('.ledger-scroll, .ledger-controls, html')]"
        beyond = browser.execute_script(f"{wide}.map(e => e.scrollWidth - e.clientWidth)")
        assert beyond == [0, 0, 0], width
        content, room = browser.execute_script(
            "return ['.content', '.main'].map(e => document.querySelector(e).clientWidth)"
        )
        assert content > 0.95 * min(room, 1440)
        bring(browser, FORM)
        house.screenshot(browser, f"ledger-{width}-{theme}")


@pytest.mark.slow
def test_ledger_shows_every_row_and_its_mark(site):
    text = (site / "ledger.html").read_text(encoding="utf-8")
    for row in ledger.committed_rows():
        start = f'<tr id="{row["id"]}" data-kind="{row["kind"]}" data-verdict="{row["verdict"]}"'
        assert start in text
        assert f"{ledger.MARKS[row['verdict']]}&nbsp;".lstrip("&nbsp;") in text


def test_narrower_intervals_come_first():
    texts = ("2.45 to 2.55", "-3.5 to -2.5", "-1 to 1", "35 or less")
    assert [*map(book._looseness, texts)] == ["0.04", "0.333333", "Infinity", "Infinity"]


def test_cells_that_show_numbers_get_a_target(root, monkeypatch):
    notebook = house.notebook("03-a", "1", "2")
    first, second = nbformat.read(notebook, as_version=4).cells
    chapter = chapters.Chapter(root, notebook, {}, numbers={"a*": second.id, "b": ""})
    made = nbformat.reads(*book._pages(chapter, Trails(None)).values(), as_version=4)
    nbformat.validate(made)
    assert [c.source for c in made.cells] == ["1", f"({book._anchor(second.id)})=", "2"]
    assert [c.id for c in made.cells if c.cell_type == "code"] == [first.id, second.id]


def test_a_notebook_saved_with_other_parameters_is_labelled(root):
    quick = {"quick": chapters.Preset(1.0, {"largest": 40})}
    for largest, said in ((40, False), (12, True)):
        notebook = house.notebook("05-a", f"largest: int = {largest}", "1")
        chapter = chapters.Chapter(root, notebook, quick)
        (page,) = book._pages(chapter, Trails(None)).values()
        assert ("no part of the record" in page and "(largest=12)" in page) == said


def test_an_executed_copy_of_the_notebook_as_it_is_goes_first(root):
    notebook = house.notebook("03-a", "profile = 'quick'", "1")
    assert book.with_outputs(notebook) == notebook
    place = paths.BUILD / "notebooks"
    place.mkdir(parents=True)
    for code, taken in ((["1"], True), (["profile = 'full'", "1"], False), (["2"], False)):
        copy = house.notebook("03-a", "profile = 'quick'", *code, folder=place)
        assert book.with_outputs(notebook) == (copy if taken else notebook)


def test_what_is_missing_is_named(monkeypatch):
    monkeypatch.setattr(book, "find_spec", lambda name: None if name == "furo" else name)
    with pytest.raises(book.BookError, match=r"needs furo: pip install -e '/.*\[book\]'"):
        book.build()


MARKUP = """</td><script>alert("1")</script><img src=x onerror='alert(2)'>&"""


def test_nothing_of_the_ledger_is_markup(monkeypatch):
    row = dict.fromkeys(ledger.COLUMNS, MARKUP)
    row |= {"kind": "computed", "verdict": "erratum", "interval": "1 to 2"}
    monkeypatch.setattr(ledger, "committed_rows", lambda: [row])
    shown = book.ledger_table(Trails(None))
    assert "<script" not in shown and "<img" not in shown and '"1"' not in shown
    cells = ET.fromstring(shown.replace("&nbsp;", " ")).findall(".//tbody/tr/td")
    said = {name: "".join(cell.itertext()) for name, cell in zip(book.COLUMNS, cells, strict=True)}
    for column in ("id", "where", "printed", "computed", "note"):
        assert said[column] == MARKUP


def test_a_damaged_number_of_the_ledger_is_one_sentence(monkeypatch):
    row = dict.fromkeys(ledger.COLUMNS, "a") | {"computed": "1", "interval": "1 to two"}
    row |= {"kind": "computed", "verdict": "erratum"}
    monkeypatch.setattr(ledger, "committed_rows", lambda: [row])
    said = "has computed '1' and interval '1 to two' for 'a', which are no numbers"
    with pytest.raises(ledger.LedgerError, match=said):
        book.ledger_table(Trails(None))
