"""Scores that predict a model's place without training, as sums of terms in bits.

A score is `P_G + c·(log2 M + H_u + …) - blur - log2 max(1, D / log2 T)`:

* P_G, the estimate from total surprisal, and blur, what averages take (`contexts.operator_paths`);
* log2 M, the multiply-adds: how often the unrolled graph uses a weight;
* H_u, in which layer signal meets a parameter, L the mean and D the least number of learnable
  layers on a signal path (`measures.signal_paths`);
* T, the examples of the training set. A signal that passes more than log2 T layers without a skip
  pays for it.

The constant c is fitted: ¼ in R6, ½ in R7, by a study that had accuracies in sight. log2 T is no
derived bound but took the place of a fitted 24 (`chapters/beyond/preregistration.toml` says when).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from numbers import Real

import numpy as np

from reuseprior.errors import UserError

IMAGENET = 1_281_167  # training images of ImageNet-1k
SIZES = ("log2 M", "H_u", "log2 L")
OTHERS = ("P_G", "blur", "depth")


@dataclass(frozen=True)
class Score:
    """A sum of terms: `weight` times each of `sizes`, plus P_G, less blur and depth if `takes`.

    >>> row = {"P_G": 20.0, "blur": 0.5, "multiply_adds": 2**24, "layer_entropy": 4.0,
    ...        "mean_length": 8.0, "shortest": 32}
    >>> R6.terms(row, examples=2**16)
    {'P_G': 20.0, 'log2 M': 6.0, 'H_u': 1.0, 'blur': -0.5, 'depth': -1.0}
    >>> R6(row, examples=2**16)
    25.5

    Raises UserError for a term that is not there, and a weight that is no finite number.
    """

    name: str
    weight: float = 0.0
    sizes: tuple[str, ...] = ()
    takes: tuple[str, ...] = OTHERS

    def __post_init__(self) -> None:
        unknown = [t for t in self.sizes if t not in SIZES] + [
            t for t in self.takes if t not in OTHERS
        ]
        if unknown:
            raise UserError(
                f"no term {unknown[0]!r} of a score: there are {', '.join((*SIZES, *OTHERS))}"
            )
        if not (isinstance(self.weight, Real) and isfinite(self.weight)):
            raise UserError(f"A weight of {self.weight!r}: choose a finite number, such as 0.25.")

    def terms(self, table, examples: float) -> dict:
        """What each term adds to the score, in bits.

        `table` is a row of measures (`Measured.row()`) or a DataFrame of them. A model without a
        path from input to output has an infinite blur, or no layer on a path: it scores -inf.
        Raises UserError for fewer than two examples.
        """
        if not (isinstance(examples, Real) and 2 <= examples < float("inf")):
            raise UserError(f"{examples!r} training examples: pass how many there are, 2 or more.")
        with np.errstate(divide="ignore"):
            sizes = {
                "log2 M": lambda: np.log2(table["multiply_adds"]),
                "H_u": lambda: table["layer_entropy"],
                "log2 L": lambda: np.log2(table["mean_length"]),
            }
            found = {"P_G": table["P_G"]} if "P_G" in self.takes else {}
            found |= {name: self.weight * sizes[name]() for name in self.sizes}
        if "blur" in self.takes:
            found["blur"] = 0.0 - table["blur"]
        if "depth" in self.takes:
            found["depth"] = -np.log2(np.maximum(1, table["shortest"] / np.log2(examples))) + 0.0
        return {n: float(v) if np.isscalar(v) else v for n, v in found.items()}

    def __call__(self, table, examples: float):
        """The score, bits: the sum of its terms; of a model without a signal path -inf."""
        total = sum(self.terms(table, examples).values())
        if np.isscalar(total):
            return total if isfinite(table["blur"]) else -float("inf")
        return total.where(np.isfinite(table["blur"]), -np.inf)


S0 = Score("P_G − blur", takes=("P_G", "blur"))
R6 = Score("R6", 0.25, ("log2 M", "H_u"))
R7 = Score("R7", 0.5, ("log2 M", "H_u", "log2 L"))
RECOMMENDED = R6


def ablations(score: Score) -> dict[str, Score]:
    """The score without each of its terms in turn, by name.

    >>> list(ablations(R6))
    ['R6 without log2 M', 'R6 without H_u', 'R6 without P_G', 'R6 without blur', 'R6 without depth']
    """
    found = {}
    for term in (*score.sizes, *score.takes):
        name = f"{score.name} without {term}"
        sizes = tuple(t for t in score.sizes if t != term)
        takes = tuple(t for t in score.takes if t != term)
        found[name] = Score(name, score.weight, sizes, takes)
    return found
