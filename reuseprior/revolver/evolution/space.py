"""The search space: which models there are, and a generator that draws one.

The generator is a pure function of the space and the random numbers it is given.
"""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from typing import Any

from reuseprior.errors import UserError
from reuseprior.revolver import blocks
from reuseprior.revolver.blocks.convolution import stride
from reuseprior.revolver.blueprints import kinds
from reuseprior.revolver.blueprints.blueprint import Blueprint
from reuseprior.revolver.blueprints.kinds import Shape
from reuseprior.revolver.blueprints.uniqueness import Tags, scatter, settle


class SpaceError(UserError):
    """A search space that cannot be; the message names the field, its value and the mend."""


# Ten of sixteen convolutions are plain at first; those of weight 0 come by mutation only.
CONVS = {
    "conv": 20,
    "separable": 2,
    "conv_deconv": 2,
    "ensemble_mean": 1,
    "ensemble_concat": 1,
    "conv3d": 2,
    "residual": 2,
    "bottleneck": 2,
    "unit": 0,
}


_CHOICES = {
    "schemes": ("resnet", "densenet"),
    "dense_groups": ("dense_concat", "dense_sum", "residual_group"),
}


@dataclass(frozen=True)
class Space:
    """Ranges and options that models are drawn from; the defaults are the thesis's experiments.

    A scheme and a depth and a width are drawn for each model, and for each of its groups a block
    and its convolution, which the group repeats. Blocks a group: (depth − 4) / (2·groups).
    """

    image: Shape = (3, 32, 32)
    classes: int = 10
    schemes: tuple[str, ...] = ("resnet", "densenet")
    depths: tuple[int, ...] = (22, 28, 34, 40)
    widths: tuple[int, ...] = (1, 2)
    channels: int = 16  # of the first group at width 1, and a DenseNet block's growth
    groups: int = 3
    smallest: int = 8  # pixels: images larger than this are halved between groups
    blocks: tuple[str, ...] = ("residual", "bottleneck")  # of residual groups
    dense_blocks: tuple[str, ...] = ("unit", "bottleneck")
    dense_groups: tuple[str, ...] = ("dense_concat", "dense_sum", "residual_group")
    residual_groups: tuple[str, ...] = ("residual_group",)  # "fractal" may stand here too
    convs: dict[str, int] = field(default_factory=lambda: dict(CONVS))  # kind → weight
    kernels: tuple[int, ...] = (1, 3, 5)
    orders: tuple[tuple[str, ...], ...] = (("bn", "act", "conv"),)
    momentum: tuple[float, float] = (0.01, 0.99)  # of batch norms, by mutation; 0.1 at first
    drops: tuple[float, ...] = (0.0, 0.1, 0.2)  # stochastic depth, by mutation; 0 at first
    unique: float = 0.5  # probability that a module with weights is unique when it is made
    norm_scope: str = "block"  # or "use": each use of a shared block has a batch norm of its own
    tied: bool = False  # whether the members of an ensemble share their weights
    prefix: str = ""  # the scope of all names: populations of different prefixes share nothing

    def __post_init__(self):
        for name in ("schemes", "blocks", "dense_blocks", "dense_groups", "residual_groups"):
            self._check_kinds(name, getattr(self, name))
        self._check_kinds("convs", self.convs)
        for name in ("depths", "widths", "kernels", "orders", "drops", "image"):
            if not getattr(self, name):
                raise SpaceError(f"the search space has no {name}: give at least one")
        for name in ("schemes", "dense_groups"):
            for kind in getattr(self, name):
                if kind not in _CHOICES[name]:
                    raise SpaceError(
                        f"{name} of the search space hold {kind!r}: choose from "
                        f"{', '.join(_CHOICES[name])}"
                    )
        for name in ("classes", "channels", "groups", "smallest"):
            if getattr(self, name) < 1:
                raise SpaceError(f"{name} is {getattr(self, name)}: give 1 or more")
        for order in self.orders:
            if order.count("conv") != 1:
                raise SpaceError(f"orders hold {order}: name its convolution, 'conv', once")
        low, high = self.momentum if len(self.momentum) == 2 else (1, 0)
        if not 0 <= low <= high <= 1:
            raise SpaceError(
                f"momentum is {self.momentum}: give the lowest and the highest, from 0 to 1"
            )
        if len(self.image) != 3:
            raise SpaceError(f"the image is {self.image}: give (channels, height, width)")
        for size in self.kernels:
            if size < 1 or size % 2 == 0:
                raise SpaceError(f"kernels hold {size}: give odd sizes, which keep images centred")
        if not 0 <= self.unique <= 1:
            raise SpaceError(f"unique is {self.unique}: give a probability from 0 to 1")
        if self.norm_scope not in ("block", "use"):
            raise SpaceError(f"norm_scope is {self.norm_scope!r}: use 'block' or 'use'")
        if not any(self.convs.values()) or min(self.convs.values()) < 0:
            raise SpaceError(f"convs are weighted {self.convs}: give one a positive weight")

    def _check_kinds(self, name: str, given: Any) -> None:
        unknown = [kind for kind in given if kind not in kinds.names()]
        if unknown or not given:
            raise SpaceError(
                f"{name} of the search space are {list(given)}: give some of "
                f"{', '.join(kinds.names())}"
            )

    def to_data(self) -> dict[str, Any]:
        """The space as JSON values."""
        return asdict(self)

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> Space:
        """The space that `to_data` wrote, also after a way through JSON."""
        known = [field.name for field in fields(cls)]
        for key in data:
            if key not in known:
                raise SpaceError(f"the search space has no {key!r}: it has {', '.join(known)}")
        return cls(**{key: _tupled(value) for key, value in data.items()})

    def fill(self, kind: str, x: Shape, y: Shape, rng: random.Random) -> Blueprint | None:
        """A new block of a kind from shape `x` to shape `y`, or None where there is none."""
        node = kinds.find(kind).fit(x, y, self, rng)
        return node if node is not None and node.output_shape == y else None

    def filled(self, kind: str, x: Shape, y: Shape, rng: random.Random) -> Blueprint:
        """What `fill` gives; `SpaceError` where there is none."""
        node = self.fill(kind, x, y, rng)
        if node is None:
            raise SpaceError(f"no {kind!r} leads from {x} to {y}: take it out of the search space")
        return node

    def conv(self, x: Shape, y: Shape, rng: random.Random) -> Blueprint:
        """A convolution of a kind drawn by weight; a plain one where the drawn does not fit."""
        (kind,) = rng.choices(list(self.convs), list(self.convs.values()))
        return self.fill(kind, x, y, rng) or self.fill("conv", x, y, rng)

    def unit(
        self,
        x: Shape,
        y: Shape,
        rng: random.Random,
        kernel_size: int | None = None,
    ) -> Blueprint:
        """A conv unit around a plain convolution, its order and kernel drawn where not given."""
        kernel_size = kernel_size or rng.choice(self.kernels)
        conv = blocks.conv(x, y[0], kernel_size, stride=stride(x, y), kernels=self.kernels)
        return blocks.unit(conv, rng.choice(self.orders), norm=self.norm, convs=self.convs)

    @property
    def norm(self):
        """What makes a batch norm of a shape."""
        return partial(blocks.batch_norm, scope=self.norm_scope, interval=self.momentum)


