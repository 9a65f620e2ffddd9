"""Protocols: how a model is trained, as data.

A protocol is a TOML file in `protocols/`, or one of your own: every key is a field of `Protocol`.
A table `[models.NAME]` holds what differs for one model, such as its image size.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from math import cos, floor, pi
from pathlib import Path
from typing import Annotated, Literal

from reuseprior.errors import UserError
from reuseprior.models import catalog
from reuseprior.models.catalog import OPTIONS
from reuseprior.presets import Presets

Count = Annotated[int, 1, 10**9]
Whole = Annotated[int, 0, 10**9]
Amount = Annotated[float, 0, 10**6]
Part = Annotated[float, 0, 1]
Pixels = Annotated[int, 0, 16_384]  # a side


class ProtocolError(UserError):
    """A protocol that cannot be read; the message names the key, its value and the mend."""


@dataclass(frozen=True)
class Protocol:
    """Everything that decides a training, apart from the model, the data and the seed.

    A new field's default is what was done before there was one, so that older records compare.

    >>> Protocol.load("thesis").learning_rate
    0.016
    >>> Protocol.load("thesis", model="efficientnetv2-s").image_size
    300
    >>> Protocol.load("quick", epochs=2).epochs
    2
    """

    name: str = "custom"

    epochs: Count = 10
    batch_size: Count = 128  # images a step, over all processes

    optimizer: Literal["rmsprop", "sgd", "adamw"] = "rmsprop"
    momentum: Part = 0.9  # AdamW's β1
    decay: Part = 0.9  # of RMSprop's mean square
    epsilon: Amount = 1e-3  # of RMSprop, inside the square root
    learning_rate: Amount = 0.016  # for 256 images; it grows in proportion to the batch
    warmup_epochs: Amount = 0.0  # from zero, in a straight line
    schedule: Literal["exponential", "cosine", "one_cycle", "steps", "linear", "constant"] = (
        "constant"
    )
    step_epochs: Amount = 0.0  # of the schedule `steps`: from fall to fall
    step_factor: Part = 1.0  # what the rate falls to each time
    weight_decay: Amount = 0.0  # of tensors with more than one dimension: no bias, no batch norm
    ema_decay: Part = 0.0  # of the averaged weights that are evaluated; 0: no average
    label_smoothing: Part = 0.0
    gradient_clip: Amount = 0.0  # largest norm of all gradients together; 0: no clipping

    image_size: Pixels = 0  # pixels a side in training; 0: as the data have them
    test_image_size: Pixels = 0  # 0: as in training
    start_image_size: Pixels = 0  # of the first stage, for progressive training
    stages: Annotated[int, 1, 10_000] = 1  # stages of equal length, up to image_size
    channels: Annotated[int, 1, 100_000] = 3  # images of one channel are repeated to as many
    augmentation: Literal["none", "flip", "flip_crop", "randaugment", "autoaugment"] = "none"
    mixup_alpha: Amount = 0.0  # of Beta(α, α), the proportion of two blended images; 0: no mixup
    cutmix_alpha: Amount = 0.0  # the same for pasted rectangles; with both a coin decides

    precision: Literal["float32", "bfloat16"] = "float32"
    channels_last: bool = False
    compile: bool = False
    small_maps: bool = False  # on processors, convolve maps of a few pixels by products
    checkpoint_every: Count = 1  # epochs
    patience: Whole = 0  # epochs without a better validation score that end a training; 0: none
    test_every: Whole = 1  # epochs between looks at the test images; 0: after the last one alone
    workers: Annotated[int, 0, 1024] = 4  # processes that read image folders

    # what the model is built with, where it takes it
    dropout: Part = OPTIONS["dropout"]
    survival: Part = OPTIONS["survival"]  # chance that the last block's residual branch is kept
    bn_momentum: Part = OPTIONS["bn_momentum"]  # torch's: 0.01 is TensorFlow's 0.99
    width: Annotated[float, 0, 100] = OPTIONS["width"]

    train_images: Whole = 0  # a subset of equal classes; 0: all
    test_images: Whole = 0
    validation: Part = 0.0  # part of the training images that is held out

    def __post_init__(self):
        PRESETS.conform(self)
        _check_together(self)

    @classmethod
    def load(
        cls, name_or_path: str | Path, /, *, model: str | None = None, **overrides
    ) -> Protocol:
        """A protocol by name (`names()`) or from a TOML file, with some fields replaced.

        `model` names the `[models.NAME]` table to apply; short names of the catalogue mean the
        same (V2-S). What a protocol says of all models and this one is built without, as a width,
        is at rest. Raises `ProtocolError` for a missing file, a key that no protocol has, a value
        of another type or out of range, and all of these in any table, of another model as well;
        `ModelError` where the catalogue does not know `model`.
        """
        content, where = PRESETS.read(name_or_path)
        variants = _variants(content.pop("models", {}), where)
        content = {"name": Path(name_or_path).stem} | content
        _check_keys(content, where)
        for name, table in variants.items():
            _check_keys(table, f"[models.{name}] in {where}")
            cls._of(f"[models.{name}] in {where}", content | table)
        of_model = variants.get(_model_name(model), {}) if model else {}
        if model:
            taken = () if ":" in model else catalog.find(model).options or ()
            of_model = {key: rest for key, rest in OPTIONS.items() if key not in taken} | of_model
        return cls._of(where, content | of_model).changed(overrides)

    @classmethod
    def _of(cls, where: str, values: Mapping[str, object]) -> Protocol:
        try:
            return cls(**values)
        except ProtocolError as error:
            raise ProtocolError(f"{where}: {error}") from error

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


PRESETS = Presets("protocol", "reuseprior.training", "protocols", ProtocolError)


def names() -> list[str]:
    """The protocols of the package, such as `quick` and `thesis`."""
    return PRESETS.names()


def _variants(tables, where: str) -> dict[str, dict]:
    """The `[models.NAME]` tables by the catalogue's names of the models."""
    if not isinstance(tables, dict) or not all(isinstance(t, dict) for t in tables.values()):
        raise ProtocolError(f"models in {where} must hold tables: write [models.NAME]")
    by_model = {}
    for name, table in tables.items():
        try:
            model = _model_name(name)
        except catalog.ModelError as error:
            raise ProtocolError(f"[models.{name}] in {where}: {error}") from error
        if model in by_model:
            raise ProtocolError(f"{where} has two tables for {model}: write one [models.{model}]")
        by_model[model] = table
    return by_model


