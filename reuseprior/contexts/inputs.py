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
from reuseprior.contexts.record import Node, Operator
from reuseprior.contexts.rules import RULES, traits
from reuseprior.contexts.rules.elementwise import add, pointwise
from reuseprior.errors import CountingError

MOST_ENTRIES = 2**28  # of an input: an image of 9,459 pixels a side; more would fill any memory
Signal = Iterable[str | int] | str | int | None


@dataclass(frozen=True)
class Inputs:
    """The arguments of one forward pass: tensors, and what else a model may be given."""

    args: tuple
    kwargs: dict[str, Any]

    def tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Every tensor with its name: a position or keyword, and the way to it in a nest."""
        for key, value in (*enumerate(self.args), *self.kwargs.items()):
            yield from _named(str(key), value)

    def changed(self, change: Callable[[torch.Tensor], Any]) -> Inputs:
        """The same arguments with something else for each tensor."""
        args, kwargs = _changed(self.args, change), _changed(self.kwargs, change)
        return Inputs(args, kwargs)

    def __str__(self) -> str:
        tensors = list(self.tensors())
        shapes = ", ".join(
            str(tuple(t.shape)) if name.isdecimal() else f"{name} {tuple(t.shape)}"
            for name, t in tensors
        )
        return f"an input of shape {shapes}" if tensors else "no tensor"


def read(inputs: Any, dtype: torch.dtype) -> Inputs:
    """The arguments that `inputs` stands for, tensors of `dtype` for shapes without a name.

    >>> read({"input_ids": (1, 8), "attention_mask": None}, torch.float32).kwargs["input_ids"].dtype
    torch.int64

    Raises `CountingError` for what is neither a tensor, a shape, a mapping, an object that holds
    tensors nor several of these, and for tensors that are not dense.
    """
    given = _read(inputs, dtype)
    for name, tensor in given.tensors():
        if how := unusual(tensor):
            raise CountingError(
                f"Input {name} is {how}, and a record is of dense tensors: pass it padded or as "
                "to_dense() gives it, with a mask if the model takes one, or one part of it."
            )
    return given


def _read(inputs: Any, dtype: torch.dtype) -> Inputs:
    if isinstance(inputs, Mapping):
        return Inputs((), {str(k): _part(v, dtype, str(k)) for k, v in inputs.items()})
    is_nest = isinstance(inputs, (tuple, list)) and len(inputs) > 0
    if is_nest and not all(isinstance(v, (Number, str)) for v in inputs):
        return Inputs(tuple(_part(v, dtype) for v in inputs), {})
    if _is_shape(inputs) or any(_named("", inputs)):
        return Inputs((_part(inputs, dtype),), {})
    raise CountingError(
        f"Input shape {inputs!r} is not a tuple of positive integers: pass one such as "
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
            raise CountingError(
                f"Input shape {value!r} is not a tuple of positive integers: pass one such as "
                "(1, 3, 224, 224)."
            )
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
    made = copy(value)
    for key, part in changed.items():
        if isinstance(value, Mapping):
            made[key] = part
        else:  # frozen ones too
            object.__setattr__(made, key, part)
    return made


def _named(name: str, value: Any, within: tuple = ()) -> Iterator[tuple[str, torch.Tensor]]:
    """Every tensor in a nest, by the way to it; private attributes are no part of a name."""
    if isinstance(value, torch.Tensor):
        yield name, value
    elif id(value) not in within:
        for key, part in parts(value).items():
            own = name if str(key).startswith("_") else f"{name}.{key}"
            yield from _named(own, part, (*within, id(value)))


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
    known = [t for t, is_plain in _returned(output) if is_plain]
    found = known or [t for t, _ in _returned(output)]
    numbers = [t for t in found if t.is_floating_point() or t.is_complex()]
    return numbers or found


def _returned(value: Any, is_plain: bool = True, within: tuple = ()):
    if isinstance(value, torch.Tensor):
        yield value, is_plain
    elif id(value) not in within:
        is_plain &= is_dataclass(value) or isinstance(value, (Mapping, tuple, list))
        for part in parts(value).values():
            yield from _returned(part, is_plain, (*within, id(value)))


# Which of them carry a signal -------------------------------------------------------------------


@dataclass(frozen=True)
class Given:
    """An input tensor in the record."""

    name: str
    node: Node
    is_number: bool  # a floating-point or complex one
    is_bool: bool = False


def chosen(name: str, signal: Signal) -> bool:
    """Whether the caller says that the tensor of that name carries a signal."""
    wanted = [signal] if isinstance(signal, (str, int)) else list(signal)
    return any(name == str(w) or name.startswith(f"{w}.") for w in wanted)


def check_signal(names: list[str], signal: Signal) -> None:
    """Raise `CountingError` where the caller names an input that there is none of."""
    wanted = [signal] if isinstance(signal, (str, int)) else list(signal)
    for one in wanted:
        if not any(chosen(name, one) for name in names):
            raise CountingError(f"signal={one!r} names no input tensor; there are {names}.")


def carrying(given: list[Given], operators: list[Operator], outputs: list[Node]) -> list[Node]:
    """The inputs that carry a signal: numbers that are read, and integers that choose rows.

    Masks, positions and edges say how a model computes, not what. Where nothing of the two kinds
    is given, whatever is read is the signal, and else everything.
    """
    used = {node for operator in operators for node in operator.nodes()} | set(outputs)
    read_ones = [g for g in given if g.node in used]
    signal = [g for g in read_ones if g.is_number or _chooses_rows(g, operators)]
    signal = signal or [g for g in read_ones if not g.is_bool] or read_ones or given
    return [g.node for g in signal]


def _chooses_rows(given: Given, operators: list[Operator]) -> bool:
    """Whether integers choose rows of a parameter, as they are or moved, copied and shifted."""
    if given.is_bool:
        return False
    same = {given.node}
    for operator in operators:
        if same.isdisjoint(operator.nodes()):
            continue
        known = traits(operator.function)
        if known.chooses is not None and operator.args[0].is_view_of_parameter:
            positions = operator.args[known.chooses]
            if not same.isdisjoint(
                positions if isinstance(positions, (tuple, list)) else [positions]
            ):
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
                f"{place} is in TorchScript ({kind}), whose operators cannot be recorded: count "
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
    codes = module._buffers.get("qweight")
    if codes is not None and not codes.is_floating_point():
        return True
    return any(b is not None and b.is_quantized for b in module._buffers.values())
