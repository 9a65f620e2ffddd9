"""Energy priors: counts read as energies, and the statistical mechanics of their levels.

A parameter's energy is the logarithm of its score (thesis, definition 7), the inverse temperature
β says how probable energies are, p ∝ exp(-βE), and the usual sums follow. With E = ln |C| and
β = -1 they are chapter 4's quantities. Energies are in nats.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from math import ceil, isfinite, log, prod, sqrt
from numbers import Integral, Real
from typing import TYPE_CHECKING

import numpy as np

from reuseprior.errors import CountingError, UserError

if TYPE_CHECKING:  # energies need no torch; the functions that count import it
    from reuseprior.contexts import TracedModel

LN2 = log(2)
LARGEST = 2**53  # whole numbers beyond it are no longer exact as floats


@dataclass(frozen=True, eq=False)  # arrays have no truth value to compare ensembles by
class Ensemble:
    """Energy levels, how many parameters each holds, and an inverse temperature.

    >>> e = Ensemble(np.log([1, 2]), np.array([4, 4]), beta=-1)      # appendix A.3
    >>> round(e.partition_function), round(e.expected_energy / LN2, 4), round(e.entropy / LN2, 4)
    (12, 0.6667, 2.9183)

    Raises UserError for no levels, for energies that are not finite or further apart than a float
    can say, for multiplicities that are not positive whole numbers, and a β that is not finite.
    """

    energies: np.ndarray
    multiplicities: np.ndarray
    beta: float

    def __post_init__(self) -> None:
        energies = _floats("energies", self.energies)
        times = _floats("multiplicities", self.multiplicities)
        if len(energies) == 0 or len(energies) != len(times):
            raise UserError(
                f"{len(energies)} energies and {len(times)} multiplicities: pass one multiplicity "
                "a level, and at least one level."
            )
        if not np.isfinite(energies).all():
            which = int(np.argmin(np.isfinite(energies)))
            raise UserError(
                f"Energy {which} is {energies[which]}: energies are logarithms of positive scores, "
                "so leave parameters without a score out."
            )
        _check_range(energies, "The energies are")
        is_number = np.isfinite(times) & (times > 0) & (times == np.floor(times))
        if not is_number.all():
            raise UserError(
                f"Multiplicity {times[~is_number][0]:g} is not a positive whole number: leave out "
                "levels that hold no parameter."
            )
        object.__setattr__(self, "energies", energies)
        object.__setattr__(self, "multiplicities", times)
        object.__setattr__(self, "beta", _beta(self.beta))

    def at(self, beta: float) -> Ensemble:
        """The same levels at another inverse temperature."""
        return replace(self, beta=beta)

    @cached_property
    def _exponents(self) -> np.ndarray:
        with np.errstate(over="ignore"):  # said in a sentence of our own
            exponents = -self.beta * self.energies
        if not np.isfinite(exponents).all():
            raise UserError(
                f"β = {self.beta:g} times the energies overflows a float: choose a smaller |β|."
            )
        _check_range(exponents, f"At β = {self.beta:g} the exponents -βE are")
        return exponents

    @cached_property
    def log_partition(self) -> float:
        """ln z, with z = Σ g exp(-βE) (equation 5.4)."""
        top = self._exponents.max()
        return float(top + np.log(np.exp(self._exponents - top) @ self.multiplicities))

    @property
    def partition_function(self) -> float:
        """z itself, infinite where a float cannot hold it; `log_partition` always can."""
        with np.errstate(over="ignore"):
            return float(np.exp(self.log_partition))

    @cached_property
    def probabilities(self) -> np.ndarray:
        """Probability of each level, all its parameters together; they sum to one."""
        top = self._exponents.max()
        weights = np.exp(self._exponents - top) * self.multiplicities
        return weights / weights.sum()

    @cached_property
    def expected_energy(self) -> float:
        """⟨E⟩ = Σ p E (equation 5.8), nats."""
        reference = self.energies[self.probabilities.argmax()]
        return float(reference + self.probabilities @ (self.energies - reference))

    @property
    def entropy(self) -> float:
        """H = -Σ p ln p over the parameters, nats; equals ln z + β⟨E⟩ (equation 5.16)."""
        each = self.probabilities / self.multiplicities
        return float(-self.probabilities @ np.log(np.where(each > 0, each, 1)))

    @property
    def heat_capacity(self) -> float:
        """β² times the variance of the energy."""
        met = self.probabilities > 0  # what is never met may be too far away to be squared
        deviations = self.beta * (self.energies[met] - self.expected_energy)
        return float(self.probabilities[met] @ deviations**2)

    @property
    def variance(self) -> float:
        """The variance of the energy, nats²: how fast ⟨E⟩ falls as β grows."""
        met = self.probabilities > 0
        return float(self.probabilities[met] @ (self.energies[met] - self.expected_energy) ** 2)

    @property
    def parameters(self) -> int:
        """N_G, how many parameters the levels hold."""
        return int(self.multiplicities.sum())

    def performance(self, *, input_nodes: int, output_nodes: int, weight_nodes: int) -> float:
        """P′ with the expected energy for the expected spread (equation 4.8), bits.

        >>> e = Ensemble(np.log([1, 2]), np.array([4, 4]), beta=-1)
        >>> round(e.performance(input_nodes=2, output_nodes=1, weight_nodes=8), 2)
        1.28

        Raises UserError for sizes that are not whole numbers from one on, and NoEstimate where the
        expected energy is so negative that the estimate has no value.
        """
        input_nodes = whole("input_nodes", input_nodes)
        output_nodes = whole("output_nodes", output_nodes)
        weight_nodes = whole("weight_nodes", weight_nodes)
        inside = self.expected_energy / LN2 + 1
        if inside <= 0:
            raise NoEstimate(
                f"The expected energy is {self.expected_energy / LN2:.3g} bits, and P′ is a "
                "logarithm of one more than it: such a prior has no P′."
            )
        scale = input_nodes / (input_nodes + output_nodes + weight_nodes)
        return float(np.log2(self.parameters * inside * scale))

    def sweep(self, betas: Iterable[float]):
        """A pandas DataFrame, a row for each β: ln z, ⟨E⟩, entropy, variance, heat capacity."""
        import pandas as pd

        rows = [
            (e.beta, e.log_partition, e.expected_energy, e.entropy, e.variance, e.heat_capacity)
            for e in map(self.at, betas)
        ]
        columns = ["beta", "log z", "expected energy", "entropy", "variance", "heat capacity"]
        return pd.DataFrame(rows, columns=columns)


@dataclass(frozen=True)
class EnergyPrior:
    """A way to give parameters energies, and an inverse temperature.

    `energies` maps a traced model (`contexts.trace_model`), or its counts, to
    `(energies, multiplicities)`. A prior of one's own is one such function:

    >>> def halved(model):
    ...     energies, multiplicities = levels(model)
    ...     return energies / 2, multiplicities
    >>> EnergyPrior("half", halved, beta=-1, reason="…").ensemble(trace_model(model, shape))
    """

    name: str
    energies: Callable[[object], tuple[np.ndarray, np.ndarray]]
    beta: float
    reason: str = ""

    def ensemble(self, model) -> Ensemble:
        """The levels of a traced model, or of its counts, under this prior."""
        return Ensemble(*self.energies(model), self.beta)


def levels(model) -> tuple[np.ndarray, np.ndarray]:
    """E = ln |C|, with multiplicities, of a traced model or of its counts (`ContextCounts`)."""
    counts = model if hasattr(model, "log2_counts") else model.count()
    return counts.log2_counts * LN2, counts.multiplicities


# What goes in ------------------------------------------------------------------------------------


class NoEstimate(UserError):
    """An expected energy below -1 bit, of which the performance estimate has no logarithm."""


def whole(name: str, value, least: int = 1) -> int:
    """`value` as an int; raises UserError, with its `name`, unless it is a whole number from
    `least` on.

    >>> whole("width", 3)
    3
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise UserError(f"{name}={value!r} must be a whole number, such as 3.")
    if not least <= value <= LARGEST:
        raise UserError(f"{name}={value} must be from {least} to {LARGEST} (2^53).")
    return int(value)


