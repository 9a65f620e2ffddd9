"""Sums, matrix products, and choices of the greatest."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch

from reuseprior.contexts.array import CountArray
from reuseprior.contexts.rules import Rule, aten, rule
from reuseprior.contexts.trace import Node, certain
from reuseprior.errors import CountingError


@rule(aten.sum, linear=True)
@rule(aten.mean, linear=True, whole_average=True, step="average")
@rule(aten.amax, aten.amin, aten.linalg_vector_norm, aten.logsumexp, linear=False)
@rule(aten.norm, aten.std, linear=False)
@rule(aten.var, linear=False, step="variance")
def reduction(count, x, *arguments, dim=None, **_):
    """Every entry that a result sums up is a source of it.

    The dimensions may stand anywhere: a norm's order goes before them.
    """
    dim = next((a for a in arguments if isinstance(a, (list, tuple))), dim)
    axes = [dim] if isinstance(dim, int) else dim or range(len(x.shape))
    axes = {axis % len(x.shape) for axis in axes}
    if len(count.shape) == len(x.shape):
        count = count.sum(*axes)
    yield x, count.reshape([1 if a in axes else n for a, n in enumerate(x.shape)])


@rule(aten.var_mean, aten.std_mean, aten.aminmax, linear=False, every_result=True)
def two_reductions(count, _result, x, *arguments, **keywords):
    yield from reduction(count, x, *arguments, **keywords)


@rule(aten.prod, linear=False)
def product_of_entries(count, x, dim=None, *_, **__):
    yield from reduction(count, x, dim=dim)


@rule(aten.max, aten.min, aten.median, aten.nanmedian, linear=False, every_result=True)
def choice_from_one_axis(count, result, x, dim=None, *_, **__):
    """Any entry may be the one that is chosen; its position carries no value."""
    if result == 0:
        yield from reduction(count, x, dim=dim)


@rule(aten.cumsum, linear=True)
@rule(aten.cumprod, aten.logcumsumexp, linear=False)
def cumsum(count, x, dim, **_):
    values = count.expand(dim).values
    dim = dim % len(x.shape)
    yield x, CountArray(np.flip(np.cumsum(np.flip(values, dim), axis=dim), dim), x.shape)


@rule(aten.cummax, aten.cummin, linear=False, every_result=True)
def choice_so_far(count, result, x, dim):
    """Any entry up to a position may be the greatest there; where it stands carries no value."""
    if result == 0:
        yield from cumsum(count, x, dim)


@rule(aten.mm, aten.bmm, aten._sparse_mm, factors=(0, 1), layer=True)
def product(count, a, b, *_):  # (…, n, k) @ (…, k, m) -> (…, n, m)
    """A factor that is always zero, as attention is behind a mask, uses nothing of the other."""
    for x, other, axis in ((a, b, -1), (b, a, -2)):
        met = certain(other)
        yield x, count.sum(axis) if met is None else _meeting(count, x, met, axis)


def _meeting(count: CountArray, x: Node, met: np.ndarray, axis: int) -> CountArray:
    """The counts of a factor x: those of the products along `axis` whose other factor is not 0."""
    counts = (count.expand(axis) if met.shape[axis] > 1 else count.sum(axis)).values
    met = met.astype(counts.dtype).swapaxes(-1, -2)
    return CountArray(counts @ met if axis == -1 else met @ counts, x.shape)


def _outer_product(count, a, b):  # (n,), (m,) -> (n, m)
    yield a, count.sum(1).reshape(a.shape)
    yield b, count.sum(0).reshape(b.shape)


@rule(aten.linalg_cross, factors=(0, 1), multiplies=0)
def cross_product(count, a, b, *, dim=-1):
    """Each of a result's three entries depends on the two others of both factors."""
    first, second = (
        count.gather(dim % len(count.shape), (np.arange(3) + shift) % 3) for shift in (1, 2)
    )
    yield a, (first + second).unbroadcast(a.shape)
    yield b, (first + second).unbroadcast(b.shape)


@rule(aten.mv, factors=(0, 1), layer=True, multiplies=0)
def mv(count, matrix, vector):  # (n, k) @ (k,) -> (n,)
    yield matrix, count.reshape((matrix.shape[0], 1))
    yield vector, count.sum(0)


