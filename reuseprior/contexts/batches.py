"""Count a model from its inputs: one pass for the record, and of a batch one sample alone."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from reuseprior.contexts.array import ScaledSum
from reuseprior.contexts.counting import (
    BatchNorm,
    ContextCounts,
    RecordedModel,
    check_convention,
    is_learnable,
    walk,
)
from reuseprior.contexts.inputs import Inputs, Signal, check_model, read
from reuseprior.contexts.recorder import record, tensors_in
from reuseprior.contexts.rules import RULES, Rule
from reuseprior.errors import CountingError

logger = logging.getLogger(__name__)


def count_contexts(
    model: nn.Module,
    inputs: Any,
    *,
    batch_norm: BatchNorm = "learnable",
    output: str | int | Callable[[Any], Any] | None = None,
    signal: Signal = None,
    until: str | None = None,
    pointwise: Iterable[type | nn.Module | str] = (),
    as_written: bool = False,
    exact: bool = False,
    rules: Mapping[Callable, Rule] | None = None,
) -> ContextCounts:
    """Count the contexts (thesis, definition 1) of every parameter of a model.

    >>> counts = count_contexts(torchvision.models.resnet18(), (1, 3, 224, 224))
    >>> counts.quantities().P_G

    The model runs once, in evaluation mode and without data, and is left as it was.

    Args:
        inputs: the input's shape, e.g. `(1, 3, 224, 224)`, or an example tensor; a list of
            several, or a dict of arguments by name, with None, numbers and nests among them, as the
            forward takes them. In a dict a shape under a name that ends in `ids` stands for token
            ids that may be any (all rows of their table are then sources), one that ends in `mask`
            for a mask that masks nothing; example ids choose rows. Of a batch of samples that do
            not meet, one is counted; steps of a sequence or nodes of a graph, which do, count
            together.
        batch_norm: "learnable" counts scale and shift; "all" also counts the two running
            statistics, as the thesis's tables do.
        output: which part of a dict or tuple of outputs to count (key, position or function);
            by default every tensor in it is an output.
        signal: names or positions of the inputs that are input nodes; by default floating-point
            inputs that are read, and integers that choose rows of a parameter, but no masks,
            timesteps or edges. Example numbers that are no signal are constants of the model. So a
            mask of zeros and -inf that is added to scores masks nothing, without a word, where it
            is a floating-point input that `signal` does not leave out, or a buffer on the meta
            device, which has lost its values.
        until: path of a module (`"backbone"`) whose output takes the place of the model's: what
            comes after, such as a detector's choice among boxes, does not run.
        pointwise: classes, paths or modules that count as one step, position by position, as a
            fused norm does: `pointwise=[LlamaRMSNorm]`. What they compute within matters to their
            own parameters only.
        as_written: count norms and activations that the model spells out operator by operator.
            By default those that are certain to be one count as one step; `one_step` of the
            result lists them. `pointwise` comes before what is recognised, and a rule of your own
            for an operator that norms are spelled with leaves all of them as written.
        exact: count in Python integers instead of scaled floats (small models).
        rules: counting rules to use instead of the registered ones, by operator.

    Raises:
        CountingError: if the model cannot run or be counted; the message says why.
    """
    check_convention(batch_norm)
    recorded = record_model(
        model, inputs, output=output, signal=signal, until=until, pointwise=pointwise
    )
    return recorded.count(batch_norm=batch_norm, exact=exact, rules=rules, as_written=as_written)


def record_model(
    model, inputs, *, output=None, signal: Signal = None, until: str | None = None, pointwise=()
) -> RecordedModel:
    """Run a model once, as `count_contexts` does, and keep the record to count it more than once.

    >>> recorded = record_model(torchvision.models.resnet18(), (1, 3, 224, 224))
    >>> recorded.count(), recorded.count(discount=per_layer(0.5))
    """
    check_model(model)
    tensors = _named_tensors(model)
    dtypes = (p.dtype for p in model.parameters() if p.is_floating_point())
    given = read(inputs, next(dtypes, torch.float32))
    given = _one_sample(model, given, output, until)
    choose = partial(_chosen, output=output)
    tracked = [t for _, t in tensors]
    recording = record(model, given, tracked, choose, signal, until, tuple(pointwise))
    if not recording.outputs:
        raise CountingError(
            "The model returns no tensor to count contexts to; return its outputs, or choose "
            "them with output=."
        )
    return RecordedModel(recording, tuple(tensors))


def _named_tensors(model: nn.Module) -> list[tuple[tuple[str, ...], torch.Tensor]]:
    """Every parameter and running statistic once, with all its names."""
    tensors: dict[int, tuple[list[str], torch.Tensor]] = {}
    statistics = [
        (name, buffer)
        for name, buffer in model.named_buffers(remove_duplicate=False)
        if not is_learnable(name)
    ]
    for name, tensor in (*model.named_parameters(remove_duplicate=False), *statistics):
        tensors.setdefault(id(tensor), ([], tensor))[0].append(name)
    return [(tuple(names), tensor) for names, tensor in tensors.values()]


# A batch ----------------------------------------------------------------------------------------


def _one_sample(model: nn.Module, given: Inputs, output, until) -> Inputs:
    """The first sample of a batch, or the inputs as they are where the first axis is none.

    It is one where the first entries of the outputs depend on the first entries of the inputs and
    on no others, and the last on the last: so images are told from the steps of a sequence and the
    nodes of a graph.
    """
    size = batch_of(given)
    if size == 1:
        return given
    for entries in (2, size):  # two may do, and take less time than a long sequence
        try:
            is_batch = _is_batch(model, given, size, entries, output, until)
        except CountingError:  # said again, and in full, when the inputs are counted as they are
            continue
        if not is_batch:
            return given
        break
    else:
        return given
    logger.info("The input holds %d samples, counted for one of them.", size)
    return first_sample(given, size)


def _is_batch(model: nn.Module, given: Inputs, size: int, entries: int, output, until) -> bool:
    """Whether the first and last of so many entries of the outputs depend on their own alone."""
    probe, emptied = apart(given, size, entries)
    shapes: list[tuple[int, ...]] = []

    def ends(made):
        found = list(tensors_in(_chosen(made, output)))
        shapes.extend(tuple(t.shape) for t in found)
        found = [t for t in found if t.ndim]
        return [t[:1] for t in found] + [t[-1:] for t in found]

    recording = record(model, probe, emptied, ends, until=until)
    if any(shape[:1] != (entries,) for shape in shapes):
        return False
    half = len(recording.outputs) // 2
    of_first, of_last = recording.outputs[:half], recording.outputs[half:]
    for outputs, others in ((of_first, slice(1, None)), (of_last, slice(-1))):
        counts, _ = walk(replace(recording, outputs=outputs), RULES, ScaledSum, None)
        totals = [(counts.get(recording.node_of(tensor)), tensor) for tensor in emptied]
        logs = [np.broadcast_to(total.log2()[0], t.shape) for total, t in totals if total]
        if not logs or any(np.isfinite(log[others]).any() for log in logs):
            return False
    return True


def batch_of(inputs: Inputs) -> int:
    """How many entries the first axis has of all numbers and token ids without values, else 1."""
    sizes = {t.shape[0] if t.ndim else 1 for _, t in inputs.tensors() if _may_vary(t)}
    return sizes.pop() if len(sizes) == 1 else 1


def apart(inputs: Inputs, size: int, entries: int) -> tuple[Inputs, list[torch.Tensor]]:
    """The inputs with `entries` of the first axis where it has that size, and no values there.

    Returns the tensors without values, too.
    """
    made: list[torch.Tensor] = []

    def emptied(tensor: torch.Tensor) -> torch.Tensor:
        if not (tensor.ndim and tensor.shape[0] == size):
            return tensor
        if not _may_vary(tensor):
            return tensor[:entries]
        made.append(torch.empty_like(tensor[:entries], device="meta"))
        return made[-1]

    return inputs.changed(emptied), made


def first_sample(inputs: Inputs, size: int) -> Inputs:
    """The first entry of every tensor whose first axis has that size."""
    return inputs.changed(lambda t: t[:1] if t.ndim and t.shape[0] == size else t)


def _may_vary(tensor: torch.Tensor) -> bool:
    return tensor.is_floating_point() or tensor.is_complex() or tensor.dtype is torch.int64


# The part that counts ---------------------------------------------------------------------------


def _chosen(result, output):
    """The part of a model's output that `output` names: a key, a position or a function."""
    if output is None:
        return result
    try:
        if callable(output):
            return output(result)
        if isinstance(output, str) and hasattr(result, output):
            return getattr(result, output)
        if isinstance(result, torch.Tensor):
            raise TypeError("one tensor has no parts")
        return result[output]
    except CountingError:
        raise
    except Exception as error:
        if callable(output):
            raise CountingError(
                f"output= failed on the model's output ({type(error).__name__}: {error}): give "
                "a function that returns tensors in it."
            ) from error
        offered = _offer(result)
        raise CountingError(f"The model's output has no part {output!r}; {offered}.") from error


def _offer(result) -> str:
    if isinstance(result, Mapping):
        return f"it offers {list(result)}"
    if isinstance(result, (tuple, list)):
        return f"it offers {len(result)} tensors"
    return "it is one tensor" if isinstance(result, torch.Tensor) else "it returns none"
