"""Scopes (thesis, §4.5.3): layers under one scope name are one layer.

A policy is a small function from a module to its scope name, or None to leave it alone. `tie`
makes the modules of a scope hold the same parameter objects, `untie` gives a module its own again;
`merge` adds up, by scope, counts that were taken without sharing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import reduce
from math import prod

import numpy as np
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.module import register_module_module_registration_hook
from torch.nn.parameter import is_lazy
from torch.nn.utils.parametrize import is_parametrized

from reuseprior.contexts import ContextCounts, ParameterCount
from reuseprior.errors import UserError, did_you_mean, expect, shown

Policy = Callable[[nn.Module], str | None]
Shapes = tuple[tuple[str, tuple[int, ...]], ...]  # of a module's own parameters, by name


class SharingError(UserError):
    """Modules that cannot share, or be taken apart, as asked; the message says which."""


@dataclass(frozen=True)
class Scope:
    """One scope after tying: its name, the modules that share, and the shapes they share."""

    name: str
    modules: tuple[str, ...]
    shapes: Shapes

    @property
    def parameters(self) -> int:
        """Parameters that one of the modules would have alone."""
        return sum(prod(shape) for _, shape in self.shapes)

    @property
    def saved(self) -> int:
        """Parameters that sharing saves."""
        return self.parameters * (len(self.modules) - 1)


def none(module: nn.Module) -> str | None:
    """No sharing: every module is left alone."""
    return None


def all_but_bn(module: nn.Module) -> str | None:
    """The thesis's text (§4.5.3): convolutions by kind, channels, kernel size and stride.

    >>> all_but_bn(nn.Conv2d(24, 96, 3, stride=2, bias=False))
    'Conv2d 24→96 kernel 3×3 stride 2×2'
    """
    return _convolution(module, stride=True)


def same_shape(module: nn.Module) -> str | None:
    """Convolutions whose weights have one shape, whatever their strides: Tables 4.2 and 4.3.

    The thesis's §4.5.3 begins with it ("weight matrices of the same shape") and then names the
    strides too. Its printed parameters of V2-S-shared are those of this policy.

    >>> same_shape(nn.Conv2d(24, 96, 3, stride=2, bias=False))
    'Conv2d 24→96 kernel 3×3'
    """
    return _convolution(module, stride=False)


def _convolution(module: nn.Module, *, stride: bool) -> str | None:
    if not isinstance(module, _ConvNd):
        return None
    strides = f" stride {_times(module.stride)}" if stride else ""
    groups = f" groups {module.groups}" if module.groups > 1 else ""
    bias = " bias" if module.bias is not None else ""
    return (
        f"{type(module).__name__} {module.in_channels}→{module.out_channels} "
        f"kernel {_times(module.kernel_size)}{strides}{groups}{bias}"
    )


def with_bn(module: nn.Module) -> str | None:
    """What section 4.5.3 warns of: weights of batch norms of equal channels are shared too.

    Running statistics stay each norm's own, as those of `all_but_bn` do.

    >>> with_bn(nn.BatchNorm2d(24))
    'BatchNorm2d 24'
    """
    if isinstance(module, _BatchNorm) and module.affine:
        return f"{type(module).__name__} {module.num_features}"
    return all_but_bn(module)


def equal_layers(module: nn.Module) -> str | None:
    """Chapter 5's sharing: fully connected layers of equal shape too, batch norm never."""
    if isinstance(module, nn.Linear):
        bias = " bias" if module.bias is not None else ""
        return f"Linear {module.in_features}→{module.out_features}{bias}"
    return all_but_bn(module)


POLICIES: dict[str, Policy] = {
    "none": none,
    "all_but_bn": all_but_bn,
    "same_shape": same_shape,
    "with_bn": with_bn,
}


def policy(name: str) -> Policy:
    """The policy of a name in POLICIES.

    >>> policy("all_but_bn") is all_but_bn
    True

    Raises `SharingError` for a name that is none of these.
    """
    if name not in POLICIES:
        raise SharingError(
            f"unknown sharing policy {name!r}{did_you_mean(name, POLICIES)}: "
            f"choose from {', '.join(POLICIES)}"
        )
    return POLICIES[name]


def tie(model: nn.Module, policy: Policy | str = all_but_bn) -> tuple[Scope, ...]:
    """Tie, in place, the parameters of all modules that the policy gives the same name.

    A policy is a function of a module, or the name of one of `POLICIES`.

    Every module of a scope then holds the parameters of the first. Returns the scopes with more
    than one module; tying again changes nothing and returns the same. Raises `SharingError`,
    before anything is tied, for modules under one name that cannot hold the same parameters:
    these differ in shape, type, device or `requires_grad`, are computed by a parametrization, or
    have no shape yet, as those of `nn.LazyConv2d` before their first input.

    >>> model = nn.Sequential(*(nn.Conv2d(4, 4, 3, bias=False) for _ in range(3)))
    >>> (scope,) = tie(model)
    >>> scope.modules, scope.parameters, scope.saved
    (('0', '1', '2'), 144, 288)
    """
    members = _alike(model, policy)
    scopes = []
    for scope, modules in members.items():
        owner = modules[0][1]
        for _, module in modules[1:]:
            adopt(module, owner)
        if len(modules) > 1:
            scopes.append(Scope(scope, tuple(name for name, _ in modules), shapes(owner)))
    return tuple(scopes)


