"""Count a model from its inputs: one pass for the trace, and of a batch one sample alone."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from reuseprior.contexts.array import ScaledSum
from reuseprior.contexts.counting import BatchNorm, ContextCounts, TracedModel, is_learnable, walk
from reuseprior.contexts.inputs import Inputs, Signal, check_model, read
from reuseprior.contexts.memory import merged
from reuseprior.contexts.rules import RULES, Rule
from reuseprior.contexts.trace import Trace
from reuseprior.contexts.tracer import trace_operators
from reuseprior.errors import CountingError

FEW = 8  # samples that are looked at each; of more, two may do, which takes less time
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
            forward takes them, or an object of tensors. In a dict a shape under a name whose last
            word is `ids` stands for token ids that may be any (all rows of their table are then
            sources), one whose last word is `mask` for a mask that masks nothing; example ids
            choose rows. Of a batch of samples that do not meet, one is counted; steps of a sequence
            or nodes of a graph, which do, count together, as rows with own parameters do.
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
    traced = trace_model(
        model, inputs, output=output, signal=signal, until=until, pointwise=pointwise
    )
    return traced.count(batch_norm=batch_norm, exact=exact, rules=rules, as_written=as_written)


def trace_model(
    model, inputs, *, output=None, signal: Signal = None, until: str | None = None, pointwise=()
) -> TracedModel:
    """Run a model once, as `count_contexts` does, and keep the trace to count it more than once.

    >>> traced = trace_model(torchvision.models.resnet18(), (1, 3, 224, 224))
    >>> traced.count(), traced.count(discount=per_layer(0.5))
    """
    check_model(model)
    tensors = tuple(_named_tensors(model))
    tracked = [tensor for _, tensor in tensors]
    dtypes = (p.dtype for p in model.parameters() if p.is_floating_point())
    arguments = read(inputs, next(dtypes, torch.float32))
    choose, steps = partial(_chosen, output=output), [*pointwise]
    run = partial(trace_operators, model, choose=choose, until=until, one_steps=steps)

    def traced(arguments: Inputs) -> TracedModel:
        trace = run(arguments, tracked, signal=signal)
        if not trace.outputs:
            raise CountingError(
                "The model returns no tensor to count contexts to; return its outputs, or choose "
                "them with output=."
            )
        return TracedModel(trace, tensors)

    return _of_one_sample(arguments, tracked, run, traced) or traced(arguments)


def _named_tensors(model: nn.Module) -> list[tuple[tuple[str, ...], torch.Tensor]]:
    """Every parameter and running statistic once, with all its names: in memory it is one."""
    parameters = model.named_parameters(remove_duplicate=False)
    buffers = model.named_buffers(remove_duplicate=False)
    tensors = [*parameters, *((name, b) for name, b in buffers if not is_learnable(name))]
    return [(tuple(names), t) for names, t in merged([([name], t) for name, t in tensors])]


# A batch ----------------------------------------------------------------------------------------


def _of_one_sample(arguments: Inputs, tracked, run, traced) -> TracedModel | None:
    """The trace of the first sample of a batch; None where the first axis is none of samples.

    It is one where each entry of the outputs depends on its own entry of the inputs alone, and all
    of them in the same way on the parameters, as the first does by itself: so images are told from
    the steps of a sequence, the nodes of a graph, and rows with parameters of their own.
    """
    size = batch_of(arguments)
    if size == 1:
        return None
    for entries in (2, size) if size > FEW else (size,):
        try:
            of_each = _of_each(arguments, size, entries, tracked, run)
            break
        except CountingError:  # said again, and in full, when the inputs are counted as they are
            continue
    else:
        return None
    if of_each is None:
        return None
    try:
        sample = traced(first_sample(arguments, size))
        # rows of a table that ids choose have shares while it is looked at what depends on the ids
        are_numbers = all(
            not _may_vary(t) or t.dtype is not torch.int64 for _, t in arguments.tensors()
        )
        if are_numbers and not _equal(_totals(sample.trace, tracked), of_each):
            return None
    except CountingError:  # one cannot stand alone
        return None
    logger.info("The input holds %d samples, counted for one of them.", size)
    return sample


def _of_each(arguments: Inputs, size: int, entries: int, tracked, run) -> list | None:
    """Log2 of the counts of parameters that each of so many samples has; None if they are none.

    Each sample's outputs are weighted by a number of its own, once by ones and once at random:
    where none depends on another, the counts of its inputs have just its own factor, and where all
    are alike, those of parameters have the factors' sum.
    """
    probe, emptied = apart(arguments, size, entries)
    trace = run(probe, [*emptied, *tracked])
    if any(node.shape[:1] != (entries,) for node in trace.outputs):
        return None
    passes = []
    for factors in (np.ones(entries), np.random.default_rng(0).uniform(1, 2, entries)):
        totals = _totals(trace, emptied, factors)
        by_sample = [
            log if log is None else log - np.log2(factors).reshape(-1, *[1] * (log.ndim - 1))
            for log in totals
        ]
        of_parameters = _totals(trace, tracked, factors)
        whole = [log if log is None else log - np.log2(factors.sum()) for log in of_parameters]
        passes.append((by_sample, whole))
    (plain, each), (weighted, again) = passes
    rows = [log for log in plain if log is not None]
    is_batch = rows and _equal(plain, weighted) and _equal(each, again)
    if not is_batch or not _equal(rows, [log[:1] for log in rows]):
        return None
    return each


def _totals(trace: Trace, tensors, factors: np.ndarray | None = None) -> list:
    """Log2 of the tensors' counts, None of one that no output depends on."""
    counts, _ = walk(trace, RULES, ScaledSum, None, weights=factors)
    totals = [counts.get(trace.node_of(tensor)) for tensor in tensors]
    return [total and total.log2()[0] for total in totals]


def _equal(some: list, others: list) -> bool:
    """Whether logarithms of counts are the same, but for rounding."""
    pairs = zip(some, others, strict=True)
    return all(
        a is b if a is None or b is None else np.allclose(a, b, rtol=1e-9, atol=1e-9)
        for a, b in pairs
    )


def batch_of(inputs: Inputs) -> int:
    """How many entries the first axis has of all numbers and token ids without values, else 1."""
    sizes = {t.shape[0] if t.ndim else 1 for _, t in inputs.tensors() if _may_vary(t)}
    return sizes.pop() if len(sizes) == 1 else 1


def apart(inputs: Inputs, size: int, entries: int) -> tuple[Inputs, list[torch.Tensor]]:
    """The inputs with `entries` of the first axis where it has that size, and no values there.

    Returns the tensors without values, too.
    """
    copies: list[torch.Tensor] = []

    def emptied(tensor: torch.Tensor) -> torch.Tensor:
        if not (tensor.ndim and tensor.shape[0] == size):
            return tensor
        if not _may_vary(tensor):
            return tensor[:entries]
        copies.append(torch.empty_like(tensor[:entries], device="meta"))
        return copies[-1]

    return inputs.changed(emptied), copies


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
