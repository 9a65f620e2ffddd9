"""The symbols of chapters 4 and 5, and their numbers, which are those of counted perceptrons."""

from functools import cache

import mpmath
import numpy as np
import sympy as sp

from reuseprior.measures.closed_forms import N_I, N_O, D, g, j, ω
from reuseprior.measures.energy import Ensemble
from reuseprior.proofs.theory import Numbers

# Numbers that are read off counted graphs, in nats
z, E, H = sp.symbols("z E H", positive=True)  # N_C, ⟨ln |C|⟩, entropy
P_bits = sp.Symbol("P_bits", positive=True)  # P′_G as equation 4.8 has it
C = sp.IndexedBase("C", positive=True)  # C_j: contexts of a parameter j layers from the output
z_h, E_h, H_h = sp.symbols("z_h E_h H_h", positive=True)  # §5.4.1's prior on the same graphs
i, k = sp.symbols("i k", integer=True, positive=True)  # a parameter, a level of equal counts
n, m = sp.symbols("n m", integer=True, positive=True)  # how many there are
c = sp.IndexedBase("c", positive=True)  # c_i: contexts of parameter i
s = sp.IndexedBase("s", positive=True)  # s_k: score |C'| of level k
γ = sp.IndexedBase("G", positive=True)  # G_k: parameters of level k

# Numbers that no graph says
P = sp.Symbol("P", positive=True)  # P′_G in nats, which is put in: counting has it in bits
β = sp.Symbol("beta", real=True)
z_β, a = sp.symbols("z_beta a", positive=True)  # Σ G_k e^(−β E_k) at any β; a factor of §5.4.1

COUNTED = frozenset((z, E, H, P_bits, z_h, E_h, H_h, z_β)).union(
    *((base, base.label) for base in (c, s, γ, C))
)
INDICES = {i: (1, n), k: (1, m), j: (0, D - 1)}
LATEX = {
    E: r"\langle E \rangle", P: "P'_G", P_bits: r"P'_{G,\mathrm{bits}}", E_h: r"\langle E \rangle_h"
}  # fmt: skip


@cache
def graph(width: int, depth: int, bias: bool) -> Numbers:
    """What a counted perceptron says."""
    from reuseprior.contexts import count_contexts
    from reuseprior.models import MLP, without_weights

    with without_weights():
        model = MLP(width, depth, bias=bias)
    found = count_contexts(model, (1, width))
    q, nats = found.quantities(), mpmath.log(2)
    levels = [mpmath.mpf(2) ** float(b) for b in found.log2_counts]
    per_level = [int(t) for t in found.multiplicities]
    spread = q.expected_spread * nats
    share = mpmath.mpf(q.input_nodes) / (q.input_nodes + q.output_nodes + q.parameters)
    read = {
        ω: mpmath.mpf(width), D: depth, g: q.parameters // depth,
        N_I: q.input_nodes, N_O: q.output_nodes,
        z: mpmath.mpf(2) ** q.log2_contexts, E: spread, H: q.entropy * nats,
        P: mpmath.log(q.parameters * (spread + 1) * share), P_bits: q.P_G_spread,
        n: q.parameters, m: len(levels),
        s: [None, *levels], γ: [None, *per_level],
        C: levels[:: 1 + bias][::-1],
        c: [None, *(x for x, t in zip(levels, per_level, strict=True) for _ in range(t))]
        if q.parameters <= 2000 else [],
    }  # fmt: skip
    return read | _hypothetical(width, found)


def _hypothetical(width: int, found) -> Numbers:
    """§5.4.1's prior summed over a graph's levels: energy by path length, β = ln ω."""
    if width == 1:  # every count is one: no length can be read from it
        return dict.fromkeys((z_h, E_h, H_h))
    lengths = found.log2_counts / np.log2(width)
    by_length = Ensemble(lengths, found.multiplicities, beta=np.log(width))
    energy, entropy = by_length.expected_energy, by_length.entropy
    return {z_h: by_length.partition_function, E_h: energy, H_h: entropy}


def partition(beta, read: Numbers):
    terms = zip(read[γ][1:], read[s][1:], strict=True)
    return mpmath.fsum(times * score**-beta for times, score in terms)
