"""What a recorded model comes down to: a name for its operators, and their cost."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import flop_registry

from reuseprior.contexts.counting import RecordedModel, is_learnable
from reuseprior.contexts.record import Node
from reuseprior.contexts.rules import RULES


def fingerprint(recorded: RecordedModel) -> str | None:
    """A digest of everything that decides the model's counts, equal for equal records.

    >>> len(fingerprint(record_model(torchvision.models.resnet18(), (1, 3, 224, 224))))
    64

    It holds the operators with their arguments, constants' values, which tensors are parameters,
    and the counting code itself, so that counts kept under it are void once a rule changes.
    None where an operator or its rule is from outside, whose code it cannot hold.
    """
    digest = hashlib.sha256(_code())
    for line in _lines(recorded):
        if line is None:
            return None
        digest.update(line.encode())
    return digest.hexdigest()


def multiply_adds(recorded: RecordedModel) -> int:
    """Multiply-adds of the recorded forward pass, by the formulas of torch's flop counter.

    A multiply-add is one product and the addition that takes it up, two FLOPs; papers on image
    classifiers print multiply-adds under the name of FLOPs. What torch has no formula for (norms,
    activations, sums) costs nothing: EfficientNetV2 does one such operation per 70 to 100. Nor do
    weights that are made of stored values, which can be made beforehand.
    """
    total = 0
    for operator in recorded.recording.operators:
        formula = flop_registry.get(getattr(operator.function, "overloadpacket", None))
        if formula is not None and not operator.results[0].is_view_of_parameter:
            args = [a.shape if isinstance(a, Node) else a for a in operator.args]
            total += formula(*args, **operator.kwargs, out_val=operator.results[0].shape)
    return total // 2


@cache
def _code() -> bytes:
    """The counting code, and the version of torch, whose operators it counts."""
    folder = Path(__file__).parent
    files = [*sorted(folder.rglob("*.py")), folder.parent / "quantities.py"]
    return b"".join([torch.__version__.encode(), *(file.read_bytes() for file in files)])


def _lines(recorded: RecordedModel) -> Iterator[str | None]:
    numbers: dict[Node, int] = {}

    def text(value: Any) -> str:
        if isinstance(value, Node):
            if value in numbers:
                return f"#{numbers[value]}"
            numbers[value] = len(numbers)
            return f"#{numbers[value]}{value.shape}{_constant(value)}"
        if isinstance(value, (tuple, list)):
            return f"({','.join(map(text, value))})"
        if isinstance(value, dict):
            return text([(key, value[key]) for key in sorted(value)])
        return _name(value) if callable(value) else repr(value)

    yield text(recorded.recording.inputs)
    for names, tensor in recorded.tensors:
        node = recorded.recording.node_of(tensor)
        yield f"{is_learnable(names[0])}{tuple(tensor.shape)}{node and text(node)}\n"
    for operator in recorded.recording.operators:
        rule = RULES.get(operator.function)
        if rule is None:  # counted by its own derivative, which is torch's for torch's operators
            is_foreign = getattr(operator.function, "namespace", "") != "aten"
        else:
            is_foreign = not rule.__module__.startswith(f"{__package__}.rules.")
        if is_foreign:
            yield None
        arguments = text([operator.args, operator.kwargs, operator.results])
        made = any(node.is_view_of_parameter for node in operator.results)
        yield f"{_name(operator.function)}{arguments}{made}\n"
    yield text(recorded.recording.outputs)


def _constant(node: Node) -> str:
    """A digest of a constant's values, on which the rules for indices depend."""
    if node.tensor is None or node.has_parameters:
        return ""
    one = [slice(1) if stride == 0 else slice(None) for stride in node.tensor.stride()]
    stored = node.tensor[tuple(one)].clone(memory_format=torch.contiguous_format)
    values = stored.cpu().reshape(-1).view(torch.uint8).numpy()
    return hashlib.sha256(np.ascontiguousarray(values)).hexdigest()


def _name(function: Callable) -> str:
    is_operator = isinstance(function, torch._ops.OpOverload)
    return str(function) if is_operator else f"{function.__module__}.{function.__qualname__}"
