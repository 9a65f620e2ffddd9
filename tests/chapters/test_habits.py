"""The switches: which numbers come out with which habits of the author's code."""

import sys

import pytest

from reuseprior import paths
from reuseprior.chapters import habits
from reuseprior.errors import UserError
from reuseprior.report import book, chapters
from reuseprior.report.ledger import Entry, Interpretation

OPEN, RULED_OUT = "N_O = 1 in |G|", "running statistics counted"


def entry(identity, printed, verdict="unsaid", **options):
    given = {"source": "thesis", "where": "thesis, table 9, p. 1", "kind": "computed"} | options
    return Entry(identity, printed=printed, computed=None, verdict=verdict, **given)


ENTRIES = [
    entry("as-the-text/a", "2.5", "reproduced"),
    entry("one/a", "3.0"),
    entry("both/a", "4.0", "against the text"),
    entry("cut/a", "1.2", note="digits are cut, which gives more of its column"),
    entry("lost/a", "9", "not reproduced"),
    entry("quoted/a", "1", "confirmed", kind="quoted"),
    entry("another's/a", "1", "reproduced", source="npas"),
]
INTERPRETATIONS = {
    "as-the-text/a": [Interpretation(2.5), Interpretation(7.0, OPEN)],
    "one/a": [Interpretation(1.0), Interpretation(3.02, OPEN)],
    "both/a": [Interpretation(1.0), Interpretation(4.0, f"{OPEN}; {RULED_OUT}", "§1")],
    "cut/a": [Interpretation(1.27)],
    "lost/a": [Interpretation(1.0)],
    "another's/a": [Interpretation(1.0)],
}


def test_numbers_come_out_by_the_habits_that_bear_on_them():
    board = habits.Switchboard(ENTRIES, INTERPRETATIONS)
    first, second = list(habits.HABITS)[:2]
    assert (first, second) == ("one output node", "running statistics")
    assert [*board.numbers] == [e.id for e in ENTRIES[:5]]
    assert board.numbers["as-the-text/a"] == {0: True, 1: False}
    assert board.numbers["both/a"] == {0: False, 3: True}
    # with one of the two that it needs, nobody computed it
    counts = [board.come_out(*on) for on in ((), (first,), (second,), (first, second))]
    assert counts == [2, 2, 2, 3] and board.best == (first, second)
    assert "   3  the most: one output node, running statistics" in repr(board)
    with pytest.raises(UserError, match=r"no such habit: .*; there are one output node"):
        board.come_out("no such habit")


def test_interpretations_are_heard_as_numbers_are_computed():
    found = habits.heard()
    sys.audit("reuseprior.interpretations", "a/b", [Interpretation(1.0)])
    sys.audit("reuseprior.cell", "c/d")
    assert found == {"a/b": [Interpretation(1.0)]}


def test_a_reader_turns_them_on_and_off(browser, tmp_path):
    page = tmp_path / "page.html"
    html = habits.Switchboard(ENTRIES, INTERPRETATIONS)._repr_html_()
    row = '<table><tr id="one/a"><td>one</td></tr></table>'
    page.write_text(f'<!DOCTYPE html><meta charset="utf-8">{html}{row}')
    browser.get(page.as_uri())

    def shown():
        marks = browser.find_elements("css selector", ".switchboard i")
        text = browser.find_element("css selector", ".switchboard output").text
        row = browser.find_element("css selector", "tr").get_attribute("data-now")
        return [mark.get_attribute("class") for mark in marks], row, text

    assert shown()[:2] == (["yes", "no", "no", "yes", "no"], "no")
    first, second, *_ = browser.find_elements("css selector", ".switchboard input")
    first.click()
    *colours, text = shown()
    assert colours == [["no", "yes", "unknown", "yes", "no"], "yes"]
    assert text == "2 of 5 come out, 2 come out otherwise, 1 were not computed so"
    second.click()
    assert shown()[0] == ["no", "yes", "yes", "yes", "no"]
    first.click()
    second.click()
    assert shown()[0] == ["yes", "no", "no", "yes", "no"]
    assert not browser.get_log("browser")


@pytest.mark.slow
def test_the_ledger_s_page_has_what_its_notebook_shows(tmp_path, monkeypatch):
    html = habits.Switchboard(ENTRIES, INTERPRETATIONS)._repr_html_()
    (last,) = (chapter for chapter in chapters.found() if chapter.last)
    shown = {"cells": [{"outputs": [{"data": {"text/html": html.splitlines(keepends=True)}}]}]}
    monkeypatch.setattr(paths, "BUILD", tmp_path)
    monkeypatch.setattr(book.notebooks, "read", lambda path: shown if path == last.notebook else {})
    assert html in book.switchboard()
    shown["cells"] = [{"cell_type": "markdown"}]
    assert "switchboard" not in book.switchboard()
