"""A population: individuals, their scores, and the modules that they share by name."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from hashlib import sha256
from statistics import fmean
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from reuseprior import schemas
from reuseprior.revolver import blueprints
from reuseprior.revolver.blueprints import (
    Blueprint,
    BlueprintError,
    Composite,
    Path,
    Scope,
    Tags,
    check,
    find,
)

NEW, CHILDREN, EVERYWHERE = 0.7, 0.2, 0.1
MEMORY = 0.95  # of a shared module's score over all its uses


class Use(NamedTuple):
    """A registered module of an individual: its blueprint, and how often it is used."""

    node: Blueprint
    parameters: int  # learnable, its own
    times: int


@dataclass(eq=False)
class Individual:
    """A blueprint with its history; `score` is what it competes by, lower is better.

    The score is the genotype fitness until the first training and then follows the phenotype's.
    A blueprint in a population is not changed: its offspring is.
    """

    number: int  # in the order of birth, for lineages
    blueprint: Blueprint
    fitness: float  # of the genotype, when it was found
    operator: str = "initial"
    parents: tuple[int, ...] = ()
    generation: int = 0  # of its birth
    rounds: int = 0  # trainings
    batches: int = 0  # trained on in all of them
    loss: float | None = None  # validation, at the last training
    accuracy: float | None = None
    _json = None, ""  # the text, and what it is of

    @property
    def score(self) -> float:
        """The score of the whole model, kept in its blueprint's meta."""
        return self.blueprint.meta["score"]

    @cached_property
    def scopes(self) -> list[Scope]:
        """Its blueprint's scopes, which stay as they are."""
        return self.blueprint.scopes()

    @cached_property
    def modules(self) -> dict[str, Use]:
        """All its modules by registered name."""
        return _uses(self.scopes)

    @property
    def parameters(self) -> int:
        """Distinct learnable parameters."""
        return sum(use.parameters for use in self.modules.values())

    def to_data(self) -> dict[str, Any]:
        """The individual as JSON values."""
        plain = {field.name: getattr(self, field.name) for field in fields(self)[2:]}
        whole = {"parents": list(self.parents), "blueprint": self.blueprint.to_data()}
        return {"number": self.number, **plain, **whole}

    def to_json(self) -> str:
        """The individual as JSON text, which is kept: between its trainings it does not change."""
        version = (self.rounds, [node.freeze for _, node in self.blueprint.walk()])
        if self._json[0] != version:
            self._json = version, json.dumps(self.to_data(), allow_nan=False)
        return self._json[1]

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> Individual:
        """The individual that `to_data` wrote."""
        blueprint = Blueprint.from_data(data["blueprint"])
        return schemas.converted(data | {"blueprint": blueprint}, cls)


class ModuleScore(NamedTuple):
    """A shared module, as table C.1 ranks them."""

    name: str
    kind: str
    in_channels: int
    out_channels: int
    kernel_size: int | None
    score: float  # lower is better
    parameters: int
    individuals: int  # that hold it
    uses: int  # in all of them


class SharedParameters(NamedTuple):
    """How far a population shares its parameters."""

    distinct: int  # parameters, each once
    alone: int  # parameters of all individuals, each for itself
    shared: int  # distinct parameters that are used in two places or more

    @classmethod
    def of(cls, individuals: Iterable[Mapping[str, Use]]) -> SharedParameters:
        """Counted from every individual's modules by name."""
        sizes: dict[str, int] = {}
        times: dict[str, int] = {}
        alone = 0
        for modules in individuals:
            for name, use in modules.items():
                sizes[name] = use.parameters
                times[name] = times.get(name, 0) + use.times
                alone += use.parameters
        shared = sum(size for name, size in sizes.items() if times[name] > 1)
        return cls(sum(sizes.values()), alone, shared)

    @property
    def factor(self) -> float:
        """Parameters without sharing between individuals over those with; 1: nothing shared."""
        return self.alone / self.distinct if self.distinct else 1.0

    @property
    def share(self) -> float:
        """The part of the distinct parameters that is used in two places or more."""
        return self.shared / self.distinct if self.distinct else 0.0


