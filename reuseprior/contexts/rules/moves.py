"""Moving positions: the counts travel the linear map backwards."""

from __future__ import annotations

from functools import partial
from math import prod

import numpy as np

from reuseprior.contexts.array import CountArray, taps, with_axis
from reuseprior.contexts.fixed import entries, fixed
from reuseprior.contexts.rules.registry import Rule, aten, named, rule

moving = partial(rule, linear=True, moves=True)


def _reshaped(operator):
    found = fixed(operator.args[0])
    return found and found.reshape(operator.results[0].shape).values


def _transposed(operator):
    x, *axes = operator.args
    return entries(x).swapaxes(*(axes or (0, -1))) if fixed(x) and x.shape else None


def _permuted(operator):
    found = fixed(operator.args[0])
    return found and found.values.transpose(operator.args[1])


def _expanded(operator):
    return entries(operator.args[0])


def _sliced(operator):
    x, dim, *bounds = (*operator.args, 0)[: max(2, len(operator.args))]
    found = fixed(x)
    if found is None or found.values.shape[dim] == 1:
        return found and found.values
    start, end, step = (*bounds, *(None, None, 1)[len(bounds) :])
    index = (slice(None),) * (dim % len(x.shape)) + (slice(start, end, step),)
    return found.values[index]


def _joined(operator):
    tensors, dim = (*operator.args, 0)[:2]
    tensors = [x for x in tensors if prod(x.shape)]
    found = [fixed(x) for x in tensors]
    if not any(found):
        return None
    dim %= len(tensors[0].shape)
    free = [CountArray.full(x.shape, np.nan, np.float32) for x in tensors]
    parts = [(f or free[i]).expand(dim).values for i, f in enumerate(found)]
    shape = np.broadcast_shapes(*(with_axis(p.shape, dim, 1) for p in parts))
    widened = [np.broadcast_to(p, with_axis(shape, dim, p.shape[dim])) for p in parts]
    return np.concatenate(widened, axis=dim)


@moving(
    *named("view _unsafe_view reshape _reshape_alias unsqueeze squeeze view_copy flatten"),
    fixed=_reshaped,
)
def view(count, x, *_):
    yield x, count.reshape(x.shape)


@moving(aten.numpy_T)
@moving(aten.t, fixed=_transposed)
def t(count, x):
    yield x, count.permute(range(len(x.shape))[::-1])


@moving(aten.transpose, fixed=_transposed)
def transpose(count, x, a, b):
    dims = list(range(len(x.shape)))
    dims[a], dims[b] = dims[b], dims[a]
    yield x, count.permute(dims)


@moving(aten.permute, fixed=_permuted)
def permute(count, x, dims):
    yield x, count.permute(np.argsort([d % len(dims) for d in dims]).tolist())


@moving(aten.expand, fixed=_expanded)
def expand(count, x, *_, **__):
    yield x, count.unbroadcast(x.shape)


@moving(aten.repeat)
def repeat(count, x, repeats):
    lead = len(repeats) - len(x.shape)
    shape = (1,) * lead + x.shape
    split = [n for r, s in zip(repeats, shape, strict=True) for n in (r, s)]
    summed = count.reshape(split).sum(*range(0, len(split), 2))
    yield x, summed.reshape(x.shape)


@rule(aten.cat, linear=True, joins=True, fixed=_joined)
def cat(count, tensors, dim=0):
    start = 0
    for x in tensors:
        if prod(x.shape) == 0:  # an empty tensor of any shape may stand in the list
            continue
        length = x.shape[dim]
        yield x, count.narrow(dim % len(x.shape), start, length)
        start += length


@rule(aten.stack, linear=True, joins=True)
def stack(count, tensors, dim=0):
    dim %= len(count.shape)
    for i, x in enumerate(tensors):
        yield x, count.narrow(dim, i, 1).reshape(x.shape)


@moving(aten.slice, fixed=_sliced)
def slice_(count, x, dim=0, start=None, end=None, step=1):
    dim %= len(x.shape)
    yield x, count.embed(dim, x.shape[dim], slice(*slice(start, end, step).indices(x.shape[dim])))


