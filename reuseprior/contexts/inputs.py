"""What the user hands in: shapes, tensors and what else a forward takes; models refused."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass, is_dataclass
from math import prod
from numbers import Integral, Number
from types import ModuleType
from typing import Any

import torch
from torch import nn
from torch.ao.nn import quantized
from torch.nn.parameter import is_lazy
from torch.nn.utils.rnn import PackedSequence
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from reuseprior.contexts.memory import unusual
from reuseprior.contexts.rules import RULES, op_metadata
from reuseprior.contexts.rules.elementwise import add, pointwise
from reuseprior.contexts.trace import Node, Operator
from reuseprior.errors import CountingError

MOST_ENTRIES = 2**28  # of an input: an image of 9,459 pixels a side; more would fill any memory
Signal = Iterable[str | int] | str | int | None
Given = tuple[Node, torch.dtype]  # an input in the trace


@dataclass(frozen=True)
class Inputs:
    """The arguments of one forward pass: tensors, and what else a model may be given."""

    args: tuple
    kwargs: dict[str, Any]

    def tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Every tensor with its name: a position or keyword, and the way to it in a nest."""
        for key, value in (*enumerate(self.args), *self.kwargs.items()):
            yield from ((name, tensor) for name, tensor, _ in _named(str(key), value))

    def changed(self, change: Callable[[torch.Tensor], Any]) -> Inputs:
        """The same arguments with something else for each tensor."""
        return Inputs(*_changed((self.args, self.kwargs), change))

    def __str__(self) -> str:
        shapes = ", ".join(
            str(tuple(t.shape)) if name.isdecimal() else f"{name} {tuple(t.shape)}"
            for name, t in self.tensors()
        )
        return f"an input of shape {shapes}" if shapes else "no tensor"


def read(inputs: Any, dtype: torch.dtype) -> Inputs:
    """The arguments that `inputs` stands for, tensors of `dtype` for shapes without a name.

    >>> read({"input_ids": (1, 8), "attention_mask": None}, torch.float32).kwargs["input_ids"].dtype
    torch.int64

    Raises `CountingError` for what is neither a tensor, a shape, a mapping, an object that holds
    tensors nor several of these, and for tensors that are not dense.
    """
    arguments = _read(inputs, dtype)
    for name, tensor in arguments.tensors():
        if how := unusual(tensor):
            raise CountingError(
                f"Input {name} is {how}, and a trace is of dense tensors: pass it padded or as "
                "to_dense() gives it, with a mask if the model takes one, or one part of it."
            )
    return arguments


def _read(inputs: Any, dtype: torch.dtype) -> Inputs:
    if isinstance(inputs, Mapping):
        return Inputs((), {str(k): _part(v, dtype, str(k)) for k, v in inputs.items()})
    is_nest = isinstance(inputs, (tuple, list)) and len(inputs) > 0
    if is_nest and not all(isinstance(v, (Number, str)) for v in inputs):
        return Inputs(tuple(_part(v, dtype) for v in inputs), {})
    if _is_shape(inputs) or any(_named("", inputs)):
        return Inputs((_part(inputs, dtype),), {})
    raise CountingError(_no_shape(inputs))


def _no_shape(value: Any) -> str:
    return (
        f"Input shape {value!r} is not a tuple of positive integers: pass one such as "
        "(1, 3, 224, 224), a tensor, a dict of arguments by name, or a list of several."
    )


def _part(value: Any, dtype: torch.dtype, name: str = "") -> Any:
    """An argument as the model takes it: shapes become tensors, the rest stays."""
    if isinstance(value, Mapping):
        return _rebuilt(value, {k: _part(v, dtype, str(k)) for k, v in value.items()})
    if isinstance(value, (tuple, list)) and value:
        if _is_shape(value):
            return _of_shape([int(n) for n in value], dtype, name)
        if all(isinstance(v, Number) for v in value):
            raise CountingError(_no_shape(value))
        return _rebuilt(value, {k: _part(v, dtype) for k, v in parts(value).items()})
    return value


def _of_shape(shape: list[int], dtype: torch.dtype, name: str) -> torch.Tensor:
    """Token ids without values, a mask that masks nothing, or else numbers without values."""
    if (entries := prod(shape)) > MOST_ENTRIES:
        raise CountingError(
            f"Input shape {tuple(shape)} has {entries:,} entries: give at most {MOST_ENTRIES:,}, "
            "more is not counted."
        )
    word = name.rpartition("_")[2]  # of `input_ids`, which are ids as `centroids` are not
    if word == "ids":
        return torch.empty(shape, dtype=torch.int64, device="meta")
    if word == "mask":
        return torch.ones(shape, dtype=torch.int64)
    return torch.empty(shape, dtype=dtype, device="meta")


