"""Appendix C.4's and C.5's printed shapes, beside those that their own blocks give."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pandas as pd

from reuseprior import paths, revolver
from reuseprior.chapters.thesis.revolver.protocol import number
from reuseprior.report import published
from reuseprior.report.ledger import Cell, Entry, Reading, judged, setting
from reuseprior.report.runs import measured
from reuseprior.revolver import blueprints
from reuseprior.revolver.blueprints import Blueprint, BlueprintError, Path, infer, numbered, where

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
                yield Cell(row, column, [Reading(value)])


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
    found = {"": data, "conv": unit, **inner, **groups, "linear": data["linear"]}
    return ((path, part) for path, part in found.items() if part["output_shape"] != "None")


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


def mutation() -> Iterator[Entry]:
    """Appendix C.5: the ensemble of convolutions, and the shape of the one that it was before."""
    for _, row in published.load("thesis/appendix-c-5").iterrows():
        put_in = ("members", "in_channels", "out_channels", "kernel_size", "stride", "padding",
                  "image")  # fmt: skip
        for column in put_in:
            yield setting(row, column)
        channels, size, _ = _ensemble(*(number(row[column]) for column in put_in))
        yield from judged(
            [
                Cell(row, "shape_channels", [Reading(channels)]),
                Cell(row, "shape_size", [Reading(size)]),
            ]
        )
        for column in ("mean_score", "score"):
            yield measured(row, column, None, "the search in which it was mutated, whose seed and "
                           "generation are not printed")  # fmt: skip


def _ensemble(
    members: int, in_channels: int, out_channels: int, kernel_size: int, stride: int, padding: int,
    image: int,
) -> revolver.Blueprint:  # fmt: skip
    """The output's shape of a mean of convolutions."""
    x = (in_channels, image, image)
    convs = {
        f"conv{index}": revolver.assemble(
            "conv", x, in_channels=in_channels, out_channels=out_channels,
            kernel_size=kernel_size, stride=stride, padding=padding, bias=False,
        )
        for index in range(members)
    }  # fmt: skip
    return revolver.assemble("ensemble_mean", x, convs).output_shape


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
