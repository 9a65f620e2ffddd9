"""Moving and picking positions: the counts travel the linear map backwards."""

from __future__ import annotations

from fractions import Fraction
from functools import partial
from math import prod

import numpy as np
import torch

from reuseprior.contexts.array import CountArray, with_axis
from reuseprior.contexts.record import Node, entries, fixed, follow, overwrite_view
from reuseprior.contexts.rules import RULES, aten, derived, named, no_rule, rule
from reuseprior.contexts.rules.elementwise import as_it_is
from reuseprior.errors import CountingError

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


@moving(aten.expand, fixed=as_it_is)
def expand(count, x, *_, **__):
    yield x, count.unbroadcast(x.shape)


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


# Pads are given as (before, after) from the last axis backwards.


@rule(aten.constant_pad_nd, linear=True)
def constant_pad(count, x, pads, value=0):
    for axis, before in zip(reversed(range(len(x.shape))), pads[::2], strict=False):
        size = x.shape[axis]
        first, last = max(0, -before), min(size, count.shape[axis] - before)  # a negative pad crops
        kept = count.narrow(axis, first + before, last - first)
        count = kept.embed(axis, size, slice(first, last))
    yield x, count


@moving(aten.roll)
def roll(count, x, shifts, dims=()):
    if not dims:  # of all entries in order
        count, dims = count.reshape((prod(x.shape),)), (0,)
    values = count.values
    for shift, dim in zip(shifts, dims, strict=True):
        if values.shape[dim] != 1:
            values = np.roll(values, -shift, axis=dim)
    yield x, CountArray(values, count.shape).reshape(x.shape)


PADS = """
    reflection_pad1d reflection_pad2d reflection_pad3d
    replication_pad1d replication_pad2d replication_pad3d
"""
no_rule(
    *named("channel_shuffle diagonal flip pixel_shuffle pixel_unshuffle repeat rot90"),
    linear=True, adds=True, moves=True,
)  # fmt: skip
no_rule(aten.as_strided, linear=True, adds=True, of_memory=True)
no_rule(*named(PADS), *named("col2im im2col unfold"), linear=True, adds=True)


# Entries picked by positions, which must follow from constants: the model's structure ------------


@rule(aten.embedding, linear=True, chooses=1)
def embedding(count, table, indices, *_):
    """Token ids without values may be any, so that all rows are sources."""
    axes = range(len(indices.shape))
    if indices.has_parameters:
        yield table, _routed(count, table, len(axes))
    elif _may_be_any(indices):
        yield table, count.sum(*axes).reshape((1, *table.shape[1:]))
    else:
        positions = indices.data().reshape(-1).numpy()
        if len(positions) and positions.max() >= table.shape[0]:
            raise CountingError(
                f"row {positions.max():,} is asked of a table of {table.shape[0]:,}, from 0 on: "
                "give a shorter input, or ids that it has"
            )
        rows = count.reshape((len(positions), *table.shape[1:]))
        yield table, rows.scatter_add(0, positions, table.shape[0])
    yield indices, count.sum(*range(len(axes), len(count.shape))).reshape(indices.shape)


def _may_be_any(indices: Node) -> bool:
    """Whether positions follow from an input without values, as token ids do."""
    return indices.varies and not indices.lost and not indices.has_parameters


def _routed(count: CountArray, table: Node, axes: int) -> CountArray:
    """Rows of a parameter that the model itself chooses, experts say: each is chosen as often.

    So that a row's counts are an expectation, and may be below one.
    """
    chosen = count.sum(*range(axes)).reshape((1, *table.shape[1:]))
    share = Fraction(1, table.shape[0]) if count.values.dtype == object else 1 / table.shape[0]
    return chosen * share


@rule(aten._embedding_bag, aten._embedding_bag_forward_only, linear=True, chooses=1)
def embedding_bag(count, table, indices, offsets, *settings):
    """Each row of a bag is a source of the bag's sum, average or greatest, but for padding.

    A weight is a source of all that its row makes.
    """
    weights, _, padding = (*settings, *(False, 0, False, None, False, -1)[len(settings) :])[3:]
    size, starts = prod(indices.shape), offsets.data().numpy()
    bags = np.searchsorted(starts[: count.shape[0]], np.arange(size), side="right") - 1
    if _may_be_any(indices):
        read, rows = np.arange(size), np.arange(table.shape[0])
        rows = rows[rows != padding]
        of_each = count.gather(0, bags).sum(0).gather(0, np.zeros_like(rows))
    else:
        positions = indices.data().reshape(-1).numpy()
        (read,) = (positions != padding).nonzero()
        rows, of_each = positions[read], count.gather(0, bags[read])
    yield table, of_each.scatter_add(0, rows, table.shape[0])
    if weights is not None:
        of_weights = count.gather(0, bags[read]).sum(1)
        yield weights, of_weights.scatter_add(0, read, size).reshape(weights.shape)


@rule(aten.index_select, linear=True, moves=True, chooses=2)
def index_select(count, x, dim, indices):
    positions = indices.data().reshape(-1).numpy()
    yield x, count.scatter_add(dim % len(x.shape), positions, x.shape[dim])


INDEX = aten.index


