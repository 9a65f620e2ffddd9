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

FILE = "thesis/appendix-c4-blueprint.json"


def printed() -> dict[str, Any]:
    """The dictionary that appendix C.4 prints."""
    return json.loads((paths.PUBLISHED / FILE).read_text(encoding="utf-8"))


def example() -> Iterator[Entry]:
    """Appendix C.4: the input that we put in, every output shape, and what groups are named for."""
    data = printed()
    tree = revolver.from_thesis(_without_shapes(data))
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
    inner = {f"conv/{role}": unit[role] for role in ast.literal_eval(_quotes(unit["module_order"]))}
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
    return [str(side) for side in ast.literal_eval(text)[1:3]]


def _quotes(text: str) -> str:
    return text.replace("’", "'")


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
