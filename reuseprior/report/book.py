"""The book: the notebooks with their outputs and the ledger as a site that needs no network.

Sphinx makes it from `build/book-pages`, where `stage` puts what `docs/` holds, the README, the
notebooks and the figures, laid out as in the repository so that the same links lead on.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from html import escape
from importlib.util import find_spec
from os.path import relpath
from pathlib import Path

from reuseprior import paths
from reuseprior.errors import UserError, shown
from reuseprior.report import chapters, ledger, notebooks, provenance, tables, trails
from reuseprior.report.chapters import Chapter
from reuseprior.report.published import Printed
from reuseprior.report.variants import Variant

COLUMNS = [
    "id", "where", "kind", "printed", "computed", "interval", "verdict", "note", "shown in"
]  # fmt: skip
SWITCHBOARD = '<div class="switchboard">'
NOT_THE_RECORD = (
    "This page is no part of the record: its notebook was saved with other parameters ({}) than "
    "the committed ones."
)


class BookError(UserError):
    """The book cannot be built as things are."""


def build() -> Path:
    """Build the site anew in `build/book` and return its first page.

    Sphinx speaks for itself on standard error. Raises BookError where it or a part of it is not
    installed, and where it warns: of a link that leads nowhere, for example.
    """
    for name in ("sphinx", "myst_nb", "furo", "sphinx-mathjax-offline"):
        if find_spec(name) is None:
            raise BookError(f"the book needs {name}: {paths.install('book')}")
    pages, site = paths.BUILD / "book-pages", paths.BUILD / "book"
    for folder in (pages, site):
        shutil.rmtree(folder, ignore_errors=True)
    stage(pages)
    options = ["-b", "html", "-c", str(paths.ROOT / "docs"), "-W", "--keep-going", "-q"]
    trees = ["-d", str(pages / ".doctrees")]
    sphinx = [sys.executable, "-m", "sphinx", *options, *trees, str(pages), str(site)]
    if subprocess.run(sphinx, check=False).returncode:
        raise BookError("Sphinx stopped at what it says above: mend it and build the book again")
    # to be downloaded, and to be read: Sphinx copies only what its own texts link to
    for folder in ("tables", "source"):
        if (pages / folder).exists():
            shutil.copytree(pages / folder, site / folder)
    return site / "index.html"


def stage(folder: Path) -> None:
    """Put the pages of the book into a folder."""
    beside = [paths.NOTEBOOKS / "README.md", *paths.FIGURES.glob("[!.]*")]
    texts = [paths.ROOT / "README.md", *(paths.ROOT / "docs").glob("*.md")]
    whys = trails.Trails.load()
    pages = {
        **{name: page.encode() for c in chapters.found() for name, page in _pages(c, whys).items()},
        **{name: page.encode() for name, page in whys.pages().items()},
        **{f"{path.parent.name}/{path.name}": path.read_bytes() for path in beside},
        **{path.name: path.read_bytes() for path in texts},
        "ledger-kinds.txt": kinds().encode(),
        "ledger-table.html": ledger_table(whys).encode(),
        "switchboard.html": switchboard().encode(),
        "every-table.txt": tables.as_markdown(whys.links).encode(),
        "data/ledger.csv": ledger.ledger_path().read_bytes(),
    }
    pages |= {f"tables/{name}": text.encode() for name, text in tables.texts().items()}
    pages["README.md"] = _sharp(pages["README.md"].decode()).encode()
    for chapter in chapters.found():
        pages = {name: path.read_bytes() for name, path in _linked(chapter).items()} | pages
    for name, content in pages.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _linked(chapter: Chapter) -> dict[str, Path]:
    """The repository's files that a chapter's texts link to, by their places in it."""
    root, notes = paths.ROOT.resolve(), provenance.notes(chapter)
    cells = notebooks.read(chapter.notebook)["cells"]
    said = {chapter.notebook: "\n".join(map(notebooks.source, cells))}
    said |= {notes: notes.read_text(encoding="utf-8")} if notes.exists() else {}
    links = {
        (path.parent / place).resolve()
        for path, text in said.items()
        for place in re.findall(r"\]\(([\w./-]+)\)", text)
    } - {notes.resolve()}  # it is a page
    inside = (path for path in links if path.is_file() and path.is_relative_to(root))
    return {path.relative_to(root).as_posix(): path for path in inside}


def with_outputs(notebook: Path) -> Path:
    """The executed copy of a notebook in `build/notebooks`, or the notebook itself as committed.

    A copy counts if it was made of the notebook as it is, with the committed parameters: a page
    must not show another run as the chapter.
    """
    executed = paths.BUILD / "notebooks" / notebook.name
    if executed.exists() and _written(executed) == _written(notebook):
        return executed
    return notebook


def _written(notebook: Path) -> list[tuple[str, str]]:
    cells = notebooks.read(notebook)["cells"]
    return [(cell["cell_type"], notebooks.source(cell)) for cell in cells]


def _pages(chapter: Chapter, whys: trails.Trails) -> dict[str, str]:
    """A chapter's notebook and the page of its provenance, by their places in the book."""
    notebook = notebooks.read(with_outputs(chapter.notebook))
    cells, more = provenance.split(chapter, notebook["cells"])
    pages = {f"notebooks/{chapter.notebook.name}": _page(chapter, notebook, cells, whys)}
    if more:
        alone = notebook | {"metadata": {**notebook["metadata"], "orphan": True}}
        pages[f"docs/provenance/{chapter.notebook.name}"] = _page(chapter, alone, more, whys)
    return {place: _led_on(place, text, pages) for place, text in pages.items()}


