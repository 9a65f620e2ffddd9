"""Reading blueprints as appendix C.4 prints them."""

from __future__ import annotations

import ast
from typing import Any

from reuseprior.revolver.blueprints import kinds
from reuseprior.revolver.blueprints.blueprint import Blueprint, Path, numbered, where
from reuseprior.revolver.blueprints.errors import BlueprintError
from reuseprior.revolver.blueprints.shapes import infer

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
        arguments=kinds.complete(kind, _arguments(data, kind)),
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
