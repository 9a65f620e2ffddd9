"""The search space: which models there are, as data."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any

from reuseprior.errors import UserError, shown
from reuseprior.revolver.blueprints import kinds
from reuseprior.revolver.blueprints.kinds import Shape


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


_MOST = {  # what is beyond is a slip, and takes more time or memory than there is
    "image": 16_384,
    "classes": 1_000_000,
    "depths": 1000,
    "widths": 1000,
    "channels": 100_000,
    "groups": 16,
    "smallest": 16_384,
    "kernels": 101,
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
        groups = ("schemes", "blocks", "dense_blocks", "dense_groups", "residual_groups")
        for name in (*groups, "convs"):
            given, known = list(getattr(self, name)), kinds.names()
            _require(
                given and set(given) <= set(known),
                f"{name} of the search space are {given}: give some of {', '.join(known)}",
            )
        for name in ("depths", "widths", "kernels", "orders", "drops", "image"):
            _require(getattr(self, name), f"the search space has no {name}: give at least one")
        for name, choices in _CHOICES.items():
            for kind in getattr(self, name):
                _require(
                    kind in choices,
                    f"{name} of the search space hold {kind!r}: choose from {', '.join(choices)}",
                )
        for name, most in _MOST.items():
            given = getattr(self, name)
            for value in given if isinstance(given, tuple) else [given]:
                _require(1 <= value <= most, f"{name} is {shown(given)}: give 1 to {most:,}")
        for drop in self.drops:
            _require(0 <= drop <= 1, f"drops hold {drop}: give probabilities from 0 to 1")
        printable = self.prefix.isprintable() and len(self.prefix) <= 100
        _require(printable, f"prefix is {shown(self.prefix)}: give up to 100 printable characters")
        for order in self.orders:
            once = order.count("conv") == 1
            _require(once, f"orders hold {order}: name its convolution, 'conv', once")
        low, high = self.momentum if len(self.momentum) == 2 else (1, 0)
        _require(
            0 <= low <= high <= 1,
            f"momentum is {self.momentum}: give the lowest and the highest, from 0 to 1",
        )
        is_image = len(self.image) == 3
        _require(is_image, f"the image is {self.image}: give (channels, height, width)")
        for size in self.kernels:
            odd = size > 0 and size % 2
            _require(odd, f"kernels hold {size}: give odd sizes, which keep images centred")
        share, scope, weights = self.unique, self.norm_scope, self.convs.values()
        _require(0 <= share <= 1, f"unique is {share}: give a probability from 0 to 1")
        _require(scope in ("block", "use"), f"norm_scope is {scope!r}: use 'block' or 'use'")
        _require(
            any(weights) and min(weights) >= 0 and max(weights) <= 10**9,
            f"convs are weighted {shown(self.convs)}: give one a positive weight, and none more "
            "than a billion",
        )

    @property
    def conv_kinds(self) -> tuple[str, ...]:
        """The kinds that a convolution may be, or become."""
        return tuple(self.convs)

    def to_data(self) -> dict[str, Any]:
        """The space as JSON values."""
        return asdict(self)

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> Space:
        """The space that `to_data` wrote, also after a way through JSON."""
        usual = {field.name: getattr(cls(), field.name) for field in fields(cls)}
        values = {key: _tupled(value) for key, value in data.items()}
        for key, value in values.items():
            _require(key in usual, f"the search space has no {key!r}: it has {', '.join(usual)}")
            _require(
                _is_like(value, usual[key]),
                f"space.{key} is {shown(data[key])}: give a value of the kind of "
                f"{_listed(usual[key])!r}",
            )
        return cls(**values)


def _require(holds: Any, sentence: str) -> None:
    if not holds:
        raise SpaceError(sentence)


def _tupled(value: Any) -> Any:
    return tuple(map(_tupled, value)) if isinstance(value, list) else value


def _listed(value: Any) -> Any:
    return list(map(_listed, value)) if isinstance(value, tuple) else value


def _is_like(value: Any, example: Any) -> bool:
    """Whether a value has the type of an example, and its members those of the example's."""
    if isinstance(example, float):
        return type(value) in (int, float)
    if type(value) is not type(example):
        return False
    if isinstance(example, dict):
        return all(type(inner) is int for inner in value.values())
    return not isinstance(example, tuple) or all(_is_like(inner, example[0]) for inner in value)
