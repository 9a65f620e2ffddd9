"""Schedules: which positions they keep, as texts, and the ones of the thesis."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reuseprior.models import ModelError
from reuseprior.models.classformer import Schedule, Space, thin

SCHEDULES = st.builds(
    Schedule, st.lists(st.integers(1, 9), min_size=1, max_size=7).map(tuple), st.integers(0, 20)
)


@given(SCHEDULES, st.integers(1, 140))
def test_lengths_are_those_of_positions(schedule, length):
    """And its text comes back."""
    assert Schedule.parse(str(schedule)) == schedule
    positions = schedule.positions(length)
    assert schedule.lengths(length) == tuple(map(len, positions))
    left = torch.arange(length)[None]
    for gamma, kept in zip(schedule.gamma, positions, strict=True):
        left = thin(left, gamma, schedule.eta)
        assert left[0].tolist() == kept
    assert left[0, 0] == 0  # what the classifier reads
    first = list(range(min(schedule.eta, length)))
    assert left[0, : len(first)].tolist() == first


@given(SCHEDULES, st.integers(1, 60), st.integers(0, 60))
def test_padding_keeps_the_same_positions(schedule, length, padding):
    padded = schedule.positions(length + padding)
    assert schedule.positions(length) == [[p for p in kept if p < length] for kept in padded]


@pytest.mark.parametrize("text", ["", "1,,2", "1,2+", "1;2", "a", "1,2+8+8"])
def test_what_is_none(text):
    with pytest.raises(ModelError, match="no schedule: write a gamma for every layer"):
        Schedule.parse(text)
    with pytest.raises(ModelError, match=r"gamma is \(1, 0\) and eta 0"):
        Schedule((1, 0))


@pytest.mark.parametrize("layers", [6, 12])
def test_fixed_schedules_come_in_order(layers):
    """An earlier first bottleneck leaves no layer more positions: binary search may rely on it."""
    lengths = [Schedule.fixed(first, layers).lengths(128) for first in range(layers + 1)]
    for earlier, later in pairwise(lengths):
        assert all(a <= b for a, b in zip(earlier, later, strict=True))
        assert earlier[-1] == 16
    assert lengths[-1] == (128,) * layers


def test_last_layers():
    assert Schedule.last(0, 6).is_plain
    assert Schedule.last(6, 6).lengths(512) == (128,) * 6
    assert Schedule.last(1, 6).lengths(512) == (*(512,) * 5, 128)


def test_draws_come_from_the_space():
    space, generator = Space(3, (1, 4), (0, 2)), torch.Generator().manual_seed(0)
    drawn = {space.draw(generator) for _ in range(200)}
    assert len(drawn) == len(space) == 16
