"""Measure models by name, one or a thousand: build, trace, count, and remember what was counted.

Counts are kept in the user's cache under the fingerprint of the model's trace, so the same
architecture is counted once, whatever it is called.
"""

from __future__ import annotations

import inspect
import json
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass, fields
from functools import partial
from math import inf, isfinite, isnan
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any

import torch
from torch import nn

from reuseprior import files, results, schemas, sharing
from reuseprior.contexts import (
    ContextCounts,
    CountingError,
    TracedModel,
    fingerprint,
    multiply_adds,
    operator_paths,
    trace_model,
)
from reuseprior.contexts.graph import averages
from reuseprior.errors import UserError, shown
from reuseprior.measures.scores import signal_paths
from reuseprior.models import ModelError, catalog
from reuseprior.models.hf import EMBEDDED
from reuseprior.quantities import Quantities
from reuseprior.results import ResultError

DEFAULT_TOKENS = 128  # of a language model's input, where nothing says otherwise


@dataclass(frozen=True)
class Conventions:
    """What to count of a model, and how."""

    image_size: int | None = None  # pixels a side; None is what the model is made for
    shape: tuple[int, ...] | None = None  # of the input, for models that take no square RGB image
    sharing: str = "none"  # as `sharing.apply` takes it
    batch_norm: str = "learnable"  # or all
    output: str | int | None = None  # a part of the outputs; None is what the model is for
    tokens: int | None = None  # of a language model's input; None is 128
    embedded: bool = False  # whether their embeddings are the input nodes, not the tokens
    until: str | None = None  # the module after which counting stops
    last: bool = False  # whether the outputs are those of the last position alone

    def size(self, model: str) -> int | None:
        """Pixels a side, None for tokens and shapes. Raises `ModelError` for unknown models."""
        if self.shape or self.length(model):
            return None
        return self.image_size or catalog.image_size(model)

    def length(self, model: str) -> int | None:
        """How many tokens the model is given, None where it takes something else."""
        if self.shape:
            return None
        return self.tokens or (DEFAULT_TOKENS if catalog.find(model).tokens else None)

    def input_shape(self, model: str) -> tuple[int, ...]:
        """The input's shape, with a batch of one; of a language model's the tokens'."""
        if length := self.length(model):
            return (1, length)
        size = self.size(model)
        return self.shape or (1, 3, size, size)

    def inputs(self, model: str, network: nn.Module) -> Any:
        """What the built network is given, as `trace_model` takes it.

        Raises `ModelError` where tokens or embeddings are asked of a model that takes none.
        """
        entry = catalog.find(model)
        if self.tokens and not (entry.tokens or entry.own):
            raise ModelError(
                f"model {model!r} takes no tokens: say nothing of them, or give a shape"
            )
        if self.embedded and self.length(model) is None:
            raise ModelError(
                f"model {model!r} is given no tokens, so that no embeddings can be its input "
                "nodes: leave that out"
            )
        shape = self.input_shape(model)
        if self.length(model) is None:
            return shape
        names = entry.tokens
        if not self.embedded:
            ids = torch.empty(shape, dtype=torch.int64, device="meta")
            # Where no mask is given, some look for padding among ids that have no values.
            taken = inspect.signature(network.forward).parameters
            mask = [name for name in ("attention_mask",) if names and name in taken]
            return {name: shape for name in (*names, *mask)} or ids
        if not names:
            raise ModelError(
                f"model {model!r} takes its tokens in a way of its own: embeddings can be the "
                "input of hf: models only"
            )
        width = network.get_input_embeddings().weight.shape[1]
        return {EMBEDDED[name]: (*shape, width) for name in names}

    @property
    def part(self) -> str | int | None:
        """What of the model is counted, as a row of a table says it."""
        until = self.until and f"until:{self.until}"
        embedded = "embedded" if self.embedded else None
        last = "last" if self.last else None
        parts = [str(p) for p in (self.output, until, embedded, last) if p is not None]
        return self.output if parts == [str(self.output)] else ",".join(parts) or None

    def __str__(self) -> str:
        return f"sharing {self.sharing}, batch norm {self.batch_norm}"


