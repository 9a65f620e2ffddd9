"""One counting rule an operator: how the contexts of a result reach what went in.

A rule is the adjoint of "which inputs does each result depend on". It is given the counts of
a result and the operator's own arguments, with a `Node` (it has a `.shape`) for every tensor,
and yields `(node, counts)` for each tensor that the result depends on. Its counts may be
smaller than the node's shape; they are then broadcast.

    >>> @rule(torch.ops.mylib.scale_shift.default)  # doctest: +SKIP
    ... def scale_shift(count, x, w, b):
    ...     yield x, count
    ...     yield w, count.sum(0, 2, 3).reshape(w.shape)
    ...     yield b, count.sum(0, 2, 3).reshape(b.shape)

Rules are linear in the counts, so the same rule serves scaled floats and exact integers.
A rule given to `count_contexts(..., rules={...})` is used instead of the registered one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import prod

import numpy as np
import torch

from reuseprior.contexts.array import CountArray, Taps, with_axis
from reuseprior.contexts.errors import CountingError
from reuseprior.contexts.recorder import Node, overwrite_view

aten = torch.ops.aten

Contribution = tuple[Node, CountArray]
Rule = Callable[..., Iterator[Contribution]]

RULES: dict[Callable, Rule] = {}


def rule(*operators, every_result: bool = False) -> Callable[[Rule], Rule]:
    """Register a counting rule for operators such as `torch.ops.aten.mm.default`.

    A packet of overloads (`torch.ops.aten.add`) stands for all of them. With `every_result` the
    rule serves all results of an operator that has several, and is told which one as its second
    argument; otherwise only the first result may lead to an output. Raises ValueError when an
    operator has a rule already.
    """

    def register(function: Rule) -> Rule:
        function.every_result = every_result
        for overload in _overloads(operators):
            if overload in RULES:
                raise ValueError(
                    f"{overload} has a counting rule already; to use another one for a single "
                    "count, pass it as count_contexts(..., rules={...})."
                )
            RULES[overload] = function
        return function

    return register


def _overloads(operators) -> Iterator[Callable]:
    for operator in operators:
        if isinstance(operator, torch._ops.OpOverloadPacket):
            yield from (getattr(operator, name) for name in operator.overloads())
        else:
            yield operator


# Element by element ----------------------------------------------------------------------

# Every result depends on the operands at its own position (with broadcasting) and nothing else.
POINTWISE = """
    abs acos acosh add addcdiv addcmul alias angle asin asinh atan atan2 atanh ceil celu clamp
    clamp_max clamp_min clone contiguous copysign cos cosh detach div dropout elu erf erfc erfinv
    exp exp2 expm1 floor floor_divide fmax fmin fmod frac gelu hardshrink hardsigmoid hardswish
    hardtanh hypot leaky_relu lerp lift lift_fresh lift_fresh_copy log log10 log1p log2
    log_sigmoid_forward logaddexp logaddexp2 logit maximum minimum mish mul nan_to_num
    native_dropout neg positive pow _prelu_kernel reciprocal relu relu6 remainder round
    rrelu_with_noise rsqrt rsub selu sgn sigmoid sign silu sin sinc sinh softplus softshrink sqrt
    square sub tan tanh threshold _to_copy true_divide trunc where xlogy
""".split()

# Softmax is treated like the other non-linearities, position by position (see `full_softmax`).
SOFTMAX = ["_softmax", "_safe_softmax", "_log_softmax"]


def _named(names: Sequence[str]) -> Iterator[Callable]:
    """Operators by name with their in-place variants; names that this torch lacks are left out."""
    for name in names:
        yield from (getattr(aten, n) for n in (name, f"{name}_") if hasattr(aten, n))


@rule(*_named(POINTWISE), *_named(SOFTMAX))
def pointwise(count, *operands, out=None, **others):
    for x in (*operands, *others.values()):
        if isinstance(x, Node):
            yield x, count.unbroadcast(x.shape)


def full_softmax(count, x, dim, *_):
    """Softmax with every entry of a row a source of every result, for `rules={...}`.

    >>> count_contexts(model, shape, rules={aten._softmax.default: full_softmax})
    """
    yield x, count.sum(dim)


@rule(aten.masked_fill, aten.masked_fill_)
def masked_fill(count, x, mask, value):
    yield x, count
    if isinstance(value, Node):
        yield value, count.unbroadcast(value.shape)


@rule(aten.copy, aten.copy_)
def copy(count, _overwritten, x, *__):
    yield x, count.unbroadcast(x.shape)


# Results that carry no value of what went in: fresh tensors, random numbers, comparisons.
SOURCELESS = """
    all any argmax argmin bernoulli bitwise_and bitwise_not bitwise_or bitwise_xor empty_like eq
    exponential fill full_like ge gt heaviside isfinite isinf isnan le
    logical_and logical_not logical_or lt ne new_empty new_empty_strided new_full new_ones
    new_zeros normal ones_like rand_like randn_like uniform zero zeros_like
