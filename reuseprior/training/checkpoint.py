"""Checkpoints: everything a training needs to go on, in one file that is whole or not there.

A checkpoint knows whose it is and whether it is whole: it holds the configuration of its run, the
seed among it, and a digest over every byte of the file. Both are compared before anything in it is
believed. The digest tells damage and slips; it is no signature, and whoever edits a file on purpose
can compute another.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from textwrap import shorten

import torch
from safetensors import SafetensorError
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from reuseprior import files
from reuseprior.errors import UserError
from reuseprior.results import as_read, difference, finished, kept

NAME = "checkpoint.safetensors"
VERSION = 2
"""Of the file. The first version had no digest and no configuration."""

_EMPTY = b'"digest":"' + 64 * b"0" + b'"'  # what stands in the file while its digest is computed
_DIGEST = re.compile(rb'"digest":"([0-9a-f]{64})"')

log = logging.getLogger(__name__)


class CheckpointError(UserError):
    """A checkpoint that cannot be read or belongs to another training."""


def save(
    path: Path, tensors: dict[str, Tensor], progress: dict, *, config: Mapping | None = None
) -> None:
    """Write tensors and a JSON dictionary beside them, in place of the last checkpoint.

    `config` is what the run's `config.json` says. A process that is killed here leaves a whole
    checkpoint: the last one stays as `results.kept` until the run is finished. Raises
    `files.FileError`, and `CheckpointError` where what was written does not read back the same.
    """
    # Copies, because a file cannot hold two tensors of one memory, as some models tie them.
    plain = {name: t.detach().to("cpu", copy=True).contiguous() for name, t in tensors.items()}
    about = {"version": str(VERSION), "digest": 64 * "0"}
    about |= {"config": json.dumps(config and as_read(config)), "progress": json.dumps(progress)}
    content = to_bytes(plain, about)
    digest = sha256(content).hexdigest().encode()
    content = content.replace(_EMPTY, b'"digest":"' + digest + b'"', 1)
    files.write(path, content, keep=kept(path))
    if path.read_bytes() != content:
        raise refusal(path, "it does not read back as it was written", config)


def load(path: Path, *, config: Mapping | None = None) -> tuple[dict[str, Tensor], dict]:
    """What `save` wrote, on the CPU.

    Raises `CheckpointError` for a file that is not whole or of a newer version and, with `config`,
    for one of another run. One of the first version is read as it is, and a warning says so.
    """
    try:
        return _read(path, config)
    except _Refused as error:
        raise refusal(path, str(error), config, whole=error.whole) from error


def refusal(
    path: Path, why: str, config: Mapping | None = None, *, whole: bool = False
) -> CheckpointError:
    """The error that names a checkpoint, what is wrong with it, and what its run can do now.

    `whole` is a file that is in order but not this run's.
    """
    why = shorten(why, 500, placeholder=" …")  # torch says some things at length and in lines
    what = f"{path} {why}" if whole else f"{path} is no whole checkpoint ({why})"
    away = "move it away" if whole else "delete it"
    return CheckpointError(f"{what}: {_mend(path, config, away)}")


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


class _Refused(Exception):
    """Why a file is not believed, and whether it is a whole checkpoint all the same."""

    def __init__(self, why: str, *, whole: bool = False):
        super().__init__(why)
        self.whole = whole


def _read(path: Path, config: Mapping | None) -> tuple[dict[str, Tensor], dict]:
    try:
        content = files.read(path)
        end = 8 + int.from_bytes(content[:8], "little")  # of the header, as safetensors has it
        about = json.loads(content[8:end])["__metadata__"]
        if about.keys() != {"progress"}:  # which is all that the first version has
            _check(content, end, about)
            _compare(json.loads(about["config"]), config)
        tensors, progress = from_bytes(content), json.loads(about["progress"])
    except OSError as error:
        raise _Refused(error.strerror or str(error)) from error
    except (SafetensorError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise _Refused(" ".join(str(error).split())) from error
    except (RecursionError, OverflowError, MemoryError) as error:
        raise _Refused("its header makes no sense") from error
    if len(about) == 1:
        log.warning(
            "%s was written by an older package, without a digest and the configuration of its "
            "run: whether it is whole and this run's cannot be checked",
            path,
        )
    return tensors, progress


def _check(content: bytes, end: int, about: dict) -> None:
    """Whether every byte of a file is as it was written."""
    version = about["version"]
    if version.isdecimal() and int(version) > VERSION:
        raise _Refused(
            f"is a checkpoint of version {version} and this package reads versions up to {VERSION}",
            whole=True,
        )
    match = _DIGEST.search(content, 8, end)
    empty = match and content[: match.start()] + _EMPTY + content[match.end() :]
    if not match or sha256(empty).hexdigest().encode() != match[1]:
        raise ValueError("its digest is not that of its contents: damaged, or edited by hand")


def _compare(held: dict | None, config: Mapping | None) -> None:
    """Whether a checkpoint was written by a run with this configuration."""
    if config is not None and (differing := difference(held or {}, as_read(config))) is not None:
        key, old, new = differing
        raise _Refused(f"is of another run, with {key} = {old} where this has {new}", whole=True)


def _mend(path: Path, config: Mapping | None, away: str) -> str:
    before = kept(path)
    try:
        _read(before, config)
    except _Refused:
        if finished(path.parent):
            return (
                "the run is finished and its tables stand, but its weights are lost; to have them "
                "make it anew in another folder"
            )
        return f"{away} to begin this run again"
    return f"{away}, and --resume goes on from the one before it, {before.name}"


# A model's tensors by name ------------------------------------------------------------------------


def copies(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copies of tensors, to go back to."""
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


@torch.no_grad()
def put_back(saved: dict[str, Tensor], tensors: dict[str, Tensor]) -> None:
    """Copy saved values into tensors of the same names, in place: whoever shares one sees them."""
    for name, tensor in saved.items():
        tensors[name].copy_(tensor)


def tensors(model: nn.Module) -> dict[str, Tensor]:
    """A model's parameters and saved buffers by name, each tensor once however often it is tied."""
    saved = model.state_dict(keep_vars=True)  # leaves out buffers that are not to be saved
    first: dict[int, str] = {}
    return {
        name: tensor for name, tensor in saved.items() if first.setdefault(id(tensor), name) == name
    }
