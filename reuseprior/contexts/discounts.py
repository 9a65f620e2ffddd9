"""Factors for discounted counting: what a path is multiplied by when it passes an operator."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite, prod
from numbers import Real

import torch

from reuseprior.contexts.errors import CountingError
from reuseprior.contexts.recorder import Node, Operator, overwrite_view

aten = torch.ops.aten

LAYERS = frozenset(
    {aten.convolution.default, aten.mm.default, aten.addmm.default, aten.bmm.default,
     aten.baddbmm.default, aten.mv.default}
)  # fmt: skip
"""Operators that are a step of a path: convolutions and matrix products."""

AVERAGES = {aten.avg_pool2d.default: 2, aten.avg_pool3d.default: 3}
"""Averages of windows, with the number of their axes."""
WHOLE_AVERAGES = frozenset(
    {aten._adaptive_avg_pool2d.default, aten._adaptive_avg_pool3d.default, aten.mean.dim}
)
"""Averages of all positions, or of equal parts of them."""

# Every operator that has a counting rule, by its name without the "_" of in-place variants. Linear
# means linear, or a constant more, in the tensors that depend on the model's input, at inference:
# dropout is the identity, and a comparison passes nothing on that could be followed.
LINEAR = set(
    """
    _adaptive_avg_pool2d _adaptive_avg_pool3d _reshape_alias _to_copy _unsafe_view add alias all any
    argmax argmin avg_pool2d avg_pool3d bernoulli bitwise_and bitwise_not bitwise_or bitwise_xor cat
    channel_shuffle clone col2im constant_pad_nd contiguous copy cumsum detach diagonal dropout
    embedding empty_like eq expand exponential fill flatten flip full_like gather ge gt heaviside
    im2col index index_select isfinite isinf isnan le lift lift_fresh lift_fresh_copy logical_and
    logical_not logical_or lt mean nan_to_num native_dropout ne neg new_empty
    new_empty_strided new_full new_ones new_zeros normal numpy_T ones_like permute pixel_shuffle
    pixel_unshuffle positive rand_like randn_like reflection_pad1d reflection_pad2d reflection_pad3d
    repeat replication_pad1d replication_pad2d replication_pad3d reshape roll rot90 rsub select
    slice split split_with_sizes squeeze stack sub sum t transpose unbind unfold uniform
    unsafe_split unsafe_split_with_sizes unsqueeze upsample_bilinear2d upsample_linear1d
    upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_trilinear3d view view_copy
    zero zeros_like overwrite_view
    """.split()
)

# Linear in one tensor while the others are given: (positions of the factors of a product).
PRODUCTS = {
    "addcmul": (1, 2), "addmm": (1, 2), "baddbmm": (1, 2), "bmm": (0, 1), "convolution": (0, 1),
    "dot": (0, 1), "mm": (0, 1), "mul": (0, 1), "mv": (0, 1),
}  # fmt: skip

# Linear unless this argument depends on the input: a divisor, a weight, a condition.
GIVEN = {"addcdiv": 2, "div": 1, "lerp": 2, "masked_fill": 1, "true_divide": 1, "where": 0}

# Linear with running statistics; without them, as in instance norm, it takes the input's own.
BATCH_NORMS = {
    "_native_batch_norm_legit", "_native_batch_norm_legit_functional",
    "_native_batch_norm_legit_no_training", "cudnn_batch_norm", "native_batch_norm",
}  # fmt: skip
RUNNING_MEAN = 3  # its position

NONLINEAR = set(
    """
    _fused_rms_norm _log_softmax _prelu_kernel _safe_softmax _softmax _weight_norm_interface abs
    acos acosh adaptive_max_pool2d adaptive_max_pool3d amax amin angle asin asinh atan atan2 atanh
    ceil celu clamp clamp_max clamp_min copysign cos cosh elu erf erfc erfinv exp exp2 expm1 floor
    floor_divide fmax fmin fmod frac gelu hardshrink hardsigmoid hardswish hardtanh hypot leaky_relu
    linalg_vector_norm log log10 log1p log2 log_sigmoid_forward logaddexp logaddexp2 logit logsumexp
    max max_pool2d_with_indices max_pool3d_with_indices maximum median min minimum mish
    native_group_norm native_layer_norm norm pow prod reciprocal relu relu6 remainder rms_norm round
    rrelu_with_noise rsqrt selu sgn sigmoid sign silu sin sinc sinh softplus softshrink sqrt square
    std std_mean tan tanh threshold trunc var var_mean xlogy
    """.split()
)


def per_layer(gamma: float) -> Callable[[Operator], float]:
    """Every layer on the way multiplies a path by `gamma`.

    >>> record_model(MLP(3, 4), (1, 3)).count(discount=per_layer(0.5))    # (3 · 0.5)^steps

    Raises CountingError unless `gamma` is a positive, finite number.
    """
    if not (isinstance(gamma, Real) and isfinite(gamma) and gamma > 0):
        raise CountingError(f"A discount of {gamma!r} a layer is no factor: choose one above 0.")
    return lambda operator: gamma if operator.function in LAYERS else 1


def averages(power: float = 1.0, *, whole: bool = True) -> Callable[[Operator], float]:
    """An average of n positions multiplies a path by 1/n, its coefficient, to the power given.

    >>> recorded.count(discount=averages())

    Averages are the linear maps whose coefficients nothing learns. `whole=False` leaves out those
    of all positions (global pooling). At the image's edge, where a window holds fewer positions,
    the coefficient of the whole window stands for theirs. Raises CountingError unless `power` is a
    finite number from 0 on.
    """
    if not (isinstance(power, Real) and isfinite(power) and power >= 0):
        raise CountingError(f"A power of {power!r} of a coefficient: choose one from 0 on.")

    def factor(operator: Operator) -> float:
        if operator.function in AVERAGES:
            axes, kernel = AVERAGES[operator.function], operator.args[1]
            size = prod(kernel) if len(kernel) == axes else kernel[0] ** axes
        elif whole and operator.function in WHOLE_AVERAGES:
            size = prod(operator.args[0].shape) / prod(operator.results[0].shape)
        else:
            return 1
        return size**-power

    return factor


def linear_paths(recorded) -> Callable[[Operator], float]:
    """Keep only the paths along which the output is linear in the model's input.

    >>> recorded.count(discount=linear_paths(recorded))

    A product of two tensors that both depend on the input (a gate, attention's scores) is no
    linear map; one with a parameter is. What depends on no input (a reparametrised weight) is a
    constant, whatever made it. Raises CountingError for an operator that is not classified.
    """
    from_input = set(recorded.recording.inputs)
    nonlinear = set()
    for operator in recorded.recording.operators:
        if from_input.isdisjoint(operator.nodes()):
            continue
        from_input.update(operator.results)
        if not _is_linear(operator, from_input):
            nonlinear.add(id(operator))
    return lambda operator: 0 if id(operator) in nonlinear else 1


def name_of(function: Callable) -> str:
    """The name under which an operator is classified.

    >>> name_of(torch.ops.aten.relu_.default)
    'relu'
    """
    if function is overwrite_view:
        return "overwrite_view"
    return function.name().split("::")[1].split(".")[0].removesuffix("_")


def _is_linear(operator: Operator, from_input: set[Node]) -> bool:
    def depends(position: int) -> bool:
        return position < len(operator.args) and operator.args[position] in from_input

    name = name_of(operator.function)
    if name in PRODUCTS:
        return not all(map(depends, PRODUCTS[name]))
    if name in GIVEN:
        return not depends(GIVEN[name])
    if name in BATCH_NORMS:
        return isinstance(operator.args[RUNNING_MEAN], Node)
    if name not in LINEAR | NONLINEAR:
        raise CountingError(
            f"Nobody has said whether {operator.function} is linear: add {name!r} to LINEAR or "
            "NONLINEAR of reuseprior.contexts.discounts."
        )
    return name in LINEAR


def longest_path(recorded) -> int:
    """The greatest number of layers that a path from a parameter's use to an output passes."""
    steps: dict[Node, int] = {}
    for operator in recorded.recording.operators:
        reached = [steps[n] for n in operator.nodes() if n in steps]
        is_layer = operator.function in LAYERS
        uses_parameter = any(n.is_view_of_parameter for n in operator.nodes())
        begins = [0] if uses_parameter else []
        onwards = [s + is_layer for s in reached]
        for result in operator.results:
            if not result.is_view_of_parameter and (begins or onwards):
                steps[result] = max(begins + onwards)
    return max((steps.get(node, 0) for node in recorded.recording.outputs), default=0)
