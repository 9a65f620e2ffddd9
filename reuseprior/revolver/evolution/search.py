"""A search: a population that is trained on shared modules, generation by generation (§3.4).

Everything follows from the settings, the data and the seed. What chance decides outside training
comes from one `random.Random`; what it decides within a turn follows from the turn's number. So a
checkpoint holds no generator of torch's, and a search can be taken up at any batch.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import pandas as pd
import torch
from torch import nn

from reuseprior import data as data_sets
from reuseprior.data import DataSet
from reuseprior.errors import UserError
from reuseprior.results import CONFIG, Run, provenance, read_json
from reuseprior.revolver.blueprints.blueprint import Blueprint
from reuseprior.revolver.evolution import checkpoint
from reuseprior.revolver.evolution.fitness import phenotype_fitness
from reuseprior.revolver.evolution.population import (
    Individual,
    budget,
    pick,
    slots_to_replace,
    update_scores,
)
from reuseprior.revolver.evolution.settings import Settings
from reuseprior.revolver.evolution.state import State
from reuseprior.revolver.evolution.strategies import (
    Breeder,
    Found,
    genetic_search,
    immigration_chance,
    random_search,
)
from reuseprior.revolver.evolution.trainer import Told, Turn, TurnFailed, copies, put_back
from reuseprior.training.interruption import Interrupted, Stop, signals

WINDOW = 700  # validations in the moving average of figure 3.1
LAST = 200  # validations in the mean of table 3.2
PATIENCE = 20  # individuals that cannot be trained, one after another

log = logging.getLogger(__name__)


class SearchError(UserError):
    """A search that cannot go on; the message says why and the mend."""


class Best(NamedTuple):
    """The trained individual with the highest validation accuracy, as it was then."""

    number: int
    generation: int
    accuracy: float  # validation
    loss: float  # validation
    blueprint: Blueprint


class Search(State):
    """A population in training; iterate it for the generations, one row each.

    ```python
    search = Search.start("quick", data.load("digits"), seed=0)
    for row in search:
        row["best_accuracy"]     # of the individuals validated in this generation
    search.population.ranking()  # shared modules, as in table C.1
    search.best().accuracy       # validation accuracy of the best trained individual
    ```

    Generations with training count from 1; those of a warm-up, without, end with 0. With a folder
    every generation is recorded and a checkpoint written, from which `resume` goes on; on one
    processor it ends the same bit for bit. SIGTERM and Ctrl-C write a checkpoint after the batch
    in hand and raise `Interrupted`, a KeyboardInterrupt.
    """

    @classmethod
    def start(
        cls,
        settings: Settings | str | os.PathLike,
        data: DataSet,
        folder: str | os.PathLike | None = None,
        *,
        seed: int = 0,
        resume: bool = False,
    ) -> Search:
        """A new search with settings or a preset, recorded in `folder` if one is given.

        With `resume`, one that stands in the folder goes on. Raises `SettingsError`,
        `results.ResultError` for a folder that holds another run, and `CheckpointError`.
        """
        if not isinstance(settings, Settings):
            settings = Settings.load(settings)
        search = cls(settings, data, seed=seed)
        if folder is not None:
            search._open(Path(folder), resume)
        if not search.population:
            search._populate()
        return search

    @classmethod
    def resume(
        cls,
        folder: str | os.PathLike,
        data: DataSet | None = None,
        *,
        root: str | os.PathLike | None = None,
    ) -> Search:
        """The search that is recorded in a folder, where its last checkpoint left it.

        The data are loaded from `root`, as `data.load` does, unless they are given.
        """
        path = Path(folder) / CONFIG
        config = read_json(path)
        if not (isinstance(config, dict) and {"settings", "seed"} <= config.keys()):
            raise SearchError(
                f"{path} has no settings and seed of a search: give the folder of a run of "
                "`reuseprior evolve`"
            )
        settings = Settings.from_data(config["settings"], str(path))
        if data is None:
            data = data_sets.load(settings.data, root)
        return cls.start(settings, data, folder, seed=config["seed"], resume=True)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        while not self.complete:
            yield self.step()

    @property
    def complete(self) -> bool:
        """Whether the last generation is done."""
        return self.generation >= self.settings.generations

    @property
    def table(self) -> pd.DataFrame:
        """The generations table: a row each."""
        return pd.DataFrame(self.rows)

    def step(self) -> dict[str, Any]:
        """Go through one generation, or through the rest of one that was interrupted.

        Low performers are replaced (Algorithm 1), some individuals trained and scores updated.
        """
        device = [self.trainer.device] if self.trainer.device.type == "cuda" else []
        with signals() as stop, torch.random.fork_rng(devices=device):
            start = time.perf_counter()
            if self._plan is None:
                self._plan = self._begin()
            try:
                while self._turn is not None or self._plan["left"]:
                    self._take_turn(stop)
            except Told:
                self._plan["seconds"] += time.perf_counter() - start
                self._interrupt(stop.number)
            row = self._end(time.perf_counter() - start)
            if stop.number:
                self._interrupt(stop.number)
        return row

    def best(self) -> Best:
        """The trained individual of the highest validation accuracy so far, and of these the
        lowest loss, with its blueprint as it was; `SearchError` before the first training.
        """
        if self._best is None:
            raise SearchError(
                f"no individual was trained yet, after generation {self.generation}: go on with "
                "the search"
            )
        return Best(**{**self._best, "blueprint": Blueprint.from_data(self._best["blueprint"])})

    def best_model(self) -> nn.Module:
        """The best individual's model with the weights it had then, apart from the population."""
        registry = self._registry()
        best = self.best()
        module = registry.build(best.blueprint)
        put_back(self._best_tensors, checkpoint.named_tensors(registry, best.blueprint))
        return module

    def finish(self) -> Run | None:
        """Evaluate the best individual on the test images and write the summary.

        It is chosen by validation alone. A search that is not complete is recorded as interrupted
        and can be taken up again. Returns the recorded run, if there is a folder.
        """
        if self.folder is not None and self._is_finished():
            return Run.read(self.folder)
        summary = self.summary()
        if self._recording is None:
            return None
        self._write_tables()
        self._write_best()
        state = "finished" if self.complete else "interrupted"
        return self._recording.finish(summary, state=state)

    def summary(self) -> dict[str, Any]:
        """What `summary.json` says of the search; evaluates the best individual on the test set."""
        found: dict[str, Any] = {}
        if self._best is not None:
            best = self.best()
            loss, accuracy = self.trainer.test(self.best_model(), self.data.test)
            found = {
                "best_generation": best.generation,
                "best_individual": best.number,
                "parameters": best.blueprint.parameters(),
                "validation_accuracy": best.accuracy,
                "validation_loss": best.loss,
                "test_accuracy": accuracy,
                "test_loss": loss,
            }
        last = [entry["accuracy"] for entry in self.trainings[-LAST:]]
        sharing = self.population.sharing()
        return {
            "preset": self.settings.name,
            "mode": self.settings.mode,
            "generations": self.generation,
            **found,
            "mean_validation_accuracy": fmean(last) if last else None,  # of the last 200
            "trainings": len(self.trainings),
            "batches": sum(entry["batches"] for entry in self.trainings),
            "individuals": len(self.lineage),
            "sharing_factor": sharing.factor,
            "shared_share": sharing.share,
            "distinct_parameters": sharing.distinct,
            "processes": self.trainer.share.count,
            **provenance(
                seed=self.seed,
                device=str(self.trainer.device),
                data_checksum=self.data.checksum,
            ),
        }

    # What a generation does

    def _populate(self) -> None:
        """The first population: the fittest genotypes of a larger number of random ones."""
        s = self.settings
        breeder, candidates = self._breeder(), []
        wanted = round(s.warmup_x * s.population)
        for _ in range(10 * wanted):
            candidates += [found for found in [breeder.generate("initial")] if found]
            if len(candidates) == wanted:
                break
        if len(candidates) < s.population:
            raise SearchError(
                f"only {len(candidates)} of {10 * wanted} random models have at most "
                f"max_parameters {s.max_parameters:,}: raise it, or narrow the space's depths, "
                "widths or channels"
            )
        candidates.sort(key=lambda found: found.fitness)
        for slot, found in enumerate(candidates[: s.population]):
            self._place(slot, found, self.generation)
        self._collect()

    def _begin(self) -> dict[str, Any]:
        """Replace low performers and choose who is trained."""
        s = self.settings
        generation = self.generation + 1
        training = generation > 0
        replaced = []
        for _ in range(s.passes):
            replaced = self._replace_some(generation, adjust=training)
            if replaced:
                break
        self._collect()
        left = []
        if training:
            last = generation > (1 - s.exploit) * s.generations
            explore = 0.0 if last else s.explore
            left = pick(
                self.population, s.sample, self.rng, explore=explore, tournament=s.tournament
            )
        return {
            "generation": generation,
            "replaced": len(replaced),
            "left": left,
            "turns": len(self.trainings),
            "failures": 0,
            "batches": 0,
            "seconds": 0.0,
        }

    def _replace_some(self, generation: int, *, adjust: bool) -> list[int]:
        """Algorithm 1; `adjust` moves the genotype coefficient."""
        s = self.settings
        discarded = slots_to_replace(
            self.population, s.replacements, self.rng, low=s.low, low_chance=s.low_chance, top=s.top
        )
        replaced = []
        for slot in discarded:
            found = self._search(self.population[slot].score, discarded, generation)
            if found is None:
                if adjust:
                    self.coefficient *= s.coefficient_down
                    self.coefficient = max(self.coefficient, s.coefficient_floor)
            else:
                self._place(slot, found, generation)
                replaced.append(slot)
                if adjust:
                    self.coefficient *= s.coefficient_up
        return replaced

    def _search(self, target: float, exclude: list[int], generation: int) -> Found | None:
        s = self.settings
        if s.evolves and generation > 0:
            return genetic_search(
                self._breeder(),
                self.population,
                target,
                exclude=exclude,
                immigration=immigration_chance(s, generation),
            )
        return random_search(self._breeder(), target, s.random_tries)

    def _place(self, slot: int, found: Found, generation: int) -> None:
        individual = Individual(
            number=self._born,
            blueprint=found.blueprint,
            fitness=found.fitness,
            operator=found.operator,
            parents=found.parents,
            generation=generation,
        )
        self._born += 1
        self.population.place(slot, individual)
        self.registry.build(individual.blueprint)
        self.lineage.append(
            {
                "child": individual.number,
                "parents": " ".join(map(str, found.parents)),
                "operator": found.operator,
                "generation": generation,
                "slot": slot,
                "fitness": found.fitness,
                "parameters": individual.parameters,
            }
        )

    def _collect(self) -> None:
        """Drop the modules that nobody has any more (rule 7), with their scores and momentum."""
        dropped = self.registry.collect(
            self.population.blueprints(), keep=self.settings.keep_modules
        )
        self.population.forget(dropped)
        for key in [key for key in self._momentum if key.rpartition(":")[0] not in self.registry]:
            del self._momentum[key]

    def _take_turn(self, stop: Stop) -> None:
        """Train and validate one individual and update the scores; replace it if that fails."""
        if self._turn is None:
            self._turn = self._next_turn()
        turn = self._turn
        individual = self.population[turn.slot]
        module = self.registry.build(individual.blueprint)
        tensors = checkpoint.named_tensors(self.registry, individual.blueprint)
        if not turn.before:
            turn.before = copies(tensors)
        start = time.perf_counter()
        failure = None
        try:
            self.trainer.train(turn, module, tensors, stop)
            loss, accuracy = self.trainer.validate(module)
        except TurnFailed as failed:
            failure = str(failed)  # alone: the exception's frames hold on to the GPU's memory
        self._turn = None
        if failure is not None:
            put_back(turn.before, tensors)
            self._replace_failed(turn, failure)
            return
        self._failures = 0
        if self.settings.optimizer_state == "scope":
            self._momentum |= turn.momentum
        self._score(individual, turn, loss, accuracy, time.perf_counter() - start)

    def _next_turn(self) -> Turn:
        s = self.settings
        slot = self._plan["left"].pop(0)
        generation = self._plan["generation"]
        self._turns += 1
        turn = Turn(
            slot=slot,
            number=self._turns,
            rate=learning_rate(s, generation),
            total=budget(
                self.population[slot].score,
                fmean(individual.score for individual in self.population),
                min(s.maximum_batches or self.trainer.epoch, self.trainer.epoch),
                minimum=s.minimum_batches,
                rule=s.budget,
                generation=generation,
                generations=s.generations,
            ),
        )
        if s.optimizer_state == "scope":
            held = self.population[slot].modules
            turn.momentum = {
                key: value
                for key, value in self._momentum.items()
                if key.rpartition(":")[0] in held
            }
        return turn

    def _score(
        self, individual: Individual, turn: Turn, loss: float, accuracy: float, seconds: float
    ) -> None:
        s = self.settings
        parameters = individual.parameters
        fitness = phenotype_fitness(loss, parameters, s.size_penalty)
        before = individual.score
        update_scores(individual.blueprint, fitness, self.population.scores, weight=s.score_weight)
        individual.rounds += 1
        individual.batches += turn.total
        individual.loss, individual.accuracy = loss, accuracy
        self._plan["batches"] += turn.total
        self.trainings.append(
            {
                "generation": self._plan["generation"],
                "individual": individual.number,
                "parameters": parameters,
                "batches": turn.total,
                "train_loss": turn.loss / turn.total,
                "loss": loss,
                "accuracy": accuracy,
                "fitness": fitness,
                "score_before": before,
                "score": individual.score,
                "seconds": seconds,
            }
        )
        best = self._best
        if best is None or (accuracy, -loss) > (best["accuracy"], -best["loss"]):
            self._best = {
                "number": individual.number,
                "generation": self._plan["generation"],
                "accuracy": accuracy,
                "loss": loss,
                "blueprint": individual.blueprint.to_data(),
            }
            self._best_tensors = copies(
                checkpoint.named_tensors(self.registry, individual.blueprint)
            )

    def _replace_failed(self, turn: Turn, reason: str) -> None:
        """Put a random individual in the place of one that cannot be trained, and note why."""
        individual = self.population[turn.slot]
        generation = self._plan["generation"]
        log.warning("individual %d of generation %d: %s", individual.number, generation, reason)
        self._plan["failures"] += 1
        self._failures += 1
        self._write_failure(individual, reason, turn.done)
        if self._failures == PATIENCE:
            raise SearchError(
                f"{PATIENCE} individuals one after another could not be trained, up to generation "
                f"{generation} (the last: {reason}): lower learning_rate, batch_size or the size "
                "of the space's models"
            )
        if self.trainer.device.type == "cuda":
            torch.cuda.empty_cache()
        found = random_search(self._breeder(), float("inf"), self.settings.random_tries)
        if found is None:
            raise SearchError(
                f"no random model has at most max_parameters {self.settings.max_parameters:,}: "
                "raise it, or narrow the space's depths, widths or channels"
            )
        self._place(turn.slot, found, generation)
        self._collect()

    def _end(self, seconds: float) -> dict[str, Any]:
        """The row of the generation that is done; recorded, with a checkpoint."""
        plan, s = self._plan, self.settings
        turns = self.trainings[plan["turns"] :]
        accuracies = [entry["accuracy"] for entry in self.trainings]
        sharing = self.population.sharing()
        generation = plan["generation"]
        training = generation > 0
        row = {
            "generation": generation,
            "phase": "training" if training else "warmup",
            "best_loss": min((t["loss"] for t in turns), default=None),
            "mean_loss": fmean(t["loss"] for t in turns) if turns else None,
            "best_accuracy": max((t["accuracy"] for t in turns), default=None),
            "mean_accuracy": fmean(t["accuracy"] for t in turns) if turns else None,
            "moving_average": fmean(accuracies[-WINDOW:]) if accuracies else None,
            "mean_last_200": fmean(accuracies[-LAST:]) if accuracies else None,
            "best_score": self.population[self.population.ranked()[0]].score,
            "coefficient": self.coefficient,
            "learning_rate": learning_rate(s, generation) if training else None,
            "sharing_factor": sharing.factor,
            "distinct_parameters": sharing.distinct,
            "shared_share": sharing.share,
            "modules": len(self.registry),
            "replaced": plan["replaced"],
            "failures": plan["failures"],
            "batches": plan["batches"],
            "seconds": plan["seconds"] + seconds,
        }
        self.generation, self._plan = generation, None
        self.rows.append(row)
        if self._recording:
            self._recording.append(row)
            self._write_tables()
        self._save()
        return row

    def _breeder(self) -> Breeder:
        return Breeder(self.settings, self.registry.tags, self.rng, self.coefficient)

    def _interrupt(self, number: int) -> None:
        self._save()
        where = f"after generation {self.generation}"
        if self._turn is not None:
            where = (
                f"in generation {self._plan['generation']} after {self._turn.done} of "
                f"{self._turn.total} batches of an individual"
            )
        raise Interrupted(
            f"the search{f' in {self.folder}' if self.folder else ''} stopped {where}"
            + ("; continue it with --resume" if self.folder else ""),
            number,
        )


def learning_rate(settings: Settings, generation: int) -> float:
    """The rate of a generation: constant at first, then falling exponentially to the minimum.

    >>> s = Settings(generations=160)
    >>> [round(learning_rate(s, g), 5) for g in (1, 100, 130, 160)]
    [0.35, 0.35, 0.01725, 0.00085]
    """
    first, last = settings.learning_rate, settings.minimum_learning_rate
    constant = settings.constant_generations
    if generation <= constant:
        return first
    past = (generation - constant) / (settings.generations - constant)
    return first * (last / first) ** past
