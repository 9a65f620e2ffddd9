"""Why numbers are what they are, as pages of the book, with the lines of code that they lead to.

They are made of the trace that `reuseprior audit --trace` left; without one of this code the book
has none of them.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from functools import cached_property, partial
from html import escape

from reuseprior import paths
from reuseprior.report import ledger, tables, why
from reuseprior.report.chapters import Chapter

KINDS = ("computed", "derived", "proved")
_LINE = re.compile(r"(reuseprior/[\w/]+\.py):(\d+)( [\w.]+)")
_TD = re.compile(r"<td>([^<]*)</td>")


class Trails:
    """The pages of all numbers of these kinds that were traced, and links to them."""

    def __init__(self, trace: why.Trace | None):
        self._trace = trace

    @classmethod
    def load(cls) -> Trails:
        """Those of the last trace, if it is of this code."""
        try:
            return cls(why.Trace.load())
        except why.WhyError:
            return cls(None)

    @cached_property
    def _rows(self) -> Mapping[str, Mapping[str, str]]:
        traced = self._trace.numbers if self._trace else ()
        rows = ledger.committed_rows()
        return {row["id"]: row for row in rows if row["id"] in traced and row["kind"] in KINDS}

    @cached_property
    def _told(self) -> Mapping[str, str]:
        """What is told of each number, with links, from a folder beside that of the lines."""
        return {
            identity: _LINE.sub(_link, escape("\n".join(why.tell(row, self._trace))))
            for identity, row in self._rows.items()
        }

    @cached_property
    def links(self) -> Mapping[str, str]:
        """By number, where in the book it is told why."""
        return {i: f"{_page(row)}.html#{escape(i)}" for i, row in self._rows.items()}

    def line(self, identity: str) -> str:
        """A link from the first page to the function that tells a number from others the most."""
        first = re.search(r'<a href="\.\./(.*?)</a>', self._told.get(identity, ""))
        return f'<a href="{first[1]}</a>' if first else ""

    def pages(self) -> dict[str, str]:
        """A page a place where numbers are printed, and a page a file of the lines they name."""
        places = defaultdict(list)
        for identity, row in self._rows.items():
            places[_page(row)].append(identity)
        html = "".join(self._told.values())
        files = set(re.findall(r"source/(.*?)\.html", html))
        pages = {f"{page}.md": "\n".join(self._told_at(ids)) for page, ids in places.items()}
        return pages | {f"source/{name}.html": self._source(name) for name in files}

    def _told_at(self, ids: list[str]) -> Iterator[str]:
        where = tables.heading(self._rows[ids[0]]["where"])
        yield f"---\norphan: true\nnosearch: true\n---\n\n# Why: {where}\n\n```{{raw}} html"
        for identity in ids:
            row, (first, _, rest) = self._rows[identity], self._told[identity].partition("\n")
            mark, printed = ledger.MARKS[row["verdict"]], escape(row["printed"])
            yield f'<details class="why" id="{escape(identity)}"><summary>{mark} {printed}'
            yield f" <code>{first.split(': ')[0]}</code></summary><pre>{rest}</pre></details>"
        yield "```\n"

    def _source(self, name: str) -> str:
        from pygments import highlight
        from pygments.formatters import HtmlFormatter
        from pygments.lexers import PythonLexer

        title = f"{name} at {self._trace.commit}"
        options = {"linenos": True, "lineanchors": "L", "anchorlinenos": True}
        page = HtmlFormatter(full=True, title=title, **options)
        return highlight((paths.PACKAGE.parent / name).read_text("utf-8"), PythonLexer(), page)

    def lead(self, html: str, chapter: Chapter, cell: str, up: str) -> str:
        """The tables that a cell of a chapter shows, with a link from each number to its page.

        A number is known by its line's id, or by its column and its printed digits, where as many
        numbers of the places that the cell shows have them as there are in the tables.
        """
        known = defaultdict(list)
        for identity, row in self._rows.items():
            if chapter.cell_of(row["where"]) == cell:
                column = identity.rpartition("/")[2]
                known[ledger.SIGNS.get(column, column), escape(row["printed"])].append(identity)
        shown = Counter(key for _, key in _numbers(html) if key in known)
        for key, times in shown.items():
            if times != len(known[key]):
                del known[key]
        parts, end = [], 0
        for number, key in _numbers(html):
            if known[key]:
                link = f'<a href="{up}{self.links[known[key].pop(0)]}">{number[1]}</a>'
                parts += [html[end : number.start(1)], link]
                end = number.end(1)
        return re.sub(
            r"(?<=<th>)[^<]+(?=</th>)", partial(self._led, up), "".join(parts) + html[end:]
        )

    def _led(self, up: str, head: re.Match) -> str:
        link = self.links.get(head[0])
        return f'<a href="{up}{link}">{head[0]}</a>' if link else head[0]


def _numbers(html: str) -> Iterator[tuple[re.Match, tuple[str, str]]]:
    """The cells of tables that have a printed and a computed number: what is printed, by column."""
    for table in re.finditer(r"<table.*?</table>", html, re.DOTALL):
        first = re.sub(r"</tr>.*", "", table[0], flags=re.DOTALL)
        heads = re.findall(r"<th>([^<]*)</th>", first)[1:]  # above the lines' names is nothing
        for line in re.compile(r"<tr>.*?</tr>", re.DOTALL).finditer(html, *table.span()):
            cells = list(_TD.finditer(html, *line.span()))
            for head, cell in zip(heads, cells, strict=False):
                printed, bar, _ = cell[1].partition(" | ")
                if bar and len(cells) == len(heads):
                    yield cell, (head, printed)


def _page(row: Mapping[str, str]) -> str:
    return f"why/{tables.Table(row['where'], ()).name}"


def _link(match: re.Match) -> str:
    return f'<a href="../source/{match[1]}.html#L-{match[2]}">{match[3].strip()}</a> {match[1]}'
