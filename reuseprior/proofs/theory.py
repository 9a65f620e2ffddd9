"""What a theory brings: its symbols, how they are printed, and where their numbers come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import sympy as sp

Numbers = dict[sp.Basic, object]
"""The exact value of a symbol: an integer, a fraction, or a list from 1 on for an index."""


class ProofError(ValueError):
    """A statement that cannot be made as it is, or numbers that contradict what they are of."""


@dataclass(frozen=True, eq=False)
class Theory:
    """The things that a theory speaks of, one a point of a grid, and the symbols for them."""

    things: str
    """What they are, such as "counted graphs"."""
    read: Callable[..., Numbers]
    """The numbers at a point, exact. A float of something that is `made` is compared with it."""
    grid: tuple[tuple, ...]
    """The points where a statement is tried that names none, the example first."""
    made: Mapping[sp.Basic, sp.Expr] = field(default_factory=dict)
    """What is computed from what is read: it has a value of as many digits as are asked for."""
    indices: Mapping[sp.Symbol, tuple[sp.Expr | int, sp.Expr | int]] = field(default_factory=dict)
    """First and last of each index, where a statement is tried that leaves it free."""
    free_parameters: Mapping[sp.Symbol, tuple[sp.Rational, ...]] = field(default_factory=dict)
    """Symbols that no thing says, and the values at which they are tried."""
    ranges: Mapping[sp.Symbol, sp.Expr] = field(default_factory=dict)
    """What a proof puts in for a symbol whose range no assumption of sympy's can say."""
    latex: Mapping[sp.Basic, str] = field(default_factory=dict)
    """How symbols are printed that sympy would print otherwise."""
    told: Callable[..., str] = lambda *point: ", ".join(map(str, point))
    """A point in words."""
    far: int = 10**6
    """How far a variable is from zero, or its inverse from a limit, where a limit is tried."""
