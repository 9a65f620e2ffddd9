"""Files that are whole at any moment, locks, and what of ours may be deleted."""

import errno
import gc
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest

from reuseprior import files, paths
from reuseprior.errors import UserError
from reuseprior.files import FileError, Lock, Locked

HOLDER = """
import sys, time
from pathlib import Path
from reuseprior.files import Lock
lock = Lock(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(600)
"""


@pytest.fixture
def holder():
    """Starts processes that hold a lock until they are killed."""
    started = []

    def start(path, code=HOLDER):
        command = [sys.executable, "-c", code, str(path)]
        process = subprocess.Popen(command, cwd=paths.ROOT, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        with process:
            process.kill()


def listed(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_keeps_its_mode_and_a_new_one_has_the_user_s(tmp_path):
    path = tmp_path / "a"
    before = os.umask(0o027)
    try:
        files.write(path, b"1")
        assert path.stat().st_mode & 0o777 == 0o640
        path.chmod(0o600)
        files.write(path, b"2")
        assert path.stat().st_mode & 0o777 == 0o600
    finally:
        os.umask(before)


def test_links_are_replaced_and_not_followed(tmp_path, monkeypatch):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "a").symlink_to(victim)
    files.write(tmp_path / "a", b"ours")
    assert victim.read_text() == "mine" and not (tmp_path / "a").is_symlink()
    # also where somebody could guess the temporary name
    monkeypatch.setattr(files.secrets, "token_hex", lambda _: "0" * 16)
    (tmp_path / f".reuseprior-{'0' * 16}-a.tmp").symlink_to(victim)
    with pytest.raises(FileError, match=r"cannot write .*/a \(File exists\): mend that, or choose"):
        files.write(tmp_path / "a", b"again")
    assert victim.read_text() == "mine" and (tmp_path / "a").read_text() == "ours"


def test_a_lock_is_never_a_link(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / ".a.reuseprior.lock").symlink_to(victim)
    with pytest.raises(FileError, match=r"cannot lock .*/a \(Too many levels of symbolic links\)"):
        Lock(tmp_path / "a")
    assert victim.read_text() == "mine"


def test_what_cannot_be_written_is_said_in_a_sentence(tmp_path):
    (tmp_path / "folder").mkdir()
    for name, sentence in (
        ("none/a", r"none/a \(No such file or directory\): make its folder first"),
        ("a" * 300, r"a \(File name too long\): choose a shorter name"),
        ("folder", r"folder \(Is a directory\): a folder stands there, choose another"),
    ):
        with pytest.raises(UserError, match=f"cannot write .*{sentence}") as caught:
            files.write(tmp_path / name, b"a")
        assert isinstance(caught.value, OSError) and "\n" not in str(caught.value)
    assert listed(tmp_path) == ["folder"]


def test_a_device_or_a_pipe_is_not_waited_for_nor_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    for path in (tmp_path / "pipe", tmp_path / "link", Path("/dev/zero"), Path("/dev/null")):
        with pytest.raises(OSError, match=r"it is a device or a pipe, name a file: '/"):
            files.read(path)
    (tmp_path / "file").write_bytes(b"a\r\n")
    assert files.read(tmp_path / "file") == b"a\r\n"
    for path, error in ((tmp_path, IsADirectoryError), (tmp_path / "none", FileNotFoundError)):
        with pytest.raises(error):
            files.read(path)
    with pytest.raises(FileError, match=r"write .*/pipe \(it is a device or a pipe\): name a"):
        files.write(tmp_path / "pipe", b"a")
    assert (tmp_path / "pipe").is_fifo() and listed(tmp_path) == ["file", "link", "pipe"]


@pytest.mark.parametrize("step", ["open", "fsync", "replace"])
def test_a_full_disk_at_any_step_leaves_the_old_file(tmp_path, monkeypatch, step):
    path = tmp_path / "a"
    path.write_text("old")
    full = r"\(No space left on device\): free some space, or choose"
    with monkeypatch.context() as patch, pytest.raises(FileError, match=full):
        patch.setattr(os, step, Mock(side_effect=OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))))
        files.write(path, b"new")
    assert path.read_text() == "old" and listed(tmp_path) == ["a"]


