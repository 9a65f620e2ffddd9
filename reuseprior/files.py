"""Files that are whole at any moment, and that one process at a time writes.

Everything that is left in a folder beside what was asked for has a name of ours, so that it can be
told from a user's files: `.reuseprior-<16 hexadecimal digits>-<name>.tmp` for a file that is being
written, `.reuseprior.lock` in a folder and `.<name>.reuseprior.lock` beside a file for a lock.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import secrets
import shlex
import socket
import stat
import sys
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from textwrap import shorten

from reuseprior import schemas
from reuseprior.errors import UserError

_TEMPORARY = re.compile(r"\.reuseprior-[0-9a-f]{16}-(?P<name>.*)\.tmp", re.DOTALL)
_LOCK = re.compile(r"\.(.+\.)?reuseprior\.lock", re.DOTALL)


class FileError(UserError, OSError):
    """A file that cannot be written: no space, no permission, too long a name, a folder there."""


class Locked(UserError):
    """A folder or a file that another process is writing, or a later part of this one."""


def read(path: Path) -> bytes:
    """A file's content; OSError for a device or a pipe too, which may never end or never begin."""
    if not (path.is_file() or path.is_dir()) and path.exists():  # a folder refuses by itself
        raise OSError(errno.EINVAL, "it is a device or a pipe, name a file", str(path))
    return path.read_bytes()


def write(path: Path, content: bytes, *, keep: Path | None = None) -> None:
    """Write a file that is either the old one or the new one, never a part of it.

    ```python
    write(Path("build/ledger.csv"), b"id\n")
    ```

    The folder must exist. The file keeps the mode that it had; a link is replaced by the file, and
    what it led to stays as it was. With `keep` the old file is put there before the new one comes;
    a process that is killed in between leaves the old one there alone, from where `recover` takes
    it back. Raises `FileError`, and then the old file stands, at its place or at `keep`.
    """
    temporary = path.with_name(f".reuseprior-{secrets.token_hex(8)}-{path.name}.tmp")
    with told(f"cannot write {path}"):
        try:
            _create(temporary, _mode(path), content)
            if keep is not None and path.exists():
                os.replace(path, keep)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    _settle(path.parent)


def recover(path: Path, kept: Path) -> None:
    """Take back what `write` put at `kept`, where nothing stands in its place."""
    with told(f"cannot put {kept} in the place of {path}"):
        if kept.exists() and not path.exists():
            os.replace(kept, path)


def sweep(path: Path) -> None:
    """Delete what killed processes left half written in a folder, or beside a file and for it.

    Nothing else is touched, whatever its name, nor what is meant for a file that has a lock of its
    own. Call it with the `Lock` of the same path, so that nobody is writing there.
    """
    folder = path if path.is_dir() else path.parent
    with told(f"cannot sweep {path}"):
        for name in os.listdir(folder):
            if not (ours := _TEMPORARY.fullmatch(name)):
                continue
            meant = folder / ours["name"]
            torn = folder / name
            ours_alone = meant.name == path.name if path != folder else not _lock(meant).exists()
            if ours_alone and torn.is_file() and not torn.is_symlink():  # we make nothing else
                torn.unlink(missing_ok=True)


def is_ours(name: str) -> bool:
    """Whether a file of this name is a half-written one or a lock of this package."""
    return bool(_TEMPORARY.fullmatch(name) or _LOCK.fullmatch(name))


def _create(path: Path, mode: int | None, content: bytes) -> None:
    """Write a file that must not exist yet, not even as a link, down to the disk."""
    number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    with os.fdopen(number, "wb") as file:
        if mode is not None:
            os.fchmod(number, mode)  # before there is anything to read
        file.write(content)
        file.flush()
        os.fsync(number)  # or a power cut may put the name before the content


def _mode(path: Path) -> int | None:
    """The permissions of a plain file, None where there is none."""
    with suppress(FileNotFoundError):
        held = path.lstat().st_mode
        if stat.S_ISREG(held):
            return stat.S_IMODE(held)
        if not (stat.S_ISLNK(held) or stat.S_ISDIR(held)):  # a folder refuses by itself
            raise FileError(f"cannot write {path} (it is a device or a pipe): name a file")
    return None


def _settle(folder: Path) -> None:
    """Put the names in a folder on the disk, so that they appear there in the order of writing."""
    with suppress(OSError):  # some file systems cannot, and then this order is up to them
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


@contextmanager
def told(what: str) -> Iterator[None]:
    """Let an OSError be a `FileError`, which says what could not be done, why, and the mend."""
    try:
        yield
    except FileError:
        raise
    except OSError as error:
        mend = _MENDS.get(error.errno, "mend that, or choose another place")
        raise FileError(f"{what} ({error.strerror or error}): {mend}") from error


_MENDS = {
    errno.ENOSPC: "free some space, or choose another place",
    errno.EDQUOT: "free some space, or choose another place",
    errno.EFBIG: "raise the limit on file sizes, or choose another place",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EISDIR: "a folder stands there, choose another name",
    errno.ENOENT: "make its folder first",
}