def _floats(name: str, values) -> np.ndarray:
    try:
        return np.asarray(values, np.float64).ravel()
    except (TypeError, ValueError) as error:
        raise UserError(f"The {name} are not numbers: {error}.") from error


def _beta(value) -> float:
    if not (isinstance(value, Real) and isfinite(value)):
        raise UserError(f"β = {value!r} is not a finite number: the thesis's own is -1.")
    return float(value)


def _check_range(values: np.ndarray, what: str) -> None:
    with np.errstate(over="ignore"):
        if not np.isfinite(np.ptp(values)):
            raise UserError(f"{what} further apart than a float can say: scale them down.")


# Priors ready to use -----------------------------------------------------------------------------
#
# Each takes a model traced with `contexts.trace_model`. Those that discount no path
# (`reusability`, `hypothetical`, `limited_precision`) take its counts as well.

LONGEST = 400  # layers; beyond, weighting by 1/length would take too many counts


def reusability() -> EnergyPrior:
    """The reusability prior: E = ln |C| and β = -1 (theorem 2).

    >>> e = reusability().ensemble(trace_model(model, shape))
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
    from reuseprior.contexts.graph import per_layer

    discount = per_layer(gamma)
    return EnergyPrior(
        f"discounted, γ = {gamma:g}",
        lambda model: levels(_traced(model).count(discount=discount)),
        -1.0,
        "a context far from the output says less about its parameter than a near one (section 4.6)",
    )


def averages_weighted(power: float = 1.0) -> EnergyPrior:
    """A path that passes an average of n positions counts by its coefficient 1/n, to the power.

    Plain counting lets each of the n paths through an average count like one through a weight.
    With power 2 a path counts what it brings to the variance.
    """
    from reuseprior.contexts.graph import averages

    discount = averages(power)
    return EnergyPrior(
        f"averages weighted, power {power:g}",
        lambda model: levels(_traced(model).count(discount=discount)),
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
        from reuseprior.contexts.graph import longest_path, per_layer

        traced = _traced(model)
        longest = longest_path(traced)
        points = min(longest // 2 + 1, 5 + ceil(3 * sqrt(longest)))
        if longest > LONGEST:
            raise TooLong(
                f"The longest path passes {longest} layers, and weighting by 1/length would count "
                f"{points} times: use discounted(γ) for models beyond {LONGEST}."
            )
        at, weights = np.polynomial.legendre.leggauss(points)
        total = None
        for gamma, weight in zip((at + 1) / 2, weights / 2, strict=True):
            counted = traced.count(discount=per_layer(gamma))
            part = counted.log2_counts + np.log2(weight)
            total = part if total is None else np.logaddexp2(total, part)
        return total * LN2, counted.multiplicities

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
        from reuseprior.contexts.graph import linear_paths

        traced = _traced(model)
        counted, discount = traced.count(), linear_paths(traced)
        try:
            linear = traced.count(discount=discount).parameter_counts
        except CountingError:  # the model can be counted, so no path at all is linear
            linear = ()
        straight = {p.name: p.log2_counts for p in linear}
        parts, times = [], []
        for p in counted.parameter_counts:
            logs, off = np.broadcast_arrays(p.log2_counts, straight.get(p.name, -np.inf))
            share = np.exp2(np.minimum(off - logs, 0))
            kept = np.isfinite(logs) & (share < 1)
            parts.append(logs[kept] * LN2 + np.log1p(-share[kept]))
            times.append(np.full(kept.sum(), prod(p.shape) // logs.size))
        if not any(map(len, parts)):
            raise CountingError(
                "No path of this model passes a non-linearity: this prior has no energies for it."
            )
        return np.concatenate(parts), np.concatenate(times)

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


def _traced(model) -> TracedModel:
    from reuseprior.contexts import TracedModel

    if not isinstance(model, TracedModel):
        raise CountingError(
            f"This prior counts again, and a {type(model).__name__} cannot be: pass "
            "trace_model(model, input_shape)."
        )
    return model
