"""Build a model without storage for its weights."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

HUGE = 2**28  # entries of a tensor
DRAWN = {
    nn.init.kaiming_uniform_,
    nn.init.normal_,
    nn.init.uniform_,
    torch.Tensor.normal_,
    torch.Tensor.uniform_,
}


@contextmanager
def without_weights() -> Iterator[None]:
    """Within this context the parameters of new modules have a shape and no storage.

    ```python
    with without_weights():
        layer = nn.Linear(20_000, 20_000)  # 1.6 GB of weights, in no time
    layer.weight.is_meta  # True
    ```

    Parameters move to the `meta` device as they are registered, before they are initialised;
    buffers, and everything else a constructor computes with, stay real. Random numbers drawn
    inside leave the caller's generator where it was. A constructor that reads the value of a
    registered weight raises PyTorch's own error.

    PyTorch may accept real inputs for such a model and return numbers without meaning: move all
    of it to the `meta` device (`model.to("meta")`) and give it `meta` inputs.
    """
    stand_ins = WeakIdKeyDictionary()  # a parameter registered twice stays one parameter

    def stand_in(module: nn.Module, name: str, parameter: nn.Parameter | None):
        if parameter is None or parameter.is_meta or is_lazy(parameter):
            return parameter
        if parameter not in stand_ins:
            stand_ins[parameter] = _on_meta(parameter)
        return stand_ins[parameter]

    hook = register_module_parameter_registration_hook(stand_in)
    try:
        with torch.random.fork_rng(devices=[]), _OnMeta():
            yield
    finally:
        hook.remove()


class _OnMeta(TorchFunctionMode):
    """Two things that PyTorch does at length for weights that are not wanted.

    What is made empty and huge is a weight, for which there may be no memory even once. And what is
    drawn for a weight without storage is nothing: PyTorch's `normal_` and `uniform_` are Python
    there, and `normal_` imports its compiler first, which takes longer than to count a small model.
    """

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function in DRAWN:
            tensor = args[0] if args else kwargs["tensor"]
            if tensor.is_meta:
                return tensor
        if function is torch.empty and kwargs.get("device") is None:
            meta = function(*args, **{**kwargs, "device": "meta"})
            if meta.numel() > HUGE:
                return meta
        return function(*args, **kwargs)


def _on_meta(parameter: nn.Parameter) -> nn.Parameter:
    """The same parameter, marks such as `no_weight_decay` included, without its values."""
    copy = nn.Parameter(torch.empty_like(parameter, device="meta"), parameter.requires_grad)
    copy.__dict__.update(parameter.__dict__)
    return copy
