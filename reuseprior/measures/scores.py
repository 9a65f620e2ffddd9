"""Scores that predict a model's place without training, as sums of terms in bits.

A score is `P_G + c·(log2 M + H_u + …) - blur - log2 max(1, D / log2 T)`:

* P_G, the estimate from total surprisal, and blur, what averages take (`contexts.operator_paths`);
* log2 M, the multiply-adds: how often the unrolled graph uses a weight;
* H_u, in which layer signal meets a parameter, L the mean and D the least number of learnable
  layers on a signal path (see below);
* T, the examples of the training set. A signal that passes more than log2 T layers without a skip
  pays for it.

The constant c is fitted: ¼ in R6, ½ in R7, by a study that had accuracies in sight. log2 T is no
derived bound but took the place of a fitted 24 (`chapters/beyond/preregistration.toml` says when).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import exp, inf, isfinite, log, log2, prod, sqrt
from numbers import Real

import numpy as np

from reuseprior.contexts.array import log2_integer
from reuseprior.contexts.counting import TracedModel
from reuseprior.contexts.graph import averaged_positions, contributions
from reuseprior.contexts.rules import op_metadata
from reuseprior.contexts.trace import Node, Operator, overwrite_view
from reuseprior.errors import UserError
from reuseprior.measures.energy import Ensemble

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
        if not (isinstance(examples, Real) and 2 <= examples < inf):
            raise UserError(f"{examples!r} training examples: pass how many there are, 2 or more.")
        with np.errstate(divide="ignore"):
            sizes = {
                "log2 M": lambda: np.log2(table["multiply_adds"]),
                "H_u": lambda: table["layer_entropy"],
                "log2 L": lambda: np.log2(table["mean_length"]),
            }
            terms = {"P_G": table["P_G"]} if "P_G" in self.takes else {}
            terms |= {name: self.weight * sizes[name]() for name in self.sizes}
        if "blur" in self.takes:
            terms["blur"] = 0.0 - table["blur"]
        if "depth" in self.takes:
            terms["depth"] = -np.log2(np.maximum(1, table["shortest"] / log2(examples))) + 0.0
        return {n: float(v) if np.isscalar(v) else v for n, v in terms.items()}

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
    scores = {}
    for term in (*score.sizes, *score.takes):
        name = f"{score.name} without {term}"
        sizes = tuple(t for t in score.sizes if t != term)
        takes = tuple(t for t in score.takes if t != term)
        scores[name] = Score(name, score.weight, sizes, takes)
    return scores


# Signal paths: through which learnable layers an output's variance came --------------------------
#
# A signal is a set of amplitudes, one an *origin*: the model's input, or a use of a learnable
# layer (a convolution or a matrix product with a parameter). What the layer makes is a new origin,
# whose *parents* are the origins of what went in, each with its share of the variance. Shares add
# up to one, so from the outputs back they are a Markov chain over uses, and a random walk along
# it is a random *signal path*.
#
# What operators do to a signal:
#
# * a sum adds amplitudes of one origin, and keeps those of different origins apart;
# * a concatenation adds squares, each in proportion to its part of the result;
# * an average of n positions divides variances by n;
# * a normalisation makes the variance one;
# * a learnable layer, and the input, have variance one;
# * a product of two signals has half its shares from each, and the geometric mean of their scales;
# * anything else lets its signals through, several as a sum.
#
# Exact for linear maps of independent, centred signals with independent entries are: sums of
# different origins, sums of the very same signal (skips), concatenations as a mean over channels,
# normalisations of the whole, averages of independent positions. Approximations are: that what an
# average or a non-linearity leaves of an origin still adds to the origin's amplitude as if it were
# the same signal; that non-linearities and max-pools keep variances; that batch norm sets channels
# of a concatenation to one variance together; products, whose parts have no variance of their own;
# and that every layer's weights keep the variance at one. Signs and constant factors are left out,
# so a difference is a sum.

INPUT = -1  # the origin that is no layer

Block = tuple  # what names a parameter tensor, or a slice of one


@dataclass(frozen=True)
class LayerUse:
    """One use of a learnable layer: where it stands, and whose variance came in."""

    where: str
    parents: Mapping[int, float]
    """Share of the input's variance by origin: the number of an earlier use, or `INPUT`."""
    blocks: Mapping[Block, int]
    """The parameters it uses, by tensor, and how many each holds."""


