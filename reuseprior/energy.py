"""Energy priors: counts read as energies, and the statistical mechanics of their levels.

A parameter's energy is the logarithm of its score (thesis, definition 7), the inverse temperature
β says how probable energies are, p ∝ exp(-βE), and the usual sums follow. With E = ln |C| and
β = -1 they are chapter 4's quantities. Energies are in nats.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from math import isfinite, log

import numpy as np
import pandas as pd

LN2 = log(2)


@dataclass(frozen=True)
class Ensemble:
    """Energy levels, how many parameters each holds, and an inverse temperature.

    >>> e = Ensemble(np.log([1, 2]), np.array([4, 4]), beta=-1)      # appendix A.3
    >>> round(e.partition_function), round(e.expected_energy / LN2, 4), round(e.entropy / LN2, 4)
    (12, 0.6667, 2.9183)

    Raises ValueError for no levels, energies that are not finite, multiplicities that are not
    positive, and a β that is not finite.
    """

    energies: np.ndarray
    multiplicities: np.ndarray
    beta: float

    def __post_init__(self) -> None:
        energies = np.asarray(self.energies, np.float64).ravel()
        times = np.asarray(self.multiplicities, np.float64).ravel()
        if len(energies) == 0 or len(energies) != len(times):
            raise ValueError(
                f"{len(energies)} energies and {len(times)} multiplicities: pass one multiplicity "
                "a level, and at least one level."
            )
        if not np.isfinite(energies).all():
            which = int(np.argmin(np.isfinite(energies)))
            raise ValueError(
                f"Energy {which} is {energies[which]}: energies are logarithms of positive scores, "
                "so leave parameters without a score out."
            )
        if not (np.isfinite(times) & (times > 0)).all():
            raise ValueError("Every level holds a positive number of parameters: leave others out.")
        if not isfinite(self.beta):
            raise ValueError(f"β = {self.beta} is not a number: the thesis's own is -1.")
        object.__setattr__(self, "energies", energies)
        object.__setattr__(self, "multiplicities", times)

    def at(self, beta: float) -> Ensemble:
        """The same levels at another inverse temperature."""
        return replace(self, beta=beta)

    @cached_property
    def _exponents(self) -> np.ndarray:
        with np.errstate(over="ignore"):  # said in a sentence of our own
            exponents = -self.beta * self.energies
        if not np.isfinite(exponents).all():
            raise ValueError(
                f"β = {self.beta:g} times the energies overflows a float: choose a smaller |β|."
            )
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
    def free_energy(self) -> float:
        """F = -ln z / β, nats. Raises ValueError at β = 0, where it has no value."""
        if self.beta == 0:
            raise ValueError("The free energy -ln z / β has no value at β = 0: choose another β.")
        return -self.log_partition / self.beta

    @property
    def heat_capacity(self) -> float:
        """β² times the variance of the energy."""
        deviations = self.energies - self.expected_energy
        return float(self.beta**2 * (self.probabilities @ deviations**2))

    @property
    def parameters(self) -> int:
        """N_G, how many parameters the levels hold."""
        return int(self.multiplicities.sum())

    def performance(self, *, input_nodes: int, output_nodes: int, weight_nodes: int) -> float:
        """P′ with the expected energy for the expected spread (equation 4.8), bits.

        >>> e = Ensemble(np.log([1, 2]), np.array([4, 4]), beta=-1)
        >>> round(e.performance(input_nodes=2, output_nodes=1, weight_nodes=8), 2)
        1.28

        Raises ValueError where the expected energy is so negative that the estimate has no value.
        """
        inside = self.expected_energy / LN2 + 1
        if inside <= 0:
            raise ValueError(
                f"The expected energy is {self.expected_energy / LN2:.3g} bits, and P′ is a "
                "logarithm of one more than it: such a prior has no P′."
            )
        scale = input_nodes / (input_nodes + output_nodes + weight_nodes)
        return float(np.log2(self.parameters * inside * scale))

    def sweep(self, betas: Iterable[float]) -> pd.DataFrame:
        """A row for each β: ln z, expected energy, entropy and heat capacity."""
        rows = [
            (b, e.log_partition, e.expected_energy, e.entropy, e.heat_capacity)
            for b in betas
            for e in [self.at(float(b))]
        ]
        return pd.DataFrame(
            rows, columns=["beta", "log z", "expected energy", "entropy", "heat capacity"]
        )


@dataclass(frozen=True)
class EnergyPrior:
    """A way to give parameters energies, and an inverse temperature.

    `energies` maps a recorded model (`contexts.record_model`) to `(energies, multiplicities)`.
    A prior of one's own is one such function:

    >>> halved = EnergyPrior("half", lambda recorded: (...), beta=-1, reason="…")
    """

    name: str
    energies: Callable[[object], tuple[np.ndarray, np.ndarray]]
    beta: float
    reason: str = ""

    def ensemble(self, recorded) -> Ensemble:
        """The levels of a recorded model under this prior."""
        return Ensemble(*self.energies(recorded), self.beta)


def levels(counts) -> tuple[np.ndarray, np.ndarray]:
    """E = ln |C| of counted contexts (`ContextCounts`), with multiplicities."""
    return counts.log2_counts * LN2, counts.multiplicities
