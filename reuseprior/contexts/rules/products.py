"""Sums and matrix products."""

from __future__ import annotations

import numpy as np

from reuseprior.contexts.array import CountArray, Mask
from reuseprior.contexts.record import Node
from reuseprior.contexts.rules.registry import aten, rule


@rule(aten.sum, linear=True)
@rule(aten.mean, linear=True, whole_average=True)
@rule(aten.amax, aten.amin, aten.linalg_vector_norm, aten.logsumexp, linear=False)
@rule(aten.norm, aten.std, aten.var, linear=False)
def reduction(count, x, *arguments, dim=None, **_):
    """Every entry that a result sums up is a source of it.

    The dimensions may stand anywhere: a norm's order goes before them.
    """
    dim = next((a for a in arguments if isinstance(a, (list, tuple))), dim)
    axes = {d % len(x.shape) for d in dim or range(len(x.shape))}
    yield x, count.reshape([1 if a in axes else n for a, n in enumerate(x.shape)])


@rule(aten.var_mean, aten.std_mean, linear=False, every_result=True)
def two_reductions(count, _result, x, *arguments, **keywords):
    yield from reduction(count, x, *arguments, **keywords)


@rule(aten.max, aten.min, aten.median, aten.prod, linear=False)
def reduction_over_one_axis(count, x, dim=None, *_, **__):
    yield from reduction(count, x, dim=None if dim is None else [dim])


@rule(aten.cumsum, linear=True)
def cumsum(count, x, dim, **_):
    values = count.expand(dim).values
    dim = dim % len(x.shape)
    yield x, CountArray(np.flip(np.cumsum(np.flip(values, dim), axis=dim), dim), x.shape)


@rule(aten.mm, aten.bmm, factors=(0, 1), layer=True)
def product(count, a, b, *_):  # (…, n, k) @ (…, k, m) -> (…, n, m)
    """A factor that is always zero, as attention is behind a mask, uses nothing of the other."""
    for x, other, axis in ((a, b, -1), (b, a, -2)):
        # a constant's own zeros are numbers like others
        met = other.fixed.free_of_zeros if other.varies and other.fixed else None
        yield x, count.sum(axis) if met is None else _meeting(count, x, met, axis)


def _meeting(count: CountArray, x: Node, met: Mask, axis: int) -> CountArray:
    """The counts of a factor x: those of the products along `axis` whose other factor is not 0."""
    counts = (count.expand(axis) if met.values.shape[axis] > 1 else count.sum(axis)).values
    met = met.values.astype(object) if counts.dtype == object else met.numbers()
    met = met.swapaxes(-1, -2)
    return CountArray(counts @ met if axis == -1 else met @ counts, x.shape)


@rule(aten.addmm, aten.baddbmm, factors=(1, 2), layer=True)
def sum_and_product(count, bias, a, b, *_, **__):
    yield bias, count.unbroadcast(bias.shape)
    yield from product(count, a, b)


@rule(aten.mv, factors=(0, 1), layer=True)
def mv(count, matrix, vector):  # (n, k) @ (k,) -> (n,)
    yield matrix, count.reshape((matrix.shape[0], 1))
    yield vector, count.sum(0)


@rule(aten.dot, factors=(0, 1))
def dot(count, a, b):
    yield a, count.reshape((1,))
    yield b, count.reshape((1,))
