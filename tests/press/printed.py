"""Printed tables, read once, and a printed number falsified."""

from functools import cache

from reuseprior.press import published

LOAD = published.load


@cache
def table(name):
    """A published table as it is."""
    return LOAD(name)


def falsified(monkeypatch, name="", row="", column="", text=""):
    """Let one printed cell be another text; none without a name."""

    def load(asked):
        found = table(asked).copy()
        if asked == name:
            assert (found.id == row).sum() == 1
            found.loc[found.id == row, column] = text
        return found

    monkeypatch.setattr(published, "load", load)
