"""Six sentences missing from the thesis: what its numbers follow and its text does not say.

A computed number marked ≈ names in its note the conventions that give its digits; each belongs to
one of these habits of the author's code.
"""

import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, reduce
from html import escape
from itertools import product
from operator import or_
from pathlib import Path

import pandas as pd

from reuseprior.errors import UserError
from reuseprior.report.ledger import Entry, Interpretation
from reuseprior.report.published import Printed

_TABLE = pd.read_csv(Path(__file__).with_name("habits.csv"), index_col="habit")

HABITS = {habit: tuple(said) for habit, *said in _TABLE.itertuples()}
"""Each habit: how a note begins that names it, the missing sentence, what the text says."""


def of_note(note: str) -> list[str]:
    """The habits that a row's note names, in the table's order."""
    named = f"; {note.split('; but ')[0]}"
    return [habit for habit, (start, *_) in HABITS.items() if f"; {start}" in named]


def explained(rows: Iterable[Mapping[str, str]]) -> pd.DataFrame:
    """How many of the given ledger rows need each habit, and how many need nothing else."""
    needed = [of_note(row["note"]) for row in rows]
    counts = {
        "numbers": [sum(habit in habits for habits in needed) for habit in HABITS],
        "alone": [needed.count([habit]) for habit in HABITS],
    }
    return _TABLE.drop(columns="note begins").rename_axis(None).assign(**counts)


# On and off ---------------------------------------------------------------------------------------


def heard() -> dict[str, Sequence[Interpretation]]:
    """The interpretations of all numbers that are computed from now on, by their ids."""
    interpretations: dict[str, Sequence[Interpretation]] = {}

    def hear(event: str, arguments: tuple) -> None:
        if event == "reuseprior.interpretations":
            interpretations.update([arguments])

    sys.addaudithook(hear)
    return interpretations


class Switchboard:
    """The computed numbers of the thesis and its paper with each habit on or off.

    With some on, a number has the value that was computed with those of them that bear on it. It
    comes out, comes out otherwise, or was not computed so.
    """

    def __init__(self, entries: Iterable[Entry], heard: Mapping[str, Sequence[Interpretation]]):
        self._heard = heard
        of = [e for e in entries if e.kind == "computed" and e.source in ("thesis", "paper")]
        self._entries = [e for e in of if e.id in heard]

    @cached_property
    def numbers(self) -> dict[str, dict[int, bool]]:
        """Of each number whether it comes out, by the habits of its interpretations, as bits."""
        return {e.id: self._of(e) for e in self._entries}

    def _of(self, entry: Entry) -> dict[int, bool]:
        printed, names = Printed.parse(entry.printed), list(HABITS)
        interval = printed.interval("cut" if "digits are cut" in entry.note else "rounded")
        comes_out: dict[int, bool] = defaultdict(bool)
        for interpretation in self._heard[entry.id]:
            on = sum(1 << names.index(habit) for habit in of_note(interpretation.convention))
            comes_out[on] |= interpretation.value in interval
        return dict(comes_out)

    def come_out(self, *habits: str) -> int:
        """How many do with these habits on; UserError for one that there is not."""
        if strange := set(habits) - set(HABITS):
            raise UserError(f"no such habit: {min(strange)!r}; there are {', '.join(HABITS)}")
        on = sum(1 << list(HABITS).index(habit) for habit in habits)
        return sum(
            comes_out.get(on & _bearing(comes_out), False) for comes_out in self.numbers.values()
        )

    @property
    def best(self) -> tuple[str, ...]:
        """The habits with which most numbers come out: of equals the fewest."""
        sets = product(*((habit, "") for habit in HABITS))
        every = [tuple(filter(None, habits)) for habits in sets]
        return max(every, key=lambda habits: (self.come_out(*habits), -len(habits)))

    def __repr__(self) -> str:
        lines = {"as the text says": (), **{habit: (habit,) for habit in HABITS}}
        lines |= {"all": tuple(HABITS), f"the most: {', '.join(self.best)}": self.best}
        texts = [f"{self.come_out(*habits):4}  {name}" for name, habits in lines.items()]
        return "\n".join([f"of {len(self.numbers)} numbers come out with", *texts])

    def _repr_html_(self) -> str:
        switches = " ".join(
            f'<label title="{escape(sentence)}"><input type="checkbox" value="{1 << bit}">'
            f" {escape(habit)}</label>"
            for bit, (habit, (_, sentence, _)) in enumerate(HABITS.items())
        )
        places = defaultdict(list)
        for entry in self._entries:
            of = [entry.id, _bearing(self.numbers[entry.id]), self.numbers[entry.id]]
            places[", ".join(entry.where.split(", ")[:2])].append(of)
        data = json.dumps(places, separators=(",", ":"), ensure_ascii=False)
        board = Path(__file__).with_name("switchboard.html").read_text(encoding="utf-8").strip()
        return board % {"switches": switches, "data": data.replace("<", "\\u003c")}


def _bearing(comes_out: Mapping[int, bool]) -> int:
    """The habits that a number's interpretations name."""
    return reduce(or_, comes_out, 0)
