"""Count arrays behave as the dense arrays they stand for."""

from itertools import product
from math import prod

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from reuseprior.contexts.array import CountArray, taps

quick = settings(max_examples=150, deadline=None, derandomize=True)
sizes = st.integers(1, 4)


@st.composite
def arrays(draw) -> CountArray:
    """Random counts with some axes stored at length one, as floats or Python integers."""
    shape = tuple(draw(sizes) for _ in range(draw(st.integers(1, 4))))
    stored = tuple(draw(st.sampled_from([1, n])) for n in shape)
    entries = draw(st.lists(st.integers(0, 9), min_size=prod(stored), max_size=prod(stored)))
    dtype = draw(st.sampled_from([np.float64, object]))
    return CountArray(np.array(entries, dtype).reshape(stored), shape)


def dense(count: CountArray) -> np.ndarray:
    """The full array, after checking that what is stored can stand for it."""
    assert all(stored in (1, n) for stored, n in zip(count.values.shape, count.shape, strict=True))
    return np.broadcast_to(count.values, count.shape)


def check(result: CountArray, expected: np.ndarray, source: CountArray) -> None:
    assert result.shape == expected.shape
    np.testing.assert_array_equal(dense(result), expected)
    assert result.values.dtype == source.values.dtype
    if result.values.dtype == object:
        assert all(type(n) is int for n in result.values.ravel()), "a Python integer was lost"


@st.composite
def reshaped(draw, shape):
    """Another shape of as many positions: factors dealt out again, with ones between them."""
    factors = [f for n in shape for f in {4: (2, 2)}.get(n, (n,)) if f > 1]
    made = []
    for factor in factors:
        if made and draw(st.booleans()):
            made[-1] *= factor
        else:
            made.append(factor)
    for _ in range(draw(st.integers(0, 2))):
        made.insert(draw(st.integers(0, len(made))), 1)
    return tuple(made)


@pytest.mark.slow
@quick
@given(arrays(), st.data())
def test_methods(count, data):
    full, ndim = dense(count), len(count.shape)
    draw, positions = data.draw, st.integers(0, ndim - 1)
    axis = draw(positions)
    size, negative = count.shape[axis], draw(st.sampled_from([axis, axis - ndim]))
    start = draw(st.integers(0, size))
    length = draw(st.integers(0, size - start))
    larger, step, first = size + draw(sizes), draw(st.integers(1, 2)), draw(st.integers(0, 3))
    spread = slice(first, first + step * (size - 1) + 1, step)
    picked = np.array(draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=6)))
    targets = np.array([draw(st.integers(0, larger - 1)) for _ in range(size)])
    moved = np.moveaxis(full, axis, 0)
    embedded = np.zeros((3 + step * size, *moved.shape[1:]), full.dtype)
    embedded[spread] = moved
    scattered = np.zeros((larger, *moved.shape[1:]), full.dtype)
    np.add.at(scattered, targets, moved)
    along = [  # one axis, which stands first in what is expected
        (count.expand(negative), moved),
        (count.narrow(axis, start, length), moved[start : start + length]),
        (count.embed(negative, len(embedded), spread), embedded),
        (count.gather(axis, picked), moved[picked]),
        (count.scatter_add(axis, targets, larger), scattered),
    ]
    axes, order = tuple(draw(st.sets(positions, min_size=1))), draw(st.permutations(range(ndim)))
    shape, lead = draw(reshaped(count.shape)), tuple(draw(st.lists(sizes, max_size=2)))
    wide = tuple(draw(sizes) if n == 1 else n for n in count.shape)
    skipped = draw(st.integers(0, ndim - 1))
    narrow = tuple(draw(st.sampled_from([1, n])) for n in count.shape[skipped:])
    mask = np.array([draw(st.booleans()) for _ in range(prod(narrow))], bool).reshape(narrow)
    ones = tuple(skipped + k for k, n in enumerate(narrow) if n == 1)
    unbroadcast = full.sum((*range(skipped), *ones), keepdims=True).reshape(narrow)
    for result, expected in [
        *((result, np.moveaxis(expected, 0, axis)) for result, expected in along),
        (count.sum(negative), full.sum(axis, keepdims=True)),
        (count.sum(*axes), full.sum(axes, keepdims=True)),
        (count.permute(order), full.transpose(order)),
        (count.reshape(shape), full.reshape(shape)),
        (count.broadcast_to((*lead, *wide)), np.broadcast_to(full, (*lead, *wide))),
        (count.unbroadcast(narrow), unbroadcast),
        (count.where(mask), np.where(mask, full, 0)),
        (count * 3, full * 3),
        (count + count.sum(0).broadcast_to(count.shape), full + full.sum(0, keepdims=True)),
        (count.compressed(), full),
        (count.expand(*range(ndim)).compressed(), full),
    ]:
        check(result, expected, count)


