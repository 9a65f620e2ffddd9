"""Settings of a search, as data: a preset is a TOML file in `presets/`, or one of your own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from math import inf
from pathlib import Path
from typing import Any, Literal, get_type_hints

from reuseprior.errors import UserError
from reuseprior.presets import Presets
from reuseprior.revolver.evolution.operators import Rates
from reuseprior.revolver.evolution.space import Space

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
    value, they are those of the author's library.
    """

    name: str = "custom"
    data: str = "digits"
    train_images: int = 0  # a subset of equal classes; 0: all
    test_images: int = 0
    validation: float = 0.1  # part of the training images that scores are made of
    augmentation: Literal["none", "flip", "flip_crop"] = "none"

    mode: Mode = "evolve"
    generations: int = 160  # with training
    warmup_generations: int = 30  # before them, without; only in the modes that say so
    population: int = 80
    warmup_x: float = 2.0  # candidates of the first population, for each place in it
    sample: int = 8  # individuals trained in a generation
    batch_size: int = 128  # images a step, over all processes
    validation_batch_size: int = 1000

    learning_rate: float = 0.35
    minimum_learning_rate: float = 0.00085  # reached in the last generation
    constant_generations: int = 100  # before it falls, exponentially
    momentum: float = 0.9
    weight_decay: float = 1e-4
    label_smoothing: float = 0.0
    optimizer_state: Literal["session", "scope"] = "session"  # new each time, or kept by scope
    precision: Literal["float32", "bfloat16"] = "float32"
    channels_last: bool = False

    budget: Literal["thesis", "author"] = "thesis"
    minimum_batches: int = 96  # that an individual is trained on in its turn
    maximum_batches: int = 0  # 0: an epoch, which is the most in any case
    explore: float = 0.5  # probability that a choice among individuals ignores scores
    exploit: float = 0.2  # last part of the generations, in which training goes by score alone
    tournament: int = 3  # individuals that a choice by score compares

    fitness: Literal["thesis", "author", "P_G", "P_G_spread"] = "thesis"  # of genotypes
    size_penalty: float = 0.0075  # of phenotypes, Algorithm 3
    max_parameters: int = 16_000_000  # larger genotypes are discarded
    genotype_coefficient: float = 32.0  # at first (genotype_cost)
    coefficient_up: float = 1.005  # after an individual was found
    coefficient_down: float = 0.985  # after none was found
    coefficient_floor: float = 0.001
    score_weight: float = 0.5  # of what is new in a score
    inherit: bool = False  # unique modules of offspring start from their parents' weights
    keep_modules: int = 256  # shared modules that outlive their last individual

    replacements: int = 2  # low performers that a generation tries to replace
    passes: int = 3  # at most, until one is replaced
    low: int = 6  # replacements are sought among as many of the worst
    low_chance: float = 0.8  # and otherwise among all but
    top: int = 4  # as many of the best
    random_tries: int = 30
    crossover_chance: float = 0.95
    crossover_tries: int = 100
    copyover_chance: float = 0.1  # that an exchange copies instead of swapping
    mutation_chance: float = 0.8
    mutation_tries: int = 50
    clone_unique: float = 0.16  # probability that an offspring's shared module becomes unique
    elimination: float = 0.5  # probability that an offspring worse than its target is dropped
    immigration: float = 0.05  # probability at first, falling to 0

    rates: Rates = field(default_factory=Rates)
    space: Space = field(default_factory=Space)

    def __post_init__(self):
        for key, hint in get_type_hints(type(self)).items():
            limits = _RANGES.get(key, (0, 1))
            value = PRESETS.checked(key, hint, getattr(self, key), *limits)
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
            tables[name] = {key: _as_tuple(value) for key, value in table.items()}
        for key, value in tables["space"].items():
            if not _is_like(value, getattr(Space(), key)):
                raise SettingsError(
                    f"space.{key} is {data['space'][key]!r}: give a value of the kind of "
                    f"{_as_list(getattr(Space(), key))!r}"
                )
        rates = {
            k: PRESETS.checked(f"rates.{k}", float, v, 0, 1) for k, v in tables["rates"].items()
        }
        return cls(**{**data, "space": Space(**tables["space"]), "rates": Rates(**rates)})

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

# Lowest and highest value; probabilities are those not named here.
_RANGES = {
    "train_images": (0, inf),
    "test_images": (0, inf),
    "validation": (0.001, 0.9),
    "generations": (1, inf),
    "warmup_generations": (0, inf),
    "population": (2, inf),
    "warmup_x": (1, inf),
    "sample": (1, inf),
    "batch_size": (2, inf),
    "validation_batch_size": (1, inf),
    "learning_rate": (1e-9, inf),
    "minimum_learning_rate": (1e-9, inf),
    "constant_generations": (0, inf),
    "minimum_batches": (1, inf),
    "maximum_batches": (0, inf),
    "tournament": (1, inf),
    "size_penalty": (0, inf),
    "max_parameters": (1, inf),
    "genotype_coefficient": (1e-9, inf),
    "coefficient_up": (1, inf),
    "coefficient_down": (0, 1),
    "coefficient_floor": (1e-9, inf),
    "keep_modules": (0, inf),
    "replacements": (1, inf),
    "passes": (1, inf),
    "low": (1, inf),
    "top": (0, inf),
    "random_tries": (1, inf),
    "crossover_tries": (1, inf),
    "mutation_tries": (1, inf),
}


PRESETS = Presets("preset", "reuseprior.revolver", "presets", SettingsError)


def presets() -> list[str]:
    """The names of the presets: the eight runs of appendix C.2, `quick` and those for a CPU."""
    return PRESETS.names()


def _check_together(s: Settings) -> None:
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


def _as_tuple(value: Any) -> Any:
    return tuple(map(_as_tuple, value)) if isinstance(value, list) else value


def _as_list(value: Any) -> Any:
    return list(map(_as_list, value)) if isinstance(value, tuple) else value


def _is_like(value: Any, example: Any) -> bool:
    """Whether a value has the type of an example, and its members those of the example's."""
    if isinstance(example, float):
        return type(value) in (int, float)
    if type(value) is not type(example):
        return False
    if isinstance(example, dict):
        return all(type(inner) is int for inner in value.values())
    return not isinstance(example, tuple) or all(_is_like(inner, example[0]) for inner in value)
