"""Element by element: a result depends on the operands at its own position and nothing else."""

from __future__ import annotations

import torch

from reuseprior.contexts.array import CountArray
from reuseprior.contexts.record import Node
from reuseprior.contexts.rules.registry import aten, named, rule

LINEAR = """
    _to_copy add alias clone contiguous detach dropout lift lift_fresh lift_fresh_copy nan_to_num
    native_dropout neg positive rsub sub
"""

# Softmax is treated like the other non-linearities, position by position (see `full_softmax`).
SOFTMAX = "_softmax _safe_softmax _log_softmax"

NONLINEAR = """
    abs acos acosh angle asin asinh atan atan2 atanh ceil celu clamp clamp_max clamp_min copysign
    cos cosh elu erf erfc erfinv exp exp2 expm1 floor floor_divide fmax fmin fmod frac hardshrink
    hardtanh hypot leaky_relu log log10 log1p log2 log_sigmoid_forward logaddexp logaddexp2 logit
    maximum minimum mish pow _prelu_kernel reciprocal relu6 remainder round rrelu_with_noise rsqrt
    selu sgn sigmoid sign silu sin sinc sinh softplus softshrink sqrt square tan tanh threshold
    trunc xlogy
"""


@rule(*named(LINEAR), linear=True)
@rule(*named("mul"), factors=(0, 1))
@rule(*named("addcmul"), factors=(1, 2))
@rule(*named("where"), given=0)
@rule(*named("div true_divide"), given=1)
@rule(*named("addcdiv lerp"), given=2)
@rule(*named("relu gelu hardswish hardsigmoid"), linear=False, meta=torch.empty_like)
@rule(*named(NONLINEAR), *named(SOFTMAX), linear=False)
def pointwise(count, *operands, out=None, **others):
    """Operands of another shape are broadcast."""
    for x in (*operands, *others.values()):
        if isinstance(x, Node):
            yield x, count.unbroadcast(x.shape)


def full_softmax(count, x, dim, *_):
    """Softmax with every entry of a row a source of every result, for `rules={...}`.

    >>> count_contexts(model, shape, rules={aten._softmax.default: full_softmax})
    """
    yield x, count.sum(dim)


@rule(*named("masked_fill"), given=1)
def masked_fill(count, x, _mask, value):
    yield from pointwise(count, x, value)


@rule(*named("copy"), linear=True)
def copy(count, _overwritten, x, *__):
    yield from pointwise(count, x)


# Results that carry no value of what went in: fresh tensors, random numbers, comparisons.
SOURCELESS = """
    all any argmax argmin bernoulli bitwise_and bitwise_not bitwise_or bitwise_xor empty_like eq
    exponential fill full_like ge gt heaviside isfinite isinf isnan le
    logical_and logical_not logical_or lt ne new_empty new_empty_strided new_full new_ones
    new_zeros normal ones_like rand_like randn_like uniform zero zeros_like
"""


@rule(*named(SOURCELESS), linear=True, sourceless=True)
def no_source(count, *_, **__):
    yield from ()


# Normalisation: position by position; scale, shift and statistics once a produced node -----


def _normalised(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    return torch.empty_like(x), x.new_empty(0), x.new_empty(0)


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
