"""Models by name: ours, torchvision's, timm's, transformers' and yours; configs of models."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import partial
from operator import attrgetter
from textwrap import shorten
from typing import Any

import torch
from torch import nn

from reuseprior import sharing
from reuseprior.errors import UserError, did_you_mean, shown
from reuseprior.models import flexibert, hf, nas_bench
from reuseprior.models.darts import GENOTYPES, darts
from reuseprior.models.efficientnet_v2 import efficientnet_v2
from reuseprior.models.errors import ModelError, needed
from reuseprior.models.lazy import without_weights
from reuseprior.models.resnets import (
    cifar_mobilenet,
    cifar_resnet,
    cifar_resnet18,
    cifar_xception,
    densenet_bc,
    resnet50_v1,
    vs_xception,
    wide_resnet,
    wide_resnet50_2,
)

DEFAULT_IMAGE_SIZE = 224  # pixels a side, where nothing says otherwise
CIFAR_SIZE = 32


@dataclass(frozen=True)
class CatalogEntry:
    """What a name stands for."""

    name: str
    factory: Callable[[], nn.Module]
    image_size: int = DEFAULT_IMAGE_SIZE  # pixels a side
    # What the factory takes besides num_classes; None: it is called without arguments.
    options: tuple[str, ...] | None = None
    own: bool = False  # the caller's own code, whose imports may lie in the current folder
    tokens: tuple[str, ...] = ()  # its arguments that are token ids, if it takes no image
    output: str | None = None  # the part of its output that counts, if not all


_V2_OPTIONS = ("width", "dropout", "survival", "bn_momentum")
_CIFAR_OPTIONS = ("width", "bn_momentum")
# Those of Neural Parameter Allocation Search, and the shallowest, to be compared with.
WIDE_RESNETS = ((28, 10), (40, 10), (52, 10), (76, 12), (28, 4), (28, 2), (16, 2), (10, 2))


def _cifar(name: str, factory: Callable, *arguments) -> CatalogEntry:
    return CatalogEntry(name, partial(factory, *arguments), CIFAR_SIZE, _CIFAR_OPTIONS)


# Image sizes are those the models were published at; the thesis counted ResNet-50 at 384.
_V2_SIZES = {"b0": 224, "b1": 240, "b2": 260, "b3": 300, "s": 384, "m": 480, "l": 480}
_ENTRIES = [
    *(
        CatalogEntry(f"efficientnetv2-{size}", partial(efficientnet_v2, size), side, _V2_OPTIONS)
        for size, side in _V2_SIZES.items()
    ),
    CatalogEntry("resnet50-v1", resnet50_v1, 384),
    *(_cifar(f"resnet{depth}-cifar", cifar_resnet, depth) for depth in (20, 32, 56, 110)),
    *(_cifar(f"wrn-{depth}-{wide}", wide_resnet, depth, wide) for depth, wide in WIDE_RESNETS),
    CatalogEntry("wrn-50-2", wide_resnet50_2, 224, ()),
    CatalogEntry("densenet-bc-190-40", partial(densenet_bc, 190, 40), CIFAR_SIZE, ()),
    *(
        CatalogEntry(f"darts-{order}-order", partial(darts, order), CIFAR_SIZE, ())
        for order in GENOTYPES
    ),
    _cifar("xception-cifar", cifar_xception),
    _cifar("vs-xception", vs_xception),
    _cifar("mobilenet-cifar", cifar_mobilenet),
    _cifar("resnet18-cifar", cifar_resnet18),
]
_CATALOG = {entry.name: entry for entry in _ENTRIES}
# The thesis's tables say V2-B0 and ResNet-50.
_SHORT_NAMES = {name.replace("efficientnetv2", "v2"): name for name in _CATALOG} | {
    "resnet-50": "resnet50-v1"
}


def names() -> list[str]:
    """The names of the package's own models: `efficientnetv2-b0` … `darts-second-order`."""
    return list(_CATALOG)


def short_names() -> dict[str, str]:
    """The names that the thesis has for some of them, by `names()`: V2-B0, ResNet-50."""
    return {name: _printed(short) for short, name in _SHORT_NAMES.items() if short != name}


def _printed(short: str) -> str:
    return short.upper().replace("RESNET", "ResNet")


def image_size(name: str) -> int:
    """Pixels a side of the square images a model is made for: `image_size("V2-B1")` is 240."""
    return find(name).image_size