def generate(space: Space, rng: random.Random, tags: Tags) -> Blueprint:
    """Draw a model from a space: an individual's blueprint, ready to be built.

    ```python
    net = generate(Space(), random.Random(0), registry.tags)
    net.input_shape, net.output_shape  # (3, 32, 32), (10,)
    net.meta                           # {'scheme': …, 'depth': …, 'width': …}
    ```
    """
    scheme, depth, width = (rng.choice(c) for c in (space.schemes, space.depths, space.widths))
    count = max((depth - 4) // (2 * space.groups), 1)
    make = {"resnet": _resnet, "densenet": _densenet}[scheme]
    root = make(space, width, count, rng)
    root.meta = {"scheme": scheme, "depth": depth, "width": width}
    if space.prefix:
        root.rescope(space.prefix)
    scatter(root, space.unique, rng)
    settle(root, tags)
    return root


def _resnet(space: Space, width: int, count: int, rng: random.Random) -> Blueprint:
    x = (space.channels, *space.image[1:])
    stem = space.fill("conv", space.image, x, rng)
    channels, groups = space.channels * width, []
    for index in range(space.groups):
        side = x[1:]
        if index and min(side) > space.smallest:
            side, channels = _halved(side), 2 * channels
        groups.append(_group(space, x, (channels, *side), count, rng))
        x = groups[-1].output_shape
    return blocks.resnet(
        stem, groups, space.classes, norm=space.norm, convs=space.convs, kinds=_groups(space)
    )


def _densenet(space: Space, width: int, count: int, rng: random.Random) -> Blueprint:
    growth = space.channels * width
    x = (2 * growth, *space.image[1:])
    stem = space.fill("conv", space.image, x, rng)
    groups, transitions = [], []
    for index in range(space.groups):
        groups.append(_dense_group(space, x, growth, count, rng))
        x = groups[-1].output_shape
        if index + 1 < space.groups and min(x[1:]) > space.smallest:
            transitions.append(_transition(space, x, rng))
            x = transitions[-1].output_shape
        else:
            transitions.append(None)
    return blocks.densenet(
        stem,
        groups,
        transitions,
        space.classes,
        norm=space.norm,
        convs=space.convs,
        kinds=_groups(space),
    )


def _group(space: Space, x: Shape, y: Shape, count: int, rng: random.Random) -> Blueprint:
    kind = rng.choice(space.residual_groups)
    if kind != "residual_group":
        return _varied(space.filled(kind, x, y, rng), space, rng)
    kind = rng.choice(space.blocks)
    first, later = (_varied(space.filled(kind, s, y, rng), space, rng) for s in (x, y))
    made = [first, *(later.copy() for _ in range(count - 1))]
    return blocks.residual_group(made, drops=space.drops, kinds=space.blocks)


def _dense_group(space: Space, x: Shape, growth: int, count: int, rng: random.Random) -> Blueprint:
    kind = rng.choice(space.dense_groups)
    if kind == "residual_group":
        return _group(space, x, x, count, rng)
    block = rng.choice(space.dense_blocks)
    return _varied(kinds.find(kind).grow(x, growth, count, block, space, rng), space, rng)


def _transition(space: Space, x: Shape, rng: random.Random) -> Blueprint:
    conv = blocks.conv(x, x[0] // 2, 1, kernels=space.kernels)
    order = ("bn", "act", "conv", "pool")
    average = partial(blocks.pool, function="avg")
    return blocks.unit(conv, order, norm=space.norm, pooling=average, convs=space.convs)


def _varied(node: Blueprint, space: Space, rng: random.Random) -> Blueprint:
    """Draw the convolution of every unit anew, of any kind."""
    for _, unit in list(node.walk()):
        if unit.kind == "unit" and unit.children["conv"].kind == "conv":
            old = unit.children["conv"]
            unit.children["conv"] = space.conv(old.input_shape, old.output_shape, rng)
    return node


def _groups(space: Space) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*space.residual_groups, *space.dense_groups)))


def _halved(side: Shape) -> Shape:
    return tuple(-(-pixels // 2) for pixels in side)


def _tupled(value: Any) -> Any:
    return tuple(map(_tupled, value)) if isinstance(value, list) else value
