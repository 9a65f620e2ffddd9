"""The book as one PDF: the site's pages one after another, as Chromium prints them.

Chapters and what leads to them are in it. Their provenance, the ledger's rows, the tables
beside these and the reference of the package are not: they are to be searched, and hundreds of
pages long.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from copy import copy
from datetime import date
from pathlib import Path
from posixpath import dirname, join, normpath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from reuseprior import __version__, files
from reuseprior.report import chapters
from reuseprior.report.book import BookError

if TYPE_CHECKING:
    from bs4 import BeautifulSoup, Tag

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
TITLE = "The reusability prior, reproduced"
LEFT_OUT = (
    "Left out are what the site folds away, the provenance of the chapters, the rows of the ledger "
    "with the tables beside them, and the reference of the package. Links that lead there, or to "
    "files of the repository, are plain text here."
)
# what is to be clicked, in a page that is not
CLICKED = ".headerlink, .content-icon-container, button, form, script"


def browser() -> str:
    """Where Chromium or Chrome is; BookError where there is none."""
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        raise BookError(
            "the PDF is printed by Chromium, and no chromium or google-chrome is in the PATH: "
            "install one of them (on Debian: apt-get install chromium)"
        )
    return program


def pages() -> list[str]:
    """The site's pages that the PDF has, in order."""
    return ["index", *(f"notebooks/{chapter.name}" for chapter in chapters.found())]


def make(site: Path, names: Sequence[str], pdf: Path) -> Path:
    """Print pages of the site, as `pages` names them, into one PDF and return its place.

    It has a title page, contents that link, an outline and page numbers. Raises BookError where no
    Chromium is found or it prints nothing.
    """
    program = browser()
    page = site / "print.html"  # beside the pages, whose pictures and styles it uses
    try:
        page.write_text(one_page(site, names), encoding="utf-8")
        with TemporaryDirectory() as folder:
            files.write(pdf, _printed(program, page, Path(folder)))
    finally:
        page.unlink(missing_ok=True)
    return pdf


def _printed(program: str, page: Path, folder: Path) -> bytes:
    pdf = folder / "book.pdf"
    options = [
        "--headless=new", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage",
        # nothing is opened but what was built here, and it reaches no network
        "--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND",
        f"--user-data-dir={folder / 'profile'}",
        # time stands still while MathJax computes, so this is no limit to its work
        "--virtual-time-budget=60000",
        "--no-pdf-header-footer", "--generate-pdf-document-outline", f"--print-to-pdf={pdf}",
    ]  # fmt: skip
    done = subprocess.run([program, *options, page.as_uri()], capture_output=True, check=False)
    if done.returncode or not pdf.exists():
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise BookError(f"{program} printed nothing: {said[-1] if said else 'it says no reason'}")
    return pdf.read_bytes()


def one_page(site: Path, names: Sequence[str]) -> str:
    """The articles of the site's pages as one page in HTML, with a title and contents before."""
    from bs4 import BeautifulSoup  # furo needs it too

    read = {
        name: BeautifulSoup((site / f"{name}.html").read_text(encoding="utf-8"), "html.parser")
        for name in names
    }
    last = names[-1]
    head = [_moved(tag, last) for tag in read[last].select("link[rel=stylesheet], head > style")]
    math = [_moved(tag, last) for tag in read[last]("script") if "MathJax" in tag.text]
    math += [_moved(tag, last) for tag in read[last].select('script[src*="tex-svg"]')]
    articles = [_article(read[name], name, names) for name in names]
    contents = "".join(f"<li>{_contents(article)}</li>" for article in articles)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{TITLE}</title>'
        f"{_text(head)}{_text(math)}</head>\n"
        f'<body class="printed-book"><div class="title-page"><p class="title">{TITLE}</p>'
        f"<p>reuseprior {__version__} · {date.today():%-d %B %Y}</p><p>{LEFT_OUT}</p></div>\n"
        f'<nav class="book-contents"><h1>Contents</h1><ol>{contents}</ol></nav>\n'
        f"{_text(articles)}\n</body></html>\n"
    )


def _text(tags: Sequence[Tag]) -> str:
    return "\n".join(map(str, tags))


def _article(page: BeautifulSoup, name: str, names: Sequence[str]) -> Tag:
    """A page's article; what it calls its parts, and links to, is named as in the whole book."""
    article = page.find("article")
    for tag in article.select(CLICKED):
        tag.decompose()
    for tag in article.find_all(id=True):
        tag["id"] = _place(name, tag["id"])
    for link in article.find_all("a", href=True):
        href = _link(link["href"], name, names)
        if href is None:
            link.unwrap()
        else:
            link["href"] = href
    for picture in article.find_all("img"):
        _moved(picture, name)
    article["id"] = _place(name)
    return article


def _link(href: str, name: str, names: Sequence[str]) -> str | None:
    """Where a page's link leads in the book, or None if to what the book has not.

    >>> _link("../index.html#cite", "notebooks/06-beyond", ["index"])
    '#index--cite'
    """
    parts = urlsplit(href)
    if parts.scheme or parts.netloc:
        return href
    target = normpath(join(dirname(name), unquote(parts.path))) if parts.path else f"{name}.html"
    target = target.removesuffix(".html")
    return f"#{_place(target, unquote(parts.fragment))}" if target in names else None


def _place(name: str, part: str = "") -> str:
    return "--".join(filter(None, (name.replace("/", "-"), part)))


def _moved(tag: Tag, name: str) -> Tag:
    """A tag whose file is named from a page's folder, naming it from the site's."""
    for key in ("src", "href"):
        if key in tag.attrs:
            tag[key] = normpath(join(dirname(name), tag[key]))
    return tag


def _contents(article: Tag) -> str:
    """A chapter's line in the contents, and its sections below."""
    title, *_ = article("h1")
    lines = "".join(f"<li>{_entry(heading)}</li>" for heading in article("h2"))
    return f"{_entry(title)}<ol>{lines}</ol>"


def _entry(heading: Tag) -> str:
    text = copy(heading)
    for link in text("a"):
        link.unwrap()
    return f'<a href="#{heading.parent["id"]}">{text.decode_contents()}</a>'