def build(name: str, *, lazy: bool = True) -> nn.Module:
    """A new model by name, by default without storage for its weights.

    ```python
    model = build("V2-L")
    sum(p.numel() for p in model.parameters())  # 118_515_272
    build("torchvision:swin_t"), build("timm:vit_tiny_patch16_224"), build("my_nets:tiny")
    ```

    See `find` for the names. With `lazy=False` the weights are real and initialised. A lazy build
    leaves the caller's random numbers alone. The few constructors that need their own weights
    (timm's hybrids try themselves on an image) get them even when built lazily.

    Raises `ModelError` as `find` does, and where the factory returns something else than a module.
    """
    entry = find(name)
    with _importable_from_here() if entry.own else nullcontext():
        model = _build_without_weights(entry) if lazy else entry.factory()
    if not isinstance(model, nn.Module):
        raise ModelError(
            f"model {name!r} returned a {type(model).__name__}: it must return a torch.nn.Module"
        )
    return model


@contextmanager
def told_in_a_sentence(name: str) -> Iterator[None]:
    """Raise ModelError for whatever the user's code raises as the model `name` is built."""
    try:
        yield
    except UserError:
        raise
    except (Exception, SystemExit) as error:  # a factory may fail in any way
        raise ModelError(
            f"model {name!r} cannot be built: {shorten(repr(error), 300, placeholder=' …')}"
        ) from error


def find(name: str) -> CatalogEntry:
    """Look a name up, without building anything.

    A name is one of `names()` or a short name of the thesis (`V2-B0`), in any case;
    `torchvision:NAME` for a torchvision classifier; `timm:NAME`; `hf:TYPE` or `hf:config.json` for
    transformers; `nas-bench-201:CELL`, `nas-bench-macro:DIGITS`, `transnas-macro:DIGITS`,
    `transnas-micro:CELL`, `flexibert:ENCODER`, `random-cells:NUMBER`; or
    `package.module:factory`, a callable without arguments, whose module
    may lie in the current folder. That folder is searched for such a module alone, and last: no
    file there stands in for an installed module.

    Raises `ModelError` for a name that leads nowhere.
    """
    if not isinstance(name, str):
        raise ModelError(
            f"a model's name is {shown(name)}: give a text such as 'V2-B0'; a module itself goes "
            "to count_contexts(module, shape)"
        )
    if ":" not in name:
        return _own(name)
    source, _, rest = name.partition(":")
    if source in _SOURCES:
        return _SOURCES[source](name, rest)
    return CatalogEntry(name, _imported(name, source, rest), own=True)


def matching(pattern: str) -> list[str]:
    """The names that a pattern of `*`, `?` and `[…]` stands for, sorted; a plain name is itself.

    >>> matching("torchvision:resnet1*")
    ['torchvision:resnet101', 'torchvision:resnet152', 'torchvision:resnet18']

    Patterns go through `names()` and the zoos. Raises `ModelError` for one that no name matches,
    and for one of a module, which cannot say what its factories are.
    """
    if not set(pattern) & set("*?["):
        return [pattern]
    source, colon, _ = pattern.rpartition(":")
    if source not in _LISTS:
        raise ModelError(
            f"the pattern {pattern!r} asks for the models of {source!r}, which cannot be listed: "
            f"patterns work after {', '.join(f'{s}:' for s in _SOURCES)} and on the names of "
            "`reuseprior models`"
        )
    known = [f"{source}{colon}{name}" for name in _LISTS[source](pattern)]
    wanted = pattern if source else pattern.lower()
    matches = sorted(name for name in known if fnmatchcase(name, wanted))
    if not matches:
        raise ModelError(
            f"no model matches {pattern!r}: there are {len(known)} names to match, such as "
            f"{known[0]!r}"
        )
    return matches


def _build_without_weights(entry: CatalogEntry):
    # Whatever goes wrong without weights either goes well with them or says what it is.
    with suppress(Exception), without_weights():
        return entry.factory()
    with torch.random.fork_rng(devices=[]):
        return entry.factory()


def _own(name: str) -> CatalogEntry:
    known = name.lower()
    known = _SHORT_NAMES.get(known, known)
    if known not in _CATALOG:
        raise ModelError(
            f"unknown model {name!r}{did_you_mean(known, [*_CATALOG, *_SHORT_NAMES])}: "
            "`reuseprior models` lists the names; write torchvision:NAME, timm:NAME, hf:TYPE or "
            "package.module:factory for other models"
        )
    return _CATALOG[known]


