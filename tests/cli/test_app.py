"""What a machine refuses is one sentence; what is a bug of ours is shown as one."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from reuseprior import paths
from reuseprior.cli import app
from reuseprior.models import catalog

REFUSALS = [
    (OSError(errno.ENOSPC, "No space left on device", "a/b"), "a/b: No space left on device: free"),
    (OSError(errno.ENOSPC, "No space left on device"), "No space left on device: free space on"),
    (
        OSError(errno.EDQUOT, "Disk quota exceeded", "b"),
        "b: Disk quota exceeded: free space within",
    ),
    (
        OSError(errno.EROFS, "Read-only file system", "b"),
        "b: Read-only file system: choose a folder",
    ),
    (OSError(errno.EFBIG, "File too large", "b"), "b: File too large: raise the limit"),
    (OSError(errno.EIO, "Input/output error", "b"), "b: Input/output error: see what lies there"),
    (
        PermissionError(errno.EACCES, "Permission denied", "b"),
        "b: Permission denied: choose anothe",
    ),
    (
        FileNotFoundError(errno.ENOENT, "No such file or directory", "b"),
        "directory: check the path",
    ),
    (FileExistsError(errno.EEXIST, "File exists", "b"), "b: File exists: choose another name"),
    (
        IsADirectoryError(errno.EISDIR, "Is a directory", "b"),
        "b: Is a directory: name a file, as a",
    ),
    (
        NotADirectoryError(errno.ENOTDIR, "Not a directory", "b"),
        "b: Not a directory: name a folder",
    ),
    (
        OSError(errno.ENAMETOOLONG, "File name too long", "b"),
        "b: File name too long: choose a shor",
    ),
    (OSError(errno.ELOOP, "Too many levels", "b"), "b: Too many levels: check the links"),
    (OSError(errno.EMFILE, "Too many open files"), "Too many open files: raise the limit on open"),
    (OSError("told\nby a library"), "told by a library: see what lies there, and try again"),
    (MemoryError(), "there is too little memory (): ask for something smaller"),
    (
        RuntimeError("CPU: can't allocate memory: 8 EB"),
        "there is too little memory (CPU: can't all",
    ),
    (RuntimeError("CUDA out of memory"), "there is too little memory (CUDA out of memory): ask"),
    (RecursionError("maximum"), "what was given is nested deeper than Python follows: give someth"),
]


@pytest.mark.parametrize(("error", "sentence"), REFUSALS, ids=[str(e) for e, _ in REFUSALS])
def test_what_a_machine_refuses_is_one_sentence(monkeypatch, error, sentence):
    def refuse():
        raise error

    monkeypatch.setattr(catalog, "names", refuse)
    done = CliRunner().invoke(app, ["models"])
    assert (done.exit_code, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: ") and sentence in line


@pytest.mark.parametrize("error", [RuntimeError("a slip"), KeyError("a"), ZeroDivisionError()])
def test_a_bug_is_not_hidden(monkeypatch, error):
    def slip():
        raise error

    monkeypatch.setattr(catalog, "names", slip)
    assert CliRunner().invoke(app, ["models"]).exception is error


def shell(*arguments, **options):
    environment = os.environ | {"PYTHONPATH": str(paths.ROOT)} | options.pop("environment", {})
    command = [sys.executable, "-m", "reuseprior", *arguments]
    return subprocess.run(command, env=environment, stderr=subprocess.PIPE, **options)


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["latin-1", "cp1252"])  # click writes UTF-8 for ASCII
def test_an_encoding_that_lacks_a_sign_writes_an_escape(encoding):
    done = shell("--help", environment={"PYTHONIOENCODING": encoding}, stdout=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (0, b"") and b"\n  rank " in done.stdout
    done = shell("count", "π", environment={"PYTHONIOENCODING": encoding}, stdout=subprocess.PIPE)
    assert done.returncode == 2 and done.stderr.startswith(b"Error: unknown model '\\u03c0'")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a device that is always full")
@pytest.mark.parametrize("arguments", [["--help"], ["models"], ["--version"]])
def test_output_that_cannot_be_written(arguments):
    with open("/dev/full", "w") as full:
        done = shell(*arguments, stdout=full)
    assert done.returncode == 2
    assert done.stderr == b"Error: No space left on device: free space on that disk\n"


@pytest.mark.slow
def test_a_reader_that_goes_away_is_no_error():
    read, write = os.pipe()
    os.close(read)
    with open(write, "w") as gone:
        done = shell("models", stdout=gone)
    assert (done.returncode, done.stderr) == (1, b"")
