"""One rule for every operator that moves or adds up its inputs: its own derivative.

Where a result is a sum of some of the entries that go in, each with the factor one, the contexts
travel back as gradients do. So `scatter_add`, `index_put`, `tril` and what else does nothing but
that need no rule by hand: torch's autograd is theirs, once an operator has been seen to be such a
sum on a stand-in of the same shapes.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np
import torch

from reuseprior.contexts.array import CountArray
from reuseprior.contexts.record import Node, Operator, map_nodes, one_of
from reuseprior.contexts.rules.registry import Rule

SAMPLED = 48  # entries whose own factors are looked at; of fewer, all
LIMB = 26  # bits of an integer that go back at a time: sums of 2^27 of them are exact in float64


def summing(operator: Operator, index: int) -> Rule | None:
    """The rule of an operator without one, where its result `index` is a sum of what goes in.

    None where it is not, or where torch has no derivative of it or it draws random numbers. Raises
    `CountingError` where that cannot be tried, as positions in it depend on data or are lost.
    """
    sources = [node for node in operator.nodes() if node.has_parameters]  # one may come twice
    tags = getattr(operator.function, "tags", ())
    if torch.Tag.nondeterministic_seeded in tags or "out" in operator.kwargs:
        return None
    run = _runner(operator, sources, index)
    try:
        if not _is_sum(run, [node.shape for node in sources]):
            return None
    except (RuntimeError, TypeError, IndexError, ValueError):
        return None  # whatever an operator says to stand-ins, it is then no sum that is known

    def rule(count, *_, **__):
        gradients = _backwards(run, sources, count)
        yield from zip(sources, gradients, strict=True)

    return rule


def _runner(operator: Operator, sources: list[Node], index: int) -> Callable:
    """The operator as a function of its sources alone, in float64."""

    def constant(node: Node) -> torch.Tensor:
        tensor = node.data().clone()
        return tensor.double() if tensor.is_floating_point() else tensor

    given = {node: constant(node) for node in operator.nodes() if not node.has_parameters}

    def run(*tensors: torch.Tensor) -> torch.Tensor:
        left = iter(tensors)  # in the order in which the operator's nodes come

        def tensor(node: Node) -> torch.Tensor:
            return (next(left) if node.has_parameters else given[node]).clone()

        args = map_nodes(operator.args, tensor)
        kwargs = {name: map_nodes(value, tensor) for name, value in operator.kwargs.items()}
        return one_of(operator.function(*args, **kwargs), index)

    return run


def _is_sum(run: Callable, shapes: list[tuple[int, ...]]) -> bool:
    """Whether the function adds up entries with the factor one, exactly, but for a constant."""
    random = torch.Generator().manual_seed(0)

    def drawn() -> list[torch.Tensor]:
        return [torch.randint(1, 1000, s, generator=random).double() for s in shapes]

    zeros = [torch.zeros(s, dtype=torch.float64) for s in shapes]
    rest = run(*zeros)
    if not rest.is_floating_point() or not rest.isfinite().all():
        return False
    x, y = drawn(), drawn()
    both = run(*(2 * a - 3 * b for a, b in zip(x, y, strict=True))) - rest
    if not torch.equal(both, 2 * (run(*x) - rest) - 3 * (run(*y) - rest)):
        return False
    for which, shape in enumerate(shapes):
        size = prod(shape)
        chosen = torch.randperm(size, generator=random)[:SAMPLED]
        for position in chosen.tolist():
            one = [z.clone() for z in zeros]
            one[which].view(-1)[position] = 1
            if not _ones(run(*one) - rest):
                return False
    results = torch.randperm(rest.numel(), generator=random)[:SAMPLED]
    for position in results.tolist():
        weights = torch.zeros_like(rest)
        weights.view(-1)[position] = 1
        if not all(map(_ones, _gradients(run, shapes, weights))):
            return False
    return True


def _ones(values: torch.Tensor) -> bool:
    return bool(((values == 0) | (values == 1)).all())


def _gradients(run: Callable, shapes, weights: torch.Tensor) -> list[torch.Tensor]:
    with torch.enable_grad():
        x = [torch.zeros(s, dtype=torch.float64, requires_grad=True) for s in shapes]
        return list(torch.autograd.grad(run(*x), x, weights, materialize_grads=True))


def _backwards(run: Callable, sources: list[Node], count: CountArray) -> list[CountArray]:
    """Counts of the sources: integers of any size go back in pieces that float64 holds."""
    values = np.broadcast_to(count.values, count.shape)
    shapes = [node.shape for node in sources]
    if values.dtype != object:
        found = [g.numpy() for g in _gradients(run, shapes, torch.from_numpy(values.copy()))]
    else:
        found = [np.zeros(s, object) for s in shapes]
        shift = 0
        while values.any():
            limb = np.array(values & ((1 << LIMB) - 1), np.float64)
            for i, g in enumerate(_gradients(run, shapes, torch.from_numpy(limb))):
                found[i] = found[i] + np.array(g.long().tolist(), object) * (1 << shift)
            values, shift = np.asarray(values >> LIMB, object), shift + LIMB
    return [CountArray(v, s).compressed() for v, s in zip(found, shapes, strict=True)]
