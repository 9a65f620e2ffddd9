"""Results that data choose: whatever may be chosen is a source, as in a maximum."""

from __future__ import annotations

import numpy as np
import torch

from reuseprior.contexts.array import CountArray
from reuseprior.contexts.errors import CountingError
from reuseprior.contexts.record import Node
from reuseprior.contexts.rules.registry import aten, rule


@rule(aten.topk, linear=False, every_result=True)
def topk(count, result, x, _k, dim=-1, *_, **__):
    """Every entry of a row may be among its greatest; their positions carry no value."""
    if result == 0:
        yield x, count.sum(dim)


@rule(aten.sort, linear=False, every_result=True)
def sort(count, result, x, *arguments, dim=-1, **_):
    """Every entry of a row may come to stand at every place."""
    dim = next((a for a in arguments if not isinstance(a, bool) and a is not None), dim)
    yield from topk(count, result, x, None, dim)


@rule(aten.scatter_reduce, aten.scatter_reduce_, linear=False)
def scatter_reduce(count, x, dim, index, source, _reduce, *, include_self=True):
    """Each entry is a source of where it lands: sums, averages, and what may be the greatest."""
    dim, positions = dim % len(x.shape), index.data()
    within = tuple(slice(n) for n in positions.shape)
    numbers = torch.arange(int(np.prod(x.shape))).reshape(x.shape)
    landed = torch.gather(numbers, dim, positions).reshape(-1).numpy()
    flat = np.broadcast_to(count.values, count.shape).reshape(-1)
    given = np.zeros(source.shape, flat.dtype)  # entries beyond the index go nowhere
    given[within] = flat[landed].reshape(positions.shape)
    yield source, CountArray(given, source.shape).compressed()
    if not include_self:
        flat = flat.copy()
        flat[landed] = 0
    yield x, CountArray(flat.reshape(x.shape), x.shape).compressed()


@rule(aten.grid_sampler_2d, aten.grid_sampler_3d, linear=False)
def grid_sampler(count, x, grid, interpolation, padding, align_corners):
    """Of positions that data give, every one may be sampled; of constant ones, the neighbours."""
    *_, channel = count.shape[0], 1
    axes = range(2, len(x.shape))
    yield grid, count.sum(channel).reshape((*grid.shape[:-1], 1))
    if grid.varies:
        yield x, count.sum(*axes)
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
    values = np.broadcast_to(
        count.values, (*count.shape[:1], count.values.shape[1], *count.shape[2:])
    )
    made = np.zeros((*values.shape[:2], int(np.prod(sizes))), values.dtype)
    for corner in np.ndindex(*(len(p) for p in places)):
        chosen = [p[i] for p, i in zip(places, corner, strict=True)]
        inside = torch.stack([c >= 0 for c in chosen]).all(0).numpy()
        flat = np.ravel_multi_index([c.clamp(min=0).numpy() for c in chosen], sizes)
        for sample in range(len(made)):
            taken = values[sample][:, inside[sample]]
            np.add.at(made[sample].T, flat[sample][inside[sample]], taken.T)
    return CountArray(made.reshape((*values.shape[:2], *sizes)), x.shape)