def _led_on(place: str, text: str, pages: Mapping[str, str]) -> str:
    """A page whose links to what its cells do not show lead to the page that does."""
    shown = {of: set(re.findall(r'<a id=\\"([\w-]+)', page)) for of, page in pages.items()}

    def link(match: re.Match) -> str:
        others = [of for of, its in shown.items() if match[1] in its - shown[place]]
        start = Path(place).parent
        return f'href=\\"{relpath(others[0], start)[:-6]}.html#{match[1]}' if others else match[0]

    return re.sub(r'href=\\"#([\w-]+)', link, text)


def _page(chapter: Chapter, notebook: dict, written: Sequence[dict], whys: trails.Trails) -> str:
    """Cells as a page: saved figures as SVG, code folded as in JupyterLab, targets for links."""
    linked = set(chapter.numbers.values())
    others = _other_parameters(chapter)
    cells = []
    for cell in written:
        if cell.get("id") in linked:
            name = _anchor(cell["id"])
            cells.append(notebooks.text(f"({name})=", name))
        if cell["metadata"].get("jupyter", {}).get("source_hidden"):
            cell = cell | {"metadata": {"tags": [*notebooks.tags(cell), "hide-input"]}}
        cells.append(
            cell if others else _with_whys(chapter, _with_svg(chapter.notebook, cell), whys)
        )
    if others:
        warning = f"```{{warning}}\n{NOT_THE_RECORD.format(others)}\n```"
        cells.insert(1, notebooks.text(warning, "not-the-record"))
    text = json.dumps({**notebook, "cells": cells}, ensure_ascii=False)
    # of what cells draw; what is shown of another chapter may be on the page of its provenance
    text = re.sub(r'(href=\\"[\w-]+)\.ipynb#[\w-]+', r"\1.html", text)
    return re.sub(r"(\]\(\.\./docs/provenance/[\w-]+)\.md\)", r"\1.ipynb)", text)


def _other_parameters(chapter: Chapter) -> str:
    """What a notebook that someone changed and saved has other than the committed parameters."""
    values = {name: one.default for name, one in notebooks.parameters(chapter.notebook).items()}
    return Variant(chapter, values).label.removeprefix(chapter.name).lstrip(",")


def _with_svg(path: Path, cell: dict) -> dict:
    """A cell that saves one figure and shows one shows the SVG that it saved."""
    saved = list(notebooks.saved_figures(path, cell)) if cell["cell_type"] == "code" else []
    pictures = [o["data"] for o in cell.get("outputs", ()) if "image/png" in o.get("data", {})]
    file = paths.FIGURES / f"{saved[0]}.svg" if len(saved) == 1 else None
    if file is None or len(pictures) != 1 or not file.exists():
        return cell
    drawn = {"image/svg+xml": file.read_text(encoding="utf-8")}
    shown = [
        {**o, "data": drawn, "metadata": {}} if o.get("data") is pictures[0] else o
        for o in cell["outputs"]
    ]
    return {**cell, "outputs": shown}


def _with_whys(chapter: Chapter, cell: dict, whys: trails.Trails) -> dict:
    """A cell whose tables lead from their numbers to why they are so."""
    up = f"{relpath(paths.ROOT, provenance.page_of(chapter, cell.get('id', '')).parent)}/"
    shown = [
        {**o, "data": {**o["data"], "text/html": whys.lead("".join(html), chapter, cell["id"], up)}}
        if (html := o.get("data", {}).get("text/html"))
        else o
        for o in cell.get("outputs", ())
    ]
    return {**cell, "outputs": shown} if shown else cell


def _sharp(text: str) -> str:
    """Pictures of the gallery as SVG, which stays sharp at any size; GitHub is shown PNG."""
    drawn = {path.stem for path in paths.FIGURES.glob("*.svg")}
    return re.sub(
        r"(?<=\(figures/)([\w-]+)\.png(?=\))",
        lambda match: f"{match[1]}.svg" if match[1] in drawn else match[0],
        text,
    )


def _anchor(cell: str) -> str:
    """What a page calls a cell, in letters that docutils leaves as they are."""
    return f"cell-{cell.lower().replace('_', '-')}"


# The ledger --------------------------------------------------------------------------------------


def kinds() -> str:
    """What each kind and each verdict means, as a list in Markdown."""
    lines = []
    for kind, verdicts in ledger.KINDS.items():
        lines.append(f"* **{kind}**: {ledger.MEANINGS[kind]}")
        for verdict, mark in verdicts.items():
            marked = f"{mark} *{verdict}*".strip()
            lines.append(f"  * {marked}: {ledger.MEANINGS[verdict]}")
    return "\n".join(lines) + "\n"


