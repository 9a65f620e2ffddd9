"""The state of a search between two turns, its checkpoint, and what it writes beside that."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from math import prod
from pathlib import Path
from statistics import fmean
from textwrap import shorten
from typing import Annotated, Any

import msgspec
import torch
from torch import Tensor

from reuseprior import files, schemas
from reuseprior.results import Recording, Run, finished, make_folder, write_csv, write_json
from reuseprior.revolver.blueprints import Blueprint
from reuseprior.revolver.population import Individual, Population, Registry
from reuseprior.revolver.space import Settings, learning_rate
from reuseprior.training import checkpoint
from reuseprior.training.checkpoint import NAME, CheckpointError, put_back

Tensors = dict[str, Tensor]  # by scope and key: "conv3_16_7_2_3_1_1_F:weight"
Word = Annotated[int, msgspec.Meta(ge=0, lt=2**32)]
RandomState = tuple[int, list[Word], float | None]  # as random.Random.getstate has it


@dataclass(frozen=True)
class Best:
    """The trained individual with the highest validation accuracy, as it was then."""

    number: int
    generation: int
    accuracy: float  # validation
    loss: float  # validation
    blueprint: Blueprint

    def to_data(self) -> dict[str, Any]:
        """The best individual as JSON values."""
        return vars(self) | {"blueprint": self.blueprint.to_data()}

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> Best:
        """The best individual that `to_data` wrote."""
        blueprint = Blueprint.from_data(data["blueprint"])
        return schemas.converted(data | {"blueprint": blueprint}, cls)


@dataclass
class CurrentGeneration:
    """Whose turns are to come in a generation, and what was done so far."""

    generation: int
    replaced: int  # low performers
    left: list[int]  # slots of those who are to be trained
    turns: int  # of the search before this generation
    failures: int = 0
    batches: int = 0
    seconds: schemas.Seconds = 0.0  # until it was last interrupted


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
    current: CurrentGeneration | None = None
    momentum: Tensors = field(default_factory=dict)  # where it is kept by scope
    best: Best | None = None
    best_tensors: Tensors = field(default_factory=dict)

    def to_data(self) -> tuple[dict[str, Tensors], dict[str, Any]]:
        """The state as groups of tensors and, for the rest, as JSON values."""
        tensors, registry = self.registry.state()
        groups = {"module": tensors, "best": self.best_tensors, "momentum": self.momentum}
        return groups, {
            **{key: value for key, value in vars(self).items() if key not in _APART},
            "rng": self.rng.getstate(),
            "registry": registry,
            "population": self.population.to_data(),
            "plan": self.current and asdict(self.current),
            "best": self.best and self.best.to_data(),
        }

    @classmethod
    def from_data(cls, groups: dict[str, Tensors], data: dict[str, Any], **place) -> State:
        """The state that `to_data` wrote, its modules built in a place, as `Registry.restore` does.

        Raises SchemaError, LookupError, TypeError, ValueError, AttributeError or RuntimeError where
        something is missing or of another type.
        """

        registry = Registry.restore(groups.get("module", {}), data["registry"], **place)

        def held(group: str) -> Tensors:
            tensors = groups.get(group, {})
            return {key: tensor.to(registry.device, copy=True) for key, tensor in tensors.items()}

        rng = random.Random()
        version, numbers, gauss = schemas.converted(data["rng"], RandomState)
        rng.setstate((version, tuple(numbers), gauss))
        objects = {
            "rng": rng,
            "registry": registry,
            "population": Population.from_data(data["population"]),
            "current": data["plan"],
            "best": data["best"] and Best.from_data(data["best"]),
            "momentum": held("momentum"),
            "best_tensors": held("best"),
        }
        if lost := {f.name for f in fields(cls)} - {*data, *objects, "trained_by"}:
            raise schemas.SchemaError(f"has no {min(lost)}")
        state = schemas.converted({"trained_by": None} | data | objects, cls)
        for individual in state.population:
            state.registry.build(individual.blueprint, individual.scopes)
        if data.get("turn"):  # older packages stopped within one
            individual = state.population[data["turn"]["slot"]]
            put_back(held("before"), state.registry.tensors(individual.scopes))
            state.give_back(data["turn"]["slot"])
        return state

    def give_back(self, slot: int) -> None:
        """Let a turn that was stopped, and whose tensors are as before, come next again."""
        self.current.left.insert(0, slot)
        self.turns -= 1


_APART = ("momentum", "best_tensors", "current")


# The checkpoint: one file that is whole or not there, without pickle ------------------------------

VERSION = 1
# of its tensors: group, key, type and shape of each
Index = list[tuple[str, str, str, list[Annotated[int, msgspec.Meta(ge=0, le=2**40)]]]]


def save(
    path: Path,
    tensors: dict[str, Tensors],
    state: dict[str, Any],
    *,
    config: Mapping | None = None,
) -> None:
    """Write groups of tensors and a state of JSON values in place of the last checkpoint.

    A population has 25,000 small tensors: those of a type are written as one long one. `config` is
    what the search's `config.json` says.
    """
    rows: dict[str, list[Tensor]] = {}
    index = []
    for group, held in tensors.items():
        for key, tensor in held.items():
            dtype = str(tensor.dtype).removeprefix("torch.")
            rows.setdefault(dtype, []).append(tensor.detach().flatten())
            index.append([group, key, dtype, list(tensor.shape)])
    packed = {dtype: torch.cat(parts) for dtype, parts in rows.items()}
    checkpoint.save(path, packed, {"version": VERSION, "index": index, **state}, config=config)


def load(path: Path, *, config: Mapping | None = None) -> tuple[dict[str, Tensors], dict[str, Any]]:
    """What `save` wrote.

    `CheckpointError` for a file that is not whole or of another version and, with `config`, for one
    of another search.
    """
    packed, state = checkpoint.load(path, config=config)
    version = state.pop("version", None)
    if version != VERSION:
        raise CheckpointError(
            f"{path} is a checkpoint of version {version} and this package reads version {VERSION}"
            ": resume with the package that wrote it, or begin anew in another folder"
        )
    tensors: dict[str, Tensors] = {}
    start = dict.fromkeys(packed, 0)
    try:
        for group, key, dtype, shape in schemas.fitting(state.pop("index"), Index):
            end = start[dtype] + prod(shape)
            tensors.setdefault(group, {})[key] = packed[dtype][start[dtype] : end].view(shape)
            start[dtype] = end
    except (KeyError, ValueError, RuntimeError) as error:
        # torch says at length where in its own code it was
        why = shorten(str(error), 100, placeholder=" …")
        raise refusal(path, f"its tensors do not fit their index: {why}", config) from error
    return tensors, state


def refusal(path: Path, why: str, config: Mapping | None = None) -> CheckpointError:
    """The error for a checkpoint that holds no state of a search, with what can be done now."""
    why = f"is no whole checkpoint of a search ({why})"
    return checkpoint.refusal(path, why, config, whole=True)


# Records ------------------------------------------------------------------------------------------

WINDOW = 700  # validations in the moving average of figure 3.1
LAST = 200  # validations in the mean of table 3.2
SHOWN = 3  # blueprints of the best individuals that are recorded


class Log:
    """What a search writes, and its checkpoint; without a folder it holds the rows alone.

    Of several processes only the one that `writes` does.
    """

    def __init__(self, folder: Path | None = None, config: dict[str, Any] | None = None):
        self.folder = folder
        self.rows: list[dict[str, Any]] = []  # a generation each
        self._config = config
        self._recording: Recording | None = None

    def open(self, *, resume: bool) -> None:
        """Begin to write, or go on with what stands in the folder.

        Raises `ResultError` and, where another process searches there, `files.Locked`.
        """
        self._recording = Recording.start(self.folder, self._config, resume=resume, checkpoint=NAME)
        if self._failures.is_dir():
            files.sweep(self._failures)

    @property
    def _failures(self) -> Path:
        return self.folder / "failures"

    def restore(self, settings: Settings, **place) -> State | None:
        """The state that the checkpoint holds, or None without one; raises `CheckpointError`.

        Rows that came after it are dropped. Its modules are built in a place, as `State.from_data`
        does.
        """
        path = self.folder / NAME
        state, digest, done = None, None, 0
        if path.exists():
            groups, data = load(path, config=self._config)
            digest = data.pop("rows", None)
            try:
                state = State.from_data(groups, data, **place)
            except (AttributeError, LookupError, TypeError, ValueError, RuntimeError) as error:
                raise refusal(path, str(error), self._config) from error
            done = state.generation + settings.warmup
        if self._recording:
            self._recording.verify(done, digest)
            if state and self.is_finished(state, settings):
                self._recording.settle()  # which a kill may have prevented
            else:
                self._recording.truncate(done)
            self.rows = list(self._recording.rows)
        return state

    def is_finished(self, state: State, settings: Settings) -> bool:
        """Whether the last generation is done and the summary written."""
        is_done = self.folder is not None and state.generation >= settings.generations
        return is_done and finished(self.folder)

    def add(self, row: dict[str, Any], state: State) -> None:
        """A generation that is done: its row, the tables beside it and a checkpoint."""
        self.rows.append(row)
        if self._recording:
            self._recording.append(row)
            self._write_tables(state)
        self.keep(state)

    def keep(self, state: State) -> None:
        """Write a checkpoint in place of the last one."""
        if self._recording:
            self._recording.check()
            groups, data = state.to_data()
            data["rows"] = self._recording.digest()
            save(self.folder / NAME, groups, data, config=self._config)

    def note_failure(self, individual: Individual, state: State, reason: str, batches: int) -> None:
        """An individual that could not be trained, with its blueprint."""
        if not self._recording:
            return
        self._recording.check()
        make_folder(self._failures)
        generation = state.current.generation
        note = {"generation": generation, "reason": reason, "batches": batches}
        write_json(
            self._failures / f"generation-{generation}-individual-{individual.number}.json",
            note | {"individual": individual.to_data()},
        )

    def finish(self, state: State, summary: dict[str, Any], *, complete: bool) -> Run | None:
        """Write the summary and the best blueprints; the recorded run, where this one writes."""
        if not self._recording:
            return None
        self._write_tables(state)
        shown = [individual.to_data() for individual in state.population.trained()[:SHOWN]]
        best = {"best_by_validation": state.best and state.best.to_data(), "best_by_score": shown}
        # a line each: indented they are four times as long
        lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in best.items()]
        files.write(self.folder / "blueprints.json", ("{" + ",\n".join(lines) + "}\n").encode())
        return self._recording.finish(summary, state="finished" if complete else "interrupted")

    def _write_tables(self, state: State) -> None:
        """Everything beside the generations table, anew."""
        modules = [
            {"rank": rank, **module._asdict()}
            for rank, module in enumerate(state.population.ranking(), 1)
        ]
        tables = {"trainings": state.trainings, "lineage": state.lineage, "modules": modules}
        for name, rows in tables.items():
            write_csv(self.folder / f"{name}.csv", rows)


def row_of(state: State, settings: Settings, seconds: float) -> dict[str, Any]:
    """The current generation as a row of `metrics.csv`; it took so long since it was taken up."""
    current, population = state.current, state.population
    turns = state.trainings[current.turns :]
    losses, now = [t["loss"] for t in turns], [t["accuracy"] for t in turns]
    accuracies = [t["accuracy"] for t in state.trainings]
    sharing, training = population.sharing(), current.generation > 0
    return {
        "generation": current.generation,
        "phase": "training" if training else "warmup",
        "best_loss": min(losses, default=None),
        "mean_loss": fmean(losses) if turns else None,
        "best_accuracy": max(now, default=None),
        "mean_accuracy": fmean(now) if turns else None,
        "moving_average": fmean(accuracies[-WINDOW:]) if accuracies else None,
        "mean_last_200": fmean(accuracies[-LAST:]) if accuracies else None,
        "best_score": population[population.ranked()[0]].score,
        "coefficient": state.coefficient,
        "learning_rate": learning_rate(settings, current.generation) if training else None,
        "sharing_factor": sharing.factor,
        "distinct_parameters": sharing.distinct,
        "shared_share": sharing.share,
        "modules": len(state.registry),
        "replaced": current.replaced,
        "failures": current.failures,
        "batches": current.batches,
        "seconds": current.seconds + seconds,
    }
