"""Pages that a reader finishes: their length, their sentences, their words."""

import re
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


def told(chapter):
    """All that a chapter's notebook says, its provenance and captions included."""
    cells = notebooks.read(chapter.notebook)["cells"]
    texts = (notebooks.source(cell) for cell in cells if cell["cell_type"] == "markdown")
    return prose("\n\n".join(texts))


def check(text, longest=LONGEST):
    sentences = re.split(r"(?<=[.?!:])\s+|\n\n", re.sub(r"[*#|]", " ", text))
    lengths = [len(sentence.split()) for sentence in sentences]
    assert len(text.split()) <= longest
    assert median(n for n in lengths if n > 2) <= 18
    assert not AVOIDED.findall(text)


@pytest.mark.parametrize("chapter", chapters.found(), ids=lambda chapter: chapter.name)
def test_a_chapter_takes_ten_minutes_and_has_plain_words(chapter):
    check(told(chapter))


def test_the_first_page_takes_five():
    check(prose((paths.ROOT / "README.md").read_text(encoding="utf-8")))