def test_the_file_before_is_kept_and_taken_back(tmp_path):
    path, kept = tmp_path / "a", tmp_path / "before"
    for content in (b"1", b"2", b"3"):
        files.write(path, content, keep=kept)
    assert (path.read_bytes(), kept.read_bytes()) == (b"3", b"2")
    files.recover(path, kept)
    assert path.read_bytes() == b"3"
    path.unlink()
    files.recover(path, kept)
    assert path.read_bytes() == b"2" and listed(tmp_path) == ["a"]


TORN = f".reuseprior-{'0f' * 8}-metrics.csv.tmp"
THEIRS = [
    ".notes.tmp", ".checkpoint.safetensors.1234.tmp", ".reuseprior-1234-metrics.csv.tmp", "a.tmp",
    f"x.reuseprior-{'0f' * 8}-metrics.csv.tmp", f".reuseprior-{'0F' * 8}-metrics.csv.tmp",
]  # fmt: skip


def test_a_folder_is_swept_of_our_half_written_files_alone(tmp_path):
    for name in (TORN, *THEIRS):
        (tmp_path / name).touch()
    (tmp_path / ".folder.tmp").mkdir()
    folder, link = (f".reuseprior-{mark * 16}-a.tmp" for mark in "ab")  # we make neither
    (tmp_path / folder).mkdir()
    (tmp_path / link).symlink_to(tmp_path / "a.tmp")
    assert files.is_ours(TORN) and not any(map(files.is_ours, THEIRS))
    files.sweep(tmp_path)
    assert listed(tmp_path) == sorted([*THEIRS, ".folder.tmp", folder, link])


def test_beside_a_file_only_what_was_meant_for_it_is_swept(tmp_path, holder):
    torn = [f".reuseprior-{'0' * 16}-{name}.tmp" for name in ("zoo.csv", "b.csv")]
    for name in torn:
        (tmp_path / name).touch()
    files.sweep(tmp_path / "zoo.csv")
    assert listed(tmp_path) == torn[1:]
    holder(tmp_path / "b.csv")  # somebody is writing it
    files.sweep(tmp_path)
    assert torn[1] in listed(tmp_path)


@pytest.mark.parametrize("name", [".", "zoo.csv"])
def test_a_second_process_is_told_who_the_first_is(tmp_path, holder, name):
    path = tmp_path / name
    process = holder(path)
    told = rf"{path} is being written by -c .* \(process {process.pid} on .*, since 20.*\): wait"
    with pytest.raises(Locked, match=told):
        Lock(path)
    process.send_signal(signal.SIGKILL)
    process.wait()
    Lock(path).release()  # what it left locks nothing
    assert listed(tmp_path) == []


LATE = """
import os
truncate = os.ftruncate

def late(*arguments):
    print("held", flush=True)
    time.sleep(0.5)
    truncate(*arguments)

os.ftruncate = late
"""


@pytest.mark.parametrize("killed_before", [False, True])
def test_a_holder_that_has_yet_to_say_who_it_is_is_waited_for(
    tmp_path, holder, monkeypatch, killed_before
):
    monkeypatch.setattr(files, "_PATIENCE", 60.0)
    if killed_before:  # whose words still stand there, and who must not be named
        process = holder(tmp_path)
        process.kill()
        process.wait()
    imports, takes = HOLDER.split("lock = ")
    process = holder(tmp_path, f"{imports}{LATE}lock = {takes}")
    with pytest.raises(Locked, match=rf"\(process {process.pid} on "):
        Lock(tmp_path)


