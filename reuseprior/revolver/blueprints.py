"""Blueprints (thesis, §3.3.1): a model as a plain tree of named blocks.

A name is never stored: prefix and suffix and tag make it, and the suffix follows from what the
block is. So blocks of equal name are equal, and a change gives another name by itself.

A new kind of block is one registration. This is a whole one, a convolution followed by a learnt
gate, which blueprints can use from then on:

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
import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cache
from hashlib import blake2b
from itertools import count
from typing import Annotated, Any, NamedTuple, TypedDict

import msgspec
from torch import nn

from reuseprior import schemas
from reuseprior.errors import UserError, did_you_mean, expect, shown
from reuseprior.models import without_weights


class BlueprintError(UserError):
    """A blueprint that cannot be read, built or changed; the message says where and the mend."""


class Misfit(Exception):
    """What a block says of an input that it cannot take; becomes a `BlueprintError` with place."""


# Domains of what may change -----------------------------------------------------------------------

Domain = list | dict[str, float]  # choices, or {"low": …, "high": …}


def between(ends: Sequence[float] | None) -> Domain:
    """The interval from a pair's first to its second value; without a pair, no choice at all."""
    return dict(zip(("low", "high"), ends, strict=True)) if ends else []


def contains(domain: Domain, value: Any) -> bool:
    """Whether a value lies in a domain: `contains([1, 3, 5], 7)` is False."""
    if isinstance(domain, dict):
        return type(value) in (int, float) and domain["low"] <= value <= domain["high"]
    return value in domain


def draw(domain: Domain, rng: random.Random, current: Any) -> Any | None:
    """A random value of the domain other than the current one, or None where there is no other.

    Values of an interval have two decimals, so that names stay short.
    """
    if isinstance(domain, dict):
        value = round(rng.uniform(domain["low"], domain["high"]), 2)
        value = min(max(value, domain["low"]), domain["high"])
        return None if value == current else value
    others = [value for value in domain if value != current]
    return rng.choice(others) if others else None


def _is_domain(domain: Any) -> bool:
    """Whether it is a list of choices or an interval."""
    if not isinstance(domain, dict):
        return isinstance(domain, list) and bool(domain)
    low, high = domain.get("low"), domain.get("high")
    are_numbers = {type(low), type(high)} <= {int, float}
    return len(domain) == 2 and are_numbers and low <= high


# Kinds of blocks ----------------------------------------------------------------------------------

MOST = 1_000_000  # of a block's arguments and of a shape's sizes

Size = Annotated[int, msgspec.Meta(ge=1, le=MOST)]
# without the batch: (channels, height, width) or (features,)
Shape = Annotated[tuple[Size, ...], msgspec.Meta(min_length=1)]
Flow = Callable[[str, Shape], Shape]  # a child's role and input shape → its output shape


class Block:
    """What a kind of block may say about itself, beside being a module.

    A leaf is a class of its own and of a torch module; a block with parts derives `Composite`.
    """

    chain: str | None = None  # stem of the roles that run one after another, of any number

    @staticmethod
    def infer(node: Blueprint, x: Shape, flow: Flow) -> Shape:
        """The output's shape for an input of shape `x`; `Misfit` where the block cannot take it.

        A block with parts calls `flow(role, shape)` once for every child.
        """
        return x

    @staticmethod
    def size(node: Blueprint) -> int:
        """Learnable parameters that the block itself holds, without those of its children."""
        return _held(node.kind, tuple(node.arguments.items()))

    @staticmethod
    def shareable(node: Blueprint) -> bool:
        """Whether the block may stand in several places, as far as it decides itself."""
        return True

    @staticmethod
    def by_use(node: Blueprint) -> bool:
        """Whether each use of the block has an object of its own (batch norm with that scope)."""
        return False

    @staticmethod
    def adjust(arguments: dict[str, Any], key: str, value: Any) -> None:
        """Set an argument, and those that must follow it."""
        arguments[key] = value

    @staticmethod
    def fit(x: Shape, y: Shape, sampler) -> Blueprint | None:
        """A new block of this kind from shape `x` to shape `y`, or None where there is none.

        `sampler` is a `space.Sampler`: options, chance, and blocks to hold.
        """
        return None


