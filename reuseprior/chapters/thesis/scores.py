"""Which recorded trainings bear on the accuracies that chapter 4 prints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from reuseprior.models import catalog
from reuseprior.report.runs import Evidence, settings
from reuseprior.training import Protocol

IMAGENET = {
    "epochs": 352, "batch_size": 400, "learning_rate": 0.025, "dropout": 0.075,
    "augmentation": "randaugment",
}  # fmt: skip
"""Section 4.5.4 on ImageNet-1K, where it differs from the protocol `thesis` and we can follow it.

Its four stages are not among these, as the size that the first begins with is not printed, nor is
RandAugment's magnitude of 2, as ours is fixed.
"""

STAGES = 4  # of a training on ImageNet-1K

NEEDS = "trainings of the full model at §4.5.4's protocol: days on a GPU each"


def score(base: str, shared: bool, data: str, printed: Mapping[str, object]) -> Evidence:
    """Top-1 accuracies, in per cent, of a model trained as section 4.5.4 says.

    `base` is the catalogue's name of the unshared model, `data` the data set's; `printed` are the
    settings that a table prints of the run, and go before the protocol's.
    """
    model = catalog.find(base).name
    protocol = settings(asdict(Protocol.load("thesis", model=model)), printed)
    if data == "imagenet":
        protocol |= {**IMAGENET, **printed, "stages": STAGES}
        del protocol["start_image_size"]  # which is not printed
    config = {
        "model": model,
        "sharing": "all_but_bn" if shared else "none",
        "data": data,
        "protocol": protocol,
    }
    return Evidence("train-thesis*", config, lambda runs: 100 * runs[0].summary["test_accuracy"])