@dataclass(frozen=True)
class Layer:
    """Parameters that are used together: one layer, or several that are tied."""

    where: tuple[str, ...]
    parameters: int
    uses: float
    """How often a random signal path passes it; of a layer used once, how probably."""


@dataclass(frozen=True, eq=False)
class SignalPaths:
    """The Markov chain of a model, and what follows from it.

    >>> net = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 8, 1))
    >>> paths = signal_paths(trace_model(net, (1, 3, 4, 4)))
    >>> paths.shortest, paths.mean_length, round(paths.layer_entropy, 3)
    (2, 2.0, 0.89)

    A model whose outputs no input reaches has no signal path: `is_live` is false, and what is asked
    of its paths is a UserError.
    """

    uses: tuple[LayerUse, ...]
    ends: Mapping[int, float]
    """Share of the outputs' variance by origin."""

    @property
    def is_live(self) -> bool:
        """Whether a signal path leads from an input to an output."""
        return bool(self.ends)

    @cached_property
    def probabilities(self) -> np.ndarray:
        """u: for each use, how probably a random signal path passes it."""
        self._check()
        reached = np.zeros(len(self.uses))
        for origin, contribution in self.ends.items():
            if origin != INPUT:
                reached[origin] += contribution
        for number in range(len(self.uses) - 1, -1, -1):  # parents come before
            if reached[number]:
                for origin, contribution in self.uses[number].parents.items():
                    if origin != INPUT:
                        reached[origin] += reached[number] * contribution
        return reached

    @property
    def mean_length(self) -> float:
        """L: how many uses a signal path has on average."""
        return float(self.probabilities.sum())

    @cached_property
    def shortest(self) -> int:
        """D: uses on the shortest signal path, the ground state of an energy of one a use."""
        self._check()
        least = {INPUT: 0}
        for number, use in enumerate(self.uses):
            least[number] = 1 + min(least[origin] for origin in use.parents)
        return min(least[origin] for origin in self.ends)

    @property
    def log2_paths(self) -> float:
        """Log2 of how many signal paths there are."""
        self._check()
        paths = {INPUT: 1}
        for number, use in enumerate(self.uses):
            paths[number] = sum(paths[origin] for origin in use.parents)
        return log2_integer(sum(paths[origin] for origin in self.ends))

    @property
    def path_entropy(self) -> float:
        """Bits that say which signal path: the chain's entropy, Σ u·H(parents) with the ends'."""
        within = [_entropy(use.parents.values()) for use in self.uses]
        return float(self.probabilities @ np.array(within)) + _entropy(self.ends.values())

    def log_partition(self, beta: float) -> float:
        """ln Σ P(path) exp(-β · length): of an energy of one a use, with paths as likely as here.

        -ln Z / β goes to the mean length as β goes to 0, and to the shortest as β grows.
        """
        self._check()
        z = {INPUT: 0.0}
        for number, use in enumerate(self.uses):
            z[number] = _log_sum(log(p) + z[s] for s, p in use.parents.items()) - beta
        return _log_sum(log(p) + z[s] for s, p in self.ends.items())

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """Parameters by the uses that they have: those of equal uses are one layer.

        A tensor that is used several times is one layer whose `uses` add up. Layers that no signal
        path passes are left out.
        """
        users: dict[Block, list[int]] = {}
        sizes: dict[Block, int] = {}
        for number, use in enumerate(self.uses):
            for block, size in use.blocks.items():
                users.setdefault(block, []).append(number)
                sizes[block] = size
        held: dict[tuple[int, ...], int] = {}
        for block, numbers in users.items():
            key = tuple(numbers)
            held[key] = held.get(key, 0) + sizes[block]
        by_uses = (
            Layer(
                tuple(dict.fromkeys(self.uses[n].where for n in key)),
                parameters,
                float(self.probabilities[list(key)].sum()),
            )
            for key, parameters in held.items()
        )
        return tuple(layer for layer in by_uses if layer.uses > 0)

    def ensemble(self) -> Ensemble:
        """Layers as energy levels: E = -ln u, a multiplicity of n parameters, at β = 1.

        Then p ∝ n·u is where signal meets parameters, ln z is the logarithm of how many parameters
        a signal path meets on average, and at β = 0 all parameters are alike.
        """
        self._check()
        if not self.layers:
            raise UserError("No signal path of the model passes a learnable layer.")
        energies = [-log(layer.uses) for layer in self.layers]
        return Ensemble(
            np.array(energies), np.array([layer.parameters for layer in self.layers]), beta=1.0
        )

    @cached_property
    def layer_entropy(self) -> float:
        """H_u: bits that say in which layer signal meets a parameter, p ∝ u·n.

        It is the ensemble's entropy less that within levels. 0 where no path passes a layer.
        """
        if self.is_live and not self.layers:
            return 0.0
        return _entropy(self.ensemble().probabilities.tolist())

    def _check(self) -> None:
        if not self.is_live:
            raise UserError("No input reaches the model's outputs, so it has no signal path.")


