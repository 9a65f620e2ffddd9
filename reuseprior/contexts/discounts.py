"""Factors for discounted counting: what a path is multiplied by when it passes an operator."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite

import torch

from reuseprior.contexts.errors import CountingError
from reuseprior.contexts.recorder import Node, Operator

aten = torch.ops.aten

LAYERS = frozenset(
    {aten.convolution.default, aten.mm.default, aten.addmm.default, aten.bmm.default,
     aten.baddbmm.default, aten.mv.default}
)  # fmt: skip
"""Operators that are a step of a path: convolutions and matrix products."""

_NONLINEAR = """
    celu elu gelu hardshrink hardsigmoid hardswish hardtanh leaky_relu mish _prelu_kernel relu relu6
    rrelu_with_noise selu sigmoid silu softplus softshrink tanh threshold _softmax _safe_softmax
    _log_softmax max_pool2d_with_indices max_pool3d_with_indices adaptive_max_pool2d
    adaptive_max_pool3d
""".split()
NONLINEARITIES = frozenset(
    getattr(packet, overload)
    for name in _NONLINEAR
    for variant in (name, f"{name}_")
    if (packet := getattr(aten, variant, None)) is not None
    for overload in packet.overloads()
)
"""Operators that are not linear in what goes in: activations, softmax, max-pooling."""


def per_layer(gamma: float) -> Callable[[Operator], float]:
    """Every layer on the way multiplies a path by `gamma`.

    >>> record_model(MLP(3, 4), (1, 3)).count(discount=per_layer(0.5))    # (3 · 0.5)^steps

    Raises CountingError unless `gamma` is positive and finite.
    """
    if not (isfinite(gamma) and gamma > 0):
        raise CountingError(f"A discount of {gamma} a layer is no factor: choose one above 0.")
    return lambda operator: gamma if operator.function in LAYERS else 1


def linear_paths(operator: Operator) -> float:
    """Keep only the paths that meet no non-linearity."""
    return 0 if operator.function in NONLINEARITIES else 1


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