""".split()


@rule(*_named(SOURCELESS))
def no_source(count, *_, **__):
    yield from ()


# Normalisation: position by position; scale, shift and statistics once a produced node -----


def _per_channel(count: CountArray, vector: Node | None, axis: int) -> Iterator[Contribution]:
    if isinstance(vector, Node):
        others = [a for a in range(len(count.shape)) if a != axis]
        yield vector, count.sum(*others).reshape(vector.shape)


@rule(
    aten.native_batch_norm,
    aten.cudnn_batch_norm,
    aten._native_batch_norm_legit_no_training,
    aten._native_batch_norm_legit,
    aten._native_batch_norm_legit_functional,
)
def batch_norm(count, x, weight, bias, running_mean=None, running_var=None, *_, **__):
    yield x, count
    for vector in (weight, bias, running_mean, running_var):
        yield from _per_channel(count, vector, 1)


@rule(aten.native_layer_norm, aten.rms_norm, aten._fused_rms_norm)
def layer_norm(count, x, _normalized_shape, weight=None, bias=None, *__):
    yield x, count
    for tensor in (weight, bias):
        if isinstance(tensor, Node):
            yield tensor, count.unbroadcast(tensor.shape)


@rule(aten._weight_norm_interface)
def weight_norm(count, v, g, dim=0):
    """w = g · v / |v|: a weight depends on its own v, and through the norm on all of its slice."""
    slice_ = count.sum(*(a for a in range(len(v.shape)) if a != dim % len(v.shape)))
    yield g, slice_
    yield v, count
    yield v, slice_


@rule(aten.native_group_norm)
def group_norm(count, x, weight, bias, *_):
    yield x, count
    for vector in (weight, bias):
        yield from _per_channel(count, vector, 1)


# Sums and matrix products ------------------------------------------------------------------


REDUCTIONS = """
    amax amin linalg_vector_norm logsumexp mean norm std sum var
""".split()


@rule(*_named(REDUCTIONS), aten.prod.default)
def reduction(count, x, *arguments, dim=None, **_):
    """Every entry that a result sums up is a source of it."""
    yield x, _unreduced(count, x, _dimensions(arguments, dim))


@rule(aten.var_mean, aten.std_mean, every_result=True)
def two_reductions(count, _result, x, *arguments, dim=None, **_):
    yield x, _unreduced(count, x, _dimensions(arguments, dim))


@rule(aten.max.dim, aten.min.dim, aten.median.dim, aten.prod.dim_int)
def reduction_over_one_axis(count, x, dim, *_, **__):
    yield x, _unreduced(count, x, [dim])


@rule(aten.max.default, aten.min.default)
def full_reduction(count, x):
    yield x, _unreduced(count, x, None)


def _dimensions(arguments, dim):
    """The dimensions of a reduction, which may stand anywhere: a norm's order goes before them."""
    return next((a for a in arguments if isinstance(a, (list, tuple))), dim)


def _unreduced(count, x, dim) -> CountArray:
    """Counts of a reduction's result on axes of length 1 where the reduction took them away."""
    axes = {d % len(x.shape) for d in dim or range(len(x.shape))}
    return count.reshape([1 if a in axes else n for a, n in enumerate(x.shape)])


@rule(aten.cumsum)
def cumsum(count, x, dim, **_):
    values = count.expand(dim).values
    dim = dim % len(x.shape)
    yield x, CountArray(np.flip(np.cumsum(np.flip(values, dim), axis=dim), dim), x.shape)


