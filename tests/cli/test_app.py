"""What a machine refuses is one sentence; what is a bug of ours is shown as one."""

import errno
import os
from unittest.mock import Mock

import pytest

from reuseprior.models import catalog
from tests.cli.calling import refused, run, shell
from tests.soak import drawn

REFUSALS = [  # what is raised, and the sentence; of an OSError number, text and file
    ((errno.ENOSPC, "No space left"), r"Error: No space left: free space on that disk$"),
    ((errno.EDQUOT, "Quota exceeded", "b"), r"b: Quota exceeded: free space within your quota$"),
    ((errno.EROFS, "Read-only", "b"), r"b: Read-only: choose a folder that can be written$"),
    ((errno.EFBIG, "File too large", "b"), r"b: File too large: raise the limit on the size of"),
    ((errno.EIO, "Input/output error", "b"), r"b: Input/output error: see what lies there, and"),
    ((errno.EACCES, "Denied", "b"), r"b: Denied: choose another, or let yourself read and write"),
    ((errno.ENOENT, "No such file", "b"), r"b: No such file: check the path$"),
    ((errno.EEXIST, "File exists", "b"), r"b: File exists: choose another name$"),
    ((errno.EISDIR, "Is a directory", "b"), r"b: Is a directory: name a file, as a folder stands"),
    ((errno.ENOTDIR, "Not a directory", "b"), r"b: Not a directory: name a folder, as a file"),
    ((errno.ENAMETOOLONG, "Name too long", "b"), r"b: Name too long: choose a shorter name$"),
    ((errno.ELOOP, "Too many levels", "b"), r"b: Too many levels: check the links, which lead in"),
    ((errno.EMFILE, "Too many open"), r"Too many open: raise the limit on open files$"),
    (("told\nby a library",), r"Error: told by a library: see what lies there, and try again$"),
    (MemoryError(), r"there is too little memory \(\): ask for something smaller"),
    (RuntimeError("CPU: can't allocate memory: 8 EB"), r"too little memory \(CPU: can't allocate"),
    (RuntimeError("CUDA out of memory"), r"there is too little memory \(CUDA out of memory\): a"),
    (RecursionError("maximum"), r"nested deeper than Python follows: give something flatter"),
]
BUGS = [RuntimeError("a slip"), KeyError("a"), ZeroDivisionError()]


def test_what_a_machine_refuses_is_one_sentence_and_a_bug_is_not_hidden(monkeypatch):
    for error, sentence in (*REFUSALS, *((bug, None) for bug in BUGS)):
        error = OSError(*error) if isinstance(error, tuple) else error
        monkeypatch.setattr(catalog, "names", Mock(side_effect=error))
        done = run("models")
        if sentence is None:
            assert done.exception is error
        else:
            refused(done, sentence)


def test_an_encoding_that_lacks_a_sign_writes_an_escape():
    for encoding in ("latin-1", "cp1252"):  # click writes UTF-8 for ASCII
        done = run("rank", "--help", charset=encoding)
        assert done.exit_code == 0 and b"P\\u2032_G" in done.stdout_bytes
        refused(run("count", "π", charset=encoding), r"unknown model '\\u03c0'")


@pytest.mark.slow
def test_output_that_cannot_be_written_or_that_nobody_reads():
    read, write = os.pipe()
    os.close(read)
    full = b"Error: No space left on device: free space on that disk\n"
    for output, word, code, said in ((write, "--help", 1, b""), ("/dev/full", "models", 2, full)):
        with open(output, "w") as file:
            done = shell("-m", "reuseprior", word, stdout=file)
        assert (done.returncode, done.stderr) == (code, said)


SCRIPT = (
    "import os, sys; [os.close(n) for n in {}]; os.execv(sys.executable, [sys.executable, *{}])"
)


@pytest.mark.slow
@pytest.mark.parametrize("closed", drawn([[0], [1], [2], [0, 2], [1, 2], [0, 1, 2]], 3), ids=str)
def test_closed_streams(tmp_path, closed):
    """What has a result says it or fails; and nothing is said into a file of the user's."""
    (tmp_path / "nets.py").write_text(
        "import os, sys\nfrom torch import nn\n"
        "def net():\n    os.write(2, b'said')\n    print('printed')\n    return nn.Linear(16, 4)\n"
    )
    asked = ["rank", "nets:net", "resnet20-cifar", "--shape", "1,16", "--save", "zoo.csv"]
    command = SCRIPT.format(closed, ["-m", "reuseprior", *asked])
    done = shell("-c", command, cwd=tmp_path)
    assert done.returncode == (2 if 1 in closed else 1)  # one model takes no such shape
    assert bool(done.stdout) == (1 not in closed) and bool(done.stderr) == (2 not in closed)
    if 2 not in closed and 1 in closed:
        assert b"Error: Bad file descriptor: open standard output" in done.stderr
    kept = (tmp_path / "zoo.csv").read_text(encoding="utf-8")
    assert "nets:net,,1×16" in kept and "said" not in kept and "printed" not in kept
