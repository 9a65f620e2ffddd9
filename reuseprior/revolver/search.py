"""A search: a population that is trained on shared modules, generation by generation (§3.4).

Everything follows from the settings, the data and the seed. What chance decides outside training
comes from one `random.Random`; what it decides within a turn follows from the turn's number. So a
checkpoint holds no generator of torch's, and a search can be taken up at any turn.
"""

from __future__ import annotations

import logging
import os
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from math import isfinite
from operator import attrgetter
from pathlib import Path
from statistics import fmean
from typing import Any

import pandas as pd
import torch
import torch.distributed as dist
from torch import Tensor, nn

from reuseprior import data as data_sets
from reuseprior.data import DataSet, Images
from reuseprior.errors import UserError, expect, expect_seed
from reuseprior.results import CONFIG, Run, provenance, read_json
from reuseprior.revolver.blocks import Session
from reuseprior.revolver.population import Individual, Registry, update_scores
from reuseprior.revolver.space import Settings, SettingsError, learning_rate
from reuseprior.revolver.state import LAST, Best, CurrentGeneration, Log, State, Tensors, row_of
from reuseprior.revolver.strategies import (
    Breeder,
    Found,
    best_part,
    budget,
    genetic_search,
    immigration_chance,
    phenotype_fitness,
    pick,
    random_search,
    slots_to_replace,
)
from reuseprior.schemas import Config
from reuseprior.training.batches import InMemory, derive, steps
from reuseprior.training.checkpoint import copies as copies
from reuseprior.training.checkpoint import put_back as put_back
from reuseprior.training.protocol import Protocol
from reuseprior.training.task import Classification
from reuseprior.training.trainer import Interrupted, Loop, Stop, signals

DATA_SEED = 0  # the held-out images belong to the settings: the same for every seed
LARGEST_COEFFICIENT = 1e100  # of the genotypes' fitness, which a long search may raise and raise
PATIENCE = 20  # individuals that cannot be trained, one after another

log = logging.getLogger(__name__)


class SearchError(UserError):
    """A search that cannot go on; the message says why and the mend."""


