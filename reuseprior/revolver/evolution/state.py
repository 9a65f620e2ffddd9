"""The state of a search: all that it knows between two batches, its record and its checkpoint."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from reuseprior import files
from reuseprior.data import DataSet
from reuseprior.results import SUMMARY, Recording, read_json, write_csv, write_json
from reuseprior.revolver.evolution import checkpoint
from reuseprior.revolver.evolution.population import Individual, Population
from reuseprior.revolver.evolution.registry import Registry
from reuseprior.revolver.evolution.settings import Settings
from reuseprior.revolver.evolution.trainer import Trainer, Turn

DATA_SEED = 0  # the held-out images belong to the settings: the same for every seed
SHOWN = 3  # blueprints of the best individuals that are recorded


class State:
    """What a search goes on from; without a folder it is neither recorded nor kept."""

    def __init__(self, settings: Settings, data: DataSet, *, seed: int = 0):
        space = replace(
            settings.space,
            image=(data.channels, data.image_size, data.image_size),
            classes=data.classes,
        )
        self.settings = replace(settings, data=data.name, space=space)
        whole = len(data.train)  # images for training and validation, before a subset is taken
        if settings.train_images or settings.test_images:
            data = data.subset(
                settings.train_images or None, settings.test_images or None, seed=DATA_SEED
            )
        self.data, self.seed = data, seed
        trained, held_out = data.split(validation=settings.validation, seed=DATA_SEED)
        parts = {"train": trained, "validation": held_out, "test": data.test}
        self.sizes = {"whole": whole, **{name: len(part) for name, part in parts.items()}}
        self.trainer = Trainer(self.settings, trained, held_out, seed=seed)
        self.folder: Path | None = None
        self.rows: list[dict[str, Any]] = []  # a generation each

        self.registry = self._registry()
        self.rng = random.Random(seed)
        self.population = Population()
        self.coefficient = self.settings.genotype_coefficient
        self.generation = -self.settings.warmup  # the last one that is complete
        self.trainings: list[dict[str, Any]] = []  # a turn each
        self.lineage: list[dict[str, Any]] = []  # an individual each
        self._recording: Recording | None = None
        self._born = 0
        self._turns = 0
        self._failures = 0  # since the last turn that was none
        self._plan: dict[str, Any] | None = None  # of the generation in hand
        self._turn: Turn | None = None
        self._momentum: dict[str, torch.Tensor] = {}  # by scope, where it is kept
        self._best: dict[str, Any] | None = None
        self._best_tensors: dict[str, torch.Tensor] = {}

    def config(self) -> dict[str, Any]:
        """What `config.json` says: the data, the seed and all settings."""
        return {
            "data": self.data.name,
            "images": self.sizes,
            "data_checksum": self.data.checksum,
            "seed": self.seed,
            "settings": self.settings.to_data(),
        }

    @property
    def _is_main(self) -> bool:
        return self.trainer.accelerator.is_main_process

    def _is_finished(self) -> bool:
        return self.complete and read_json(self.folder / SUMMARY)["state"] == "finished"

    def _registry(self) -> Registry:
        last = torch.channels_last if self.settings.channels_last else torch.contiguous_format
        return Registry(
            seed=self.seed,
            device=self.trainer.device,
            memory_format=last,
            inherit=self.settings.inherit,
        )

    def _open(self, folder: Path, resume: bool) -> None:
        self.folder = folder
        path = folder / checkpoint.NAME
        if self._is_main:
            self._recording = Recording.start(
                folder, self.config(), resume=resume, checkpoint=checkpoint.NAME
            )
            for torn in folder.glob(".*.tmp"):  # what a kill left half written
                torn.unlink()
        self.trainer.accelerator.wait_for_everyone()
        if path.exists():
            self._restore(path)
        if self._recording:
            if not self._is_finished():
                self._recording.truncate(self.generation + self.settings.warmup)
            self.rows = list(self._recording.rows)

    def _save(self) -> None:
        if not (self.folder and self._is_main):
            return
        tensors, registry = self.registry.state()
        groups = {"module": tensors, "best": self._best_tensors, "momentum": self._momentum}
        if self._turn is not None:
            groups |= {"before": self._turn.before, "turn": self._turn.momentum}
        state = {
            "generation": self.generation,
            "coefficient": self.coefficient,
            "rng": checkpoint.state_of(self.rng),
            "registry": registry,
            "population": self.population.to_data(),
            "trainings": self.trainings,
            "lineage": self.lineage,
            "born": self._born,
            "turns": self._turns,
            "failures": self._failures,
            "plan": self._plan,
            "turn": None if self._turn is None else self._turn.to_data(),
            "best": self._best,
        }
        checkpoint.save(self.folder / checkpoint.NAME, groups, state)

    def _restore(self, path: Path) -> None:
        tensors, state = checkpoint.load(path)
        try:
            self.registry = Registry.restore(
                tensors.get("module", {}),
                state["registry"],
                device=self.trainer.device,
                memory_format=self.registry.memory_format,
            )
            self.population = Population.from_data(state["population"])
            for individual in self.population:
                self.registry.build(individual.blueprint)
            self.rng = checkpoint.generator_of(state["rng"])
            for key in ("generation", "coefficient", "trainings", "lineage"):
                setattr(self, key, state[key])
            self._born, self._turns = state["born"], state["turns"]
            self._failures = state["failures"]
            self._plan, self._best = state["plan"], state["best"]
            if state["turn"] is not None:
                self._turn = Turn(**state["turn"])
                self._turn.before = self._on_device(tensors.get("before", {}))
                self._turn.momentum = self._on_device(tensors.get("turn", {}))
            self._momentum = self._on_device(tensors.get("momentum", {}))
            self._best_tensors = self._on_device(tensors.get("best", {}))
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise checkpoint.CheckpointError(
                f"{path} is no whole checkpoint of a search ({error}): delete it to begin that "
                "run again"
            ) from error

    def _on_device(self, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {key: tensor.to(self.trainer.device, copy=True) for key, tensor in tensors.items()}

    def _write_tables(self) -> None:
        """Everything beside the generations table, anew."""
        write_csv(self.folder / "trainings.csv", self.trainings)
        write_csv(self.folder / "lineage.csv", self.lineage)
        ranking = self.population.ranking()
        modules = [{"rank": rank, **m._asdict()} for rank, m in enumerate(ranking, 1)]
        write_csv(self.folder / "modules.csv", modules)

    def _write_best(self) -> None:
        shown = [individual.to_data() for individual in self.population.trained()[:SHOWN]]
        best = {"best_by_validation": self._best, "best_by_score": shown}
        # a line each: indented they are four times as long
        lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in best.items()]
        text = "{" + ",\n".join(lines) + "}\n"
        files.write(self.folder / "blueprints.json", text.encode())

    def _write_failure(self, individual: Individual, reason: str, batches: int) -> None:
        """Note an individual that could not be trained, with its blueprint."""
        if not (self.folder and self._is_main):
            return
        place = self.folder / "failures"
        place.mkdir(exist_ok=True)
        generation = self._plan["generation"]
        write_json(
            place / f"generation-{generation}-individual-{individual.number}.json",
            {
                "generation": generation,
                "reason": reason,
                "batches": batches,
                "individual": individual.to_data(),
            },
        )