@dataclass(frozen=True)
class Measured:
    """A model's quantities and cost, how they were taken, and how long that took."""

    model: str
    image_size: int | None  # None where a shape was given
    shape: tuple[int, ...]
    held: int
    """Parameters that the model holds, with those that no output depends on."""
    multiply_adds: int
    blur: float
    """Bits that averages of windows take away per layer, infinite where no input reaches the
    output."""
    blur_all: float
    """The same with averages of all positions."""
    shortest: int
    """Learnable layers on the shortest signal path; 0, as all of paths, where there is none."""
    mean_length: float
    """Learnable layers on a signal path, on average."""
    layer_entropy: float
    """Bits that say in which layer signal meets a parameter."""
    path_entropy: float
    """Bits that say which signal path."""
    quantities: Quantities
    seconds: float

    def row(self) -> dict:
        """A row of a table: every field by its name, the quantities by theirs."""
        names = {field.name for field in fields(self)} - {"quantities"}
        row = {name: getattr(self, name) for name in names}
        return row | self.quantities.to_dict() | {"seconds": round(self.seconds, 3)}


@dataclass(frozen=True)
class Refused:
    """A model that could not be measured, and why."""

    model: str
    reason: str

    def row(self) -> dict:
        """A row of a table."""
        return {"model": self.model, "reason": self.reason}


def count(model: str, conventions: Conventions) -> tuple[Measured, ContextCounts]:
    """Build and count a model; what it prints meanwhile goes to standard error.

    Raises `ModelError` and `CountingError`.
    """
    start = time.perf_counter()
    with redirect_stdout(sys.stderr):
        traced, network = _record(model, conventions)
        counts = traced.count(batch_norm=conventions.batch_norm)
    quantities = counts.quantities()
    return _measured(model, conventions, traced, _held(network), quantities, start), counts


def measure(model: str, conventions: Conventions, cache: Path | None = None) -> Measured:
    """The quantities of a model, from the folder `cache` where its trace was counted before.

    >>> round(measure("V2-B0", Conventions(image_size=64)).quantities.P_G, 2)
    22.56

    Raises `ModelError` and `CountingError`.
    """
    start = time.perf_counter()
    with redirect_stdout(sys.stderr):
        traced, network = _record(model, conventions)
        place = cache and _place(cache, traced, conventions)
        quantities = place and _kept(place)
        if quantities is None:
            quantities = traced.count(batch_norm=conventions.batch_norm).quantities()
            if place:
                _keep(place, quantities)
    return _measured(model, conventions, traced, _held(network), quantities, start)


