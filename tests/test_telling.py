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


def main_path(chapter):
    """What a chapter says before its provenance, without code and links' addresses."""
    cells = notebooks.read(chapter.notebook)["cells"]
    said = "\n\n".join(notebooks.source(c) for c in cells if c["cell_type"] == "markdown")
    return re.sub(r"```.*?```|\]\([^)]*\)", " ", said.split("\n## Provenance")[0], flags=re.DOTALL)


@pytest.mark.parametrize("chapter", chapters.found(), ids=lambda chapter: chapter.name)
def test_a_chapter_takes_ten_minutes(chapter):
    text = main_path(chapter)
    sentences = re.split(r"(?<=[.?!:])\s+|\n\n", re.sub(r"[*#|]", " ", text))
    lengths = [len(sentence.split()) for sentence in sentences]
    assert len(text.split()) <= 900
    assert median(n for n in lengths if n > 2) <= 18


@pytest.mark.parametrize("chapter", chapters.found(), ids=lambda chapter: chapter.name)
def test_plain_words(chapter):
    assert not AVOIDED.findall(main_path(chapter))


def test_plain_words_of_the_first_page():
    assert not AVOIDED.findall((paths.ROOT / "README.md").read_text(encoding="utf-8"))
