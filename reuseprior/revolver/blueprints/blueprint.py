"""Blueprints (thesis, §3.3.1): a model as a plain tree of named blocks.

A name is never stored: prefix and suffix and tag make it, and the suffix follows from what the
block is. So blocks of equal name are equal, and a change gives another name by itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from itertools import count
from typing import Any, NamedTuple

from reuseprior import schemas
from reuseprior.errors import expect, shown
from reuseprior.revolver.blueprints import kinds
from reuseprior.revolver.blueprints.domains import Domain
from reuseprior.revolver.blueprints.errors import BlueprintError
from reuseprior.revolver.blueprints.kinds import Shape

Path = tuple[str, ...]  # roles from the root down; () is the root itself


class Scope(NamedTuple):
    """A place of a blueprint and the name under which its module is registered."""

    path: Path
    node: Blueprint
    name: str


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
    Jupyter it displays as a tree (`views.displays`).
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
    mutables: dict[str, Domain] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)

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
        found: list[Scope] = []
        _name_all(self, (), found)
        if any(by_use for *_, by_use in found):
            root = self.tag or found[-1][2]
            found = [
                (path, node, "/".join((f"{name}@{root}", *path)) if by_use else name, by_use)
                for path, node, name, by_use in found
            ]
        return [Scope(path, node, name) for path, node, name, _ in found]

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
        return _read(data, (), (), count())

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


def _name_all(node: Blueprint, path: Path, found: list) -> tuple[str, bool]:
    by_use = kinds.find(node.kind).by_use(node)
    names = []
    for role, child in node.children.items():
        name, child_by_use = _name_all(child, (*path, role), found)
        names.append(name)
        by_use |= child_by_use
    name = _tagged(node, node.prefix + _suffix(node, names))
    found.append((path, node, name, by_use))
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
    return kinds.find(node.kind).size(node)


def _listed(shape: Shape | None) -> list[int] | None:
    return None if shape is None else list(shape)


DEEPEST = 100  # levels of a blueprint: Python follows some hundred
LARGEST = 100_000  # blocks: as many take minutes and gigabytes


def _read(data: Any, path: Path, above: tuple[int, ...], counted: Iterator[int]) -> Blueprint:
    if id(data) in above:
        raise BlueprintError(f"the blueprint contains itself at {where(path)}: break the cycle")
    if len(above) == DEEPEST:
        raise BlueprintError(
            f"the blueprint has more than {DEEPEST} levels, at {'/'.join(path[:3])}/…: give a "
            "flatter one"
        )
    if next(counted) == LARGEST:
        raise BlueprintError(f"the blueprint has more than {LARGEST:,} blocks: give a smaller one")
    if not isinstance(data, dict) or "kind" not in data:
        raise BlueprintError(
            f"the blueprint at {where(path)} is no object with a kind: give "
            '{"kind": …, "arguments": {…}, "children": {…}}'
        )
    known = schemas.Blueprint.__annotations__
    for key in data:
        if key not in known:
            raise BlueprintError(
                f"the blueprint at {where(path)} has an unknown field {key!r}: "
                f"the fields are {', '.join(known)}"
            )
    try:
        schemas.fitting(data, schemas.Blueprint)
    except schemas.SchemaError as error:
        raise BlueprintError(f"the blueprint at {where(path)} {error}: mend it") from error
    fields = {key: value for key, value in data.items() if key not in ("name", "children")}
    for key in ("input_shape", "output_shape"):
        fields[key] = _shape(fields.get(key), path)
    fields["arguments"] = kinds.complete(data["kind"], data.get("arguments", {}))
    fields["mutables"] = dict(data.get("mutables", {}))
    fields["meta"] = dict(data.get("meta", {}))
    children = {
        role: _read(child, (*path, role), (*above, id(data)), counted)
        for role, child in data.get("children", {}).items()
    }
    return Blueprint(children=children, **fields)


def _shape(value: list | None, path: Path) -> Shape | None:
    if value is None:
        return None
    if not value or not all(0 < size <= kinds.LARGEST for size in value):
        raise BlueprintError(
            f"the blueprint at {where(path)} has the shape {shown(value)}: give positive whole "
            f"numbers up to {kinds.LARGEST:,}"
        )
    return tuple(value)
