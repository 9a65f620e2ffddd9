"""Weights that are computed instead of held: a layer computes its own when it needs it.

Stores and shared filters both put a parametrization in place of a layer's weight, through
`torch.nn.utils.parametrize`, so that the layer's own code, `state_dict`, copies and compilers need
not know. `merge` puts plain weights back.
"""

from __future__ import annotations

import sys
from collections import Counter

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize
from torch.utils._python_dispatch import _get_current_dispatch_mode

from reuseprior.contexts import CountingError, trace_model
from reuseprior.sharing.scopes import SharingError

SET = (
    "the weight of this layer is computed from shared values, and nothing would keep what is "
    "written to it: change those values, clone the weight, or take the layers apart with "
    "reuseprior.sharing.weights.merge first"
)
IN_PLACE = {f"__i{name}__" for name in "add sub mul truediv floordiv mod pow and or xor".split()}
IN_PLACE |= {"__set__", "__setitem__"}


class ComputedWeight(Tensor):
    """A weight that was computed: it is read as any tensor is, and refuses to be written to.

    So do its views. What an operator computes of it is a plain tensor.
    """

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        kwargs, name = kwargs or {}, function.__name__
        writes = name in IN_PLACE or (name.endswith("_") and not name.endswith("__"))
        operands = [*args, *kwargs.values()]
        targets = [*(operands[:1] if writes else ()), kwargs.get("out")]
        targets += [t for many in targets if isinstance(many, (tuple, list)) for t in many]
        if any(isinstance(target, ComputedWeight) for target in targets):
            raise SharingError(SET)
        with torch._C.DisableTorchFunctionSubclass():
            result = function(*args, **kwargs)
            storages = {a.untyped_storage()._cdata for a in args if type(a) is ComputedWeight}

            def guarded(value):
                is_plain = type(value) is Tensor and value.untyped_storage()._cdata in storages
                return value.as_subclass(ComputedWeight) if is_plain else value

            if isinstance(result, (tuple, list)) and type(result) in (tuple, list):
                return type(result)(map(guarded, result))
            return guarded(result)


class Parametrization(nn.Module):
    """Base of the modules that compute the weight of a layer, by `compute()` without arguments.

    `makes_weights` tells the tracer that what happens in here is no layer of the network: a
    stored value's contexts are those of the weights it makes, and weight nodes are theirs.
    """

    makes_weights = True

    def __init__(self):
        super().__init__()
        self.attached = False

    def forward(self) -> Tensor:
        weight = self.compute()
        # Where operators are followed instead of run, tensors are plain ones.
        if (
            torch.compiler.is_compiling()
            or torch.jit.is_tracing()
            or _get_current_dispatch_mode() is not None
            or torch._C._functorch.is_functorch_wrapped_tensor(weight)
        ):
            return weight
        return weight.as_subclass(ComputedWeight)

    def right_inverse(self, weight: Tensor) -> tuple[()]:
        """Of the layer's old weight nothing is kept; a new one cannot be set."""
        if self.attached:
            raise SharingError(SET)
        return ()


def attach(layer: nn.Module, parametrization: Parametrization, tensor: str = "weight") -> None:
    """Put a parametrization in place of the weight of a layer, or of its bias."""
    parametrize.register_parametrization(layer, tensor, parametrization)
    parametrization.attached = True


def parametrized(model: nn.Module) -> dict[str, Parametrization]:
    """The parametrizations in a model by the names of their layers, one of each layer."""
    return {
        name: chain[0]
        for name, layer in model.named_modules()
        if parametrize.is_parametrized(layer)
        for chain in reversed(layer.parametrizations.values())  # the first of a layer stays
        if isinstance(chain[0], Parametrization)
    }


def linear() -> tuple[type[nn.Module], ...]:
    """The kinds of linear layers: torch's, and `Conv1D` where transformers is in use."""
    theirs = sys.modules.get("transformers.pytorch_utils")
    return (nn.Linear, theirs.Conv1D) if theirs else (nn.Linear,)


def matrices(layer: nn.Module) -> dict[str, nn.Parameter]:
    """The matrices by which a linear layer or torch's attention multiplies, by their names."""
    if isinstance(layer, (nn.MultiheadAttention, *linear())):
        return {name: p for name, p in layer.named_parameters(recurse=False) if p.ndim == 2}
    return {}


