"""Sums and matrix products."""

from __future__ import annotations

import numpy as np

from reuseprior.contexts.array import CountArray
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
    yield a, count.sum(-1)
    yield b, count.sum(-2)


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


@rule(aten._fft_r2c, aten._fft_c2c, linear=True)
def fourier(count, x, dims, *_):
    """Every result is a sum over all positions of the transformed dimensions."""
    yield x, count.sum(*(d % len(x.shape) for d in dims)).broadcast_to(x.shape)


@rule(aten.view_as_real, linear=True)
def view_as_real(count, x):
    """A complex number as two, which both come from it."""
    yield x, count.sum(-1).reshape(x.shape)
