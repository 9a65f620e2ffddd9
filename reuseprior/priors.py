"""Energy priors ready to use; each takes a model recorded with `contexts.record_model`."""

from __future__ import annotations

from math import isfinite, log, prod

import numpy as np

from reuseprior.contexts import CountingError, RecordedModel
from reuseprior.contexts.discounts import linear_paths, longest_path, per_layer
from reuseprior.energy import LN2, EnergyPrior, levels

LONGEST = 400  # layers; beyond, weighting by 1/length would take too many counts


def reusability() -> EnergyPrior:
    """The reusability prior: E = ln |C| and β = -1 (theorem 2).

    >>> e = reusability().ensemble(record_model(model, shape))
    >>> e.expected_energy / LN2                       # the expected spread
    """
    reason = "every context counts alike, and the probability of a parameter is its share of them"
    return EnergyPrior("reusability", lambda recorded: levels(recorded.count()), -1.0, reason)


def hypothetical(width: int) -> EnergyPrior:
    """The prior of section 5.4.1 for MLPs of a width ω: E_j = j and β = ln ω, so p ∝ ω^-j.

    On any model E = log_ω |C|. Raises ValueError for a width below 2, where β would be 0.
    """
    if width < 2:
        raise ValueError(f"A width of {width} makes β = ln ω zero or undefined: choose 2 or more.")

    def energies(recorded: RecordedModel):
        e, times = levels(recorded.count())
        return e / log(width), times

    reason = "the thesis's example of probabilities that fall with the distance from the output"
    return EnergyPrior(f"hypothetical, ω = {width}", energies, log(width), reason)


def discounted(gamma: float) -> EnergyPrior:
    """Every layer that a path passes multiplies it by γ; γ = 1 is the reusability prior."""
    discount = per_layer(gamma)
    return EnergyPrior(
        f"discounted, γ = {gamma:g}",
        lambda recorded: levels(recorded.count(discount=discount)),
        -1.0,
        "a context far from the output says less about its parameter than a near one (section 4.6)",
    )


def length_normalised() -> EnergyPrior:
    """A path that passes k layers counts 1/(k + 1): the thesis's immediate next step (5.5).

    With C(γ) = Σ γ^k over a parameter's contexts, the weights follow from discounted counts:
    Σ 1/(k + 1) = ∫ C(γ) dγ over [0, 1]. C is a polynomial, so Gauss–Legendre quadrature with half
    as many counts as the longest path has layers is exact. CountingError beyond 400 layers.
    """

    def energies(recorded: RecordedModel):
        longest = longest_path(recorded)
        if longest > LONGEST:
            raise CountingError(
                f"The longest path passes {longest} layers, and weighting by 1/length would count "
                f"{longest // 2 + 1} times: use discounted(γ) for models beyond {LONGEST}."
            )
        at, weights = np.polynomial.legendre.leggauss(longest // 2 + 1)
        total = None
        for gamma, weight in zip((at + 1) / 2, weights / 2, strict=True):
            found = recorded.count(discount=per_layer(gamma))
            part = found.log2_counts + np.log2(weight)
            total = part if total is None else np.logaddexp2(total, part)
        return total * LN2, found.multiplicities

    reason = "paths of every length weigh alike in sum, so depth no longer multiplies without end"
    return EnergyPrior("length-normalised", energies, -1.0, reason)


def through_nonlinearities() -> EnergyPrior:
    """Only contexts that pass a non-linearity count; the others are counted and taken off.

    Parameters without such a context (the last layer's) are left out.
    """

    def energies(recorded: RecordedModel):
        try:
            linear = recorded.count(discount=linear_paths).parameter_counts
        except CountingError:  # no path at all is linear
            linear = ()
        straight = {p.name: p.log2_counts for p in linear}
        found, times = [], []
        for p in recorded.count().parameter_counts:
            logs, off = np.broadcast_arrays(p.log2_counts, straight.get(p.name, -np.inf))
            share = np.exp2(np.minimum(off - logs, 0))
            kept = np.isfinite(logs) & (share < 1)
            found.append(logs[kept] * LN2 + np.log1p(-share[kept]))
            times.append(np.full(kept.sum(), prod(p.shape) // logs.size))
        return np.concatenate(found), np.concatenate(times)

    reason = "a path of linear maps is one linear map (section 4.1.2), so it adds no function"
    return EnergyPrior("through non-linearities", energies, -1.0, reason)


def limited_precision(bits: float = 24) -> EnergyPrior:
    """Contexts beyond 2^bits are not told apart: E = min(ln |C|, bits · ln 2).

    A parameter's gradient is a sum over its contexts, and a float of `bits` significant bits
    (24 in float32, 8 in bfloat16) does not change any more when one is added to 2^bits. Raises
    ValueError unless `bits` is positive.
    """
    if not (isfinite(bits) and bits > 0):
        raise ValueError(f"{bits} significant bits hold nothing: float32 has 24, bfloat16 8.")

    def energies(recorded: RecordedModel):
        e, times = levels(recorded.count())
        return np.minimum(e, bits * LN2), times

    reason = f"a sum of more than 2^{bits:g} equal contributions stagnates in such floats"
    return EnergyPrior(f"limited to {bits:g} bits", energies, -1.0, reason)
