"""Every number that the thesis and the papers print, and whether a computed one equals it."""

import re
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import partial
from math import inf
from typing import Literal

import pandas as pd

from reuseprior import paths
from reuseprior.errors import did_you_mean

_UNITS = {"": Decimal(1), "K": Decimal(10**3), "M": Decimal(10**6), "B": Decimal(10**9)}

_NUMBER = re.compile(
    r"(?P<bound>[<>≤≥]?)\s*"
    r"(?P<sign>[-−]?)"
    r"(?P<whole>\d{1,3}(?:[ \u2009\u00a0]\d{3})+|\d+)"  # the paper writes 50 000
    r"(?:\.(?P<point>\d+)|,(?P<comma>\d{1,2}))?"  # the thesis once writes 1,28M
    r"(?:e(?P<power>[-+]?\d+))?"
    r"\s*(?P<unit>[KMB]?)"
    r"\s*(?P<more>\+?)"
)

How = Literal["rounded", "cut"]
"""How a source makes the digits that it prints of a number."""


@dataclass(frozen=True)
class Interval:
    """The rounding interval of a page's digits: what they can stand for, from `least` to `most`."""

    least: Fraction | float  # float for infinity alone
    most: Fraction | float
    open: bool = False  # whether the ends that are finite are left out, as in "< 135"
    cut: bool = False  # whether the end that is further from zero is left out

    def __contains__(self, x: float | Decimal | Fraction) -> bool:
        try:
            exact = Fraction(x)
        except (ValueError, OverflowError):  # Fraction's words for NaN and for infinity
            return False
        if self.open:
            return self.least < exact < self.most
        if self.cut:
            away = self.most if self.most > 0 else self.least
            return self.least <= exact <= self.most and exact != away
        return self.least <= exact <= self.most

    @property
    def ends(self) -> tuple[float, float]:
        """Both ends as floats."""
        return float(self.least), float(self.most)


@dataclass(frozen=True)
class Printed:
    """A number as a page shows it: what it says, and how exactly it says it.

    >>> Printed.parse("7.1M").interval().ends
    (7050000.0, 7150000.0)
    >>> 746.608413 in Printed.parse("746.608+").interval()
    True
    """

    text: str
    value: Decimal  # what the text means, the unit multiplied in
    digits: int  # decimals printed, before the unit
    unit: Decimal  # 1, or what K, M, B or an exponent such as e-4 stands for
    at_least: bool  # a trailing +: the source cut the digits there
    bound: str = ""  # <, >, ≤ or ≥ where the source gives a bound

    @classmethod
    def parse(cls, text: str) -> "Printed":
        """Read `text`, or raise ValueError.

        A comma before three digits is refused, because it may be a decimal or a thousands mark.
        """
        match = _NUMBER.fullmatch(text.strip())
        if match is None:
            raise ValueError(f"{text!r} is not a printed number such as '746.608+' or '7.1M'")
        decimals = match["point"] or match["comma"] or ""
        whole = re.sub(r"\D", "", match["whole"])
        unit = _UNITS[match["unit"]] * Decimal(10) ** int(match["power"] or 0)
        value = Decimal(f"{'-' if match['sign'] else ''}{whole}.{decimals}") * unit
        return cls(text, value, len(decimals), unit, bool(match["more"]), match["bound"])

    def interval(self, how: How = "rounded") -> Interval:
        """The numbers that are printed so: rounded, both ends of a tie in, or cut towards zero.

        >>> [27.2052 in Printed.parse("27.20").interval(how) for how in ("rounded", "cut")]
        [False, True]

        A trailing + is cut whatever `how` says, and a bound such as "< 135" is taken as it is.
        """
        value = Fraction(self.value)
        if self.bound:
            low, high = (-inf, value) if self.bound in "<≤" else (value, inf)
            return Interval(low, high, open=self.bound in "<>")
        step = Fraction(self.unit) / 10**self.digits  # what the last printed digit is worth
        if how == "cut" or self.at_least:
            if not value:
                return Interval(-step, step, open=True)
            return Interval(*sorted((value, value + (step if value > 0 else -step))), cut=True)
        return Interval(value - step / 2, value + step / 2)

    def __str__(self) -> str:
        return self.text


def tables() -> list[str]:
    """The names that `load` knows, such as `thesis/table-4-3`: source and table."""
    paths.checkout()
    files = paths.PUBLISHED.glob("*/*.csv")
    return sorted(f"{path.parent.name}/{path.stem}" for path in files)


def load(*names: str) -> pd.DataFrame:
    """A printed table or figure, every cell the printed text; or several of the same columns.

    >>> load("thesis/table-4-3").P_G.tolist()
    ['25.00', '26.28', '26.33', '28.72']

    An empty cell is the empty string. Raises ValueError for a name that `tables` does not list.
    """
    known = tables()
    for name in names:
        if name not in known:
            raise ValueError(f"no published table {name!r}: there are {', '.join(known)}")
    # keep_default_na: "None" is a printed augmentation, not a missing value
    read = partial(pd.read_csv, dtype=str, keep_default_na=False)
    return pd.concat([read(paths.PUBLISHED / f"{n}.csv") for n in names], ignore_index=True)


def row(table: str, name: str) -> pd.Series:
    """The row of a table whose id is `name` or ends with it, after a hyphen.

    >>> row("bidart/chapter-5-table-5-1", "roberta-paper").mrpc
    '90.2'
    """
    rows = load(table)
    matching = rows[[f"-{i}".endswith(f"-{name}") for i in rows.id]]
    if len(matching) != 1:
        near = did_you_mean(name, rows.id) or f": give one of {', '.join(rows.id)}"
        raise ValueError(f"{len(matching)} rows of {table} end with {name!r}{near}")
    return matching.iloc[0]


def number(table: str, name: str, column: str = "value") -> Fraction:
    """A cell of `row` as the number that it prints."""
    return Fraction(Printed.parse(row(table, name)[column]).value)


def repeats() -> dict[str, str]:
    """By id what is printed again: a row of another source, or a number of a table before.

    A table's `repeats` names the row, and its `score_repeats` the score.
    """
    first_of = {}
    for name in tables():
        for _, row in load(name).iterrows():
            first_of[row.get("id", "")] = row.get("repeats", "")
            first_of[f"{row.get('id', '')}/score"] = row.get("score_repeats", "")
    return {again: first for again, first in first_of.items() if first}
