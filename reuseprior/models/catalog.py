"""Models by name: the package's own, torchvision's, timm's, transformers' and yours."""

import importlib
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from operator import attrgetter
from textwrap import shorten

import torch
from torch import nn

from reuseprior.errors import UserError, did_you_mean, shown
from reuseprior.models import flexibert, hf, nas_bench_201, nas_bench_macro, random_cells, transnas
from reuseprior.models.darts import GENOTYPES, darts
from reuseprior.models.efficientnet_v2 import efficientnet_v2
from reuseprior.models.errors import ModelError
from reuseprior.models.lazy import without_weights
from reuseprior.models.resnets import (
    cifar_resnet,
    densenet_bc,
    resnet50_v1,
    wide_resnet,
    wide_resnet50_2,
)
from reuseprior.models.separable import (
    cifar_mobilenet,
    cifar_resnet18,
    cifar_xception,
    vs_xception,
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

# Image sizes are those the models were published at; the thesis counted ResNet-50 at 384.
_ENTRIES = [
    CatalogEntry("efficientnetv2-b0", partial(efficientnet_v2, "b0"), 224, _V2_OPTIONS),
    CatalogEntry("efficientnetv2-b1", partial(efficientnet_v2, "b1"), 240, _V2_OPTIONS),
    CatalogEntry("efficientnetv2-b2", partial(efficientnet_v2, "b2"), 260, _V2_OPTIONS),
    CatalogEntry("efficientnetv2-b3", partial(efficientnet_v2, "b3"), 300, _V2_OPTIONS),
    CatalogEntry("efficientnetv2-s", partial(efficientnet_v2, "s"), 384, _V2_OPTIONS),
    CatalogEntry("efficientnetv2-m", partial(efficientnet_v2, "m"), 480, _V2_OPTIONS),
    CatalogEntry("efficientnetv2-l", partial(efficientnet_v2, "l"), 480, _V2_OPTIONS),
    CatalogEntry("resnet50-v1", resnet50_v1, 384),
    *(
        CatalogEntry(
            f"resnet{depth}-cifar", partial(cifar_resnet, depth), CIFAR_SIZE, _CIFAR_OPTIONS
        )
        for depth in (20, 32, 56, 110)
    ),
    *(
        CatalogEntry(
            f"wrn-{depth}-{widening}",
            partial(wide_resnet, depth, widening),
            CIFAR_SIZE,
            _CIFAR_OPTIONS,
        )
        for depth, widening in WIDE_RESNETS
    ),
    CatalogEntry("wrn-50-2", wide_resnet50_2, 224, ()),
    CatalogEntry("densenet-bc-190-40", partial(densenet_bc, 190, 40), CIFAR_SIZE, ()),
    *(
        CatalogEntry(f"darts-{order}-order", partial(darts, order), CIFAR_SIZE, ())
        for order in GENOTYPES
    ),
    *(
        CatalogEntry(name, factory, CIFAR_SIZE, _CIFAR_OPTIONS)
        for name, factory in (
            ("xception-cifar", cifar_xception),
            ("vs-xception", vs_xception),
            ("mobilenet-cifar", cifar_mobilenet),
            ("resnet18-cifar", cifar_resnet18),
        )
    ),
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
    found = sorted(name for name in known if fnmatchcase(name, wanted))
    if not found:
        raise ModelError(
            f"no model matches {pattern!r}: there are {len(known)} names to match, such as "
            f"{known[0]!r}"
        )
    return found


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


def _timm_names(model: str) -> list[str]:
    return _import_timm(model).list_models()


def _import_timm(model: str):
    try:
        import timm
    except ModuleNotFoundError as error:
        raise ModelError(f"model {model!r} needs timm: pip install timm") from error
    return timm


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


def _nas_bench_201(name: str, cell: str) -> CatalogEntry:
    nas_bench_201.parse(cell)
    return CatalogEntry(name, partial(nas_bench_201.nas_bench_201, cell), CIFAR_SIZE)


def _nas_bench_macro(name: str, digits: str) -> CatalogEntry:
    nas_bench_macro.check(digits)
    return CatalogEntry(name, partial(nas_bench_macro.nas_bench_macro, digits), CIFAR_SIZE)


def _transnas_macro(name: str, modules: str) -> CatalogEntry:
    transnas.check_macro(modules)
    return CatalogEntry(name, partial(transnas.transnas_macro, modules), transnas.IMAGE_SIZE)


def _transnas_micro(name: str, cell: str) -> CatalogEntry:
    transnas.check_micro(cell)
    return CatalogEntry(name, partial(transnas.transnas_micro, cell), transnas.IMAGE_SIZE)


def _random_cells(name: str, number: str) -> CatalogEntry:
    return CatalogEntry(
        name, partial(random_cells.random_cells, random_cells.parse(number)), CIFAR_SIZE
    )


def _flexibert(name: str, encoder: str) -> CatalogEntry:
    flexibert.parse(encoder)
    return CatalogEntry(name, partial(flexibert.flexibert, encoder))


_SOURCES = {
    "torchvision": _torchvision,
    "timm": _timm,
    "hf": _hf,
    "nas-bench-201": _nas_bench_201,
    "nas-bench-macro": _nas_bench_macro,
    "transnas-macro": _transnas_macro,
    "transnas-micro": _transnas_micro,
    "flexibert": _flexibert,
    "random-cells": _random_cells,
}
_LISTS = {
    "": lambda _model: names(),
    "torchvision": _torchvision_names,
    "timm": _timm_names,
    "hf": hf.names,
    "nas-bench-201": lambda _model: nas_bench_201.codes(),
    "nas-bench-macro": lambda _model: nas_bench_macro.codes(),
    "transnas-macro": lambda _model: transnas.macro_codes(),
    "transnas-micro": lambda _model: transnas.micro_codes(),
}


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
