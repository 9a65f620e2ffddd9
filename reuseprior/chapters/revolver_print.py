"""Appendix C.4's and C.5's printed shapes, beside those that their own blocks give."""

from __future__ import annotations

import ast
import json
from collections import defaultdict
from collections.abc import Iterator
from copy import deepcopy
from decimal import Decimal
from typing import Any

import pandas as pd

from reuseprior import paths, revolver
from reuseprior.report import published, runs
from reuseprior.report.ledger import Cell, Entry, Interpretation, judged, setting
from reuseprior.report.published import Printed
from reuseprior.revolver import Settings, blueprints
from reuseprior.revolver.blueprints import Blueprint, BlueprintError, Path, infer, numbered, where

Value = int | float | str

COMMAND_LINE = {
    "search_mode": "mode",
    "dataset": "data",
    "batch_size": "batch_size",
    "sample_size": "sample",
    "epochs": "generations",
    "lr": "learning_rate",
    "min_lr": "minimum_learning_rate",
    "genotype_cost": "genotype_coefficient",
    "warmup_x": "warmup_x",
    "warmup_epoch": "warmup_generations",
    "population_size": "population",
}
"""What appendix C.2 calls our settings."""

PER_CENT = Decimal("0.01")

IN_TEXT: dict[str, tuple[str, Decimal | int]] = {
    "replacements": ("replacements", 1),
    "passes": ("passes", 1),
    "max-parameters": ("max_parameters", 1),
    "explore": ("explore", PER_CENT),
    "validation": ("validation", PER_CENT),
    "constant-generations": ("constant_generations", 1),
    "learning-rate": ("learning_rate", 1),
    "minimum-learning-rate": ("minimum_learning_rate", 1),
    "batch-mnist": ("batch_size", 1),
    "batch-cifar-10": ("batch_size", 1),
    "minimum-batches": ("minimum_batches", 1),
}
"""The rows of `chapter-3-text.csv` that are settings, and what ours are of what they print."""

FOR = {"batch-mnist": "mnist", "batch-cifar-10": "cifar10"}  # others are for both data sets

WIDTHS = {"mnist-random-width": "mnist-random", "mnist-evolve-width": "mnist-evolve"}
"""The rows of `appendix-c-text.csv` that are settings, and whose: the upper end of a range."""

OF_THE_DATA = ("image", "classes")  # which a search takes from its data, whatever a preset says


def command_lines() -> pd.DataFrame:
    """The printed settings of appendix C.2's searches, by our presets of them."""
    return published.load("thesis/appendix-c-2").set_index("preset")


def command_line(preset: str) -> dict[str, str]:
    """The printed settings of one of appendix C.2's searches."""
    return command_lines().loc[preset].to_dict()


def said(table: str, name: str) -> str:
    """What a row of a table of chapter 3's or appendix C's text prints, by the end of its id."""
    rows = published.load(f"thesis/{table}").set_index("id").value
    return rows[f"thesis-{'3' if table == 'chapter-3-text' else 'c'}-text-{name}"]


def number(text: str, unit: Decimal | int = 1) -> int | float:
    """A printed number as one of Python's."""
    value = Printed.parse(text).value * unit
    return int(value) if value == int(value) else float(value)


def protocol(preset: str) -> dict[str, Any]:
    """What `config.json` must say of the settings of a search at the printed protocol.

    That is the preset with every printed setting. A setting for which the source prints several
    values in several places is the list of them, which no run has.
    """
    printed = {
        key: values[0] if len(values) == 1 else values
        for key, values in printed_settings(preset).items()
    }
    config = runs.settings(Settings.load(preset).to_data(), printed)
    space = {key: value for key, value in config["space"].items() if key not in OF_THE_DATA}
    if preset in WIDTHS.values():
        (row,) = (row for row, its in WIDTHS.items() if its == preset)
        space["widths"] = list(range(1, number(said("appendix-c-text", row)) + 1))
    return {"settings": config | {"space": space}}


def printed_settings(preset: str) -> dict[str, list[Value]]:
    """Our settings that the source prints for a search, each with the values that it prints."""
    values: dict[str, list[Value]] = defaultdict(list)
    for key, value in _printed(preset):
        if value not in values[key]:
            values[key].append(value)
    return dict(values)


