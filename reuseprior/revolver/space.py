"""What a search draws from and how it goes, as data: the space of models, and all settings."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import msgspec

from reuseprior.errors import UserError, did_you_mean, shown
from reuseprior.presets import Presets
from reuseprior.revolver import blocks, blueprints
from reuseprior.revolver.blocks import norms
from reuseprior.revolver.blueprints import Blueprint, Shape, Tags, scatter, settle


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


def _whole(low: int, high: int) -> Any:
    """A whole number; what is beyond the highest is a slip."""
    return Annotated[int, msgspec.Meta(ge=low, le=high)]


def _some(kind: Any) -> Any:
    return Annotated[tuple[kind, ...], msgspec.Meta(min_length=1)]


Probability = Annotated[float, msgspec.Meta(ge=0, le=1)]
Side = _whole(1, 16_384)  # pixels
Kinds, Scales, Kernels, Drops = map(_some, (str, _whole(1, 1000), _whole(1, 101), Probability))
Orders = _some(tuple[str, ...])
Classes, Channels, Groups = (_whole(1, most) for most in (1_000_000, 100_000, 16))
Weights = dict[str, _whole(0, 10**9)]
Prefix = Annotated[str, msgspec.Meta(max_length=100)]
SCHEMES = ("resnet", "densenet")
DENSE_GROUPS = ("dense_concat", "dense_sum", "residual_group")


@dataclass(frozen=True)
class Space:
    """Ranges and options that models are drawn from; the defaults are the thesis's experiments.

    A scheme and a depth and a width are drawn for each model, and for each of its groups a block
    and its convolution, which the group repeats. Blocks a group: (depth − 4) / (2·groups).
    """

    image: tuple[Channels, Side, Side] = (3, 32, 32)
    classes: Classes = 10
    schemes: Kinds = SCHEMES
    depths: Scales = (22, 28, 34, 40)
    widths: Scales = (1, 2)
    channels: Channels = 16  # of the first group at width 1, and a DenseNet block's growth
    groups: Groups = 3
    smallest: Side = 8  # pixels: images larger than this are halved between groups
    blocks: Kinds = ("residual", "bottleneck")  # of residual groups
    dense_blocks: Kinds = ("unit", "bottleneck")
    dense_groups: Kinds = DENSE_GROUPS
    residual_groups: Kinds = ("residual_group",)  # "fractal" may stand here too
    convs: Weights = field(default_factory=lambda: dict(CONVS))  # by kind
    kernels: Kernels = (1, 3, 5)
    orders: Orders = (("bn", "act", "conv"),)
    # of batch norms, by mutation; 0.1 at first
    momentum: tuple[Probability, Probability] = (0.01, 0.99)
    drops: Drops = (0.0, 0.1, 0.2)  # stochastic depth, by mutation; 0 at first
    unique: Probability = 0.5  # probability that a module with weights is unique when it is made
    norm_scope: str = "block"  # "use": each use of a block has its own norm
    tied: bool = False  # whether the members of an ensemble share their weights
    prefix: Prefix = ""  # the scope of all names: populations of different prefixes share nothing

    def __post_init__(self):
        for name, hint in get_type_hints(type(self), include_extras=True).items():
            value = getattr(self, name)
            try:
                object.__setattr__(self, name, msgspec.convert(value, hint))
            except msgspec.ValidationError as error:
                said = str(error).partition(" - at")[0]
                raise SpaceError(
                    f"space.{name} is {shown(value)}: {said[0].lower()}{said[1:]}"
                ) from error
        choices = {"schemes": SCHEMES, "dense_groups": DENSE_GROUPS}
        for name in (*choices, "blocks", "dense_blocks", "residual_groups", "convs"):
            known = choices.get(name) or blueprints.names()
            for kind in getattr(self, name):
                _require(
                    kind in known,
                    f"{name} of the search space hold {kind!r}{did_you_mean(kind, known)}: choose "
                    f"from {', '.join(known)}",
                )
        for order in self.orders:
            once = order.count("conv") == 1
            _require(once, f"orders hold {order}: name its convolution, 'conv', once")
        low, high = self.momentum
        _require(low <= high, f"momentum is {self.momentum}: give the lowest and the highest")
        for size in self.kernels:
            _require(size % 2, f"kernels hold {size}: give odd sizes, which keep images centred")
        scope = self.norm_scope
        _require(scope in ("block", "use"), f"norm_scope is {scope!r}: use 'block' or 'use'")
        weighty = any(self.convs.values())
        _require(weighty, f"convs are weighted {self.convs}: give one a positive weight")
        printable = self.prefix.isprintable()
        _require(printable, f"prefix is {shown(self.prefix)}: give printable characters")

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
        known = [field.name for field in fields(cls)]
        for key in data:
            _require(key in known, f"the search space has no {key!r}: it has {', '.join(known)}")
        return cls(**data)


@dataclass(frozen=True)
class Rates:
    """Probabilities of the operators; the defaults are those of the thesis's experiments.

    With `mutation` a mutable is changed where it is met, otherwise the search for one goes down;
    with `toggle` the mutated block's uniqueness is toggled as well, from shared to unique only with
    a further `unique`; with `crossover` pieces are exchanged at a level, and else further down.
    """

    mutation: float = 0.8
    toggle: float = 0.2
    unique: float = 0.5
    crossover: float = 0.95


def _require(holds: Any, sentence: str) -> None:
    if not holds:
        raise SpaceError(sentence)


# Drawing a model ----------------------------------------------------------------------------------


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
    root = draw(Sampler(space, rng), width, count)
    root.meta = {"scheme": scheme, "depth": depth, "width": width}
    if space.prefix:
        root.rescope(space.prefix)
    scatter(root, space.unique, rng)
    settle(root, tags)
    return root


@dataclass(frozen=True)
class Sampler:
    """Draws blocks of a space; what each kind asks for as it is drawn (`fit`)."""

    space: Space
    rng: random.Random

    def fill(self, kind: str, x: Shape, y: Shape) -> Blueprint | None:
        """A new block of a kind from shape `x` to shape `y`, or None where there is none."""
        node = blueprints.find(kind).fit(x, y, self)
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


def _resnet(sampler: Sampler, width: int, count: int) -> Blueprint:
    space = sampler.space
    x = (space.channels, *space.image[1:])
    stem = sampler.fill("conv", space.image, x)
    channels, groups = space.channels * width, []
    for index in range(space.groups):
        side = x[1:]
        if index and min(side) > space.smallest:
            side, channels = _halved(side), 2 * channels
        groups.append(_group(sampler, x, (channels, *side), count))
        x = groups[-1].output_shape
    return blocks.resnet(stem, groups, space.classes, **_options(space))


def _densenet(sampler: Sampler, width: int, count: int) -> Blueprint:
    space = sampler.space
    growth = space.channels * width
    x = (2 * growth, *space.image[1:])
    stem = sampler.fill("conv", space.image, x)
    groups, transitions = [], []
    for index in range(space.groups):
        groups.append(_dense_group(sampler, x, growth, count))
        x = groups[-1].output_shape
        transition = None
        if index + 1 < space.groups and min(x[1:]) > space.smallest:
            transition = _transition(space, x)
            x = transition.output_shape
        transitions.append(transition)
    return blocks.densenet(stem, groups, transitions, space.classes, **_options(space))


def _group(sampler: Sampler, x: Shape, y: Shape, count: int) -> Blueprint:
    space = sampler.space
    kind = sampler.rng.choice(space.residual_groups)
    if kind != "residual_group":
        return sampler.varied(sampler.filled(kind, x, y))
    kind = sampler.rng.choice(space.blocks)
    first, later = (sampler.varied(sampler.filled(kind, start, y)) for start in (x, y))
    members = [first, *(later.copy() for _ in range(count - 1))]
    return blocks.residual_group(members, drops=space.drops, kinds=space.blocks)


def _dense_group(sampler: Sampler, x: Shape, growth: int, count: int) -> Blueprint:
    kind = sampler.rng.choice(sampler.space.dense_groups)
    if kind == "residual_group":
        return _group(sampler, x, x, count)
    block = sampler.rng.choice(sampler.space.dense_blocks)
    return sampler.varied(blueprints.find(kind).grow(x, growth, count, block, sampler))


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


# Settings -----------------------------------------------------------------------------------------

Part = Annotated[float, 0, 1]  # or a probability
Positive = Annotated[float, 1e-9, 10**6]
Count = Annotated[int, 1, 10**9]
Natural = Annotated[int, 0, 10**9]
CANDIDATES = 100_000  # the most of a first population: each is a tree in memory
Mode = Literal["random", "evolve", "random_warmup", "random_warmup_evolve"]


class SettingsError(UserError):
    """Settings that cannot be; the message names the key, its value and the mend."""


@dataclass(frozen=True)
class Settings:
    """Everything that decides a search, apart from the data and the seed.

    >>> Settings.load("mnist-evolve").population
    80
    >>> Settings.load("mnist-evolve", population=12, **{"space.widths": [1]}).space.widths
    (1,)

    The defaults are the thesis's experiments (§3.4, §3.5, appendix C.2); where the text gives no
    value, they are those of the author's library, apart from `focus`: searches that are older than
    it do not say it, so it is off where nothing says it, and on in the presets of the thesis.
    """

    name: str = "custom"
    data: str = "digits"
    train_images: Natural = 0  # a subset of equal classes; 0: all
    test_images: Natural = 0
    validation: Annotated[float, 0.001, 0.9] = 0.1  # part that scores are made of
    augmentation: Literal["none", "flip", "flip_crop"] = "none"

    mode: Mode = "evolve"
    generations: Count = 160  # with training
    warmup_generations: Natural = 30  # before them, without; only in the modes that say so
    population: Annotated[int, 2, 10_000] = 80
    warmup_x: Annotated[float, 1, 1000] = 2.0  # candidates for a place at first
    sample: Count = 8  # individuals trained in a generation
    batch_size: Annotated[int, 2, 10**9] = 128  # images a step, over all processes
    validation_batch_size: Count = 1000

    learning_rate: Positive = 0.35
    minimum_learning_rate: Positive = 0.00085  # reached in the last generation
    constant_generations: Natural = 100  # before it falls, exponentially
    momentum: Part = 0.9
    weight_decay: Part = 1e-4
    label_smoothing: Part = 0.0
    optimizer_state: Literal["session", "scope"] = "session"  # new each time, or kept by scope
    precision: Literal["float32", "bfloat16"] = "float32"
    channels_last: bool = False

    budget: Literal["thesis", "author"] = "thesis"
    minimum_batches: Count = 96  # that an individual is trained on in its turn
    maximum_batches: Natural = 0  # 0: an epoch, which is the most in any case
    explore: Part = 0.5  # probability that a choice among individuals ignores scores
    exploit: Part = 0.2  # last part of the generations, in which training goes by score alone
    focus: bool = False  # in that part only the best are trained and bred from; `best_part`
    tournament: Count = 3  # individuals that a choice by score compares

    fitness: Literal["thesis", "author", "P_G", "P_G_spread", "R6"] = "thesis"  # of genotypes
    size_penalty: Annotated[float, 0, 10**6] = 0.0075  # of phenotypes, Algorithm 3
    max_parameters: Count = 16_000_000  # larger genotypes are discarded
    genotype_coefficient: Positive = 32.0  # at first (genotype_cost)
    coefficient_up: Annotated[float, 1, 10] = 1.005  # after an individual was found
    coefficient_down: Part = 0.985  # after none was found
    coefficient_floor: Positive = 0.001
    score_weight: Part = 0.5  # of what is new in a score
    inherit: bool = False  # unique modules of offspring start from their parents' weights
    keep_modules: Natural = 256  # shared modules that outlive their last individual

    replacements: Count = 2  # low performers that a generation tries to replace
    passes: Count = 3  # at most, until one is replaced
    low: Count = 6  # replacements are sought among as many of the worst
    low_chance: Part = 0.8  # and otherwise among all but
    top: Natural = 4  # as many of the best
    random_tries: Count = 30
    crossover_chance: Part = 0.95
    crossover_tries: Count = 100
    copyover_chance: Part = 0.1  # that an exchange copies instead of swapping
    mutation_chance: Part = 0.8
    mutation_tries: Count = 50
    clone_unique: Part = 0.16  # probability that an offspring's shared module becomes unique
    elimination: Part = 0.5  # probability that an offspring worse than its target is dropped
    immigration: Part = 0.05  # probability at first, falling to 0

    rates: Rates = field(default_factory=Rates)
    space: Space = field(default_factory=Space)

    def __post_init__(self):
        PRESETS.conform(self)
        _check_together(self)

    @classmethod
    def load(cls, name_or_path: str | Path, **changes) -> Settings:
        """Settings by the name of a preset (`presets()`) or from a TOML file, some replaced.

        A key of the tables `[space]` and `[rates]` is written with a dot: `"space.widths"`. Raises
        `SettingsError` for a missing file, an unknown key, and a value that cannot be.
        """
        values, where = PRESETS.read(name_or_path)
        values = {"name": Path(name_or_path).stem} | values
        try:
            written = cls.from_data(values, where)
        except (SettingsError, SpaceError) as error:
            named = str(error) if where in str(error) else f"{where}: {error}"
            raise type(error)(named) from error
        if not changes:
            return written
        for key, value in changes.items():
            table, dot, inner = key.partition(".")
            if dot and table in _TABLES:
                values[table] = {**values.get(table, {}), inner: value}
            else:
                values[key] = value
        return cls.from_data(values, where)

    @classmethod
    def from_data(cls, data: Mapping[str, Any], where: str = "the settings") -> Settings:
        """Settings from nested values, such as `to_data` gives or a TOML file holds."""
        PRESETS.check_keys(data, (f.name for f in fields(cls)), where)
        tables = {}
        for name, kind in _TABLES.items():
            table = data.get(name, {})
            if not isinstance(table, Mapping):
                raise SettingsError(f"{name} in {where} is {table!r}: write a table [{name}]")
            PRESETS.check_keys(table, (f.name for f in fields(kind)), f"[{name}] of {where}")
            tables[name] = table
        rates = {
            k: PRESETS.checked(f"rates.{k}", float, v, 0, 1) for k, v in tables["rates"].items()
        }
        space = Space.from_data(tables["space"])
        return cls(**{**data, "space": space, "rates": Rates(**rates)})

    def to_data(self) -> dict[str, Any]:
        """The settings as JSON values."""
        return {**asdict(self), "space": self.space.to_data()}

    @property
    def warmup(self) -> int:
        """Generations without training before the first one with."""
        return self.warmup_generations if self.mode.startswith("random_warmup") else 0

    @property
    def evolves(self) -> bool:
        """Whether the generations with training use the genetic algorithm."""
        return self.mode in ("evolve", "random_warmup_evolve")


_TABLES = {"space": Space, "rates": Rates}

PRESETS = Presets("preset", "reuseprior.revolver", "presets", SettingsError)


def presets() -> list[str]:
    """The names of the presets: the eight runs of appendix C.2, `quick` and those for a CPU."""
    return PRESETS.names()


def learning_rate(settings: Settings, generation: int) -> float:
    """The rate of a generation: constant at first, then falling exponentially to the minimum.

    >>> s = Settings(generations=160)
    >>> [round(learning_rate(s, g), 5) for g in (1, 100, 130, 160)]
    [0.35, 0.35, 0.01725, 0.00085]
    """
    first, last = settings.learning_rate, settings.minimum_learning_rate
    constant = settings.constant_generations
    if generation <= constant:
        return first
    past = (generation - constant) / (settings.generations - constant)
    return first * (last / first) ** past


def _check_together(s: Settings) -> None:
    PRESETS.check_name(s.name)
    if s.population * s.warmup_x > CANDIDATES:
        raise SettingsError(
            f"population is {s.population} and warmup_x {s.warmup_x}: they may ask for "
            f"{CANDIDATES:,} candidates together at most"
        )
    if s.sample > s.population:
        raise SettingsError(
            f"sample is {s.sample} and population {s.population}: train at most the whole "
            "population in a generation"
        )
    if s.replacements >= s.population:
        raise SettingsError(
            f"replacements is {s.replacements} and population {s.population}: replace fewer than "
            "all in a generation"
        )
    if 0 < s.maximum_batches < s.minimum_batches:
        raise SettingsError(
            f"maximum_batches is {s.maximum_batches} and minimum_batches {s.minimum_batches}: "
            "raise the maximum, or set it to 0 for an epoch"
        )
    if s.minimum_learning_rate > s.learning_rate:
        raise SettingsError(
            f"minimum_learning_rate is {s.minimum_learning_rate} and learning_rate "
            f"{s.learning_rate}: lower the minimum"
        )
