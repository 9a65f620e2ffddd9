"""What a chapter's file may say, and a chapter that is added with one file and one notebook."""

import shutil
from fnmatch import fnmatchcase
from types import SimpleNamespace

import pytest

from reuseprior import paths
from reuseprior.report import book, chapters, contents, ledger, notebooks, reproduce
from reuseprior.report.chapters import ChapterError
from reuseprior.results import DIGESTS
from tests.report import house


def notebook(name, *texts):
    house.notebook(name, "# A title\n\nWhat it shows.", "profile: str = 'quick'", *texts)


ENTRIES = """
from reuseprior.report import published
from reuseprior.report.ledger import Cell, Interpretation, judged

def table_1():
    rows = published.load("new/table-1")
    return judged(Cell(row, "value", [Interpretation(6 * 7)]) for _, row in rows.iterrows())

PARTS = {"new, table 1": table_1}
"""
TABLE = 'id,source,value,where\nnew-1,new,42,"new, table 1"\n'


@pytest.mark.slow
def test_a_chapter_is_one_folder_and_one_notebook(root, monkeypatch):
    """It runs, is judged, listed and in the book, and no file that was there before is changed."""
    notebook("00-all")
    house.chapter("00-all", last=True)
    (root / "data" / "ledger.csv").write_text(",".join([*ledger.COLUMNS, ledger.TYPED]) + "\n")
    paths.RESULTS.mkdir()
    (paths.RESULTS / DIGESTS).touch()
    for page in (root / "README.md", paths.NOTEBOOKS / "README.md"):
        page.write_text("# A page\n")
    assert [chapter.name for chapter in chapters.found()] == ["00-all"]

    (paths.PUBLISHED / "new").mkdir()
    (paths.PUBLISHED / "new" / "table-1.csv").write_text(TABLE)
    notebook("07-new", "6 * 7")
    file = house.chapter("07-new", entries="new_ledger", numbers={"new, *": ""}, inputs=[])
    (file.parent / "new_ledger.py").write_text(ENTRIES)
    monkeypatch.setattr("reuseprior.chapters.__path__", [str(file.parent)])
    job, _ = reproduce.plan(["07-new"])
    assert reproduce.run(job).failure == ""
    shutil.copy(ledger.save(ledger.collect()), ledger.ledger_path())
    (row,) = ledger.saved()
    assert (row["id"], row["computed"], row["verdict"]) == ("new-1", "42", "reproduced")
    row = "| [A title](07-new.ipynb) | What it shows | 1 min | 1 min | 1 ✓ |"
    assert row in contents.with_summaries().replace("\N{NO-BREAK SPACE}", " ").splitlines()
    book.stage(root / "pages")
    assert '"text/plain"' in (root / "pages" / "notebooks" / "07-new.ipynb").read_text()
    assert "new-1" in (root / "pages" / "ledger-table.html").read_text()


def test_what_a_chapter_says_and_where_it_shows_a_number(root):
    notebook("03-a")
    file = house.chapter("03-a", entries="judging", full="minutes = 30\nparameters = {x = 1e-3}")
    (file.parent / "judging.py").touch()
    (chapter,) = chapters.found()
    assert (chapter.name, chapter.module) == ("03-a", "reuseprior.chapters.judging")
    assert chapter.presets["full"] == chapters.Preset(30.0, {"x": 0.001})
    assert (chapter.numbers, chapter.inputs, chapter.last) == ({}, ("data/**/*",), False)
    house.chapter("03-a", numbers={"thesis, table 1*": "b", "thesis, section 2": ""})
    (chapter,) = chapters.found()
    places = ["thesis, table 1, p. 2", "thesis, section 2", "thesis, section 2.1"]
    assert [chapter.is_about(place) for place in places] == [True, True, False]
    assert [chapter.cell_of(place) for place in places] == ["b", "", ""]


