"""Chapter 5's settings are used, and what rules its tables' convention out is said."""

import pytest

from reuseprior.press import published
from reuseprior.works.thesis import energy as work

SETTINGS = [
    (f"table-5-{n}", column)
    for n, width in enumerate(("width", "width", "channels", "channels"), 1)
    for column in (width, "depth")
]


def another(column: str, value: int) -> int:
    """Another width or depth than the printed one: of half the layers where there are two."""
    return value + 1 if column != "depth" else max(value // 2, 2 if value == 1 else 1)


@pytest.mark.slow
@pytest.mark.parametrize(("table", "column"), SETTINGS)
def test_another_width_or_depth_changes_all_that_is_counted(monkeypatch, table, column):
    before = {e.id: e for e in work.table_entries(table)}
    load = published.load

    def loaded(*names):
        found = load(*names)
        if column in found:
            found[column] = [str(another(column, int(text))) for text in found[column]]
        return found

    monkeypatch.setattr(published, "load", loaded)
    after = {e.id: e for e in work.table_entries(table)}
    computed = {i: e for i, e in before.items() if e.kind == "computed"}
    assert computed
    assert [i for i, e in computed.items() if after[i].verdict == e.verdict] == []


@pytest.mark.slow
def test_the_convention_is_against_the_text():
    for entry in work.table_entries("table-5-1"):
        if entry.verdict == "against the text":
            assert "N_O = 1" in entry.note and "definition 6" in entry.note
