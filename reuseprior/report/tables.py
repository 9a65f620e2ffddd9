"""Printed tables with what was computed for them, to take away: as CSV, as LaTeX and as HTML.

They are made of the committed ledger, a table a place where numbers are printed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import pandas as pd

from reuseprior import files, paths, results
from reuseprior.errors import UserError
from reuseprior.report import contents, ledger

COLUMNS = ("id", "row", "quantity", "kind", "printed", "computed", "verdict", "interval", "note")

_TYPESET = ("row", "quantity", "printed", "computed", "verdict")  # what a page is wide enough for

_MATHEMATICS = {"P_G": "$P_G$", "P′_G": "$P'_G$"}  # a cell that is a sign and nothing else

_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "×": r"$\times$", "≥": r"$\geq$", "≤": r"$\leq$", "²": r"$^2$", "§": r"\S", "±": r"$\pm$",
    "′": "$'$", "−": "$-$", "–": "--", "…": r"\ldots{}", "→": r"$\to$", "∞": r"$\infty$",
    "|": r"\textbar{}", "<": r"\textless{}", ">": r"\textgreater{}",
}  # fmt: skip


class ExportError(UserError):
    """Tables or figures cannot be written as asked."""


@dataclass(frozen=True)
class Table:
    """The numbers of one place, a row each."""

    where: str  # in the source, as the ledger says it
    rows: tuple[Mapping[str, str], ...]

    @property
    def name(self) -> str:
        """Of its files: `thesis-table-4-3-p-84`."""
        return re.sub(r"[^a-z0-9]+", "-", self.where.lower()).strip("-")

    @property
    def marks(self) -> str:
        """How many have each mark."""
        return contents.marks(contents.by_verdict(self.rows))

    @property
    def csv(self) -> str:
        """With all columns."""
        return pd.DataFrame(self.rows, columns=COLUMNS).to_csv(index=False, lineterminator="\n")

    @property
    def latex(self) -> str:
        """For `booktabs`, all characters escaped."""
        lines = [" & ".join(map(latex, (row[c] for c in _TYPESET))) + r" \\" for row in self.rows]
        heads = " & ".join(_TYPESET) + r" \\"
        return "\n".join(
            [
                f"% {latex(self.where)}: printed and computed; needs \\usepackage{{booktabs}}",
                r"\begin{tabular}{llrrl}", r"\toprule", heads, r"\midrule", *lines,
                r"\bottomrule", r"\end{tabular}", "",
            ]
        )  # fmt: skip


def latex(text: str) -> str:
    """A text as LaTeX reads it letter by letter; ExportError for a letter that has no command.

    >>> latex("P_G, 60 % ≥")
    'P\\\\_G, 60 \\\\% $\\\\geq$'
    """
    written = _MATHEMATICS.get(text) or "".join(_LATEX.get(letter, letter) for letter in text)
    if not written.isascii():
        strange = next(letter for letter in written if not letter.isascii())
        raise ExportError(
            f"{text!r} has {strange!r}, for which no LaTeX is known: add it to _LATEX"
        )
    return written


def found() -> list[Table]:
    """A table a place of the committed ledger, in its order."""
    places: dict[str, list[Mapping[str, str]]] = {}
    for row in ledger.committed_rows():
        places.setdefault(row["where"], []).append(row)
    return [Table(where, tuple(_rows(where, rows))) for where, rows in places.items()]


def _rows(where: str, entries: Sequence[Mapping[str, str]]) -> Iterator[dict[str, str]]:
    """An id is `source-table-row/quantity`; what it begins with only says the place again."""
    said = set(re.findall(r"[a-z0-9]+", where.lower()))
    for entry in entries:
        identity, _, quantity = entry["id"].partition("/")
        parts = identity.split("-")
        while len(parts) > 1 and parts[0] in said:
            parts.pop(0)
        name = ledger.SIGNS.get(quantity) or quantity.replace("_", " ")
        place = {"row": "-".join(parts), "quantity": name}
        yield place | {column: entry[column] for column in COLUMNS if column not in place}


# As files ----------------------------------------------------------------------------------------


def texts() -> dict[str, str]:
    """Every table as CSV and as LaTeX, by the name of its file."""
    return {
        f"{table.name}.{kind}": text
        for table in found()
        for kind, text in (("csv", table.csv), ("tex", table.latex))
    }


def export(folder: Path) -> tuple[int, int]:
    """Write all tables and, as PDF, all committed figures; how many files of each.

    Tables go to `tables/` and figures to `figures/` in the folder, which is made. Raises
    ExportError without CairoSVG, which draws the PDFs.
    """
    try:
        from cairosvg import svg2pdf
    except ImportError as error:
        raise ExportError(f"figures as PDF need CairoSVG: {paths.install('export')}") from error
    except OSError as error:  # it is there, but not the library that it calls
        raise ExportError(
            "figures as PDF need the cairo library: apt-get install libcairo2, or brew install "
            "cairo; then run it again"
        ) from error
    for part in ("tables", "figures"):  # before a minute of work
        results.make_folder(folder / part)
    drawn = sorted(paths.FIGURES.glob("*.svg"))
    written = {folder / "tables" / name: text.encode() for name, text in texts().items()}
    pictures = {folder / "figures" / f"{svg.stem}.pdf": svg2pdf(url=str(svg)) for svg in drawn}
    for path, content in (written | pictures).items():
        files.write(path, content)
    return len(written), len(pictures)


# As a page ---------------------------------------------------------------------------------------


def as_markdown(whys: Mapping[str, str]) -> str:
    """All tables, folded under headings to link to and to search for; above, a list by chapter.

    `whys` are links to why numbers are what they are, by id.
    """
    tables = found()
    return "\n".join([_raw("".join(_links(tables))), *(_section(t, whys) for t in tables)])


def _raw(html: str) -> str:
    return f"```{{raw}} html\n{html}\n```\n"


def _links(tables: Sequence[Table]) -> Iterator[str]:
    """A list a chapter that is about tables, by its title: what a source is called tells little.

    The ledger's own chapter is about all, so what no other shows stands there.
    """
    left = list(tables)
    for summary in contents.summaries():
        of_chapter = [table for table in left if summary.chapter.is_about(table.where)]
        left = [table for table in left if table not in of_chapter]
        links = "".join(
            f'<li><a href="#{table.name}">{escape(table.where)}</a></li>\n' for table in of_chapter
        )
        if of_chapter:
            title = escape(summary.title)
            yield f'<p class="tables">{title}</p>\n<ul class="tables">\n{links}</ul>\n'


def heading(text: str) -> str:
    """A text as a heading in Markdown that has it letter by letter."""
    return re.sub(r"([\\`*_<>\[\]$#])", r"\\\1", text)


def _section(table: Table, whys: Mapping[str, str]) -> str:
    """Under a heading whose anchor, as docutils makes it, is the table's name."""
    heads = "".join(f'<th scope="col">{head}</th>' for head in _TYPESET)
    lines = "\n".join(f"<tr>{''.join(_cells(row, whys))}</tr>" for row in table.rows)
    taken = ", ".join(
        f'<a href="tables/{table.name}.{kind}" download>{label}</a>'
        for kind, label in (("csv", "CSV"), ("tex", "LaTeX"))
    )
    n = len(table.rows)
    return f"## {heading(table.where)}\n\n" + _raw(
        f'<p>{table.marks} · {taken}</p>\n<details class="table"><summary>{n} number{"s" * (n > 1)}'
        '</summary>\n<div class="table-scroll"><table class="printed">'
        f"<thead><tr>{heads}</tr></thead>\n<tbody>\n{lines}\n</tbody></table></div></details>"
    )


def _cells(row: Mapping[str, str], whys: Mapping[str, str]) -> Iterator[str]:
    for column in _TYPESET:
        mark = f"{ledger.MARKS[row['verdict']]} " if column == "verdict" else ""
        text = escape(row[column])
        if column in ("printed", "computed") and text and row["id"] in whys:
            text = f'<a href="{whys[row["id"]]}">{text}</a>'
        yield f"<td>{mark}{text}</td>"
