"""The journal of a search: what it writes into its folder, generation by generation."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from reuseprior import files
from reuseprior.results import Recording, Run, finished, make_folder, write_csv, write_json
from reuseprior.revolver.evolution import checkpoint
from reuseprior.revolver.evolution.population import Individual
from reuseprior.revolver.evolution.settings import Settings, learning_rate
from reuseprior.revolver.evolution.state import State

WINDOW = 700  # validations in the moving average of figure 3.1
LAST = 200  # validations in the mean of table 3.2
SHOWN = 3  # blueprints of the best individuals that are recorded


class Journal:
    """The record of a search and its checkpoint; without a folder it holds the rows alone.

    Of several processes only the one that `writes` does.
    """

    def __init__(self, folder: Path | None = None, config: dict[str, Any] | None = None):
        self.folder = folder
        self.rows: list[dict[str, Any]] = []  # a generation each
        self._config = config
        self._digest: str | None = None  # of the rows that the checkpoint comes after
        self._recording: Recording | None = None

    def open(self, *, resume: bool) -> None:
        """Begin to write, or go on with what stands in the folder.

        Raises `ResultError` and, where another process searches there, `files.Locked`.
        """
        self._recording = Recording.start(
            self.folder, self._config, resume=resume, checkpoint=checkpoint.NAME
        )
        if self._failures.is_dir():
            files.sweep(self._failures)

    @property
    def _failures(self) -> Path:
        return self.folder / "failures"

    def restore(self, device: torch.device, memory_format: torch.memory_format) -> State | None:
        """The state that the checkpoint holds, or None without one; raises `CheckpointError`."""
        path = self.folder / checkpoint.NAME
        if not path.exists():
            return None
        groups, data = checkpoint.load(path, config=self._config)
        self._digest = data.pop("rows", None)
        try:
            return State.from_data(groups, data, device=device, memory_format=memory_format)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise checkpoint.refusal(path, str(error), self._config) from error

    def follow(self, state: State, settings: Settings) -> None:
        """Drop the rows that came after the state that a search goes on from."""
        if self._recording:
            done = state.generation + settings.warmup
            self._recording.verify(done, self._digest)
            if self.is_finished(state, settings):
                self._recording.settle()  # which a kill may have prevented
            else:
                self._recording.truncate(done)
            self.rows = list(self._recording.rows)

    def is_finished(self, state: State, settings: Settings) -> bool:
        """Whether the last generation is done and the summary written."""
        if self.folder is None or state.generation < settings.generations:
            return False
        return finished(self.folder)

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
            path = self.folder / checkpoint.NAME
            groups, data = state.to_data()
            data["rows"] = self._recording.digest()
            checkpoint.save(path, groups, data, config=self._config)

    def note_failure(self, individual: Individual, state: State, reason: str, batches: int) -> None:
        """An individual that could not be trained, with its blueprint."""
        if not self._recording:
            return
        self._recording.check()
        make_folder(self._failures)
        generation = state.plan.generation
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


def row(state: State, settings: Settings, seconds: float) -> dict[str, Any]:
    """The generation in hand as a row of `metrics.csv`; it took so long since it was taken up."""
    plan, population = state.plan, state.population
    turns = state.trainings[plan.turns :]
    losses, now = [t["loss"] for t in turns], [t["accuracy"] for t in turns]
    accuracies = [t["accuracy"] for t in state.trainings]
    sharing, training = population.sharing(), plan.generation > 0
    return {
        "generation": plan.generation,
        "phase": "training" if training else "warmup",
        "best_loss": min(losses, default=None),
        "mean_loss": fmean(losses) if turns else None,
        "best_accuracy": max(now, default=None),
        "mean_accuracy": fmean(now) if turns else None,
        "moving_average": fmean(accuracies[-WINDOW:]) if accuracies else None,
        "mean_last_200": fmean(accuracies[-LAST:]) if accuracies else None,
        "best_score": population[population.ranked()[0]].score,
        "coefficient": state.coefficient,
        "learning_rate": learning_rate(settings, plan.generation) if training else None,
        "sharing_factor": sharing.factor,
        "distinct_parameters": sharing.distinct,
        "shared_share": sharing.share,
        "modules": len(state.registry),
        "replaced": plan.replaced,
        "failures": plan.failures,
        "batches": plan.batches,
        "seconds": plan.seconds + seconds,
    }
