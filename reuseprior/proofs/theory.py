"""What a theory brings: its symbols, how they are printed, and where their numbers come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field

import sympy as sp

EXACT = 1e-10
"""How far the sides of an equation may be apart."""

Numbers = dict[sp.Basic, object]
"""The value of every symbol: a number, or a list from 1 on for what has an index."""


@dataclass(frozen=True)
class Dial:
    """A symbol that no built thing says, tried at each of its values."""

    symbol: sp.Symbol
    values: tuple[float, ...]
    follows: Mapping[sp.Symbol, Callable] = field(default_factory=dict, hash=False)
    """What can be told once it is set: a function of the value and the other numbers."""

    @property
    def symbols(self) -> set[sp.Symbol]:
        """The symbol, and those that follow from it."""
        return {self.symbol, *self.follows}


@dataclass(frozen=True, eq=False)
class Theory:
    """The things that a theory speaks of, one a point of a grid, and the symbols for them."""

    things: str
    """What they are, for steps that hold a number that is read off them."""
    settings: str
    """What they are made from, for steps that hold only that."""
    read: Callable[..., Numbers]
    """The numbers at a point."""
    counted: frozenset[sp.Basic]
    """The symbols that are read off, not put in."""
    grid: tuple[tuple, ...]
    """The points to try a step at that names none."""
    indices: Mapping[sp.Symbol, tuple[sp.Expr | int, sp.Expr | int]]
    """First and last of each index, where a step is tried that leaves it free."""
    dials: tuple[Dial, ...] = ()
    ranges: Mapping[sp.Symbol, sp.Expr] = field(default_factory=dict)
    """What a proof puts in for a symbol whose range no assumption of sympy's can say."""
    latex: Mapping[sp.Basic, str] = field(default_factory=dict)
    """How symbols are printed that sympy would print otherwise."""
    example: tuple | None = None
    """The point that is worked out beside a step; without one, the middle of the step's grid."""
    told: Callable[..., str] = lambda *point: ", ".join(map(str, point))
    """A point in words."""

    def dial(self, free: Set[sp.Basic]) -> Dial | None:
        """The dial that these symbols need, the first if several."""
        return next((dial for dial in self.dials if free & dial.symbols), None)

    def check(self, *where: tuple[sp.Basic, sp.Expr], **options) -> Check:
        """A check with these definitions, on this theory's grid unless the options name one."""
        return Check(self, where, **{"grid": self.grid, **options})


@dataclass(frozen=True)
class Check:
    """How a step is checked: what its symbols stand for, and where it is tried.

    `where` holds the definitions that the proof may put in, in order; what has an index is defined
    at it, as in (x[k], 2**k). The numbers never use them, they are read off, and each definition
    must agree with them to `EXACT`. With a `variable` the step is a limit: the difference must
    vanish as it goes `to`.
    """

    theory: Theory
    where: tuple[tuple[sp.Basic, sp.Expr], ...]
    grid: tuple[tuple, ...]
    variable: sp.Symbol | None = None
    to: sp.Expr = sp.oo
    tolerance: float = EXACT
