"""Sums of count arrays that never overflow: scaled floats, and exact integers.

Counts reach 2^3200 and more. A scaled sum keeps float64 arrays with one shared power-of-two
exponent each. Counts of one tensor can differ by more than a float's range (a skip path beside
a deep one), so a sum holds several such arrays where it has to; rules are linear, so the walk
applies them to each.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from reuseprior.contexts.array import CountArray

_LARGE = 2.0**400  # rescale beyond; one operator multiplies counts by far less than 2^600
_SMALL = 2.0**-400
_FLOOR = 2.0**-900  # a smaller entry beside a large one gets an array of its own
_LOST = 200  # bits: far more than a float's 53, whatever is added up


class ScaledSum:
    """A sum of float64 count arrays times powers of two."""

    dtype = np.float64
    __slots__ = ("is_summed", "parts")

    def __init__(self) -> None:
        self.parts: list[tuple[CountArray, int]] = []
        self.is_summed = False

    def add(self, count: CountArray, exponent: int = 0) -> None:
        """Add `count` · 2^`exponent`, to a part that can hold it without losing digits."""
        for i, (held, other) in enumerate(self.parts):
            high = max(exponent, other)
            a, b = _shifted(held, other - high), _shifted(count, exponent - high)
            if a is not None and b is not None:
                self.parts[i] = (a + b, high)
                self.is_summed = True
                return
        self.parts.append((count, exponent))
        if len(self.parts) > 1:
            self._drop_what_is_lost()

    def _drop_what_is_lost(self) -> None:
        """Drop parts that no digit of a sum shows, here or anywhere before.

        Counts go backwards by adding up with factors that are not negative, so where one part is
        everywhere 2^200 times another, it stays that. In a long sequence each step's output adds
        such a part to the steps before.
        """
        ranges = [_range(count, exponent) for count, exponent in self.parts]
        level = max(least for least, _ in ranges) - _LOST
        if level == -np.inf:
            return
        self.parts = [p for p, (_, most) in zip(self.parts, ranges, strict=True) if most > level]

    def terms(self) -> Iterator[tuple[CountArray, int]]:
        """The arrays with their exponents, entries well inside the range of a float."""
        for count, exponent in self.parts:
            if self.is_summed:
                count = count.compressed()
            top = count.bound()
            if top == 0:
                continue
            if _SMALL < top < _LARGE:
                yield count, exponent
                continue
            yield from _rescaled(count, exponent)

    def log2(self) -> tuple[np.ndarray, None]:
        """Log2 of the sum, -inf where it is zero."""
        with np.errstate(divide="ignore"):
            parts = [np.log2(c.values) + exponent for c, exponent in self.parts]
        total = parts[0]
        for part in parts[1:]:
            total = np.logaddexp2(total, part)
        return total, None


def _range(count: CountArray, exponent: int) -> tuple[float, float]:
    """Log2 of the least and the greatest count, -inf for zero."""
    least, most = (float(v) for v in (count.values.min(), count.values.max()))
    return tuple(np.log2(v) + exponent if v > 0 else -np.inf for v in (least, most))


def _shifted(count: CountArray, exponent: int) -> CountArray | None:
    """`count` · 2^`exponent`, or None if an entry would come near the bottom of the range."""
    if exponent == 0:
        return count
    values = np.ldexp(count.values, max(exponent, -2000))
    if (values < _FLOOR).any() and ((values < _FLOOR) & (count.values > 0)).any():
        return None
    return CountArray(values, count.shape)


def _rescaled(count: CountArray, exponent: int) -> Iterator[tuple[CountArray, int]]:
    """Bring the greatest entry near 1; entries too small beside it go into arrays of their own."""
    values = count.values
    while True:
        shift = int(np.frexp(values.max())[1])
        small = (values > 0) & (values < np.ldexp(1.0, max(shift - 800, -1021)))
        kept = np.where(small, 0, values) if small.any() else values
        yield CountArray(np.ldexp(kept, -shift), count.shape), exponent + shift
        if not small.any():
            return
        values = np.where(small, values, 0)


class ExactSum:
    """A sum of count arrays in Python integers."""

    dtype = object
    __slots__ = ("total",)

    def __init__(self) -> None:
        self.total: CountArray | None = None

    def add(self, count: CountArray, exponent: int = 0) -> None:
        """Add `count`; exact counts have no exponent."""
        self.total = count if self.total is None else self.total + count

    def terms(self) -> Iterator[tuple[CountArray, int]]:
        """The sum, as the one array it is."""
        yield self.total.compressed(), 0

    def log2(self) -> tuple[np.ndarray, np.ndarray]:
        """Log2 of the sum (-inf where it is zero), and the integers themselves."""
        values = self.total.values
        logs = np.array([log2_integer(n) for n in values.ravel()], np.float64)
        return logs.reshape(values.shape), values


def log2_integer(n: int | Fraction) -> float:
    """Log2 of a non-negative integer or fraction of any size, -inf for zero.

    >>> log2_integer(3 << 5000)
    5001.584962500721
    """
    if n == 0:
        return float("-inf")
    if isinstance(n, Fraction):
        return log2_integer(n.numerator) - log2_integer(n.denominator)
    excess = max(0, n.bit_length() - 64)
    return float(np.log2(float(n >> excess))) + excess
