"""Scopes (thesis, §4.5.3): layers under one scope name are one layer.

A policy is a small function from a module to its scope name, or None to leave it alone. `tie`
makes the modules of a scope hold the same parameter objects; `merge` adds up, by scope, counts
that were taken without sharing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from torch import nn
from torch.nn.modules.conv import _ConvNd

from reuseprior.contexts import ContextCounts, ParameterCount
from reuseprior.contexts.array import with_axis

Policy = Callable[[nn.Module], str | None]


@dataclass(frozen=True)
class Scope:
    """One scope after tying: its name, the modules that share, and what that saves."""

    name: str
    modules: tuple[str, ...]
    parameters: int

    @property
    def saved(self) -> int:
        """Parameters that sharing saves."""
        return self.parameters * (len(self.modules) - 1)


def all_but_bn(module: nn.Module) -> str | None:
    """The thesis's text (§4.5.3): convolutions by kind, channels, kernel size and stride.

    >>> all_but_bn(nn.Conv2d(24, 96, 3, stride=2, bias=False))
    'Conv2d 24→96 kernel 3×3 stride 2×2'
    """
    if not isinstance(module, _ConvNd):
        return None
    groups = f" groups {module.groups}" if module.groups > 1 else ""
    bias = " bias" if module.bias is not None else ""
    return (
        f"{type(module).__name__} {module.in_channels}→{module.out_channels} "
        f"kernel {_times(module.kernel_size)} stride {_times(module.stride)}{groups}{bias}"
    )


def equal_layers(module: nn.Module) -> str | None:
    """Chapter 5's sharing: fully connected layers of equal shape too, batch norm never."""
    if isinstance(module, nn.Linear):
        bias = " bias" if module.bias is not None else ""
        return f"Linear {module.in_features}→{module.out_features}{bias}"
    return all_but_bn(module)


def thesis_tables(module: nn.Module) -> str | None:
    """The names behind Tables 4.3 and 4.4: kernel size and stride count for depthwise only.

    Ordinary convolutions of equal channels fall under one name whatever their kernel, tap by
    tap, so a 1×1 convolution adds to the first tap of a 3×3. Only counts can be merged so:
    there is no model whose parameters are tied this way.
    """
    if not isinstance(module, _ConvNd):
        return None
    if module.groups > 1:
        return all_but_bn(module)
    return f"{type(module).__name__} {module.in_channels}→{module.out_channels}"


POLICIES: dict[str, Policy] = {"all_but_bn": all_but_bn, "thesis_tables": thesis_tables}


def tie(model: nn.Module, policy: Policy = all_but_bn) -> tuple[Scope, ...]:
    """Tie, in place, the parameters of all modules that the policy gives the same name.

    Every module of a scope then holds the parameters of the first. Returns the scopes with more
    than one module. Raises ValueError, before anything is tied, if modules under one name have
    parameters of different shapes.
    """
    members = _members(model, policy)
    for scope, modules in members.items():
        shapes = {_shapes(module) for _, module in modules}
        if len(shapes) > 1:
            listed = " and ".join(sorted(str(dict(s)) for s in shapes))
            raise ValueError(
                f"Scope {scope!r} holds parameters of shapes {listed}, which cannot be one: let "
                "the policy give them different names."
            )
    scopes = []
    for scope, modules in members.items():
        owner = modules[0][1]
        for _, module in modules[1:]:
            for name, parameter in owner.named_parameters(recurse=False):
                setattr(module, name, parameter)
        if len(modules) > 1:
            size = sum(p.numel() for p in owner.parameters(recurse=False))
            scopes.append(Scope(scope, tuple(name for name, _ in modules), size))
    return tuple(scopes)


def merge(counts: ContextCounts, model: nn.Module, policy: Policy) -> ContextCounts:
    """Counts as if the modules of a scope shared their parameters, entry by entry.

    `counts` are those of the unshared `model`. Kernels of different sizes under one name are
    aligned at their first tap. Weight nodes stay as they are: each layer still uses its own.
    """
    scope_of = {
        f"{module}.{name}": f"{scope} {name}"
        for scope, modules in _members(model, policy).items()
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
    return replace(counts, parameter_counts=merged, dead=tuple(dead.values()))


def _added(group: list[ParameterCount]) -> ParameterCount:
    if len(group) == 1:
        return group[0]
    shape = tuple(np.max([p.shape for p in group], axis=0).tolist())
    total = None
    for count in group:
        logs = count.log2_counts
        for axis, size in enumerate(shape):  # entries beyond a smaller kernel add nothing
            if count.shape[axis] != size:
                logs = np.broadcast_to(logs, with_axis(logs.shape, axis, count.shape[axis]))
                pad = [(0, 0)] * logs.ndim
                pad[axis] = (0, size - count.shape[axis])
                logs = np.pad(logs, pad, constant_values=-np.inf)
        total = logs if total is None else np.logaddexp2(total, logs)
    return ParameterCount(
        names=tuple(name for p in group for name in p.names),
        shape=shape,
        log2_counts=total,
        weight_nodes=sum(p.weight_nodes for p in group),
        uses=tuple(use for p in group for use in p.uses),
    )


def _members(model: nn.Module, policy: Policy) -> dict[str, list[tuple[str, nn.Module]]]:
    members: dict[str, list[tuple[str, nn.Module]]] = {}
    for name, module in model.named_modules():
        scope = policy(module)
        if scope is not None:
            members.setdefault(scope, []).append((name, module))
    return members


def _shapes(module: nn.Module) -> tuple[tuple[str, tuple[int, ...]], ...]:
    return tuple((n, tuple(p.shape)) for n, p in module.named_parameters(recurse=False))


def _times(sizes: tuple[int, ...]) -> str:
    return "×".join(map(str, sizes))