def signal_paths(traced: TracedModel, *, averages: bool = True) -> SignalPaths:
    """The Markov chain over uses of learnable layers, from the outputs of a traced model back.

    >>> net = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1))
    >>> signal_paths(trace_model(net, (1, 3, 4, 4))).probabilities
    array([1., 1.])

    Learnable is a convolution or matrix product of a signal with what only parameters decide; the
    parameters of norms, scales and embeddings are no layers. Outputs count together, by size.
    Without `averages` these leave variances as they are.
    """
    trace = traced.trace
    signals = {node: _NEW[INPUT] for node in trace.inputs}
    uses: list[LayerUse] = []
    blocks = _Blocks()
    for operator in trace.operators:
        if op_metadata(operator.function).sourceless:
            continue
        arriving = [node for node in operator.nodes() if node in signals]
        if arriving:
            signal = _passed(operator, arriving, signals, uses, blocks)
            if averages and (positions := averaged_positions(operator)) != 1:
                signal = _Signal(signal.log2_scale - log2(positions) / 2, signal.amplitudes)
            signals.update(dict.fromkeys(operator.results, signal))
    ends = [(signals[n], prod(n.shape)) for n in trace.outputs if n in signals]
    contributions_at_end = _squares(_joined(ends)) if ends else {}
    return SignalPaths(tuple(uses), contributions_at_end)


# Signals -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Signal:
    """Amplitudes by origin, their squares adding up to one, and log2 of what they are scaled by."""

    log2_scale: float
    amplitudes: dict[int, float]


_NEW = {INPUT: _Signal(0.0, {INPUT: 1.0})}


def _passed(operator, arriving, signals, uses, blocks) -> _Signal:
    """What an operator makes of the signals that arrive; a use is added to `uses`."""
    known = op_metadata(operator.function)
    if len(arriving) == 1 and not known.layer:
        signal = signals[arriving[0]]
    elif known.joins or operator.function is overwrite_view:
        parts = [(signals[n], part) for n, part in contributions(operator) if n in signals]
        signal = _joined(parts)
    elif known.factors is not None:
        signal = _of_product(operator, known, signals, uses, blocks)
    elif known.given is not None:
        source = operator.args[known.given]
        others = _sum([signals[n] for n in arriving if n is not source])
        signal = _product(others, signals[source]) if source in signals else others
    else:
        signal = _sum([signals[node] for node in arriving])
    return _Signal(0.0, signal.amplitudes) if known.normalises else signal


def _of_product(operator: Operator, known, signals, uses, blocks) -> _Signal:
    """A layer where one factor is learned, a product where both are signals; more is added."""
    factors = [operator.args[position] for position in known.factors]
    met = [f for f in factors if isinstance(f, Node) and f in signals]
    others = [n for n in operator.nodes() if n in signals and not any(n is f for f in factors)]
    if not met:
        return _sum([signals[n] for n in others])
    if len(met) == 2:
        signal = _product(*(signals[n] for n in met))
    else:
        learned = [f for f in factors if isinstance(f, Node) and f is not met[0]]
        if known.layer and learned and learned[0].has_parameters:
            parameters = [n for n in operator.nodes() if n.has_parameters and n not in signals]
            held = {block: size for n in parameters for block, size in blocks.of(n).items()}
            uses.append(LayerUse(operator.where, _squares(signals[met[0]]), held))
            signal = _Signal(0.0, {len(uses) - 1: 1.0})
        else:  # a scale, learned or constant
            signal = signals[met[0]]
    return _sum([signal, *(signals[n] for n in others)]) if others else signal


