"""Checkpoints of a search: one safetensors file that is whole or not there, without pickle.

It holds the tensors of a search's state; everything else of it stands in its metadata as JSON.
"""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from reuseprior.training import checkpoint
from reuseprior.training.checkpoint import NAME as NAME
from reuseprior.training.checkpoint import CheckpointError as CheckpointError

VERSION = 1


def save(path: Path, tensors: dict[str, dict[str, Tensor]], state: dict[str, Any]) -> None:
    """Write groups of tensors and a state of JSON values in place of the last checkpoint."""
    packed, index = _pack(tensors)
    checkpoint.save(path, packed, {"version": VERSION, "index": index, **state})


def load(path: Path) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """What `save` wrote; `CheckpointError` for a file cut short or of another version."""
    packed, state = checkpoint.load(path)
    version = state.pop("version", None)
    if version != VERSION:
        raise CheckpointError(
            f"{path} is a checkpoint of version {version} and this package reads version {VERSION}"
            ": resume with the package that wrote it, or begin anew in another folder"
        )
    try:
        return _unpack(packed, state.pop("index")), state
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"{path} is no whole checkpoint of a search, its tensors do not fit their index "
            f"({error}): delete it to begin that run again"
        ) from error


def _pack(tensors: dict[str, dict[str, Tensor]]) -> tuple[dict[str, Tensor], list[list]]:
    """One long tensor of each type, and what stands in them: a population has 25,000 small ones."""
    rows: dict[str, list[Tensor]] = {}
    index = []
    for group, held in tensors.items():
        for key, tensor in held.items():
            dtype = str(tensor.dtype).removeprefix("torch.")
            rows.setdefault(dtype, []).append(tensor.detach().flatten())
            index.append([group, key, dtype, list(tensor.shape)])
    return {dtype: torch.cat(parts) for dtype, parts in rows.items()}, index


def _unpack(packed: dict[str, Tensor], index: list[list]) -> dict[str, dict[str, Tensor]]:
    found: dict[str, dict[str, Tensor]] = {}
    start = dict.fromkeys(packed, 0)
    for group, key, dtype, shape in index:
        end = start[dtype] + prod(shape)
        found.setdefault(group, {})[key] = packed[dtype][start[dtype] : end].view(shape)
        start[dtype] = end
    return found