def _printed(preset: str) -> Iterator[tuple[str, Value]]:
    line = command_line(preset)
    data = line["dataset"].lower()
    for name, key in COMMAND_LINE.items():
        yield key, (data if key == "data" else line[name] if key == "mode" else number(line[name]))
    table = published.load("thesis/table-3-2").set_index("preset")
    yield "sample", number(table.sample_size[preset])
    text = published.load("thesis/chapter-3-text").set_index("id").value
    for name, (key, unit) in IN_TEXT.items():
        if FOR.get(name, data) == data:
            yield key, number(text[f"thesis-3-text-{name}"], unit)


FILE = "thesis/appendix-c4-blueprint.json"


def printed() -> dict[str, Any]:
    """The dictionary that appendix C.4 prints."""
    return json.loads((paths.PUBLISHED / FILE).read_text(encoding="utf-8"))


def example() -> Iterator[Entry]:
    """Appendix C.4: the input that we put in, every output shape, and what groups are named for."""
    data = printed()
    tree = from_thesis(_without_shapes(data))
    channels, size = _shape(data["input_shape"])
    row = _row("net", in_channels=channels, in_size=size)
    yield setting(row, "in_channels")
    yield setting(row, "in_size")
    yield from judged(_cells(data, tree))
    for path, part in _parts(data):
        if path.startswith("group"):
            yield from _named(path, part)


def _cells(data: dict[str, Any], tree: revolver.Blueprint) -> Iterator[Cell]:
    for path, part in _parts(data):
        node = tree.at(path) if path else tree
        row = _row(path or "net", **dict(zip(COLUMNS, _shape(part["output_shape"]), strict=False)))
        for column, value in zip(COLUMNS, node.output_shape, strict=False):
            if column in row:
                yield Cell(row, column, [Interpretation(value)])


COLUMNS = ("out_channels", "out_size")  # images are as wide as high


def _named(path: str, part: dict[str, Any]) -> Iterator[Entry]:
    """What a group's suffix asks for: channels in and out, kernel size, stride, and more."""
    _, channels, _, stride, *_ = part["suffix"].split("_")
    row = _row(path, named_channels=channels, named_stride=stride)
    note = (
        f"in the group's name, which says what was asked for: of depth {part['depth']} it has no "
        "blocks, and nothing changes the shape"
    )
    yield setting(row, "named_channels", note)
    yield setting(row, "named_stride", note)


