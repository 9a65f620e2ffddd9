"""The registry (thesis, §3.3.3 and 3.3.4): one object for each scope name.

Only leaves hold weights. A block with parts is a thin module around them, made anew when its
content, and so its name, changes; its parts stay the objects they were.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from hashlib import sha256
from typing import Any

import torch
from torch import Tensor, nn

from reuseprior.revolver.blueprints import kinds
from reuseprior.revolver.blueprints.blueprint import Blueprint, Path, Scope
from reuseprior.revolver.blueprints.errors import BlueprintError
from reuseprior.revolver.blueprints.kinds import Composite
from reuseprior.revolver.blueprints.shapes import check
from reuseprior.revolver.blueprints.uniqueness import Tags


class Registry:
    """Modules by scope name, built once and reused, and the tags of unique names.

    ```python
    registry = Registry(seed=0)
    a, b = (generate(space, random.Random(i), registry.tags) for i in range(2))
    net = registry.build(a)     # the same object each time
    registry.build(b)           # shares every module whose name is in both
    registry.collect([a])       # the names that only b held
    ```

    A module's first weights depend on the seed and its name alone, and building leaves the global
    random numbers as they were: two registries do not meet. On the device "meta" modules have no
    weights, for shapes. With `inherit`, a unique module made anew starts from the weights of the
    module whose place it took, while that one is registered and of the same shape (the future
    work of the thesis's footnote 7); otherwise it starts afresh.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        device: str | torch.device = "cpu",
        memory_format: torch.memory_format = torch.contiguous_format,
        inherit: bool = False,
    ):
        self.seed = seed
        self.device = torch.device(device)
        self.memory_format = memory_format
        self.inherit = inherit
        self.tags = Tags()
        self.modules: dict[str, nn.Module] = {}
        # Of the leaves with tensors: kind, arguments, and whether one place owns them.
        self._leaves: dict[str, tuple[str, dict[str, Any], bool]] = {}
        self._kept: dict[str, None] = {}  # shared leaves beyond the living, the oldest first

    def __len__(self) -> int:
        return len(self.modules)

    def __contains__(self, name: str) -> bool:
        return name in self.modules

    def __getitem__(self, name: str) -> nn.Module:
        return self.modules[name]

    def build(self, blueprint: Blueprint, scopes: list[Scope] | None = None) -> nn.Module:
        """The module of a blueprint; what is registered under a name already is used as it is.

        `scopes` are the blueprint's, where they are known already. Raises `BlueprintError` as
        `shapes.check` does, before anything is registered.
        """
        scopes = scopes or blueprint.scopes()
        root = scopes[-1].name
        if root not in self.modules:
            check(blueprint)
            names = {}
            for _, node, name in scopes:
                names[id(node)] = name
                if name not in self.modules:
                    parts = {role: self.modules[names[id(c)]] for role, c in node.children.items()}
                    self.modules[name] = self._made(node, name, parts)
        for _, node, name in scopes:
            if node.freeze:
                _set_frozen(self.modules[name], True)
        return self.modules[root]

    def tensors(self, scopes: Iterable[Scope]) -> dict[str, Tensor]:
        """All parameters and buffers of what is built there, each once, by `NAME:KEY`."""
        found = {}
        for name in (scope.name for scope in scopes):
            module = self.modules[name]
            own = (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))
            found |= {f"{name}:{key}": tensor for key, tensor in own}
        return found

    def collect(self, living: Iterable[Blueprint], *, keep: int = 0) -> list[str]:
        """Drop what no living individual reaches (rule 7); returns the dropped names.

        Of the shared modules with weights, the last `keep` that died stay, to be found again by
        later individuals; `keep=0` purges them.
        """
        return self.retain({scope.name for b in living for scope in b.scopes()}, keep=keep)

    def retain(self, alive: Collection[str], *, keep: int = 0) -> list[str]:
        """`collect`, given the names that are in use."""
        for name in [name for name in self.modules if name not in alive]:
            if name in self._leaves and not self._leaves[name][2]:
                self._kept.setdefault(name)
        self._kept = {name: None for name in self._kept if name not in alive}
        for name in list(self._kept)[: max(len(self._kept) - keep, 0)]:
            del self._kept[name]
        dropped = [name for name in self.modules if name not in alive and name not in self._kept]
        for name in dropped:
            del self.modules[name]
            self._leaves.pop(name, None)
        return dropped

    def freeze(self, blueprint: Blueprint, path: Path | str = ()) -> None:
        """Freeze all modules at and below a place, for everyone who shares them.

        Their parameters leave the training (`requires_grad` is False) and batch norms keep their
        statistics.
        """
        for _, node in blueprint.at(path).walk():
            node.freeze = True
        self.build(blueprint)

    def thaw(self, blueprint: Blueprint, path: Path | str = ()) -> None:
        """Undo `freeze` at and below a place; the flags of its ancestors go too."""
        for node in blueprint.lineage(path):
            node.freeze = False
        for _, node in blueprint.at(path).walk():
            node.freeze = False
        self.build(blueprint)
        names = {id(node): name for _, node, name in blueprint.scopes()}
        _set_frozen(self.modules[names[id(blueprint.at(path))]], False)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """All tensors by `NAME:KEY`, and the rest as JSON values; `restore` takes them back.

        Blocks with parts are left out: building the blueprints makes them again.
        """
        tensors = {
            f"{name}:{key}": tensor
            for name in self._leaves
            for key, tensor in self.modules[name].state_dict().items()
        }
        leaves = {
            name: {
                "kind": kind,
                "arguments": arguments,
                "owned": owned,
                "frozen": _is_frozen(self.modules[name]),
            }
            for name, (kind, arguments, owned) in self._leaves.items()
        }
        return tensors, {
            "seed": self.seed,
            "inherit": self.inherit,
            "tags": self.tags.count,
            "leaves": leaves,
            "kept": list(self._kept),
        }

    @classmethod
    def restore(
        cls,
        tensors: dict[str, Tensor],
        description: dict[str, Any],
        *,
        device: str | torch.device = "cpu",
        memory_format: torch.memory_format = torch.contiguous_format,
    ) -> Registry:
        """The registry whose `state` this is, on a device; raises `BlueprintError` if cut short."""
        registry = cls(
            seed=description["seed"],
            device=device,
            memory_format=memory_format,
            inherit=description["inherit"],
        )
        registry.tags.count = description["tags"]
        for name, leaf in description["leaves"].items():
            node = Blueprint(leaf["kind"], kinds.complete(leaf["kind"], leaf["arguments"]))
            node.unique = leaf["owned"]
            module = registry._made(node, name, {})
            expected = module.state_dict()
            try:
                module.load_state_dict({key: tensors[f"{name}:{key}"] for key in expected})
            except (KeyError, RuntimeError) as error:
                raise BlueprintError(
                    f"the saved registry has no fitting tensors for {name!r} ({error}): it is cut "
                    "short or of another version"
                ) from error
            _set_frozen(module, leaf["frozen"])
            registry.modules[name] = module
        registry._kept = dict.fromkeys(description["kept"])
        return registry

    def _made(self, node: Blueprint, name: str, parts: dict[str, nn.Module]) -> nn.Module:
        cls = kinds.find(node.kind)
        if issubclass(cls, Composite):
            return cls(parts, **node.arguments)
        module = self._first(cls, node.arguments, name)
        if module.state_dict():
            self._leaves[name] = (node.kind, dict(node.arguments), node.unique or cls.by_use(node))
        if self.inherit:
            self._inherit(module, node.meta.get("origins", []))
        module.to(self.device)
        for parameter in module.parameters(recurse=False):
            if parameter.dim() == 4:
                parameter.data = parameter.data.contiguous(memory_format=self.memory_format)
        return module

    def _first(self, cls: type, arguments: dict[str, Any], name: str) -> nn.Module:
        """A leaf with its first weights, which follow from the seed and the name."""
        if self.device.type == "meta":
            with self.device:
                return cls(**arguments)
        before = torch.get_rng_state()
        try:
            digest = sha256(f"{self.seed}:{name}".encode()).digest()
            torch.default_generator.manual_seed(int.from_bytes(digest[:8], "big", signed=True))
            return cls(**arguments)
        finally:
            torch.set_rng_state(before)

    def _inherit(self, module: nn.Module, origins: list[str]) -> None:
        for name in origins:
            if name in self.modules and _shapes(self.modules[name]) == _shapes(module):
                module.load_state_dict(self.modules[name].state_dict())
                return


def _set_frozen(module: nn.Module, frozen: bool) -> None:
    for parameter in module.parameters():
        parameter.requires_grad_(not frozen)
        if frozen:
            parameter.grad = None
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.frozen = frozen
            if frozen:
                part.eval()


def _is_frozen(module: nn.Module) -> bool:
    if isinstance(module, nn.BatchNorm2d):
        return module.frozen
    parameters = list(module.parameters())
    return bool(parameters) and not any(p.requires_grad for p in parameters)


def _shapes(module: nn.Module) -> list:
    return [(key, tensor.shape) for key, tensor in module.state_dict().items()]
