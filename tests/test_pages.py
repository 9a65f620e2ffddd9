"""Pages that a reader finishes, and that promise and name nothing which is not there."""

import re
from pkgutil import resolve_name
from statistics import median

import pytest

from reuseprior import paths
from reuseprior.report import chapters, notebooks

AVOIDED = re.compile(
    r"told apart|in sight|\bstands?\b|\bsettles?\b|\breadings?\b|\bas many\b|of these it is|"
    r"there is none that",
)
"""Words that hide what is meant: distinguishable, seen, is, convention, an equal number."""

LONGEST = 900  # words, of a page with its captions and tables


def prose(text):
    """What a page says, without code."""
    return re.sub(r"```.*?```", " ", text, flags=re.DOTALL)


def read(name):
    return (paths.ROOT / name).read_text(encoding="utf-8")


def told(chapter):
    """All that a chapter's notebook says, its provenance and captions included."""
    cells = notebooks.read(chapter.notebook)["cells"]
    texts = (notebooks.source(cell) for cell in cells if cell["cell_type"] == "markdown")
    return prose("\n\n".join(texts))


def check(text):
    sentences = re.split(r"(?<=[.?!:])\s+|\n\n", re.sub(r"[*#|]", " ", text))
    lengths = [len(sentence.split()) for sentence in sentences]
    assert len(text.split()) <= LONGEST
    assert median(n for n in lengths if n > 2) <= 18
    assert not AVOIDED.findall(text)


@pytest.mark.parametrize("chapter", chapters.found(), ids=lambda chapter: chapter.name)
def test_a_chapter_takes_ten_minutes_and_has_plain_words(chapter):
    check(told(chapter))


def test_the_first_page_takes_five():
    check(prose(read("README.md")))


@pytest.mark.parametrize("page", ["docs/RELIABILITY.md", "docs/SECURITY.md"])
def test_every_promise_names_a_test_that_is_there(page):
    lines = [line for line in read(page).splitlines() if line[:2] == "| "]
    promises = [line for line in lines if not line.startswith(("| promise", "| of |", "| ---"))]
    assert len(promises) > 20
    for line in promises:
        file, test = re.search(r"\| `(tests/\S+\.py)::(test_\w+)` \|$", line).groups()
        assert f"\ndef {test}(" in read(file), line


ROOMS = "chapters|cli|contexts|data|measures|models|proofs|report|revolver|sharing|training"
NAMED = rf"`(?:reuseprior\.)?((?:{ROOMS})(?:\.(?!csv|toml|py)\w+)+)[`(]"
PAGES = ["README.md", "CONTRIBUTING.md", "data/README.md", "notebooks/README.md", "docs/**/*.md"]


@pytest.mark.parametrize("pattern", PAGES)
def test_what_pages_name_is_there(pattern):
    for page in paths.ROOT.glob(pattern):
        for name in set(re.findall(NAMED, page.read_text(encoding="utf-8"))):
            try:
                resolve_name(f"reuseprior.{name}")
            except (ImportError, AttributeError):
                pytest.fail(f"{page} names {name}, which is not there")


def test_commands_and_links_lead_somewhere():
    for target in ("reproduce", "book", "test", "lab"):
        assert re.search(rf"make (LOCKED=1 )?{target}\b", read("README.md")), target
        assert re.search(rf"^{target}:", read("Makefile"), re.M), target
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", read("README.md") + read("CONTRIBUTING.md")):
        assert (paths.ROOT / link).exists(), link
