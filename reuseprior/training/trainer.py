"""The trainer: one loop for a processor, one GPU and several.

Under `torchrun`, and on GPUs under `accelerate launch`, every process calls `train` and takes its
part of every batch; gradients are averaged. On GPUs batch norm then sees the whole batch
(SyncBatchNorm). On processors, which have none, each process normalises its own part and the first
one's statistics are kept, so there a model with batch norm trains a little differently than in one
process.
"""

from __future__ import annotations

import os
import re
import signal
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict
from itertools import chain
from math import inf, isfinite
from pathlib import Path
from textwrap import shorten

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from tqdm.auto import tqdm

from reuseprior import schemas
from reuseprior.data import DataSet, ImageFolderSet
from reuseprior.errors import UserError, expect, expect_seed
from reuseprior.results import CONFIG, Recording, Run, finished, provenance, read_json
from reuseprior.training import checkpoint, optimizers
from reuseprior.training.batches import Batch, Share, derive, parts, steps
from reuseprior.training.checkpoint import copies, put_back, tensors
from reuseprior.training.optimizers import Average
from reuseprior.training.protocol import Protocol, ProtocolError, average_decay, learning_rate
from reuseprior.training.small_maps import SmallMaps
from reuseprior.training.task import Classification, Task

# Stopping from outside: SIGTERM, SIGUSR2 and Ctrl-C -----------------------------------------------


class Interrupted(KeyboardInterrupt):
    """A training was told to stop, and wrote a checkpoint; `signal` says by which signal."""

    def __init__(self, message: str, number: int):
        super().__init__(message)
        self.signal = number


class Stop:
    """Whether a signal came; `number` is 0 until then."""

    number = 0


@contextmanager
def signals() -> Iterator[Stop]:
    """Note the first SIGTERM, SIGUSR2 or SIGINT instead of dying of it; a second acts as ever.

    Clusters send the first before they take a machine away, and the second where they are asked.

    Python lets only the main thread handle signals: elsewhere nothing is noted.
    """
    stop = Stop()
    before = {}

    def restore() -> None:
        while before:
            signal.signal(*before.popitem())

    def note(number, frame) -> None:
        stop.number = number
        restore()

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGUSR2, signal.SIGINT):
            before[number] = signal.signal(number, note)
    try:
        yield stop
    finally:
        restore()


# The loop over batches and the test, of trainings and searches ------------------------------------

PULSE = 20  # batches between looks at the loss, for which a GPU must wait


