"""The ledger and the site, which several tests read and which take minutes to make."""

from typing import NamedTuple

import pytest

from reuseprior import paths
from reuseprior.press import book, ledger
from reuseprior.press.ledger import Cell, Entry


class Collected(NamedTuple):
    """The whole ledger, and how it came to be."""

    entries: list[Entry]
    parts: dict[str, list[Entry]]  # by the beginning of their places
    columns: list[list[Cell]]  # of the tables, whose cells are judged together


@pytest.fixture(scope="session")
def collected():
    parts, columns, made = {}, {}, ledger.made

    def kept(place, make):
        def entries():
            parts[place] = list(make())
            return parts[place]

        return entries

    def made_and_kept(cells):
        cells = list(cells)
        columns[tuple((cell.row["id"], cell.column) for cell in cells)] = cells
        return made(cells)

    with pytest.MonkeyPatch.context() as patch:
        found = {place: kept(place, make) for place, make in ledger.parts().items()}
        patch.setattr(ledger, "parts", lambda: found)
        patch.setattr(ledger, "made", made_and_kept)
        entries = ledger.collect()
    return Collected(entries, parts, list(columns.values()))


@pytest.fixture(scope="session")
def site(once):
    """The site, made of the committed notebooks: nothing is reproduced in this build folder."""
    for name in ("sphinx", "myst_nb", "furo"):
        pytest.importorskip(name)

    def make(folder):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(paths, "BUILD", folder)
            book.build()

    return once("site", make) / "book"
