"""Channels that share filters within a layer: it holds a few, repeated s times (Bidart, §3.3).

A depthwise convolution of d channels then holds d / s filters, and channel c uses filter
c mod d/s. The same can be asked of pointwise and of other convolutions, and of batch norms.
"""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from operator import mod

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from reuseprior.errors import did_you_mean
from reuseprior.sharing.scopes import SharingError
from reuseprior.sharing.weights import Parametrization, attach, merge, shareable

KINDS = ("depthwise", "pointwise", "full", "norms")
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


class Repeated(Parametrization):
    """A weight whose filters (d / s, …) are shared: repeated s times along one of its axes."""

    def __init__(self, weight: Tensor, factor: int, axis: int):
        super().__init__()
        filters = weight.detach().narrow(axis, 0, weight.shape[axis] // factor)
        self.bank = nn.Parameter(filters.clone())  # as checkpoints call it
        self.repeats = [factor if i == axis else 1 for i in range(weight.ndim)]

    def compute(self) -> Tensor:
        return self.bank.repeat(self.repeats)


@dataclass(frozen=True)
class Channels:
    """How the filters of a model's layers repeat; written `4` or `4,depthwise,pointwise`.

    >>> model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 3, groups=8, bias=False))
    >>> Channels(4).share(model)
    ('1',)
    >>> [tuple(p.shape) for p in model[1].parameters()], tuple(model[1].weight.shape)
    ([(2, 1, 3, 3)], (8, 1, 3, 3))

    What repeats `factor` times, by kind:

    * `depthwise`: filters, over output channels.
    * `pointwise`: of a convolution of kernel 1 each filter over *input* channels, so that s inputs
      are summed before they are weighed.
    * `full`: of convolutions that are not depthwise, nor pointwise where that is asked for too,
      filters over output channels, so that without groups each output comes s times.
    * `norms`: scale and shift of batch norms, as far as they learn.

    `layers` are patterns of the names to share, such as `"blocks.*"`; without them it is all but
    the first convolution. Biases of convolutions stay. Raises `SharingError` for a factor below 1
    and for an unknown kind.
    """

    factor: int
    kinds: tuple[str, ...] = ("depthwise",)
    layers: tuple[str, ...] = ()

    def __post_init__(self):
        if type(self.factor) is not int or self.factor < 1:
            raise SharingError(
                f"the factor is {self.factor!r}: filters repeat a whole number of times, 1 or more"
            )
        for kind in self.kinds:
            if kind not in KINDS:
                raise SharingError(
                    f"unknown kind of layer {kind!r}{did_you_mean(kind, KINDS)}: choose from "
                    f"{', '.join(KINDS)}"
                )

    @classmethod
    def parse(cls, text: str) -> Channels:
        """What a text says: a factor, then kinds of layers and `layers=` patterns.

        >>> Channels.parse("4,full,norms,layers=blocks.*")
        Channels(factor=4, kinds=('full', 'norms'), layers=('blocks.*',))

        Raises `SharingError` for anything else.
        """
        factor, *words = text.split(",")
        if not re.fullmatch("[0-9]{1,6}", factor):
            raise SharingError(
                f"channels {text!r} begin with no factor: write how often filters repeat, as 4 or "
                "4,depthwise,pointwise"
            )
        layers = tuple(w.removeprefix("layers=") for w in words if w.startswith("layers="))
        kinds = tuple(w for w in words if not w.startswith("layers="))
        return cls(int(factor), kinds or cls.kinds, layers)

    def share(self, model: nn.Module) -> tuple[str, ...]:
        """Let the filters repeat, in place; returns the names of the layers that share.

        Shared filters begin as the first of their layer. Raises `SharingError`, before anything is
        shared, for a factor that does not divide a layer's channels, for a model without layers of
        these kinds and names, and as `weights.shareable` does.
        """
        chosen = self._chosen(model)
        for name, (layer, axis) in chosen.items():
            channels = layer.weight.shape[axis]
            if channels % self.factor:
                side = "input" if axis else "output"
                raise SharingError(
                    f"{self.factor} does not divide the {channels} {side} channels of layer "
                    f"{name!r}: choose a factor or a width so that it does"
                )
        for layer, axis in chosen.values():
            for tensor in ("weight", "bias") if isinstance(layer, _BatchNorm) else ("weight",):
                if (held := getattr(layer, tensor)).requires_grad:
                    attach(layer, Repeated(held, self.factor, axis), tensor)
        return tuple(chosen)

    def _chosen(self, model: nn.Module) -> dict[str, tuple[nn.Module, int]]:
        """The layers to share and the axis along which each repeats, by name."""
        every = shareable(model, (*CONVOLUTIONS, _BatchNorm))
        first = first_convolution(model)
        layers = {}
        for name, layer in every.items():
            wanted = any(fnmatchcase(name, pattern) for pattern in self.layers)
            kind = next((k for k in KINDS if k in self.kinds and _is(layer, k)), None)
            if kind and (wanted if self.layers else name != first):
                layers[name] = layer, 1 if kind == "pointwise" else 0
        if not layers:
            where = f" and names like {', '.join(self.layers)}" if self.layers else ""
            raise SharingError(
                f"{type(model).__name__} has nothing to share of kind {' or '.join(self.kinds)}"
                f"{where or ' besides its first convolution'}: choose from {', '.join(KINDS)}"
            )
        return layers


def first_convolution(model: nn.Module) -> str | None:
    """The name of a model's first convolution, whether it learns or not."""
    return next((n for n, layer in model.named_modules() if isinstance(layer, CONVOLUTIONS)), None)


@torch.no_grad()
def fold(shared: nn.Module, narrow: nn.Module) -> nn.Module:
    """Give a narrower network the weights with which it computes what a shared one does.

    Where every channel of a layer comes s times, one of the copies is enough, if what reads them
    adds up its weights. `shared` has such channels, as `full` and `norms` together give them, and
    `narrow` is the same network with a part 1 / s of them. Returns `narrow`; `shared` is left as it
    is. The outputs are equal but for rounding.

    Raises `SharingError` for a layer whose shape `narrow` has no part of. That its channels repeat
    is not tested: compare outputs.
    """
    wide = merge(copy.deepcopy(shared)).state_dict()
    theirs = narrow.state_dict()
    if wide.keys() != theirs.keys():
        name = min(wide.keys() ^ theirs.keys())
        raise SharingError(f"only one of both networks has {name!r}: give the same one, narrower")
    narrow.load_state_dict({name: _folded(name, wide[name], theirs[name].shape) for name in theirs})
    return narrow


def _folded(name: str, wide: Tensor, shape: torch.Size) -> Tensor:
    if wide.ndim != len(shape) or any(map(mod, wide.shape, shape)):
        raise SharingError(
            f"{name} is {tuple(wide.shape)} and {tuple(shape)} in the narrow network, which is no "
            "whole part of it: choose another width"
        )
    if wide.ndim > 0:
        wide = wide[: shape[0]]
    if wide.ndim > 1:
        wide = wide.unflatten(1, (-1, shape[1])).sum(1)
    return wide


def _is(layer: nn.Module, kind: str) -> bool:
    if kind == "norms" or isinstance(layer, _BatchNorm):
        return kind == "norms" and isinstance(layer, _BatchNorm)
    depthwise = layer.groups == layer.in_channels > 1
    if kind == "depthwise":
        return depthwise
    return not depthwise and (kind == "full" or set(layer.kernel_size) == {1} == {layer.groups})
