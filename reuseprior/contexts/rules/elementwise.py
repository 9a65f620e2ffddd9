"""Element by element: a result depends on the operands at its own position and nothing else."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch

from reuseprior.contexts.array import CountArray
from reuseprior.contexts.rules import aten, named, rule
from reuseprior.contexts.trace import LOWEST, NOTHING, Node, certain, entries, kept, one_step

LINEAR = "complex _conj conj_physical nan_to_num neg _neg_view positive rsub"
COPIES = """
    _to_copy alias clone contiguous detach dropout lift lift_fresh lift_fresh_copy native_dropout
"""

# Those that torch itself does not tag as pointwise.
NONLINEAR = """
    abs copysign elu_backward floor_divide hardshrink_backward hardsigmoid_backward
    hardswish_backward hardtanh_backward leaky_relu_backward log_sigmoid_backward
    mish mish_backward polar _prelu_kernel renorm rrelu_with_noise
    softplus_backward softshrink_backward threshold
"""


def _like(x: torch.Tensor) -> torch.Tensor:
    # torch works `empty_like` out in Python on the meta device
    if x.is_contiguous():
        return torch.empty(x.shape, dtype=x.dtype, device="meta")
    return torch.empty_like(x)


def as_it_is(operator):
    return entries(operator.args[0])


def _of_maximum(operator):
    return np.maximum(*map(entries, operator.args[:2]))


def _of_softmax(operator, *, safe=False):
    """Zero where -inf or the lowest number stands beside something greater in a row.

    A row of -inf alone is undefined, or zero where the operator is safe.
    """
    x, dim, *_ = operator.args
    values = entries(x)
    if values is NOTHING:
        return None
    low = values <= LOWEST
    zero = low & ~low.all(axis=dim, keepdims=True)
    if safe:
        zero |= np.isneginf(values)
    return np.where(zero, np.float32(0), NOTHING)


@rule(*named(LINEAR), linear=True)
@rule(*named(COPIES), linear=True, step="same", fixed=as_it_is)
@rule(*named("sub"), linear=True, step="difference")
@rule(*named("addcmul"), factors=(1, 2))
@rule(*named("div true_divide"), given=1, step="quotient")
@rule(*named("addcdiv lerp"), given=2)
@rule(*named("relu gelu hardswish"), linear=False, meta=_like)
@rule(*named("hardsigmoid"), linear=False, meta=_like, step="gate")
@rule(*named("clamp erf hardtanh relu6 sigmoid tanh"), linear=False, step="gate")
@rule(*named("pow square"), linear=False, step="power")
@rule(*named("rsqrt"), linear=False, step="inverse root")
@rule(*named("sqrt"), linear=False, step="square root")
@rule(*named(NONLINEAR), one_step, linear=False)
@rule(*named("maximum"), linear=False, fixed=_of_maximum)
# Softmax is treated like the other non-linearities, position by position (see `full_softmax`).
@rule(*named("_softmax"), linear=False, fixed=_of_softmax)
@rule(*named("_safe_softmax"), linear=False, fixed=partial(_of_softmax, safe=True))
@rule(*named("_log_softmax"), linear=False)
def pointwise(count, *operands, out=None, **others):
    """Operands of another shape are broadcast."""
    for x in (*operands, *others.values()):
        if isinstance(x, Node):
            yield x, count.unbroadcast(x.shape)


def full_softmax(count, x, dim, *_):
    """Softmax with every entry of a row a source of every result, for `rules={...}`.

    >>> count_contexts(model, shape, rules={aten._softmax.default: full_softmax})
    """
    yield x, kept(count, x, "beside_others").sum(dim)  # behind a mask a result is zero


def _of_sum(operator):
    a, b = map(entries, operator.args[:2])
    if (a is NOTHING and b is NOTHING) or operator.kwargs.get("alpha", 1) != 1:
        return None
    total = np.where(a <= LOWEST, a, np.where(b <= LOWEST, b, np.nan))
    known = ~(np.isnan(a) | np.isnan(b) | (total <= LOWEST))
    return np.where(known, np.add(a, b, where=known, out=total.astype(np.float32)), total)


@rule(*named("add"), linear=True, step="total", fixed=_of_sum)
def add(count, x, y, alpha=1, **_):
    """Beside -inf or the lowest number, as in masks of scores, the other operand is lost."""
    if alpha != 1:
        yield from pointwise(count, x, y)
        return
    for one, other in ((x, y), (y, x)):
        if isinstance(one, Node):
            yield from pointwise(kept(count, other, "beside_others"), one)


def _of_product(operator):
    """A weight behind a mask, as pruned ones are, is zero there; features are not looked at."""
    if not operator.uses_parameter:
        return None
    masks = [met for met in map(certain, operator.args[:2]) if met is not None]
    return np.where(np.logical_and.reduce(masks), NOTHING, np.float32(0)) if masks else None


@rule(*named("mul"), factors=(0, 1), step="product", fixed=_of_product)
def times(count, x, y, **_):
    """What a constant mask multiplies by zero of a weight is no source."""
    for one, other in ((x, y), (y, x)):
        if isinstance(one, Node):
            met = certain(other) if one.is_view_of_parameter else None
            yield from pointwise(count if met is None else count.where(met), one)


def _filled(x, mask, value):
    chosen = entries(mask)
    holds = ~np.isnan(chosen) & (chosen != 0)
    return np.where(holds, entries(value), np.where(chosen == 0, entries(x), NOTHING))


def _of_filling(operator):
    return _filled(*operator.args)


@rule(*named("masked_fill"), given=1, fixed=_of_filling)
def masked_fill(count, x, mask, value):
    """What a constant mask overwrites is no source, nor is the value where it does not."""
    if isinstance(mask, Node) and mask.lost and not mask.has_parameters:
        mask.data()  # says that it has lost its values
    yield from pointwise(kept(count, mask, "not_chosen"), x)
    yield from pointwise(kept(count, mask, "free_of_zeros"), value)


def _of_choice(operator):
    condition, x, y, *_ = (*operator.args, 1, 0)
    return _filled(y, condition, x)


@rule(*named("where"), given=0, fixed=_of_choice)
def where(count, condition, x, y):
    """What a constant condition never chooses is no source."""
    yield from pointwise(count, condition)
    yield from masked_fill(count, y, condition, x)


@rule(aten.log_sigmoid_forward, linear=False, every_result=True)
def log_sigmoid(count, _result, x):
    """Its second result is what its derivative goes on with."""
    yield x, count


@rule(aten.glu, linear=False)
def glu(count, x, dim=-1):
    """One half times the sigmoid of the other."""
    dim, size = dim % len(x.shape), count.shape[dim]
    for start in (0, size):
        yield x, count.embed(dim, 2 * size, slice(start, start + size))


@rule(*named("copy fill"), linear=True)
def copy(count, _overwritten, x, *__):
    """What was there before is no source."""
    yield from pointwise(count, x)


# Results that carry no value of what went in: fresh tensors, random numbers, comparisons.
SOURCELESS = """
    all any argmax argmin bernoulli bitwise_not bitwise_or bitwise_xor bucketize eq exponential ge
    gt heaviside isfinite isinf isnan le logical_not logical_or logical_xor lt ne normal
    searchsorted uniform zero