class Loop:
    """This process's device and its part in the work, and how batches go through a model there.

    `precision` is `float32` or `bfloat16`; raises `error` for one that the device does not have.
    """

    def __init__(self, precision: str, error: type[UserError]):
        self.accelerator = Accelerator(
            cpu=not torch.accelerator.is_available(), mixed_precision="no"
        )
        if (asked := _asked()) > self.accelerator.num_processes:
            raise error(
                f"accelerate was asked for {asked} processes and started "
                f"{self.accelerator.num_processes}, as it does on processors: start them by "
                f"`torchrun --nproc_per_node {asked}` in its place"
            )
        self.device = self.accelerator.device
        self.share = Share(self.accelerator.process_index, self.accelerator.num_processes)
        self._low = precision == "bfloat16"
        if self.device.type == "cuda":
            torch.backends.cudnn.benchmark = True  # shapes stay the same
            if self._low and not torch.cuda.is_bf16_supported(including_emulation=False):
                raise error(
                    f"precision is 'bfloat16', which {torch.cuda.get_device_name(self.device)} "
                    "does not have: set precision to float32"
                )

    def autocast(self) -> torch.autocast:
        """The context in which a model computes in this precision."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self._low)

    def train(
        self,
        batches: Iterator[Batch],
        numbers: range,
        stop: Stop,
        *,
        seed: Callable[[int], int],
        step: Callable[[Tensor, Tensor], Tensor],
        check: Callable[[float], None],
    ) -> bool:
        """Train on a batch for each of the numbers; whether a signal, to any process, ended it.

        `seed` says what torch's own generators draw from, dropout and stochastic depth. `step`
        trains on a batch and returns this process's loss so far, which `check` sees summed over
        processes, now and then, to raise where it is no number.

        Several processes ask one another at every PULSE-th batch, one alone knows at once.
        """
        for number in numbers:
            torch.manual_seed(seed(number))
            loss = step(*next(batches))
            if (number + 1) % PULSE and not (stop.number and self.share.count == 1):
                continue
            signs = torch.stack([loss, loss.new_tensor(stop.number)])
            loss, signalled = self.accelerator.reduce(signs, "sum").tolist()
            check(loss)
            if signalled:
                return True
        return False

    @torch.no_grad()
    def totals(self, task: Task, model: nn.Module, batches) -> Tensor:
        """What the task's `sums` gives, over this process's part of all `batches`."""
        model.eval()
        totals = torch.zeros(task.sizes, device=self.device)
        for inputs, targets in batches.once():
            inputs, targets = task.batch(inputs, targets)
            with self.autocast():
                outputs = model(inputs)
            totals += task.sums(outputs, targets)
        return totals

    def means(self, totals: Tensor, count: int) -> list[float]:
        """Totals of all processes, per example of `count`."""
        return [total / count for total in self.accelerator.reduce(totals, "sum").tolist()]


# A training ---------------------------------------------------------------------------------------


class Diverged(UserError):
    """The loss is no longer a number."""


def train(
    model: nn.Module,
    data: DataSet | ImageFolderSet,
    protocol: Protocol,
    folder: str | Path,
    *,
    seed: int,
    task: Task | None = None,
    about: Mapping[str, object] | None = None,
    resume: bool = False,
    progress: bool = True,
) -> Run:
    """Train a model, in place, and record it in `folder`.

    ```python
    model = efficientnet_v2("b0", num_classes=10, width=0.25)
    run = train(model, data.load("digits"), Protocol.load("quick"), "runs/b0-seed0", seed=0)
    run.summary["test_accuracy"]  # of the last epoch, between 0 and 1
    ```

    `model` takes images (batch, channels, height, width) and gives logits (batch, classes), or
    wider; that is tried on an image before anything else. `data` is a set of `reuseprior.data`.
    Another `task` says itself what they must be like; data then need `name`, `checksum`, `train`
    and `test`. Tied parameters stay tied. The model comes back with the weights that were tested:
    the averaged ones where the protocol averages. `about` is added to `config.json`, for what a
    model does not know of itself, such as its name. The seed decides everything but the initial
    weights, and torch's generators are left as they were.

    With `patience`, a training ends when its score on the validation part has not risen for as many
    epochs; the model comes back with the weights of the best, and these alone are tested.

    With `resume`, a training that stands in the folder goes on from its last checkpoint, on as many
    processes as it began with; on one processor it ends the same bit for bit. SIGTERM,
    SIGUSR2 and Ctrl-C write a checkpoint after the batch in hand and raise `Interrupted`, a
    KeyboardInterrupt. A loss that is not a number raises `Diverged`, and the last checkpoint stays.
    Other errors one can mend are `ProtocolError`, `CheckpointError`, `results.ResultError`,
    `files.FileError` and, where another process trains in this folder, `files.Locked`.
    """
    expect(model, nn.Module, "the model", "pass a torch.nn.Module")
    expect(protocol, Protocol, "the protocol", "pass Protocol.load('quick')", ProtocolError)
    expect(folder, (str, os.PathLike), "the folder", "give the path of one")
    expect_seed(seed)
    if task is None:
        sets = (DataSet, ImageFolderSet)
        expect(data, sets, "the data", "pass a set that data.load returned")
    folder = Path(folder)
    loop = Loop(protocol.precision, ProtocolError)
    task = task or Classification(data.classes, protocol.label_smoothing)
    if cuda := loop.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(loop.device)
    with torch.random.fork_rng(devices=[loop.device] if cuda else []):
        training = _Training(model, data, protocol, folder, loop, task, seed, about or {})
        with training.recorded(resume):
            loop.accelerator.wait_for_everyone()
            if training.path.exists():
                training.restore()
            if training.ended and finished(folder):
                if training.recording:
                    training.recording.settle()  # which a kill may have prevented
                if training.average:
                    training.average.apply()
                training.go_back()
            else:
                small_maps = SmallMaps() if protocol.small_maps else nullcontext()
                with signals() as stop, small_maps:
                    training.run(stop, progress)
            loop.accelerator.wait_for_everyone()
    return Run.read(folder)


class _Training:
    """A training in progress: what a checkpoint holds of it, and what moves it on."""

    def __init__(self, model, data, protocol, folder, loop, task, seed, about):
        self.protocol, self.loop, self.task, self.seed = protocol, loop, task, seed
        self.data, self.folder = data, folder
        self.path = folder / checkpoint.NAME
        self.device, self.accelerator, self.share = loop.device, loop.accelerator, loop.share
        self.is_main = self.accelerator.is_main_process
        trained, tested = parts(data, protocol)
        self.sizes = {"train": len(trained)} | {name: len(part) for name, part in tested.items()}
        options = {"device": self.device, "seed": seed, "share": self.share}
        self.batches = task.batches(trained, protocol, **options)
        self.tests = {name: task.batches(s, protocol, **options) for name, s in tested.items()}
        self.steps = steps(len(self.batches), protocol, self.share)

        _check_values(model)
        if self.share.count > 1 and self.device.type == "cuda":
            nn.SyncBatchNorm.convert_sync_batchnorm(model)
        model.to(self.device)
        if protocol.channels_last:
            model.to(memory_format=torch.channels_last)
        self.model = model
        task.check(model, data, protocol, loop.autocast)
        self.parameters = sum(p.numel() for p in model.parameters())
        # Tests use the network itself: what wraps it for several processes is for training.
        self.network = torch.compile(model) if protocol.compile else model
        self.optimizer = optimizers.build(model, protocol)
        self.forward, self.stepper = self.accelerator.prepare(self.network, self.optimizer)
        self.average = Average(model) if protocol.ema_decay else None

        self.best: dict[str, torch.Tensor] = {}  # weights of the best epoch so far
        self.best_epoch, self.best_score = 0, -inf
        if protocol.patience:
            if not task.score or "validation" not in self.tests:
                raise ProtocolError(
                    f"patience is {protocol.patience}, and {self.data.name} has no validation "
                    f"part or {task.name} no score: set validation, or patience to 0"
                )
            self.best = copies(tensors(model))
        self.config = {**about, **self.own_config()}
        self.recording: Recording | None = None
        self.epoch = 0  # epochs done
        self.batch = 0  # batches done of this epoch
        self.totals = torch.zeros(task.sizes, device=self.device)  # over its examples
        self.seconds = 0.0  # spent on its batches

    @contextmanager
    def recorded(self, resume: bool) -> Iterator[None]:
        """Write into the folder for as long as this lasts, if this is the process that writes."""
        if self.is_main:
            self.recording = Recording.start(
                self.folder, self.config, resume=resume, checkpoint=checkpoint.NAME
            )
        try:
            yield
        finally:
            if self.recording:
                self.recording.close()

    def own_config(self) -> dict:
        return {
            "data": self.data.name,
            **self.task.about(),
            "images": self.sizes,
            "data_checksum": self.data.checksum,
            "seed": self.seed,
            "processes": self.share.count,
            "parameters": self.parameters,
            "protocol": self.fields(),
        }

    def fields(self) -> dict:
        """The protocol's, without those at rest that an older package began this run without."""
        path, every = self.folder / CONFIG, asdict(self.protocol)
        begun = read_json(path, dict) if path.exists() else {}
        known = begun.get("protocol", every)
        known = known if isinstance(known, dict) else every  # which is refused as it differs
        rest = asdict(Protocol())
        return {k: v for k, v in every.items() if k in known or v != rest[k]}

    def run(self, stop: Stop, progress: bool) -> None:
        if self.recording:
            self.recording.truncate(self.epoch)  # a row may have come after the checkpoint
        shown = progress and self.is_main
        total = self.protocol.epochs * self.steps
        with tqdm(total=total, initial=self.done, disable=not shown, unit="batch") as bar:
            while not self.ended:
                self.train_epoch(stop, bar)
                row = self.row()
                if self.best:
                    self.keep(row[f"validation_{self.task.score}"])
                shown = {k: v for k, v in row.items() if k.endswith(self.task.shown)}
                bar.set_postfix({k: v for k, v in shown.items() if v is not None})
                self.epoch, self.batch, self.seconds = self.epoch + 1, 0, 0.0
                self.totals.zero_()
                if self.recording:
                    self.recording.append(row)
                if self.ended or self.epoch % self.protocol.checkpoint_every == 0:
                    self.save()
        if self.average:
            self.average.apply()
        self.go_back()
        tested = self.test(self.tests["test"]) if self.best else None
        self.finish("finished", tested=tested)

    @property
    def ended(self) -> bool:
        """Whether all epochs are done, or as many as its patience allows."""
        waited = self.epoch - self.best_epoch
        return self.epoch == self.protocol.epochs or (
            self.protocol.patience > 0 and waited >= self.protocol.patience
        )

    def keep(self, score: float) -> None:
        """Remember the weights of the epoch that was just trained, if it is the best."""
        if score > self.best_score:
            self.best_epoch, self.best_score = self.epoch + 1, score
            put_back(tensors(self.model), self.best)

    def go_back(self) -> None:
        """Give the model the weights of the best epoch, where they are kept."""
        if self.best:
            put_back(self.best, tensors(self.model))

    @property
    def done(self) -> int:
        """Batches since the beginning."""
        return self.epoch * self.steps + self.batch

    def train_epoch(self, stop: Stop, bar) -> None:
        self.forward.train()
        start = time.perf_counter() - self.seconds
        interrupted = self.loop.train(
            self.batches.epoch(self.epoch, self.batch),
            range(self.done, (self.epoch + 1) * self.steps),
            stop,
            seed=lambda _: derive("batch", self.seed, self.epoch, self.batch, self.share.index),
            step=lambda *batch: self.train_batch(bar, *batch),
            check=self.check,
        )
        if interrupted:
            self.seconds = time.perf_counter() - start
            self.interrupt(stop.number or signal.SIGTERM)  # another process may have been told
        self.totals = self.accelerator.reduce(self.totals, "sum")
        self.check(self.totals[0].item())  # waits for the device
        self.seconds = time.perf_counter() - start

    def train_batch(self, bar, *batch: torch.Tensor) -> torch.Tensor:
        """Learn from a batch; returns the loss, summed over this epoch's examples so far."""
        protocol = self.protocol
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(protocol, self.epoch + self.batch / self.steps)
        inputs, targets = learnt = self.task.batch(*batch)
        if protocol.mixup_alpha or protocol.cutmix_alpha:
            random = np.random.default_rng(derive("mix", self.seed, self.epoch, self.batch))
            learnt = self.task.mixed(inputs, targets, protocol, random)
        with self.told(learnt[0]):
            with self.loop.autocast():
                outputs = self.forward(learnt[0])
            loss = self.task.loss(outputs, learnt[1])
            self.accelerator.backward(loss)
        if protocol.gradient_clip:
            self.accelerator.clip_grad_norm_(self.model.parameters(), protocol.gradient_clip)
        self.stepper.step()
        self.stepper.zero_grad()
        if self.average:
            self.average.update(average_decay(protocol, self.done))
        with torch.no_grad():
            self.totals += self.task.sums(outputs, targets, loss)
        self.batch += 1
        bar.update()
        return self.totals[0]

    def row(self) -> dict:
        """The metrics of the epoch that was just trained."""
        start = time.perf_counter()
        seen = self.steps * self.protocol.batch_size
        rate = learning_rate(self.protocol, self.epoch + 1 - 1 / self.steps)
        means = {"train": self.task.measured([total / seen for total in self.totals.tolist()])}
        with self.average.applied() if self.average else nullcontext():
            for part, batches in self.tests.items():
                due = part != "test" or self.test_is_due()
                means[part] = self.test(batches) if due else [None] * len(self.task.measures)
        row = {"epoch": self.epoch + 1, "learning_rate": rate}
        for part, values in means.items():
            row |= {f"{part}_{m}": v for m, v in zip(self.task.measures, values, strict=True)}
        row["images_per_second"] = seen / self.seconds
        row["seconds"] = self.seconds + time.perf_counter() - start
        return row

    def test_is_due(self) -> bool:
        """Whether the test images are looked at after this epoch: after the last one, always.

        With patience only once, by the weights of the best epoch.
        """
        if self.best:
            return False
        done, every = self.epoch + 1, self.protocol.test_every
        return done == self.protocol.epochs or (every > 0 and done % every == 0)

    def test(self, batches) -> list[float]:
        """The task's measures on a part of the data."""
        if self.share.count > 1:
            for buffer in self.model.buffers():  # without SyncBatchNorm each has its own
                torch.distributed.broadcast(buffer, 0)
        totals = self.loop.totals(self.task, self.network, batches)
        means = self.loop.means(totals, len(batches))
        self.check(means[0])
        return self.task.measured(means)

    @contextmanager
    def told(self, inputs: torch.Tensor) -> Iterator[None]:
        """Say in a sentence what a model of anybody's cannot do with a batch in training."""
        try:
            yield
        except Exception as error:  # such as batch norm's, of a batch of one
            small = " or small_maps = false" * self.protocol.small_maps
            reason = (
                f"the model fails in epoch {self.epoch + 1}, after {self.batch} batches, on one of "
                f"shape {tuple(inputs.shape)}: mend what it does in training, or set another "
                f"batch_size{small}, in another folder; it says: {shorten(repr(error), 300)}"
            )
            self.finish("interrupted", reason)
            raise UserError(f"{self.folder}: {reason}") from error

    def check(self, loss: float) -> None:
        """Stop where a loss is no number, before anything of it is saved."""
        if isfinite(loss):
            return
        kept = "the last checkpoint is kept" if self.path.exists() else "there is no checkpoint yet"
        reason = (
            f"the loss is {loss} in epoch {self.epoch + 1}, after {self.batch} batches: lower "
            f"learning_rate (now {self.protocol.learning_rate}) or set gradient_clip, in another "
            f"folder; {kept}"
        )
        self.finish("interrupted", reason)
        raise Diverged(f"{self.folder}: {reason}")

    def interrupt(self, number: int) -> None:
        self.save()
        reason = f"stopped in epoch {self.epoch + 1} after {self.batch} of {self.steps} batches"
        self.finish("interrupted", reason)
        raise Interrupted(f"{self.folder}: {reason}; continue it with --resume", number)

    def finish(
        self, state: str, reason: str | None = None, tested: list[float] | None = None
    ) -> None:
        if self.recording:
            self.recording.finish(self.summary(reason, tested), state=state)

    def summary(self, reason: str | None, tested: list[float] | None) -> dict:
        rows = self.recording.rows
        last = rows[-1] if rows else {}
        if tested:
            last = {f"test_{m}": v for m, v in zip(self.task.measures, tested, strict=True)}
        speeds = [row["images_per_second"] for row in rows]
        origin = {"device": str(self.device), "data_checksum": self.data.checksum}
        return {
            "protocol": self.protocol.name,
            "epochs": len(rows),
            **({"best_epoch": self.best_epoch} if self.best else {}),
            # of the last epoch, or of the best by validation: never of that by the test set
            **{f"test_{m}": last.get(f"test_{m}") for m in reversed(self.task.measures)},
            "parameters": self.parameters,
            "images_per_second": statistics.median(speeds) if speeds else None,
            "peak_memory_bytes": _peak_memory(self.device),
            "processes": self.share.count,
            "reason": reason,
            **provenance(seed=self.seed, **origin),
        }

    def save(self) -> None:
        """Write the checkpoint, unless something in it is no number."""
        held = self.state()
        totals = self.accelerator.reduce(self.totals, "sum")
        finite = torch.stack([t.isfinite().all() for t in held.values()]).all()
        self.check(0.0 if finite else float("nan"))
        if self.recording:
            self.recording.check()
            place = {"epoch": self.epoch, "batch": self.batch, "seconds": self.seconds}
            if self.best_epoch:
                place |= {"best_epoch": self.best_epoch, "best_score": self.best_score}
            place["rows"] = self.recording.digest()
            checkpoint.save(self.path, {**held, "totals": totals}, place, config=self.config)

    def restore(self) -> None:
        """Go back to the checkpoint."""
        saved, place = checkpoint.load(self.path, config=self.config)
        try:
            schemas.fitting(place, schemas.Place)
        except schemas.SchemaError as error:
            raise self.no_place(str(error)) from error
        if not (0 <= place["epoch"] <= self.protocol.epochs and 0 <= place["batch"] <= self.steps):
            raise self.no_place(f"epoch {place['epoch']}, batch {place['batch']}")
        if (best := place.get("best_epoch", 0)) > place["epoch"]:
            raise self.no_place(f"epoch {place['epoch']}, the best of them epoch {best}")
        if self.recording:
            self.recording.verify(place["epoch"], place.get("rows"))
        self.start_optimizer(saved)
        checkpoint.copy_in(self.path, saved, self.state() | {"totals": self.totals})
        if not self.is_main:  # the first process has the sum over all
            self.totals.zero_()
        self.epoch, self.batch, self.seconds = place["epoch"], place["batch"], place["seconds"]
        self.best_epoch = place.get("best_epoch", 0)
        self.best_score = place.get("best_score", -inf)

    def no_place(self, why: str) -> checkpoint.CheckpointError:
        """The error for a checkpoint that stands nowhere in this training."""
        why = f"is no whole checkpoint of this training ({why})"
        return checkpoint.refusal(self.path, why, self.config, whole=True)

    def state(self) -> dict[str, torch.Tensor]:
        """The tensors of a checkpoint: model, average and optimiser, by name.

        There is no generator's state: the seed, the epoch and the batch decide all draws. Nor a
        schedule's, for it is a function of them too.
        """
        by_name = {f"model.{name}": tensor for name, tensor in tensors(self.model).items()}
        if self.average:
            by_name |= {f"average.{name}": t for name, t in self.average.tensors.items()}
        by_name |= {f"best.{name}": t for name, t in self.best.items()}
        for name, parameter in self.model.named_parameters():
            for key, tensor in self.optimizer.state[parameter].items():
                if tensor is not None:
                    by_name[f"optimizer.{key}.{name}"] = tensor
        return by_name

    def start_optimizer(self, saved: dict[str, torch.Tensor]) -> None:
        """Give the optimiser the tensors it makes at its first step, in the layout it would."""
        for name, parameter in self.model.named_parameters():
            for key in {text.split(".", 2)[1] for text in saved if text.startswith("optimizer.")}:
                held = saved.get(f"optimizer.{key}.{name}")
                if held is not None:
                    # a count of steps has no dimensions, all else the shape of the parameter
                    like = parameter if held.ndim else held.to(self.device)
                    self.optimizer.state[parameter][key] = torch.empty_like(like)


def _check_values(model: nn.Module) -> None:
    """Refuse a model with a tensor of the meta device."""
    for name, tensor in chain(model.named_parameters(), model.named_buffers()):
        if not is_lazy(tensor) and tensor.is_meta:
            raise UserError(
                f"{name} of the model lies on the meta device and has no values: build the model "
                "on a real one, or give it values with to_empty() and an initialisation"
            )


def _asked() -> int:
    """How many processes `accelerate launch` was told to start, where it started this one."""
    import psutil

    with suppress(psutil.Error):
        words = psutil.Process(os.getppid()).cmdline()
        launched = any(word.endswith("launch") for word in words)
        if launched and "ACCELERATE_MIXED_PRECISION" in os.environ:
            said = re.search(r"--num[_-]processes[= ](\d+)", " ".join(words))
            return int(said[1]) if said else 1
    return 1


def _peak_memory(device: torch.device) -> int:
    """The most memory taken so far: of the GPU, or of the process where there is none."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    import resource
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS says bytes, Linux KiB
