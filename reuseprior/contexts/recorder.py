"""Record the operators of one forward pass, on the meta device: shapes without data.

The record is plain data (nodes and operators); counting never touches an `nn.Module`. The
model is left as it was: every tensor it holds is replaced by a meta twin as it reaches an
operator, and what `forward` writes to the modules is undone afterwards.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from reuseprior.contexts.errors import CountingError

aten = torch.ops.aten


class Node:
    """A tensor of the record: its shape, and the operator that made it (None for a leaf)."""

    __slots__ = ("has_parameters", "index", "is_view_of_parameter", "made_by", "shape", "tensor")

    def __init__(
        self, shape: tuple[int, ...], made_by: Operator | None = None, index: int = 0
    ) -> None:
        self.shape = shape
        self.made_by = made_by
        self.index = index  # which result of the operator
        self.tensor: torch.Tensor | None = None  # what a leaf stands for, if it has data
        self.has_parameters = False  # whether it is or depends on a parameter
        self.is_view_of_parameter = False  # a parameter, or reached from one by views alone

    def __repr__(self) -> str:
        maker = self.made_by.function if self.made_by else "leaf"
        return f"Node({'×'.join(map(str, self.shape)) or 'scalar'}, {maker})"

    def data(self) -> torch.Tensor:
        """The tensor's values, where they follow from constants alone (index tables, masks).

        Raises `CountingError` when they depend on the model's input.
        """
        if self.tensor is not None:
            return self.tensor
        if self.made_by is None:
            raise CountingError("its values depend on the model's input, which has no data here")
        result = self.made_by.replay()
        return result[self.index] if isinstance(result, (tuple, list)) else result


@dataclass(slots=True, eq=False)
class Operator:
    """One recorded call: `function(*args, **kwargs)` with a Node for every tensor."""

    function: Callable
    args: tuple
    kwargs: dict[str, Any]
    where: str  # path of the module that called it, "" for the model itself
    results: list[Node] = field(default_factory=list)

    def nodes(self) -> Iterator[Node]:
        """The tensors that go in."""
        for value in (*self.args, *self.kwargs.values()):
            if isinstance(value, Node):
                yield value
            elif isinstance(value, (tuple, list)):
                yield from (v for v in value if isinstance(v, Node))

    def replay(self) -> Any:
        """Compute it again on the CPU from constant inputs."""
        args = [_map_nodes(a, lambda n: n.data().clone()) for a in self.args]
        kwargs = {k: _map_nodes(v, lambda n: n.data().clone()) for k, v in self.kwargs.items()}
        if "device" in kwargs:
            kwargs["device"] = torch.device("cpu")
        return self.function(*args, **kwargs)


@dataclass(frozen=True)
class Recording:
    """The operators of one forward pass in order, with the leaves and outputs they join."""

    operators: list[Operator]
    inputs: list[Node]
    outputs: list[Node]
    leaves: dict[int, Node]  # id of a tensor that the model holds → its node

    def node_of(self, tensor: torch.Tensor) -> Node | None:
        """The leaf of a parameter or buffer, None when no operator used it."""
        return self.leaves.get(id(tensor))


def record(
    model: nn.Module, inputs: tuple[torch.Tensor, ...], tracked: list[torch.Tensor]
) -> tuple[Recording, Any]:
    """Run `model(*inputs)` once on meta tensors in evaluation mode; return record and output.

    `tracked` are the tensors whose contexts matter (parameters, perhaps running statistics).
    The model's parameters, buffers, attributes, training flags and the random state are as
    before when it returns. Raises `CountingError` if the forward pass fails.
    """
    recorder = _Recorder(tracked)
    with _untouched(model), torch.no_grad(), _math_attention(), recorder.watching(model):
        twins = [recorder.input(tensor) for tensor in inputs]
        try:
            with recorder:
                output = model(*twins)
        except CountingError:
            raise
        except Exception as error:
            raise CountingError(_explain(error, recorder.where, inputs)) from error
    return recorder.recording, _map_tensors(output, recorder.read)


class _Storage:
    """What aliases share: the newest node of the whole tensor, and how often it was written."""

    __slots__ = ("base", "version")

    def __init__(self, base: Node):
        self.base = base
        self.version = 0


class _Alias:
    """One tensor object: its storage, and the views that lead to it from the storage's base."""

    __slots__ = ("node", "path", "storage", "tensor", "twin", "version")

    def __init__(self, tensor, twin, storage: _Storage, path: tuple, node: Node):
        self.tensor = tensor  # kept alive, so that its id stays its own
        self.twin = twin
        self.storage = storage
        self.path = path
        self.node = node
        self.version = storage.version