def _added_to(product: Rule) -> Rule:
    def sum_and_product(count, bias, a, b, *_, beta=1, **__):
        """A factor of zero is torch's way to say that the first summand is not looked at.

        Where the products of a batch are added up, each of them has the counts of the sum.
        """
        if beta != 0:
            yield bias, count.unbroadcast(bias.shape)
        yield from product(count, a, b)

    return sum_and_product


_sum = partial(rule, factors=(1, 2))
_sum(aten.addmm, aten.baddbmm, aten._sparse_addmm, layer=True)(_added_to(product))
_sum(aten.addbmm, layer=True, multiplies=1)(_added_to(product))
_sum(aten.addmv, layer=True, multiplies=1)(_added_to(mv))
_sum(aten.addr, multiplies=1)(_added_to(_outer_product))


@rule(aten.dot, aten.vdot, factors=(0, 1), multiplies=0)
def dot(count, a, b):
    yield a, count.reshape((1,))
    yield b, count.reshape((1,))


@rule(aten._trilinear, linear=False, multiplies=1)
def trilinear(count, a, b, c, widened_a, widened_b, widened_c, summed, *_):
    """A sum of products of three, each widened along some axes first."""
    operands = ((a, widened_a), (b, widened_b), (c, widened_c))
    shapes = [_with_ones(x.shape, widened) for x, widened in operands]
    whole = count.reshape(_with_ones(count.shape, summed))
    whole = whole.broadcast_to(np.broadcast_shapes(*shapes))
    for (x, _), shape in zip(operands, shapes, strict=True):
        yield x, whole.unbroadcast(shape).reshape(x.shape)


def _with_ones(shape, axes) -> tuple[int, ...]:
    """The shape with axes of length 1 at places of the result."""
    return np.expand_dims(np.broadcast_to(0, shape), tuple(axes)).shape


@rule(aten._cdist_forward, linear=False, multiplies=0)
def distances(count, a, b, *_):  # (…, n, k), (…, m, k) -> (…, n, m)
    yield a, count.sum(-1)
    yield b, count.sum(-2).reshape((*b.shape[:-1], 1))


@rule(aten._pdist_forward, linear=False, multiplies=0)
def distances_within(count, x, *_):  # (n, k) -> (n (n - 1) / 2,)
    first, second = np.triu_indices(x.shape[0], 1)
    yield x, count.scatter_add(0, first, x.shape[0]).reshape((x.shape[0], 1))
    yield x, count.scatter_add(0, second, x.shape[0]).reshape((x.shape[0], 1))


@rule(aten.affine_grid_generator, linear=True)
def affine_grid(count, theta, *_):  # (N, 2, 3) -> (N, height, width, 2)
    summed = count.sum(*range(1, len(count.shape) - 1))
    yield theta, summed.reshape((*theta.shape[:-1], 1))


# Each result of a Fourier transform depends on all entries along its axes, real and imaginary.


@rule(aten._fft_r2c, aten._fft_c2c, aten._fft_c2r, linear=True)
def fourier(count, x, dim, *_):
    yield x, count.sum(*dim)


@rule(aten.view_as_real, linear=True)
def view_as_real(count, x):
    yield x, count.sum(-1).reshape(x.shape)


@rule(aten.view_as_complex, linear=True)
def view_as_complex(count, x):
    yield x, count.reshape((*x.shape[:-1], 1))


# Functions of whole matrices, of which every entry of a result depends on every entry ------------

WHOLE = (
    aten.linalg_inv_ex, aten.linalg_matrix_exp, aten.linalg_pinv, aten._linalg_det,
    aten._linalg_slogdet, aten._linalg_svd, aten._linalg_eigh, aten.linalg_eig, aten.linalg_qr,
    aten._linalg_eigvals, aten.linalg_cholesky_ex, aten.linalg_lu_factor_ex, aten.linalg_lu,
    aten.cholesky_inverse,
)  # fmt: skip


@rule(*WHOLE, linear=False, every_result=True)
def of_matrix(count, _result, x, *_, **__):
    """Inverses, exponentials, determinants, singular values: all of a matrix in each of them."""
    batch = len(x.shape) - 2
    total = count.sum(*range(batch, len(count.shape)))
    yield x, total.reshape((*x.shape[:batch], 1, 1))


