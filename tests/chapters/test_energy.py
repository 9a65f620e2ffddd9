"""Chapter 5's settings are used, and what rules its tables' convention out is said."""

from functools import partial

import pytest

from reuseprior.chapters import energy
from reuseprior.report import published
from tests.chapters.printed import LOAD, table

SETTINGS = [
    (f"table-5-{n}", column)
    for n, width in enumerate(("width", "width", "channels", "channels"), 1)
    for column in (width, "depth")
]


def _other(name, rows, asked):
    """A table, another one in place of the named."""
    return rows if asked == name else LOAD(asked)


@pytest.mark.slow
@pytest.mark.parametrize("layers", [36, pytest.param(3600, marks=pytest.mark.soak)])
@pytest.mark.parametrize(("name", "column"), SETTINGS)
def test_another_width_or_depth_changes_all_that_is_counted(monkeypatch, name, column, layers):
    """Of rows of so many layers at most, and of one that shares: wider, or of half the layers."""
    rows = table(f"thesis/{name}")
    depth = rows.depth.astype(int)
    shares = depth[rows.get("shared", rows.depth) == "True"]
    rows = rows[(depth <= layers) | (depth == shares.min())]

    def another(text):
        value = int(text)
        return str(value + 1 if column != "depth" else max(value // 2, 2 if value == 1 else 1))

    made = []
    for falsified in (rows, rows.assign(**{column: rows[column].map(another)})):
        other = partial(_other, f"thesis/{name}", falsified)
        monkeypatch.setattr(published, "load", other)
        entries = energy.PARTS.table(f"thesis/{name}")
        made.append({e.id: e for e in entries if e.kind in ("computed", "derived")})
    before, after = made
    assert len(before) >= 3 * len(rows) > 0
    assert [i for i, e in before.items() if after[i].verdict == e.verdict] == []
    against = [e.note for e in before.values() if e.verdict == "against the text"]
    assert all("N_O = 1" in note and "definition 6" in note for note in against)
