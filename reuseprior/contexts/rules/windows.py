"""Windows over positions: convolutions, pools, interpolation, boxes, deformed and random ones."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import numpy as np
import torch

from reuseprior.contexts.array import CountArray, Tap, taps, with_axis
from reuseprior.contexts.rules import RULES, Rule, aten, rule
from reuseprior.contexts.rules.elementwise import per_channel
from reuseprior.contexts.rules.moves import constant_pad, view
from reuseprior.contexts.trace import Node
from reuseprior.errors import CountingError


@rule(aten.convolution, factors=(0, 1), layer=True, groups=8)
def convolution(
    count, x, weight, bias, stride, padding, dilation, transposed, output_padding, groups
):
    """A tap that falls on padding is no use; a bias counts once a produced node."""
    ndim = len(weight.shape) - 2
    channel = len(count.shape) - ndim - 1
    if bias is not None:
        yield bias, per_channel(count, channel)
    axes, kernel = range(channel + 1, len(count.shape)), weight.shape[2:]
    if transposed:
        swapped = _taps(axes, count, x, kernel, stride, padding, dilation)
        windows = [(axis, [(r, s) for s, r in pairs]) for axis, pairs in swapped]
    else:
        x, before = _without_zero_padding(x, ndim)
        padding = [p + extra for p, extra in zip(_each(padding, ndim), before, strict=True)]
        windows = list(_taps(axes, x, count, kernel, stride, padding, dilation))

    # (…, O, …) -> (…, groups, O / groups, …): channels meet within their group only
    outputs = count.shape[channel] // groups
    inputs = x.shape[channel] // groups
    head, tail = count.shape[:channel], count.shape[channel + 1 :]
    grouped = count.reshape((*head, groups, outputs, *tail))
    if x.has_parameters:
        sources = grouped.sum(channel + 1)
        sources = sources.broadcast_to((*head, groups, inputs, *tail))
        sources = sources.reshape((*head, groups * inputs, *tail))
        for axis, pairs in windows:
            sources = sources.windows_add(axis, x.shape[axis], pairs)
        yield x, sources

    uses = grouped.sum(*range(channel))
    for axis, pairs in windows:
        uses = uses.windows_sum(axis + 1, pairs)
    kernel = uses.shape[channel + 2 :]
    uses = uses.reshape((groups, outputs, *kernel))
    if transposed:  # weight (groups · inputs, outputs, *kernel)
        uses = uses.reshape((groups, 1, outputs, *kernel))
        uses = uses.broadcast_to((groups, inputs, outputs, *kernel))
    else:  # weight (groups · outputs, inputs, *kernel)
        uses = uses.reshape((groups * outputs, 1, *kernel))
        uses = uses.broadcast_to((groups * outputs, inputs, *kernel))
    yield weight, uses.reshape(weight.shape)


def _without_zero_padding(x: Node, ndim: int) -> tuple[Node, list[int]]:
    """See through an operator that pads with zeros, as if the convolution padded itself.

    Only where it pads nothing but the convolution's own axes; zeros that come in otherwise (new
    channels, `torch.cat` with zeros) are features like any others.

    Returns the unpadded node and the padding before each of its last `ndim` axes.
    """
    operator = x.made_by
    if operator is None or RULES.get(operator.function) is not constant_pad:
        return x, [0] * ndim
    source, pads, *value = operator.args
    if any(value) or any(pads[2 * ndim :]):
        return x, [0] * ndim
    before = pads[: 2 * ndim : 2][::-1]  # pads are given from the last axis backwards
    return source, [0] * (ndim - len(before)) + list(before)


def _each(value, ndim: int) -> list[int]:
    """A window's setting for each axis, as operators may be given one for all."""
    value = [value] if isinstance(value, int) else list(value)
    return value * ndim if len(value) == 1 else value


def _taps(axes: range, source, result, *settings) -> Iterator[tuple[int, list[Tap]]]:
    """The axes with their taps, by kernel, stride, padding and dilation."""
    for axis, *window in zip(axes, *(_each(v, len(axes)) for v in settings), strict=True):
        yield axis, taps(source.shape[axis], result.shape[axis], *window)


def _pool(ndim: int) -> Rule:
    """Every position in the window is a source, positions in the padding are none."""

    def pool(count, x, kernel, stride=(), padding=0, dilation=1, *_, **__):
        dilation = dilation or 1  # averages have none, and in its place a flag
        axes = range(len(x.shape) - ndim, len(x.shape))
        for axis, pairs in _taps(axes, x, count, kernel, stride or kernel, padding, dilation):
            count = count.windows_add(axis, x.shape[axis], pairs)
        yield x, count

    return pool


MAX_POOLS = {
    rule(aten.max_pool2d_with_indices, linear=False)(_pool(2)): 2,
    rule(aten.max_pool3d_with_indices, linear=False)(_pool(3)): 3,
}
rule(aten.avg_pool2d, linear=True, window_average=2)(_pool(2))
rule(aten.avg_pool3d, linear=True, window_average=3)(_pool(3))