@rule(aten._linalg_solve_ex, linear=False)
def solve(count, matrix, right, *, left=True, **_):
    """A solution depends on the whole matrix and on its own column of the right-hand side.

    With `left=False` it is a row, and a vector is a column by itself.
    """
    batch = len(matrix.shape) - 2
    is_vector = len(right.shape) == batch + 1
    total = count.sum(*range(batch, len(count.shape)))
    yield matrix, total.reshape((*matrix.shape[:batch], 1, 1))
    yield right, count.sum(-1 if is_vector or not left else -2).broadcast_to(right.shape)


@rule(aten.linalg_solve_triangular, linear=False)
def solve_triangular(count, matrix, right, *, upper, left=True, unitriangular=False):
    """Row r of a lower triangle is a source of a solution's rows from r on, and so is the right's.

    Of an upper one it is those up to r; with `left=False` rows are columns, and it is the other.
    """
    axis = -2 if left else -1
    values = count.expand(axis).values
    met = CountArray(np.cumsum(values, axis), count.shape)
    if upper is not left:
        ((_, met),) = cumsum(count, right, axis)
    yield right, met.unbroadcast(right.shape)
    size = matrix.shape[-1]
    inside = np.tri(size, k=-int(unitriangular), dtype=bool)
    summed = met.sum(-3 - axis).values
    values = np.where(inside.T if upper else inside, summed, 0)
    yield matrix, CountArray(values, (*count.shape[:-2], size, size)).unbroadcast(matrix.shape)


# Results that data choose: whatever may be chosen is a source, as in a maximum -------------------


@rule(aten.topk, aten.kthvalue, linear=False, every_result=True)
def choice_by_rank(count, result, x, _k, dim=-1, *_, **__):
    """Every entry of a row may be among its greatest."""
    yield from choice_from_one_axis(count, result, x, dim)


@rule(aten.sort, aten.mode, linear=False, every_result=True)
def sort(count, result, x, *arguments, dim=-1, **_):
    """Every entry of a row may come to stand at every place."""
    dim = next((a for a in arguments if not isinstance(a, bool) and a is not None), dim)
    yield from choice_from_one_axis(count, result, x, dim)


@rule(aten.grid_sampler_2d, aten.grid_sampler_3d, linear=False)
def grid_sampler(count, x, grid, interpolation, padding, align_corners):
    """Of positions that data give, every one may be sampled; of constant ones, the neighbours."""
    yield grid, count.sum(1).reshape((*grid.shape[:-1], 1))
    if grid.varies:
        yield x, count.sum(*range(2, len(x.shape)))
    else:
        yield x, _neighbours(count, x, grid.data(), interpolation, padding, align_corners)


def _neighbours(count, x: Node, grid, interpolation: int, padding: int, align_corners: bool):
    """Adjoint of sampling at constant positions, each of a result's neighbours a source once."""
    sizes = x.shape[2:]
    if padding == 2:
        raise CountingError("samples beyond the edge are reflected: pad with zeros or the border")
    if interpolation == 2:
        raise CountingError("samples are bicubic: interpolate linearly or take the nearest")
    places = []  # for each axis, the candidates (before, after), -1 where there is none
    for axis, size in enumerate(sizes):
        at = grid[..., len(sizes) - 1 - axis].double()  # the last axis comes first
        at = (at + 1) / 2 * (size - 1) if align_corners else ((at + 1) * size - 1) / 2
        if padding == 1:
            at = at.clamp(0, size - 1)
        if interpolation == 1:
            near = [at.round()]
        else:
            before, after = torch.floor(at + 1e-9), torch.ceil(at - 1e-9)
            near = [before, torch.where(after == before, -1.0, after)]
        places.append([torch.where((n >= 0) & (n < size), n, -1).long() for n in near])
    values = count.expand(0, *range(2, len(count.shape))).values
    sums = np.zeros((*values.shape[:2], int(np.prod(sizes))), values.dtype)
    for corner in np.ndindex(*(len(p) for p in places)):
        chosen = [p[i] for p, i in zip(places, corner, strict=True)]
        inside = torch.stack([c >= 0 for c in chosen]).all(0).numpy()
        flat = np.ravel_multi_index([c.clamp(min=0).numpy() for c in chosen], sizes)
        for sample in range(len(sums)):
            taken = values[sample][:, inside[sample]]
            np.add.at(sums[sample].T, flat[sample][inside[sample]], taken.T)
    return CountArray(sums.reshape((*values.shape[:2], *sizes)), x.shape)
