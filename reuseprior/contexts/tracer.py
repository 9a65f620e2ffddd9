"""Trace the operators of one forward pass, on the meta device: shapes without data.

The trace is plain data (nodes and operators); counting never touches an `nn.Module`. The
model is left as it was: every tensor it holds is replaced by a meta twin as it reaches an
operator, and what `forward` writes to the modules is undone afterwards.
"""

from __future__ import annotations

import gc
import random
import sys
import threading
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_map_only

from reuseprior.contexts.inputs import Inputs, Signal, carrying, chosen, tensors_in
from reuseprior.contexts.memory import lies_in, memory, same_view, unusual
from reuseprior.contexts.rules import OpMetadata, op_metadata
from reuseprior.contexts.trace import Node, Operator, Trace, map_nodes, one_step, overwrite_view
from reuseprior.contexts.untouched import ONE_AT_A_TIME, untouched
from reuseprior.errors import CountingError, did_you_mean

aten = torch.ops.aten

FIXED_PATH = "count a version of the model whose path through the network is fixed."


def _combined(function: Callable, a: torch.Tensor, b: torch.Tensor | bool) -> torch.Tensor:
    if a.is_contiguous() and isinstance(b, torch.Tensor) and b.is_contiguous():
        return a.new_empty(torch.broadcast_tensors(a, b)[0].shape)
    return function(a, b)