@rule(aten.mm)
def mm(count, a, b):  # (n, k) @ (k, m) -> (n, m)
    yield a, count.sum(1)
    yield b, count.sum(0)


@rule(aten.addmm, aten.baddbmm)
def addmm(count, bias, a, b, **_):
    yield bias, count.unbroadcast(bias.shape)
    yield a, count.sum(-1)
    yield b, count.sum(-2)


@rule(aten.bmm)
def bmm(count, a, b):  # (batch, n, k) @ (batch, k, m) -> (batch, n, m)
    yield a, count.sum(2)
    yield b, count.sum(1)


@rule(aten.mv)
def mv(count, matrix, vector):  # (n, k) @ (k,) -> (n,)
    yield matrix, count.reshape((matrix.shape[0], 1))
    yield vector, count.sum(0)


@rule(aten.dot)
def dot(count, a, b):
    yield a, count.reshape((1,))
    yield b, count.reshape((1,))


# Windows -------------------------------------------------------------------------------------


@rule(aten.convolution)
def convolution(
    count, x, weight, bias, stride, padding, dilation, transposed, output_padding, groups
):
    """A tap that falls on padding is no use; a bias counts once a produced node."""
    ndim = len(weight.shape) - 2
    spatial = range(len(count.shape) - ndim, len(count.shape))
    channel = len(count.shape) - ndim - 1
    if bias is not None:
        yield from _per_channel(count, bias, channel)
    x, before = (x, [0] * ndim) if transposed else _without_zero_padding(x, ndim)
    taps = []
    for axis, kernel, *step in zip(
        spatial,
        weight.shape[2:],
        _each(stride, ndim),
        _each(padding, ndim),
        _each(dilation, ndim),
        before,
        strict=True,
    ):
        s, p, d, extra = step
        if transposed:
            made = Taps.of(count.shape[axis], x.shape[axis], kernel, s, p, d).swapped()
        else:
            made = Taps.of(x.shape[axis], count.shape[axis], kernel, s, p + extra, d)
        taps.append((axis, made))

    # (…, O, …) -> (…, groups, O / groups, …): channels meet within their group only
    outputs = count.shape[channel] // groups
    inputs = x.shape[channel] // groups
    head, tail = count.shape[:channel], count.shape[channel + 1 :]
    grouped = count.reshape((*head, groups, outputs, *tail))
    if x.has_parameters:
        sources = grouped.sum(channel + 1)
        sources = sources.broadcast_to((*head, groups, inputs, *sources.shape[channel + 2 :]))
        sources = sources.reshape((*head, groups * inputs, *tail))
        for axis, made in taps:
            sources = sources.windows_add(axis, x.shape[axis], made)
        yield x, sources

    uses = grouped.sum(*range(channel))
    for axis, made in taps:
        uses = uses.windows_sum(axis + 1, made)
    kernel = uses.shape[channel + 2 :]
    if transposed:  # weight (groups · inputs, outputs, *kernel)
        uses = uses.broadcast_to((*(1,) * channel, groups, outputs, *kernel))
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
    maker = x.made_by
    if maker is None or maker.function is not aten.constant_pad_nd.default:
        return x, [0] * ndim
    source, pads, *value = maker.args
    if any(value) or any(pads[2 * ndim :]):
        return x, [0] * ndim
    before = [0] * ndim
    for i in range(len(pads) // 2):  # pads are given from the last axis backwards
        before[ndim - 1 - i] = pads[2 * i]
    return source, before


def _each(value, ndim: int) -> list[int]:
    """A window's setting for each axis, as operators may be given one for all."""
    value = [value] if isinstance(value, int) else list(value)
    return value * ndim if len(value) == 1 else value


def _pooled(count, x, ndim, kernel, stride, padding, dilation) -> CountArray:
    """Every position in the window is a source, positions in the padding are none."""
    for axis, k, s, p, d in zip(
        range(len(x.shape) - ndim, len(x.shape)),
        _each(kernel, ndim),
        _each(stride or kernel, ndim),
        _each(padding, ndim),
        _each(dilation, ndim),
        strict=True,
    ):
        taps = Taps.of(x.shape[axis], count.shape[axis], k, s, p, d)
        count = count.windows_add(axis, x.shape[axis], taps)
    return count


@rule(aten.max_pool2d_with_indices)
def max_pool2d(count, x, kernel, stride=(), padding=0, dilation=1, ceil_mode=False):
    yield x, _pooled(count, x, 2, kernel, stride, padding, dilation)


@rule(aten.max_pool3d_with_indices)
def max_pool3d(count, x, kernel, stride=(), padding=0, dilation=1, ceil_mode=False):
    yield x, _pooled(count, x, 3, kernel, stride, padding, dilation)


@rule(aten.avg_pool2d)
def avg_pool2d(count, x, kernel, stride=(), padding=0, *_, **__):
    yield x, _pooled(count, x, 2, kernel, stride, padding, 1)


@rule(aten.avg_pool3d)
def avg_pool3d(count, x, kernel, stride=(), padding=0, *_, **__):
    yield x, _pooled(count, x, 3, kernel, stride, padding, 1)


@rule(
    aten._adaptive_avg_pool2d,
    aten._adaptive_avg_pool3d,
    aten.adaptive_max_pool2d,
    aten.adaptive_max_pool3d,
)
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


# Moving positions: the counts travel the linear map backwards ----------------------------------


@rule(
    aten.view,
    aten._unsafe_view,
    aten.reshape,
    aten._reshape_alias,
    aten.unsqueeze,
    aten.squeeze,
    aten.view_copy,
    aten.flatten,
)
def view(count, x, *_):
    yield x, count.reshape(x.shape)


@rule(aten.t, aten.numpy_T)
def t(count, x):
    yield x, count.permute(range(len(x.shape))[::-1])


@rule(aten.transpose)
def transpose(count, x, a, b):
    dims = list(range(len(x.shape)))
    dims[a], dims[b] = dims[b], dims[a]
    yield x, count.permute(dims)


@rule(aten.permute)
def permute(count, x, dims):
    yield x, count.permute(np.argsort([d % len(dims) for d in dims]).tolist())


@rule(aten.expand)
def expand(count, x, *_, **__):
    yield x, count.unbroadcast(x.shape)


@rule(aten.repeat)
def repeat(count, x, repeats):
    lead = len(repeats) - len(x.shape)
    shape = (1,) * lead + x.shape
    split = [n for r, s in zip(repeats, shape, strict=True) for n in (r, s)]
    summed = count.reshape(split).sum(*range(0, len(split), 2))
    yield x, summed.reshape(x.shape)


@rule(aten.cat)
def cat(count, tensors, dim=0):
    start = 0
    for x in tensors:
        if prod(x.shape) == 0:  # an empty tensor of any shape may stand in the list
            continue
        length = x.shape[dim]
        yield x, count.narrow(dim % len(x.shape), start, length)
        start += length


@rule(aten.stack)
def stack(count, tensors, dim=0):
    dim %= len(count.shape)
    for i, x in enumerate(tensors):
        yield x, count.narrow(dim, i, 1).reshape(x.shape)


@rule(aten.slice)
def slice_(count, x, dim=0, start=None, end=None, step=1):
    dim %= len(x.shape)
    yield x, count.embed(dim, x.shape[dim], slice(*slice(start, end, step).indices(x.shape[dim])))


@rule(aten.select)
def select(count, x, dim, index):
    dim, index = dim % len(x.shape), index % x.shape[dim]
    kept = count.reshape(with_axis(x.shape, dim, 1))
    yield x, kept.embed(dim, x.shape[dim], slice(index, index + 1))


@rule(
    aten.split,
    aten.split_with_sizes,
    aten.unsafe_split,
    aten.unsafe_split_with_sizes,
    every_result=True,
)
def split(count, result, x, sizes, dim=0):
    dim %= len(x.shape)
    start = result * sizes if isinstance(sizes, int) else sum(sizes[:result])
    yield x, count.embed(dim, x.shape[dim], slice(start, start + count.shape[dim]))


@rule(aten.unbind, every_result=True)
def unbind(count, result, x, dim=0):
    yield from select(count, x, dim, result)


@rule(aten.unfold)
def unfold(count, x, dim, size, step):
    """Windows of `size` along `dim` become a last axis."""
    dim %= len(x.shape)
    taps = Taps.of(x.shape[dim], count.shape[dim], size, step, 0, 1)
    total = None
    for tap, (source, result) in enumerate(taps):
        at_tap = count.narrow(len(x.shape), tap, 1).reshape(count.shape[:-1])
        part = at_tap.narrow(dim, result.start, result.stop - result.start)
        part = part.embed(dim, x.shape[dim], source)
        total = part if total is None else total + part
    yield x, total


@rule(aten.constant_pad_nd)
def constant_pad(count, x, pads, value=0):
    for i in range(len(pads) // 2):
        axis = len(x.shape) - 1 - i
        if pads[2 * i] < 0 or pads[2 * i + 1] < 0:  # a negative pad crops
            start, size = -pads[2 * i], x.shape[axis]
            kept = slice(max(0, start), start + count.shape[axis])
            count = count.narrow(axis, max(0, -start), min(kept.stop, size) - kept.start)
            count = count.embed(axis, size, slice(kept.start, min(kept.stop, size)))
        else:
            count = count.narrow(axis, pads[2 * i], x.shape[axis])
    yield x, count


def _mirrored(count, x, pads, positions_of) -> CountArray:
    for i in range(len(pads) // 2):
        axis = len(x.shape) - 1 - i
        positions = positions_of(x.shape[axis], pads[2 * i], pads[2 * i + 1])
        count = count.scatter_add(axis, positions, x.shape[axis])
    return count


@rule(aten.reflection_pad1d, aten.reflection_pad2d, aten.reflection_pad3d)
def reflection_pad(count, x, pads):
    def positions(size, before, after):
        return np.pad(np.arange(size), (before, after), mode="reflect")

    yield x, _mirrored(count, x, pads, positions)


@rule(aten.replication_pad1d, aten.replication_pad2d, aten.replication_pad3d)
def replication_pad(count, x, pads):
    def positions(size, before, after):
        return np.pad(np.arange(size), (before, after), mode="edge")

    yield x, _mirrored(count, x, pads, positions)


@rule(aten.upsample_nearest1d, aten.upsample_nearest2d, aten.upsample_nearest3d)
def upsample_nearest(count, x, _size, *scales):
    yield x, _interpolated(count, x, _scales(x, scales), aten.upsample_nearest1d)


@rule(aten.upsample_linear1d, aten.upsample_bilinear2d, aten.upsample_trilinear3d)
def upsample_linear(count, x, _size, align_corners, *scales):
    """The neighbours that a result lies between, none of weight zero."""
    yield x, _interpolated(count, x, _scales(x, scales), aten.upsample_linear1d, align_corners)


def _scales(x: Node, scales) -> tuple:
    """Scale factors an axis, None where the operator was given a size."""
    return scales or (None,) * (len(x.shape) - 2)


def _interpolated(count, x, scales, operator, *options) -> CountArray:
    """Along each axis, interpolate unit vectors to see which sources a result depends on."""
    for axis, scale in enumerate(scales, start=2):
        size, results = x.shape[axis], count.shape[axis]
        made = operator(torch.eye(size, dtype=torch.float64)[None], [results], *options, scale)
        sources, results_of = (made[0].numpy() != 0).nonzero()
        count = count.gather(axis, results_of)
        count = count.scatter_add(axis, sources, size)
    return count


@rule(aten.pixel_shuffle)
def pixel_shuffle(count, x, factor):  # (…, C·f², H, W) -> (…, C, H·f, W·f)
    *lead, channels, height, width = x.shape
    parts = count.reshape((*lead, channels // factor**2, height, factor, width, factor))
    n = len(lead)
    order = (*range(n), n, n + 2, n + 4, n + 1, n + 3)
    yield x, parts.permute(order).reshape(x.shape)


@rule(aten.pixel_unshuffle)
def pixel_unshuffle(count, x, factor):  # (…, C, H·f, W·f) -> (…, C·f², H, W)
    *lead, channels, height, width = x.shape
    parts = count.reshape((*lead, channels, factor, factor, height // factor, width // factor))
    n = len(lead)
    order = (*range(n), n, n + 3, n + 1, n + 4, n + 2)
    yield x, parts.permute(order).reshape(x.shape)


@rule(aten.roll)
def roll(count, x, shifts, dims=()):
    if not dims:
        flat = count.reshape((prod(x.shape),)).expand(0)
        yield x, CountArray(np.roll(flat.values, -shifts[0]), flat.shape).reshape(x.shape)
        return
    values = count.values
    for shift, dim in zip(shifts, dims, strict=True):
        if values.shape[dim] != 1:
            values = np.roll(values, -shift, axis=dim)
    yield x, CountArray(values, x.shape)


@rule(aten.flip)
def flip(count, x, dims):
    yield x, CountArray(np.flip(count.values, dims), x.shape)


@rule(aten.embedding)
def embedding(count, table, indices, *_):
    positions = indices.data().reshape(-1).numpy()
    rows = count.reshape((len(positions), *table.shape[1:]))
    yield table, rows.scatter_add(0, positions, table.shape[0])


@rule(aten.index_select)
def index_select(count, x, dim, indices):
    positions = indices.data().reshape(-1).numpy()
    yield x, count.scatter_add(dim % len(x.shape), positions, x.shape[dim])


@rule(aten.index)
def index(count, x, indices):
    """Advanced indexing by integer tables, whose values must follow from constants."""
    table = tuple(slice(None) if i is None else i.data() for i in indices)
    yield x, _moved(count, x, lambda positions: positions[table])


@rule(aten.gather)
def gather(count, x, dim, indices, **_):
    table = indices.data()
    yield x, _moved(count, x, lambda positions: positions.gather(dim, table))


def _picking(operator) -> None:
    """Register a rule for an operator that only picks positions of its first argument."""

    @rule(operator)
    def pick(count, x, *arguments, **keywords):
        yield x, _moved(count, x, lambda positions: operator(positions, *arguments, **keywords))


for _operator in (aten.diagonal, aten.channel_shuffle, aten.rot90, aten.im2col):
    _picking(_operator)


@rule(aten.col2im)
def col2im(count, x, _size, kernel, dilation, padding, stride):
    """The adjoint of im2col: every entry of a column lands in one place, or on padding."""
    flat = count.reshape((prod(count.shape),)).expand(0).values
    landed = aten.im2col(_numbered(count.shape), kernel, dilation, padding, stride)
    values = np.concatenate([np.zeros(1, flat.dtype), flat])[landed.reshape(-1).long().numpy()]
    yield x, CountArray(values, (len(values),)).reshape(x.shape)


def _numbered(shape) -> torch.Tensor:
    """Positions numbered from 1, so that 0 means padding; floats, as some operators ask for."""
    return torch.arange(1, prod(shape) + 1, dtype=torch.float64).reshape(shape)


def _moved(count: CountArray, x: Node, move: Callable[[torch.Tensor], torch.Tensor]) -> CountArray:
    """Adjoint of any operator that picks positions of x: run it on the positions' numbers."""
    picked = move(_numbered(x.shape)).reshape(-1).long().numpy()
    flat = count.reshape((len(picked),))
    return (
        flat.scatter_add(0, picked, prod(x.shape) + 1).narrow(0, 1, prod(x.shape)).reshape(x.shape)
    )


@rule(overwrite_view)
def overwrite(count, base, value, path):
    """A tensor written to through a view: the view's part comes from `value`, the rest stays."""
    positions = torch.arange(prod(base.shape)).reshape(base.shape)
    for function, args, kwargs, result in path:
        positions = function(positions, *args, **kwargs)
        positions = positions[result] if isinstance(positions, (tuple, list)) else positions
    written = positions.reshape(-1).numpy()
    flat = count.reshape((prod(base.shape),)).expand(0).values
    if len(np.unique(written)) != len(written):
        raise CountingError(
            "A tensor is written to through a view that holds some of its entries more than "
            "once, so what they keep is undefined: write to a contiguous copy instead."
        )
    kept = flat.copy()
    kept[written] = 0
    yield value, CountArray(flat[written], (len(written),)).reshape(value.shape)
    yield base, CountArray(kept, flat.shape).reshape(base.shape)