@moving(aten.select)
def select(count, x, dim, index):
    dim, index = dim % len(x.shape), index % x.shape[dim]
    kept = count.reshape(with_axis(x.shape, dim, 1))
    yield x, kept.embed(dim, x.shape[dim], slice(index, index + 1))


SPLITS = "split split_with_sizes unsafe_split unsafe_split_with_sizes"


@moving(*named(SPLITS), every_result=True)
def split(count, result, x, sizes, dim=0):
    dim %= len(x.shape)
    start = result * sizes if isinstance(sizes, int) else sum(sizes[:result])
    yield x, count.embed(dim, x.shape[dim], slice(start, start + count.shape[dim]))


@moving(aten.unbind, every_result=True)
def unbind(count, result, x, dim=0):
    yield from select(count, x, dim, result)


@rule(aten.unfold, linear=True)
def unfold(count, x, dim, size, step):
    """Windows of `size` along `dim` become a last axis."""
    dim %= len(x.shape)
    total = None
    windows = taps(x.shape[dim], count.shape[dim], size, step, 0, 1)
    for tap, (source, result) in enumerate(windows):
        at_tap = count.narrow(len(x.shape), tap, 1).reshape(count.shape[:-1])
        part = at_tap.narrow(dim, result.start, result.stop - result.start)
        part = part.embed(dim, x.shape[dim], source)
        total = part if total is None else total + part
    yield x, total


# Pads are given as (before, after) from the last axis backwards.


@rule(aten.constant_pad_nd, linear=True)
def constant_pad(count, x, pads, value=0):
    for axis, before in zip(reversed(range(len(x.shape))), pads[::2], strict=False):
        size = x.shape[axis]
        first, last = max(0, -before), min(size, count.shape[axis] - before)  # a negative pad crops
        kept = count.narrow(axis, first + before, last - first)
        count = kept.embed(axis, size, slice(first, last))
    yield x, count


def _pad(mode: str) -> Rule:
    """Padding with the tensor's own entries, as numpy's mode of that name."""

    def pad(count, x, pads):
        axes = reversed(range(len(x.shape)))
        for axis, around in zip(axes, zip(pads[::2], pads[1::2], strict=True), strict=False):
            positions = np.pad(np.arange(x.shape[axis]), around, mode=mode)
            count = count.scatter_add(axis, positions, x.shape[axis])
        yield x, count

    return pad


REFLECTED = "reflection_pad1d reflection_pad2d reflection_pad3d"
REPLICATED = "replication_pad1d replication_pad2d replication_pad3d"
rule(*named(REFLECTED), linear=True)(_pad("reflect"))
rule(*named(REPLICATED), linear=True)(_pad("edge"))


@moving(aten.pixel_shuffle)
def pixel_shuffle(count, x, factor):  # (…, C·f², H, W) -> (…, C, H·f, W·f)
    *lead, channels, height, width = x.shape
    parts = count.reshape((*lead, channels // factor**2, height, factor, width, factor))
    n = len(lead)
    order = (*range(n), n, n + 2, n + 4, n + 1, n + 3)
    yield x, parts.permute(order).reshape(x.shape)


@moving(aten.pixel_unshuffle)
def pixel_unshuffle(count, x, factor):  # (…, C, H·f, W·f) -> (…, C·f², H, W)
    *lead, channels, height, width = x.shape
    parts = count.reshape((*lead, channels, factor, factor, height // factor, width // factor))
    n = len(lead)
    order = (*range(n), n, n + 3, n + 1, n + 4, n + 2)
    yield x, parts.permute(order).reshape(x.shape)


@moving(aten.roll)
def roll(count, x, shifts, dims=()):
    if not dims:  # of all entries in order
        count, dims = count.reshape((prod(x.shape),)), (0,)
    values = count.values
    for shift, dim in zip(shifts, dims, strict=True):
        if values.shape[dim] != 1:
            values = np.roll(values, -shift, axis=dim)
    yield x, CountArray(values, count.shape).reshape(x.shape)


@moving(aten.flip)
def flip(count, x, dims):
    yield x, CountArray(np.flip(count.values, dims), x.shape)