@dataclass(eq=False)
class Population:
    """Individuals in slots, and the scores of shared modules over all their uses.

    In Jupyter it displays as a map of who shares what (`show`).
    """

    individuals: list[Individual] = field(default_factory=list)
    scores: dict[str, float] = field(default_factory=dict)  # registered name → score

    def __len__(self) -> int:
        return len(self.individuals)

    def __iter__(self):
        return iter(self.individuals)

    def __getitem__(self, index: int) -> Individual:
        return self.individuals[index]

    def ranked(self) -> list[int]:
        """The slots from the best score to the worst; of equals, the elder first."""
        order = sorted(enumerate(self), key=lambda slot: (slot[1].score, slot[1].number))
        return [index for index, _ in order]

    def trained(self) -> list[Individual]:
        """The individuals that were trained, the best score first."""
        return [self[index] for index in self.ranked() if self[index].rounds]

    def blueprints(self) -> list[Blueprint]:
        """The blueprints in the order of their slots."""
        return [individual.blueprint for individual in self]

    def place(self, index: int, individual: Individual) -> None:
        """Put a new individual into a slot; parts without a score get its genotype fitness."""
        for _, node in individual.blueprint.walk():
            node.meta.setdefault("score", individual.fitness)
        individual.blueprint.meta["score"] = individual.fitness
        if index == len(self):
            self.individuals.append(individual)
        else:
            self.individuals[index] = individual

    def sharing(self) -> SharedParameters:
        """Distinct and shared parameters of the whole population.

        The smallest case: two individuals of one and the same shared module have a factor of 2.
        """
        return SharedParameters.of(individual.modules for individual in self)

    def ranking(self) -> list[ModuleScore]:
        """The scored shared modules with parameters that somebody holds, the best first."""
        uses: dict[str, list[Use]] = {}
        for individual in self:
            for name, use in individual.modules.items():
                if name in self.scores and use.parameters:
                    uses.setdefault(name, []).append(use)
        scored = [
            ModuleScore(
                name=name,
                kind=first.node.kind,
                in_channels=first.node.input_shape[0],
                out_channels=first.node.output_shape[0],
                kernel_size=first.node.arguments.get("kernel_size"),
                score=self.scores[name],
                parameters=first.parameters,
                individuals=1 + len(others),
                uses=sum(use.times for use in (first, *others)),
            )
            for name, (first, *others) in uses.items()
        ]
        return sorted(scored, key=lambda module: (module.score, module.name))

    def forget(self, names: Iterable[str]) -> None:
        """Drop the scores of modules that are no longer registered."""
        for name in names:
            self.scores.pop(name, None)

    def to_data(self) -> dict[str, Any]:
        """The population as JSON values, each individual as JSON text."""
        return {"individuals": [i.to_json() for i in self], "scores": dict(self.scores)}

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> Population:
        """The population that `to_data` wrote."""
        individuals = [Individual.from_data(schemas.decode(text)) for text in data["individuals"]]
        return schemas.converted(data | {"individuals": individuals}, cls)


def sharing_factor(blueprints: Iterable[Blueprint]) -> float:
    """The sum of the individuals' parameters over the population's: 1.0 where nothing is shared."""
    return SharedParameters.of(_uses(b.scopes()) for b in blueprints).factor


# Scores -------------------------------------------------------------------------------------------


def update_scores(
    scopes: Iterable[Scope],
    fitness: float,
    scores: MutableMapping[str, float],
    *,
    weight: float = 0.5,
) -> None:
    """Carry an individual's new fitness into the scores of all its modules (thesis, §3.4).

    `scopes` are the individual's. From the leaves up,
    s ← w·(0.7·fitness + 0.2·mean of the children + 0.1·everywhere) + (1−w)·s. What a shared
    module scores everywhere, in `scores` by name, moves by a twentieth of the way.
    """
    for _, node, name in scopes:
        below = [child.meta["score"] for child in node.children.values()]
        shared = not node.unique and "@" not in name  # a batch norm of one use belongs to it alone
        everywhere = scores.get(name, fitness) if shared else fitness
        new = NEW * fitness + CHILDREN * (fmean(below) if below else fitness)
        new += EVERYWHERE * everywhere
        score = weight * new + (1 - weight) * node.meta.get("score", fitness)
        node.meta["score"] = score
        if shared:
            scores[name] = (1 - MEMORY) * score + MEMORY * scores.get(name, score)


def _uses(scopes: Iterable[Scope]) -> dict[str, Use]:
    uses: dict[str, Use] = {}
    for _, node, name in scopes:
        times = uses[name].times if name in uses else 0
        uses[name] = Use(node, find(node.kind).size(node), times + 1)
    return uses


# Modules ------------------------------------------------------------------------------------------


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
        self._leaves: dict[str, dict[str, Any]] = {}
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
        by_key = {}
        for name in (scope.name for scope in scopes):
            module = self.modules[name]
            held = (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))
            by_key |= {f"{name}:{key}": tensor for key, tensor in held}
        return by_key

    def collect(self, living: Iterable[Blueprint], *, keep: int = 0) -> list[str]:
        """Drop what no living individual reaches (rule 7); returns the dropped names.

        Of the shared modules with weights, the last `keep` that died stay, to be found again by
        later individuals; `keep=0` purges them.
        """
        return self.retain({scope.name for b in living for scope in b.scopes()}, keep=keep)

    def retain(self, alive: Collection[str], *, keep: int = 0) -> list[str]:
        """`collect`, given the names that are in use."""
        for name in [name for name in self.modules if name not in alive]:
            if name in self._leaves and not self._leaves[name]["owned"]:
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
            name: leaf | {"frozen": _is_frozen(self.modules[name])}
            for name, leaf in self._leaves.items()
        }
        return tensors, {
            "seed": self.seed,
            "inherit": self.inherit,
            "tags": self.tags.count,
            "leaves": leaves,
            "kept": list(self._kept),
        }

    @classmethod
    def restore(cls, tensors: dict[str, Tensor], description: dict[str, Any], **place) -> Registry:
        """The registry whose `state` this is; raises `BlueprintError` if it is cut short.

        `place` is a device and a memory format, the default ones if not given.
        """
        registry = cls(seed=description["seed"], inherit=description["inherit"], **place)
        registry.tags.count = description["tags"]
        for name, leaf in description["leaves"].items():
            node = Blueprint(leaf["kind"], blueprints.complete(leaf["kind"], leaf["arguments"]))
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
        cls = blueprints.find(node.kind)
        if issubclass(cls, Composite):
            return cls(parts, **node.arguments)
        module = self._first(cls, node.arguments, name)
        if module.state_dict():
            owned = node.unique or cls.by_use(node)
            leaf = {"kind": node.kind, "arguments": dict(node.arguments), "owned": owned}
            self._leaves[name] = leaf
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
