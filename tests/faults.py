"""Programs that write, and what comes of them when they die or the disk is full at any step.

A server that has imported everything plays what it is asked and forks a process for each life of a
program, for a new one takes seconds. What comes of a program in the end is compared with a run that
nobody disturbed, file by file and bit by bit but for the clock.

A step is one that changes something below the program's folder: a file is opened to be written, is
brought to the disk, gets another name or mode or is deleted, a folder is made. A process that dies
bringing a file to the disk leaves half of it.
"""

from __future__ import annotations

import csv
import errno
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import accelerate  # noqa: F401
import pandas  # noqa: F401
import torch
import torch._dynamo  # optimizers load it, with half of torch
from safetensors.torch import load_file
from torch import nn
from typer.testing import CliRunner

from reuseprior import data, files, paths, results, revolver, schemas, training  # noqa: F401
from reuseprior.chapters import affine_runs
from reuseprior.chapters import classformer_runs as classformer
from reuseprior.cli import app
from reuseprior.data import TextSet
from reuseprior.errors import UserError
from reuseprior.measures import measuring  # noqa: F401
from reuseprior.models.classformer import Classformer, Schedule
from tests.chapters.test_classformer import SIZES, TASK
from tests.training.letters import LETTERS, texts

LIVES = 5  # of a run that are cut short, before one may last
COMMIT = "1234567"
REFUSED = 2  # what a program ends with that says a sentence; 1 is a traceback


# Programs: each takes up what stands in its folder ------------------------------------------------


def net() -> nn.Module:
    """A model with all that a checkpoint can hold: ties, statistics, dropout."""
    first, second = (nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1))
    third = nn.Conv2d(4, 4, 3, padding=1)
    third.weight = second.weight
    layers = [first, nn.BatchNorm2d(4), nn.ReLU(), second, third, nn.Flatten(), nn.Dropout(0.3)]
    return nn.Sequential(*layers, nn.Linear(4 * 64, 10))


def narrow(width: int = 2) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.Flatten(), nn.Linear(width * 36, 4))


def wide() -> nn.Module:
    return narrow(8)


def deep() -> nn.Module:
    return nn.Sequential(*[nn.Conv2d(3, 3, 1) for _ in range(4)], *narrow())


def slow() -> nn.Module:
    time.sleep(0.3)
    return narrow()


def never() -> nn.Module:
    time.sleep(600)
    return narrow()


def command(*arguments: object) -> None:
    """A command of ours in this process; SystemExit with its exit code and what it says."""
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    print(done.stderr, file=sys.stderr)
    if done.exit_code:
        sys.exit(done.exit_code)


SETTINGS = {
    "train": [
        "channels=1", "train_images=96", "test_images=30", "batch_size=32", "width=1.0",
        "image_size=8", "test_image_size=8", "channels_last=false", "validation=0.1",
        "bn_momentum=0.01",
    ],
    "evolve": [
        "generations=2", "warmup_generations=1", "constant_generations=2",
        "mode=random_warmup_evolve", "population=4", "train_images=150", "test_images=50",
        "sample=2", "batch_size=32",
        "minimum_batches=2", "optimizer_state=scope", "augmentation=flip_crop", "keep_modules=4",
        "space.depths=[6]", "space.channels=4", "space.groups=2", "space.kernels=[1, 3]", "low=2",
        "top=1", "elimination=0.25",
    ],
}  # fmt: skip
NETS = [f"tests.faults:{name}" for name in ("wide", "slow", "deep", "narrow")]


def settings(program: str) -> list[str]:
    return [word for setting in SETTINGS[program] for word in ("--set", setting)]


def train(folder: Path, seed: int, epochs: int) -> list[object]:
    """The words of the command that trains `net` there."""
    made = ["--protocol", "quick", "--output", folder, "--resume", "--seed", seed]
    return ["train", "tests.faults:net", *settings("train"), "--set", f"epochs={epochs}", *made]


def run_train(folder: Path, seed: int = 0) -> None:
    command(*train(folder / "run", seed, epochs=2))  # a second checkpoint takes all steps


def run_evolve(folder: Path, seed: int = 0) -> None:
    made = ["--output", folder / "run", "--resume", "--seed", seed]
    command("evolve", "quick", *settings("evolve"), *made)


