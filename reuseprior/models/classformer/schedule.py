"""Schedules: how many positions of its sequence each layer of an encoder keeps."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from reuseprior.models.errors import ModelError

_TEXT = re.compile(r"(?P<gamma>\d+(?:,\d+)*)(?:\+(?P<eta>\d+))?")


@dataclass(frozen=True)
class Schedule:
    """A bottleneck γ for every layer, and η, the number of first tokens that all layers keep.

    A layer leaves its first η positions, and of the others the first and every γ-th after it, so
    that the first token, which the classifier reads, is there always.

    >>> s = Schedule((1, 2, 4), eta=2)
    >>> str(s), s.lengths(10), s.positions(10)[1]
    ('1,2,4+2', (10, 6, 3), [0, 1, 2, 4, 6, 8])
    >>> Schedule.parse("1,2,4+2") == s
    True
    """

    gamma: tuple[int, ...]
    eta: int = 0

    def __post_init__(self):
        if not self.gamma or any(g < 1 for g in self.gamma) or self.eta < 0:
            raise ModelError(
                f"gamma is {self.gamma} and eta {self.eta}: a schedule has a gamma of 1 or more "
                "for every layer, and an eta of 0 or more"
            )

    @classmethod
    def parse(cls, text: str) -> Schedule:
        """The schedule that `str` wrote: gammas with commas between them, and +η unless it is 0."""
        found = _TEXT.fullmatch(text)
        if not found:
            raise ModelError(
                f"{text!r} is no schedule: write a gamma for every layer, as in 1,2,1,1,2,1+8"
            )
        return cls(tuple(map(int, found["gamma"].split(","))), int(found["eta"] or 0))

    @classmethod
    def plain(cls, layers: int) -> Schedule:
        """Every layer keeps all positions."""
        return cls((1,) * layers)

    @classmethod
    def fixed(cls, first: int, layers: int, factor: int = 2, times: int = 3) -> Schedule:
        """Bidart's constrained schedule: `times` bottlenecks of `factor` from layer `first` on.

        The text says "evenly spaced between this layer and the output layer"; here a bottleneck
        stands at the floor of each of `times` equal steps, and those of one layer multiply. `first`
        from 0; `layers` or more is the plain encoder.

        >>> str(Schedule.fixed(0, 6)), str(Schedule.fixed(4, 6)), str(Schedule.fixed(6, 6))
        ('2,1,2,1,2,1', '1,1,1,1,4,2', '1,1,1,1,1,1')
        """
        gamma = [1] * layers
        for step in range(times if first < layers else 0):
            gamma[first + step * (layers - first) // times] *= factor
        return cls(tuple(gamma))

    @classmethod
    def last(cls, count: int, layers: int, factor: int = 4) -> Schedule:
        """The last `count` layers at a `factor`-th of the length (figure 5.6).

        >>> str(Schedule.last(2, 6))
        '1,1,1,1,4,1'
        """
        gamma = [1] * layers
        if count:
            gamma[layers - count] = factor
        return cls(tuple(gamma))

    @property
    def is_plain(self) -> bool:
        return set(self.gamma) == {1}

    def positions(self, length: int) -> list[list[int]]:
        """Which of the input's positions are left after each layer."""
        found, left = [], list(range(length))
        for gamma in self.gamma:
            left = left[: self.eta] + left[self.eta :: gamma]
            found.append(left)
        return found

    def lengths(self, length: int) -> tuple[int, ...]:
        """How many positions are left after each layer."""
        found = []
        for gamma in self.gamma:
            first = min(self.eta, length)
            length = first - (first - length) // gamma  # the rest, divided and rounded up
            found.append(length)
        return tuple(found)

    def __str__(self) -> str:
        text = ",".join(map(str, self.gamma))
        return f"{text}+{self.eta}" if self.eta else text


@dataclass(frozen=True)
class Space:
    """The schedules that a search chooses among: a γ of `gammas` for every layer, an η of `etas`.

    The thesis gives neither set.

    >>> len(Space(6))
    12288
    """

    layers: int
    gammas: tuple[int, ...] = (1, 2, 4, 8)
    etas: tuple[int, ...] = (0, 4, 16)

    def __len__(self) -> int:
        return len(self.gammas) ** self.layers * len(self.etas)

    def draw(self, generator: torch.Generator | None = None) -> Schedule:
        """A schedule at random, every γ and η alike; torch's own generator if none is given."""

        def one(values: Sequence[int]) -> int:
            return values[int(torch.randint(len(values), (), generator=generator))]

        return Schedule(tuple(one(self.gammas) for _ in range(self.layers)), one(self.etas))
