"""Checkpoints of a search: one safetensors file that is whole or not there, without pickle.

It holds the tensors of a search's state; everything else of it stands in its metadata as JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch
from torch import Tensor

from reuseprior import schemas
from reuseprior.training import checkpoint
from reuseprior.training.checkpoint import NAME as NAME
from reuseprior.training.checkpoint import CheckpointError as CheckpointError

VERSION = 1


def save(
    path: Path,
    tensors: dict[str, dict[str, Tensor]],
    state: dict[str, Any],
    *,
    config: Mapping | None = None,
) -> None:
    """Write groups of tensors and a state of JSON values in place of the last checkpoint.

    `config` is what the search's `config.json` says.
    """
    packed, index = _pack(tensors)
    checkpoint.save(path, packed, {"version": VERSION, "index": index, **state}, config=config)


def load(
    path: Path, *, config: Mapping | None = None
) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """What `save` wrote.

    `CheckpointError` for a file that is not whole or of another version and, with `config`, for one
    of another search.
    """
    packed, state = checkpoint.load(path, config=config)
    version = state.pop("version", None)
    if version != VERSION:
        raise CheckpointError(
            f"{path} is a checkpoint of version {version} and this package reads version {VERSION}"
            ": resume with the package that wrote it, or begin anew in another folder"
        )
    try:
        return _unpack(packed, schemas.fitting(state.pop("index"), schemas.Index)), state
    except (KeyError, ValueError, RuntimeError) as error:
        # torch says at length where in its own code it was
        why = shorten(str(error), 100, placeholder=" …")
        raise refusal(path, f"its tensors do not fit their index: {why}", config) from error


def refusal(path: Path, why: str, config: Mapping | None = None) -> CheckpointError:
    """The error for a checkpoint that holds no state of a search, with what can be done now."""
    return checkpoint.refusal(
        path, f"is no whole checkpoint of a search ({why})", config, whole=True
    )


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