@rule(INDEX, linear=True, moves=True, masks=1, chooses=1)
def index(count, x, indices):
    first, *others = indices
    if x.is_view_of_parameter and first is not None and first.has_parameters and not any(others):
        yield x, _routed(count, x, len(first.shape))
        return
    if x.is_view_of_parameter and first is not None and _may_be_any(first) and not any(others):
        yield x, count.sum(*range(len(first.shape))).reshape((1, *x.shape[1:]))
        return
    lead = next(axis for axis, table in enumerate(indices) if table is not None)
    tables = indices[lead:]
    if None in tables or 0 in count.shape:
        yield from derived(INDEX, count, x, indices)
        return
    tables = [table.data() for table in tables]
    after = lead + sum(t.ndim if t.dtype in (torch.bool, torch.uint8) else 1 for t in tables)
    size = prod(x.shape[lead:after])
    positions = torch.arange(size).reshape(x.shape[lead:after])[tuple(tables)].reshape(-1).numpy()
    picked = count.reshape((*x.shape[:lead], len(positions), *x.shape[after:]))
    yield x, picked.scatter_add(lead, positions, size).reshape(x.shape)


GATHER = aten.gather


@rule(GATHER, linear=True, chooses=2)
def gather(count, x, dim, indices, **_):
    """Where data say the positions, every one along the axis may be chosen, as in a maximum."""
    if _are_constant(indices):
        yield from derived(GATHER, count, x, dim, indices)
    else:
        count = count.sum(dim) if x.shape else count
        yield x, _within(count, x.shape, dim % max(1, len(x.shape)))


ADDED, SCATTER = aten.scatter_add, aten.scatter


@rule(SCATTER, aten.scatter_, linear=True)
def scatter(count, x, dim, indices, source, *, reduce=None):
    """What data may overwrite may stay, and the source may come to stand all along the axis.

    What is added or multiplied overwrites nothing.
    """
    if not _are_constant(indices):
        yield x, count
        if isinstance(source, Node):
            part = count.sum(dim)
            for axis, size in enumerate(indices.shape):
                part = part.narrow(axis, 0, min(size, part.shape[axis]))
            yield source, _within(part.broadcast_to(indices.shape), source.shape)
        return
    if isinstance(source, Node):
        yield from _landed(ADDED if reduce else SCATTER, count, x, dim, indices, source)
    elif reduce:
        yield x, count
    else:
        yield from derived(SCATTER, count, x, dim, indices, source)


@rule(*named("scatter_reduce"), linear=False)
def scatter_reduce(count, x, dim, index, source, _reduce, *, include_self=True):
    """Each entry is a source of where it lands: sums, averages, and what may be the greatest."""

    def added(x, dim, index, source):
        return ADDED(x if include_self else SCATTER(x, dim, index, 0.0), dim, index, source)

    yield from _landed(added, count, x, dim, index, source)


def _landed(function, count, x, dim, indices, source):
    """Entries of the source beyond the indices go nowhere."""

    def run(x, indices, source):
        return function(x, dim, indices, source[tuple(map(slice, indices.shape))])

    yield from derived(run, count, x, indices, source)


def _are_constant(indices: Node) -> bool:
    """Whether positions follow from constants, or ought to (`data` says what is wrong)."""
    return bool(indices.lost) or not indices.varies


def _within(count: CountArray, shape: tuple[int, ...], but: int | None = None) -> CountArray:
    """Counts at the start of a larger shape, zeros beyond, along all axes but one."""
    for axis, size in enumerate(shape):
        if axis != but:
            count = count.embed(axis, size, slice(0, count.shape[axis]))
    return count


PACK = aten._pack_padded_sequence


@rule(PACK, linear=True, reads=1)
def pack(count, x, lengths, batch_first):
    """Steps of sequences of several lengths, one after the other, without their padding."""
    yield from derived(lambda *given: PACK(*given)[0], count, x, lengths, batch_first)


@rule(overwrite_view, linear=True)
def overwrite(count, base, value, path):
    """A tensor written to through a view: the view's part comes from `value`, the rest stays."""
    if not prod(value.shape):
        yield base, count
        return
    box = _box(path, base.shape)
    if box is not None:
        sizes = [len(range(size)[own]) for own, size in zip(box, base.shape, strict=True)]
        written = count.values[_stored(box, count.values)]
        yield value, CountArray(written, sizes).reshape(value.shape)
        partly = [axis for axis, size in enumerate(sizes) if size < base.shape[axis]]
        kept = count.expand(*partly).values.copy()
        kept[_stored(box, kept)] = 0
        yield base, CountArray(kept, base.shape)
        return
    written = follow(path, torch.arange(prod(base.shape)).reshape(base.shape))
    if len(written.unique()) < written.numel():
        raise CountingError(
            "A tensor is written to through a view that holds some of its entries more than "
            "once, so what they keep is undefined: write to a contiguous copy instead."
        )
    yield from derived(overwrite_view, count, base, value, path)


def _box(path: tuple, shape: tuple[int, ...]) -> list[slice] | None:
    """What a view holds of each axis, where slices and single positions are all that made it."""
    if any(RULES.get(function) not in (select, slice_, split, unbind) for function, *_ in path):
        return None
    box = []
    for axis, size in enumerate(shape):
        numbers = torch.arange(size).reshape(with_axis((1,) * len(shape), axis, size))
        view = follow(path, numbers.expand(shape))
        along = view[tuple(slice(None) if step else 0 for step in view.stride())]
        first, *others = along.reshape(-1).tolist()
        last, step = (others[-1], others[0] - first) if others else (first, 1)
        box.append(slice(first, last + 1, step))
    return box


def _stored(box: list[slice], values: np.ndarray) -> tuple[slice, ...]:
    """A box among stored counts, whose equal axes are stored once."""
    return tuple(own if n > 1 else slice(None) for own, n in zip(box, values.shape, strict=True))