@quick
@given(arrays(), st.data())
def test_windows(count, data):
    """A window of taps over sources: each tap meets the results where it is in range."""
    axis = data.draw(st.integers(0, len(count.shape) - 1))
    results = count.shape[axis]
    size, kernel, stride, dilation = (data.draw(st.integers(1, n)) for n in (7, 4, 3, 3))
    padding = data.draw(st.integers(-2, 4))
    moved = np.moveaxis(dense(count), axis, 0)
    forth = taps(size, results, kernel, stride, padding, dilation)
    back = [(b, a) for a, b in taps(results, size, kernel, stride, padding, dilation)]
    for window, turned in ((forth, False), (back, True)):
        sources = np.zeros((size, *moved.shape[1:]), moved.dtype)
        uses = np.zeros((kernel, *moved.shape[1:]), moved.dtype)
        meetings = [[] for _ in range(kernel)]
        for source, result, tap in product(range(size), range(results), range(kernel)):
            one, other = (source, result) if turned else (result, source)
            if one * stride + tap * dilation - padding == other:
                sources[source] += moved[result]
                uses[tap] += moved[result]
                meetings[tap].append((source, result))
        assume(any(meetings) or not turned)
        for met, (source, result) in zip(meetings, window, strict=True):
            pairs = zip(range(size)[source], range(results)[result], strict=True)
            assert list(pairs) == met
        check(count.windows_add(axis, size, window), np.moveaxis(sources, 0, axis), count)
        check(count.windows_sum(axis, window), np.moveaxis(uses, 0, axis), count)


def test_equal_counts_stay_stored_once():
    """What makes counting cheap: no method unfolds an axis of equal counts without need."""
    count = CountArray(np.arange(3.0).reshape(1, 3, 1), (64, 3, 50))
    window = taps(50, 50, 3, 1, 1, 1)
    for result, stored in [
        (count.sum(0), (1, 3, 1)),
        (count.reshape((8, 8, 3, 5, 10)), (1, 1, 3, 1, 1)),
        (count.reshape((64, 150)), (1, 150)),
        (count.permute((1, 2, 0)), (3, 1, 1)),
        (count.narrow(2, 4, 9), (1, 3, 1)),
        (count.gather(0, np.arange(9)), (1, 3, 1)),
        (count.windows_sum(2, window), (1, 3, 3)),
        (count.windows_add(2, 50, window), (1, 3, 50)),
        (count.windows_add(2, 50, taps(50, 50, 1, 1, 0, 1)), (1, 3, 1)),
        (count.embed(2, 50, slice(0, 50)), (1, 3, 1)),
        (count.broadcast_to((7, 64, 3, 50)), (1, 1, 3, 1)),
        (count.expand(0, 1, 2).compressed(), (1, 3, 1)),
    ]:
        assert result.values.shape == stored
    assert CountArray.full((64, 56, 56), 1.0).sum(1, 2).values.item() == 3136.0


@pytest.mark.parametrize(("misuse", "message"), [
    (lambda c: c + CountArray.full((3, 2), 1), r"cannot add counts of shapes \(2, 3\) and"),
    (lambda c: c.broadcast_to((2, 4)), r"shape \(2, 3\) do not broadcast to \(2, 4\)"),
    (lambda c: c.broadcast_to((3,)), r"shape \(2, 3\) do not broadcast to \(3,\)"),
])  # fmt: skip
def test_shapes_that_do_not_fit(misuse, message):
    with pytest.raises(ValueError, match=message):
        misuse(CountArray.full((2, 3), 1))
