"""Moving and picking positions: the counts travel the linear map backwards."""

from __future__ import annotations

from fractions import Fraction
from functools import partial
from math import prod

import numpy as np
import torch

from reuseprior.contexts.array import CountArray, with_axis
from reuseprior.contexts.rules import RULES, aten, derived, named, no_rule, rule
from reuseprior.contexts.trace import Node, fixed, follow, moved, overwrite_view, stored
from reuseprior.errors import CountingError

moving = partial(rule, linear=True, moves=True)


def _reshaped(operator):
    entries_of = fixed(operator.args[0])
    return entries_of and entries_of.reshape(operator.results[0].shape).values


@moving(
    *named("view _unsafe_view reshape _reshape_alias unsqueeze squeeze view_copy flatten"),
    fixed=_reshaped,
)
def view(count, x, *_):
    yield x, count.reshape(x.shape)


@moving(aten.t, aten.transpose, fixed=moved)
def transpose(count, x, a=0, b=-1):
    dims = list(range(len(x.shape)))
    if dims:
        dims[a], dims[b] = dims[b], dims[a]
    yield x, count.permute(dims)


@moving(aten.permute, fixed=moved)
def permute(count, x, dims):
    yield x, count.permute(np.argsort([d % len(dims) for d in dims]).tolist())


@moving(aten.expand, fixed=moved)
def expand(count, x, *_, **__):
    yield x, count.unbroadcast(x.shape)


@rule(aten.cat, linear=True, joins=True, fixed=moved)
def cat(count, tensors, dim=0):
    start = 0
    for x in tensors:
        if prod(x.shape) == 0:  # an empty tensor of any shape may stand in the list
            continue
        length = x.shape[dim]
        yield x, count.narrow(dim % len(x.shape), start, length)
        start += length


@moving(aten.slice, fixed=moved)
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


PADS = """
    reflection_pad1d reflection_pad2d reflection_pad3d
    replication_pad1d replication_pad2d replication_pad3d
"""
no_rule(
    *named("channel_shuffle diagonal flip pixel_shuffle pixel_unshuffle repeat roll rot90"),
    linear=True, adds=True, moves=True,
)  # fmt: skip
no_rule(aten.as_strided, linear=True, adds=True, of_memory=True)
no_rule(aten.stack, linear=True, adds=True, joins=True)
no_rule(*named(PADS), *named("col2im im2col unfold"), linear=True, adds=True)


# Entries picked by positions, which must follow from constants: the model's structure ------------


@rule(aten.embedding, linear=True, chooses=1)
def embedding(count, table, indices, *_):
    """Token ids without values may be any, so that all rows are sources."""
    if indices.has_parameters or _may_be_any(indices):
        yield table, _of_any_row(count, table, indices)
    else:
        positions = indices.data().reshape(-1).numpy()
        if len(positions) and positions.max() >= table.shape[0]:
            raise CountingError(
                f"row {positions.max():,} is asked of a table of {table.shape[0]:,}, from 0 on: "
                "give a shorter input, or ids that it has"
            )
        rows = count.reshape((len(positions), *table.shape[1:]))
        yield table, rows.scatter_add(0, positions, table.shape[0])
    each = count.sum(*range(len(indices.shape), len(count.shape)))
    yield indices, each.reshape(indices.shape)


def _may_be_any(indices: Node) -> bool:
    """Whether positions follow from an input without values, as token ids do."""
    return indices.varies and not indices.lost and not indices.has_parameters


def _of_any_row(count: CountArray, table: Node, indices: Node) -> CountArray:
    """Rows that ids without values choose; of those that the model itself does, each as often.

    So that counts of experts, say, are an expectation, and may be below one.
    """
    chosen = count.sum(*range(len(indices.shape))).reshape((1, *table.shape[1:]))
    if not indices.has_parameters:
        return chosen
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
    if x.is_view_of_parameter and first is not None and not any(others):  # as an embedding
        if first.has_parameters or _may_be_any(first):
            yield x, _of_any_row(count, x, first)
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
    elif isinstance(source, Node):
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
    yield from derived(lambda *arguments: PACK(*arguments)[0], count, x, lengths, batch_first)


@rule(overwrite_view, linear=True)
def overwrite(count, base, value, path):
    """A tensor written to through a view: the view's part comes from `value`, the rest stays."""
    if not prod(value.shape):
        yield base, count
        return
    box = _box(path, base.shape)
    if box is not None:
        sizes = [len(range(size)[part]) for part, size in zip(box, base.shape, strict=True)]
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
        along = stored(follow(path, numbers.expand(shape))).flatten().tolist()
        step = along[1] - along[0] if len(along) > 1 else 1
        box.append(slice(along[0], along[-1] + 1, step))
    return box


def _stored(box: list[slice], values: np.ndarray) -> tuple[slice, ...]:
    """A box among stored counts, whose equal axes are stored once."""
    return tuple(part if n > 1 else slice(None) for part, n in zip(box, values.shape, strict=True))