def check_alike(scope: str, owner: nn.Module, module: nn.Module) -> None:
    """Raise `SharingError` unless `module` can hold the parameters of `owner` as its own."""
    if any(is_lazy(p) for p in module.parameters(recurse=False)):
        raise SharingError(
            f"Scope {scope!r} holds a {type(module).__name__} whose parameters have no shape yet: "
            "run the model on an input first, or give the layer its number of input channels."
        )
    if module is owner:
        return
    for one in (owner, module):
        if is_parametrized(one):
            raise SharingError(
                f"Scope {scope!r} holds a module whose {', '.join(one.parametrizations)} is "
                "computed by a parametrization, which cannot be shared: let the policy return "
                "None for it, or use torch.nn.utils.parametrize.remove_parametrizations first."
            )
    first, second = _kinds(owner), _kinds(module)
    if first != second:
        raise SharingError(
            f"Scope {scope!r} holds parameters {first} and {second}, which cannot be one: let "
            "the policy give them different names."
        )


def _kinds(module: nn.Module) -> str:
    """What parameters must have in common to be one, as text: weight 4×4 float32 cpu."""
    return ", ".join(
        f"{name} {_times(p.shape)} {str(p.dtype).removeprefix('torch.')} {p.device}"
        f"{'' if p.requires_grad else ' frozen'}"
        for name, p in module.named_parameters(recurse=False)
    )


def adopt(module: nn.Module, owner: nn.Module) -> None:
    """Let `module` hold the parameters of `owner` in place of its own, each under all its names."""
    for name, parameter in list(owner._parameters.items()):
        if parameter is not None:
            setattr(module, name, parameter)


def untie(model: nn.Module, target: str | Scope) -> tuple[nn.Parameter, ...]:
    """Give a module, or every member of a scope, its own copy of what it shares, in place.

    The copies start from the shared values. `target` is a module's name as in `named_modules`;
    ties within that module stay, as do those among the others. Of a scope the first member keeps
    the shared parameters. Returns the new parameters, which an optimiser made before does not know
    yet (`optimizer.add_param_group`).

    >>> model = nn.Sequential(*(nn.Conv2d(4, 4, 3, bias=False) for _ in range(3)))
    >>> scopes = tie(model)
    >>> (own,) = untie(model, "1")
    >>> own is model[1].weight, model[2].weight is model[0].weight
    (True, True)

    Raises `SharingError` for a name the model does not have, for '', which names all of it, and
    for a module that shares nothing with the rest of the model.
    """
    if target == "":
        raise SharingError(
            "module '' is the whole model, outside which nothing is shared: name a part of it"
        )
    if isinstance(target, Scope):
        names, what = target.modules[1:], f"scope {target.name!r}"
    else:
        names, what = (target,), f"module {target!r}"
    copies = [parameter for name in names for parameter in _untied(model, name)]
    if not copies:
        raise SharingError(
            f"{what} is not tied to anything: tie(model, policy) returns the scopes that are"
        )
    return tuple(copies)


def _untied(model: nn.Module, name: str) -> list[nn.Parameter]:
    modules = dict(model.named_modules())
    if name not in modules:
        raise SharingError(
            f"the model has no module {name!r}{did_you_mean(name, modules)}: "
            "model.named_modules() lists the names"
        )
    inside = list(modules[name].modules())
    outside = set(model.modules()).difference(inside)
    shared = {p for module in outside for p in module.parameters(recurse=False)}
    copies: dict[nn.Parameter, nn.Parameter] = {}
    for module in inside:
        for key, parameter in list(module.named_parameters(recurse=False)):
            if parameter in shared:
                if parameter not in copies:
                    copy = parameter.detach().clone()
                    copies[parameter] = nn.Parameter(copy, parameter.requires_grad)
                setattr(module, key, copies[parameter])
    return list(copies.values())


def table(scopes: Iterable[Scope]):
    """What was tied, for people: a data frame with a row a scope, those that save most first.

    Columns: scope, shape (of each shared tensor), uses, parameters (of one use), saved.

    >>> model = nn.Sequential(*(nn.Conv2d(4, 4, 3) for _ in range(3)))
    >>> print(table(tie(model)).to_string(index=False))
                                    scope      shape  uses  parameters  saved
    Conv2d 4→4 kernel 3×3 stride 1×1 bias 4×4×3×3, 4     3         148    296
    """
    import pandas as pd

    columns = ["scope", "shape", "uses", "parameters", "saved"]
    rows = [
        (s.name, ", ".join(_times(n) for _, n in s.shapes), len(s.modules), s.parameters, s.saved)
        for s in sorted(scopes, key=lambda scope: -scope.saved)
    ]
    return pd.DataFrame(rows, columns=columns)


