"""What only an auditor needs of a chapter: its page in the book.

`docs/provenance/NAME.md` has what is written by hand. The notebook's code cells below its heading
"Provenance" are shown there, each where the text says `<!-- cell: ID -->`. The rest is read from
the tree: the ledger's rows, the recorded runs, the figures, and the runs that are still wanted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path

from reuseprior import paths, results
from reuseprior.report import campaign, ledger, notebooks, tables
from reuseprior.report.chapters import Chapter
from reuseprior.report.notebooks import NotebookError

HEADING = "## Provenance"
_CELL = re.compile(r"<!-- cell: ([\w-]+) -->\n*")


def notes(chapter: Chapter) -> Path:
    """Where what is written by hand lies; a chapter without has no page."""
    return paths.ROOT / "docs" / "provenance" / f"{chapter.name}.md"


def split(chapter: Chapter, cells: Sequence[dict]) -> tuple[list[dict], list[dict]]:
    """A notebook's cells for the chapter's page, and those for the page of its provenance.

    The second list is empty for a chapter without notes. Raises NotebookError where the notes and
    the code below the heading do not name the same cells.
    """
    if not notes(chapter).exists():
        return list(cells), []
    at = [notebooks.source(cell).startswith(HEADING) for cell in cells].index(True) + 1
    code = {cell["id"]: cell for cell in cells[at:] if cell["cell_type"] == "code"}
    first, *parts = _CELL.split(notes(chapter).read_text(encoding="utf-8"))
    if sorted(code) != sorted(parts[::2]):
        odd = ", ".join(sorted({*code} ^ {*parts[::2]})) or "one of them twice"
        raise NotebookError(
            f"{notes(chapter)} must place every code cell that {chapter.name} has below "
            f"{HEADING!r}, by a line <!-- cell: ID -->, and no other: see {odd}"
        )
    page = [notebooks.text(first, "provenance")]
    for identity, text in zip(parts[::2], parts[1::2], strict=True):
        page += [code[identity], notebooks.text(text, f"after-{identity}")]
    return list(cells[:at]), [*page, notebooks.text("\n\n".join(_generated(chapter)), "generated")]


def page_of(chapter: Chapter, cell: str) -> Path:
    """The notebook or the notes, whichever's page shows a cell."""
    path = notes(chapter)
    apart = path.exists() and f"<!-- cell: {cell} -->" in path.read_text(encoding="utf-8")
    return path if apart else chapter.notebook


def _generated(chapter: Chapter) -> Iterator[str]:
    rows = [row for row in ledger.committed_rows() if chapter.is_about(row["where"])]
    yield "## Rows of the ledger" if rows else "No number of the ledger is this chapter's."
    for table in tables.found():
        if chapter.is_about(table.where):
            link = f'<a href="../../tables.html#{table.name}">{escape(table.where)}</a>'
            yield f"{link}: {table.marks}"
    yield from (_by_note(mark, rows) for mark in ledger.LEGEND)
    yield "\n".join(
        ["## Recorded runs", "", "| run | seeds | commits |", "|---|---|---|", *_runs(chapter)]
    )
    figures = notebooks.figures(chapter.notebook)
    drawn = ", ".join(f"[{name}](../../figures/README.md#{name})" for name in figures)
    read = ", ".join(f"`{pattern}`" for pattern in chapter.inputs)
    yield f"## Figures and inputs\n\nDrawn: {drawn or 'none'}.\n\nRead: {read or 'no data'}."
    wanted = escape("\n".join(one.command for one in campaign.left(chapter.name)))
    yield f"## Still to run\n\n<pre>{wanted or 'nothing that is planned'}</pre>"


def _by_note(mark: str, rows: Iterable[Mapping[str, str]]) -> str:
    """The rows of a mark, folded, with those of one note together."""
    by_note: dict[str, list[str]] = {}
    for row in rows:
        if ledger.MARKS[row["verdict"]] == mark:
            link = f'<a href="../../ledger.html#{escape(row["id"])}">{escape(row["id"])}</a>'
            by_note.setdefault(f"{row['verdict']}: {row['note']}", []).append(link)
    lines = "".join(f"<li>{escape(note)}<br>{', '.join(ids)}</li>" for note, ids in by_note.items())
    total = sum(map(len, by_note.values()))
    return f"<details><summary>{mark} {total}</summary><ul>{lines}</ul></details>" if total else ""


def _runs(chapter: Chapter) -> Iterator[str]:
    """A line for all seeds of a recorded run that the chapter may read."""
    patterns = (*chapter.inputs, *chapter.records)
    kinds = {m[1]: None for m in (re.match(r"data/results/([^/]+)/", p) for p in patterns) if m}
    by_name: dict[str, list[results.Run]] = {}
    for run in (run for kind in kinds for run in results.finished_runs(kind)):
        name = re.sub(r"-seed\d+$", "", f"{run.folder.parent.name}/{run.name}")
        by_name.setdefault(name, []).append(run)
    for name, runs in by_name.items():
        seeds = dict.fromkeys(str(run.summary.get("seed", "")) for run in runs)
        commits = dict.fromkeys(run.commit for run in runs)
        yield f"| {name} | {', '.join(seeds)} | {', '.join(commits)} |"
