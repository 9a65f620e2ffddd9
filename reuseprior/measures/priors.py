"""Energy priors ready to use; each takes a model recorded with `contexts.record_model`.

Those that discount no path (`reusability`, `hypothetical`, `limited_precision`) take its counts as
well.
"""

from __future__ import annotations

from math import ceil, isfinite, log, prod, sqrt
from numbers import Real

import numpy as np

from reuseprior.contexts import CountingError, RecordedModel
from reuseprior.contexts.graph import averages, linear_paths, longest_path, per_layer
from reuseprior.errors import UserError
from reuseprior.measures.energy import LN2, EnergyPrior, levels, whole

LONGEST = 400  # layers; beyond, weighting by 1/length would take too many counts


def reusability() -> EnergyPrior:
    """The reusability prior: E = ln |C| and β = -1 (theorem 2).

    >>> e = reusability().ensemble(record_model(model, shape))
    >>> e.expected_energy / LN2                       # the expected spread
    """
    reason = "every context counts alike, and the probability of a parameter is its share of them"
    return EnergyPrior("reusability", levels, -1.0, reason)


def hypothetical(width: int) -> EnergyPrior:
    """The prior of section 5.4.1 for MLPs of a width ω: E_j = j and β = ln ω, so p ∝ ω^-j.

    On any model E = log_ω |C|. Raises UserError for a width that is no whole number from 2 on: at
    width 1 β would be 0.
    """
    width = whole("width", width, least=2)

    def energies(model):
        e, times = levels(model)
        return e / log(width), times

    reason = "the thesis's example of probabilities that fall with the distance from the output"
    return EnergyPrior(f"hypothetical, ω = {width}", energies, log(width), reason)


def discounted(gamma: float) -> EnergyPrior:
    """Every layer that a path passes multiplies it by γ; γ = 1 is the reusability prior."""
    discount = per_layer(gamma)
    return EnergyPrior(
        f"discounted, γ = {gamma:g}",
        lambda model: levels(_recorded(model).count(discount=discount)),
        -1.0,
        "a context far from the output says less about its parameter than a near one (section 4.6)",
    )


def averages_weighted(power: float = 1.0) -> EnergyPrior:
    """A path that passes an average of n positions counts by its coefficient 1/n, to the power.

    Plain counting lets each of the n paths through an average count like one through a weight.
    With power 2 a path counts what it brings to the variance.
    """
    discount = averages(power)
    return EnergyPrior(
        f"averages weighted, power {power:g}",
        lambda model: levels(_recorded(model).count(discount=discount)),
        -1.0,
        "what nothing learns has a coefficient of its own",
    )


def length_normalised() -> EnergyPrior:
    """A path that passes k layers counts 1/(k + 1): the thesis's immediate next step (5.5).

    With C(γ) = Σ γ^k over a parameter's contexts, the weights follow from discounted counts:
    Σ 1/(k + 1) = ∫ C(γ) dγ over [0, 1]. Gauss–Legendre quadrature is exact for polynomials of twice
    its points less one, and with 3 √k points right to eleven digits. Raises TooLong, a
    CountingError, beyond 400 layers.
    """

    def energies(model):
        recorded = _recorded(model)
        longest = longest_path(recorded)
        points = min(longest // 2 + 1, 5 + ceil(3 * sqrt(longest)))
        if longest > LONGEST:
            raise TooLong(
                f"The longest path passes {longest} layers, and weighting by 1/length would count "
                f"{points} times: use discounted(γ) for models beyond {LONGEST}."
            )
        at, weights = np.polynomial.legendre.leggauss(points)
        total = None
        for gamma, weight in zip((at + 1) / 2, weights / 2, strict=True):
            found = recorded.count(discount=per_layer(gamma))
            part = found.log2_counts + np.log2(weight)
            total = part if total is None else np.logaddexp2(total, part)
        return total * LN2, found.multiplicities

    reason = (
        "a path counts by one over its length, which weakens growth with depth by a logarithm only"
    )
    return EnergyPrior("length-normalised", energies, -1.0, reason)


def through_nonlinearities() -> EnergyPrior:
    """Only contexts that pass a non-linearity count; the others are counted and taken off.

    Parameters without such a context (the last layer's) are left out, so N_G is smaller than the
    model's. What is a non-linearity is said in `contexts.graph`. CountingError if no path
    passes one.
    """

    def energies(model):
        recorded = _recorded(model)
        counted, discount = recorded.count(), linear_paths(recorded)
        try:
            linear = recorded.count(discount=discount).parameter_counts
        except CountingError:  # the model can be counted, so no path at all is linear
            linear = ()
        straight = {p.name: p.log2_counts for p in linear}
        found, times = [], []
        for p in counted.parameter_counts:
            logs, off = np.broadcast_arrays(p.log2_counts, straight.get(p.name, -np.inf))
            share = np.exp2(np.minimum(off - logs, 0))
            kept = np.isfinite(logs) & (share < 1)
            found.append(logs[kept] * LN2 + np.log1p(-share[kept]))
            times.append(np.full(kept.sum(), prod(p.shape) // logs.size))
        if not any(map(len, found)):
            raise CountingError(
                "No path of this model passes a non-linearity: this prior has no energies for it."
            )
        return np.concatenate(found), np.concatenate(times)

    reason = "a path of linear maps is one linear map (section 4.1.2), so it adds no function"
    return EnergyPrior("through non-linearities", energies, -1.0, reason)


def limited_precision(bits: float = 24) -> EnergyPrior:
    """Contexts beyond 2^bits are not told apart: E = min(ln |C|, bits · ln 2).

    A parameter's gradient is a sum over its contexts, and a float of `bits` significant bits
    (24 in float32, 8 in bfloat16) does not change any more when one is added to 2^bits. Raises
    UserError unless `bits` is a positive number.
    """
    if not (isinstance(bits, Real) and isfinite(bits) and bits > 0):
        raise UserError(f"{bits!r} significant bits hold nothing: float32 has 24, bfloat16 8.")

    def energies(model):
        e, times = levels(model)
        return np.minimum(e, bits * LN2), times

    reason = f"a sum of more than 2^{bits:g} equal contributions stagnates in such floats"
    return EnergyPrior(f"limited to {bits:g} bits", energies, -1.0, reason)


class TooLong(CountingError):
    """A model whose paths pass more layers than `length_normalised` can count."""


def _recorded(model) -> RecordedModel:
    if not isinstance(model, RecordedModel):
        raise CountingError(
            f"This prior counts again, and a {type(model).__name__} cannot be: pass "
            "record_model(model, input_shape)."
        )
    return model