"""
OF_SHAPES = """
    empty_like full_like new_empty new_empty_strided new_full new_ones new_zeros ones_like
    rand_like randn_like zeros_like
"""


def _of_conjunction(operator):
    a, b = map(entries, operator.args[:2])
    return np.where((a == 0) | (b == 0), np.float32(0), NOTHING)


@rule(*named(SOURCELESS), linear=True, sourceless=True)
@rule(*named(OF_SHAPES), linear=True, sourceless=True, of_shapes=True)
@rule(*named("bitwise_and logical_and"), linear=True, sourceless=True, fixed=_of_conjunction)
def no_source(count, *_, **__):
    yield from ()


# Quantised and back, in training: codes are numbers still ------------------------------------

BY_TENSOR = """
    fake_quantize_per_tensor_affine_cachemask
    _fake_quantize_per_tensor_affine_cachemask_tensor_qparams
"""


def _with_mask(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    return _like(x), torch.empty_like(x, dtype=torch.bool)


@rule(*named(BY_TENSOR), linear=False, meta=_with_mask)
@rule(aten._fake_quantize_learnable_per_tensor_affine, linear=False, meta=_like)
def fake_quantised(count, x, scale, zero_point, *_, **__):
    yield from pointwise(count, x, scale, zero_point)


@rule(aten.fake_quantize_per_channel_affine_cachemask, linear=False, meta=_with_mask)
@rule(aten._fake_quantize_learnable_per_channel_affine, linear=False, meta=_like)
def fake_quantised_by_channel(count, x, scale, zero_point, axis, *_, **__):
    yield x, count
    yield scale, per_channel(count, axis)
    yield zero_point, per_channel(count, axis)


@rule(aten._fused_moving_avg_obs_fq_helper, linear=False)
def observed_and_fake_quantised(count, x, *_, **__):
    yield x, count


# Normalisation: position by position; scale, shift and statistics once a produced node -----


def _normalised(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    return _like(x), *(torch.empty(0, dtype=x.dtype, device="meta") for _ in range(2))


OTHER_BATCH_NORMS = """
    cudnn_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training
    _native_batch_norm_legit_functional
"""


@rule(aten.native_batch_norm, statistics=3, meta=_normalised, normalises=True)
@rule(*named(OTHER_BATCH_NORMS), statistics=3, normalises=True)
@rule(aten.native_group_norm, linear=False, normalises=True)
def channel_norm(count, x, *vectors, **_):
    """Scale, shift and running statistics have an entry a channel, axis 1."""
    yield x, count
    in_channels = per_channel(count, 1)
    for vector in vectors:
        if isinstance(vector, Node):
            yield vector, in_channels


def per_channel(count: CountArray, channel: int) -> CountArray:
    """Counts of a vector with an entry for each position along the axis `channel`."""
    summed = count.sum(*(a for a in range(len(count.shape)) if a != channel))
    return summed.reshape((count.shape[channel],))


@rule(aten.native_layer_norm, linear=False, meta=_normalised, normalises=True)
@rule(aten.rms_norm, aten._fused_rms_norm, linear=False, normalises=True)
def layer_norm(count, x, _normalized_shape, weight=None, bias=None, *__):
    yield from pointwise(count, x, weight, bias)


@rule(aten._weight_norm_interface, linear=False)
def weight_norm(count, v, g, dim=0):
    """w = g · v / |v|: a weight depends on its own v, and through the norm on all of its slice."""
    slice_ = count.sum(*(a for a in range(len(v.shape)) if a != dim % len(v.shape)))
    yield g, slice_
    yield v, count
    yield v, slice_