class Lock:
    """The right to write a folder or a file, which one process at a time has.

    ```python
    lock = Lock(Path("runs/a"))
    lock.check()    # before each write
    lock.release()  # or the end of the process, however it ends
    ```

    A folder must exist, a file need not; its folder must. The lock is the kernel's (flock) on a
    file of our own, which tells others who holds it; what a killed process leaves of it locks
    nothing. Raises `Locked`, naming the holder, where another process has it, and `FileError` where
    no lock can be made.

    Within a process several may have it, as when a cell of a notebook is run again, and one of them
    writes: `check` raises `Locked` for whoever another has written after.
    """

    def __init__(self, path: Path):
        self.path = Path(path)
        self._place = place = _lock(self.path)
        if (held := _held.get(place)) is None or not _is_at(held.number, place):
            _held[place] = _Held(_take(place, self.path))
        self._held, self._turn = _held[place], next(_turns)
        self._held.turns.add(self._turn)
        self._seen = self._held.writes
        self._release = weakref.finalize(self, _give_back, place, self._held, self._turn)

    def check(self) -> None:
        """Raise `Locked` where another part of this process has written since this one began.

        And after `release`, in a fork, whose parent has the lock, and where somebody has deleted
        the lock's file or moved the folder, so that another process may have a lock of its own.
        """
        if not self._release.alive:
            raise Locked(f"{self.path} was given to others to write: lock it anew")
        if self._held.number is None:
            raise Locked(f"{self.path} is written by the process that this one is a fork of")
        if not _is_at(self._held.number, self._place):
            raise Locked(
                f"{self.path} has lost its lock, as {self._place} was deleted or moved, and "
                "somebody else may be writing there: see that nobody is, and go on with --resume"
            )
        if self._held.writer != self._turn and self._held.writes != self._seen:
            raise Locked(f"{self.path} is written by another run of this process: go on with that")
        self._held.writer = self._turn
        self._held.writes += 1

    def release(self) -> None:
        """Let others write, at most once."""
        self._release()


@dataclass
class _Held:
    """A lock that this process holds."""

    number: int | None  # of the open file, None in a fork
    turns: set[int] = field(default_factory=set)  # who has it
    writer: int | None = None  # who has written last
    writes: int = 0


_turns = count()
_held: dict[Path, _Held] = {}


def _lock(path: Path) -> Path:
    """The file that is locked for a folder or a file."""
    if path.is_dir():
        return path.resolve() / ".reuseprior.lock"
    return path.parent.resolve() / f".{path.name}.reuseprior.lock"


_PATIENCE = 2.0  # seconds for a holder to say who it is, which it does after it has the lock


def _take(place: Path, path: Path) -> int:
    end = time.monotonic() + _PATIENCE
    with told(f"cannot lock {path}"):
        while True:
            number = os.open(place, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
            try:
                fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_at(number, place):
                    os.ftruncate(number, 0)
                    os.pwrite(number, json.dumps(_this_process()).encode(), 0)
                    return number
            except BlockingIOError as error:
                said = _read_holder(os.pread(number, 4096, 0))
                os.close(number)
                if time.monotonic() < end and not (said and _may_live(said)):
                    time.sleep(0.005)
                    continue
                raise Locked(
                    f"{path} is being written by {_holder(said)}: wait until it ends, or choose "
                    "another place"
                ) from error
            except BaseException:
                os.close(number)
                raise
            os.close(number)  # whoever had it has just deleted it


def _is_at(number: int, place: Path) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(number), place.lstat())
    return False


def _give_back(place: Path, held: _Held, turn: int) -> None:
    held.turns.discard(turn)
    if held.turns or held.number is None:  # another part has it too, or this is a fork
        return
    if _held.get(place) is held:
        del _held[place]
    with suppress(OSError):  # the folder may be gone; a lock file that stays locks nothing
        if _is_at(held.number, place):  # or it is another's, who found none
            place.unlink()  # before it is free, so that nobody can be waiting for it
    os.close(held.number)


def _forget() -> None:
    """In a fork: its parent has the locks, and they end with the parent."""
    for held in _held.values():
        os.close(held.number)
        held.number = None
    _held.clear()


os.register_at_fork(after_in_child=_forget)


def _this_process() -> dict[str, str | int]:
    return {
        "command": shorten(shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]), 300),
        "process": os.getpid(),
        "host": socket.gethostname(),
        "start": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _read_holder(content: bytes) -> dict[str, str | int] | None:
    """What a lock's file says of its holder, None where that is not what `_take` writes."""
    with suppress(schemas.SchemaError):
        return schemas.read(content, schemas.Holder)
    return None


def _may_live(said: dict[str, str | int]) -> bool:
    """Whether the process that a lock's file names may be there: a killed one has left its own."""
    if said["host"] == socket.gethostname():
        try:
            os.kill(said["process"], 0)
        except (ProcessLookupError, OverflowError):
            return False
        except PermissionError:  # another user's
            pass
    return True


def _holder(said: dict[str, str | int] | None) -> str:
    if said is None:
        return "another process"
    text = f"{said['command']} (process {said['process']} on {said['host']}, since {said['start']})"
    return "".join(letter if letter.isprintable() else "?" for letter in text)