def run_rank(folder: Path, seed: int = 0) -> None:
    command("rank", *NETS, "--image-size", 8, "--no-cache", "--save", folder / "zoo.csv")


def run_affine(folder: Path, seed: int = 0) -> None:
    changes = {"epochs": 2, "batch_size": 32, "train_images": 64, "test_images": 20}
    tiny = replace(affine_runs.SCALES["quick"], changes={2: changes}, width=0.25, tested=10)
    with (
        patch.dict(affine_runs.SCALES, tiny=tiny),
        patch.multiple(affine_runs, ANGLES=(0, 90, 180), SEARCHED=90, SPREADS=(2, 32), DRAWS=2),
    ):
        one = affine_runs.Experiment("digits-rotation", "avae", "tiny")
        affine_runs.run(one, seed=seed, root=folder, progress=False)


def run_text(folder: Path, seed: int = 0) -> None:
    """Train a small Classformer, plainly and under drawn schedules, and search for one."""
    held = TextSet.of(TASK, 2, "accuracy", texts(48, 0), texts(20, 1))

    def pretrained(name, *, schedule=None, space=None, seed):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return Classformer(schedule or Schedule.plain(6), 2, SIZES, space)

    def timed(calls, *_, **__):  # what a clock says is not the same twice
        return {name: SimpleNamespace(share=len(name) / 99) for name in calls}

    small = {TASK: {"epochs": 1, "warmup_epochs": 0.2, "learning_rate": 0.1}}
    with (
        patch.multiple(
            classformer, pretrained=pretrained, interleaved=timed, TIMED=3,
            tokenizer=lambda name: LETTERS,
        ),
        patch.object(classformer.data, "load", lambda name, place=None: held),
        patch.dict(classformer.SCALES, small=small),
    ):  # fmt: skip
        for schedule in ("", classformer.DRAWN):
            one = classformer.Experiment(TASK, "small", schedule)
            classformer.run(one, seed=0, root=folder, progress=False)
        one = classformer.Search(TASK, "small", "tpe", length=32, budget=12)
        classformer.look(one, seed=seed, root=folder)


def run_record(folder: Path, seed: int = 0) -> None:
    source = folder.parent / "campaign" / "train" / "net-seed0"
    if not source.exists():  # made once, and not what is disturbed
        recording = results.Recording.start(source, {"seed": 0}, resume=False)
        recording.append({"epoch": 1, "loss": 0.5})
        results.write_csv(source / "trainings.csv", [{"generation": 1}])
        summary = recording.finish({}).summary | {"commits": ["a1"]}
        results.write_json(source / results.SUMMARY, schemas.sealed(summary))
    with patch.object(results, "_is_here", lambda commit: True):
        results.record(source, folder)


PROGRAMS: dict[str, Callable[..., None]] = {
    "train": run_train, "evolve": run_evolve, "rank": run_rank, "affine": run_affine,
    "text": run_text, "record": run_record,
}  # fmt: skip


# What a program left ------------------------------------------------------------------------------

CLOCK = {
    "seconds", "images_per_second", "start", "end", "wall_seconds", "peak_memory_bytes", "digest",
    "rows", results.FILES,  # digests of all that a row or a table says, seconds too
}  # fmt: skip


