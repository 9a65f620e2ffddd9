"""The table of chapters, and the pages that show it."""

import json
import re

import pytest

from reuseprior import paths
from reuseprior.report import chapters, contents, ledger, notebooks, published
from reuseprior.report.notebooks import NotebookError
from tests.report import house

FIRST = """\
# 3 · Revolver

**What the chapter claims.** Modules get reused.

**What this notebook shows.** A population of 4.5 networks; more.
"""


@pytest.fixture
def root(root):
    """A repository of one chapter, whose ledger has three numbers."""
    rows = ["3.1|computed|unsaid", "3.1|setting|used", "3.2|computed|reproduced",
            "4.1|computed|erratum", "4.1|measured|open"]  # fmt: skip
    lines = [",".join([*ledger.COLUMNS, ledger.TYPED])]
    for i, (table, kind, verdict) in enumerate(row.split("|") for row in rows):
        lines.append(f'{i},thesis,"thesis, table {table}",{kind},1,1,,{verdict},,')
    (root / "data" / "ledger.csv").write_text("\n".join([*lines, ""]))
    full = "minutes = 3000\nparameters = {}"
    house.chapter("03-revolver", numbers={"*, table 3*": ""}, full=full)
    house.notebook("03-revolver", FIRST)
    return root


def test_a_chapter_and_the_tables(root):
    (summary,) = contents.summaries()
    assert (summary.title, summary.shows) == ("3 · Revolver", "A population of 4.5 networks")
    assert summary.verdicts == {"reproduced": 1, "unsaid": 1}
    assert contents.with_summaries().splitlines()[2] == (
        "| [3 · Revolver](03-revolver.ipynb) | A population of 4.5 networks | 1\u00a0min | "
        "2\u00a0days | 1\u00a0✓ 1\u00a0≈ |"
    )
    assert contents.tally() == (
        "Of 3 numbers of the thesis that can be computed, 1\u00a0✓ 1\u00a0≈ 1\u00a0✗."
    )


def test_other_sources_follow_the_first_and_what_one_repeats_counts_once(root, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(published, "repeats", lambda: {"2": "0", "3": "0"})
        said = "Of 1 numbers of the thesis that can be computed, 1\u00a0≈."
        assert contents.tally() == said
    path = root / "data" / "ledger.csv"
    more = [f'{i},paper,"paper, table 1",computed,2,2,,reproduced,,' for i in (5, 6)]
    path.write_text(path.read_text() + "\n".join([*more, ""]))
    assert "1\u00a0✗. Of 2 of the related works, 2\u00a0✓." in contents.tally()


def test_times():
    times = {0.3: "20 s", 0.7: "40 s", 1.0: "1 min", 75: "75 min", 120: "2 h", 4000: "3 days"}
    assert {minutes: chapters.duration(minutes) for minutes in times} == times


def test_renewing(root):
    """Only what stands between the two comments changes, and a second time nothing does."""
    places = "<!-- {0} -->\n{1}<!-- /{0} -->"
    readme, index = root / "README.md", root / "notebooks" / "index.ipynb"
    readme.write_text(f"a\n{places.format('tally', 'old')}\nb\n")
    both = "\n".join(places.format(name, "") for name in ("chapters", "legend"))
    house.notebook("index", f"{both}\nafter")
    with pytest.raises(NotebookError, match=r"README\.md has no place for the tally"):
        contents.renew()
    readme.write_text(readme.read_text().replace("old", "old\n"))
    assert contents.renew() == [readme, index] and contents.renew() == []
    assert readme.read_text() == f"a\n{places.format('tally', contents.tally() + chr(10))}\nb\n"
    (cell,) = json.loads(index.read_text())["cells"]
    shown = (("chapters", contents.with_summaries()), ("legend", contents.legend()))
    both = "\n".join(places.format(name, f"{text}\n") for name, text in shown)
    assert notebooks.source(cell) == f"{both}\nafter"
    house.notebook("03-revolver", "*Hello*")
    with pytest.raises(NotebookError, match="03-revolver has no title"):
        contents.summaries()


def test_pages_show_the_current_tables():
    readme = (paths.ROOT / "README.md").read_text(encoding="utf-8")
    for chapter in chapters.found():
        assert f"](notebooks/{chapter.notebook.name})" in readme, chapter.name
    assert f"<!-- tally -->\n{contents.tally()}\n<!-- /" in readme, "run make notebooks"
    landing = notebooks.read(paths.NOTEBOOKS / "index.ipynb")
    texts = [notebooks.source(cell) for cell in landing["cells"]]
    assert any(contents.with_summaries() in text for text in texts), "run make notebooks"
    assert notebooks.slips(paths.NOTEBOOKS / "index.ipynb") == []


def test_a_notebook_says_the_time_that_the_tables_say():
    for chapter in (c for c in chapters.found() if not c.last):
        first = notebooks.source(notebooks.read(chapter.notebook)["cells"][0])
        said = re.search(r"\*\*How long\.\*\* About (.+?) on two cores", first)[1]
        short = re.sub(r" (s|min)[a-z]*", r" \1", said)
        assert short == chapters.duration(chapter.presets["quick"].minutes), chapter.name