def _parts(data: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The printed parts that print an output shape, by the path that they have in our tree."""
    unit = data["conv"]
    inner = {f"conv/{role}": unit[role] for role in _literal(unit["module_order"])}
    groups = {f"group{index}": group for index, group in enumerate(data["children"])}
    parts = {"": data, "conv": unit, **inner, **groups, "linear": data["linear"]}
    return ((path, part) for path, part in parts.items() if part["output_shape"] != "None")


def _without_shapes(data: dict[str, Any]) -> dict[str, Any]:
    """A copy without output shapes, so that all are inferred."""
    bare = deepcopy(data)
    for _, part in _parts(bare):
        part["output_shape"] = "None"
    return bare


def _shape(text: str) -> list[str]:
    """Channels and, of images, size: "(1, 16, 8, 8)" without the batch and the second side."""
    return [str(side) for side in _literal(text)[1:3]]


def _row(path: str, **columns: str) -> pd.Series:
    identity = f"thesis-c-4-{path.replace('/', '-')}"
    return pd.Series(
        {"id": identity, "source": "thesis", "where": "thesis, section C.4", **columns}
    )


def ensemble(row: pd.Series) -> tuple[int, ...]:
    """The output's shape of appendix C.5's mean of convolutions."""
    its = {column: number(row[column]) for column in (*ENSEMBLE, *ARGUMENTS)}
    x = (its["in_channels"], its["image"], its["image"])
    options = {name: its[name] for name in ARGUMENTS} | {"bias": False}
    convs = {
        f"conv{index}": revolver.assemble("conv", x, **options) for index in range(its["members"])
    }
    return revolver.assemble("ensemble_mean", x, convs).output_shape


ENSEMBLE = ("members", "image")  # what else the printed ensemble is built of
ARGUMENTS = ("in_channels", "out_channels", "kernel_size", "stride", "padding")


# The dictionary as a blueprint --------------------------------------------------------------------

_KINDS = {
    "ScopedResNet": "resnet",
    "ScopedResGroup": "residual_group",
    "ScopedConvUnit": "unit",
    "ScopedConv2d": "conv",
    "ScopedBatchNorm2d": "batch_norm",
    "ScopedReLU": "act",
    "ScopedMaxPool2d": "pool",
    "ScopedLinear": "linear",
}
_ARGUMENTS = {  # printed name → ours; those that only name or guide are left out
    "conv": {
        name: name
        for name in "in_channels out_channels kernel_size stride padding dilation groups bias"
        .split()
    },
    "batch_norm": {
        "num_features": "features", "eps": "eps", "momentum": "momentum", "affine": "affine",
    },
    "pool": {"kernel_size": "kernel_size", "stride": "stride", "padding": "padding"},
    "linear": {"in_features": "in_features", "out_features": "out_features"},
}  # fmt: skip


def from_thesis(data: dict[str, Any]) -> Blueprint:
    """The blueprint that a dictionary in the format of appendix C.4 describes.

    ```python
    printed = json.loads((paths.PUBLISHED / "thesis/appendix-c4-blueprint.json").read_text())
    net = from_thesis(printed)
    net.at("conv/conv").name  # 'ResNetd4w1c2/cnv/conv3_16_7_2_3_1_1_F', as printed
    net.output_shape          # (2,)
    ```

    Values are Python literals in strings; flags and tags are taken over, prefixes up to their last
    "/". The mean over the image before the linear layer is not printed, and is added. Raises
    `BlueprintError` for another format or type of block, and where a printed shape does not follow.
    """
    try:
        root = _read(data, ())
        _, *shape = _literal(data["input_shape"])
    except BlueprintError:
        raise
    except (KeyError, IndexError, TypeError, ValueError, SyntaxError, AttributeError) as error:
        raise BlueprintError(
            f"the dictionary does not have the format of appendix C.4 ({error!r}): give one like "
            "data/published/thesis/appendix-c4-blueprint.json"
        ) from error
    infer(root, tuple(shape))
    for path, node in root.walk():
        printed = node.meta.pop("printed_shape", None)
        if printed is not None and printed != node.output_shape:
            raise BlueprintError(
                f"the printed output shape {printed} of {node.kind!r} at {where(path)} does not "
                f"follow from its parts, which give {node.output_shape}"
            )
    return root


def _read(data: dict[str, Any], path: Path) -> Blueprint:
    printed_type = data["type"].replace("’", "'").split("'")[1]
    if printed_type not in _KINDS:
        raise BlueprintError(
            f"the blueprint at {where(path)} has the type {printed_type!r}: known are "
            f"{', '.join(_KINDS)}"
        )
    kind = _KINDS[printed_type]
    prefix, slash, _ = data["prefix"].rpartition("/")
    _, plus, tag = data["name"].partition("+")
    meta = {key: _literal(data[key]) for key in ("mutation_p", "toggle_p") if key in data}
    if shape := _literal(data["output_shape"]):
        meta["printed_shape"] = tuple(shape[1:])
    node = Blueprint(
        kind,
        arguments=blueprints.complete(kind, _arguments(data, kind)),
        children=_children(data, kind, path),
        prefix=prefix + slash,
        tag=tag if plus else None,
        unique=_literal(data["unique"]),
        freeze=_literal(data["freeze"]),
        meta=meta,
    )
    return node


def _arguments(data: dict[str, Any], kind: str) -> dict[str, Any]:
    if kind == "residual_group":
        return {"drop": _literal(data["drop_p"])}
    printed = _literal(data["kwargs"])
    return {
        ours: printed[name] for name, ours in _ARGUMENTS.get(kind, {}).items() if name in printed
    }


def _children(data: dict[str, Any], kind: str, path: Path) -> dict[str, Blueprint]:
    def read(role: str, child: dict[str, Any]) -> Blueprint:
        return _read(child, (*path, role))

    if kind == "unit":
        return {role: read(role, data[role]) for role in _literal(data["module_order"])}
    if kind == "residual_group":
        if len(data["children"]) != _literal(data["depth"]):
            raise BlueprintError(
                f"the group at {where(path)} has the depth {data['depth']} and "
                f"{len(data['children'])} children: give as many as its depth"
            )
        return numbered("block", [read("block", child) for child in data["children"]])
    if kind == "resnet":
        groups = [read("group", child) for child in data["children"]]
        head = {"bn": data["bns"][0], "act": data["act"]}
        return {
            "conv": read("conv", data["conv"]),
            **numbered("group", groups),
            **{role: read(role, child) for role, child in head.items()},
            "pool": Blueprint("global_pool"),
            "linear": read("linear", data["linear"]),
        }
    return {}


def _literal(text: str) -> Any:
    return ast.literal_eval(text.replace("’", "'"))