@cache
def _held(kind: str, arguments: tuple[tuple[str, Any], ...]) -> int:
    """What a module of a kind and arguments holds, from one without weights."""
    with without_weights():
        return sum(p.numel() for p in find(kind)(**dict(arguments)).parameters())


class Composite(Block, nn.Module):
    """A block with parts: each child's module becomes a submodule under the child's role."""

    def __init__(self, parts: dict[str, nn.Module]):
        super().__init__()
        for role, part in parts.items():
            self.add_module(role, part)

    @staticmethod
    def size(node: Blueprint) -> int:
        return 0

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
    def infer(node: Blueprint, x: Shape, flow: Flow) -> Shape:
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
            f"unknown block {kind!r}{did_you_mean(str(kind), _KINDS)}: revolver.blueprints.names() "
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
        if type(value) in (int, float) and not -MOST <= value <= MOST:
            raise BlueprintError(
                f"block {kind!r} has {key} {shown(value)}: the largest number is {MOST:,}"
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


# The tree -----------------------------------------------------------------------------------------

Path = tuple[str, ...]  # roles from the root down; () is the root itself


class Scope(NamedTuple):
    """A place of a blueprint and the name under which its module is registered."""

    path: Path
    node: Blueprint
    name: str


class History(TypedDict):
    """What a mutated block was before, of which all else is as in a blueprint."""

    name: str
    kind: str
    input_shape: list[int] | None
    output_shape: list[int] | None
    unique: bool
    children: dict[str, HistoryBelow]


class HistoryBelow(TypedDict):
    """A block in a block that was mutated."""

    children: dict[str, HistoryBelow]


class Meta(TypedDict, total=False):
    """What a block remembers, besides what a reader notes there."""

    score: float
    mutation_history: Annotated[list[History], msgspec.Meta(min_length=1)]
    origins: list[str]


@dataclass(slots=True, eq=False, repr=False)
class Blueprint:
    """A block, its children, and what may change about it.

    ```python
    node = blocks.conv((3, 32, 32), 16, kernel_size=7, stride=2)
    node.name           # 'conv3_16_7_2_3_1_1_F', as in appendix C.4
    node.output_shape   # (16, 16, 16)
    node.parameters()   # 16·3·7·7 = 2352
    ```

    `children` maps roles to blueprints, in the order of use; repeated roles are numbered
    (`block0`, `block1`). `mutables` maps an argument, or a role without its number, to the domain
    of its values or of its block's kind. A unique block has a tag, which sets its name apart. In
    Jupyter it displays as a tree (`show`).
    """

    kind: str
    arguments: dict[str, Any] = field(default_factory=dict)
    children: dict[str, Blueprint] = field(default_factory=dict)
    prefix: str = ""  # the scope: "" shares over the whole population, else it ends with "/"
    tag: str | None = None
    unique: bool = False
    freeze: bool = False
    input_shape: Shape | None = None
    output_shape: Shape | None = None
    mutables: dict[str, Any] = field(default_factory=dict)  # to a `Domain` each
    meta: Meta = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"<Blueprint {self.name} {self.input_shape} → {self.output_shape}>"

    @property
    def suffix(self) -> str:
        """What the block is: its kind and all arguments; with children, a digest of them too."""
        return _suffix(self, [child.name for child in self.children.values()])

    @property
    def base_name(self) -> str:
        """The name without the tag: equal base names mean equal kinds and arguments."""
        return self.prefix + self.suffix

    @property
    def name(self) -> str:
        """Prefix, suffix and, of a unique block, the tag."""
        return _tagged(self, self.base_name)

    def walk(self) -> Iterator[tuple[Path, Blueprint]]:
        """Every place and its block, parents before children, the root first."""
        waiting: list[tuple[Path, Blueprint]] = [((), self)]
        while waiting:
            path, node = waiting.pop()
            yield path, node
            for role in reversed(node.children):
                waiting.append(((*path, role), node.children[role]))

    def scopes(self) -> list[Scope]:
        """Every place with its block and its registered name, children before parents.

        The registered name is the block's own, but for batch norms owned by their use: they, and
        the blocks that contain them, are registered as `NAME@ROOT/PLACE`.
        """
        places: list[Scope] = []
        _name_all(self, (), places)
        if any(by_use for *_, by_use in places):
            root = self.tag or places[-1][2]
            places = [
                (path, node, "/".join((f"{name}@{root}", *path)) if by_use else name, by_use)
                for path, node, name, by_use in places
            ]
        return [Scope(path, node, name) for path, node, name, _ in places]

    def at(self, path: Path | str) -> Blueprint:
        """The block at a place: `net.at("group0/block1")`."""
        return self.lineage(path)[-1]

    def lineage(self, path: Path | str) -> list[Blueprint]:
        """The blocks from the root down to a place, both included."""
        roles = path.split("/") if isinstance(path, str) and path else tuple(path)
        line = [self]
        for role in roles:
            if role not in line[-1].children:
                raise BlueprintError(
                    f"{line[-1].kind!r} has no child {role!r} on the way to {'/'.join(roles)!r}: "
                    f"it has {', '.join(line[-1].children) or 'none'}"
                )
            line.append(line[-1].children[role])
        return line

    def domain(self, key: str) -> Domain | None:
        """The domain of an argument or of a role, or None where it may not change."""
        return self.mutables.get(key, self.mutables.get(stem(key)))

    def copy(self) -> Blueprint:
        """The same tree anew, with the same names: for keeping, not for offspring (`clone`)."""
        return replace(
            self,
            arguments=dict(self.arguments),
            children={role: child.copy() for role, child in self.children.items()},
            mutables=dict(self.mutables),
            meta=dict(self.meta),
        )

    def rescope(self, scope: str) -> None:
        """Put a scope before the prefixes of the whole tree: `rescope("left/")`."""
        for _, node in self.walk():
            node.prefix = scope + node.prefix

    def parameters(self) -> int:
        """Learnable parameters, each once, without building any."""
        return sum({name: _size(node) for _, node, name in self.scopes()}.values())

    def weights(self) -> int:
        """Learnable parameters as often as they are used: `numWeights` of Algorithm 2."""
        return sum(_size(node) for _, node in self.walk())

    def to_data(self) -> dict[str, Any]:
        """The tree as JSON values; `name` stands there for readers only."""
        children = {role: child.to_data() for role, child in self.children.items()}
        suffix = _suffix(self, [child["name"] for child in children.values()])
        return {
            "name": _tagged(self, self.prefix + suffix),
            "kind": self.kind,
            "prefix": self.prefix,
            "tag": self.tag,
            "arguments": dict(self.arguments),
            "unique": self.unique,
            "freeze": self.freeze,
            "input_shape": _listed(self.input_shape),
            "output_shape": _listed(self.output_shape),
            "mutables": dict(self.mutables),
            "meta": dict(self.meta),
            "children": children,
        }

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> Blueprint:
        """The tree that `to_data` wrote; raises `BlueprintError` for anything else.

        So it does for one of more than `DEEPEST` levels or `LARGEST` blocks.
        """
        nodes: dict[Path, Blueprint] = {}
        for path, held in _places(data, lambda held: held.get("children", {})):
            nodes[path] = _read(held, where(path))
            if path:
                nodes[path[:-1]].children[path[-1]] = nodes[path]
        return nodes[()]

    def to_json(self) -> str:
        """The tree as JSON text."""
        return json.dumps(self.to_data(), indent=2, ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Blueprint:
        """The tree that `to_json` wrote; raises `BlueprintError` as `from_data` does."""
        expect(text, (str, bytes), "the blueprint", "give its JSON as a text", BlueprintError)
        try:
            return cls.from_data(schemas.decode(text))
        except schemas.SchemaError as error:
            raise BlueprintError(f"the blueprint {error}: is it cut short?") from error


def stem(role: str) -> str:
    """A role without its number: `stem("block12")` is `"block"`."""
    return role.rstrip("0123456789")


def numbered(role: str, nodes: list[Blueprint]) -> dict[str, Blueprint]:
    """Children under numbered roles: `block0`, `block1` …"""
    return {f"{role}{index}": node for index, node in enumerate(nodes)}


def where(path: Path) -> str:
    """A place in words: `group0/block1`, or `the root`."""
    return "/".join(path) or "the root"


def _name_all(node: Blueprint, path: Path, places: list) -> tuple[str, bool]:
    by_use = find(node.kind).by_use(node)
    names = []
    for role, child in node.children.items():
        name, child_by_use = _name_all(child, (*path, role), places)
        names.append(name)
        by_use |= child_by_use
    name = _tagged(node, node.prefix + _suffix(node, names))
    places.append((path, node, name, by_use))
    return name, by_use


def _suffix(node: Blueprint, names: list[str]) -> str:
    arguments = "_".join(
        [str(v) if type(v) is not bool else str(v)[0] for v in node.arguments.values()]
    )
    if not names:
        return node.kind + arguments
    content = repr((arguments, list(node.children), names)).encode()
    channels = "_".join(str(s[0]) for s in (node.input_shape, node.output_shape) if s)
    return f"{node.kind}{channels}-{blake2b(content, digest_size=6).hexdigest()}"


def _tagged(node: Blueprint, base_name: str) -> str:
    return base_name if node.tag is None else f"{base_name}+{node.tag}"


def _size(node: Blueprint) -> int:
    return find(node.kind).size(node)


def _listed(shape: Shape | None) -> list[int] | None:
    return None if shape is None else list(shape)


DEEPEST = 100  # levels of a blueprint: Python follows some hundred
LARGEST = 100_000  # blocks: as many take minutes and gigabytes


def _places(root: Any, children: Callable[[Any], Mapping[str, Any]]) -> Iterator[tuple[Path, Any]]:
    """Every place of a tree of any objects, parents first; `BlueprintError` where it is none.

    Whoever iterates can look at a node before its children are asked for.
    """
    waiting = [((), root, ())]
    for number in count():
        if not waiting:
            return
        path, node, above = waiting.pop()
        if id(node) in above:
            raise BlueprintError(
                f"the blueprint contains itself: {where(path)} is "
                f"{where(path[: above.index(id(node))])} again; put a copy there"
            )
        if len(above) == DEEPEST:
            raise BlueprintError(
                f"the blueprint has more than {DEEPEST} levels, at {'/'.join(path[:3])}/…: give a "
                "flatter one"
            )
        if number == LARGEST:
            raise BlueprintError(
                f"the blueprint has more than {LARGEST:,} blocks: give a smaller one"
            )
        yield path, node
        for role, child in reversed(children(node).items()):
            waiting.append(((*path, role), child, (*above, id(node))))


def _read(data: Any, place: str) -> Blueprint:
    """A block from JSON values, still without its children."""
    if not isinstance(data, dict) or "kind" not in data:
        raise BlueprintError(
            f"the blueprint at {place} is no object with a kind: give "
            '{"kind": …, "arguments": {…}, "children": {…}}'
        )
    for key in data:
        if key not in FIELDS:
            raise BlueprintError(
                f"the blueprint at {place} has an unknown field {key!r}: "
                f"the fields are {', '.join(FIELDS)}"
            )
    try:
        schemas.fitting(data.get("children", {}), dict[str, Any])
        node = schemas.converted(data | {"children": {}}, Blueprint)
    except schemas.SchemaError as error:
        raise BlueprintError(f"the blueprint at {place} {error}: mend it") from error
    node.arguments = complete(node.kind, node.arguments)
    node.meta = dict(data.get("meta", {}))  # with what a schema does not name
    return node


FIELDS = ("name", *(field.name for field in fields(Blueprint)))  # a name is for readers


# Shapes, without building -------------------------------------------------------------------------


def assemble(
    kind: str,
    x: Shape,
    children: dict[str, Blueprint] | None = None,
    *,
    mutables: dict[str, Any] | None = None,
    **arguments: Any,
) -> Blueprint:
    """A new blueprint of a kind for an input of shape `x`, with all arguments and shapes set.

    >>> assemble("linear", (64,), in_features=64, out_features=10).output_shape
    (10,)

    A mutable without any choice is left out. Uniqueness follows rule 4; `settle` gives
    the tags. Raises `BlueprintError`.
    """
    node = Blueprint(
        kind,
        arguments=complete(kind, arguments),
        children=children or {},
        mutables={
            key: domain if isinstance(domain, dict) else list(domain)
            for key, domain in (mutables or {}).items()
            if domain
        },
    )
    node.unique = not find(kind).shareable(node) or any(
        child.unique for child in node.children.values()
    )
    _flow(node, tuple(x), (), trust=True)  # the children were inferred when they were made
    return node


def infer(blueprint: Blueprint, x: Shape) -> Shape:
    """Set the input and output shapes of the whole tree for an input of shape `x`.

    Returns the output's shape; raises `BlueprintError`, naming the place, where shapes disagree.
    """
    return _flow(blueprint, tuple(x), (), trust=False)


def check(blueprint: Blueprint) -> None:
    """Raise `BlueprintError` for the first thing that keeps a blueprint from being built.

    That is: a tree that contains itself, or one block twice; an unknown block or argument; a
    mutable outside its domain; shapes that disagree, with each other or with those declared; a
    unique block without a tag or below one that is shared (rule 4); a prefix without "/".
    """
    seen: dict[int, Path] = {}
    for path, node in _places(blueprint, lambda node: node.children):
        first = seen.setdefault(id(node), path)
        if first != path:
            raise BlueprintError(
                f"one blueprint stands at {where(first)} and at {where(path)}: put a copy in one "
                "place (equal names share their module all the same)"
            )
        for fault in _faults(node, f"{node.kind!r} at {where(path)}"):
            raise BlueprintError(fault)
    _check_shapes(blueprint)


def _flow(node: Blueprint, x: Shape, path: Path, *, trust: bool) -> Shape:
    def flow(role: str, x: Shape) -> Shape:
        child = node.children.get(role)
        if child is None:
            raise Misfit(f"lacks its child {role!r}")
        if trust and child.input_shape == x and child.output_shape is not None:
            return child.output_shape
        return _flow(child, x, (*path, role), trust=trust)

    try:
        y = find(node.kind).infer(node, x, flow)
    except Misfit as error:
        raise BlueprintError(
            f"{node.kind!r} at {where(path)}, given the shape {x}, {error}"
        ) from None
    node.input_shape, node.output_shape = x, y
    return y


def _faults(node: Blueprint, place: str) -> Iterator[str]:
    """What is wrong with a block by itself."""
    if node.arguments != complete(node.kind, node.arguments):
        yield f"{place} lacks arguments: blueprints.complete fills them in"
    if node.prefix and not node.prefix.endswith("/"):
        yield f"{place} has the prefix {node.prefix!r}: end it with '/'"
    for key, domain in node.mutables.items():
        if not _is_domain(domain):
            yield (
                f"the mutable {key!r} of {place} has the domain {domain!r}: give a list of choices "
                'or {"low": …, "high": …}'
            )
        values = {role: child.kind for role, child in node.children.items() if stem(role) == key}
        if key in node.arguments:
            values = {key: node.arguments[key]}
        for name, value in values.items():
            if not contains(domain, value):
                yield (
                    f"{place} has {name} {value!r}, which is outside its domain {domain}: choose a "
                    "value of the domain or extend it"
                )
    if node.unique != (node.tag is not None):
        wrong = "unique but has no" if node.unique else "shared but has a"
        yield f"{place} is {wrong} tag: revolver.settle sets tags right"
    if not node.unique and any(child.unique for child in node.children.values()):
        yield f"{place} is shared but contains a unique block: revolver.settle makes it unique"


def _check_shapes(blueprint: Blueprint) -> None:
    if blueprint.input_shape is None:
        raise BlueprintError(
            f"{blueprint.kind!r} has no input shape: "
            "revolver.infer(blueprint, (3, 32, 32)) sets all"
        )
    inferred = blueprint.copy()
    for _, node in inferred.walk():
        node.input_shape = node.output_shape = None
    infer(inferred, blueprint.input_shape)
    for (path, declared), (_, node) in zip(blueprint.walk(), inferred.walk(), strict=True):
        if node.output_shape is None:
            raise BlueprintError(
                f"{node.kind!r} at {where(path)} has no place in its parent: remove it or give it "
                "a role that the parent knows"
            )
        for side in ("input", "output"):
            said, is_ = (getattr(n, f"{side}_shape") for n in (declared, node))
            if said != is_:
                raise BlueprintError(
                    f"{node.kind!r} at {where(path)} declares the {side} shape {said}, but it is "
                    f"{is_}: revolver.infer sets all shapes"
                )


# Unique or shared (§3.3.4, rules 3 to 6) ----------------------------------------------------------

ORIGINS = 8  # names kept: several operators may rename an offspring before it is built


@dataclass
class Tags:
    """A counter of tags, so that unique names are fresh and the same in every run.

    >>> tags = Tags()
    >>> tags.fresh(), tags.fresh(), tags.count
    ('1', '2', 2)
    """

    count: int = 0

    def fresh(self) -> str:
        """A tag that was not given before, in hexadecimal."""
        self.count += 1
        return f"{self.count:x}"


def settle(root: Blueprint, tags: Tags) -> None:
    """Make unique what must be (rule 4), and give a tag to the unique blocks that have none.

    A block is not frozen as a whole any more where a part of it is not, such as one that is new.
    """
    for _, node in _bottom_up(root):
        node.unique = node.unique or not can_be_shared(node)
        if node.unique and node.tag is None:
            node.tag = tags.fresh()
        node.freeze = node.freeze and all(child.freeze for child in node.children.values())


def can_be_shared(node: Blueprint) -> bool:
    """Whether a block is of a kind that can be shared and has no unique child."""
    return find(node.kind).shareable(node) and not any(
        child.unique for child in node.children.values()
    )


def make_unique(root: Blueprint, path: Path | str, tags: Tags) -> None:
    """Make the block at a place unique, and with it all its ancestors (rule 4).

    All unique names of the tree become fresh (rule 6), so that no original is touched; names of
    shared blocks stay.
    """
    scopes = root.scopes()
    for node in root.lineage(path):
        node.unique = True
    _retag(scopes, tags)


def make_common(root: Blueprint, path: Path | str) -> bool:
    """Revoke uniqueness below a place wherever that is possible (rule 5); whether any was.

    What cannot be shared stays unique, and so do the blocks around it and the place's ancestors.
    """
    changed = False
    for _, node in _bottom_up(root.at(path)):
        if node.unique and can_be_shared(node):
            node.unique, node.tag = False, None
            changed = True
    return changed


def refresh(root: Blueprint, tags: Tags) -> None:
    """Give every unique block of a tree a fresh tag, so that it is another's from here on.

    A block made anew is not frozen. `meta["origins"]` keeps the names whose place it takes, the
    latest first, for a registry that inherits weights.
    """
    _retag(root.scopes(), tags)


def clone(
    root: Blueprint, tags: Tags, rng: random.Random | None = None, *, unique: float = 0.0
) -> Blueprint:
    """Offspring: a copy that shares what is shared and owns what is unique.

    Each shared block with parameters of its own becomes unique with probability `unique`.
    """
    offspring = root.copy()
    scopes = offspring.scopes()
    if unique:
        scatter(offspring, unique, rng)
    _retag(scopes, tags)
    settle(offspring, tags)
    return offspring


def scatter(root: Blueprint, share: float, rng: random.Random) -> None:
    """Mark each shared block with parameters of its own as unique with a probability; no tags."""
    for _, node in root.walk():
        if not node.unique and find(node.kind).size(node) and rng.random() < share:
            node.unique = True
    for _, node in _bottom_up(root):
        node.unique = node.unique or not can_be_shared(node)


def _retag(scopes: list[Scope], tags: Tags) -> None:
    for _, node, name in scopes:
        if node.unique:
            node.tag = tags.fresh()
            node.freeze = False
            if find(node.kind).size(node):
                node.meta["origins"] = [name, *node.meta.get("origins", [])][:ORIGINS]


def _bottom_up(root: Blueprint) -> list[tuple[Path, Blueprint]]:
    return list(root.walk())[::-1]  # preorder reversed: children before their parents
