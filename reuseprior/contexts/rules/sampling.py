"""Results that are taken at positions in an image: boxes, deformed windows, windows at random."""

from __future__ import annotations

from math import prod

import numpy as np
import torch

from reuseprior.contexts.array import CountArray
from reuseprior.contexts.errors import CountingError
from reuseprior.contexts.rules.elementwise import per_channel
from reuseprior.contexts.rules.registry import aten, rule


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
    given = boxes.data()
    options = (scale, height, width, sampling, aligned)
    meets = [_met(given, x.shape[2:], axis, options) for axis in (0, 1)]
    values = np.broadcast_to(count.values, count.shape)
    made = np.zeros(x.shape, values.dtype)
    for box, image in enumerate(given[:, 0].long().tolist()):
        rows, columns = (m[box].astype(values.dtype) for m in meets)  # (bins, positions)
        made[image] += rows.T @ values[box] @ columns
    yield x, CountArray(made, x.shape).compressed()


def _met(boxes: torch.Tensor, sizes, axis: int, options: tuple) -> np.ndarray:
    """For each box, which positions along an axis each of its bins meets: (boxes, bins, positions).

    Bilinear samples are products of one axis and the other, so images serve that vary along one.
    """
    size = sizes[axis]
    shape = (1, size, size, 1) if axis == 0 else (1, size, 1, size)
    each = torch.eye(size, dtype=torch.float64).reshape(shape).expand(1, size, *sizes)
    found = torch.ops.torchvision.roi_align(each.contiguous(), boxes.double(), *options)
    return (found.abs() > 1e-9).any(3 - axis).transpose(1, 2).numpy()


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


@rule(aten.fractional_max_pool2d, aten.fractional_max_pool3d, linear=False)
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
    pool = aten.fractional_max_pool2d if ndim == 2 else aten.fractional_max_pool3d
    last = pool(rising.contiguous(), kernel, size, samples.data().double())[1]
    planes = prod(x.shape[:-ndim])
    last = last.reshape(planes, -1).numpy()
    values = np.broadcast_to(count.values, count.shape).reshape(last.shape)
    made = np.zeros((planes, prod(sizes)), values.dtype)
    for tap in np.ndindex(*kernel):
        source = last - np.ravel_multi_index(tap, sizes)
        np.add.at(made, (np.arange(planes)[:, None], source), values)
    yield x, CountArray(made.reshape(x.shape), x.shape).compressed()