def merge(model: nn.Module) -> nn.Module:
    """Give every layer whose weight is computed a plain one of the same values, in place.

    Returns the model, which then computes what it did before at no extra cost, holds no shared
    values and can be saved as a plain network. One that is computed from frozen values
    alone stays frozen. Copies of the model are left alone.
    """
    layers = {name: model.get_submodule(name) for name in parametrized(model)}
    with torch.enable_grad():  # so that weights say whether what they come from learns
        weights = {
            name: {tensor: getattr(layer, tensor) for tensor in layer.parametrizations}
            for name, layer in layers.items()
        }
    for name, layer in layers.items():
        if any(type(chain[-1]) is not type(chain[0]) for chain in layer.parametrizations.values()):
            raise SharingError(
                f"layer {name!r} has other parametrizations too: remove those first with "
                "torch.nn.utils.parametrize.remove_parametrizations"
            )
    for name, layer in layers.items():
        # Not remove_parametrizations, which takes the property from the class that copies share.
        del layer.parametrizations
        layer.__class__ = type(layer).__bases__[0]
        others = dict(layer._parameters)
        layer._parameters.clear()  # the weight comes first again, as optimizers number parameters
        for tensor, values in weights[name].items():
            plain = nn.Parameter(values.detach().clone(), values.requires_grad)
            layer.register_parameter(tensor, plain)
        layer._parameters.update(others)
    return model


def shareable(
    model: nn.Module,
    kinds: tuple[type[nn.Module], ...] | None = None,
    without: nn.Module | None = None,
) -> dict[str, nn.Module]:
    """The layers of a model, by name, whose weights can be computed: of `kinds`, and learning.

    They are convolutions and linear layers if not given.
    A layer `without` is left out, whatever it is. Raises `SharingError`, in one sentence, for
    layers that cannot: whose weights have no shape yet, are quantised, computed by something else,
    shared with another layer already, or written to by the layer itself as it runs.
    """
    held = (layer._parameters.values() for layer in model.modules())
    uses = Counter(id(p) for parameters in held for p in parameters if p is not None)
    kinds = (_ConvNd, *linear()) if kinds is None else kinds
    layers = {}
    for name, layer in model.named_modules():
        if layer is without:
            continue
        if ".quantized" in type(layer).__module__:
            raise SharingError(
                f"layer {name!r} is quantised ({type(layer).__name__}): share the weights first "
                "and quantise the merged network"
            )
        if isinstance(layer, kinds) and layer._parameters.get("weight", ...) is not None:
            _check(name, layer, uses)
            if layer.weight.requires_grad and layer.weight.numel():
                _check_forward(name, layer)
                layers[name] = layer
    return layers


def _check(name: str, layer: nn.Module, uses: Counter[int]) -> None:
    weight, bias = (layer._parameters.get(tensor) for tensor in ("weight", "bias"))
    if weight is None:
        raise SharingError(
            f"the weight of layer {name!r} is computed by something else, such as a "
            "parametrization or a weight norm: remove that first"
        )
    if is_lazy(weight):
        raise SharingError(
            f"layer {name!r} ({type(layer).__name__}) has no shape yet: run the model on an input "
            "first, or give the layer its number of inputs"
        )
    for tensor, values in (("weight", weight), ("bias", bias)):
        if values is not None and uses[id(values)] > 1:
            raise SharingError(
                f"layer {name!r} shares its {tensor} with another layer already: share in one way "
                "only, or untie it first"
            )


def _check_forward(name: str, layer: nn.Module) -> None:
    """Raise `SharingError` for a layer that writes to its weight: a mask, or a bound on its norm.

    Torch's own and `Conv1D` do not. Others are traced on an input of their smallest size; one
    that needs more than that is told by its weight, as it runs.
    """
    is_known = type(layer).forward.__module__.startswith(("torch.", "transformers.pytorch_utils"))
    if is_known and not (layer._forward_pre_hooks or layer._forward_hooks):
        return
    if isinstance(layer, _ConvNd):
        windows = zip(layer.kernel_size, layer.dilation, strict=True)
        shape = (1, layer.in_channels, *(dilation * (size - 1) + 1 for size, dilation in windows))
    else:
        shape = (1, layer.weight.shape[0 if isinstance(layer, linear()[1:]) else -1])
    try:
        operators = trace_model(layer, shape).trace.operators
    except CountingError:
        return
    if any(operator.writes_to_parameter for operator in operators):
        raise SharingError(
            f"layer {name!r} ({type(layer).__name__}) writes to its own weight as it runs, which "
            "nothing would keep: let it compute with a masked or bounded copy, or leave it out"
        )


def same_kind(layers: dict[str, nn.Module]) -> tuple[torch.dtype, torch.device]:
    """The type and device of all these layers' weights; `SharingError` where they differ."""
    kinds = {(layer.weight.dtype, layer.weight.device) for layer in layers.values()}
    if len(kinds) > 1:
        listed = " and ".join(sorted(f"{dtype} on {device}" for dtype, device in kinds))
        raise SharingError(
            f"the weights to share are {listed}: move the model to one type and device first"
        )
    return kinds.pop()
