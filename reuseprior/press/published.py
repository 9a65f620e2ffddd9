"""Every number that the thesis and the papers print, and whether a computed one equals it."""

import re
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import partial
from typing import Literal

import pandas as pd

from reuseprior import paths

_UNITS = {"": Decimal(1), "K": Decimal(10**3), "M": Decimal(10**6), "B": Decimal(10**9)}

_NUMBER = re.compile(
    r"(?P<sign>[-−]?)"
    r"(?P<whole>\d{1,3}(?:[ \u2009\u00a0]\d{3})+|\d+)"  # the paper writes 50 000
    r"(?:\.(?P<point>\d+)|,(?P<comma>\d{1,2}))?"  # the thesis once writes 1,28M
    r"(?:e(?P<power>[-+]?\d+))?"
    r"\s*(?P<unit>[KMB]?)"
    r"\s*(?P<more>\+?)"
)


@dataclass(frozen=True)
class Printed:
    """A number as a page shows it: what it says, and how exactly it says it.

    >>> Printed.parse("7.1M").matches(7_139_704)
    'rounded'
    >>> Printed.parse("746.608+").matches(746.608413)
    'cut'
    """

    text: str
    value: Decimal  # what the text means, the unit multiplied in
    digits: int  # decimals printed, before the unit
    unit: Decimal  # 1, or what K, M, B or an exponent such as e-4 stands for
    at_least: bool  # a trailing +: the source cut the digits there

    @classmethod
    def parse(cls, text: str) -> "Printed":
        """Read `text`, or raise ValueError.

        A comma before three digits is refused, because it may be a decimal or a thousands mark.
        """
        found = _NUMBER.fullmatch(text.strip())
        if found is None:
            raise ValueError(f"{text!r} is not a printed number such as '746.608+' or '7.1M'")
        decimals = found["point"] or found["comma"] or ""
        whole = re.sub(r"\D", "", found["whole"])
        unit = _UNITS[found["unit"]] * Decimal(10) ** int(found["power"] or 0)
        value = Decimal(f"{'-' if found['sign'] else ''}{whole}.{decimals}") * unit
        return cls(text, value, len(decimals), unit, bool(found["more"]))

    def matches(self, x: float | Decimal | Fraction) -> Literal["rounded", "cut"] | None:
        """How `x` becomes this number at the printed digits: by rounding, by cutting, or not.

        >>> [Printed.parse("27.20").matches(x) for x in (27.2049, 27.2052, 27.21)]
        ['rounded', 'cut', None]

        Exact ties round both ways. With a trailing + only cutting counts. NaN and infinities
        match nothing.
        """
        step = Fraction(self.unit) / 10**self.digits  # what the last printed digit is worth
        try:
            steps = Fraction(x) / step
        except (ValueError, OverflowError):  # Fraction's words for NaN and for infinity
            return None
        printed = Fraction(self.value) / step
        if not self.at_least and abs(steps - printed) <= Fraction(1, 2):
            return "rounded"
        return "cut" if int(steps) == printed else None  # int() cuts towards zero

    def __str__(self) -> str:
        return self.text


def tables() -> list[str]:
    """The names that `load` knows, such as `thesis/table-4-3`: source and table."""
    paths.checkout()
    found = paths.PUBLISHED.glob("*/*.csv")
    return sorted(path.relative_to(paths.PUBLISHED).with_suffix("").as_posix() for path in found)


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