def _affine(bias: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    product = aten.mm.default(a, b)
    bias.expand(product.shape)  # an error where it does not fit
    return product


# Torch works these out in Python on the meta device, and imports its compiler for it (seconds).
# Between floats of one type the same shape is had without.
SHAPED_AS = {
    **{
        f: partial(_combined, f)
        for f in (aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor, aten.div.Tensor)
    },
    aten.mean.dim: aten.sum.dim_IntList,
    aten.addmm.default: _affine,
}


def trace_operators(
    model: nn.Module,
    inputs: Inputs,
    tracked: list[torch.Tensor],
    choose: Callable[[Any], Any] = lambda output: output,
    signal: Signal = None,
    until: str | None = None,
    one_steps: Iterable[type | nn.Module | str] = (),
) -> Trace:
    """Run the model on `inputs` once on meta tensors in evaluation mode; return the trace.

    `tracked` are the tensors whose contexts matter (parameters, perhaps running statistics), and
    `choose` picks the outputs from what the model returns; `signal` names the inputs that are
    input nodes, `until` the module after whose first call the pass ends, and `one_steps` modules
    whose results depend on their input position by position. The model's parameters, buffers,
    attributes, training flags and the random state are as before when it returns. Raises
    `CountingError` if the forward pass fails.
    """
    last = _modules_of(model, [until], "until") if until is not None else set()
    steps = _modules_of(model, one_steps, "pointwise")
    names = [name for name, _ in inputs.tensors()]
    signals = None if signal is None else chosen(names, signal)

    def passed(seed: int) -> tuple[Trace, bool]:
        with ONE_AT_A_TIME, uncollected(), untouched(model) as storages:
            tracer = _Tracer(tracked, model, last, steps)
            random.seed(seed)
            np.random.seed(seed)
            before = random.getstate(), np.random.get_state()[1].tobytes()
            try:
                trace = _traced(tracer, model, inputs, choose, signals, until)
                after = random.getstate(), np.random.get_state()[1].tobytes()
                return trace, before != after
            finally:
                storages += tracer.made()
                del tracer

    trace, draws = passed(0)
    if draws and any(passed(seed)[0].path != trace.path for seed in range(1, 9)):
        raise CountingError(
            "The model draws its path at random (with Python's or NumPy's generator), and other "
            f"seeds gave other operators: {FIXED_PATH}"
        )
    return trace


def _traced(tracer, model, inputs, choose, signals, until) -> Trace:
    with _plain_operators():
        tracer.watch(model)
        names = {id(tensor): name for name, tensor in inputs.tensors()}
        twins = inputs.changed(lambda t: tracer.input(names[id(t)], t, signals))
        try:
            with tracer, _WholeOperators(tracer):
                try:
                    output = model(*twins.args, **twins.kwargs)
                except _Reached as reached:
                    (output,) = reached.args
                else:
                    if until is not None:
                        raise CountingError(
                            f"until={until!r} is a module that the forward pass does not call: "
                            "choose another."
                        )
                output = choose(output)  # which may compute, too
        except CountingError:
            raise
        except Exception as error:
            raise CountingError(_explain(error, model, tracer.where, inputs)) from error
        outputs = {id(n): n for n in map(tracer.read, tensors_in(output))}
    trace = tracer.trace
    trace.outputs.extend(outputs.values())
    if signals is None:
        trace.inputs[:] = carrying(tracer.given, trace.operators, trace.outputs)
    trace.fix(lambda function: op_metadata(function).fixed)
    return trace


class _Reached(Exception):
    """The pass has come as far as it is to go, with the output that it holds."""


def _modules_of(model: nn.Module, wanted: Iterable[Any], option: str) -> set[nn.Module]:
    """The modules that an option names: by their classes or paths, or as they are."""
    named = dict(model.named_modules())
    modules: set[nn.Module] = set()
    for one in wanted:
        is_type = isinstance(one, type)
        fits = {m for p, m in named.items() if (isinstance(m, one) if is_type else one in (p, m))}
        if not fits:
            name = one.__name__ if is_type else one
            raise CountingError(
                f"{option}={name!r} is no module of the model{did_you_mean(str(name), named)}: "
                "give a path that named_modules() lists."
            )
        modules |= fits
    return modules


@dataclass(slots=True, eq=False)
class _Storage:
    """What aliases share: the newest node of the whole tensor."""

    base: Node


@dataclass(slots=True, eq=False)
class _Alias:
    """One tensor object: its storage, and the views that lead to it from the storage's base."""

    tensor: torch.Tensor  # kept alive, so that its id stays its own
    twin: torch.Tensor
    storage: _Storage
    path: tuple
    node: Node
    base: Node  # the storage's when this node was made


class _Tracer(TorchDispatchMode):
    """Notes every operator, and turns in-place writes into new nodes (static single assignment)."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """No: to keep its compiler off this class, torch would import the compiler (seconds).

        `_plain_operators` keeps it off where it is loaded, as for a compiled model.
        """
        return False

    def __init__(
        self,
        tracked: list[torch.Tensor],
        model: nn.Module,
        last: set[nn.Module],
        one_steps: set[nn.Module],
    ):
        super().__init__()
        self.last = last
        self.one_steps = one_steps
        self.within: list[tuple[nn.Module, _Alias, Node, Node]] = []  # of these, who are running
        self.given: list[tuple[Node, torch.dtype]] = []  # the inputs
        self.buffers = {id(b): name for name, b in model.named_buffers()}
        self.aliases: dict[int, _Alias] = {}
        self.modules: list[str] = [""]
        self.making = 0  # modules that make weights, and whose forward is running
        self.looks: dict[tuple, tuple] = {}  # of layers' results
        self.trace = Trace([], [], [], {})
        self.tracked = {id(t): t for t in tracked}
        self.memories: dict[int, list[torch.Tensor]] = defaultdict(list)  # which lies in which
        for tensor in tracked:
            self.memories[memory(tensor)].append(tensor)
        self.kept: list[torch.Tensor] = []  # alive, so that their ids stay their own
        self.fresh: set[int] = set()  # parameters that the forward makes, and their views
        self.device = next((t.device for t in tracked), torch.device("cpu"))

    @property
    def where(self) -> str:
        return self.modules[-1]

    # Tensors and nodes -------------------------------------------------------------------

    def input(self, name: str, tensor: torch.Tensor, signals: set[str] | None) -> torch.Tensor:
        """The meta twin of an input.

        Integer inputs keep their data (token ids, indices), and so do numbers that the caller,
        who names the signals, does not name.
        """
        known = self.aliases.get(id(tensor))
        if known is not None:  # given twice
            return known.twin
        alias = self._adopt(tensor)
        is_number = tensor.is_floating_point() or tensor.is_complex()
        is_signal = signals is not None and name in signals
        if tensor.is_meta or (is_number and (signals is None or is_signal)):
            alias.node.tensor, alias.node.varies, alias.node.lost = None, True, ""
        self.given.append((alias.node, tensor.dtype))
        if is_signal:
            self.trace.inputs.append(alias.node)
        return alias.twin

    def _adopt(self, tensor: torch.Tensor) -> _Alias:
        """A tensor from outside the trace (parameter, buffer, constant, input)."""
        node = Node(tuple(tensor.shape))
        dense = tensor.to_dense() if unusual(tensor) else tensor
        node.tensor = None if tensor.is_meta else dense.detach()
        node.has_parameters = node.is_view_of_parameter = id(tensor) in self.tracked
        node.varies = node.has_parameters or node.tensor is None
        name = self.buffers.get(id(tensor))
        says_how = name is not None or not tensor.is_floating_point()
        if node.tensor is None and says_how and not node.has_parameters:
            node.lost = f"buffer {name}" if name else "a tensor of the model"
        self.trace.leaves[id(tensor)] = node
        twin = torch.empty_strided(dense.shape, dense.stride(), dtype=dense.dtype, device="meta")
        alias = _Alias(tensor, twin, _Storage(node), (), node, node)
        self.aliases[id(tensor)] = self.aliases[id(twin)] = alias
        return alias

    def twin(self, tensor: torch.Tensor) -> torch.Tensor:
        """The tensor without data that stands for one of the model's own."""
        return self._alias(tensor).twin

    def _alias(self, tensor: torch.Tensor) -> _Alias:
        alias = self.aliases.get(id(tensor))
        return alias if alias is not None else self._met(tensor)

    def _met(self, tensor: torch.Tensor) -> _Alias:
        """A tensor that no operator has made or used before.

        It may be another object for a tensor that is known: a view of a parameter that the model
        keeps, or what `nn.Parameter(y)` and `as_subclass` make. A parameter that the model does not
        register is refused, as its contexts would be missing.
        """
        if id(tensor) in self.tracked:
            return self._adopt(tensor)
        known = self._registered(tensor)
        if known is None and tensor.is_meta and id(tensor) not in self.buffers:
            known = self._made_before(tensor)
        if known is None:
            if tensor.requires_grad or isinstance(tensor, nn.Parameter):
                raise CountingError(self._stranger(tensor, "uses"))
            return self._adopt(tensor)
        if tensor.requires_grad:
            self.fresh.add(id(tensor))
        self.kept.append(tensor)
        self.aliases[id(tensor)] = known
        return known

    def _check_fresh(self, values) -> None:
        """Raise `CountingError` where a parameter that the forward makes of constants is read."""
        for value in values:
            if isinstance(value, (tuple, list)):
                self._check_fresh(value)
            elif id(value) in self.fresh and not self.read(value).varies:
                raise CountingError(self._stranger(value, "makes"))

    def _stranger(self, tensor: torch.Tensor, does: str) -> str:
        what = f"of shape {tuple(tensor.shape)} (in {self.where or 'its forward'})"
        if not tensor.is_leaf:
            return (
                f"The model uses a tensor {what} that was computed of parameters before the pass, "
                "whose contexts would be missing: compute it in the forward, or detach it if it "
                "is a constant."
            )
        return (
            f"The model {does} a parameter {what} that it does not "
            "register, so that its contexts would be missing: hold it in an attribute, an "
            "nn.ParameterDict or an nn.ModuleList before the pass (a layer that is made on the "
            "first call: run the model once first)."
        )

    def _registered(self, tensor: torch.Tensor) -> _Alias | None:
        """The tensor as the tracked one in whose memory it lies, or as a view of that."""
        for owner in self.memories.get(memory(tensor), ()):
            if same_view(owner, tensor):
                return self._alias(owner)
            if lies_in(tensor, owner, f"A tensor used in {self.where or 'the forward'}"):
                twin = self._alias(owner).twin
                offset = tensor.storage_offset() - owner.storage_offset()
                with self:
                    turned = twin.permute(self._order_in_memory(twin))
                    view = turned.as_strided(tensor.shape, tensor.stride(), offset)
                return self.aliases[id(view)]
        return None

    def _made_before(self, tensor: torch.Tensor) -> _Alias | None:
        """What an operator made, where the tensor is another object for it."""
        its = memory(tensor)
        for alias in reversed(self.aliases.values()):
            if memory(alias.twin) == its and same_view(alias.twin, tensor):
                return alias
        return None

    def read(self, tensor: torch.Tensor) -> Node:
        """The node that holds the tensor's present value."""
        alias = self._alias(tensor)
        if alias.base is not alias.storage.base:  # written through another view since
            node = alias.base = alias.storage.base
            for view, args, kwargs, index in alias.path:
                node = self._note(view, (node, *args), kwargs)[index]
            alias.node = node
        return alias.node

    def _write(self, tensor: torch.Tensor, node: Node) -> None:
        alias = self._alias(tensor)
        storage = alias.storage
        if alias.path:
            arguments = (storage.base, node, alias.path)
            (storage.base,) = self._note(overwrite_view, arguments, {}, [storage.base.shape])
        else:
            storage.base = node
        alias.node, alias.base = node, storage.base

    # Operators ---------------------------------------------------------------------------

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs, known = kwargs or {}, op_metadata(function)
        written, is_view, turns = _effects(function)
        if function is aten._local_scalar_dense.default:
            return self.values(args[0]).item()
        if known.of_memory and not _is_plain(args[0]) and self.read(args[0]).has_parameters:
            with self:
                turned = args[0].permute(self._order_in_memory(args[0]))
                return function(turned, *args[1:], **kwargs)
        if turns:
            return self._view_in_place(function, *args)
        args, twins, nodes = self._prepared(known, args)
        kwtwins, kwnodes = (dict(zip(kwargs, v, strict=True)) for v in self._split(kwargs.values()))
        if self.fresh and not is_view:
            self._check_fresh(a for i, a in enumerate(args) if i not in written)
        if "device" in kwargs:
            kwtwins["device"] = torch.device("meta")
        if known.meta is not None and written in ((), (0,)):
            result = twins[0] if written else known.meta(twins[0])
        elif known.layer and not written:
            result = self._run_layer(function, twins, kwtwins, nodes, kwnodes)
        else:
            result = self._run(function, twins, kwtwins, nodes, kwnodes)
        results = _as_list(result)
        if is_view:
            self._trace_views(function, args[0], nodes, kwnodes, results)
        elif written:
            targets = [args[w] if isinstance(w, int) else kwargs[w] for w in written]
            fresh = self._trace_writes(function, targets, nodes, kwnodes, results)
            return targets[0] if len(results) == 1 and not fresh else result
        else:
            tensors = [r for r in results if isinstance(r, torch.Tensor)]
            shapes = [tuple(t.shape) for t in tensors]
            results_of = self._note(function, nodes, kwnodes, shapes)
            for tensor, node in zip(tensors, results_of, strict=True):
                if known.reads is not None and not tensor.is_meta:  # follows from what was read
                    node.tensor, node.varies, node.has_parameters = tensor, False, False
            self._adopt_results(tensors, results_of)
        return result

    def _run_layer(self, function, twins, kwtwins, nodes, kwnodes):
        """A convolution or product: what comes of the same shapes is worked out once."""
        key = (function, *map(_look, twins), *kwtwins, *map(_look, kwtwins.values()))
        if key not in self.looks:
            result = self._run(function, twins, kwtwins, nodes, kwnodes)
            if isinstance(result, torch.Tensor):  # a user's rule may be of an operator with several
                self.looks[key] = _look(result)
            return result
        shape, stride, dtype = self.looks[key]
        return torch.empty_strided(shape, stride, dtype=dtype, device="meta")

    def _prepared(self, known: OpMetadata, args):
        """The arguments as counting needs them, with twins to run and nodes to trace."""
        if known.masks is not None:
            args = [self._without_masks(a) if i == known.masks else a for i, a in enumerate(args)]
        twins, nodes = self._split(args)
        if known.of_shapes:
            pairs = zip(args, nodes, strict=True)
            nodes = [_shape_of(a) if isinstance(a, torch.Tensor) else n for a, n in pairs]
        if known.reads is not None:
            twins[known.reads] = self.values(args[known.reads])
        return args, twins, nodes

    def _run(self, function, twins, kwtwins, nodes, kwnodes):
        tags = getattr(function, "tags", ())
        try:
            if function in SHAPED_AS and not kwtwins and _are_floats(twins):
                function = SHAPED_AS[function]
            return function(*twins, **kwtwins)
        except (NotImplementedError, RuntimeError) as error:
            if torch.Tag.dynamic_output_shape in tags or torch.Tag.data_dependent_output in tags:
                try:
                    return self._of_constants(function, nodes, kwnodes)
                except CountingError:
                    asks = torch.Tag.data_dependent_output in tags
                    what = "result" if asks else "result's shape"
                    message = self._data_dependent(f"uses {function}, whose {what}")
            elif op_metadata(function).chooses is not None and _numbers_for_ids(twins):
                message = (
                    f"The model chooses entries by numbers that are none of integers ({function} "
                    f"in {self.where or 'its forward'}): it takes token ids, so pass some without "
                    "values, as torch.empty((1, 128), dtype=torch.long, device='meta'), or "
                    "inputs={'input_ids': (1, 128)} if the forward calls them so (--tokens 128 on "
                    "the command line); example ids would count their own rows alone."
                )
            elif not isinstance(error, NotImplementedError):
                raise
            else:
                message = (
                    f"The model uses {function} (in {self.where or 'its forward'}), which torch "
                    "cannot run without data: register what shape it gives with "
                    "torch.library.register_fake."
                )
            raise CountingError(message) from error

    def _of_constants(self, function, nodes, kwnodes):
        """What an operator that looks at data makes of constants: numbers, or tensors' shapes."""
        asked = Operator(function, tuple(nodes), kwnodes, self.where, ())
        if any(node.is_random for node in asked.nodes()):
            raise CountingError("what chance decides is no constant")
        result = asked.replay()
        return tree_map_only(torch.Tensor, partial(torch.empty_like, device="meta"), result)

    def _trace_writes(self, function, targets, nodes, kwargs, results) -> list[torch.Tensor]:
        """Arguments that an operator writes to get new nodes; returns the other results."""
        written = {id(self.twin(t)) for t in targets}
        fresh = [r for r in results if isinstance(r, torch.Tensor) and id(r) not in written]
        shapes = [tuple(t.shape) for t in (*fresh, *targets)]
        new_nodes = self._note(function, nodes, kwargs, shapes)
        self._adopt_results(fresh, new_nodes[: len(fresh)])
        for target, node in zip(targets, new_nodes[len(fresh) :], strict=True):
            self._write(target, node)
        return fresh

    def _adopt_results(self, tensors, nodes) -> None:
        for tensor, node in zip(tensors, nodes, strict=True):
            self.aliases[id(tensor)] = _Alias(tensor, tensor, _Storage(node), (), node, node)

    def _split(self, values) -> tuple[list, list]:
        """The arguments with twins for tensors (to run), and with nodes (to trace)."""
        twins, nodes = [], []
        for value in values:
            if isinstance(value, torch.Tensor):
                nodes.append(self.read(value))
                twins.append(self.aliases[id(value)].twin)
            elif isinstance(value, (list, tuple)) and any(
                isinstance(v, torch.Tensor) for v in value
            ):
                inner = self._split(value)
                twins.append(inner[0])
                nodes.append(inner[1])
            else:
                twins.append(value)
                nodes.append(value)
        return twins, nodes

    def _note(self, function, args, kwargs, shapes=None) -> list[Node]:
        if shapes is None:  # a view taken again: its shape follows from running it
            args_ = map_nodes(args, lambda node: torch.empty(node.shape, device="meta"))
            result = function(*args_, **kwargs)
            shapes = [tuple(r.shape) for r in _as_list(result)]
        place = len(self.trace.operators)
        operator = Operator(function, tuple(args), kwargs, self.where, shapes, place)
        self.trace.operators.append(operator)
        if self.making and operator.uses_parameter:
            for node in operator.results:
                node.is_view_of_parameter = True
        return operator.results

    def _trace_views(self, function, source, nodes, kwargs, results) -> None:
        """Views share the source's storage; several at once (split, unbind) become slices."""
        origin = self.aliases[id(source)]
        rest = tuple(nodes[1:])
        shapes = [tuple(r.shape) for r in results]
        new_nodes = self._note(function, nodes, kwargs, shapes)
        for index, (tensor, node) in enumerate(zip(results, new_nodes, strict=True)):
            node.is_view_of_parameter = origin.node.is_view_of_parameter
            is_all = op_metadata(function).step == "same"
            path = origin.path if is_all else (*origin.path, (function, rest, kwargs, index))
            storage = origin.storage
            self.aliases[id(tensor)] = _Alias(tensor, tensor, storage, path, node, storage.base)
            if id(source) in self.fresh:
                self.fresh.add(id(tensor))

    def _order_in_memory(self, x: torch.Tensor) -> list[int]:
        """The order of axes in which a tensor's entries lie in memory one after the other."""
        order = sorted(range(x.ndim), key=lambda axis: (-x.stride(axis), -x.shape[axis]))
        self._check_plain(x.permute(order))
        return order

    def _check_plain(self, x: torch.Tensor) -> None:
        if not _is_plain(x):
            raise CountingError(
                f"as_strided (in {self.where or 'the forward'}) looks at the memory of a tensor "
                "that is a part of another, which is not followed: make it contiguous, or use "
                "unfold."
            )

    def _view_in_place(self, function, tensor: torch.Tensor, *others) -> torch.Tensor:
        """The tensor becomes a view of what it was: `x.squeeze_()`, `x.t_()`."""
        node, alias = self.read(tensor), self._alias(tensor)
        view, before = _out_of_place(function), alias.twin.detach()
        function(alias.twin, *others)
        if _lies(before) == _lies(alias.twin):
            return tensor
        if op_metadata(view).of_memory:
            self._check_plain(before)
        (turned,) = self._note(view, (node, *others), {}, [tuple(alias.twin.shape)])
        turned.is_view_of_parameter = node.is_view_of_parameter
        alias.path = (*alias.path, (view, others, {}, 0))
        alias.node = turned
        return tensor

    def _without_masks(self, indices):
        """Constant boolean masks as the positions that they keep; others stay as they are."""
        chosen = []
        for index in indices:
            positions = [index]
            if index is not None and index.dtype is torch.bool and not self.read(index).is_random:
                with suppress(CountingError):  # of one that depends on data, refused where used
                    positions = self.read(index).data().nonzero(as_tuple=True)
            chosen += positions
        return chosen

    def values(self, tensor: torch.Tensor) -> torch.Tensor:
        """What follows from constants alone."""
        node = self.read(tensor)
        if node.is_random:
            raise CountingError(
                f"The model looks at numbers that it draws at random (in "
                f"{self.where or 'its forward'}), which may choose its path: {FIXED_PATH}"
            )
        try:
            return node.data()
        except CountingError as error:
            message = self._data_dependent("asks for the value of a tensor, which")
            raise CountingError(message) from error

    def _data_dependent(self, what: str) -> str:
        return (
            f"The model {what} depends on data (data-dependent control flow, in "
            f"{self.where or 'its forward'}): {FIXED_PATH}"
        )

    def _begin_step(self, module: nn.Module, args: tuple) -> None:
        """Within the module nothing is known of where its input comes from."""
        source = next((a for a in args if isinstance(a, torch.Tensor)), None)
        if source is None:
            raise CountingError(
                f"pointwise: {type(module).__name__} (in {self.where}) is called without a tensor "
                "in front, so it is no step from one."
            )
        node = self.read(source)
        stand_in = Node(node.shape, varies=True)
        alias = self.aliases[id(source)]
        alias.node = stand_in
        self.within.append((module, alias, node, stand_in))

    def _end_step(self, output: Any) -> None:
        """What the module made depends on its input at its own position, and on its parameters."""
        module, alias, node, stand_in = self.within.pop()
        if alias.node is stand_in:
            alias.node = node
        if not isinstance(output, torch.Tensor) or tuple(output.shape) != node.shape:
            raise CountingError(
                f"pointwise: {type(module).__name__} gives something else than a tensor of its "
                f"input's shape {node.shape}, so it is no step position by position."
            )
        result = self.read(output)
        (whole,) = self._note(one_step, (node, result), {}, [node.shape])
        self._write(output, whole)

    def watch(self, model: nn.Module) -> None:
        """Evaluation mode, and hooks that tell which module's forward is running.

        Flags are set directly: `train()` may be overridden to do more than set a flag.
        """
        thread = threading.get_ident()

        def enter(module, args, name):
            if threading.get_ident() != thread:
                return
            self.modules.append(name)
            self.making += getattr(module, "makes_weights", False)
            if module in self.one_steps and not self.within:
                self._begin_step(module, args)

        def leave(module, args, output):
            if threading.get_ident() != thread:
                return
            self.modules.pop()
            self.making -= getattr(module, "makes_weights", False)
            if self.within and self.within[-1][0] is module:
                self._end_step(output)
            if module in self.last:
                raise _Reached(output)

        for name, module in model.named_modules():
            module.register_forward_pre_hook(partial(enter, name=name), prepend=True)
            module.register_forward_hook(leave, prepend=True)
            attributes = module.__dict__
            attributes["training"] = False
            if hasattr(config := attributes.get("config"), EXPERTS):
                # transformers' way of which no shape depends on how tokens are routed
                setattr(config, EXPERTS, "batched_mm")
            if isinstance(module, nn.RNNBase):  # compares devices before any operator runs
                attributes["_flat_weights"] = [self.twin(w) for w in attributes["_flat_weights"]]

    def made(self) -> Iterator[StorageWeakRef]:
        """The storages of the tensors that stood for others."""
        twins = {id(alias.storage): alias.twin for alias in self.aliases.values()}
        return (StorageWeakRef(t.untyped_storage()) for t in twins.values() if t.is_meta)


class _WholeOperators(TorchFunctionMode):
    """Calls that would reach the tracer without what counting needs are made otherwise.

    Functions that compare the devices of their tensors before any operator runs are given views of
    the model's own tensors, which are on the meta device as all results are.
    """

    def __init__(self, tracer: _Tracer):
        super().__init__()
        self.tracer = tracer

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function in CALLS:
            return CALLS[function](self.tracer, function, *args, **kwargs)
        try:
            return function(*args, **kwargs)
        except RuntimeError as error:
            if "device" not in str(error).lower():
                raise
        args, kwargs = tree_map_only(torch.Tensor, torch.Tensor.detach, (args, kwargs))
        return function(*args, **kwargs)


def _rms_norm(tracer, function, input, normalized_shape, weight=None, eps=None):
    """One operator, where torch takes it apart: layer norm depends on the same."""
    return torch.layer_norm(input, normalized_shape, weight, None, eps or 1e-5)


def _activation(tracer, function, x):
    """One operator, where torch takes an activation apart: each depends on its own entry."""
    return torch.tanh(x)


def _with_values(tracer, function, data, **options):
    """A constant that torch would build on the meta device."""
    return function(data, **options | ({"device": "cpu"} if "device" in options else {}))


def _new_tensor(tracer, function, like, data, *, dtype=None, **_):
    return torch.tensor(data, dtype=dtype or like.dtype)


def _indexed(tracer, function, x, index, *value):
    """With tensors for the lists in an index, which torch would build on the meta device."""
    many = index if isinstance(index, tuple) else (index,)
    many = tuple(torch.tensor(i) if isinstance(i, (list, tuple)) else i for i in many)
    return function(x, many, *value)


def _masked_select(tracer, function, *args, **kwargs):
    x, mask = torch.broadcast_tensors(*args, *kwargs.values())
    return x[mask]


def _device(tracer, function, tensor):
    """Where the tensor would be if it had values: with the model."""
    return tracer.device if tensor.is_meta else function(tensor)


def _is_cuda(tracer, function, tensor):
    return tensor.device.type == "cuda"


def _set_data(tracer, function, tensor, value):
    """The tensor stays what it is, and holds other numbers from here on."""
    if (tensor.shape, tensor.dtype) != (value.shape, value.dtype):
        raise CountingError(
            f"The model sets .data of a tensor of shape {tuple(tensor.shape)} (in "
            f"{tracer.where or 'its forward'}) to one of another shape or type, which is not "
            "followed: make a new tensor instead."
        )
    one, other = tracer.twin(tensor), tracer.twin(value)
    if memory(one) == memory(other) and same_view(one, other):  # as after `x.data *= mask`
        return
    with torch.no_grad():
        tensor.copy_(value)


def _read_out(tracer, function, tensor, *args, **kwargs):
    """Its values, where they follow from constants."""
    with _disable_current_modes():
        return function(tracer.values(tensor) if tensor.is_meta else tensor, *args, **kwargs)


def _without_gradients(tracer, function, tensor, *args):
    """Hooks for gradients are taken and never called: the pass is without them."""
    return torch.utils.hooks.RemovableHandle(OrderedDict())


def _padded(tracer, function, data, batch_sizes, batch_first, padding_value, total_length):
    """Packed sequences side by side again, and their lengths, as torch does it step by step."""
    sizes = batch_sizes.tolist()
    sizes += [0] * (total_length - len(sizes))
    steps = nn.utils.rnn.pad_sequence(data.split(sizes), True, padding_value)
    lengths = torch.tensor([sum(size > i for size in sizes) for i in range(sizes[0])])
    return steps.transpose(0, 1) if batch_first else steps, lengths


CALLS = {
    nn.functional.rms_norm: _rms_norm,
    torch.rms_norm: _rms_norm,
    nn.functional.softsign: _activation,
    nn.functional.tanhshrink: _activation,
    torch.tensor: _with_values,
    torch.as_tensor: _with_values,
    torch.Tensor.new_tensor: _new_tensor,
    torch.Tensor.__getitem__: _indexed,
    torch.Tensor.__setitem__: _indexed,
    torch._VF._pad_packed_sequence: _padded,
    torch.masked_select: _masked_select,
    torch.Tensor.masked_select: _masked_select,
    torch.Tensor.device.__get__: _device,
    torch.Tensor.is_cuda.__get__: _is_cuda,
    torch.Tensor.data.__set__: _set_data,
    torch.Tensor.tolist: _read_out,
    torch.Tensor.numpy: _read_out,
    torch.Tensor.__array__: _read_out,
    torch.Tensor.register_hook: _without_gradients,
    torch.Tensor.retain_grad: _without_gradients,
}


@cache
def _out_of_place(function):
    """`aten.transpose.int` for `aten.transpose_.default`: the overload with the same arguments."""
    packet = getattr(aten, function._schema.name.removeprefix("aten::").removesuffix("_"))
    names = [a.name for a in function._schema.arguments]
    overloads = (getattr(packet, name) for name in packet.overloads())
    return next(o for o in overloads if [a.name for a in o._schema.arguments] == names)


@cache
def _effects(function) -> tuple[tuple[int | str, ...], bool, bool]:
    """Which arguments an operator writes to; whether it returns a view of its first; or makes it
    a view of what it was.
    """
    schema = function._schema
    written = tuple(
        a.name if a.kwarg_only else i
        for i, a in enumerate(schema.arguments)
        if a.alias_info is not None and a.alias_info.is_write
    )
    is_view = not written and any(r.alias_info is not None for r in schema.returns)
    return written, is_view, torch.Tag.inplace_view in function.tags


def _look(argument: Any) -> Any:
    """What an operator's result follows from, without data, as something to look it up by."""
    if isinstance(argument, torch.Tensor):
        return argument.shape, argument.stride(), argument.dtype
    return tuple(argument) if isinstance(argument, list) else argument


def _shape_of(tensor: torch.Tensor) -> Node:
    """A constant that stands for a tensor of which only shape and type matter."""
    values = torch.zeros((), dtype=tensor.dtype).expand(tensor.shape)
    return Node(tuple(tensor.shape), tensor=values)


def _is_plain(x: torch.Tensor) -> bool:
    """Whether a tensor's entries lie in memory as they come, from its start on."""
    return x.is_contiguous() and x.storage_offset() == 0


def _numbers_for_ids(twins: Iterable[Any]) -> bool:
    """Whether all tensors among the arguments are floats, integers for positions too."""
    tensors = [t for t in twins for t in _as_list(t) if isinstance(t, torch.Tensor)]
    return all(t.is_floating_point() for t in tensors)


def _are_floats(arguments: Iterable[Any]) -> bool:
    """Whether the arguments, lists and flags aside, are meta tensors of one type of floats."""
    tensors = [a for a in arguments if not isinstance(a, (list, bool))]
    return all(
        isinstance(a, torch.Tensor)
        and a.is_meta
        and a.is_floating_point()
        and a.dtype == tensors[0].dtype
        for a in tensors
    )


def _lies(x: torch.Tensor) -> tuple:
    """Where its entries lie in memory; the stride of an axis of length one says nothing."""
    strides = (s for n, s in zip(x.shape, x.stride(), strict=True) if n > 1)
    return x.shape, x.storage_offset(), *strides


def _as_list(result) -> list:
    return list(result) if isinstance(result, (tuple, list)) else [result]


EXPERTS = "_experts_implementation"


@contextmanager
def uncollected() -> Iterator[None]:
    """Keep the garbage collector from walking a growing trace again and again."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@contextmanager
def _plain_operators() -> Iterator[None]:
    """Let the forward pass reach the tracer in the operators that rules are written for.

    Without gradients, inference mode or autocasting, and with attention as matrix
    products and a softmax instead of one fused operator.
    """
    fused = torch.backends.mha.get_fastpath_enabled()
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.no_grad())
        for device in ("cpu", "cuda"):
            stack.enter_context(torch.autocast(device, enabled=False))
        if "torch._dynamo" in sys.modules:
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        torch.backends.mha.set_fastpath_enabled(False)
        stack.callback(torch.backends.mha.set_fastpath_enabled, fused)
        stack.enter_context(torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH))
        yield


def _hint(error: Exception, reason: str) -> str:
    """What may mend a failure; nothing where it may be anything."""
    if isinstance(error, RecursionError):
        return ": its modules are nested deep, so raise Python's limit with sys.setrecursionlimit"
    if any(words in reason for words in ("forward()", "NoneType", "have to specify")):
        return (
            ": an argument may be missing, so give all that it takes by name, as "
            "inputs={'x': (1, 3, 224, 224), …}"
        )
    is_of_size = isinstance(error, (RuntimeError, ValueError, IndexError, AssertionError))
    if not is_of_size or isinstance(error, NotImplementedError) or "device" in reason:
        return ""
    return ": check the input's channels and size (a larger image may do)"


def _explain(error: Exception, model: nn.Module, where: str, inputs: Inputs) -> str:
    place = f"in {where}" if where else "in its forward"
    module = model.get_submodule(where)
    layer = f", {module}," if where and not list(module.children()) else ""
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    said = f"({type(error).__name__}: {reason}){_hint(error, reason)}."
    return f"The model failed {place}{layer} on {inputs} {said}"
