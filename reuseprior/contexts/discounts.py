"""Factors for discounted counting: what a path is multiplied by when it passes an operator."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite, prod
from numbers import Real

from reuseprior.contexts.errors import CountingError
from reuseprior.contexts.record import Node, Operator
from reuseprior.contexts.rules import RULES, summing, traits


def per_layer(gamma: float) -> Callable[[Operator], float]:
    """Every layer on the way multiplies a path by `gamma`.

    >>> record_model(MLP(3, 4), (1, 3)).count(discount=per_layer(0.5))    # (3 · 0.5)^steps

    Raises CountingError unless `gamma` is a positive, finite number.
    """
    if not (isinstance(gamma, Real) and isfinite(gamma) and gamma > 0):
        raise CountingError(f"A discount of {gamma!r} a layer is no factor: choose one above 0.")
    return lambda operator: gamma if traits(operator.function).layer else 1


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
        known = traits(operator.function)
        is_average = known.window_average is not None or (whole and known.whole_average)
        return averaged_positions(operator) ** -power if is_average else 1

    return factor


def averaged_positions(operator: Operator) -> float:
    """How many positions each result of an average is the mean of, 1 for other operators.

    Adaptive windows differ by one position, and their mean counts. They hold one position where
    the result is no smaller than the source: a 1×1 map pooled to 7×7 is copied, not averaged.
    """
    known = traits(operator.function)
    if known.window_average is not None:
        axes, kernel = known.window_average, operator.args[1]
        return prod(kernel) if len(kernel) == axes else kernel[0] ** axes
    if not known.whole_average:
        return 1
    source, result = operator.args[0].shape, operator.results[0].shape
    if len(source) != len(result):  # a mean that drops its axes
        return prod(source) / prod(result)
    return prod(_mean_window(n, r) for n, r in zip(source, result, strict=True))


def _mean_window(size: int, results: int) -> float:
    """Positions in one of the windows that `results` of an axis of `size` stand for, on average."""
    held = (-(-(r + 1) * size // results) - r * size // results for r in range(results))
    return size / results if size % results == 0 else sum(held) / results


def linear_paths(recorded) -> Callable[[Operator], float]:
    """Keep only the paths along which the output is linear in the model's input.

    >>> recorded.count(discount=linear_paths(recorded))

    A product of two tensors that both depend on the input (a gate, attention's scores) is no
    linear map; one with a parameter is. What depends on no input (a reparametrised weight) is a
    constant, whatever made it. Raises CountingError for an operator that is not classified.
    """
    recording = recorded.recording
    operators = list(recording.from_input())
    from_input = {*recording.inputs, *(result for o in operators for result in o.results)}
    nonlinear = {operator for operator in operators if not _is_linear(operator, from_input)}
    return lambda operator: 0 if operator in nonlinear else 1


def _is_linear(operator: Operator, from_input: set[Node]) -> bool:
    def depends(position: int) -> bool:
        return position < len(operator.args) and operator.args[position] in from_input

    known = traits(operator.function)
    if known.factors is not None:
        return not all(map(depends, known.factors))
    if known.given is not None:
        return not depends(known.given)
    if known.statistics is not None:
        return isinstance(operator.args[known.statistics], Node)
    if known.linear is None and operator.function not in RULES and summing(operator, 0):
        return True
    if known.linear is None:
        raise CountingError(
            f"Nobody has said whether {operator.function} is linear: say so where its rule is "
            "registered, with @reuseprior.contexts.rule(..., linear=True) or linear=False."
        )
    return known.linear


def longest_path(recorded) -> int:
    """The greatest number of layers that a path from a parameter's use to an output passes."""
    steps: dict[Node, int] = {}
    for operator in recorded.recording.operators:
        reached = [steps[n] for n in operator.nodes() if n in steps]
        is_layer = traits(operator.function).layer
        begins = [0] if operator.uses_parameter else []
        onwards = [s + is_layer for s in reached]
        for result in operator.results:
            if not result.is_view_of_parameter and (begins or onwards):
                steps[result] = max(begins + onwards)
    return max((steps.get(node, 0) for node in recorded.recording.outputs), default=0)
