"""A table of measured models, kept in a file so that a long ranking goes on where it stopped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from math import inf, isnan
from pathlib import Path

from reuseprior import files, results
from reuseprior.errors import shown
from reuseprior.measures.measuring import Conventions, Measured, Refused
from reuseprior.models import ModelError
from reuseprior.quantities import Quantities
from reuseprior.results import ResultError

COLUMNS = (
    "model", "image_size", "shape", "sharing", "batch_norm", "output", "held", "multiply_adds",
    "blur", "blur_all", "shortest", "mean_length", "layer_entropy", "path_entropy",
    *(field.name for field in fields(Quantities)), "seconds", "reason",
)  # fmt: skip
"""Of the file: a row a model. `held` counts all its parameters and `parameters` is N_G, those with
a context; `reason` says why a model could not be counted, and then the numbers are missing."""

NUMBERS = COLUMNS[COLUMNS.index("held") : COLUMNS.index("reason")]


LARGEST = 10**30  # whole numbers of a table are below


class Ranking:
    """Rows of models, with those of `file` if there is one; each addition is written to it.

    ```python
    ranking = Ranking(Conventions(), Path("zoo.csv"))
    for done in measure_all(ranking.missing(names)):
        ranking.add(done)
    ranking.best(names)
    ```

    Nobody else writes the file until the ranking is closed or forgotten. Raises `ResultError` for a
    file of other columns and for a number that is none, and `files.Locked` where another process
    writes it.
    """

    def __init__(self, conventions: Conventions, file: Path | None = None) -> None:
        self.conventions = conventions
        self.file = file
        if file is not None and file.exists() and not file.is_file():
            what = "folder" if file.is_dir() else "device or a pipe"
            raise ResultError(f"{file} is a {what}: name a file")
        self._lock = None if file is None else files.Lock(file)
        if file is not None:
            files.sweep(file)
        rows = results.read_csv(file, COLUMNS) if file is not None and file.exists() else []
        for line, row in enumerate(rows, start=2):
            _check(row, f"line {line} of {file}")
        self._rows = {self._key(row): row for row in rows if row["reason"] is None}
        self._refused = {self._key(row): row for row in rows if row["reason"] is not None}

    def missing(self, models: Sequence[str]) -> list[tuple[str, Conventions]]:
        """Those of the models that have no numbers yet under these conventions, to be measured.

        What was refused may have been mended, so it is tried again.
        """
        return [(model, self.conventions) for model in models if self._of(model) is None]

    def add(self, done: Measured | Refused) -> None:
        """Take up a measured model, or one that could not be."""
        taken = {"sharing": self.conventions.sharing, "batch_norm": self.conventions.batch_norm}
        taken["output"] = self.conventions.part
        row = dict.fromkeys(COLUMNS) | taken | done.row()
        row["shape"] = row["shape"] and _text(row["shape"])
        self._refused.pop(self._key(row | {"shape": None}), None)
        rows = self._rows if row["reason"] is None else self._refused
        rows[self._key(row)] = row
        if self._lock:
            self._lock.check()
            results.write_csv(self.file, [*self._rows.values(), *self._refused.values()])

    def close(self) -> None:
        """Let others write the file."""
        if self._lock:
            self._lock.release()

    def best(self, models: Sequence[str]) -> list[dict]:
        """The rows of these models, the greatest P′_G first.

        A model whose output no input reaches comes last, as all its numbers say nothing.
        """
        rows = [row for model in models if (row := self._of(model)) is not None]
        return sorted(rows, key=lambda row: (row["blur"] < inf, row["P_G_spread"]), reverse=True)

    def _of(self, model: str) -> dict | None:
        try:
            shape = _text(self.conventions.input_shape(model))
        except ModelError:  # no such model, so it has no row
            return None
        taken = self.conventions
        return self._rows.get((model, shape, taken.sharing, taken.batch_norm, taken.part))

    @staticmethod
    def _key(row: dict) -> tuple:
        return tuple(row[name] for name in ("model", "shape", "sharing", "batch_norm", "output"))


def _check(row: dict, where: str) -> None:
    """Whether the numbers of a row are numbers; a refused row has none.

    `P_G` and others are −∞ where there is no context, and `blur` is infinite; none is ever NaN.
    """
    for name in ("model", "sharing", "batch_norm"):
        if not isinstance(row[name], str):
            raise ResultError(f"{name} in {where} is {row[name]!r}, not a text: delete the line")
    for name in NUMBERS if row["reason"] is None else ():
        if not _is_measured(row[name], endless=name in ("blur", "blur_all")):
            raise ResultError(
                f"{name} in {where} is {shown(row[name])}, not a number: mend it, or delete the "
                "line and the model is counted anew"
            )


def _is_measured(value, *, endless: bool) -> bool:
    if type(value) is int:
        return abs(value) < LARGEST
    return type(value) is float and not isnan(value) and (endless or value < inf)


def _text(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))
