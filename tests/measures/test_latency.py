"""Times side by side: shares of a baseline, whose turn it is, threads as they were."""

import time

import pytest
import torch

from reuseprior.errors import UserError
from reuseprior.measures.latency import interleaved


def test_shares_are_of_the_baseline_for_the_same_input(monkeypatch):
    """By a clock that the calls move on in proportion to the input: shares do not differ by it."""
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def takes(factor):
        return lambda x: now.append(now.pop() + factor * len(x))

    inputs = [torch.zeros(n) for n in (4, 8, 40)]
    found = interleaved({"base": takes(1), "half": takes(0.5)}, inputs, rounds=3)
    base, half = found["base"], found["half"]
    assert base.share == base.share_low == 1 and half.share == half.share_high == 0.5
    assert (base.low, base.median, base.high) == (4, 8, 40)


def test_every_call_has_every_turn_and_threads_are_left_as_they_were():
    order, before = [], torch.get_num_threads()

    def call(name):
        return lambda x: order.append((name, len(x), torch.get_num_threads()))

    interleaved({n: call(n) for n in "abc"}, [torch.zeros(1), torch.zeros(2)], rounds=3, threads=2)
    timed = order[2 * 3 :]  # after the warm-up on both inputs
    names = "".join(name for name, *_ in timed)
    assert len(timed) == 18 and names.startswith("abcbcacab")
    assert [n for _, n, _ in timed[::3]] == [1, 2] * 3
    assert {threads for *_, threads in order} == {2} and torch.get_num_threads() == before


def test_nothing_to_time():
    with pytest.raises(UserError, match="0 calls, 1 inputs and 5 rounds: give 1 or more of each"):
        interleaved({}, [torch.zeros(1)])
