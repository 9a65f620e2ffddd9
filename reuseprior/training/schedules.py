"""Learning rates, image sizes and averaging over the course of a training."""

from __future__ import annotations

from math import cos, floor, pi

from reuseprior.training.protocol import Protocol

# The shape of one cycle, as torch's OneCycleLR has it.
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
