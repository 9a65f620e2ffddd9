"""Settings of a search, as data: a preset is a TOML file in `presets/`, or one of your own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

from reuseprior.errors import UserError
from reuseprior.presets import Presets
from reuseprior.revolver.evolution.operators import Rates
from reuseprior.revolver.evolution.space import Space, SpaceError

# Types with the lowest and the highest value; what is beyond is a slip, and would overflow.
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
        for key, hint in get_type_hints(type(self), include_extras=True).items():
            limits = getattr(hint, "__metadata__", ())
            kind = hint.__origin__ if limits else hint
            value = PRESETS.checked(key, kind, getattr(self, key), *limits)
            object.__setattr__(self, key, value)
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
