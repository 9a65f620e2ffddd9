"""Models drawn from a search space: a pure function of the space and the random numbers given."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import partial

from reuseprior.revolver import blocks
from reuseprior.revolver.blocks.layers import norms
from reuseprior.revolver.blueprints import kinds
from reuseprior.revolver.blueprints.blueprint import Blueprint
from reuseprior.revolver.blueprints.kinds import Shape
from reuseprior.revolver.blueprints.uniqueness import Tags, scatter, settle
from reuseprior.revolver.evolution.space import Space, SpaceError


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
    draw = {"resnet": _resnet, "densenet": _densenet}[scheme]
    root = draw(Maker(space, rng), width, count)
    root.meta = {"scheme": scheme, "depth": depth, "width": width}
    if space.prefix:
        root.rescope(space.prefix)
    scatter(root, space.unique, rng)
    settle(root, tags)
    return root


@dataclass(frozen=True)
class Maker:
    """Draws blocks of a space; what each kind asks for as it is drawn (`kinds.Maker`)."""

    space: Space
    rng: random.Random

    def fill(self, kind: str, x: Shape, y: Shape) -> Blueprint | None:
        """A new block of a kind from shape `x` to shape `y`, or None where there is none."""
        node = kinds.find(kind).fit(x, y, self)
        return node if node is not None and node.output_shape == y else None

    def filled(self, kind: str, x: Shape, y: Shape) -> Blueprint:
        """What `fill` gives; `SpaceError` where there is none."""
        node = self.fill(kind, x, y)
        if node is None:
            raise SpaceError(f"no {kind!r} leads from {x} to {y}: take it out of the search space")
        return node

    def varied(self, node: Blueprint) -> Blueprint:
        """The block with the convolution of every unit drawn anew, of any kind, by weight.

        A plain one stands where the drawn one does not fit.
        """
        convs = self.space.convs
        for _, unit in list(node.walk()):
            if unit.kind == "unit" and unit.children["conv"].kind == "conv":
                old = unit.children["conv"]
                ends = old.input_shape, old.output_shape
                (kind,) = self.rng.choices(list(convs), list(convs.values()))
                unit.children["conv"] = self.fill(kind, *ends) or self.fill("conv", *ends)
        return node


def _resnet(make: Maker, width: int, count: int) -> Blueprint:
    space = make.space
    x = (space.channels, *space.image[1:])
    stem = make.fill("conv", space.image, x)
    channels, groups = space.channels * width, []
    for index in range(space.groups):
        side = x[1:]
        if index and min(side) > space.smallest:
            side, channels = _halved(side), 2 * channels
        groups.append(_group(make, x, (channels, *side), count))
        x = groups[-1].output_shape
    return blocks.resnet(stem, groups, space.classes, **_options(space))


def _densenet(make: Maker, width: int, count: int) -> Blueprint:
    space = make.space
    growth = space.channels * width
    x = (2 * growth, *space.image[1:])
    stem = make.fill("conv", space.image, x)
    groups, transitions = [], []
    for index in range(space.groups):
        groups.append(_dense_group(make, x, growth, count))
        x = groups[-1].output_shape
        transition = None
        if index + 1 < space.groups and min(x[1:]) > space.smallest:
            transition = _transition(space, x)
            x = transition.output_shape
        transitions.append(transition)
    return blocks.densenet(stem, groups, transitions, space.classes, **_options(space))


def _group(make: Maker, x: Shape, y: Shape, count: int) -> Blueprint:
    space = make.space
    kind = make.rng.choice(space.residual_groups)
    if kind != "residual_group":
        return make.varied(make.filled(kind, x, y))
    kind = make.rng.choice(space.blocks)
    first, later = (make.varied(make.filled(kind, start, y)) for start in (x, y))
    made = [first, *(later.copy() for _ in range(count - 1))]
    return blocks.residual_group(made, drops=space.drops, kinds=space.blocks)


def _dense_group(make: Maker, x: Shape, growth: int, count: int) -> Blueprint:
    kind = make.rng.choice(make.space.dense_groups)
    if kind == "residual_group":
        return _group(make, x, x, count)
    block = make.rng.choice(make.space.dense_blocks)
    return make.varied(kinds.find(kind).grow(x, growth, count, block, make))


def _transition(space: Space, x: Shape) -> Blueprint:
    conv = blocks.conv(x, x[0] // 2, 1, kernels=space.kernels)
    order = ("bn", "act", "conv", "pool")
    average = partial(blocks.pool, function="avg")
    return blocks.unit(conv, order, norm=norms(space), pooling=average, convs=space.conv_kinds)


def _options(space: Space) -> dict:
    """What the groups and the first convolution of a model may become, and its batch norm."""
    groups = dict.fromkeys((*space.residual_groups, *space.dense_groups))
    return {"norm": norms(space), "convs": space.conv_kinds, "kinds": tuple(groups)}


def _halved(side: Shape) -> Shape:
    return tuple(-(-pixels // 2) for pixels in side)