def _is_shape(value) -> bool:
    return (
        isinstance(value, (tuple, list))
        and len(value) > 0
        and all(isinstance(n, Integral) and not isinstance(n, bool) and n > 0 for n in value)
    )


def parts(value: Any) -> dict[Any, Any]:
    """What stands in a container, or in an object such as a dataclass or a graph, by its key."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, PackedSequence):  # whose sizes are read, as numbers are
        return {"data": value.data}
    if isinstance(value, (tuple, list, set, frozenset, deque)):
        return dict(enumerate(value))
    is_other = isinstance(value, (nn.Module, torch.Tensor, type, ModuleType)) or callable(value)
    if is_other or type(value).__module__ in ("builtins", "numpy", "torch", "weakref"):
        return {}
    slots = [s for c in type(value).__mro__ for s in vars(c).get("__slots__", ())]
    return {s: getattr(value, s) for s in slots if hasattr(value, s)} | getattr(
        value, "__dict__", {}
    )


def _rebuilt(value: Any, changed: dict[Any, Any]) -> Any:
    """A container or object like another, of other parts."""
    if isinstance(value, PackedSequence):
        return value._replace(**changed)
    if isinstance(value, tuple):
        return (getattr(type(value), "_make", None) or type(value))(changed.values())
    if isinstance(value, (list, set, frozenset, deque)):
        return type(value)(changed.values())
    copied = copy(value)
    for key, part in changed.items():
        if isinstance(value, Mapping):
            copied[key] = part
        else:  # frozen ones too
            object.__setattr__(copied, key, part)
    return copied


def _named(name: str, value: Any, is_plain: bool = True, within: tuple = ()) -> Iterator[tuple]:
    """Every tensor in a nest by the way to it, and whether that leads through no mere object.

    Private attributes are no part of a name.
    """
    if isinstance(value, torch.Tensor):
        yield name, value, is_plain
    elif id(value) not in within:
        is_plain &= is_dataclass(value) or isinstance(value, (Mapping, tuple, list))
        for key, part in parts(value).items():
            path = name if str(key).startswith("_") else f"{name}.{key}"
            yield from _named(path, part, is_plain, (*within, id(value)))


def _changed(value: Any, change: Callable[[torch.Tensor], Any], within: tuple = ()) -> Any:
    """The same nest with something else for each tensor; what holds none stays what it is."""
    if isinstance(value, torch.Tensor):
        return change(value)
    if id(value) in within:
        return value
    before = parts(value)
    after = {key: _changed(part, change, (*within, id(value))) for key, part in before.items()}
    return _rebuilt(value, after) if any(after[k] is not before[k] for k in before) else value


def tensors_in(output: Any) -> list[torch.Tensor]:
    """Every tensor in what a model returns: in containers and dataclasses, or else in objects.

    Integers beside numbers, as the sizes of packed sequences, keep books and are no features.
    """
    returned = list(_named("", output))
    tensors = [t for _, t, is_plain in returned if is_plain] or [t for _, t, _ in returned]
    return [t for t in tensors if t.is_floating_point() or t.is_complex()] or tensors


# Which of them carry a signal -------------------------------------------------------------------


def chosen(names: list[str], signal: Signal) -> set[str]:
    """Those of the inputs that the caller says carry a signal, by position or name.

    Raises `CountingError` where the caller names an input that there is none of.
    """
    signals: set[str] = set()
    for one in [signal] if isinstance(signal, (str, int)) else signal:
        named = {name for name in names if name == str(one) or name.startswith(f"{one}.")}
        if not named:
            raise CountingError(f"signal={one!r} names no input tensor; there are {names}.")
        signals |= named
    return signals


def carrying(inputs: list[Given], operators: list[Operator], outputs: list[Node]) -> list[Node]:
    """The inputs that carry a signal: numbers that are read, and integers that choose rows.

    Masks, positions and edges say how a model computes, not what. Where nothing of the two kinds
    is given, whatever is read is the signal, and else everything.
    """
    used = {node for operator in operators for node in operator.nodes()} | set(outputs)
    read_ones = [one for one in inputs if one[0] in used]
    others = [(node, dtype) for node, dtype in read_ones if dtype is not torch.bool]
    signal = [
        (node, dtype)
        for node, dtype in others
        if dtype.is_floating_point or dtype.is_complex or _chooses_rows(node, operators)
    ]
    return [node for node, _ in signal or others or read_ones or inputs]


def _chooses_rows(integers: Node, operators: list[Operator]) -> bool:
    """Whether integers choose rows of a parameter, as they are or moved, copied and shifted."""
    same = {integers}
    for operator in operators:
        if same.isdisjoint(operator.nodes()):
            continue
        known = op_metadata(operator.function)
        if known.chooses is not None and operator.args[0].is_view_of_parameter:
            positions = operator.args[known.chooses]
            positions = positions if isinstance(positions, (tuple, list)) else [positions]
            if not same.isdisjoint(positions):
                return True
        if known.moves or (known.linear and RULES.get(operator.function) in (pointwise, add)):
            same.update(operator.results)
    return False


# Models that cannot be counted -------------------------------------------------------------------
#
# Known before anything runs, and so left exactly as they were.

PACKED = (torch.int8, torch.uint8)  # a parameter of these holds codes, several to a number


def check_model(model) -> None:
    """Raise `CountingError` for what is no module, or none whose parameters can be counted.

    Nothing of the model runs. Refused are models in TorchScript, sharded ones (FSDP, tensor
    parallelism) and quantised ones, whose parameters are no tensors of the network's shapes.
    """
    if not isinstance(model, nn.Module):
        raise CountingError(
            f"Cannot count contexts of a {type(model).__name__}: pass a torch.nn.Module, or use "
            "Graph.contexts() for an explicit graph."
        )
    for reason in _reasons(model):
        raise CountingError(reason)
    if next(model.parameters(), None) is None:
        raise CountingError(
            f"The model {type(model).__name__} has no parameters, so nothing has contexts."
        )


def _reasons(model: nn.Module) -> Iterator[str]:
    """Sentences that say what is wrong with the model; the first will do."""
    for path, module in model.named_modules():
        place, kind = f"Module {path}" if path else "The model", type(module).__name__
        hook = vars(module).get("_hf_hook")
        if isinstance(module, torch.jit.ScriptModule):
            yield (
                f"{place} is in TorchScript ({kind}), whose operators cannot be traced: count "
                "the model it was made from."
            )
        if any(c.__name__ == "FullyShardedDataParallel" for c in type(module).__mro__):
            yield _count_before(place, "sharded", kind)
        if any(getattr(h, "offload", False) for h in (hook, *getattr(hook, "hooks", ()))):
            yield _count_before(place, "offloaded", f"{type(hook).__name__} of accelerate")
        if _is_quantised(module):
            yield _count_before(place, "quantised", kind)
        for name, parameter in module.named_parameters(path, recurse=False):
            yield from _reasons_of_a_parameter(f"Parameter {name}", parameter)


def _count_before(place: str, state: str, how: str) -> str:
    return f"{place} is {state} ({how}): count the model before it is {state}."


def _reasons_of_a_parameter(place: str, parameter: nn.Parameter) -> Iterator[str]:
    values = parameter.data
    if is_lazy(parameter):
        yield f"{place} has no shape yet (a lazy module): run the model once first."
    elif hasattr(parameter, "ds_id"):
        yield _count_before(place, "sharded", "DeepSpeed")
    elif how := unusual(values):
        yield f"{place} is {how}: hold a dense one of the same numbers."
    elif "DTensor" in (type(parameter).__name__, type(values).__name__):
        yield _count_before(place, "sharded", "a DTensor of fully_shard or of tensor parallelism")
    elif is_traceable_wrapper_subclass(values):
        yield (
            f"{place} keeps its numbers in another form ({type(values).__name__}), as "
            "quantised weights do: count the model with plain tensors."
        )
    elif parameter.dtype in PACKED:
        how = f"{type(parameter).__name__} of {parameter.dtype}"
        yield _count_before(place, "quantised", how)


def _is_quantised(module: nn.Module) -> bool:
    """Whether a module holds or makes quantised numbers, whichever tool made it."""
    if type(module) in (quantized.FloatFunctional, quantized.FXFloatFunctional):
        return False  # sums in floating point, in networks that may be quantised later
    homes = [c.__module__ for c in type(module).__mro__]
    if any(home.startswith("torch.ao.nn.") and ".quantized" in home for home in homes):
        return True
    if isinstance(module, torch.fx.GraphModule):
        spaces = {getattr(node.target, "namespace", "") for node in module.graph.nodes}
        if spaces & {"quantized", "quantized_decomposed"}:
            return True
    # GPTQ, AWQ and their kin keep integer codes in a buffer of this name.
    held = {name: b for name, b in module._buffers.items() if b is not None}
    codes = "qweight" in held and not held["qweight"].is_floating_point()
    return codes or any(b.is_quantized for b in held.values())