def _torchvision(name: str, known: str) -> CatalogEntry:
    from torchvision import models

    classifiers = _torchvision_names(name)
    if known not in classifiers:
        raise ModelError(
            f"torchvision has no classifier {known!r}{did_you_mean(known, classifiers)}: "
            "torchvision.models.list_models(module=torchvision.models) lists them"
        )
    options = {}
    if known in ("googlenet", "inception_v3"):
        options["init_weights"] = False  # theirs takes minutes, and warns when left to choose
    # Some weights were tuned at other sizes than the constructor's own, all of them larger.
    crops = [weights.transforms().crop_size[0] for weights in models.get_model_weights(known)]
    return CatalogEntry(name, partial(models.get_model, known, weights=None, **options), min(crops))


def _torchvision_names(_model: str) -> list[str]:
    from torchvision import models

    return models.list_models(module=models)


def _import_timm(model: str):
    return needed("timm", f"model {model!r} needs", "pip install timm")


def _timm(name: str, known: str) -> CatalogEntry:
    timm = _import_timm(name)
    if not timm.is_model(known):
        raise ModelError(
            f"timm has no model {known!r}{did_you_mean(known, timm.list_models())}: "
            "timm.list_models() lists them"
        )
    config = timm.get_pretrained_cfg(known)
    size = config.input_size[-1] if config else DEFAULT_IMAGE_SIZE
    return CatalogEntry(name, partial(timm.create_model, known, pretrained=False), size)


def _hf(name: str, known: str) -> CatalogEntry:
    config = hf.configuration(name, known)
    size = getattr(config, "image_size", DEFAULT_IMAGE_SIZE)
    size = size if isinstance(size, int) else DEFAULT_IMAGE_SIZE
    factory = partial(hf.build, config)
    return CatalogEntry(
        name, factory, size, tokens=hf.tokens_of(config), output=hf.output_of(config)
    )


# What refuses a text of a space, what builds the network of one, pixels a side, and all texts.
_SPACES = {
    "nas-bench-201": (nas_bench.parse, nas_bench.nas_bench_201, CIFAR_SIZE, nas_bench.codes),
    "nas-bench-macro": (
        nas_bench.check_nas_bench_macro, nas_bench.nas_bench_macro, CIFAR_SIZE,
        nas_bench.nas_bench_macro_codes,
    ),
    "transnas-macro": (
        nas_bench.check_transnas_macro, nas_bench.transnas_macro, nas_bench.IMAGE_SIZE,
        nas_bench.transnas_macro_codes,
    ),
    "transnas-micro": (
        nas_bench.check_transnas_micro, nas_bench.transnas_micro, nas_bench.IMAGE_SIZE,
        nas_bench.transnas_micro_codes,
    ),
    "flexibert": (flexibert.parse, flexibert.flexibert, DEFAULT_IMAGE_SIZE, None),
    "random-cells": (nas_bench.check_random, nas_bench.random_cells, CIFAR_SIZE, None),
}  # fmt: skip


def _of_space(name: str, text: str) -> CatalogEntry:
    check, build, size, _ = _SPACES[name.partition(":")[0]]
    check(text)
    return CatalogEntry(name, partial(build, text), size)


_SOURCES = {"torchvision": _torchvision, "timm": _timm, "hf": _hf}
_SOURCES |= dict.fromkeys(_SPACES, _of_space)
_LISTS = {  # all names after a prefix; a pattern is for the message
    "": lambda _: names(),
    "torchvision": _torchvision_names,
    "timm": lambda pattern: _import_timm(pattern).list_models(),
    "hf": hf.names,
}
_LISTS |= {space: lambda _, codes=codes: codes() for space, (*_, codes) in _SPACES.items() if codes}


def _imported(name: str, module_name: str, attribute: str) -> Callable[[], nn.Module]:
    try:
        with _importable_from_here():
            module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # an import runs the module, which may fail anyhow
        raise ModelError(
            f"cannot import {module_name!r} for model {name!r} ({error})"
            f"{did_you_mean(module_name, _SOURCES)}: run from the folder that "
            "holds the module, or install it"
        ) from error
    try:
        factory = attrgetter(attribute)(module)
    except AttributeError as error:
        raise ModelError(
            f"module {module_name!r} has no {attribute!r}"
            f"{did_you_mean(attribute, dir(module))}: model {name!r} must name a function in it "
            f"(it was found at {getattr(module, '__file__', None) or 'Python itself'})"
        ) from error
    _check_factory(name, factory)
    return factory