def ledger_table(whys: trails.Trails) -> str:
    """The committed ledger as a table in HTML, with a value in each cell by which to sort it."""
    works = [chapter for chapter in chapters.found() if not chapter.last]
    heads = "".join(f'<th scope="col">{column}</th>' for column in COLUMNS)
    rows = "\n".join(_row(row, works, whys) for row in ledger.committed_rows())
    return (  # MathJax reads formulas in dollars where the class says so
        '<div class="ledger-scroll mathjax_process" tabindex="0">\n<table class="ledger">\n'
        f"<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table>\n</div>\n"
    )


def switchboard() -> str:
    """The switches of the ledger's notebook, for the page; nothing where it has not shown them."""
    (last,) = (chapter for chapter in chapters.found() if chapter.last)
    cells = notebooks.read(with_outputs(last.notebook))["cells"]
    outputs = (output for cell in cells for output in cell.get("outputs", ()))
    shown = ("".join(output.get("data", {}).get("text/html", "")) for output in outputs)
    board = next((html for html in shown if html.startswith(SWITCHBOARD)), "")
    says = "Which rows come out with which habits of the author's code"
    head = f'<details class="ledger-words"><summary>{says}</summary>'
    return f"{head}\n{board}\n</details>\n" if board else "<!-- its notebook has shown none -->\n"


def _row(row: Mapping[str, str], works: Sequence[Chapter], whys: trails.Trails) -> str:
    # whatever the file says is text in the page, wherever it stands there
    text = {name: escape(said) for name, said in row.items()}
    identity, note, verdict = text["id"], text["note"], row["verdict"]
    try:
        looseness = _looseness(row["interval"])
    except ValueError as error:
        raise ledger.LedgerError(
            f"{ledger.ledger_path()} has computed {shown(row['computed'])} and interval "
            f"{shown(row['interval'])} for {row['id']!r}, which are no numbers: restore it with git"
        ) from error
    about = [chapter for chapter in works if chapter.is_about(row["where"])]
    # a formula is drawn: its letters would be lost
    as_text = f' data-value="{note}"' if "$" in note else ""
    marked = f"{ledger.MARKS[verdict]} {verdict}".strip().replace(" ", "&nbsp;")
    links = [_link(chapter, row["where"]) for chapter in about]
    if row["id"] in whys.links:
        links += [f'<a href="{whys.links[row["id"]]}">why</a>', whys.line(row["id"])]
    cells = ", ".join(filter(None, links))
    computed = escape(_grouped(row["computed"]))
    values = {
        "id": f'<td><a href="#{identity}">{identity}</a></td>',
        "where": f"<td>{text['where']}</td>",
        "kind": f"<td>{text['kind']}</td>",
        "printed": f'<td data-value="{_number(row["printed"])}">{text["printed"]}</td>',
        "computed": f'<td data-value="{text["computed"]}">{computed}</td>',
        "interval": f'<td data-value="{looseness}">{text["interval"]}</td>',
        "verdict": f'<td data-value="{list(ledger.MARKS).index(verdict)}">{marked}</td>',
        "note": f"<td{as_text}>{note}</td>",
        "shown in": f"<td>{cells}</td>",
    }
    data = {
        "kind": row["kind"],
        "verdict": verdict,
        "source": row["source"],
        "chapter": "|".join(chapter.name for chapter in about),
    }
    attributes = " ".join(f'data-{name}="{escape(value)}"' for name, value in data.items())
    return f'<tr id="{identity}" {attributes}>{"".join(values[column] for column in COLUMNS)}</tr>'


def _link(chapter: Chapter, where: str) -> str:
    """To the cell of a chapter that shows the numbers of a place; no link where none does."""
    cell = chapter.cell_of(where)
    if not cell:
        return ""
    page = provenance.page_of(chapter, cell).relative_to(paths.ROOT).with_suffix(".html")
    place = f"{page.as_posix()}#{_anchor(cell)}"
    return f'<a href="{escape(place)}">{escape(chapter.name)}</a>'


def _looseness(interval: str) -> str:
    """How wide an interval is beside the number in its middle, as JavaScript reads a number.

    >>> _looseness("7050000 to 7150000"), _looseness("60 or more"), _looseness("")
    ('0.0140845', 'Infinity', '')
    """
    ends = [float(end) for end in re.split(" to | or less| or more", interval) if end]
    width, middle = ends[-1] - ends[0] if ends else 0.0, sum(ends) / 2
    loose = f"{width / abs(middle):.6g}" if width and middle else "Infinity"
    return loose if ends else ""


def _number(printed: str) -> str:
    try:
        return str(float(Printed.parse(printed).value))
    except ValueError:  # a claim in words
        return ""


def _grouped(computed: str) -> str:
    return f"{int(computed):,}" if re.fullmatch(r"\d{4,}", computed) else computed or "–"