PROFILES = "[quick]\nminutes = 1\nparameters = {}\n[full]\nminutes = 1\nparameters = {}\n"
RIGHT = "notebook = '03-a'\n"
WRONG = [  # what a file says, and the sentence after its name
    (PROFILES, r"has no 'notebook': add the name of a file in notebooks/"),
    (f"notebook = 3\n{PROFILES}", "notebook is 3: it must be a text"),
    (f"notebook = '03-b'\n{PROFILES}", r"notebook is '03-b', which .* did you mean '03-a'"),
    (f"notebok = '03-a'\n{PROFILES}", r"unknown key 'notebok', did you mean 'notebook'\?"),
    (f"{RIGHT}last = 1\n{PROFILES}", "last is 1: it must be true or false"),
    (f"{RIGHT}inputs = 'data'\n{PROFILES}", "inputs is 'data': it must be a list of"),
    (f"{RIGHT}numbers = ['a']\n{PROFILES}", "numbers is .*: it must be a table"),
    (f"{RIGHT}numbers = {{'a, *' = 3}}\n{PROFILES}", r"numbers: 'a, \*' is 3: it must be a text"),
    (f"{RIGHT}inputs = ['/a']\n{PROFILES}", "inputs has '/a': begin it at the rep"),
    (f"{RIGHT}inputs = ['']\n{PROFILES}", "inputs has '': begin it at the rep"),
    (f"{RIGHT}inputs = ['../a']\n{PROFILES}", r"inputs has '\.\./a': begin it at"),
    (f"{RIGHT}inputs = ['a/**x']\n{PROFILES}", r"\*\* stands for folders and so by"),
    (f"{RIGHT}entries = 'x'\n{PROFILES}", r"is 'x': name a module .*x\.py"),
    ("[", r"cannot read .*03_a\.toml \(.*\): mend the file"),
    (f"{RIGHT}[quick]\n", r"has no 'full': add a table \[full\] with minutes"),
    (f"{RIGHT}full = 1\n[quick]", "quick has no 'minutes': add it"),
    (RIGHT + PROFILES.replace("1", "-1"), "quick: minutes is -1: it must be 0.0"),
    (RIGHT + PROFILES.replace("{}", "[]"), "parameters is .*: it must be a table"),
    (RIGHT + PROFILES.replace("{}", "{profile = 'full'}"), "parameters has 'profile': leave it to"),
    (RIGHT + PROFILES + "jobs = 1", "full has an unknown key 'jobs'"),
]


@pytest.mark.parametrize(("text", "message"), WRONG)
def test_one_sentence_says_what_is_wrong(root, text, message):
    notebook("03-a")
    file = house.chapter("03-a")
    file.write_text(text)
    with pytest.raises(ChapterError, match=message) as caught:
        chapters.found()
    assert str(file) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("own", [{}, {"PARTS": {"a": 3}}])
def test_a_module_of_entries_without_any_is_named(root, monkeypatch, own):
    notebook("03-a")
    file = house.chapter("03-a", entries="judged")
    (file.parent / "judged.py").touch()
    monkeypatch.setattr(ledger, "import_module", lambda name: SimpleNamespace(**own))
    with pytest.raises(ChapterError, match=r"chapters\.judged has no PARTS: name there how"):
        ledger.parts()


def test_a_notebook_has_exactly_one_chapter(root):
    notebook("03-a")
    with pytest.raises(
        ChapterError, match=r"03-a\.ipynb belongs to no chapter: name it in a \.toml"
    ):
        chapters.found()
    first = house.chapter("03-a")
    first.with_name("other.toml").write_bytes(first.read_bytes())
    with pytest.raises(ChapterError, match="both name the notebook '03-a': give one of them"):
        chapters.found()


def test_the_press_names_no_work():
    for path in (paths.PACKAGE / "report").glob("*.py"):
        assert "reuseprior.chapters." not in path.read_text(encoding="utf-8"), path.name


def test_numbers_name_cells_of_the_notebook_that_show_something():
    for chapter in chapters.found():
        cells = {cell["id"]: cell for cell in notebooks.read(chapter.notebook)["cells"]}
        for pattern, cell in chapter.numbers.items():
            assert not cell or cells[cell]["outputs"], f"{chapter.name}: {pattern}"


def test_every_number_is_of_a_work_and_of_one_pattern_there():
    works = [chapter for chapter in chapters.found() if not chapter.last]
    places = sorted({row["where"] for row in ledger.committed_rows()})
    for where in places:
        about = [[p for p in c.numbers if fnmatchcase(where, p)] for c in works]
        assert any(about), f"{where} is in no chapter"
        assert all(len(patterns) < 2 for patterns in about), f"{where}: {about}"
    for pattern in (pattern for chapter in works for pattern in chapter.numbers):
        assert any(fnmatchcase(where, pattern) for where in places), f"nothing is at {pattern!r}"
