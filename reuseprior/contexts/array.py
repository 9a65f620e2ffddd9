"""Counts for every position of a tensor, with equal counts stored once.

Most axes of a network's tensors carry equal counts (all channels of a layer feed the same
operators), so a count array keeps such an axis at length one and remembers its true length.
Counting a convolution then costs its spatial positions, not its multiply-adds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import lru_cache

import numpy as np

Tap = tuple[slice, slice]  # the sources of one place in a window, and the results it makes


class CountArray:
    """Counts of a tensor of the given shape; an axis of equal counts has length 1 in `values`.

    >>> c = CountArray.full((64, 56, 56), 1.0)     # 200,704 positions, one stored number
    >>> c.sum(1, 2).values.item()
    3136.0

    `values` is float64, or object for exact Python integers; every method serves both. The
    arrays are treated as immutable: methods return new objects that may share memory.
    """

    __slots__ = ("shape", "values")

    def __init__(self, values: np.ndarray, shape: Sequence[int]):
        # numpy gives a sum of two integers without axes as an integer, which is no array
        self.values = values if hasattr(values, "ndim") else np.array(values, object)
        self.shape = tuple(shape)

    @classmethod
    def full(cls, shape: Sequence[int], value: float | int, dtype=np.float64) -> CountArray:
        """The same count everywhere."""
        return cls(np.full((1,) * len(shape), value, dtype), shape)

    def __repr__(self) -> str:
        return f"CountArray(shape={self.shape}, stored={self.values.shape})"

    def __add__(self, other: CountArray) -> CountArray:
        if self.shape != other.shape:
            raise ValueError(f"cannot add counts of shapes {self.shape} and {other.shape}")
        return CountArray(self.values + other.values, self.shape)

    def __mul__(self, factor: int | float) -> CountArray:
        return CountArray(self.values * factor, self.shape)

    def where(self, mask: np.ndarray) -> CountArray:
        """The same counts where a mask holds, whose shape may have to be broadcast, else zeros."""
        return CountArray(np.where(mask, self.values, 0), self.shape)

    def bound(self) -> float | int:
        """A number that no count exceeds."""
        return self.values.max()

    # Sums and broadcasting ---------------------------------------------------------------

    def sum(self, *axes: int) -> CountArray:
        """Sum over the axes, which stay as axes of length 1."""
        values, shape = self.values, list(self.shape)
        stored, equal = [], 1
        for axis in {a % len(shape) for a in axes}:
            if values.shape[axis] == 1:
                equal *= shape[axis]
            else:
                stored.append(axis)
            shape[axis] = 1
        if stored:
            values = values.sum(axis=tuple(stored), keepdims=True)
        return CountArray(values * equal if equal != 1 else values, shape)

    def broadcast_to(self, shape: Sequence[int]) -> CountArray:
        """The same counts on a larger shape: new leading axes, and axes of length 1 widened."""
        shape = tuple(shape)
        lead = len(shape) - len(self.shape)
        if lead < 0 or any(n not in (1, m) for n, m in zip(self.shape, shape[lead:], strict=True)):
            raise ValueError(f"counts of shape {self.shape} do not broadcast to {shape}")
        return CountArray(self.values.reshape((1,) * lead + self.values.shape), shape)

    def unbroadcast(self, shape: Sequence[int]) -> CountArray:
        """Adjoint of broadcasting a tensor of `shape` to this one's: sums what it met."""
        if tuple(shape) == self.shape:
            return self
        lead = len(self.shape) - len(shape)
        widened = [
            i for i, n in enumerate(self.shape) if n != 1 and (i < lead or shape[i - lead] == 1)
        ]
        summed = self.sum(*widened) if widened else self
        return CountArray(summed.values.reshape(summed.values.shape[lead:]), shape)

    def expand(self, *axes: int) -> CountArray:
        """Store the axes at their full length."""
        stored = list(self.values.shape)
        for axis in axes:
            stored[axis] = self.shape[axis]
        if tuple(stored) == self.values.shape:
            return self
        return CountArray(np.broadcast_to(self.values, stored), self.shape)

    def compressed(self) -> CountArray:
        """The same counts, an axis along which all are equal stored once.

        Parts that were put beside one another and added up are often equal again.
        """
        values = self.values
        for axis in range(values.ndim):
            if values.shape[axis] > 1:
                first = values[_along(values.ndim, axis, slice(0, 1))]
                second = values[_along(values.ndim, axis, slice(1, 2))]
                if (first == second).all() and (values == first).all():
                    values = first
        return self if values is self.values else CountArray(values, self.shape)

    # Moving positions around -------------------------------------------------------------

    def reshape(self, shape: Sequence[int]) -> CountArray:
        """The counts in row-major order under another shape."""
        stored, unequal = [], []
        for old, new in _common_blocks(self.shape, tuple(shape)):
            is_equal = all(self.values.shape[a] == 1 for a in old)
            if not is_equal:
                unequal += old
            stored += [1 if is_equal else shape[a] for a in new]
        values = self.expand(*unequal).values if unequal else self.values
        return CountArray(values.reshape(stored), shape)

    def permute(self, dims: Sequence[int]) -> CountArray:
        """Axis i of the result is axis dims[i] of this."""
        return CountArray(self.values.transpose(dims), [self.shape[d] for d in dims])

    def narrow(self, axis: int, start: int, length: int) -> CountArray:
        """Positions start … start + length - 1 of an axis."""
        shape = with_axis(self.shape, axis, length)
        if self.values.shape[axis] == 1:
            return CountArray(self.values, shape)
        index = _along(len(shape), axis, slice(start, start + length))
        return CountArray(self.values[index], shape)

    def embed(self, axis: int, size: int, where: slice) -> CountArray:
        """Zeros along an axis of length `size`, with this array's counts at `where`."""
        if where.indices(size) == (0, size, 1):
            return self
        stored = with_axis(self.values.shape, axis, size)
        values = np.zeros(stored, self.values.dtype)
        values[_along(len(stored), axis, where)] = self.values
        return CountArray(values, with_axis(self.shape, axis, size))

    def gather(self, axis: int, positions: np.ndarray) -> CountArray:
        """Entry j of the axis becomes this array's entry positions[j]."""
        shape = with_axis(self.shape, axis, len(positions))
        if self.values.shape[axis] == 1:
            return CountArray(self.values, shape)
        return CountArray(np.take(self.values, positions, axis=axis), shape)

    def scatter_add(self, axis: int, positions: np.ndarray, size: int) -> CountArray:
        """Adjoint of `gather`: entry j of the axis is added to entry positions[j] of the result."""
        full = np.moveaxis(self.expand(axis).values, axis, 0)
        values = np.zeros((size, *full.shape[1:]), full.dtype)
        np.add.at(values, positions, full)
        return CountArray(np.moveaxis(values, 0, axis), with_axis(self.shape, axis, size))

    def windows_add(self, axis: int, size: int, taps: list[Tap]) -> CountArray:
        """Adjoint of a sliding window over an axis of length `size`: every tap is a source."""
        if taps == [(slice(0, size, 1),) * 2] and self.shape[axis] == size:
            return self
        full = self.expand(axis).values
        values = np.zeros(with_axis(full.shape, axis, size), full.dtype)
        for source, result in taps:
            values[_along(full.ndim, axis, source)] += full[_along(full.ndim, axis, result)]
        return CountArray(values, with_axis(self.shape, axis, size))

    def windows_sum(self, axis: int, taps: list[Tap]) -> CountArray:
        """For each tap of a sliding window, the sum over the positions where it is in range."""
        shape = with_axis(self.shape, axis, len(taps))
        if self.values.shape[axis] == 1:
            lengths = [len(range(r.start, r.stop, r.step)) for _, r in taps]
            column = np.array(lengths, self.values.dtype).reshape(
                with_axis((1,) * len(shape), axis, -1)
            )
            return CountArray(self.values * column, shape)
        sums = [
            self.values[_along(len(shape), axis, result)].sum(axis=axis, keepdims=True)
            for _, result in taps
        ]
        return CountArray(np.concatenate(sums, axis=axis), shape)


