"""The whole ledger, and how it came to be: kept where chapter 0's notebook computes it."""

import pickle
from pathlib import Path
from typing import NamedTuple

from reuseprior.report import ledger
from reuseprior.report.ledger import Cell, Entry


class Collected(NamedTuple):
    """What `ledger.collect` made, which takes a minute or two."""

    entries: list[Entry]
    parts: dict[str, list[Entry]]  # by the beginning of their places
    columns: list[list[Cell]]  # of the tables, whose cells are judged together


def keep(file: Path) -> None:
    """From now on in this process, let `ledger.collect` leave a file with all that it makes."""
    collect, parts, made, columns = ledger.collect, ledger.parts, ledger.made, {}

    def part_and_kept(place, make, found):
        found[place] = list(make())
        return found[place]

    def made_and_kept(cells):
        cells = list(cells)
        columns[tuple((cell.row["id"], cell.column) for cell in cells)] = cells
        return made(cells)

    def collected_and_kept(*arguments, **options):
        found = {}
        makers = {
            place: lambda place=place, make=make: part_and_kept(place, make, found)
            for place, make in parts().items()
        }
        ledger.parts = lambda: makers
        entries = collect(*arguments, **options)
        file.write_bytes(pickle.dumps(Collected(entries, found, list(columns.values()))))
        return entries

    ledger.collect, ledger.made = collected_and_kept, made_and_kept
