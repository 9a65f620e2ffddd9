"""Models that cannot be counted, known before anything runs and so left exactly as they were."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn
from torch.ao.nn import quantized
from torch.nn.parameter import is_lazy
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from reuseprior.contexts.errors import CountingError

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
        place = f"Module {path}" if path else "The model"
        kind = type(module).__name__
        if isinstance(module, torch.jit.ScriptModule):
            yield (
                f"{place} is in TorchScript ({kind}), whose operators cannot be recorded: count "
                "the model it was made from."
            )
        if any(c.__name__ == "FullyShardedDataParallel" for c in type(module).__mro__):
            yield f"{place} is sharded ({kind}): count the model before it is sharded."
        if _is_quantised(module):
            yield (
                f"{place} is quantised ({kind}), its weights packed into other numbers: count "
                "the model before it is quantised."
            )
        for name, parameter in module.named_parameters(path, recurse=False):
            yield from _reasons_of_a_parameter(name, parameter)


def _reasons_of_a_parameter(name: str, parameter: nn.Parameter) -> Iterator[str]:
    kind = type(parameter).__name__
    values = parameter.data
    if is_lazy(parameter):
        yield f"Parameter {name} has no shape yet (a lazy module): run the model once first."
    elif kind == "DTensor" or type(values).__name__ == "DTensor":
        yield (
            f"Parameter {name} is sharded over devices (a DTensor of fully_shard or of tensor "
            "parallelism): count the model before it is sharded."
        )
    elif is_traceable_wrapper_subclass(values):
        yield (
            f"Parameter {name} keeps its numbers in another form ({type(values).__name__}), as "
            "quantised weights do: count the model with plain tensors."
        )
    elif parameter.dtype in PACKED:
        yield (
            f"Parameter {name} is quantised ({kind} of {parameter.dtype}), its numbers packed "
            "into codes: count the model before it is quantised."
        )


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