@lru_cache(4096)  # layers are alike
def taps(
    size: int, results: int, kernel: int, stride: int, padding: int, dilation: int
) -> list[Tap]:
    """The taps of a window over `size` source positions that makes `results` positions.

    A tap meets result position r at source position r·stride + tap·dilation - padding; both
    slices hold only positions in range, so a tap that always falls on padding has empty ones.

    >>> taps(4, 4, 3, 1, 1, 1)[0]                   # the left tap misses the first result
    (slice(0, 3, 1), slice(1, 4, 1))
    """
    pairs = []
    for tap in range(kernel):
        offset = tap * dilation - padding
        first = max(0, -(offset // stride))
        last = min(results - 1, (size - 1 - offset) // stride)
        start = first * stride + offset
        pair = slice(start, start + (last - first) * stride + 1, stride), slice(first, last + 1, 1)
        pairs.append(pair if last >= first else (slice(0, 0, 1),) * 2)
    return pairs


def _along(ndim: int, axis: int, where: slice) -> tuple[slice, ...]:
    return (slice(None),) * (axis % ndim) + (where,)


def with_axis(shape: Sequence[int], axis: int, size: int) -> tuple[int, ...]:
    """The shape with another size along one axis."""
    shape = list(shape)
    shape[axis] = size
    return tuple(shape)


@lru_cache(4096)
def _common_blocks(old: tuple[int, ...], new: tuple[int, ...]) -> list[tuple[list[int], list[int]]]:
    """Pairs of runs of axes of two shapes that hold the same positions."""
    blocks = []
    i = j = 0
    while i < len(old) or j < len(new):
        left, right = [], []
        a = b = 1
        if i < len(old):
            left, a, i = [i], old[i], i + 1
        if j < len(new):
            right, b, j = [j], new[j], j + 1
        while a != b:
            if a < b:
                left.append(i)
                a, i = a * old[i], i + 1
            else:
                right.append(j)
                b, j = b * new[j], j + 1
        blocks.append((left, right))
    return blocks


# Sums that never overflow ------------------------------------------------------------------------
#
# Counts reach 2^3200 and more. A scaled sum keeps float64 arrays with one shared power-of-two
# exponent each. Counts of one tensor can differ by more than a float's range (a skip path beside
# a deep one), so a sum holds several such arrays where it has to; rules are linear, so the walk
# applies them to each.

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
