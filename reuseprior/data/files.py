"""Files with a published checksum: checked, read, downloaded."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

from reuseprior.errors import UserError


class DataError(UserError):
    """A data set that is unknown, not whole, or asked for more than it holds."""


class DataMissing(DataError):
    """A data set that is not in its folder and could not be brought there."""


@dataclass(frozen=True)
class Checksum:
    """Whether one file of a data set is as published, and why one thinks so."""

    file: str  # relative to the root
    ok: bool
    why: str


@dataclass(frozen=True)
class Source:
    """A data set's name and the three things one does with its files, each given the root."""

    name: str
    verify: Callable[[Path], list[Checksum]]
    fetch: Callable[[Path], None]  # brings what is missing or not whole, or raises DataMissing
    read: Callable[[Path], Any]


def check(root: Path, file: str, md5: str) -> Checksum:
    """Compare a file's MD5 with the published one."""
    try:
        content = (root / file).read_bytes()
    except OSError as error:
        return Checksum(file, False, error.strerror)  # No such file or directory, most often
    wrong = _wrong(content, md5)
    return Checksum(file, wrong is None, wrong or "its MD5 is the published one")


def read(root: Path, file: str, md5: str, *, name: str) -> bytes:
    """A file's content, compared with the published MD5 before anything looks into it.

    Raises `DataMissing` where there is none, and `DataError` where it is cut short or changed.
    """
    try:
        content = (root / file).read_bytes()
    except FileNotFoundError as error:
        raise missing(name, root, f"there is no {file}") from error
    except OSError as error:
        raise DataError(
            f"{root / file} cannot be read ({error.strerror}): make it a readable file"
        ) from error
    wrong = _wrong(content, md5)
    if wrong is not None:
        raise DataError(
            f"{root / file} {wrong}: replace it with `reuseprior data prepare {name} --root {root}`"
        )
    return content


def missing(name: str, root: Path, why: str) -> DataMissing:
    """The error for a data set that is not there, with what to set or run."""
    return DataMissing(
        f"{name} is not complete in {root} ({why}): set REUSEPRIOR_DATA to the folder that holds "
        f"it, or run `reuseprior data prepare {name} --root {root}` where there is a network"
    )


def download(name: str, root: Path, *attempts: Callable[[], object]) -> None:
    """Make one attempt after the other until one succeeds, or raise `DataMissing`."""
    for attempt in attempts:
        try:
            attempt()
            return
        # RuntimeError is torchvision's word for a download with another checksum
        except (OSError, HTTPException, RuntimeError) as error:
            failed = error
    why = " ".join(str(failed).split()) or type(failed).__name__
    raise missing(name, root, f"downloading it failed: {why}") from failed


def _wrong(content: bytes, md5: str) -> str | None:
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found == md5:
        return None
    return f"is cut short or changed: its {len(content):,} bytes have MD5 {found}, not {md5}"
