"""Tied models on disk: a safetensors file that stores a shared tensor once and names its uses."""

import json
import os
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from reuseprior import files
from reuseprior.errors import UserError

_ALIASES = "aliases"  # in the file's metadata: other names of a stored tensor → its stored name


class CheckpointError(UserError):
    """A checkpoint that cannot be read, or belongs to another model; the message says why."""


def save(
    model: nn.Module, path: str | os.PathLike, metadata: Mapping[str, str] | None = None
) -> None:
    """Write parameters and buffers to a safetensors file, each shared tensor once.

    Atomic: the file is the old or the new one, never half of it. `metadata` is kept beside the
    tensors, text by name, and returned by `load`.

    Raises `CheckpointError` for a model whose weights have no storage or overlap without being the
    same, such as a matrix and its transpose, and for metadata that is not text.
    """
    metadata = dict(metadata or {})
    for key, value in metadata.items():
        if not isinstance(key, str) or not isinstance(value, str) or key == _ALIASES:
            raise CheckpointError(
                f"metadata {key!r}: {value!r} cannot be kept: names and values must be text, and "
                f"{_ALIASES!r} is taken"
            )
    tensors = _tensors(model)
    names = {_place(t): name for name, t in reversed(tensors.items())}  # the first name wins
    aliases = {n: names[_place(t)] for n, t in tensors.items() if names[_place(t)] != n}
    stored = {name: t.detach().contiguous() for name, t in tensors.items() if name not in aliases}
    _check_overlap(tensors, aliases)
    metadata[_ALIASES] = json.dumps(aliases, ensure_ascii=False)
    files.write(Path(path), to_bytes(stored, metadata))


def load(model: nn.Module, path: str | os.PathLike) -> dict[str, str]:
    """Fill the model from a file of `save`, in place, and return the file's metadata.

    The model must have the file's tensors by name, shape and type, and share exactly those that
    the file shares; otherwise nothing is changed.

    Raises `CheckpointError` for a file that is missing, cut short or not a checkpoint, and for one
    of another model, naming the first tensor that differs.
    """
    path = Path(path)
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            found = {name: file.get_tensor(name) for name in file.keys()}
    except FileNotFoundError as error:
        raise CheckpointError(f"there is no checkpoint {path}: check the path") from error
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} is no complete checkpoint ({error}): write it anew, or use another"
        ) from error
    aliases = _aliases(path, metadata.pop(_ALIASES, "{}"), found)
    found |= {alias: found[name] for alias, name in aliases.items()}
    tensors = _tensors(model)
    _check_names(path, tensors, found)
    _check_ties(path, tensors, found)
    _check_kinds(path, tensors, found)
    with torch.no_grad():
        for name, tensor in tensors.items():
            if name not in aliases:
                tensor.copy_(found[name])
    return metadata


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    """What a checkpoint holds, by all of its names."""
    tensors = model.state_dict(keep_vars=True)
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor):
            raise CheckpointError(
                f"{name!r} is a {type(tensor).__name__}: a checkpoint holds tensors alone"
            )
        if tensor.is_meta:
            raise CheckpointError(f"{name!r} has no storage: build the model with its weights")
    return tensors


def _place(tensor: Tensor) -> tuple:
    """Equal for tensors that are the same memory seen alike, be they one object or two."""
    if not tensor.numel():
        return (id(tensor),)  # there is no memory to share
    return tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.stride()


def _check_overlap(tensors: Mapping[str, Tensor], aliases: Mapping[str, str]) -> None:
    """Refuse tensors that are parts or other views of one memory: a file would separate them."""
    spans = []
    for name, tensor in tensors.items():
        if name not in aliases and tensor.numel():
            last = sum(
                (n - 1) * step for n, step in zip(tensor.shape, tensor.stride(), strict=True)
            )
            start = tensor.data_ptr()
            spans.append((start, start + (last + 1) * tensor.itemsize, name))
    spans.sort()
    for (_, end, name), (start, _, other) in pairwise(spans):
        if start < end:
            raise CheckpointError(
                f"{name!r} and {other!r} are different views of one memory: give each its own, or "
                "let both be the same parameter"
            )


def _aliases(path: Path, text: str, stored: Mapping[str, Tensor]) -> dict[str, str]:
    """The names of shared tensors in a file's metadata, which another program may have written."""
    try:
        aliases = json.loads(text)
    except ValueError:
        aliases = None
    if not isinstance(aliases, dict) or not all(
        isinstance(name, str) and name in stored for name in aliases.values()
    ):
        raise CheckpointError(
            f"{path} does not say which tensors it shares ({_ALIASES}: {text[:60]!r}): it was not "
            "written by reuseprior.sharing.save"
        )
    return aliases


def _check_names(path: Path, tensors: Iterable[str], found: Iterable[str]) -> None:
    for name in tensors:
        if name not in found:
            raise CheckpointError(
                f"{path} has no {name!r}, which the model has: it was saved from another model"
            )
    for name in found:
        if name not in tensors:
            raise CheckpointError(
                f"{path} has {name!r}, which the model has not: it was saved from another model"
            )


def _check_ties(path: Path, tensors: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    for mine, theirs, first, second in [
        (tensors, found, "the model", path),
        (found, tensors, path, "the model"),
    ]:
        leaders: dict[tuple, str] = {}
        for name, tensor in mine.items():
            leader = leaders.setdefault(_place(tensor), name)
            if _place(theirs[name]) != _place(theirs[leader]):
                raise CheckpointError(
                    f"{first} shares {leader!r} with {name!r} and {second} does not: tie the "
                    "model as it was when it was saved"
                )


def _check_kinds(path: Path, tensors: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        mine, theirs = _kind(tensor), _kind(found[name])
        if mine != theirs:
            raise CheckpointError(
                f"{name!r} is {theirs} in {path} and {mine} in the model: it was saved from "
                "another model"
            )


def _kind(tensor: Tensor) -> str:
    shape = "×".join(map(str, tensor.shape)) or "scalar"
    return f"{str(tensor.dtype).removeprefix('torch.')} {shape}"