def contents(folder: Path) -> dict[str, object]:
    """All files below a folder by name, without what a clock says."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): _content(path) for path in found}


def _content(path: Path) -> object:
    if path.suffix == ".json":
        return _timeless(json.loads(path.read_text()))
    if path.suffix == ".csv":
        with path.open(newline="") as lines:
            return sorted(map(str, map(_timeless, csv.DictReader(lines))))  # ranks come as done
    if path.name == results.DIGESTS:
        return [line[66:] for line in path.read_text().splitlines()], results.altered(
            "", path.parent
        )
    if path.suffix == ".journal":
        return None  # its trials are the rows of a table; others were begun and not finished
    if path.suffix == ".safetensors":
        content = path.read_bytes()
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        about = header["__metadata__"]
        about |= {key: _timeless(json.loads(about[key])) for key in ("config", "progress")}
        tensors = {name: tensor.tolist() for name, tensor in load_file(path).items()}
        return _timeless(about), tensors
    return path.read_bytes()


def _timeless(value: object) -> object:
    if isinstance(value, dict):
        return {key: _timeless(inner) for key, inner in value.items() if key not in CLOCK}
    return [_timeless(inner) for inner in value] if isinstance(value, list) else value


# Lives --------------------------------------------------------------------------------------------


class Steps:
    """Counts this process's steps below a folder, and does something at one of them and after."""

    def __init__(self, folder: Path, at: int, what: Callable[[str, int | None], None]):
        self.folder, self.at, self.what = str(folder), at, what
        self.count = 0

    def watch(self) -> None:
        """From here on; there is no way back."""

        def watched(number: int) -> None:  # and no more: a kill loses nothing that is not on disk
            if self.is_below(os.readlink(f"/proc/self/fd/{number}")):
                self.step("fsync", number)

        os.fsync = watched
        sys.addaudithook(self.audit)

    def audit(self, event: str, arguments: tuple) -> None:
        path = arguments[0] if arguments else None
        if event == "open":
            writes = arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            event = "open" if writes else ""
        if event in ("open", "os.rename", "os.remove", "os.mkdir", "os.chmod"):
            number = path if isinstance(path, int) else None
            path = os.readlink(f"/proc/self/fd/{path}") if number is not None else path
            if self.is_below(os.fsdecode(path)):
                self.step(event, number)

    def is_below(self, path: str) -> bool:
        return path.startswith(self.folder)

    def step(self, event: str, number: int | None) -> None:
        self.count += 1
        if self.count >= self.at:
            self.what(event, number)


def die(event: str, number: int | None) -> None:
    """Be killed, in the middle of what is written."""
    if event == "fsync" and os.path.isfile(f"/proc/self/fd/{number}"):
        new = files.is_ours(os.path.basename(os.readlink(f"/proc/self/fd/{number}")))
        size = os.fstat(number).st_size
        torn = size // 2 if new else max(size - 20, 0)  # of what is appended, the end
        os.ftruncate(number, torn)
    os.kill(os.getpid(), signal.SIGKILL)


