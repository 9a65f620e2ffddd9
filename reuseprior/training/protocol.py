"""Protocols: how a model is trained, as data.

A protocol is a TOML file in `protocols/`, or one of your own: every key is a field of `Protocol`.
A table `[models.NAME]` holds what differs for one model, such as its image size.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from math import inf
from pathlib import Path
from typing import Literal, get_type_hints

from reuseprior.errors import UserError
from reuseprior.models import catalog
from reuseprior.presets import Presets, shown


class ProtocolError(UserError):
    """A protocol that cannot be read; the message names the key, its value and the mend."""


@dataclass(frozen=True)
class Protocol:
    """Everything that decides a training, apart from the model, the data and the seed.

    >>> Protocol.load("thesis").learning_rate
    0.016
    >>> Protocol.load("thesis", model="efficientnetv2-s").image_size
    300
    >>> Protocol.load("quick", epochs=2).epochs
    2
    """

    name: str = "custom"

    epochs: int = 10
    batch_size: int = 128  # images a step, over all processes

    optimizer: Literal["rmsprop", "sgd", "adamw"] = "rmsprop"
    momentum: float = 0.9  # AdamW's β1
    decay: float = 0.9  # of RMSprop's mean square
    epsilon: float = 1e-3  # of RMSprop, inside the square root
    learning_rate: float = 0.016  # for 256 images; it grows in proportion to the batch
    warmup_epochs: float = 0.0  # from zero, in a straight line
    schedule: Literal["exponential", "cosine", "one_cycle", "constant"] = "constant"
    weight_decay: float = 0.0  # of tensors with more than one dimension: no bias, no batch norm
    ema_decay: float = 0.0  # of the averaged weights that are evaluated; 0: no average
    label_smoothing: float = 0.0
    gradient_clip: float = 0.0  # largest norm of all gradients together; 0: no clipping

    image_size: int = 0  # pixels a side in training; 0: as the data have them
    test_image_size: int = 0  # 0: as in training
    start_image_size: int = 0  # of the first stage, for progressive training
    stages: int = 1  # stages of equal length, up to image_size
    channels: int = 3  # images of one channel are repeated to as many
    augmentation: Literal["none", "flip", "flip_crop", "randaugment", "autoaugment"] = "none"
    mixup_alpha: float = 0.0  # of Beta(α, α), the proportion of two blended images; 0: no mixup
    cutmix_alpha: float = 0.0  # the same for pasted rectangles; with both a coin decides

    precision: Literal["float32", "bfloat16"] = "float32"
    channels_last: bool = False
    compile: bool = False
    checkpoint_every: int = 1  # epochs
    test_every: int = 1  # epochs between looks at the test images; 0: after the last one alone
    workers: int = 4  # processes that read image folders

    # what the model is built with, where it takes it
    dropout: float = 0.0
    survival: float = 1.0  # probability that a residual branch is kept, of the last block
    bn_momentum: float = 0.01  # torch's: 0.01 is TensorFlow's 0.99
    width: float = 1.0

    train_images: int = 0  # a subset of equal classes; 0: all
    test_images: int = 0
    validation: float = 0.0  # part of the training images that is held out

    def __post_init__(self):
        for field, hint in get_type_hints(type(self)).items():
            value = PRESETS.checked(field, hint, getattr(self, field), *RANGES.get(field, ()))
            object.__setattr__(self, field, value)
        _check_together(self)

    @classmethod
    def load(
        cls, name_or_path: str | Path, /, *, model: str | None = None, **overrides
    ) -> Protocol:
        """A protocol by name (`names()`) or from a TOML file, with some fields replaced.

        `model` names the `[models.NAME]` table to apply; short names of the catalogue mean the
        same (V2-S). Raises `ProtocolError` for a missing file, a key that no protocol has, a value
        of another type or out of range, and all of these in any table, of another model as well;
        `ModelError` where the catalogue does not know `model`.
        """
        found, where = PRESETS.read(name_or_path)
        variants = _variants(found.pop("models", {}), where)
        found = {"name": Path(name_or_path).stem} | found
        _check_keys(found, where)
        for name, table in variants.items():
            _check_keys(table, f"[models.{name}] in {where}")
            cls(**found | table)
        own = variants.get(_model_name(model), {}) if model else {}
        return cls(**found | own).changed(overrides)

    def changed(self, changes: Mapping[str, object]) -> Protocol:
        """The protocol with some fields replaced; raises `ProtocolError` as `load` does."""
        _check_keys(changes, "what was set")
        return replace(self, **changes)

    def differences(self, other: Protocol) -> dict[str, object]:
        """The fields of this protocol that `other` has otherwise.

        >>> Protocol.load("quick", epochs=2).differences(Protocol.load("quick"))
        {'epochs': 2}
        """
        theirs = asdict(other)
        return {key: value for key, value in asdict(self).items() if value != theirs[key]}


NAME = re.compile(r"\w[\w .+-]*")

# Lowest and highest value.
RANGES = {
    "epochs": (1, inf),
    "batch_size": (1, inf),
    "momentum": (0, 1),
    "decay": (0, 1),
    "epsilon": (0, inf),
    "learning_rate": (0, inf),
    "warmup_epochs": (0, inf),
    "weight_decay": (0, inf),
    "ema_decay": (0, 1),
    "label_smoothing": (0, 1),
    "gradient_clip": (0, inf),
    "image_size": (0, inf),
    "test_image_size": (0, inf),
    "start_image_size": (0, inf),
    "stages": (1, inf),
    "channels": (1, inf),
    "mixup_alpha": (0, inf),
    "cutmix_alpha": (0, inf),
    "checkpoint_every": (1, inf),
    "test_every": (0, inf),
    "workers": (0, inf),
    "dropout": (0, 1),
    "survival": (0, 1),
    "bn_momentum": (0, 1),
    "width": (0, 100),
    "train_images": (0, inf),
    "test_images": (0, inf),
    "validation": (0, 1),
}


PRESETS = Presets("protocol", "reuseprior.training", "protocols", ProtocolError)


def names() -> list[str]:
    """The protocols of the package, such as `quick` and `thesis`."""
    return PRESETS.names()


def _variants(tables, where: str) -> dict[str, dict]:
    """The `[models.NAME]` tables by the catalogue's names of the models."""
    if not isinstance(tables, dict) or not all(isinstance(t, dict) for t in tables.values()):
        raise ProtocolError(f"models in {where} must hold tables: write [models.NAME]")
    found = {}
    for name, table in tables.items():
        try:
            own = _model_name(name)
        except catalog.ModelError as error:
            raise ProtocolError(f"[models.{name}] in {where}: {error}") from error
        if own in found:
            raise ProtocolError(f"{where} has two tables for {own}: write one [models.{own}]")
        found[own] = table
    return found


def _model_name(name: str) -> str:
    """As the catalogue has it; models from elsewhere keep theirs, and are not looked for."""
    return name if ":" in name else catalog.find(name).name


def _check_keys(given: Iterable[str], source: str) -> None:
    PRESETS.check_keys(given, (field.name for field in fields(Protocol)), source)


def _check_together(protocol: Protocol) -> None:
    p = protocol
    if not NAME.fullmatch(p.name):
        raise ProtocolError(
            f"name is {shown(p.name)}: it becomes part of a folder's name, so it must begin "
            "with a letter or digit and hold nothing else but spaces, dots, - and _"
        )
    if (p.stages > 1) != (p.start_image_size > 0) or p.start_image_size > p.image_size:
        raise ProtocolError(
            f"stages is {p.stages}, start_image_size {p.start_image_size} and image_size "
            f"{p.image_size}: progressive training needs 2 or more stages and "
            "0 < start_image_size <= image_size; without it leave stages at 1 and "
            "start_image_size at 0"
        )
