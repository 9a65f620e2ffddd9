"""Recipes: everything that decides a model before it is trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from reuseprior import sharing
from reuseprior.models import catalog
from reuseprior.models.errors import ModelError
from reuseprior.models.lazy import without_weights

# What a protocol may set for the models that take it, and what changes nothing.
OPTIONS = {"dropout": 0.0, "survival": 1.0, "bn_momentum": 0.01, "width": 1.0}


@dataclass(frozen=True)
class Recipe:
    """A model by name, with the layers that share, the number of classes, its options and a seed.

    ```python
    recipe = Recipe("V2-B0", sharing="all_but_bn", classes=10, options={"width": 0.25}, seed=1)
    model = recipe.build()  # the same weights each time
    counted = recipe.build(lazy=True)  # without storage for any
    ```

    In a run's `config.json` it stands as `model`, `sharing`, `classes` and `seed`, with the options
    among the keys of `protocol`; `recorded` reads it from there.
    """

    name: str  # as `catalog.find` takes it
    sharing: str = "none"  # as `sharing.apply` takes it
    classes: int | None = None  # None, and of a model from elsewhere: as the model has them
    options: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0  # of the initial weights
    factory: Callable[..., nn.Module] | None = None  # of a model that the catalogue lacks

    @classmethod
    def of(cls, name: str, settings: Mapping[str, Any], **rest) -> Recipe:
        """The recipe whose options are those of `settings`, a protocol's, that the model takes.

        Raises `ModelError` for an unknown name, and where the protocol sets what would do nothing.
        """
        entry = catalog.find(name)
        taken = entry.options or ()
        ignored = [k for k, own in OPTIONS.items() if k not in taken and settings[k] != own]
        if ignored:
            given = ", ".join(f"{key} = {settings[key]}" for key in ignored)
            mend = " ".join(f"--set {key}={OPTIONS[key]}" for key in ignored)
            raise ModelError(
                f"{given} in protocol {settings['name']!r} would do nothing, as {entry.name} is "
                f"built without: train it with {mend}"
            )
        return cls(entry.name, options={key: settings[key] for key in taken}, **rest)

    @classmethod
    def recorded(cls, config: Mapping[str, Any]) -> Recipe:
        """The recipe of the run whose `config.json` this is."""
        rest = {"sharing": config["sharing"], "seed": config["seed"]}
        settings = OPTIONS | config["protocol"]  # what an older package did not know was at rest
        return cls.of(config["model"], settings, classes=config.get("classes"), **rest)

    def about(self) -> dict[str, str]:
        """What `config.json` says of it beside the data, the seed and the protocol."""
        return {"model": self.name, "sharing": self.sharing}

    def build(self, *, lazy: bool = False) -> nn.Module:
        """A new model that shares, by default with weights that the seed decides.

        Leaves the caller's random numbers alone. Raises `ModelError` as `catalog.build` does, and
        `SharingError` as `sharing.apply`.
        """
        with torch.random.fork_rng(), without_weights() if lazy else nullcontext():
            torch.manual_seed(self.seed)
            return sharing.apply(self._build(lazy), self.sharing)

    def _build(self, lazy: bool) -> nn.Module:
        entry = None if self.factory else catalog.find(self.name)
        if entry and entry.options is None:
            if self.options:
                raise ModelError(
                    f"options {dict(self.options)} are given and {self.name} is built without any: "
                    "leave them out"
                )
            return catalog.build(self.name, lazy=lazy)
        classes = {} if self.classes is None else {"num_classes": self.classes}
        return (self.factory or entry.factory)(**classes, **self.options)