def _check_factory(name: str, factory) -> None:
    if not callable(factory):
        raise ModelError(
            f"model {name!r} is a {type(factory).__name__}: it must be a callable that returns "
            "a torch.nn.Module"
        )
    try:
        inspect.signature(factory).bind()
    except TypeError as error:
        raise ModelError(
            f"model {name!r} needs arguments ({error}): give a callable that needs none"
        ) from error


@contextmanager
def _importable_from_here() -> Iterator[None]:
    """Let imports find the current folder, after all that is installed."""
    path = list(sys.path)
    sys.path.append(os.getcwd())
    try:
        yield
    finally:
        sys.path[:] = path


# Model configs: everything that decides a model before it is trained ------------------------------

# What a protocol may set for the models that take it, and what changes nothing.
OPTIONS = {"dropout": 0.0, "survival": 1.0, "bn_momentum": 0.01, "width": 1.0}


@dataclass(frozen=True)
class ModelConfig:
    """A model by name, with the layers that share, the number of classes, its options and a seed.

    ```python
    config = ModelConfig("V2-B0", sharing="all_but_bn", classes=10, options={"width": 0.25}, seed=1)
    model = config.build()  # the same weights each time
    counted = config.build(lazy=True)  # without storage for any
    ```

    In a run's `config.json` it stands as `model`, `sharing`, `classes` and `seed`, with the options
    among the keys of `protocol`; `recorded` reads it from there.
    """

    name: str  # as `find` takes it
    sharing: str = "none"  # as `sharing.apply` takes it
    classes: int | None = None  # None, and of a model from elsewhere: as the model has them
    options: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0  # of the initial weights
    factory: Callable[..., nn.Module] | None = None  # of a model that the catalogue lacks

    @classmethod
    def of(cls, name: str, settings: Mapping[str, Any], **rest) -> ModelConfig:
        """The config whose options are those of `settings`, a protocol's, that the model takes.

        Raises `ModelError` for an unknown name, and where the protocol sets what would do nothing.
        """
        entry = find(name)
        taken = entry.options or ()
        ignored = [k for k, at_rest in OPTIONS.items() if k not in taken and settings[k] != at_rest]
        if ignored:
            values = ", ".join(f"{key} = {settings[key]}" for key in ignored)
            mend = " ".join(f"--set {key}={OPTIONS[key]}" for key in ignored)
            raise ModelError(
                f"{values} in protocol {settings['name']!r} would do nothing, as {entry.name} is "
                f"built without: train it with {mend}"
            )
        return cls(entry.name, options={key: settings[key] for key in taken}, **rest)

    @classmethod
    def recorded(cls, config: Mapping[str, Any]) -> ModelConfig:
        """The model config of the run whose `config.json` this is."""
        rest = {"sharing": config["sharing"], "seed": config["seed"]}
        settings = OPTIONS | config["protocol"]  # what an older package did not know was at rest
        return cls.of(config["model"], settings, classes=config.get("classes"), **rest)

    def about(self) -> dict[str, str]:
        """What `config.json` says of it beside the data, the seed and the protocol."""
        return {"model": self.name, "sharing": self.sharing}

    def build(self, *, lazy: bool = False) -> nn.Module:
        """A new model that shares, by default with weights that the seed decides.

        Leaves the caller's random numbers alone. Raises `ModelError` as `build` does, and
        `SharingError` as `sharing.apply`.
        """
        with torch.random.fork_rng(), without_weights() if lazy else nullcontext():
            torch.manual_seed(self.seed)
            return sharing.apply(self._build(lazy), self.sharing)

    def _build(self, lazy: bool) -> nn.Module:
        entry = None if self.factory else find(self.name)
        if entry and entry.options is None:
            if self.options:
                raise ModelError(
                    f"options {dict(self.options)} are given and {self.name} is built without any: "
                    "leave them out"
                )
            return build(self.name, lazy=lazy)
        classes = {} if self.classes is None else {"num_classes": self.classes}
        return (self.factory or entry.factory)(**classes, **self.options)
