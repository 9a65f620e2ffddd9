"""The pages of what only an auditor needs."""

import re

import nbformat
import pytest

from reuseprior import paths, results
from reuseprior.report import campaign, chapters, ledger, notebooks, provenance
from reuseprior.report.notebooks import NotebookError
from tests.report import house

WITH_NOTES = [chapter for chapter in chapters.found() if provenance.notes(chapter).exists()]


def read(chapter):
    return provenance.split(chapter, notebooks.read(chapter.notebook)["cells"])


def test_code_is_shown_where_the_notes_say(root, monkeypatch):
    monkeypatch.setattr(ledger, "committed_rows", list)
    monkeypatch.setattr(campaign, "left", lambda chapter: [])
    path = house.notebook("03-a", "# A", "1", "## Provenance", "2", "*A caption.*", "3", tags=())
    chapter = chapters.read(house.chapter("03-a", inputs=["data/b.csv"]))
    cells = nbformat.read(path, as_version=4).cells
    assert read(chapter) == (notebooks.read(path)["cells"], []), "there are no notes yet"
    notes = provenance.notes(chapter)
    notes.parent.mkdir(parents=True)
    before, two, three = (cells[i].id for i in (1, 3, 5))
    notes.write_text(f"first\n\n<!-- cell: {three} -->\n\nlast\n\n<!-- cell: {two} -->\n")
    chapter_page, page = read(chapter)
    assert [notebooks.source(cell) for cell in chapter_page] == ["# A", "1", "## Provenance"]
    assert [notebooks.source(cell).strip() for cell in page[:5]] == ["first", "3", "last", "2", ""]
    assert "Read: `data/b.csv`" in notebooks.source(page[-1])
    assert provenance.page_of(chapter, two) == notes
    assert provenance.page_of(chapter, before) == path
    for wrong, odd in (
        (f"<!-- cell: {two} -->", three),
        (f"<!-- cell: {two} --><!-- cell: {three} --><!-- cell: {before} -->", before),
        (f"<!-- cell: {two} --><!-- cell: {three} --><!-- cell: {two} -->", "one of them twice"),
    ):
        notes.write_text(wrong)
        with pytest.raises(NotebookError, match=f"must place every code cell .* see {odd}"):
            read(chapter)


@pytest.mark.slow
@pytest.mark.parametrize("chapter", WITH_NOTES, ids=lambda chapter: chapter.name)
def test_nothing_that_an_auditor_needs_is_lost(chapter):
    """Every number that is not ✓, every run and every command, and a link from the notebook."""
    own, page = read(chapter)
    text = "\n".join(map(notebooks.source, page))
    assert f"](../docs/provenance/{chapter.name}.md)" in notebooks.source(own[-1])
    for row in ledger.committed_rows():
        if chapter.is_about(row["where"]) and ledger.MARKS[row["verdict"]] not in ("✓", ""):
            assert f'ledger.html#{row["id"]}"' in text
    assert all(one.command.split(" ")[1] in text for one in campaign.left(chapter.name))
    for pattern in (*chapter.inputs, *chapter.records):
        kind = re.match(r"data/results/([^/]+)/", pattern)
        for run in results.finished_runs(kind[1]) if kind else ():
            assert (
                f"| {re.sub('-seed[0-9]+$', '', f'{run.folder.parent.name}/{run.name}')} |" in text
            )
            assert run.commit in text


def test_notes_are_of_chapters():
    names = {path.stem for path in (paths.ROOT / "docs" / "provenance").glob("*.md")}
    assert names == {chapter.name for chapter in WITH_NOTES} and len(names) >= 10
