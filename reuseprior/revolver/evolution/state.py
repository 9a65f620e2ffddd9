"""The state of a search: all that it knows between two batches, and nothing of files or data."""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from reuseprior import schemas
from reuseprior.revolver.blueprints.blueprint import Blueprint
from reuseprior.revolver.evolution.population import Population
from reuseprior.revolver.evolution.registry import Registry
from reuseprior.revolver.evolution.trainer import Turn

Tensors = dict[str, Tensor]  # by scope and key: "conv3_16_7_2_3_1_1_F:weight"


class Best(NamedTuple):
    """The trained individual with the highest validation accuracy, as it was then."""

    number: int
    generation: int
    accuracy: float  # validation
    loss: float  # validation
    blueprint: Blueprint

    def to_data(self) -> dict[str, Any]:
        """The best individual as JSON values."""
        return self._asdict() | {"blueprint": self.blueprint.to_data()}

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> Best:
        """The best individual that `to_data` wrote."""
        return cls(**data | {"blueprint": Blueprint.from_data(data["blueprint"])})


@dataclass
class Plan:
    """A generation in hand: whose turns are to come, and what was done so far."""

    generation: int
    replaced: int  # low performers
    left: list[int]  # slots of those who are to be trained
    turns: int  # of the search before this generation
    failures: int = 0
    batches: int = 0
    seconds: float = 0.0  # until it was last interrupted


@dataclass
class State:
    """What a search goes on from; each field is what is so at the moment."""

    registry: Registry
    rng: random.Random  # of all that chance decides outside of training
    coefficient: float  # of the genotypes' fitness
    generation: int  # the last one that is complete
    population: Population = field(default_factory=Population)
    trainings: list[dict[str, Any]] = field(default_factory=list)  # a row a turn
    lineage: list[dict[str, Any]] = field(default_factory=list)  # a row an individual
    # who trained each registered module last; None after a checkpoint that does not say
    trained_by: dict[str, int] | None = field(default_factory=dict)
    born: int = 0
    turns: int = 0
    failures: int = 0  # since the last turn that was none
    plan: Plan | None = None
    turn: Turn | None = None
    momentum: Tensors = field(default_factory=dict)  # where it is kept by scope
    best: Best | None = None
    best_tensors: Tensors = field(default_factory=dict)

    def to_data(self) -> tuple[dict[str, Tensors], dict[str, Any]]:
        """The state as groups of tensors and, for the rest, as JSON values."""
        tensors, registry = self.registry.state()
        groups = {"module": tensors, "best": self.best_tensors, "momentum": self.momentum}
        if self.turn is not None:
            groups |= {"before": self.turn.before, "turn": self.turn.momentum}
        plain = (
            "generation", "coefficient", "trainings", "lineage", "trained_by", "born", "turns",
            "failures",
        )  # fmt: skip
        return groups, {
            **{key: getattr(self, key) for key in plain},
            "rng": state_of(self.rng),
            "registry": registry,
            "population": self.population.to_data(),
            "plan": self.plan and asdict(self.plan),
            "turn": self.turn and self.turn.to_data(),
            "best": self.best and self.best.to_data(),
        }

    @classmethod
    def from_data(
        cls,
        groups: dict[str, Tensors],
        data: dict[str, Any],
        *,
        device: torch.device | str = "cpu",
        memory_format: torch.memory_format = torch.contiguous_format,
    ) -> State:
        """The state that `to_data` wrote, its modules built on a device.

        Raises KeyError, TypeError, ValueError or RuntimeError where something is missing or of
        another type.
        """
        schemas.fitting(data, schemas.SearchState)

        def held(group: str) -> Tensors:
            tensors = groups.get(group, {})
            return {key: tensor.to(device, copy=True) for key, tensor in tensors.items()}

        values = {"trained_by": None} | data | {"rng": generator_of(data["rng"])}
        values["registry"] = Registry.restore(
            groups.get("module", {}), data["registry"], device=device, memory_format=memory_format
        )
        values["population"] = Population.from_data(data["population"])
        if data["plan"] is not None:
            values["plan"] = Plan(**data["plan"])
        if data["turn"] is not None:
            values["turn"] = Turn(**data["turn"], before=held("before"), momentum=held("turn"))
        if data["best"] is not None:
            values["best"] = Best.from_data(data["best"])
        state = cls(**values, momentum=held("momentum"), best_tensors=held("best"))
        for individual in state.population:
            state.registry.build(individual.blueprint, individual.scopes)
        return state


def state_of(rng: random.Random) -> list:
    """The state of a generator as JSON values."""
    version, numbers, gauss = rng.getstate()
    return [version, list(numbers), gauss]


def generator_of(state: list) -> random.Random:
    """The generator whose state this is."""
    rng = random.Random()
    version, numbers, gauss = state
    rng.setstate((version, tuple(numbers), gauss))
    return rng