def test_a_lock_whose_holder_says_nonsense_holds_all_the_same(tmp_path, holder, monkeypatch):
    monkeypatch.setattr(files, "_PATIENCE", 0.0)
    holder(tmp_path)
    words = rb'{"command": "\u001b[2J\nx", "process": 1, "host": "h", "start": "now"}'
    for nonsense, said in (
        *dict.fromkeys((b"", b"[" * 4096, b"{}"), "another process: wait").items(),
        (words, r"\?\[2J\?x \(process 1 on h, since now\): wait"),
    ):
        (tmp_path / ".reuseprior.lock").write_bytes(nonsense)
        with pytest.raises(Locked, match=f"is being written by {said}"):
            Lock(tmp_path)


def test_without_locks_of_the_kernel_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(files.fcntl, "flock", Mock(side_effect=OSError(errno.ENOLCK, "No locks")))
    with pytest.raises(FileError, match=r"cannot lock .* \(No locks\): mend that, or choose"):
        Lock(tmp_path / "a")


def test_within_a_process_the_last_to_write_goes_on(tmp_path):
    first, second = Lock(tmp_path), Lock(tmp_path)
    first.check()
    with pytest.raises(Locked, match="is written by another run of this process: go on with that"):
        second.check()  # it began before the first has written
    third = Lock(tmp_path)
    third.check()
    with pytest.raises(Locked, match="another run of this process"):
        first.check()
    for lock in (first, second):
        lock.release()
    third.check()
    for _ in range(2):
        third.release()
    assert listed(tmp_path) == []
    for again in (False, True):  # whether somebody else has locked it since
        holding = [Lock(tmp_path)] * again  # its file may have the number that theirs had
        for lock in (first, second, third):
            with pytest.raises(Locked, match="was given to others to write: lock it anew"):
                lock.check()
        for lock in holding:
            lock.check()
            lock.release()
    lock = Lock(tmp_path)
    assert listed(tmp_path) == [".reuseprior.lock"]
    del lock  # one that is forgotten is free
    gc.collect()
    assert listed(tmp_path) == []


LOSSES = [
    lambda folder: (folder / ".reuseprior.lock").unlink(),
    lambda folder: folder.rename(f"{folder}-2"),
    shutil.rmtree,
]


@pytest.mark.parametrize("lose", LOSSES)
@pytest.mark.parametrize("by_another", [False, True])
def test_who_has_lost_its_lock_writes_no_more(tmp_path, holder, lose, by_another):
    folder = tmp_path / "run"
    folder.mkdir()
    old = Lock(folder)
    old.check()
    lose(folder)
    folder.mkdir(exist_ok=True)
    new = holder(folder) if by_another else Lock(folder)  # gets one of its own
    lost = r"has lost its lock, as .*\.lock was deleted or moved, and s"
    with pytest.raises(Locked, match=lost if by_another else f"{lost}|is written by another"):
        old.check()
    old.release()
    assert listed(folder) == [".reuseprior.lock"]  # the other's
    if not by_another:
        new.check()
        new.release()
        assert listed(folder) == []


FORKED = """
import os, sys
from pathlib import Path
from reuseprior.files import Lock, Locked
path = Path(sys.argv[1])
lock = Lock(path)
if not os.fork():
    try:
        lock.check()
    except Locked:
        lock.release()  # not the child's to give
        sys.exit()
assert os.wait()[1] == 0
assert list(path.iterdir()) == [path / ".reuseprior.lock"]
if not os.fork():  # lives longer than its parent, and holds nothing
    os.setsid()
    sys.stdout.close()
    os.close(1)
    __import__("time").sleep(5)
    os._exit(0)
os._exit(0)
"""


def test_a_fork_neither_frees_nor_keeps_its_parent_s_lock(tmp_path):
    command = [sys.executable, "-c", FORKED, str(tmp_path)]
    subprocess.run(command, cwd=paths.ROOT, check=True, stdout=subprocess.PIPE)
    Lock(Path(tmp_path)).release()