def full(event: str, number: int | None) -> None:
    """Let nothing new be written, as on a full disk; the rest goes on."""
    if event in ("open", "os.mkdir", "fsync"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def live(
    program: str, folder: Path, *, at: int = 10**9, what=die, seed: int = 0, log: Path | None = None
) -> int:
    """Fork a process that runs a program; its number. What it says goes to a file."""
    folder.mkdir(parents=True, exist_ok=True)
    log = log or folder.with_name(f"{folder.name}.log")
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        with log.open("w") as said:
            sys.stdout = sys.stderr = said
            steps = Steps(folder, at, what)
            steps.watch()
            try:
                PROGRAMS[program](folder, seed)
                code = 0
            except UserError as error:
                print(f"Error: {error}", file=said)
                code = REFUSED
            except SystemExit as end:
                code = end.code
            except BaseException:
                traceback.print_exc(file=said)
            print(f"{steps.count} steps", file=said)
    finally:
        os._exit(code)


def ended(child: int) -> int:
    """A process's exit code, or minus the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@cache
def undisturbed(program: str) -> tuple[dict[str, object], int, float]:
    """What a program leaves that nobody disturbs, in how many steps and seconds."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root, "whole")
        assert ended(live(program, folder)) == 0, said(folder)
        return contents(folder), int(said(folder).split()[-2]), time.monotonic() - start


def said(folder: Path) -> str:
    """What the last life of a program said."""
    return folder.with_name(f"{folder.name}.log").read_text()


def compare(folder: Path, whole: dict[str, object]) -> None:
    left = contents(folder)
    differing = [name for name in whole.keys() | left.keys() if whole.get(name) != left.get(name)]
    assert not differing, f"{folder}: {differing}"


def complete(program: str, folder: Path, whole: dict[str, object]) -> None:
    """Let a program come to its end, and compare."""
    assert ended(live(program, folder)) == 0, f"{folder}: {said(folder)}"
    compare(folder, whole)


def kills(program: str, root: Path, wanted: int) -> int:
    """Kill a program at random steps, so often in all, and compare each run's end."""
    whole, steps, _ = undisturbed(program)
    rng, killed, runs = random.Random(0), 0, 0
    while killed < wanted:
        folder = root / f"killed-{runs}"
        for _ in range(LIVES):
            code = ended(live(program, folder, at=rng.randint(1, steps)))
            assert code in (0, -signal.SIGKILL), said(folder)
            if code == 0:
                break
            killed += 1
        complete(program, folder, whole)
        runs += 1
    return killed


def full_disk(program: str, root: Path, wanted: int) -> int:
    """Let the disk be full from a step on, and then again empty, and compare the run's end.

    From that many random steps, or from every one; the number of sentences that told of it.
    """
    whole, steps, _ = undisturbed(program)
    refused = 0
    for at in random.Random(0).sample(range(1, steps + 1), min(wanted, steps)):
        folder = root / f"full-{at}"
        code = ended(live(program, folder, at=at, what=full))
        assert code in (0, REFUSED), said(folder)
        if code == REFUSED:
            refused += 1
            (sentence,) = [s for s in said(folder).splitlines() if s.startswith("Error: ")]
            assert "No space left on device" in sentence, sentence
        else:  # only what is deleted was left to do
            assert contents(folder).keys() >= whole.keys(), said(folder)
        complete(program, folder, whole)
    return refused


def pairs(program: str, root: Path, wanted: int) -> int:
    """Start a program twice at about the same time, so often, and compare what both leave.

    Every other time the first is stopped somewhere with its lock in its hands, so that the second
    comes upon it however slow the machine is. How many were told of another.
    """
    whole, _, seconds = undisturbed(program)
    rng, told = random.Random(0), 0
    for number in range(wanted):
        folder = root / f"pair-{number}"
        logs = [root / f"pair-{number}-{which}.log" for which in "ab"]
        first = live(program, folder, log=logs[0])
        try:
            if number % 2:
                time.sleep(rng.uniform(0, seconds / 2) if number % 4 == 3 else 0)
                while not (is_held(folder) or is_over(first)):
                    time.sleep(0.001)
                os.kill(first, signal.SIGSTOP)
            second = live(program, folder, log=logs[1])
            if number % 2:
                is_over(second, wait=True)
        finally:
            os.kill(first, signal.SIGCONT)
        codes = [ended(first), ended(second)]
        words = [log.read_text() for log in logs]
        assert 0 in codes and set(codes) <= {0, REFUSED}, words
        if REFUSED in codes:
            told += 1
            refused = codes.index(REFUSED)
            other = second if refused == 0 else first
            sentence = f"is being written by .*\\(process {other} on "
            assert re.search(sentence, words[refused]), words
        compare(folder, whole)
    return told


def is_held(folder: Path) -> bool:
    """Whether somebody has a lock below a folder and has said who it is."""
    with suppress(FileNotFoundError):  # it was just given back
        return any(lock.stat().st_size for lock in folder.rglob(".*.lock"))
    return False


def is_over(child: int, *, wait: bool = False) -> bool:
    """Whether a process has ended, whose exit code can still be asked for."""
    how = os.WEXITED | os.WNOWAIT | (0 if wait else os.WNOHANG)
    return os.waitid(os.P_PID, child, how) is not None


@contextmanager
def server() -> Iterator[Callable[..., int]]:
    """A process that plays what it is asked: `play(scenario, program, folder, how_often)`."""
    # one thread: a forked process waits for ever for the threads that its parent had
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(paths.PACKAGE.parent)}
    with subprocess.Popen(
        [sys.executable, "-m", "tests.faults"], env=environment, cwd=Path(__file__).parents[1],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip

        def play(*asked: object) -> int:
            print(json.dumps(asked, default=str), file=process.stdin, flush=True)
            answer = process.stdout.readline()
            assert answer, "the server of programs is gone"
            told, failure = json.loads(answer)
            assert not failure, failure
            return told

        yield play


SCENARIOS = {"kills": kills, "full disk": full_disk, "pairs": pairs}


if __name__ == "__main__":
    torch.set_num_threads(1)
    data.load("digits")
    command("models")  # imports what every command would in every process
    results.commit = lambda: COMMIT  # somebody may commit meanwhile, and git is slow to start
    files._PATIENCE = 60.0  # on a slow machine who holds a lock is slow to say so
    for line in sys.stdin:
        scenario, program, root, wanted = json.loads(line)
        try:
            answer = (SCENARIOS[scenario](program, Path(root), wanted), "")
        except AssertionError:
            answer = (0, traceback.format_exc())
        print(json.dumps(answer), flush=True)
