"""Chapter 5's theory for the engine of proofs: perceptrons of constant width, and where to try."""

from itertools import product

import sympy as sp

from reuseprior.chapters.thesis.derivations import symbols
from reuseprior.chapters.thesis.derivations.symbols import INDICES, a, z_β, β
from reuseprior.measures.closed_forms import ω
from reuseprior.proofs import Dial, Theory

# Points to try equations at: width, depth, with bias
GRID = tuple(product((2, 3, 5, 10), (1, 2, 5, 40, 300), (False, True)))
SMALL = tuple(product((2, 3, 5), (1, 2, 5, 20), (False, True)))  # where each parameter is a term
DEEP = tuple(product((2, 3, 5, 10), (60, 300), (False, True)))
WIDE = tuple(product((10**4,), (1, 2, 5), (False, True)))
CHAINS = tuple(product((1,), (1, 2, 5, 40, 300), (False, True)))  # ω = 1
DEEP_CHAINS = tuple(product((1,), (300, 1000), (False, True)))

PERCEPTRONS = Theory(
    things="counted graphs",
    settings="pairs of ω, D",
    read=symbols.graph,
    counted=symbols.COUNTED,
    grid=GRID,
    indices=INDICES,
    dials=(Dial(β, (-1, -0.5, 0, 0.7, 2), {z_β: symbols.partition}), Dial(a, (0.5, 3))),
    # ω = 1 + t with t > 0 picks the branch of the sums; ω = 1 has forms of its own
    ranges={ω: 1 + sp.Symbol("t", positive=True)},
    latex=symbols.LATEX,
    example=(3, 4, False),
    told=lambda width, depth, bias: f"ω = {width}, D = {depth}" + (", with bias" if bias else ""),
)
given = PERCEPTRONS.check


def total(term: sp.Expr, index: sp.Symbol) -> sp.Sum:
    """The sum of a term over all parameters (i), levels (k) or layers (j)."""
    return sp.Sum(term, (index, *INDICES[index]))