def _sum(signals: list[_Signal]) -> _Signal:
    if len(signals) == 1:
        return signals[0]
    top = max(signal.log2_scale for signal in signals)
    total: dict[int, float] = {}
    for signal in signals:
        scale = 2 ** (signal.log2_scale - top)
        for origin, amplitude in signal.amplitudes.items():
            total[origin] = total.get(origin, 0.0) + amplitude * scale
    return _scaled(top, total)


def _joined(parts: list[tuple[_Signal, float]]) -> _Signal:
    """A concatenation of parts with their sizes, or shares of the whole."""
    if len(parts) == 1:
        return parts[0][0]
    top = max(signal.log2_scale for signal, _ in parts)
    whole = sum(size for _, size in parts)
    total: dict[int, float] = {}
    for signal, size in parts:
        weight = size / whole * 4 ** (signal.log2_scale - top)
        for origin, amplitude in signal.amplitudes.items():
            total[origin] = total.get(origin, 0.0) + weight * amplitude**2
    return _scaled(top, {origin: sqrt(square) for origin, square in total.items()})


def _product(a: _Signal, b: _Signal) -> _Signal:
    halves: dict[int, float] = {}
    for signal in (a, b):
        for origin, amplitude in signal.amplitudes.items():
            halves[origin] = halves.get(origin, 0.0) + amplitude**2 / 2
    roots = {origin: sqrt(square) for origin, square in halves.items()}
    return _Signal((a.log2_scale + b.log2_scale) / 2, roots)


def _scaled(log2_scale: float, amplitudes: dict[int, float]) -> _Signal:
    """Amplitudes with squares that add up to one; those too small for a float are dropped."""
    size = sqrt(sum(amplitude**2 for amplitude in amplitudes.values()))
    kept = {s: a / size for s, a in amplitudes.items() if (a / size) ** 2 > 0}
    return _Signal(log2_scale + log2(size), kept)


def _squares(signal: _Signal) -> dict[int, float]:
    """Contributions of variance: squares of amplitudes, made to add up to one to the last digit."""
    squares = {origin: amplitude**2 for origin, amplitude in signal.amplitudes.items()}
    total = sum(squares.values())
    return {origin: square / total for origin, square in squares.items()}


def _entropy(probabilities: Iterable[float]) -> float:
    return -sum(p * log2(p) for p in probabilities if p > 0) + 0.0


def _log_sum(logs: Iterable[float]) -> float:
    logs = list(logs)
    top = max(logs)
    return top + log(sum(exp(value - top) for value in logs)) if top > -inf else -inf


# Parameters --------------------------------------------------------------------------------------


class _Blocks:
    """Which parameter tensors a weight is made of."""

    def __init__(self) -> None:
        self._known: dict[Node, dict[Block, int]] = {}

    def of(self, node: Node) -> dict[Block, int]:
        """The leaves behind a node with their sizes; a slice of a leaf is a block of its own."""
        if node not in self._known:
            self._known[node] = self._found(node)
        return self._known[node]

    def _found(self, node: Node) -> dict[Block, int]:
        if node.made_by is None:
            return {(node,): prod(node.shape)}
        behind: dict[Block, int] = {}
        for source in node.made_by.nodes():
            if source.has_parameters:
                behind.update(self.of(source))
        if len(behind) == 1 and op_metadata(node.made_by.function).moves:
            ((block, size),) = behind.items()
            if prod(node.shape) < size:
                arguments = repr([a for a in node.made_by.args if not isinstance(a, Node)])
                cut = (node.made_by.function, arguments, node.index)
                return {(*block, cut): prod(node.shape)}
        return behind
