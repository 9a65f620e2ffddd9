"""Checkpoints: everything a training needs to go on, in one file that is whole or not there."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from reuseprior import files
from reuseprior.errors import UserError
from reuseprior.training.average import put_back

NAME = "checkpoint.safetensors"


class CheckpointError(UserError):
    """A checkpoint that cannot be read or belongs to another training."""


def save(path: Path, tensors: dict[str, Tensor], progress: dict) -> None:
    """Write tensors and a JSON dictionary beside them, in place of the last checkpoint.

    A process that is killed here leaves the last checkpoint as it was.
    """
    # Copies, because a file cannot hold two tensors of one memory, as some models tie them.
    plain = {name: t.detach().to("cpu", copy=True).contiguous() for name, t in tensors.items()}
    files.write(path, to_bytes(plain, {"progress": json.dumps(progress)}))


def load(path: Path) -> tuple[dict[str, Tensor], dict]:
    """What `save` wrote, on the CPU; raises `CheckpointError` for a file that is not whole."""
    try:
        with safe_open(path, framework="pt") as file:
            progress = json.loads(file.metadata()["progress"])
            return {name: file.get_tensor(name) for name in file.keys()}, progress
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path} is no whole checkpoint ({error}): delete it to begin that run again"
        ) from error


def copy_in(path: Path, saved: dict[str, Tensor], target: dict[str, Tensor]) -> None:
    """Copy saved values into tensors of the same names and shapes, in place: ties remain.

    Raises `CheckpointError`, before anything is copied, where names or shapes differ.
    """
    for name in saved.keys() | target.keys():
        shapes = [tuple(d[name].shape) if name in d else None for d in (saved, target)]
        if shapes[0] != shapes[1]:
            raise CheckpointError(
                f"{path} holds {name} as {shapes[0]} and this training has {shapes[1]}: resume "
                "with the same model and sharing, or choose another folder"
            )
    put_back(saved, target)