class Search:
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
    processor it ends the same bit for bit. SIGTERM, SIGUSR2 and Ctrl-C end it after the batch in
    hand: the turn of that individual is undone, a checkpoint written, and `Interrupted` raised, a
    KeyboardInterrupt.
    """

    population = property(attrgetter("state.population"), doc="The individuals and scores.")
    registry = property(attrgetter("state.registry"), doc="The modules that they share.")
    generation = property(attrgetter("state.generation"), doc="The last one that is complete.")
    trainings = property(attrgetter("state.trainings"), doc="A row a turn.")
    lineage = property(attrgetter("state.lineage"), doc="A row an individual.")
    rows = property(attrgetter("log.rows"), doc="A row a generation.")

    def __init__(self, settings: Settings, data: DataSet, *, seed: int = 0):
        image = (data.channels, data.image_size, data.image_size)
        space = replace(settings.space, image=image, classes=data.classes)
        self.settings = s = replace(settings, data=data.name, space=space)
        whole = len(data.train)  # images for training and validation, before a subset is taken
        if s.train_images or s.test_images:
            data = data.subset(s.train_images or None, s.test_images or None, seed=DATA_SEED)
        self.data, self.seed = data, seed
        trained, held_out = data.split(validation=s.validation, seed=DATA_SEED)
        parts = {"train": trained, "validation": held_out, "test": data.test}
        self.sizes = {"whole": whole, **{name: len(part) for name, part in parts.items()}}
        self.trainer = Trainer(s, trained, held_out, seed=seed)
        layout = torch.channels_last if s.channels_last else torch.contiguous_format
        self._where = {"device": self.trainer.device, "memory_format": layout}
        self.log = Log()
        self.state = State(
            registry=self._registry(),
            rng=random.Random(seed),
            coefficient=s.genotype_coefficient,
            generation=-s.warmup,
        )

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
        `results.ResultError` for a folder that holds another run, `CheckpointError` and, where
        another process searches there, `files.Locked`.
        """
        if not isinstance(settings, Settings):
            settings = Settings.load(settings)
        expect(data, DataSet, "the data", "give a set that data.load returned", SearchError)
        expect_seed(seed, SearchError)
        if folder is not None:
            place = "give the path of a folder, or none"
            expect(folder, (str, os.PathLike), "the folder", place, SearchError)
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
        config = read_json(path, Config)
        if not {"settings", "seed"} <= config.keys():
            raise SearchError(
                f"{path} has no settings and seed of a search: give the folder of a run of "
                "`reuseprior evolve`"
            )
        settings = Settings.from_data(config["settings"], str(path))
        if data is None:
            data = data_sets.load(settings.data, root)
        return cls.start(settings, data, folder, seed=config["seed"], resume=True)

    def config(self) -> dict[str, Any]:
        """What `config.json` says: the data, the seed and all settings.

        A `focus` that is off is left out, as by searches that are older than it: they go on.
        """
        settings = self.settings.to_data()
        if not self.settings.focus:
            del settings["focus"]
        return {
            "data": self.data.name,
            "images": self.sizes,
            "data_checksum": self.data.checksum,
            "seed": self.seed,
            "settings": settings,
        }

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
        state = self.state
        device = [self.trainer.device] if self.trainer.device.type == "cuda" else []
        with signals() as stop, torch.random.fork_rng(devices=device):
            start = time.perf_counter()
            if state.current is None:
                state.current = self._begin()
            try:
                while state.current.left:
                    self._take_turn(stop)
            except Told:
                state.current.seconds += time.perf_counter() - start
                self._interrupt(stop.number)
            row = row_of(state, self.settings, time.perf_counter() - start)
            state.generation, state.current = state.current.generation, None
            self.log.add(row, state)
            if stop.number:
                self._interrupt(stop.number)
        return row

    def best(self) -> Best:
        """The trained individual of the highest validation accuracy so far, and of these the
        lowest loss, with its blueprint as it was; `SearchError` before the first training.
        """
        if self.state.best is None:
            raise SearchError(
                f"no individual was trained yet, after generation {self.generation}: go on with "
                "the search"
            )
        return self.state.best

    def best_model(self) -> nn.Module:
        """The best individual's model with the weights it had then, apart from the population."""
        registry, blueprint = self._registry(), self.best().blueprint
        module = registry.build(blueprint)
        put_back(self.state.best_tensors, registry.tensors(blueprint.scopes()))
        return module

    def finish(self) -> Run | None:
        """Evaluate the best individual on the test images and write the summary.

        It is chosen by validation alone. A search that is not complete is recorded as interrupted
        and can be taken up again. Returns the recorded run, if there is a folder.
        """
        if self.log.is_finished(self.state, self.settings):
            return Run.read(self.log.folder)
        return self.log.finish(self.state, self.summary(), complete=self.complete)

    def summary(self) -> dict[str, Any]:
        """What `summary.json` says of the search; evaluates the best individual on the test set.

        `remembered` are the accuracies on held-out images, when trained and now, of the individuals
        with modules that others trained since; now is null where the loss is no number any more.
        """
        of_best: dict[str, Any] = {}
        if self.state.best is not None:
            best = self.best()
            loss, accuracy = self.trainer.test(self.best_model(), self.data.test)
            of_best = {
                "best_generation": best.generation,
                "best_individual": best.number,
                "parameters": best.blueprint.parameters(),
                "validation_accuracy": best.accuracy,
                "validation_loss": best.loss,
                "test_accuracy": accuracy,
                "test_loss": loss,
                "remembered": self._remembered(),
            }
        last = [entry["accuracy"] for entry in self.trainings[-LAST:]]
        sharing = self.population.sharing()
        return {
            "preset": self.settings.name,
            "mode": self.settings.mode,
            "generations": self.generation,
            **of_best,
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

    def _remembered(self) -> list[dict[str, Any]] | None:
        last = self.state.trained_by
        if last is None:
            return None
        return [
            {"individual": one.number, "when_trained": one.accuracy, "now": self._accuracy(one)}
            for one in self.population.trained()
            if any(last.get(name, one.number) != one.number for name in one.modules)
        ]

    def _accuracy(self, individual: Individual) -> float | None:
        module = self.registry.build(individual.blueprint, individual.scopes)
        try:
            return self.trainer.validate(module)[1]
        except TurnFailed:
            return None

    def _registry(self) -> Registry:
        return Registry(seed=self.seed, inherit=self.settings.inherit, **self._where)

    def _open(self, folder: Path, resume: bool) -> None:
        self.log = Log(folder, self.config())
        if self.trainer.accelerator.is_main_process:
            self.log.open(resume=resume)
        self.trainer.accelerator.wait_for_everyone()
        restored = self.log.restore(self.settings, **self._where)
        self.state = restored or self.state

    def _interrupt(self, number: int) -> None:
        state, folder = self.state, self.log.folder
        self.log.keep(state)
        where = f"after generation {state.generation}"
        if state.current:
            where = f"in generation {state.current.generation}"
        raise Interrupted(
            f"the search{f' in {folder}' if folder else ''} stopped {where}"
            + ("; continue it with --resume" if folder else ""),
            number,
        )

    # Replacing individuals

    def _breeder(self) -> Breeder:
        state = self.state
        return Breeder(self.settings, state.registry.tags, state.rng, state.coefficient)

    def _populate(self) -> None:
        """The first population: the fittest genotypes of a larger number of random ones."""
        s = self.settings
        breeder, candidates = self._breeder(), []
        wanted = round(s.warmup_x * s.population)
        for _ in range(10 * wanted):
            candidates += [candidate for candidate in [breeder.generate("initial")] if candidate]
            if len(candidates) == wanted:
                break
        if len(candidates) < s.population:
            raise SearchError(
                f"only {len(candidates)} of {10 * wanted} random models have at most "
                f"max_parameters {s.max_parameters:,}: {_NARROW}"
            )
        candidates.sort(key=lambda candidate: candidate.fitness)
        for slot, candidate in enumerate(candidates[: s.population]):
            self._place(slot, candidate, self.generation)
        self._collect()

    def _begin(self) -> CurrentGeneration:
        """Replace low performers and choose who is trained."""
        s, state = self.settings, self.state
        generation = state.generation + 1
        replaced, left = 0, []
        for _ in range(s.passes):
            replaced = replaced or self._replace_some(generation)
        self._collect()
        if generation > 0:
            last = generation > (1 - s.exploit) * s.generations
            best = best_part(s, generation, s.sample)
            left = pick(state.population, s.sample, state.rng, s, by_score=last, best=best)
        return CurrentGeneration(generation, replaced, left, turns=len(state.trainings))

    def _replace_some(self, generation: int) -> int:
        """Algorithm 1: how many were replaced; in training the coefficient moves with it."""
        s, state = self.settings, self.state
        discarded = slots_to_replace(state.population, state.rng, s)
        replaced = 0
        for slot in discarded:
            candidate = self._found(state.population[slot].score, discarded, generation)
            if candidate is not None:
                self._place(slot, candidate, generation)
                replaced += 1
            if generation > 0:
                factor = s.coefficient_down if candidate is None else s.coefficient_up
                floor = s.coefficient_floor if candidate is None else 0.0
                coefficient = max(state.coefficient * factor, floor)
                state.coefficient = min(coefficient, LARGEST_COEFFICIENT)
        return replaced

    def _found(self, target: float, exclude: list[int], generation: int) -> Found | None:
        s = self.settings
        if not (s.evolves and generation > 0):
            return random_search(self._breeder(), target, s.random_tries)
        chance = immigration_chance(s, generation)
        return genetic_search(
            self._breeder(), self.population, target, exclude=exclude, immigration=chance,
            best=best_part(s, generation, 2),
        )  # fmt: skip

    def _place(self, slot: int, candidate: Found, generation: int) -> None:
        state = self.state
        individual = Individual(state.born, **candidate._asdict(), generation=generation)
        state.born += 1
        state.population.place(slot, individual)
        state.registry.build(individual.blueprint, individual.scopes)
        state.lineage.append(
            {
                "child": individual.number,
                "parents": " ".join(map(str, candidate.parents)),
                "operator": candidate.operator,
                "generation": generation,
                "slot": slot,
                "fitness": candidate.fitness,
                "parameters": individual.parameters,
            }
        )

    def _collect(self) -> None:
        """Drop the modules that nobody has any more (rule 7), with their scores and momentum."""
        state = self.state
        alive = {name for individual in state.population for name in individual.modules}
        dropped = state.registry.retain(alive, keep=self.settings.keep_modules)
        state.population.forget(dropped)
        for name in dropped:
            (state.trained_by or {}).pop(name, None)
        held = state.momentum.items()
        state.momentum = {key: value for key, value in held if _owner(key) in state.registry}

    # Training individuals

    def _take_turn(self, stop: Stop) -> None:
        """Train and validate one individual and update the scores; replace it if that fails."""
        state = self.state
        turn = self._next_turn()
        individual = state.population[turn.slot]
        module = state.registry.build(individual.blueprint, individual.scopes)
        tensors = state.registry.tensors(individual.scopes)
        before = copies(tensors)
        start = time.perf_counter()
        failure = None
        try:
            train_loss = self.trainer.train(turn, module, tensors, stop)
            loss, accuracy = self.trainer.validate(module)
        except Told:
            put_back(before, tensors)
            state.give_back(turn.slot)
            raise
        except TurnFailed as failed:
            failure = str(failed)  # alone: the exception's frames hold on to the GPU's memory
        if failure is not None:
            put_back(before, tensors)
            self._replace_failed(turn, failure)
            return
        state.failures = 0
        if self.settings.optimizer_state == "scope":
            state.momentum |= turn.momentum
        measured = {"train_loss": train_loss, "loss": loss, "accuracy": accuracy}
        self._score(individual, turn, measured, time.perf_counter() - start)

    def _next_turn(self) -> Turn:
        s, state = self.settings, self.state
        slot, generation = state.current.left.pop(0), state.current.generation
        state.turns += 1
        turn = Turn(
            slot=slot,
            number=state.turns,
            rate=learning_rate(s, generation),
            total=budget(
                state.population[slot].score,
                fmean(individual.score for individual in state.population),
                min(s.maximum_batches or self.trainer.epoch, self.trainer.epoch),
                s,
                generation,
            ),
        )
        if s.optimizer_state == "scope":
            modules = state.population[slot].modules
            held = state.momentum.items()
            turn.momentum = {key: value for key, value in held if _owner(key) in modules}
        return turn

    def _score(
        self, individual: Individual, turn: Turn, measured: dict[str, float], seconds: float
    ) -> None:
        s, state = self.settings, self.state
        loss, accuracy, before = measured["loss"], measured["accuracy"], individual.score
        fitness = phenotype_fitness(loss, individual.parameters, s.size_penalty)
        update_scores(individual.scopes, fitness, state.population.scores, weight=s.score_weight)
        individual.rounds += 1
        individual.batches += turn.total
        individual.loss, individual.accuracy = loss, accuracy
        generation = state.current.generation
        if state.trained_by is not None:
            uses = individual.modules.items()
            learnt = [name for name, use in uses if use.parameters and not use.node.freeze]
            state.trained_by |= dict.fromkeys(learnt, individual.number)
        state.current.batches += turn.total
        state.trainings.append(
            {
                "generation": generation,
                "individual": individual.number,
                "parameters": individual.parameters,
                "batches": turn.total,
                **measured,
                "fitness": fitness,
                "score_before": before,
                "score": individual.score,
                "seconds": seconds,
            }
        )
        best = state.best
        if best is None or (accuracy, -loss) > (best.accuracy, -best.loss):
            then = individual.blueprint.copy()
            state.best = Best(individual.number, generation, accuracy, loss, then)
            state.best_tensors = copies(state.registry.tensors(individual.scopes))

    def _replace_failed(self, turn: Turn, reason: str) -> None:
        """Put a random individual in the place of one that cannot be trained, and note why."""
        state = self.state
        individual, generation = state.population[turn.slot], state.current.generation
        log.warning("individual %d of generation %d: %s", individual.number, generation, reason)
        state.current.failures += 1
        state.failures += 1
        self.log.note_failure(individual, state, reason, turn.done)
        if state.failures == PATIENCE:
            raise SearchError(
                f"{PATIENCE} individuals one after another could not be trained, up to generation "
                f"{generation} (the last: {reason}): lower learning_rate, batch_size or the size "
                "of the space's models"
            )
        if self.trainer.device.type == "cuda":
            torch.cuda.empty_cache()
        candidate = random_search(self._breeder(), float("inf"), self.settings.random_tries)
        if candidate is None:
            raise SearchError(
                f"no random model has at most max_parameters {self.settings.max_parameters:,}: "
                f"{_NARROW}"
            )
        self._place(turn.slot, candidate, generation)
        self._collect()


_NARROW = "raise it, or narrow the space's depths, widths or channels"


def _owner(key: str) -> str:
    """The registered name of the module that a tensor belongs to."""
    return key.rpartition(":")[0]


# Training an individual for a while and validating it (§3.5.5.2) ----------------------------------


class TurnFailed(Exception):
    """An individual could not be trained: its loss is no number, it ran out of memory …"""


class Told(Exception):
    """A signal came in the middle of a turn, which is to be taken anew."""


@dataclass
class Turn:
    """An individual's turn to be trained."""

    slot: int
    number: int  # of all turns of the search: decides the order of images and all draws
    rate: float
    total: int  # batches
    done: int = 0
    momentum: Tensors = field(default_factory=dict)


class Trainer:
    """The device, the data on it, and the loops over batches."""

    def __init__(self, settings: Settings, trained: Images, held_out: Images, *, seed: int):
        self.settings, self.seed = settings, seed
        self.loop = Loop(settings.precision, SettingsError)
        self.device, self.share = self.loop.device, self.loop.share
        self.accelerator = self.loop.accelerator
        self.task = Classification(settings.space.classes)
        self._batches = self._open(
            trained, settings.batch_size, seed, augmentation=settings.augmentation
        )
        self.epoch = steps(len(trained), self._batches.protocol, self.share)  # batches of one
        self._held_out = self._open(held_out, settings.validation_batch_size)

    def train(self, turn: Turn, module: nn.Module, tensors: Tensors, stop: Stop) -> float:
        """Train a model on the batches of its turn; the loss on average, and the turn's momentum.

        Raises `TurnFailed` if that is not possible, and `Told` after a signal.
        """
        s = self.settings
        session = Session(
            {"net": module},
            lr=turn.rate,
            momentum=s.momentum,
            weight_decay=s.weight_decay,
            label_smoothing=s.label_smoothing,
        )
        if not any(parameter.requires_grad for parameter in module.parameters()):
            raise TurnFailed("all its modules are frozen")
        optimizer = session.optimizer()
        parameters = optimizer.param_groups[0]["params"]
        for key, buffer in turn.momentum.items():
            if tensors[key].requires_grad:
                optimizer.state[tensors[key]]["momentum_buffer"] = buffer.clone()
        loss = torch.zeros((), device=self.device)

        def step(images: Tensor, labels: Tensor) -> Tensor:
            nonlocal loss
            error = None
            try:
                optimizer.zero_grad()
                with self.loop.autocast():
                    outputs = session(images)
                batch_loss = session.loss(outputs.float(), labels)
                batch_loss.backward()
                loss += batch_loss.detach()
            except (RuntimeError, ValueError) as caught:  # out of memory is one
                error = caught
            self._agree(error)
            self._average_gradients(parameters)
            optimizer.step()
            turn.done += 1
            return loss

        session.train()
        interrupted = self.loop.train(
            self._batches.epoch(turn.number),
            range(turn.total),
            stop,
            # Every process draws alike, so that all leave out the same blocks.
            seed=lambda done: derive("batch", self.seed, turn.number, done),
            step=step,
            check=self._check,
        )
        if interrupted:
            raise Told
        turn.momentum = _momentum(optimizer, tensors)
        mean = loss.item() / turn.total  # before others' is added to it
        self._check(self.accelerator.reduce(loss, "mean").item())
        self._average_statistics(tensors)
        return mean

    def validate(self, module: nn.Module) -> tuple[float, float]:
        """Loss and accuracy on the held-out images; `TurnFailed` where there are none."""
        totals, error = torch.zeros(2), None
        try:
            totals = self.loop.totals(self.task, module, self._held_out)
        except RuntimeError as caught:
            error = caught
        self._agree(error)
        loss, accuracy = self.loop.means(totals, len(self._held_out))
        self._check(loss)
        return loss, accuracy

    def test(self, module: nn.Module, images: Images) -> tuple[float, float]:
        """Loss and accuracy on other images."""
        batches = self._open(images, self.settings.validation_batch_size)
        loss, accuracy = self.loop.means(self.loop.totals(self.task, module, batches), len(batches))
        return loss, accuracy

    def _open(self, images: Images, batch_size: int, seed: int = 0, **options) -> InMemory:
        protocol = Protocol(
            batch_size=batch_size,
            channels=images.images.shape[1],
            channels_last=self.settings.channels_last,
            **options,
        )
        return InMemory(images, protocol, device=self.device, seed=seed, share=self.share)

    def _agree(self, error: Exception | None) -> None:
        """Raise `TurnFailed` in all processes where one has an error.

        A process that failed has nothing to send, and the others would wait for it for ever.
        """
        if self.share.count > 1:
            failed = torch.tensor([float(error is not None)], device=self.device)
            dist.all_reduce(failed)
            if failed and error is None:
                raise TurnFailed("another process could not train it")
        if error is not None:
            raise TurnFailed(_sentence(error)) from error

    def _average_gradients(self, parameters: list[nn.Parameter]) -> None:
        if self.share.count == 1:
            return
        grads = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([grad.flatten() for grad in grads])
        dist.all_reduce(flat)
        flat /= self.share.count
        for grad, part in zip(grads, flat.split([g.numel() for g in grads]), strict=True):
            grad.copy_(part.view_as(grad))

    def _average_statistics(self, tensors: Tensors) -> None:
        if self.share.count == 1:
            return
        for tensor in tensors.values():
            if not isinstance(tensor, nn.Parameter) and tensor.is_floating_point():
                dist.all_reduce(tensor)
                tensor /= self.share.count

    def _check(self, loss: float) -> None:
        if not isfinite(loss):
            raise TurnFailed(f"the loss is {loss}")


def _momentum(optimizer: torch.optim.Optimizer, tensors: Tensors) -> Tensors:
    held = {key: optimizer.state.get(tensor, {}) for key, tensor in tensors.items()}
    return {
        key: state["momentum_buffer"]
        for key, state in held.items()
        if state.get("momentum_buffer") is not None
    }


def _sentence(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
