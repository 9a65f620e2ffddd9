"""Sharing while a model is built: a registry that hands out one parameter per scope name."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from torch import nn
from torch.nn.modules.module import register_module_module_registration_hook

from reuseprior.sharing.scopes import Policy, adopt, all_but_bn, check_alike

_building: ContextVar["ScopeRegistry | None"] = ContextVar("_building", default=None)


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
