"""The chapters at a glance: what each shows, how long it takes, how its printed numbers stand.

The table is read from the notebooks, what their chapters say of them and the committed ledger;
`renew` puts it into the pages that show it, between the two comments that mark its place.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from reuseprior import files, paths
from reuseprior.report import chapters, ledger, notebooks, published
from reuseprior.report.chapters import PROFILES, Chapter
from reuseprior.report.notebooks import NotebookError

TOGETHER = "\u00a0"  # a space at which no line of a narrow column ends


@dataclass(frozen=True)
class Summary:
    """A chapter, described from what is written in its notebook and beside it."""

    chapter: Chapter
    title: str
    shows: str  # its own words
    verdicts: Mapping[str, int]  # how many of its computed numbers have each


def summaries() -> list[Summary]:
    """All chapters in the order in which they run; NotebookError for one without a title."""
    rows = ledger.committed_rows()
    return [_summary(chapter, rows) for chapter in chapters.found()]


def _summary(chapter: Chapter, rows: Iterable[Mapping[str, str]]) -> Summary:
    first = notebooks.source(notebooks.read(chapter.notebook)["cells"][0])
    title = re.match(r"# (.+)", first)
    if not title:
        raise NotebookError(f"{chapter.name} has no title: open its first cell with a line '# …'")
    shows = re.search(r"\*\*What this notebook shows\.\*\* *(.+)", first) or re.search(
        r"\n\n(.+)", first
    )
    return Summary(
        chapter,
        title[1].strip(),
        _first_clause(shows[1]) if shows else "",
        by_verdict(r for r in rows if chapter.is_about(r["where"]) and r["kind"] == "computed"),
    )


def _first_clause(text: str) -> str:
    return re.split(r"(?<=[^.])[.;:] ", f"{text.strip()} ")[0]


def by_verdict(rows: Iterable[Mapping[str, str]]) -> dict[str, int]:
    """How many rows of the ledger have each verdict."""
    counts = Counter(row["verdict"] for row in rows)
    return {verdict: counts[verdict] for verdict in ledger.MARKS if counts[verdict]}


# As Markdown -------------------------------------------------------------------------------------


def with_summaries() -> str:
    """The table for a page beside the notebooks: what each shows."""
    heads = ["notebook", "shows", *PROFILES, "computed numbers"]
    lines = [heads, ["---"] * len(heads)]
    for summary in summaries():
        minutes = (summary.chapter.presets[profile].minutes for profile in PROFILES)
        times = [chapters.duration(taken).replace(" ", TOGETHER) for taken in minutes]
        link = f"[{summary.title}]({summary.chapter.notebook.name})"
        lines.append([link, summary.shows, *times, marks(summary.verdicts)])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def tally() -> str:
    """What became of the numbers that are computed from models, in a sentence or two.

    The source that the ledger begins with goes first, all others follow together. A number that a
    second source repeats is counted once, and what no source prints (`ledger.OURS`) never.

    >>> tally()
    'Of ... numbers of the thesis that can be computed, ...'
    """
    rows = [row for row in _distinct(ledger.committed_rows()) if row["source"] != ledger.OURS]
    main = rows[0]["source"]
    computed = [row for row in rows if row["kind"] == "computed"]
    first = by_verdict(row for row in computed if row["source"] == main)
    others = by_verdict(row for row in computed if row["source"] != main)
    said = f"Of {sum(first.values())} numbers of the {main} that can be computed, {marks(first)}."
    if others:
        said += f" Of {sum(others.values())} of the related works, {marks(others)}."
    return said


def legend() -> str:
    """What the marks say, in a sentence."""
    return "; ".join(f"{mark} {says}" for mark, says in ledger.LEGEND.items()) + "."


def by_mark(verdicts: Mapping[str, int]) -> dict[str, int]:
    """Counts of verdicts as counts of marks, in the legend's order; inputs have none."""
    counts = Counter()
    for verdict, n in verdicts.items():
        counts[ledger.MARKS[verdict]] += n
    return {mark: counts[mark] for mark in ledger.LEGEND if counts[mark]}


def _distinct(rows: Iterable[Mapping[str, str]]) -> Iterator[Mapping[str, str]]:
    """The rows without those that another source printed first, digit for digit."""
    rows = list(rows)
    first = published.repeats()
    digits = {row["id"]: row["printed"].replace(" ", "") for row in rows}
    for row in rows:
        name, slash, column = row["id"].partition("/")
        original = first.get(row["id"]) or f"{first.get(name, '')}{slash}{column}"
        if not original or digits.get(original) != digits[row["id"]]:
            yield row


def marks(verdicts: Mapping[str, int]) -> str:
    """Counts of verdicts as marks: `210 ✓ 250 ≈ 16 ✗`, each number on its mark's line."""
    return " ".join(f"{n}{TOGETHER}{mark}" for mark, n in by_mark(verdicts).items()) or "–"


# In the pages ------------------------------------------------------------------------------------


def renew() -> list[Path]:
    """Renew the tally in README.md and the table in notebooks/index.ipynb; the changed pages.

    Raises NotebookError where a page has not the two comments that mark a table's place.
    """
    readme, index = paths.ROOT / "README.md", paths.NOTEBOOKS / "index.ipynb"
    text = _put(readme.read_text(encoding="utf-8"), "tally", tally(), readme)
    notebook = notebooks.read(index)
    (cell,) = [c for c in notebook["cells"] if "<!-- chapters -->" in notebooks.source(c)]
    filled = _put(notebooks.source(cell), "chapters", with_summaries(), index)
    filled = _put(filled, "legend", legend(), index)
    cell["source"] = filled.splitlines(keepends=True)
    pages = {
        readme: text,
        index: json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n",
    }
    changed = [page for page, new in pages.items() if page.read_text(encoding="utf-8") != new]
    for page in changed:
        files.write(page, pages[page].encode())
    return changed


def _put(text: str, name: str, block: str, page: Path) -> str:
    """The text with what stands between `<!-- name -->` and `<!-- /name -->` replaced."""
    place = re.compile(rf"(<!-- {name} -->\n)(?:.*?\n)?(<!-- /{name} -->)", re.DOTALL)
    if len(place.findall(text)) != 1:
        raise NotebookError(
            f"{page} has no place for the {name}: it needs one <!-- {name} --> and, below it, "
            f"one <!-- /{name} -->"
        )
    return place.sub(lambda match: f"{match[1]}{block}\n{match[2]}", text)
