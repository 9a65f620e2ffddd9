"""Paths through a model's operators, and what fixed averages leave of what travels along them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf, log2, prod

from reuseprior.contexts.counting import Discount, RecordedModel
from reuseprior.contexts.discounts import averages
from reuseprior.contexts.record import Node, Operator, overwrite_view
from reuseprior.contexts.rules import traits


@dataclass(frozen=True)
class OperatorPaths:
    """Paths from a model's input to its output, step by step through operators.

    An operator that joins several tensors (a sum, a product) has a path from each; the parts of a
    concatenation have one together, shared by size. All features of a tensor go the same way, so
    these are few paths, where a context is one of very many.
    """

    log2_paths: float
    """How many there are, -inf if the output depends on no input."""
    log2_kept: float
    """Log2 of the part that is kept of them, each average of n multiplying a path by 1/n."""
    layers: float
    """How many layers with weights (convolutions, matrix products) a path passes on average."""

    @property
    def blur(self) -> float:
        """Bits that averages take away per layer, infinite where no path arrives.

        An average of n positions lets one in n independent details through, and learns nothing.
        Layers make up for what they are given, so what matters is how much is averaged from one
        to the next, not how often that happens in a deep model. With ln n as the energy of an
        average, this is the paths' free energy per layer, in bits and against that of no averages.
        """
        if self.log2_paths == -inf:
            return inf
        return -self.log2_kept / max(self.layers, 1) + 0.0


def operator_paths(recorded: RecordedModel, discount: Discount | None = None) -> OperatorPaths:
    """Count the paths of a recorded model's operators, with their averages and layers.

    >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.AvgPool2d(2), nn.Conv2d(8, 8, 3))
    >>> operator_paths(record_model(net, (1, 3, 12, 12)))
    OperatorPaths(log2_paths=0.0, log2_kept=-2.0, layers=2.0)

    Outputs count together. A path through a gate (a product with what the input gave) counts
    beside the one it gates. `discount` gives each operator's factor; by default those of averages
    of windows, without averages of all positions: these leave the same of every model, a mean.
    """
    discount = discount or averages(whole=False)
    recording = recorded.recording
    reached = {node: _Reached(0.0, 0.0, 0.0) for node in recording.inputs}
    for operator in recording.operators:
        if traits(operator.function).sourceless:
            continue
        arriving = [(reached[n], share) for n, share in shares(operator) if n in reached]
        if arriving:
            step = _joined(arriving).after(operator, discount(operator))
            reached.update(dict.fromkeys(operator.results, step))
    found = [(reached[node], 1.0) for node in recording.outputs if node in reached]
    if not found:
        return OperatorPaths(-inf, -inf, 0.0)
    whole = _joined(found)
    return OperatorPaths(whole.paths, whole.kept - whole.paths, whole.layers)


@dataclass(frozen=True, slots=True)
class _Reached:
    """Paths from the input to a node: log2 of their number, of what is kept, mean layers."""

    paths: float
    kept: float
    layers: float

    def after(self, operator: Operator, factor: float) -> _Reached:
        learns = traits(operator.function).layer and operator.uses_parameter
        return _Reached(self.paths, self.kept + log2(factor), self.layers + learns)


def _joined(arriving: list[tuple[_Reached, float]]) -> _Reached:
    if len(arriving) == 1 and arriving[0][1] == 1:
        return arriving[0][0]
    paths = _log2_sum(r.paths + log2(share) for r, share in arriving)
    kept = _log2_sum(r.kept + log2(share) for r, share in arriving)
    layers = sum(2 ** (r.paths + log2(share) - paths) * r.layers for r, share in arriving)
    return _Reached(paths, kept, layers)


def shares(operator: Operator) -> list[tuple[Node, float]]:
    """The tensors that go in, with the part of the result that comes from each."""
    nodes = [node for node in operator.nodes() if prod(node.shape)]
    if traits(operator.function).joins:
        total = sum(prod(node.shape) for node in nodes)
        return [(node, prod(node.shape) / total) for node in nodes]
    if operator.function is overwrite_view:
        base, value = operator.args[:2]
        written = prod(value.shape) / prod(base.shape)
        return [(base, 1 - written), (value, written)] if written < 1 else [(value, 1.0)]
    return [(node, 1.0) for node in nodes]


def _log2_sum(logs: Iterable[float]) -> float:
    logs = list(logs)
    top = max(logs)
    return top + log2(sum(2 ** (value - top) for value in logs))
