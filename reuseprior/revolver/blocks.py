"""The blocks of §3.3.5: importing this module registers them; a factory makes each blueprint."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

from reuseprior.revolver.blueprints import (
    Block,
    Chain,
    Composite,
    Shape,
    assemble,
    between,
    block,
    numbered,
    require,
    require_image,
)

# Convolutions: plain, transposed, separable, conv-deconv, along the channels ----------------------


@block("conv")
class Conv(Block, nn.Conv2d):
    """A convolution; its name holds what appendix C.4's does, in the same order."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        stride: int = 1,
        padding: int = 1,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = False,
    ):
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias
        )
        self._skips = kernel_size == 1 < stride and padding == 0 and in_channels < 8

    def forward(self, x):
        if self._skips and x.is_contiguous(memory_format=torch.channels_last):
            # The same of the pixels that it reads: on processors the backward of a strided 1×1
            # convolution writes out of bounds in this layout (torch 2.15, 2 to 7 channels in).
            x = x[..., :: self.stride[0], :: self.stride[1]]
            x = x.contiguous(memory_format=torch.channels_last)
            return F.conv2d(x, self.weight, self.bias, groups=self.groups)
        return super().forward(x)

    @staticmethod
    def infer(node, x, flow):
        channels, out, kernel_size, stride, padding, dilation, groups, _ = node.arguments.values()
        require_image(x, channels)
        require(min(out, kernel_size, stride, dilation, groups) > 0, "has a size below 1")
        require(padding >= 0, "has a negative padding")
        require(channels % groups == out % groups == 0, f"cannot split into {groups} groups")
        span = dilation * (kernel_size - 1) + 1
        require(min(x[1:]) + 2 * padding >= span, f"is too small for a span of {span} pixels")
        return (out, *((side + 2 * padding - span) // stride + 1 for side in x[1:]))

    @staticmethod
    def adjust(arguments, key, value):
        arguments[key] = value
        if key == "kernel_size":  # the output keeps its shape only with the padding to match
            arguments["padding"] = arguments["dilation"] * (value - 1) // 2

    @staticmethod
    def fit(x, y, sampler):
        return conv(x, y[0], **_drawn(x, y, sampler))


@block("deconv")
class Deconv(Block, nn.ConvTranspose2d):
    """A transposed convolution."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        stride: int = 2,
        padding: int = 1,
        output_padding: int = 1,
        bias: bool = False,
    ):
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, output_padding, bias=bias
        )

    @staticmethod
    def infer(node, x, flow):
        channels, out, kernel_size, stride, padding, extra, _ = node.arguments.values()
        require_image(x, channels)
        require(min(out, kernel_size, stride) > 0, "has a size below 1")
        require(0 <= extra < stride, f"needs an output padding below its stride {stride}")
        sides = [(side - 1) * stride - 2 * padding + kernel_size + extra for side in x[1:]]
        require(min(sides) > 0, "would give an empty image")
        return (out, *sides)


@block("separable")
class Separable(Chain):
    """A depthwise convolution, one filter a channel, then a 1×1 convolution over the channels."""

    @staticmethod
    def fit(x, y, sampler):
        return separable(x, y[0], **_drawn(x, y, sampler))


@block("conv_deconv")
class ConvDeconv(Chain):
    """A convolution that halves the image, then a transposed one that doubles it again."""

    @staticmethod
    def fit(x, y, sampler):
        if y[1:] != x[1:] or x[1] != x[2] or x[1] < 2:
            return None
        kernels = sampler.space.kernels
        return conv_deconv(x, y[0], sampler.rng.choice(kernels), kernels=kernels)


@block("conv3d")
class Conv3d(Block, nn.Conv3d):
    """A 3-d convolution over (channels, height, width): one small set of filters for all channels.

    `expansion` filters widen the channels by that factor; `reduction`, a stride along them,
    divides them.
    """

    def __init__(
        self, expansion: int = 1, reduction: int = 1, kernel_size: int = 3, stride: int = 1
    ):
        super().__init__(
            1,
            expansion,
            (max(3, reduction), kernel_size, kernel_size),
            (reduction, stride, stride),
            (1 if reduction < 3 else 0, kernel_size // 2, kernel_size // 2),
            bias=False,
        )

    def forward(self, x):
        return super().forward(x.unsqueeze(1)).flatten(1, 2)  # (N, expansion, C', H', W') first

    @staticmethod
    def infer(node, x, flow):
        expansion, reduction, kernel_size, stride = node.arguments.values()
        require(min(node.arguments.values()) > 0, "has a size below 1")
        require(kernel_size % 2 == 1, "needs an odd kernel size")
        require(len(x) == 3 and x[0] % reduction == 0, f"needs channels divisible by {reduction}")
        return (expansion * x[0] // reduction, *((side - 1) // stride + 1 for side in x[1:]))

    @staticmethod
    def fit(x, y, sampler):
        (c, *_), (d, *_) = x, y
        if c % d and d % c:
            return None
        return conv3d(x, max(d // c, 1), max(c // d, 1), **_drawn(x, y, sampler))


def conv(
    x: Shape,
    channels: int,
    kernel_size: int = 3,
    *,
    stride: int = 1,
    groups: int = 1,
    bias: bool = False,
    kernels=(),
):
    """A convolution padded to keep the image's size; `kernels` are sizes it may mutate to.

    >>> conv((8, 32, 32), 16, 5, stride=2).output_shape
    (16, 16, 16)
    """
    return assemble(
        "conv",
        x,
        mutables={"kernel_size": kernels},
        in_channels=x[0],
        out_channels=channels,
        kernel_size=kernel_size,
        stride=stride,
        padding=kernel_size // 2,
        groups=groups,
        bias=bias,
    )


def deconv(x: Shape, channels: int, kernel_size: int = 3, *, stride: int = 2, to: int = 0):
    """A transposed convolution to an image of `to` pixels a side, by default `stride` × as many."""
    padding = (kernel_size - 1) // 2
    least = (x[1] - 1) * stride - 2 * padding + kernel_size
    return assemble(
        "deconv",
        x,
        in_channels=x[0],
        out_channels=channels,
        kernel_size=kernel_size,
        stride=stride,
        padding=padding,
        output_padding=(to or x[1] * stride) - least,
    )


def separable(x: Shape, channels: int, kernel_size: int = 3, *, stride: int = 1, kernels=()):
    """A depthwise separable convolution: `separable((8, 4, 4), 16).parameters()` is 8·9 + 8·16."""
    depthwise = conv(x, x[0], kernel_size, stride=stride, groups=x[0], kernels=kernels)
    pointwise = conv(depthwise.output_shape, channels, 1)
    return assemble("separable", x, {"depthwise": depthwise, "pointwise": pointwise})


def conv_deconv(x: Shape, channels: int, kernel_size: int = 3, *, kernels=()):
    """A convolution with stride 2, then back: (8, 7, 7) becomes (channels, 7, 7)."""
    down = conv(x, channels, kernel_size, stride=2, kernels=kernels)
    up = deconv(down.output_shape, channels, to=x[1])
    return assemble("conv_deconv", x, {"conv": down, "deconv": up})


def conv3d(x: Shape, expansion=1, reduction=1, kernel_size=3, *, stride=1, kernels=()):
    """A 3-d convolution over the channels: `conv3d((8, 4, 4), 2).parameters()` is 2·27."""
    return assemble(
        "conv3d",
        x,
        mutables={"kernel_size": kernels},
        expansion=expansion,
        reduction=reduction,
        kernel_size=kernel_size,
        stride=stride,
    )


def stride(x: Shape, y: Shape) -> int:
    """The stride that takes an image of shape `x` to one of shape `y`: 28 pixels to 14 is 2."""
    return -(-x[1] // y[1])


def _drawn(x: Shape, y: Shape, sampler) -> dict:
    """A kernel size, the sizes it may mutate to, and the stride from `x` to `y`."""
    kernels = sampler.space.kernels
    return {"kernel_size": sampler.rng.choice(kernels), "stride": stride(x, y), "kernels": kernels}


# Layers -------------------------------------------------------------------------------------------

FUNCTIONS = {"relu": F.relu, "gelu": F.gelu, "silu": F.silu, "tanh": F.tanh}


@block("act")
class Activation(Block, nn.Module):
    """An activation function; the thesis used ReLU only."""

    def __init__(self, function: str = "relu"):
        super().__init__()
        self.function = FUNCTIONS[function]

    def forward(self, x):
        return self.function(x)

    @staticmethod
    def infer(node, x, flow):
        function = node.arguments["function"]
        require(function in FUNCTIONS, f"has no function {function!r}: use {', '.join(FUNCTIONS)}")
        return x


@block("dropout")
class Dropout(Block, nn.Dropout):
    """Zeroes each value with probability `p` while training."""

    def __init__(self, p: float = 0.1):
        super().__init__(p)

    @staticmethod
    def infer(node, x, flow):
        require(0 <= node.arguments["p"] < 1, "drops with p outside [0, 1)")
        return x


@block("batch_norm")
class BatchNorm(Block, nn.BatchNorm2d):
    """Batch normalisation, owned by its block (never shared) or, with scope "use", by each use.

    Owned by its block, it makes every ancestor unique, as in the thesis's experiments. Owned by
    its use, the block around it can be shared, and each place it stands in keeps its own norm.
    """

    def __init__(
        self,
        features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = True,
        scope: str = "block",
    ):
        super().__init__(features, eps=eps, momentum=momentum, affine=affine)
        self.frozen = False

    def train(self, mode: bool = True):
        return super().train(mode and not self.frozen)

    @staticmethod
    def infer(node, x, flow):
        scope = node.arguments["scope"]
        require_image(x, node.arguments["features"])
        require(scope in ("block", "use"), f"has the scope {scope!r}: use 'block' or 'use'")
        return x

    @staticmethod
    def shareable(node):
        return node.arguments["scope"] == "use"

    @staticmethod
    def by_use(node):
        return node.arguments["scope"] == "use"


@block("pool")
class Pool(Block, nn.Module):
    """Max or average pooling with a window; the average does not count padding."""

    def __init__(
        self, function: str = "max", kernel_size: int = 2, stride: int = 2, padding: int = 0
    ):
        super().__init__()
        self.window = (kernel_size, stride, padding)
        self.function = function

    def forward(self, x):
        if self.function == "max":
            return F.max_pool2d(x, *self.window)
        return F.avg_pool2d(x, *self.window, count_include_pad=False)

    @staticmethod
    def infer(node, x, flow):
        function, kernel_size, stride, padding = node.arguments.values()
        require(function in ("max", "avg"), f"pools by {function!r}: use 'max' or 'avg'")
        require(min(kernel_size, stride) > 0, "needs a positive kernel size and stride")
        require(0 <= 2 * padding <= kernel_size, "pads by more than half its window")
        require_image(x)
        require(min(x[1:]) + 2 * padding >= kernel_size, f"is too small for {kernel_size} pixels")
        return (x[0], *((side + 2 * padding - kernel_size) // stride + 1 for side in x[1:]))


@block("global_pool")
class GlobalPool(Block, nn.Module):
    """The mean of each channel over the image: (C, H, W) → (C,)."""

    def forward(self, x):
        return x.mean((2, 3))

    @staticmethod
    def infer(node, x, flow):
        require_image(x)
        return x[:1]


@block("linear")
class Linear(Block, nn.Linear):
    """A fully connected layer: never shared, as in the thesis's experiments."""

    def __init__(self, in_features: int, out_features: int, bias: bool = True):
        super().__init__(in_features, out_features, bias)

    @staticmethod
    def infer(node, x, flow):
        inputs, outputs = node.arguments["in_features"], node.arguments["out_features"]
        require(x == (inputs,), f"needs ({inputs},)")
        require(outputs > 0, "needs at least one output")
        return (outputs,)

    @staticmethod
    def shareable(node):
        return False


def activation(x: Shape, function: str = "relu"):
    """An activation: `activation((8, 4, 4)).name` is `"actrelu"`."""
    return assemble("act", x, function=function)


def dropout(x: Shape, p: float = 0.1):
    """Dropout with probability `p`."""
    return assemble("dropout", x, p=p)


def batch_norm(
    x: Shape, momentum: float = 0.1, *, scope: str = "block", interval=None, eps: float = 1e-5
):
    """Batch normalisation; `interval`, a pair, lets the momentum mutate between its ends.

    >>> batch_norm((8, 4, 4)).parameters()
    16
    """
    arguments = {"features": x[0], "eps": eps, "momentum": momentum, "scope": scope}
    return assemble("batch_norm", x, mutables={"momentum": between(interval)}, **arguments)


def norms(space):
    """What makes a batch norm of a shape, as a search space has them."""
    return partial(batch_norm, scope=space.norm_scope, interval=space.momentum)


def pool(x: Shape, function="max", kernel_size=2, stride=2, padding=0):
    """Pooling: `pool((8, 7, 7)).output_shape` is `(8, 3, 3)`."""
    return assemble(
        "pool", x, function=function, kernel_size=kernel_size, stride=stride, padding=padding
    )


def global_pool(x: Shape):
    """Average pooling over the whole image: `global_pool((8, 7, 7)).output_shape` is `(8,)`."""
    return assemble("global_pool", x)


def linear(x: Shape, features: int, *, bias: bool = True):
    """A fully connected layer: `linear((64,), 10).parameters()` is 650."""
    return assemble("linear", x, in_features=x[0], out_features=features, bias=bias)


# Conv units in any order, and residual and bottleneck blocks of them ------------------------------


@block("unit")
class Unit(Chain):
    """Modules in the order of the children; `conv` may be any block of the same shapes."""

    @staticmethod
    def fit(x, y, sampler):
        return drawn_unit(x, y, sampler)


@block("residual")
class Residual(Composite):
    """y = units(x) + x, or + shortcut(x) where the units change the shape."""

    chain = "unit"

    def __init__(self, parts: dict[str, nn.Module]):
        super().__init__(parts)
        self.keeps_input = "shortcut" not in parts

    def forward(self, x):
        y = x
        for unit in self.parts("unit"):
            y = unit(y)
        return y + (x if self.keeps_input else self.shortcut(x))

    @staticmethod
    def infer(node, x, flow):
        y = _through_units(node, x, flow)
        around = flow("shortcut", x) if "shortcut" in node.children else x
        require(y == around, f"adds {around} from around its units to {y} from their end")
        return y

    @staticmethod
    def fit(x, y, sampler):
        units = [drawn_unit(x, y, sampler), drawn_unit(y, y, sampler)]
        return residual(units, None if x == y else drawn_unit(x, y, sampler, kernel_size=1))


@block("bottleneck")
class Bottleneck(Composite):
    """Units of different channels; `skip` adds the input, where the shape is the same."""

    chain = "unit"

    def __init__(self, parts: dict[str, nn.Module], skip: bool = False):
        super().__init__(parts)
        self.keeps_input = skip

    def forward(self, x):
        y = x
        for unit in self.parts("unit"):
            y = unit(y)
        return x + y if self.keeps_input else y

    @staticmethod
    def infer(node, x, flow):
        y = _through_units(node, x, flow)
        require(y == x or not node.arguments["skip"], f"adds its input to {y}")
        return y

    @staticmethod
    def fit(x, y, sampler):
        if x[0] > y[0]:  # as in DenseNet: four times the growth in the middle
            middle = (4 * y[0], *x[1:])
            ends = [(x, middle, 1), (middle, y, None)]
        else:  # as in ResNet: a quarter of the channels in the middle
            middle = (max(y[0] // 4, 1), *x[1:])
            ends = [(x, middle, 1), (middle, (middle[0], *y[1:]), None)]
            ends.append((ends[-1][1], y, 1))
        units = [drawn_unit(a, b, sampler, size) for a, b, size in ends]
        return bottleneck(units, skip=x == y)


def unit(conv, order=("bn", "act", "conv"), *, norm=batch_norm, pooling=pool, p=0.1, convs=()):
    """A conv unit around a convolution, `order` naming its modules bn, act, conv, drop, pool.

    `norm` makes the batch norm of a shape and `pooling` the pooling, `p` is dropout's; `convs` are
    the kinds that the convolution may mutate to.

    >>> unit(blocks.conv((8, 4, 4), 16), ("conv", "bn")).parameters()
    1184
    """
    x = shape = conv.input_shape
    builders = {
        "bn": norm, "act": activation, "conv": lambda _: conv, "drop": partial(dropout, p=p),
        "pool": pooling,
    }  # fmt: skip
    children = {}
    for role in order:
        if role not in builders:
            raise ValueError(f"a unit has no module {role!r}: use {', '.join(builders)}")
        children[role] = builders[role](shape)
        shape = children[role].output_shape
    return assemble("unit", x, children, mutables={"conv": convs})


def drawn_unit(x, y, sampler, kernel_size=None):
    """A unit around a plain convolution from `x` to `y`; its order, and the kernel if not given."""
    space = sampler.space
    kernel_size = kernel_size or sampler.rng.choice(space.kernels)
    plain = conv(x, y[0], kernel_size, stride=stride(x, y), kernels=space.kernels)
    return unit(plain, sampler.rng.choice(space.orders), norm=norms(space), convs=space.conv_kinds)


def residual(units, shortcut=None):
    """A residual block of conv units; `shortcut` must map the first's input to the last's output.

    ```python
    x = (8, 4, 4)
    residual([unit(conv(x, 8)), unit(conv(x, 8))]).parameters()  # 2·(8·8·9 + 2·8), one conv: 608
    ```
    """
    children = numbered("unit", list(units)) | ({"shortcut": shortcut} if shortcut else {})
    return assemble("residual", units[0].input_shape, children)


def bottleneck(units, *, skip: bool = False):
    """A bottleneck block of conv units of different channels, with or without a skip connection."""
    return assemble("bottleneck", units[0].input_shape, numbered("unit", list(units)), skip=skip)


def _through_units(node, x, flow):
    for role in node.children:
        if role.startswith("unit"):
            x = flow(role, x)
    return x


# Several ways through one block: ensembles and fractals -------------------------------------------

MEMBERS = (3, 2)  # how many, the first that divides the channels where they are divided


@block("ensemble_mean")
class EnsembleMean(Composite):
    """The mean of the members' outputs."""

    def forward(self, x):
        first, *rest = self.parts()
        total = first(x)
        for part in rest:
            total = total + part(x)
        return total / (1 + len(rest))

    @staticmethod
    def infer(node, x, flow):
        outputs = [flow(role, x) for role in node.children]
        require(len(set(outputs)) == 1, f"cannot take the mean of {outputs}")
        return outputs[0]

    @staticmethod
    def fit(x, y, sampler):
        members = [sampler.fill("conv", x, y)] * MEMBERS[0]
        return ensemble_mean(members, tied=sampler.space.tied, kinds=sampler.space.conv_kinds)


@block("ensemble_concat")
class EnsembleConcat(Composite):
    """The members' outputs, one after another along the channels."""

    def forward(self, x):
        return torch.cat([part(x) for part in self.parts()], 1)

    @staticmethod
    def infer(node, x, flow):
        outputs = [flow(role, x) for role in node.children]
        require(len({y[1:] for y in outputs}) == 1, f"cannot concatenate {outputs}")
        return (sum(y[0] for y in outputs), *outputs[0][1:])

    @staticmethod
    def fit(x, y, sampler):
        count = next((n for n in MEMBERS if y[0] % n == 0), None)
        if count is None:
            return None
        members = [sampler.fill("conv", x, (y[0] // count, *y[1:]))] * count
        return ensemble_concat(members, tied=sampler.space.tied, kinds=sampler.space.conv_kinds)


@block("fractal")
class Fractal(Composite):
    """FractalNet (thesis, C.1.1): f₁ = base; fₙ(x) = mean of base(x) and fₙ₋₁(fₙ₋₁(x)).

    A fractal of depth n holds 2ⁿ − 1 bases; those of equal shape, shared, are one.
    """

    def forward(self, x):
        short = self.base(x)
        if "first" not in self._modules:
            return short
        return (short + self.second(self.first(x))) / 2

    @staticmethod
    def infer(node, x, flow):
        short = flow("base", x)
        if "first" not in node.children:
            return short
        long = flow("second", flow("first", x))
        require(short == long, f"cannot take the mean of {short} and {long}")
        return short

    @staticmethod
    def fit(x, y, sampler):
        units = [drawn_unit(start, y, sampler) for start in (x, y)]
        return fractal(*units, sampler.rng.choice((2, 3)))


def ensemble_mean(members, *, tied: bool = False, kinds=()):
    """The mean of copies of the given blocks, each in a scope of its own (`member0/` …).

    With `tied=True` they keep their scopes: members of equal name are then one module run several
    times, whose mean is that module. `kinds` are the kinds that members may mutate to.

    >>> from reuseprior.revolver import blocks
    >>> conv = blocks.conv((8, 4, 4), 8)
    >>> ensemble_mean([conv] * 3).parameters(), ensemble_mean([conv] * 3, tied=True).parameters()
    (1728, 576)
    """
    return _ensemble("ensemble_mean", members, tied, kinds)


def ensemble_concat(members, *, tied: bool = False, kinds=()):
    """Blocks side by side, their outputs concatenated; see `ensemble_mean`."""
    return _ensemble("ensemble_concat", members, tied, kinds)


def _ensemble(kind, members, tied, kinds):
    members = [member.copy() for member in members]
    if not tied:
        for index, member in enumerate(members):
            member.rescope(f"member{index}/")
    x, children = members[0].input_shape, numbered("member", members)
    return assemble(kind, x, children, mutables={"member": kinds})


def fractal(entry, inner, depth: int):
    """A fractal group: `entry` is the base from the input on, `inner` the base of equal shapes.

    >>> from reuseprior.revolver import blocks
    >>> unit = blocks.conv((8, 4, 4), 8)
    >>> node = fractal(unit, unit, 4)
    >>> node.weights() // node.parameters()
    15
    """
    if depth < 1:
        raise ValueError(f"a fractal of depth {depth} has no base: give at least 1")
    children = {"base": entry.copy()}
    if depth > 1:
        children["first"] = fractal(entry, inner, depth - 1)
        children["second"] = fractal(inner, inner, depth - 1)
    return assemble("fractal", entry.input_shape, children)


# Groups -------------------------------------------------------------------------------------------


@block("residual_group")
class ResidualGroup(Chain):
    """Blocks one after another; each with a skip is left out with probability `drop` in training.

    In evaluation such a block's change to its input is scaled by 1 − drop, its expectation. A
    group without blocks hands its input on, as those of appendix C.4 do.
    """

    chain = "block"

    def __init__(self, parts: dict[str, nn.Module], drop: float = 0.0):
        super().__init__(parts)
        self.drop = drop

    def forward(self, x):
        for part in self.parts():
            if not self.drop or not getattr(part, "keeps_input", False):
                x = part(x)
            elif not self.training:
                x = torch.lerp(x, part(x), 1 - self.drop)
            elif torch.rand(()) >= self.drop:
                x = part(x)
        return x

    @staticmethod
    def infer(node, x, flow):
        require(0 <= node.arguments["drop"] < 1, "drops with a probability outside [0, 1)")
        return Chain.infer(node, x, flow)

    @staticmethod
    def fit(x, y, sampler):
        space, rng = sampler.space, sampler.rng
        first, *rest = [rng.choice(space.blocks) for _ in range(rng.randint(1, 3))]
        blocks = [sampler.fill(first, x, y), *(sampler.fill(kind, y, y) for kind in rest)]
        if None in blocks:
            return None
        return residual_group(blocks, drops=space.drops, kinds=space.blocks)


class _Dense(Composite):
    @classmethod
    def fit(cls, x, y, sampler):
        added = y[0] - x[0]
        depths = [n for n in range(2, 7) if added > 0 and added % n == 0]
        if not depths or y[1:] != x[1:]:
            return None
        n = sampler.rng.choice(depths)
        return cls.grow(x, added // n, n, sampler.rng.choice(sampler.space.dense_blocks), sampler)


@block("dense_concat")
class DenseConcat(_Dense):
    """Each block sees its input and all earlier outputs, concatenated (DenseNet)."""

    def forward(self, x):
        for part in self.parts():
            x = torch.cat((x, part(x)), 1)
        return x

    @staticmethod
    def infer(node, x, flow):
        for role in node.children:
            y = flow(role, x)
            require(y[1:] == x[1:], f"cannot concatenate {y} of {role!r} to {x}")
            x = (x[0] + y[0], *x[1:])
        return x

    @staticmethod
    def grow(x, growth, n, kind, sampler):
        blocks = []
        for index in range(n):
            shape = (x[0] + index * growth, *x[1:])
            blocks.append(sampler.filled(kind, shape, (growth, *x[1:])))
        return dense_concat(blocks, x)


@block("dense_sum")
class DenseSum(_Dense):
    """Each block sees the sum of all earlier outputs; the group's output concatenates them.

    All blocks but the first have the same shape, so they can be one (thesis, §3.3.5). The output
    holds the input too, and so has the channels that `dense_concat` gives.
    """

    def forward(self, x):
        first, *rest = self.parts()
        total = first(x)
        outputs = [x, total]
        for part in rest:
            outputs.append(part(total))
            total = total + outputs[-1]
        return torch.cat(outputs, 1)

    @staticmethod
    def infer(node, x, flow):
        require(bool(node.children), "has no blocks to sum")
        first, *rest = node.children
        total = flow(first, x)
        require(total[1:] == x[1:], f"cannot concatenate {total} of {first!r} to {x}")
        for role in rest:
            y = flow(role, total)
            require(y == total, f"cannot add {y} of {role!r} to {total}")
        return (x[0] + (1 + len(rest)) * total[0], *x[1:])

    @staticmethod
    def grow(x, growth, n, kind, sampler):
        y = (growth, *x[1:])
        later = sampler.filled(kind, y, y)
        blocks = [sampler.filled(kind, x, y), *(later.copy() for _ in range(n - 1))]
        return dense_sum(blocks)


def residual_group(blocks, *, drop=0.0, drops=(), kinds=(), x: Shape | None = None):
    """Blocks in a row with stochastic depth; `kinds` and `drops` are what they may mutate to.

    A group without blocks needs its input shape `x`.
    """
    return assemble(
        "residual_group",
        x or blocks[0].input_shape,
        numbered("block", list(blocks)),
        mutables={"block": kinds, "drop": drops},
        drop=drop,
    )


def dense_concat(blocks, x: Shape):
    """Blocks whose outputs are concatenated to their inputs: x + n·growth channels."""
    return assemble("dense_concat", x, numbered("block", list(blocks)))


def dense_sum(blocks):
    """Blocks that see sums of outputs, concatenated at the end: x + n·growth channels."""
    return assemble("dense_sum", blocks[0].input_shape, numbered("block", list(blocks)))


# Whole models -------------------------------------------------------------------------------------


@block("resnet")
class ResNet(Chain):
    """A first convolution, groups that stride themselves, and a head."""


@block("densenet")
class DenseNet(Chain):
    """A first convolution, groups with a pooling transition between them, and a head."""


def resnet(stem, groups, classes: int, *, norm=batch_norm, convs=(), kinds=()):
    """A ResNet of a first convolution and groups; `convs` and `kinds` are what they may become.

    ```python
    stem = conv((3, 32, 32), 16)
    resnet(stem, [residual_group([…])], 10).output_shape  # (10,)
    ```
    """
    body = {f"group{index}": group for index, group in enumerate(groups)}
    return _net("resnet", stem, body, classes, norm, convs, kinds)


def densenet(stem, groups, transitions, classes: int, *, norm=batch_norm, convs=(), kinds=()):
    """A DenseNet: after each group but the last its transition (a unit that pools, or None)."""
    body = {}
    for index, group in enumerate(groups):
        body[f"group{index}"] = group
        if index < len(transitions) and transitions[index] is not None:
            body[f"transition{index}"] = transitions[index]
    return _net("densenet", stem, body, classes, norm, convs, kinds)


def _net(kind, stem, body, classes, norm, convs, kinds):
    x = [stem, *body.values()][-1].output_shape
    head = {
        "bn": norm(x),
        "act": activation(x),
        "pool": global_pool(x),
        "linear": linear(x[:1], classes),
    }
    mutables = {"conv": convs, "group": kinds}
    return assemble(kind, stem.input_shape, {"conv": stem, **body, **head}, mutables=mutables)


# Training sessions --------------------------------------------------------------------------------


@block("session")
class Session(Composite):
    """A model that knows its optimiser and its loss; called, it is the model.

    The defaults are the thesis's: SGD with momentum 0.9 and weight decay 10⁻⁴, cross entropy.
    """

    def __init__(
        self,
        parts: dict[str, nn.Module],
        lr: float = 0.35,
        momentum: float = 0.9,
        weight_decay: float = 1e-4,
        label_smoothing: float = 0.0,
    ):
        super().__init__(parts)
        self.settings = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        self.label_smoothing = label_smoothing

    def forward(self, x):
        return self.net(x)

    def optimizer(self, lr: float | None = None) -> torch.optim.Optimizer:
        """A new optimiser of all parameters that are not frozen; `lr` stands in for the own."""
        settings = self.settings if lr is None else self.settings | {"lr": lr}
        return torch.optim.SGD([p for p in self.parameters() if p.requires_grad], **settings)

    def loss(self, outputs, labels):
        """Cross entropy of outputs (N, classes) for labels (N,)."""
        return F.cross_entropy(outputs, labels, label_smoothing=self.label_smoothing)

    @staticmethod
    def infer(node, x, flow):
        require(node.arguments["lr"] > 0, "has a learning rate that is not positive")
        return flow("net", x)


def session(net, *, rates=(), **settings):
    """A training session of a model; `rates`, a pair, lets the learning rate mutate between them.

    `settings` are lr, momentum, weight_decay and label_smoothing.
    """
    mutables = {"lr": between(rates)}
    return assemble("session", net.input_shape, {"net": net}, mutables=mutables, **settings)
