"""Moving and picking positions: the counts travel the linear map backwards."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import partial
from math import prod

import numpy as np
import torch
from torch.nn import functional as F

from reuseprior.contexts.array import CountArray, taps, with_axis
from reuseprior.contexts.record import Node, entries, fixed, follow, map_nodes, overwrite_view
from reuseprior.contexts.rules import RULES, Rule, aten, named, rule
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
    """Padding with the tensor's own entries, which torch says by their numbers."""

    def pad(count, x, pads):
        axes = reversed(range(len(x.shape)))
        for axis, around in zip(axes, zip(pads[::2], pads[1::2], strict=True), strict=False):
            numbers = torch.arange(x.shape[axis], dtype=torch.float64)[None]
            positions = F.pad(numbers, around, mode=mode)[0].long().numpy()
            count = count.scatter_add(axis, positions, x.shape[axis])
        yield x, count

    return pad


REFLECTED = "reflection_pad1d reflection_pad2d reflection_pad3d"
REPLICATED = "replication_pad1d replication_pad2d replication_pad3d"
rule(*named(REFLECTED), linear=True)(_pad("reflect"))
rule(*named(REPLICATED), linear=True)(_pad("replicate"))


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


def _picking(operator: Callable, **traits) -> None:
    """Register a rule for an operator that only picks positions of its first argument."""

    @rule(operator, linear=True, **traits)
    def pick(count, x, *arguments, **keywords):
        yield from _picked(operator, count, x, *arguments, **keywords)


def _picked(operator: Callable, count, x, *arguments, **keywords):
    """Adjoint of the operator run on the positions' numbers."""
    picked = operator(_numbered(x.shape), *map_nodes(arguments, Node.data), **keywords)
    flat = count.reshape((prod(count.shape),))
    met = flat.scatter_add(0, picked.reshape(-1).long().numpy(), prod(x.shape) + 1)
    yield x, met.narrow(0, 1, prod(x.shape)).reshape(x.shape)


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
        yield from _picked(INDEX, count, x, indices)
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
        yield from _picked(GATHER, count, x, dim, indices)
    else:
        count = count.sum(dim) if x.shape else count
        yield x, _within(count, x.shape, dim % max(1, len(x.shape)))


@rule(*named("scatter"), linear=True)
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
    positions = indices.data()
    numbers = torch.arange(prod(x.shape)).reshape(x.shape)
    landed = torch.gather(numbers, dim, positions).reshape(-1).numpy()
    flat = count.reshape((prod(x.shape),)).expand(0).values
    if isinstance(source, Node):
        given = np.zeros(source.shape, flat.dtype)  # entries beyond the index go nowhere
        given[tuple(map(slice, positions.shape))] = flat[landed].reshape(positions.shape)
        yield source, CountArray(given, source.shape).compressed()
    if reduce is not None:
        yield x, count
        return
    kept = flat.copy()
    kept[landed] = 0
    yield x, CountArray(kept, flat.shape).reshape(x.shape).compressed()


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
    yield from _picked(lambda *given: PACK(*given)[0], count, x, lengths, batch_first)


_picking(aten.as_strided, of_memory=True)
_picking(aten.diagonal, moves=True)
_picking(aten.channel_shuffle, moves=True)
_picking(aten.rot90, moves=True)
_picking(aten.im2col)


@rule(aten.col2im, linear=True)
def col2im(count, x, _size, *windows):
    """The adjoint of im2col: every entry of a column lands in one place, or on padding."""
    flat = count.reshape((prod(count.shape),)).expand(0).values
    landed = F.unfold(_numbered(count.shape), *windows)
    values = np.concatenate([np.zeros(1, flat.dtype), flat])[landed.reshape(-1).long().numpy()]
    yield x, CountArray(values, (len(values),)).reshape(x.shape)


def _numbered(shape) -> torch.Tensor:
    """Positions numbered from 1, so that 0 means padding; floats, as some operators ask for."""
    return torch.arange(1, prod(shape) + 1, dtype=torch.float64).reshape(shape)


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
    numbers = torch.arange(prod(base.shape)).reshape(base.shape)
    written = follow(path, numbers).reshape(-1).numpy()
    flat = count.reshape((prod(base.shape),)).expand(0).values
    if len(written) and np.bincount(written, minlength=1).max() > 1:
        raise CountingError(
            "A tensor is written to through a view that holds some of its entries more than "
            "once, so what they keep is undefined: write to a contiguous copy instead."
        )
    kept = flat.copy()
    kept[written] = 0
    yield value, CountArray(flat[written], (len(written),)).reshape(value.shape)
    yield base, CountArray(kept, flat.shape).reshape(base.shape)


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