class _Recorder(TorchDispatchMode):
    """Notes every operator, and turns in-place writes into new nodes (static single use)."""

    def __init__(self, tracked: list[torch.Tensor]):
        super().__init__()
        self.aliases: dict[int, _Alias] = {}
        self.modules: list[str] = [""]
        self.recording = Recording([], [], [], {})
        self.tracked = {id(t) for t in tracked}

    @property
    def where(self) -> str:
        return self.modules[-1]

    # Tensors and nodes -------------------------------------------------------------------

    def input(self, tensor: torch.Tensor) -> torch.Tensor:
        """The meta twin of an input; integer inputs keep their data (token ids, indices)."""
        alias = self._adopt(tensor)
        if tensor.is_floating_point() or tensor.is_complex():
            alias.node.tensor = None
        self.aliases[id(alias.twin)] = alias
        self.recording.inputs.append(alias.node)
        return alias.twin

    def _adopt(self, tensor: torch.Tensor) -> _Alias:
        """A tensor from outside the record (parameter, buffer, constant, input)."""
        node = Node(tuple(tensor.shape))
        node.tensor = None if tensor.is_meta else tensor.detach()
        node.has_parameters = node.is_view_of_parameter = id(tensor) in self.tracked
        self.recording.leaves[id(tensor)] = node
        twin = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")
        alias = _Alias(tensor, twin, _Storage(node), (), node)
        self.aliases[id(tensor)] = alias
        return alias

    def _alias(self, tensor: torch.Tensor) -> _Alias:
        alias = self.aliases.get(id(tensor))
        return alias if alias is not None else self._adopt(tensor)

    def read(self, tensor: torch.Tensor) -> Node:
        """The node that holds the tensor's present value."""
        alias = self._alias(tensor)
        if alias.version != alias.storage.version:  # written through another view since
            node = alias.storage.base
            for view, args, kwargs, index in alias.path:
                node = self._note(view, (node, *args), kwargs)[index]
            alias.node, alias.version = node, alias.storage.version
        return alias.node

    def _write(self, tensor: torch.Tensor, node: Node) -> None:
        alias = self._alias(tensor)
        storage = alias.storage
        if alias.path:
            arguments = (storage.base, node, alias.path)
            (storage.base,) = self._note(overwrite_view, arguments, {}, [storage.base.shape])
        else:
            storage.base = node
        storage.version += 1
        alias.node, alias.version = node, storage.version

    # Operators ---------------------------------------------------------------------------

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if function is aten._local_scalar_dense.default:
            return self._item(args[0])
        twins, nodes = self._split(args)
        kwtwins, kwnodes = self._split(kwargs.values())
        kwtwins, kwnodes = dict(zip(kwargs, kwtwins)), dict(zip(kwargs, kwnodes))  # noqa: B905
        if "device" in kwtwins:
            kwtwins["device"] = torch.device("meta")
        if function is aten.as_strided_.default and _keeps_positions(*twins):
            function(*twins)
            return args[0]
        try:
            result = _RESULTS.get(function, function)(*twins, **kwtwins)
        except NotImplementedError as error:
            if torch.Tag.dynamic_output_shape not in function.tags:
                raise
            message = self._data_dependent(f"uses {function}, whose result's shape")
            raise CountingError(message) from error
        written, is_view = _effects(function)
        results = list(result) if isinstance(result, (tuple, list)) else [result]
        if is_view:
            self._record_views(function, args[0], nodes, kwnodes, results)
        elif written:
            targets = [args[w] if isinstance(w, int) else kwargs[w] for w in written]
            shapes = [tuple(t.shape) for t in targets]
            for target, node in zip(
                targets, self._note(function, nodes, kwnodes, shapes), strict=True
            ):
                self._write(target, node)
            return targets[0] if len(targets) == 1 else result
        else:
            tensors = [r for r in results if isinstance(r, torch.Tensor)]
            shapes = [tuple(t.shape) for t in tensors]
            made = self._note(function, nodes, kwnodes, shapes)
            for tensor, node in zip(tensors, made, strict=True):
                self.aliases[id(tensor)] = _Alias(tensor, tensor, _Storage(node), (), node)
        return result

    def _split(self, values) -> tuple[list, list]:
        """The arguments with twins for tensors (to run), and with nodes (to record)."""
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
        operator = Operator(function, tuple(args), kwargs, self.where)
        if shapes is None:  # a view taken again: its shape follows from running it
            result = function(*(_map_nodes(a, _meta) for a in args), **kwargs)
            results = result if isinstance(result, (tuple, list)) else [result]
            shapes = [tuple(r.shape) for r in results]
        operator.results = [Node(shape, operator, i) for i, shape in enumerate(shapes)]
        if any(node.has_parameters for node in operator.nodes()):
            for node in operator.results:
                node.has_parameters = True
        self.recording.operators.append(operator)
        return operator.results

    def _record_views(self, function, source, nodes, kwargs, results) -> None:
        """Views share the source's storage; several at once (split, unbind) become slices."""
        origin = self.aliases[id(source)]
        rest = tuple(nodes[1:])
        shapes = [tuple(r.shape) for r in results]
        made = self._note(function, nodes, kwargs, shapes)
        for index, (tensor, node) in enumerate(zip(results, made, strict=True)):
            node.is_view_of_parameter = origin.node.is_view_of_parameter
            path = (*origin.path, (function, rest, kwargs, index))
            self.aliases[id(tensor)] = _Alias(tensor, tensor, origin.storage, path, node)

    def _item(self, tensor: torch.Tensor):
        try:
            return self.read(tensor).data().item()
        except CountingError as error:
            message = self._data_dependent("asks for the value of a tensor, which")
            raise CountingError(message) from error

    def _data_dependent(self, what: str) -> str:
        return (
            f"The model {what} depends on data (data-dependent control flow, in "
            f"{self.where or 'its forward'}): count a version of the model whose path through "
            "the network is fixed."
        )

    @contextmanager
    def watching(self, model: nn.Module) -> Iterator[None]:
        """Keep track of the module whose forward is running, through global hooks."""
        names = {id(module): name for name, module in model.named_modules()}

        def enter(module, args):
            self.modules.append(names.get(id(module), self.where))

        def leave(module, args, output):
            self.modules.pop()

        handles = [
            nn.modules.module.register_module_forward_pre_hook(enter),
            nn.modules.module.register_module_forward_hook(leave),
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def overwrite_view(base: torch.Tensor, value: torch.Tensor, path: tuple) -> torch.Tensor:
    """A copy of `base` in which the part that the views of `path` lead to holds `value`."""
    result = base.clone()
    view = result
    for function, args, kwargs, index in path:
        view = function(view, *args, **kwargs)
        view = view[index] if isinstance(view, (tuple, list)) else view
    view.copy_(value)
    return result


@cache
def _effects(function) -> tuple[tuple[int | str, ...], bool]:
    """Which arguments an operator writes to, and whether it returns a view of its first."""
    schema = function._schema
    written = tuple(
        a.name if a.kwarg_only else i
        for i, a in enumerate(schema.arguments)
        if a.alias_info is not None and a.alias_info.is_write
    )
    is_view = not written and any(r.alias_info is not None for r in schema.returns)
    return written, is_view


def _batch_norm_results(x: torch.Tensor, *_):
    """What batch norm returns in evaluation mode; torch's own meta version takes 1 ms a layer."""
    return torch.empty_like(x), x.new_empty(0), x.new_empty(0)


_RESULTS = {aten.native_batch_norm.default: _batch_norm_results}


def _keeps_positions(x: torch.Tensor, size, stride, offset=None) -> bool:
    """Whether as_strided only renames the strides of axes of length one."""
    return (
        tuple(size) == tuple(x.shape)
        and offset in (None, x.storage_offset())
        and all(n == 1 or a == b for n, a, b in zip(size, stride, x.stride(), strict=True))
    )


def _meta(node: Node) -> torch.Tensor:
    return torch.empty(node.shape, device="meta")


def _map_nodes(value: Any, change: Callable[[Node], Any]) -> Any:
    if isinstance(value, Node):
        return change(value)
    if isinstance(value, (tuple, list)):
        return type(value)(_map_nodes(v, change) for v in value)
    return value


def _map_tensors(value: Any, change: Callable[[torch.Tensor], Any]) -> Any:
    """The same nest of dicts, tuples and lists with every tensor changed, other leaves None."""
    if isinstance(value, torch.Tensor):
        return change(value)
    if isinstance(value, dict):
        return {k: _map_tensors(v, change) for k, v in value.items()}
    if isinstance(value, (tuple, list)):
        return [_map_tensors(v, change) for v in value]
    return None


@contextmanager
def _untouched(model: nn.Module) -> Iterator[None]:
    """Put the modules in evaluation mode, and afterwards back as they were, attributes too.

    The flags are set directly: `train()` may be overridden to do more than set a flag.
    """
    before = []
    for module in model.modules():
        own = module.__dict__
        tables = [own["_parameters"], own["_buffers"], own["_modules"]]
        before += [(table, dict(table)) for table in (*tables, own)]
        own["training"] = False
    states = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):  # no operator runs on a real device
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        for table, saved in before:
            table.clear()
            table.update(saved)


@contextmanager
def _math_attention() -> Iterator[None]:
    """Let attention run as matrix products and a softmax, not as one fused operator."""
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    with ExitStack() as stack:
        stack.callback(torch.backends.mha.set_fastpath_enabled, fused)
        stack.enter_context(torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH))
        yield


def _explain(error: Exception, where: str, inputs: tuple[torch.Tensor, ...]) -> str:
    shapes = ", ".join(str(tuple(t.shape)) for t in inputs)
    place = f"in {where}" if where else "in its forward"
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return (
        f"The model failed {place} on an input of shape {shapes} "
        f"({type(error).__name__}: {reason}); check that it runs on such an input."
    )
