"""How long models take for one input after the other, measured side by side."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from reuseprior.errors import UserError

WARM = 3  # inputs that each call takes before it is timed


@dataclass(frozen=True)
class Latency:
    """Seconds for one input: the median, and the quartiles between which half of all lie."""

    median: float
    low: float
    high: float
    share: float  # the median of its time over the baseline's for the same input in the same round
    share_low: float
    share_high: float

    @classmethod
    def of(cls, seconds: np.ndarray, baseline: np.ndarray) -> Latency:
        """Of times (rounds, inputs) and those of the baseline."""
        low, median, high = np.percentile(seconds, [25, 50, 75])
        share_low, share, share_high = np.percentile(seconds / baseline, [25, 50, 75])
        return cls(*map(float, (median, low, high, share, share_low, share_high)))


@torch.inference_mode()
def interleaved(
    calls: Mapping[str, Callable[[Tensor], object]], inputs: Sequence[Tensor], *,
    rounds: int = 5, threads: int = 1,
) -> dict[str, Latency]:  # fmt: skip
    """Time every call on every input, `rounds` times, with `threads` of torch; the first is the
    baseline.

    ```python
    interleaved({"plain": plain, "thinned": model}, [tokens], threads=1)["thinned"].share
    ```

    An input goes through all calls, one right after the other, in an order that turns from input
    to input, before the next one comes: what else the machine does meets all of them alike. Each
    call is warmed up first. The number of torch's threads is left as it was.
    """
    if not calls or not inputs or rounds < 1:
        raise UserError(
            f"{len(calls)} calls, {len(inputs)} inputs and {rounds} rounds: give 1 or more of each"
        )
    names = list(calls)
    seconds = {name: np.empty((rounds, len(inputs))) for name in names}
    with _threads(threads):
        for call in calls.values():
            for x in inputs[:WARM]:
                call(x)
        for place in range(rounds * len(inputs)):
            round_, i = divmod(place, len(inputs))
            turn = place % len(names)
            for name in names[turn:] + names[:turn]:
                start = time.perf_counter()
                calls[name](inputs[i])
                seconds[name][round_, i] = time.perf_counter() - start
    baseline = seconds[names[0]]
    return {name: Latency.of(times, baseline) for name, times in seconds.items()}


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
