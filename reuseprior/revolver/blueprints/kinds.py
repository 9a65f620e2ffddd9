"""The kinds of blocks that blueprints are made of: a table of classes, one registration each.

A new block is one file and one registration. This is a whole one, a convolution followed by a
learnt gate, which blueprints can use from then on:

```python
from torch import nn
from reuseprior.revolver import Composite, assemble, block, blocks, require

@block("gated")
class Gated(Composite):
    def forward(self, x):
        return self.conv(x) * self.gate(x).sigmoid()

    @staticmethod
    def infer(node, x, flow):  # x is the input's shape; give every child its own
        require(flow("conv", x) == flow("gate", x), "its gate and convolution differ in shape")
        return node.children["conv"].output_shape

node = assemble("gated", (8, 4, 4), {
    "conv": blocks.conv((8, 4, 4), 16),
    "gate": blocks.conv((8, 4, 4), 16, kernel_size=1),
})
node.output_shape, node.parameters()  # (16, 4, 4), 16·8·9 + 16·8 = 1280
```
"""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Protocol

from torch import nn

from reuseprior.errors import did_you_mean, shown
from reuseprior.revolver.blueprints.errors import BlueprintError, Misfit

LARGEST = 1_000_000  # of a block's arguments and of a shape's sizes

Shape = tuple[int, ...]  # without the batch: (channels, height, width) or (features,)
Flow = Callable[[str, Shape], Shape]  # a child's role and input shape → its output shape


class Node(Protocol):
    """What a block sees of the blueprint that it is asked about."""

    kind: str
    arguments: dict[str, Any]
    children: Mapping[str, Node]
    input_shape: Shape | None
    output_shape: Shape | None


class Maker(Protocol):
    """What a block may ask while one of it is drawn: options, chance, and blocks to hold."""

    space: Any  # options by name, such as `kernels` (evolution.space.Space)
    rng: random.Random

    def fill(self, kind: str, x: Shape, y: Shape) -> Node | None:
        """A new block of a kind from shape `x` to shape `y`, or None where there is none."""

    def filled(self, kind: str, x: Shape, y: Shape) -> Node:
        """What `fill` gives; an error that names the kind where there is none."""


class Block:
    """What a kind of block may say about itself, beside being a module.

    A leaf is a class of its own and of a torch module; a block with parts derives `Composite`.
    """

    chain: str | None = None  # stem of the roles that run one after another, of any number

    @staticmethod
    def infer(node: Node, x: Shape, flow: Flow) -> Shape:
        """The output's shape for an input of shape `x`; `Misfit` where the block cannot take it.

        A block with parts calls `flow(role, shape)` once for every child.
        """
        return x

    @staticmethod
    def size(node: Node) -> int:
        """Learnable parameters that the block itself holds, without those of its children."""
        return 0

    @staticmethod
    def shareable(node: Node) -> bool:
        """Whether the block may stand in several places, as far as it decides itself."""
        return True

    @staticmethod
    def by_use(node: Node) -> bool:
        """Whether each use of the block has an object of its own (batch norm with that scope)."""
        return False

    @staticmethod
    def adjust(arguments: dict[str, Any], key: str, value: Any) -> None:
        """Set an argument, and those that must follow it."""
        arguments[key] = value

    @staticmethod
    def fit(x: Shape, y: Shape, make: Maker) -> Node | None:
        """A new block of this kind from shape `x` to shape `y`, or None where there is none."""
        return None


class Composite(Block, nn.Module):
    """A block with parts: each child's module becomes a submodule under the child's role."""

    def __init__(self, parts: dict[str, nn.Module]):
        super().__init__()
        for role, part in parts.items():
            self.add_module(role, part)

    def parts(self, stem: str = "") -> list[nn.Module]:
        """The parts in order, those whose role starts with `stem`; one used twice comes twice.

        (`nn.Module.children` leaves repeated modules out, and sharing repeats them.)
        """
        return [part for role, part in self._modules.items() if role.startswith(stem)]


class Chain(Composite):
    """Parts that run one after another, in the order of the children."""

    def forward(self, x):
        for part in self.parts():
            x = part(x)
        return x

    @staticmethod
    def infer(node: Node, x: Shape, flow: Flow) -> Shape:
        for role in node.children:
            x = flow(role, x)
        return x


_KINDS: dict[str, type[Block]] = {}


def block(kind: str) -> Callable[[type], type]:
    """Register a class of blocks under a name: `@block("conv")`."""

    def register(cls: type) -> type:
        if kind in _KINDS:
            raise ValueError(f"a block {kind!r} is registered already: {_KINDS[kind].__name__}")
        _KINDS[kind] = cls
        return cls

    return register


def names() -> list[str]:
    """The names of all registered blocks: `act`, `batch_norm`, … `session`."""
    return sorted(_KINDS)


def find(kind: str) -> type[Block]:
    """The class registered for a kind; raises `BlueprintError` where there is none.

    >>> find("conv").__name__
    'Conv'
    """
    try:
        return _KINDS[kind]
    except (KeyError, TypeError):
        raise BlueprintError(
            f"unknown block {kind!r}{did_you_mean(str(kind), _KINDS)}: revolver.kinds.names() "
            "lists the registered ones"
        ) from None


def complete(kind: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """All constructor arguments of a block in its own order, defaults filled in.

    >>> complete("linear", {"out_features": 10, "in_features": 64})
    {'in_features': 64, 'out_features': 10, 'bias': True}

    Raises `BlueprintError` for an argument that is unknown, missing or of another type.
    """
    known = _signature(find(kind))
    for key in arguments:
        if key not in known:
            raise BlueprintError(
                f"block {kind!r} has no argument {key!r}: it takes {', '.join(known) or 'none'}"
            )
    full = {}
    for key, parameter in known.items():
        value = arguments.get(key, parameter.default)
        if value is inspect.Parameter.empty:
            raise BlueprintError(f"block {kind!r} lacks its argument {key!r}")
        if not _is_a(value, parameter.annotation):
            raise BlueprintError(
                f"block {kind!r} has {key} {shown(value)}, which is no "
                f"{parameter.annotation.__name__}"
            )
        if type(value) in (int, float) and not -LARGEST <= value <= LARGEST:
            raise BlueprintError(
                f"block {kind!r} has {key} {shown(value)}: the largest number is {LARGEST:,}"
            )
        full[key] = value
    return full


def require(condition: bool, sentence: str) -> None:
    """Raise `Misfit` with the sentence unless the condition holds; for a block's `infer`."""
    if not condition:
        raise Misfit(sentence)


def require_image(x: Shape, channels: int | str = "channels") -> None:
    """Raise `Misfit` unless `x` is (channels, height, width), of so many channels if given."""
    fits = len(x) == 3 and channels in ("channels", x[0])
    require(fits, f"needs ({channels}, height, width)")


@cache
def _signature(cls: type) -> dict[str, inspect.Parameter]:
    parameters = inspect.signature(cls, eval_str=True).parameters
    named = inspect.Parameter.POSITIONAL_OR_KEYWORD  # a class without __init__ has *args too
    return {k: p for k, p in parameters.items() if k != "parts" and p.kind == named}


def _is_a(value: Any, expected: Any) -> bool:
    if expected is float:
        return type(value) in (int, float)
    return expected not in (int, bool, str) or type(value) is expected