def measure_all(
    tasks: Sequence[tuple[str, Conventions]],
    *,
    jobs: int = 1,
    cache: Path | None = None,
) -> Iterator[Measured | Refused]:
    """Measure models, `jobs` at a time, and yield each as it is done, in no certain order.

    ```python
    for done in measure_all([("V2-B0", Conventions()), ("V2-S", Conventions(256))], jobs=2): ...
    ```

    Raises `UserError` if a process is killed from outside, as when memory runs out.
    """
    one = partial(_measure_or_refuse, cache=cache)
    if jobs == 1 or len(tasks) < 2:
        for task in tasks:
            yield one(*task)
        return
    # torch and its threads do not survive a fork
    workers = ProcessPoolExecutor(min(jobs, len(tasks)), get_context("spawn"), _start_worker)
    with workers as pool:
        try:
            for future in as_completed([pool.submit(one, *task) for task in tasks]):
                yield future.result()
        except BrokenProcessPool as error:
            raise UserError(
                "a process that measured models was killed, probably for want of memory: go on "
                "with fewer --jobs"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def cache_folder() -> Path:
    """Where counts are kept: `reuseprior/counts` in the user's cache."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "reuseprior" / "counts"


def _measure_or_refuse(
    model: str, conventions: Conventions, cache: Path | None
) -> Measured | Refused:
    try:
        return measure(model, conventions, cache)
    except ValueError as error:
        return Refused(model, " ".join(str(error).split()))


def _start_worker() -> None:
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Wait until the process that started this one is gone, also by kill -9; nobody is left then
    to take what is counted here, and to wait for the next model would be for ever."""
    parent_process().join()
    os._exit(1)


def _record(model: str, conventions: Conventions):
    """The model's trace, and the model."""
    with catalog.told_in_a_sentence(model):
        network = catalog.build(model)
    sharing.apply(network, conventions.sharing)
    inputs = conventions.inputs(model, network)
    output = conventions.output
    if output is None and conventions.until is None:
        output = catalog.find(model).output
    if conventions.last:
        output = partial(last_position, part=output)
    return trace_model(network, inputs, output=output, until=conventions.until), network


def last_position(output: Any, part: str | int | None = "logits") -> torch.Tensor:
    """What a language model says of the next token: the last position of a part of its output.

    Raises `CountingError` where that is no tensor of (samples, positions, features).
    """
    if isinstance(part, str) and hasattr(output, part):
        logits = getattr(output, part)
    else:
        logits = output if part is None else output[part]
    if not isinstance(logits, torch.Tensor) or logits.ndim != 3:
        raise CountingError(
            "The last position is asked of an output that is no tensor of samples, positions and "
            "features: choose a language model"
        )
    return logits[:, -1:]


def _held(network: torch.nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def _measured(model, conventions, traced, held, quantities, start) -> Measured:
    return measured(
        model,
        traced,
        quantities,
        image_size=conventions.size(model),
        shape=conventions.input_shape(model),
        held=held,
        start=start,
    )


def measured(
    model: str,
    traced: TracedModel,
    quantities: Quantities,
    *,
    image_size: int | None,
    shape: tuple[int, ...],
    held: int,
    start: float,
) -> Measured:
    """All measures of a trace whose contexts are counted; `start` is when that began
    (`time.perf_counter()`)."""
    paths = signal_paths(traced)
    live = paths.is_live
    return Measured(
        model,
        image_size,
        shape,
        held,
        multiply_adds(traced),
        operator_paths(traced).blur,
        operator_paths(traced, averages()).blur,
        paths.shortest if live else 0,
        paths.mean_length if live else 0.0,
        paths.layer_entropy if live else 0.0,
        paths.path_entropy if live else 0.0,
        quantities,
        time.perf_counter() - start,
    )


def _place(cache: Path, traced: TracedModel, conventions: Conventions) -> Path | None:
    """The file of a trace's quantities, None where the trace alone does not decide them."""
    key = fingerprint(traced)
    return key and cache / f"{key}-{conventions.batch_norm}.json"


def _kept(place: Path) -> Quantities | None:
    with suppress(OSError, schemas.SchemaError):  # not there or not whole: then it is counted
        values = schemas.unsealed(place.read_bytes(), schemas.Counts)
        if values.keys() == schemas.Counts.__annotations__.keys():
            return Quantities(**{k: float("-inf") if v is None else v for k, v in values.items()})
    return None


def _keep(place: Path, quantities: Quantities) -> None:
    values = {k: v if isfinite(v) else None for k, v in quantities.to_dict().items()}
    with suppress(OSError):  # a cache that cannot be written costs time and nothing else
        place.parent.mkdir(parents=True, exist_ok=True)
        files.write(place, json.dumps(schemas.sealed(values), allow_nan=False).encode())


# A table of measured models, kept in a file ------------------------------------------------------
#
# So that a long ranking goes on where it stopped.

COLUMNS = (
    "model", "image_size", "shape", "sharing", "batch_norm", "output", "held", "multiply_adds",
    "blur", "blur_all", "shortest", "mean_length", "layer_entropy", "path_entropy",
    *(field.name for field in fields(Quantities)), "seconds", "reason",
    "digest",
)  # fmt: skip
"""Of the file: a row a model. `held` counts all its parameters and `parameters` is N_G, those with
a context; `reason` says why a model could not be counted, and then the numbers are missing. The
`digest` of all that the row says tells damage and edits."""

NUMBERS = COLUMNS[COLUMNS.index("held") : COLUMNS.index("reason")]


LARGEST = 10**30  # whole numbers of a table are below


class Ranking:
    """Rows of models, with those of `file` if there is one; each addition is written to it.

    ```python
    ranking = Ranking(Conventions(), Path("zoo.csv"))
    for done in measure_all(ranking.missing(names)):
        ranking.add(done)
    ranking.best(names)
    ```

    Nobody else writes the file until the ranking is closed or forgotten. Raises `ResultError` for a
    file of other columns and for a number that is none, and `files.Locked` where another process
    writes it.
    """

    def __init__(self, conventions: Conventions, file: Path | None = None) -> None:
        self.conventions = conventions
        self.file = file
        if file is not None and file.exists() and not file.is_file():
            what = "folder" if file.is_dir() else "device or a pipe"
            raise ResultError(f"{file} is a {what}: name a file")
        self._lock = None if file is None else files.Lock(file)
        if file is not None:
            files.sweep(file)
        rows = results.read_csv(file, COLUMNS) if file is not None and file.exists() else []
        for line, row in enumerate(rows, start=2):
            _check(row, f"line {line} of {file}")
        self._rows = {self._key(row): row for row in rows if row["reason"] is None}
        self._refused = {self._key(row): row for row in rows if row["reason"] is not None}

    def missing(self, models: Sequence[str]) -> list[tuple[str, Conventions]]:
        """Those of the models that have no numbers yet under these conventions, to be measured.

        What was refused may have been mended, so it is tried again.
        """
        return [(model, self.conventions) for model in models if self._of(model) is None]

    def add(self, done: Measured | Refused) -> None:
        """Take up a measured model, or one that could not be."""
        taken = {"sharing": self.conventions.sharing, "batch_norm": self.conventions.batch_norm}
        taken["output"] = self.conventions.part
        row = dict.fromkeys(COLUMNS) | taken | done.row()
        row["shape"] = row["shape"] and _text(row["shape"])
        row["digest"] = _digest(row)
        self._refused.pop(self._key(row | {"shape": None}), None)
        rows = self._rows if row["reason"] is None else self._refused
        rows[self._key(row)] = row
        if self._lock:
            self._lock.check()
            results.write_csv(self.file, [*self._rows.values(), *self._refused.values()])

    def close(self) -> None:
        """Let others write the file."""
        if self._lock:
            self._lock.release()

    def best(self, models: Sequence[str]) -> list[dict]:
        """The rows of these models, the greatest P′_G first.

        A model whose output no input reaches comes last, as all its numbers say nothing.
        """
        rows = [row for model in models if (row := self._of(model)) is not None]
        return sorted(rows, key=lambda row: (row["blur"] < inf, row["P_G_spread"]), reverse=True)

    def _of(self, model: str) -> dict | None:
        try:
            shape = _text(self.conventions.input_shape(model))
        except ModelError:  # no such model, so it has no row
            return None
        taken = self.conventions
        return self._rows.get((model, shape, taken.sharing, taken.batch_norm, taken.part))

    @staticmethod
    def _key(row: dict) -> tuple:
        return tuple(row[name] for name in ("model", "shape", "sharing", "batch_norm", "output"))


def _check(row: dict, where: str) -> None:
    """Whether the numbers of a row are numbers; a refused row has none.

    `P_G` and others are −∞ where there is no context, and `blur` is infinite; none is ever NaN.
    """
    for name in ("model", "sharing", "batch_norm"):
        if not isinstance(row[name], str):
            raise ResultError(f"{name} in {where} is {row[name]!r}, not a text: delete the line")
    for name in NUMBERS if row["reason"] is None else ():
        if not _is_measured(row[name], endless=name in ("blur", "blur_all")):
            raise ResultError(
                f"{name} in {where} is {shown(row[name])}, not a number: mend it, or delete the "
                "line and the model is counted anew"
            )
    if row["digest"] != _digest(row):
        raise ResultError(
            f"{where} is not as it was written, but damaged or edited: mend it, or delete the line "
            "and the model is counted anew"
        )


def _digest(row: dict) -> str:
    """Of what a row says, as the file has it: there 1 and "1" are one."""
    return schemas.digest({name: str(value) for name, value in row.items()})


def _is_measured(value, *, endless: bool) -> bool:
    if type(value) is int:
        return abs(value) < LARGEST
    return type(value) is float and not isnan(value) and (endless or value < inf)


def _text(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))
