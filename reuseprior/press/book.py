"""The book: the notebooks with their outputs and the ledger as a site that needs no network.

Sphinx makes it from `build/book-pages`, where `stage` puts what `book/` holds, the README, the
notebooks and the figures, laid out as in the repository so that the same links lead on.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from html import escape
from importlib.util import find_spec
from pathlib import Path

from reuseprior import paths
from reuseprior.errors import UserError
from reuseprior.press import chapters, ledger, notebooks
from reuseprior.press.published import Printed

COLUMNS = ["id", "where", "printed", "computed", "verdict", "note"]


class BookError(UserError):
    """The book cannot be built as things are."""


def build() -> Path:
    """Build the site anew in `build/book` and return its first page.

    Sphinx speaks for itself on standard error. Raises BookError where it or a part of it is not
    installed, and where it warns: of a link that leads nowhere, for example.
    """
    for name in ("sphinx", "myst_nb", "furo", "sphinx-mathjax-offline"):
        if find_spec(name) is None:
            raise BookError(f"the book needs {name}: pip install 'reuseprior[book]'")
    pages, site = paths.BUILD / "book-pages", paths.BUILD / "book"
    for folder in (pages, site):
        shutil.rmtree(folder, ignore_errors=True)
    stage(pages)
    options = ["-b", "html", "-c", str(paths.ROOT / "book"), "-W", "--keep-going", "-q"]
    trees = ["-d", str(pages / ".doctrees")]
    sphinx = [sys.executable, "-m", "sphinx", *options, *trees, str(pages), str(site)]
    if subprocess.run(sphinx, check=False).returncode:
        raise BookError("Sphinx stopped at what it says above: mend it and build the book again")
    return site / "index.html"


def stage(folder: Path) -> None:
    """Put the pages of the book into a folder."""
    shown = [chapter.notebook for chapter in chapters.found()]
    beside = [paths.NOTEBOOKS / "README.md", *paths.FIGURES.glob("[!.]*")]
    texts = [paths.ROOT / "README.md", *(paths.ROOT / "book").glob("*.md")]
    pages = {
        **{f"notebooks/{path.name}": with_outputs(path).read_bytes() for path in shown},
        **{f"{path.parent.name}/{path.name}": path.read_bytes() for path in beside},
        **{path.name: path.read_bytes() for path in texts},
        "ledger-table.html": ledger_table().encode(),
        "data/ledger.csv": ledger.ledger_path().read_bytes(),
    }
    for name, content in pages.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def with_outputs(notebook: Path) -> Path:
    """The executed copy of a notebook in `build/notebooks`, or the notebook itself as committed.

    A copy counts if it was made of the notebook as it is, whatever its parameters were.
    """
    executed = paths.BUILD / "notebooks" / notebook.name
    if executed.exists() and _written(executed) == _written(notebook):
        return executed
    return notebook


def _written(notebook: Path) -> list[tuple[str, str]]:
    cells = notebooks.read(notebook)["cells"]
    own = [cell for cell in cells if "injected-parameters" not in notebooks.tags(cell)]
    return [(cell["cell_type"], notebooks.source(cell)) for cell in own]


# The ledger --------------------------------------------------------------------------------------


def ledger_table() -> str:
    """The committed ledger as a table in HTML, with a value in each cell by which to sort it."""
    heads = "".join(f'<th scope="col">{column}</th>' for column in COLUMNS)
    rows = "\n".join(_row(row) for row in ledger.committed_rows())
    return (  # MathJax reads formulas in dollars where the class says so
        '<div class="ledger-scroll mathjax_process">\n<table class="ledger">\n'
        f"<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table>\n</div>\n"
    )


def _row(row: Mapping[str, str]) -> str:
    identity = escape(row["id"])
    verdict = row["verdict"]
    mark = f"{ledger.VERDICTS[verdict]}&nbsp;{verdict}".replace(" ", "&nbsp;")
    values = {
        "id": f'<td><a href="#{identity}">{identity}</a></td>',
        "where": f"<td>{escape(row['where'])}</td>",
        "printed": f'<td data-value="{_number(row["printed"])}">{escape(row["printed"])}</td>',
        "computed": f'<td data-value="{row["computed"]}">{_grouped(row["computed"])}</td>',
        "verdict": f'<td data-value="{list(ledger.VERDICTS).index(verdict)}">{mark}</td>',
        "note": f"<td>{escape(row['note'], quote=False)}</td>",
    }
    cells = "".join(values[column] for column in COLUMNS)
    return f'<tr id="{identity}" data-verdict="{verdict}">{cells}</tr>'


def _number(printed: str) -> str:
    try:
        return str(float(Printed.parse(printed).value))
    except ValueError:  # a claim in words
        return ""


def _grouped(computed: str) -> str:
    return f"{int(computed):,}" if re.fullmatch(r"\d{4,}", computed) else computed or "–"