@rule(aten._adaptive_avg_pool2d, aten._adaptive_avg_pool3d, linear=True, whole_average=True)
@rule(aten.adaptive_max_pool2d, aten.adaptive_max_pool3d, linear=False)
def adaptive_pool(count, x, output_size):
    """Window r of R over n positions runs from floor(r·n/R) to ceil((r + 1)·n/R)."""
    for axis in range(len(x.shape) - len(output_size), len(x.shape)):
        size, results = x.shape[axis], count.shape[axis]
        bounds = [(r * size // results, -(-(r + 1) * size // results)) for r in range(results)]
        positions = np.concatenate([np.arange(a, b) for a, b in bounds])
        results_of = np.repeat(np.arange(results), [b - a for a, b in bounds])
        if results == 1:
            count = count.broadcast_to(with_axis(count.shape, axis, size))
        else:
            count = count.gather(axis, results_of).scatter_add(axis, positions, size)
    yield x, count


ROUNDED = ((np.floor, 1e-9), (np.ceil, -1e-9))  # the source before and after, but for rounding
NEAREST, LINEAR = aten.upsample_nearest1d, aten.upsample_linear1d


@rule(NEAREST, aten.upsample_nearest2d, aten.upsample_nearest3d, linear=True)
def upsample_nearest(count, x, _size, *scales):
    yield x, _interpolated(count, x, scales, NEAREST)


@rule(LINEAR, aten.upsample_bilinear2d, aten.upsample_trilinear3d, linear=True)
def upsample_linear(count, x, _size, align_corners, *scales):
    """The neighbours that a result lies between, none of weight zero."""
    yield x, _interpolated(count, x, scales, LINEAR, align_corners)


def _interpolated(count, x, scales, operator, *options) -> CountArray:
    """Along each axis, interpolate the positions to see which sources a result depends on.

    What comes out is where each result lies: at a source, or between two. `scales` are factors an
    axis, none where the operator was given a size.
    """
    for axis, scale in enumerate(scales or (None,) * (len(x.shape) - 2), start=2):
        size, results = x.shape[axis], count.shape[axis]
        positions = torch.arange(size, dtype=torch.float64)[None, None]
        lies = operator(positions, [results], *options, scale)[0, 0].numpy()
        before, after = (round(lies + side).astype(int) for round, side in ROUNDED)
        between = (after != before).nonzero()[0]
        sources = np.concatenate([before, after[between]])
        results_of = np.concatenate([np.arange(results), between])
        count = count.gather(axis, results_of).scatter_add(axis, sources, size)
    return count


def _resized(operator) -> Rule:
    """Axis by axis, with more than two neighbours each; those of weight zero are none."""

    def resize(count, x, _size, align_corners, *scales):
        for axis, scale in enumerate(scales or (None,) * (len(x.shape) - 2), start=2):
            size, results = x.shape[axis], count.shape[axis]
            each = torch.eye(size, dtype=torch.float64)[None, :, :, None]  # a channel a source
            each = each.expand(1, size, size, 2)  # torch 2.15 errs on images of width one
            weights = operator(each, [results, 2], align_corners, scale, None)[0, :, :, 0]
            sources, results_of = (weights.abs() > 1e-9).nonzero(as_tuple=True)
            count = count.gather(axis, results_of.numpy())
            count = count.scatter_add(axis, sources.numpy(), size)
        yield x, count

    return resize


RESIZED = (aten.upsample_bicubic2d, aten._upsample_bilinear2d_aa, aten._upsample_bicubic2d_aa)
for _operator in RESIZED:
    rule(_operator, linear=True)(_resized(_operator))


@rule(aten.max_unpool2d, aten.max_unpool3d, linear=False)
def max_unpool(count, x, indices, _size, *_):
    """Where a maximum stood depends on data: it may be any place of the window it is of."""
    for axis, window in enumerate(windows := _pooled(indices), start=len(x.shape) - len(windows)):
        pairs = taps(count.shape[axis], x.shape[axis], *window)
        count = count.windows_add(axis, x.shape[axis], [(result, place) for place, result in pairs])
    yield x, count


def _pooled(indices: Node) -> list[tuple[int, int, int, int]]:
    """Kernel, stride, padding and dilation of the max pool that indices come from, by axis."""
    pool = indices.made_by
    while pool and RULES.get(pool.function) is view:
        pool = pool.args[0].made_by
    ndim = MAX_POOLS.get(RULES.get(pool.function)) if pool else None
    if ndim is None:
        raise CountingError("its indices are not those of a max pool, which has windows")
    _, kernel, *settings = pool.args
    stride, padding, dilation = (*settings, *((), 0, 1)[len(settings) :])[:3]
    each = (_each(value, ndim) for value in (kernel, stride or kernel, padding, dilation))
    windows = list(zip(*each, strict=True))
    shape = pool.results[0].shape
    if indices.shape == shape:
        return windows
    # In one dimension torch pools with an axis of one before the other, and unpools with it behind.
    if indices.shape == (*shape[:-2], shape[-1], 1):
        return windows[::-1]
    raise CountingError("its indices are another shape than the max pool's: leave them as they are")


# Places in an image: boxes, deformed windows, windows at random ----------------------------------


@rule("torchvision::roi_align", linear=False)
def roi_align(count, x, boxes, scale, height, width, sampling, aligned):
    """Of boxes that data give, every position may be sampled; of constant ones, the neighbours.

    A box's four coordinates, not the number of its image, are sources of all that is taken there.
    """
    of_box = count.sum(1, 2, 3).reshape((boxes.shape[0], 1))
    yield boxes, of_box.broadcast_to((boxes.shape[0], 4)).embed(1, 5, slice(1, 5))
    if boxes.varies:
        if x.shape[0] != 1:
            raise CountingError("which image a box is of depends on data: count a single image")
        yield x, count.sum(0, 2, 3)
        return
    data = boxes.data()
    options = (scale, height, width, sampling, aligned)
    meets = [_met(data, x.shape[2:], axis, options) for axis in (0, 1)]
    values = np.broadcast_to(count.values, count.shape)
    sums = np.zeros(x.shape, values.dtype)
    for box, image in enumerate(data[:, 0].long().tolist()):
        rows, columns = (m[box].astype(values.dtype) for m in meets)  # (bins, positions)
        sums[image] += rows.T @ values[box] @ columns
    yield x, CountArray(sums, x.shape).compressed()


def _met(boxes: torch.Tensor, sizes, axis: int, options: tuple) -> np.ndarray:
    """For each box, which positions along an axis each of its bins meets: (boxes, bins, positions).

    Bilinear samples are products of one axis and the other, so images serve that vary along one.
    """
    size = sizes[axis]
    shape = (1, size, size, 1) if axis == 0 else (1, size, 1, size)
    each = torch.eye(size, dtype=torch.float64).reshape(shape).expand(1, size, *sizes)
    pooled = torch.ops.torchvision.roi_align(each.contiguous(), boxes.double(), *options)
    return (pooled.abs() > 1e-9).any(3 - axis).transpose(1, 2).numpy()


@rule("torchvision::deform_conv2d", linear=False)
def deform_conv2d(count, x, weight, offset, mask, bias, *settings):
    """Taps lie where data say, so that every position of a channel may be a source of each.

    Offsets and masks are sources of all values that are sampled by them.
    """
    if not offset.varies:
        raise CountingError(
            "its offsets are constants of the model, which are not followed: write it as a "
            "convolution of grid_sample"
        )
    *_, groups, offset_groups, use_mask = settings
    outputs, inputs, taps = weight.shape[0] // groups, x.shape[1], prod(weight.shape[2:])
    yield bias, per_channel(count, 1)
    used = per_channel(count, 1).reshape((weight.shape[0], 1, 1, 1))
    yield weight, used
    batch, _, *sizes = count.shape
    grouped = count.reshape((batch, groups, outputs, *sizes)).sum(2)  # outputs that meet a channel
    met = grouped.broadcast_to((batch, groups, inputs // groups, *sizes))
    met = met.reshape((batch, inputs, *sizes))  # at each position, by channel
    yield x, met.sum(2, 3) * taps
    by_offset = met.reshape((batch, offset_groups, inputs // offset_groups, *sizes)).sum(2)
    for node, each in ((offset, 2), (mask, 1)):
        if each == 2 or use_mask:
            spread = by_offset.broadcast_to((batch, offset_groups, taps * each, *sizes))
            yield node, spread.reshape(node.shape)


FRACTIONAL = {2: aten.fractional_max_pool2d, 3: aten.fractional_max_pool3d}


@rule(*FRACTIONAL.values(), linear=False)
def fractional_max_pool(count, x, kernel, size, samples):
    """Every position in the window is a source; where windows lie, samples say."""
    if samples.is_random or samples.varies:
        raise CountingError(
            "its windows lie at random: give the pool constant samples (_random_samples=)"
        )
    ndim = len(kernel)
    sizes = x.shape[-ndim:]
    # The greatest of rising numbers is the last of its window.
    rising = torch.arange(prod(sizes), dtype=torch.float64).reshape(sizes).expand(x.shape)
    last = FRACTIONAL[ndim](rising.contiguous(), kernel, size, samples.data().double())[1]
    planes = prod(x.shape[:-ndim])
    last = last.reshape(planes, -1).numpy()
    values = np.broadcast_to(count.values, count.shape).reshape(last.shape)
    sums = np.zeros((planes, prod(sizes)), values.dtype)
    for tap in np.ndindex(*kernel):
        source = last - np.ravel_multi_index(tap, sizes)
        np.add.at(sums, (np.arange(planes)[:, None], source), values)
    yield x, CountArray(sums.reshape(x.shape), x.shape).compressed()