def merge(counts: ContextCounts, model: nn.Module, policy: Policy) -> ContextCounts:
    """Counts as if the modules of a scope shared their parameters, entry by entry.

    `counts` are those of the unshared `model`. Weight nodes stay as they are: each layer still
    uses its own. Raises `SharingError` as `tie` does, for what cannot be tied.
    """
    members = _alike(model, policy)
    scope_of = {
        f"{module}.{name}": f"{scope} {name}"
        for scope, modules in members.items()
        for module, layer in modules
        for name, _ in layer.named_parameters(recurse=False)
    }
    groups: dict[str, list[ParameterCount]] = {}
    for count in counts.parameter_counts:
        groups.setdefault(scope_of.get(count.name, count.name), []).append(count)
    merged = tuple(_added(group) for group in groups.values())
    dead = {}  # a tensor is dead only if its whole scope is, and then it is dead once
    for name, entries, why in counts.dead:
        scope = scope_of.get(name, name)
        if scope not in groups:
            dead.setdefault(scope, (name, entries, why))
    # the model itself shares nothing, so its layers are not those of these counts
    return replace(counts, parameter_counts=merged, dead=tuple(dead.values()), traced=None)


def _added(group: list[ParameterCount]) -> ParameterCount:
    if len(group) == 1:
        return group[0]
    return ParameterCount(
        names=tuple(name for p in group for name in p.names),
        shape=group[0].shape,
        log2_counts=reduce(np.logaddexp2, [p.log2_counts for p in group]),
        weight_nodes=sum(p.weight_nodes for p in group),
        uses=tuple(use for p in group for use in p.uses),
    )


def _alike(model: nn.Module, policy: Policy | str) -> dict[str, list[tuple[str, nn.Module]]]:
    """The modules of every scope with their names; SharingError where they cannot be one."""
    members = _members(model, policy)
    for scope, modules in members.items():
        for _, module in modules:
            check_alike(scope, modules[0][1], module)
    return members


def _members(model: nn.Module, asked: Policy | str) -> dict[str, list[tuple[str, nn.Module]]]:
    expect(model, nn.Module, "the model", "pass a torch.nn.Module", SharingError)
    if isinstance(asked, type) or not (isinstance(asked, str) or callable(asked)):
        raise SharingError(
            f"the policy is {shown(asked)}: pass one of {', '.join(POLICIES)} as a text, or a "
            "function that takes a module and returns the name of its scope or None"
        )
    chosen = policy(asked) if isinstance(asked, str) else asked
    members: dict[str, list[tuple[str, nn.Module]]] = {}
    for name, module in model.named_modules():
        scope = chosen(module)
        if scope is not None:
            members.setdefault(scope, []).append((name, module))
    return members


def shapes(module: nn.Module) -> Shapes:
    """Of a module's own parameters, by their names."""
    return tuple((n, tuple(p.shape)) for n, p in module.named_parameters(recurse=False))


def _times(sizes: tuple[int, ...]) -> str:
    return "×".join(map(str, sizes))


# While a model is built ---------------------------------------------------------------------------

_building: ContextVar[ScopeRegistry | None] = ContextVar("_building", default=None)


class ScopeRegistry:
    """The parameters of each scope so far, under the name that the policy gives a module.

    >>> registry = ScopeRegistry(all_but_bn)
    >>> first, second = (registry.share(nn.Conv2d(8, 8, 3)) for _ in range(2))
    >>> second.weight is first.weight
    True
    """

    def __init__(self, policy: Policy = all_but_bn):
        self.policy = policy
        self._owners: dict[str, nn.Module] = {}

    def share(self, module: nn.Module) -> nn.Module:
        """Let the module hold its scope's parameters, or found the scope; returns the module.

        Raises `SharingError` as `tie` does, if the module cannot hold the scope's parameters.
        """
        scope = self.policy(module)
        if scope is not None:
            owner = self._owners.setdefault(scope, module)
            check_alike(scope, owner, module)
            adopt(module, owner)
        return module


@contextmanager
def scope_registry(policy: Policy = all_but_bn) -> Iterator[ScopeRegistry]:
    """Within this context, modules share as they become part of another module (§4.5.3).

    ```python
    with scope_registry(all_but_bn):
        model = efficientnet_v2("b0")
    sum(p.numel() for p in model.parameters())  # 2_958_192, as tie leaves it
    ```

    The thesis's global dictionary of scopes, without the global: it ends with the context, and
    holds for this thread (or task) only. Of nested contexts the inner one decides. `tie` on the
    finished model changes nothing and returns the scopes. A replaced parameter is freed at once, so
    a shared model never takes the memory of an unshared one. The values are those of the scope's
    first module, or, where a model initialises all its modules at the end, those of its last.
    """
    registry = ScopeRegistry(policy)

    def share(parent: nn.Module, name: str, module: nn.Module | None) -> None:
        if module is not None and _building.get() is registry:
            registry.share(module)

    token = _building.set(registry)
    hook = register_module_module_registration_hook(share)
    try:
        yield registry
    finally:
        hook.remove()
        _building.reset(token)