def _model_name(name: str) -> str:
    """As the catalogue has it; models from elsewhere keep theirs, and are not looked for."""
    return name if ":" in name else catalog.find(name).name


def _check_keys(keys: Iterable[str], source: str) -> None:
    PRESETS.check_keys(keys, (field.name for field in fields(Protocol)), source)


def _check_together(protocol: Protocol) -> None:
    p = protocol
    PRESETS.check_name(p.name)
    if {p.step_epochs > 0, 0 < p.step_factor < 1} != {p.schedule == "steps"}:
        raise ProtocolError(
            f"schedule is {p.schedule!r}, step_epochs {p.step_epochs} and step_factor "
            f"{p.step_factor}: the schedule 'steps' needs step_epochs above 0 and a step_factor "
            "between 0 and 1, and others leave them at 0 and 1"
        )
    if p.compile and p.small_maps:
        raise ProtocolError(
            "compile is true and small_maps too, which are not tested together: set one of them "
            "to false"
        )
    if p.patience and p.ema_decay:
        raise ProtocolError(
            f"patience is {p.patience} and ema_decay {p.ema_decay}: the weights that are kept are "
            "the best epoch's or the averaged ones, so set one of them to 0"
        )
    if (p.stages > 1) != (p.start_image_size > 0) or p.start_image_size > p.image_size:
        raise ProtocolError(
            f"stages is {p.stages}, start_image_size {p.start_image_size} and image_size "
            f"{p.image_size}: progressive training needs 2 or more stages and "
            "0 < start_image_size <= image_size; without it leave stages at 1 and "
            "start_image_size at 0"
        )


RISE = 0.3  # part of all epochs in which the rate rises
FIRST = 1 / 25  # of the peak
LAST = FIRST / 1e4

DECAY_FACTOR = 0.97  # of the exponential schedule, every DECAY_EPOCHS (Tan & Le 2021)
DECAY_EPOCHS = 2.4


def learning_rate(protocol: Protocol, epoch: float) -> float:
    """The learning rate after `epoch` epochs, a fraction within one.

    >>> p = Protocol(batch_size=512, learning_rate=0.016, schedule="exponential", warmup_epochs=5)
    >>> [round(learning_rate(p, e), 6) for e in (0, 2.5, 5, 300)]
    [0.0, 0.016, 0.030109, 0.000711]

    As in the official implementation of EfficientNetV2: the rate is in proportion to the batch,
    the exponential schedule falls in steps, and all schedules run from epoch 0, so that a
    warm-up covers their beginning. Two are otherwise: one cycle (Smith & Topin 2018) needs none,
    for it rises itself, and the linear one falls from the warm-up's end to 0, as BERT's does.
    """
    peak = protocol.learning_rate * protocol.batch_size / 256
    if epoch < protocol.warmup_epochs:
        return peak * epoch / protocol.warmup_epochs
    if protocol.schedule == "exponential":
        return peak * DECAY_FACTOR ** floor(epoch / DECAY_EPOCHS)
    if protocol.schedule == "cosine":
        return peak * (1 + cos(pi * epoch / protocol.epochs)) / 2
    if protocol.schedule == "steps":
        return peak * protocol.step_factor ** floor(epoch / protocol.step_epochs)
    if protocol.schedule == "linear":
        left = protocol.epochs - epoch
        return peak * left / (protocol.epochs - protocol.warmup_epochs)
    if protocol.schedule == "one_cycle":
        return peak * _one_cycle(epoch / protocol.epochs)
    return peak


def _one_cycle(done: float) -> float:
    """The part of the peak rate when so much of a training is done: half a cosine up, one down."""
    if done < RISE:
        return 1 + (FIRST - 1) * (1 + cos(pi * done / RISE)) / 2
    return LAST + (1 - LAST) * (1 + cos(pi * (done - RISE) / (1 - RISE))) / 2


def image_size(protocol: Protocol, epoch: int) -> int:
    """Pixels a side in an epoch; grows from stage to stage in progressive training.

    >>> p = Protocol(epochs=4, start_image_size=128, image_size=192, stages=2)
    >>> [image_size(p, e) for e in range(4)]
    [128, 128, 192, 192]
    """
    if protocol.stages == 1:
        return protocol.image_size
    stage = min(epoch * protocol.stages // protocol.epochs, protocol.stages - 1)
    grown = (protocol.image_size - protocol.start_image_size) * stage / (protocol.stages - 1)
    return protocol.start_image_size + int(grown)


def average_decay(protocol: Protocol, step: int) -> float:
    """The decay of the averaged weights, after `step` steps.

    >>> p = Protocol(ema_decay=0.9999)
    >>> average_decay(p, 0), average_decay(p, 90), average_decay(p, 10**6)
    (0.1, 0.91, 0.9999)

    It begins small, as TensorFlow's with `num_updates`, so that the first, untrained weights are
    soon forgotten.
    """
    return min(protocol.ema_decay, (1 + step) / (10 + step))
