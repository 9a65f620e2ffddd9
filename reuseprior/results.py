"""Our own runs: a folder each, with its configuration, its metrics and its summary.

`data/results/<experiment>/<run>/` holds `config.json`, `metrics.csv` (a row an epoch or a
generation) and `summary.json`. Every file is whole at any moment: it is written under a temporary
name and put in place at once, so a run may be killed anywhere. One process at a time writes a run.
"""

from __future__ import annotations

import csv
import io
import json
import os
import platform
import re
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from reuseprior import __version__, files, paths, schemas
from reuseprior.errors import UserError, expect
from reuseprior.schemas import Config, Resumable, Summary

if TYPE_CHECKING:  # both take seconds to import, and most of this module needs neither
    import pandas as pd
    import torch

CONFIG = "config.json"
METRICS = "metrics.csv"
SUMMARY = "summary.json"
FILES = "files_sha256"  # of a finished run's summary: of its other files
DIGESTS = "SHA256SUMS"  # of the recorded runs' files, as `sha256sum --check` reads them


class ResultError(UserError):
    """A result that is not there, not whole, or not the one that is being continued."""


@dataclass(frozen=True)
class Run:
    """A recorded run: what it was told, what it measured row by row, and how it ended."""

    name: str
    folder: Path
    config: dict
    metrics: pd.DataFrame  # a row an epoch or generation
    summary: dict

    @classmethod
    def read(cls, folder: str | os.PathLike) -> Run:
        """The run in `folder`; `ResultError` where a file is missing, cut short or damaged.

        That is one that is not as it was when the run was finished, by the digests in its summary.
        """
        import pandas as pd

        expect(folder, (str, os.PathLike), "the folder", "give the path of a run", ResultError)
        folder = Path(folder)
        config, metrics = read_json(folder / CONFIG, Config), pd.DataFrame(_rows(folder))
        run = cls(folder.name, folder, config, metrics, _summary(folder))
        held = _digested(folder) if FILES in run.summary else {}
        for name, digest in run.summary.get(FILES, {}).items():
            if held.get(name) != digest:
                raise ResultError(
                    f"{folder / name} was changed after the run was finished: put the old one "
                    "back, or make the run anew"
                )
        return run

    @property
    def commits(self) -> list[str | None]:
        """The commits of the package that made it, one unless it was resumed with another."""
        return _commits(self.summary)

    @property
    def commit(self) -> str:
        """`commits` in short, as a command that repeats the run says them."""
        texts = [(text or "unknown").partition("-") for text in self.commits]
        return ", ".join(commit[:7] + dash + dirty for commit, dash, dirty in texts)


def runs(experiment: str, root: Path | None = None) -> list[Run]:
    """All runs of an experiment, by name; `root` is `data/results` if not given.

    Raises `ResultError` for an experiment without runs, and where one is not as it was recorded.
    """
    expect(experiment, str, "the experiment", "give the name of its folder", ResultError)
    root = paths.RESULTS if root is None else Path(root)
    if (root / DIGESTS).exists() and (changes := altered(experiment, root)):
        raise ResultError("\n".join(changes))
    known = sorted({config.parent.parent.name for config in root.glob(f"*/*/{CONFIG}")})
    if experiment not in known:
        raise ResultError(
            f"no runs of experiment {experiment!r} in {root}: "
            f"{'there are ' + ', '.join(known) if known else 'there are none of any yet'}"
        )
    return [Run.read(config.parent) for config in sorted((root / experiment).glob(f"*/{CONFIG}"))]


def finished_runs(experiments: str = "*", root: Path | None = None) -> list[Run]:
    """The finished runs of the experiments whose names match a pattern, by name; may be none.

    Raises `ResultError` where one is not as it was recorded.
    """
    root = paths.RESULTS if root is None else Path(root)
    names = sorted({config.parent.parent.name for config in root.glob(f"{experiments}/*/{CONFIG}")})
    return [run for name in names for run in runs(name, root) if run.summary["state"] == "finished"]


def table(listed: Iterable[Run]) -> pd.DataFrame:
    """Runs side by side: a row each, in their order, by `experiment/name`.

    Columns: `run` itself, `experiment`, and what their configurations and summaries say, level by
    level (`protocol.width`); NaN where one says nothing of it.
    """
    import pandas as pd

    rows = [
        {"run": run, "experiment": run.folder.parent.name, **run.summary, **run.config}
        for run in listed
    ]
    names = [f"{row['experiment']}/{row['run'].name}" for row in rows]
    return pd.json_normalize(rows).set_axis(pd.Index(names, dtype=object))


def altered(experiment: str = "", root: Path | None = None) -> list[str]:
    """A sentence for each recorded file, of one experiment or all, that is gone or another.

    What `record` has taken in is compared; other runs may stand beside it.
    """
    root = paths.RESULTS if root is None else root
    sentences = []
    for name, digest in _digests(root).items():
        path, run = root / name, root.joinpath(*Path(name).parts[:2])
        if experiment in ("", run.parent.name):
            mend = f"restore it with git, or `reuseprior record {run}` where it is meant to be so"
            if not path.is_file():
                gone = path if run.is_dir() else run
                sentences.append(f"{gone} is recorded in {root / DIGESTS} and is gone: {mend}")
            elif _sha256(path) != digest:
                sentences.append(f"{path} is not the file that was recorded: {mend}")
    return list(dict.fromkeys(sentences))


def _digests(root: Path) -> dict[str, str]:
    """The digest of each recorded file by its place in `root`."""
    pairs = [line.split("  ", 1)[::-1] for line in _read(root / DIGESTS).splitlines()]
    if not all(len(pair) == 2 and _SHA256.fullmatch(pair[1]) for pair in pairs):
        raise ResultError(f"{root / DIGESTS} is no list of digests: restore it with git")
    return dict(pairs)


def _list(run: Path, root: Path) -> None:
    """Put the digests of a recorded run's files in the place of those that it had."""
    lock = files.Lock(root / DIGESTS)
    try:
        files.sweep(root / DIGESTS)
        place = run.relative_to(root).as_posix()
        kept = _digests(root) if (root / DIGESTS).exists() else {}
        kept = {name: digest for name, digest in kept.items() if not name.startswith(f"{place}/")}
        kept |= {f"{place}/{name}": digest for name, digest in _digested(run).items()}
        lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(kept.items()))
        files.write(root / DIGESTS, lines.encode())
    finally:
        lock.release()


def record(folder: str | os.PathLike, root: Path | None = None) -> Run:
    """Copy a finished run into `root`, by default `data/results`, and return it from there.

    A campaign runs in a checkout of its own; what it finished is recorded so. Tables and JSON
    files are copied, those of failures too, weights are not. The run keeps its name and its
    experiment's, and the digests of its files are listed in `SHA256SUMS` there, which `runs` and
    the audit compare. Raises `ResultError` for a run that is not whole or not finished, one whose
    package was no commit, several, or one that this repository does not have, so that nobody could
    repeat it, one whose name or experiment is no name but markup, and where other files stand
    already; the same ones may, and a recording that was cut short goes on. Raises `files.Locked`
    where another process is recording or making the run there.
    """
    run = Run.read(Path(folder).resolve())
    if (state := run.summary["state"]) != "finished":
        raise ResultError(f"{run.folder} is {state}: finish it with --resume, then record it")
    for what, name in (("experiment", run.folder.parent.name), ("run", run.name)):
        if not _NAME.fullmatch(name):
            raise ResultError(
                f"{run.folder} gives its {what} the name {name!r}, which stands in pages: rename "
                "the folder to begin with a letter or digit and hold no markup"
            )
    if len(run.commits) > 1 or any(not c or c.endswith("-dirty") for c in run.commits):
        raise ResultError(
            f"{run.folder} was made by the package at commit {run.commit}, which nobody can go "
            "back to: make it anew from one checkout whose code is committed"
        )
    if not _is_here(run.commit):
        raise ResultError(
            f"{run.folder} was made by the package at commit {run.commit}, which is not in this "
            "repository: fetch the branch it is of, or make the run anew"
        )
    known = {SUMMARY, *run.summary.get(FILES, ())}
    if FILES in run.summary and (added := sorted(_digested(run.folder).keys() - known)):
        raise ResultError(
            f"{run.folder / added[0]} was added after the run was finished: move it away"
        )
    if schemas.DIGEST not in run.summary and _seals(run.commit):
        raise ResultError(
            f"{run.folder / SUMMARY} has no digest, which commit {run.commit} writes: put the old "
            "one back, or make the run anew"
        )
    for key in run.config.keys() & run.summary.keys():
        both = [json.dumps(value[key]) for value in (run.config, run.summary)]
        if key in _SAID_TWICE and both[0] != both[1]:
            raise ResultError(
                f"{run.folder} has {key} {both[0]} in {CONFIG} and {both[1]} in {SUMMARY}: one "
                "of them was changed, make the run anew"
            )
    root = paths.RESULTS if root is None else Path(root)
    target = root / run.folder.parent.name / run.name
    if target.resolve() != run.folder:
        make_folder(target)
        lock = files.Lock(target)
        try:
            _copy(run.folder, target)
        finally:
            lock.release()
    _list(target, root)
    return Run.read(target)


def _copy(source: Path, target: Path) -> None:
    for folder in (target, *(inner for inner in target.iterdir() if inner.is_dir())):
        files.sweep(folder)
    held = _files(source, *_RECORDED)
    there = _files(target, "**/*")
    if not there.items() <= held.items():
        raise ResultError(
            f"{target} holds other files than {source}: move one of them to another name"
        )
    first_to_last = (CONFIG, *sorted(held.keys() - {CONFIG, SUMMARY}), SUMMARY)
    for name in first_to_last:  # the summary says that the run is whole
        if name not in there:
            make_folder((target / name).parent)
            files.write(target / name, held[name])


_RECORDED = ("*.csv", "*.json", "failures/*.json")
_SHA256 = re.compile("[0-9a-f]{64}")
_NAME = re.compile(r"\w[^<>&\"`$\x00-\x1f\x7f]*")
_SAID_TWICE = ("seed", "data_checksum", "parameters", "processes")  # in config and summary


def _files(folder: Path, *patterns: str) -> dict[str, bytes]:
    """The files in a folder by their place in it, but for half-written ones and locks."""
    matching = (path for pattern in patterns for path in folder.glob(pattern) if path.is_file())
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in matching
        if not files.is_ours(path.name)
    }


def _digested(folder: Path) -> dict[str, str]:
    """The digests of what `record` takes of a run."""
    held = _files(folder, *_RECORDED)
    return {name: sha256(held[name]).hexdigest() for name in sorted(held)}


def _commits(summary: dict) -> list[str | None]:
    """What a summary says of commits; an older one of the last, or of none if it was cut short."""
    return summary.get("commits") or [summary.get("commit")]


class Recording:
    """The folder of a run in progress; until `finish`, its summary says "interrupted".

    It says also at which commits of the package the processes began that went on with it: a commit
    ends in "-dirty" where the code differs from it, and is null where there is no git checkout.
    Nobody else writes there until it is finished, closed or forgotten.
    """

    def __init__(
        self,
        folder: Path,
        rows: list[dict],
        start: str,
        wall_seconds: float,
        commits: list[str | None],
        lock: files.Lock,
        checkpoint: Path | None,
    ) -> None:
        self.folder = folder
        self._checkpoint = checkpoint
        self._commits = commits
        self._lock = lock
        self.rows = rows
        self._start = start
        self._seconds_before = wall_seconds
        self._clock = time.monotonic()

    @classmethod
    def start(
        cls, folder: str | os.PathLike, config: dict, *, resume: bool, checkpoint: str | None = None
    ) -> Recording:
        """Open `folder` for a run with this configuration.

        With `resume`, a run that stands there is taken up with its rows, and an empty folder
        starts one: a job that may be killed calls the same thing each time. Raises `ResultError`
        if there is a run and `resume` is false, or if its configuration is another. `checkpoint`
        names the file that a resume goes on from: a finished run that has lost it, as committed
        ones have, is refused, and so is one that lies in a folder without a run. Where a kill left
        only the one before it, `kept`, that takes its place. Raises `files.Locked` where another
        process is at work on the run, and within one process takes the run from whoever had it.
        """
        folder = Path(folder)
        config = as_read(config)
        make_folder(folder)
        lock = files.Lock(folder)
        try:
            return cls._opened(folder, config, lock, resume, checkpoint)
        except BaseException:
            lock.release()
            raise

    @classmethod
    def _opened(
        cls, folder: Path, config: dict, lock: files.Lock, resume: bool, checkpoint: str | None
    ) -> Recording:
        saved = folder / checkpoint if checkpoint else None
        if not (folder / CONFIG).exists():
            if saved and (saved.exists() or kept(saved).exists()):
                raise ResultError(
                    f"{folder} holds {checkpoint} of a run whose {CONFIG} is gone: choose another"
                )
            for path in sorted(
                path for kind in (*_RECORDED, "*.safetensors") for path in folder.glob(kind)
            ):
                if path.name != SUMMARY or not _has_begun(folder):
                    raise ResultError(
                        f"{path} is no file of a run, and one there could overwrite it: choose "
                        "another folder"
                    )
            files.sweep(folder)
            recording = cls(folder, [], _now(), 0.0, [commit()], lock, saved)
            recording._summarise({}, "interrupted")
            write_json(folder / CONFIG, config)  # last: with it the folder is a run
            return recording
        if not resume:
            raise ResultError(
                f"{folder} holds a run already: continue it with --resume, or choose another folder"
            )
        _refuse_difference(folder, read_json(folder / CONFIG, dict), config)
        files.sweep(folder)
        if saved:
            files.recover(saved, kept(saved))
        run = _summary(folder, Resumable)
        before, now = _commits(run), commit()
        commits = before if now in before else [*before, now]
        if saved and run["state"] == "finished" and not saved.exists():
            raise ResultError(
                f"{folder} holds a finished run without its {checkpoint}: there is nothing to "
                "continue, choose another folder"
            )
        if run["state"] != "finished" and run.get("commits") != commits:
            lock.check()
            write_json(folder / SUMMARY, schemas.sealed(run | {"commits": commits}))
        rows, start, seconds = _rows(folder), run["start"], run["wall_seconds"]
        return cls(folder, rows, start, seconds, commits, lock, saved)

    def append(self, row: dict) -> None:
        """Add a row; the first one fixes the columns, and another set of them is a ValueError."""
        self.extend([row])

    def extend(self, rows: Iterable[dict]) -> None:
        """Add several rows with one write."""
        for row in rows:
            if self.rows and row.keys() != self.rows[0].keys():
                raise ResultError(
                    f"The columns of {self.folder / METRICS} are {', '.join(self.rows[0])}, and "
                    f"this row has {', '.join(row)}: give every row the same."
                )
            self.rows.append(dict(row))
        self._rewrite()

    def sort(self, key: Callable[[dict], object]) -> None:
        """Put the rows in order, where they came as they were done."""
        self.rows.sort(key=key)
        self._rewrite()

    def truncate(self, n_rows: int) -> None:
        """Keep the first `n_rows`: a run continued from a checkpoint drops what came after it."""
        self._first(n_rows)
        del self.rows[n_rows:]
        self._rewrite()

    def digest(self) -> str:
        """A digest of the rows, for a checkpoint that comes after them."""
        return _digest(self.rows)

    def verify(self, n_rows: int, digest: str | None) -> None:
        """Raise `ResultError` where the first rows are not those that had this digest.

        The rows of a checkpoint without one, as older packages wrote it, are believed.
        """
        if digest is not None and _digest(self._first(n_rows)) != digest:
            raise ResultError(
                f"the first {n_rows} rows of {self.folder / METRICS} are not those that the "
                "checkpoint came after, so they are damaged or edited: put them back, or start it "
                "anew in another folder"
            )

    def _first(self, n_rows: int) -> list[dict]:
        if n_rows > len(self.rows):
            raise ResultError(
                f"{self.folder / METRICS} holds {len(self.rows)} rows and the checkpoint comes "
                f"after row {n_rows}: take both from the same run, or start it anew in another "
                "folder"
            )
        return self.rows[:n_rows]

    def finish(
        self, summary: dict, *, state: Literal["finished", "interrupted"] = "finished"
    ) -> Run:
        """Write the summary, with state, start, end and the wall seconds of all resumptions.

        A run that is finished is closed, and the checkpoint before its last one is deleted; one
        that is interrupted can be gone on with.
        """
        if state == "finished":
            held = _digested(self.folder)
            summary = summary | {FILES: {name: held[name] for name in held if name != SUMMARY}}
        self._summarise(summary, state)
        if state == "finished":
            self.settle()
            self.close()
        return Run.read(self.folder)

    def settle(self) -> None:
        """Delete the checkpoint before the last one: the run is finished, and the last is whole."""
        if self._checkpoint:
            kept(self._checkpoint).unlink(missing_ok=True)

    def check(self) -> None:
        """Raise `files.Locked` where this process has since opened the run anew."""
        self._lock.check()

    def close(self) -> None:
        """Let others write here."""
        self._lock.release()

    def _rewrite(self) -> None:
        self.check()
        write_csv(self.folder / METRICS, self.rows)
        self._summarise({}, "interrupted")

    def _summarise(self, summary: dict, state: str) -> None:
        self.check()
        seconds = self._seconds_before + time.monotonic() - self._clock
        of_recording = {"state": state, "start": self._start, "end": _now()}
        of_recording |= {"wall_seconds": round(seconds, 3), "commits": self._commits}
        write_json(self.folder / SUMMARY, schemas.sealed(of_recording | summary))


def kept(checkpoint: Path) -> Path:
    """Where the checkpoint before the last one stands, until the run is finished."""
    return checkpoint.with_name(f"{checkpoint.stem}.previous{checkpoint.suffix}")


def finished(folder: Path) -> bool:
    """Whether a run stands in a folder and is finished."""
    return (folder / SUMMARY).exists() and _summary(folder)["state"] == "finished"


def _summary(folder: Path, schema: Any = Summary) -> dict:
    """A run's summary; `ResultError` where it is not as it was written. Older ones cannot say."""
    summary = read_json(folder / SUMMARY, schema)
    if summary.get(schemas.DIGEST) not in (None, schemas.digest(summary)):
        raise ResultError(
            f"{folder / SUMMARY} is not as the run wrote it, but damaged or edited: put the old "
            "one back, or make the run anew"
        )
    return summary


def _has_begun(folder: Path) -> bool:
    """Whether a run left its first summary, and was killed before its configuration stood."""
    with suppress(ResultError):
        return schemas.DIGEST in _summary(folder, Resumable)
    return False


def as_read(config: dict) -> dict:
    """A configuration as it will be read from its file, where tuples are lists.

    Raises ValueError for what JSON does not know.
    """
    return json.loads(_json(Path(CONFIG), config))


def provenance(*, seed: int, device: str, data_checksum: str | None) -> dict:
    """What a result owes its numbers to, ready for `summary.json`.

    The commits are there already: those at which the processes that made it began. `device` is
    torch's name, such as "cpu" or "cuda:0". Processors of one name may have other instructions
    (AVX2, AVX512), and then round otherwise.
    """
    import torch

    return {
        "seed": seed,
        "data_checksum": data_checksum,
        "reuseprior": __version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),  # with the build, such as +cpu
        "torchvision": metadata.version("torchvision"),
        "accelerate": metadata.version("accelerate"),
        "platform": platform.platform(),
        "device": _device_name(torch.device(device)),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
    }


def write_json(path: Path, value) -> None:
    """Write strict JSON; raises ValueError for NaN and infinities, which it does not know."""
    files.write(path, _json(path, value).encode())


def write_csv(path: Path, rows: list[dict]) -> None:
    """Write rows of equal keys, floats to their last bit and None as an empty cell."""
    files.write(path, _csv(rows))


def _csv(rows: list[dict]) -> bytes:
    text = io.StringIO(newline="")
    if rows:
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return text.getvalue().encode()


def _digest(rows: list[dict]) -> str:
    return sha256(_csv(rows)).hexdigest()


def _sha256(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def read_json(path: Path, schema: Any = Any):
    """Read JSON; `ResultError` where the file is missing or cut short, or not of the schema."""
    text = _read(path)
    try:
        return schemas.read(text, schema)
    except schemas.SchemaError as error:
        raise ResultError(f"{path} {error}: restore it, or delete it and run anew") from error


def read_csv(path: Path, columns: Sequence[str] | None = None) -> list[dict]:
    """Read what `write_csv` wrote, a dict a row, if its columns are `columns` in this order.

    Raises `ResultError` where the file is missing or cut short, or has other columns.
    """
    try:
        header, *lines = list(csv.reader(io.StringIO(_read(path), newline=""))) or [[]]
    except csv.Error as error:  # such as a cell of 200 kB
        raise ResultError(
            f"{path} is no table ({error}): restore it, or delete it and run anew"
        ) from error
    if columns is not None and header != list(columns):
        unknown = [name for name in header if name not in columns]
        lacking = [name for name in columns if name not in header]
        wrong = [f"unknown columns {', '.join(map(repr, unknown))}"] if unknown else []
        wrong += [f"no column {', '.join(map(repr, lacking))}"] if lacking else []
        raise ResultError(
            f"{path} has {' and '.join(wrong) or 'its columns in another order'}: name a file "
            f"that this command wrote, with the columns {', '.join(columns)}"
        )
    for number, line in enumerate(lines, 2):
        if len(line) != len(header):
            raise ResultError(
                f"{path} has {len(line)} cells in line {number} and {len(header)} columns: "
                "restore it, or delete it and run anew"
            )
    return [dict(zip(header, map(_cell, line), strict=True)) for line in lines]


def make_folder(folder: Path) -> None:
    """Make a folder, unless it is there; `ResultError` where that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:  # a file stands there, or above; the disk is full or read-only
        raise ResultError(
            f"cannot make the folder {folder} ({error.strerror}): choose another"
        ) from error


def _rows(folder: Path) -> list[dict]:
    """The rows of a run; there is no file before the first one."""
    return read_csv(folder / METRICS) if (folder / METRICS).exists() else []


def _read(path: Path) -> str:
    try:
        return files.read(path).decode()
    except FileNotFoundError as error:
        raise ResultError(f"{path} does not exist: name the folder of a recorded run") from error
    except UnicodeDecodeError as error:
        raise ResultError(f"{path} is not text: restore it, or delete it and run anew") from error
    except OSError as error:
        raise ResultError(f"cannot read {path} ({error.strerror or error}): mend that") from error


def _cell(text: str) -> int | float | str | None:
    """The value that was written as `text`, so that writing it again gives the same text."""
    if text == "":
        return None
    for kind in (int, float) if text.lstrip("-").isdigit() else (float,):
        try:
            value = kind(text)
        except ValueError:
            continue
        if str(value) == text:  # int("007") is no round trip
            return value
    return text


def _json(path: Path, value) -> str:
    try:
        return json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    except ValueError as error:
        raise ValueError(f"{path} cannot hold this value ({error}): write null for it.") from error


_NOTHING = object()  # where a configuration has no such key


def _refuse_difference(folder: Path, recorded: dict, wanted: dict) -> None:
    if (differing := difference(recorded, wanted)) is not None:
        key, old, new = differing
        raise ResultError(
            f"the run in {folder} was started with {key} = {old} and this one has {new}: resume "
            "with the same configuration, or choose another folder"
        )


def difference(recorded, wanted, key: str = "") -> tuple[str, str, str] | None:
    """The first key, with dots between levels, at which two JSON values differ, and both texts."""
    if isinstance(recorded, dict) and isinstance(wanted, dict):
        inner = (
            difference(recorded.get(name, _NOTHING), wanted.get(name, _NOTHING), f"{key}.{name}")
            for name in recorded | wanted
        )
        return next(filter(None, inner), None)
    # texts are compared, as Python has 1 == True and 1 == 1.0
    texts = ["nothing" if value is _NOTHING else json.dumps(value) for value in (recorded, wanted)]
    return None if texts[0] == texts[1] else (key.removeprefix("."), *texts)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def commit() -> str | None:
    """The checked out commit, `-dirty` where the package differs from it; None without git."""
    head = _git("rev-parse", "HEAD")
    if head is None or not _is_repository():
        return None
    # code only: a run writes its own results, which would make every commit dirty
    return f"{head}-dirty" if _git("status", "--porcelain", "--", "reuseprior") else head


def changed_files(*folders: str) -> list[str] | None:
    """Files of these folders that are not as last committed; None where git cannot say."""
    names = _git("diff", "--name-only", "HEAD", "--", *folders) if _is_repository() else None
    return None if names is None else names.splitlines()


def unrecordable(folder: Path) -> str:
    """Why `record` would refuse a run that begins in a folder now, or goes on there; or nothing."""
    now, held = commit(), []
    if (folder / CONFIG).exists() and (folder / SUMMARY).exists():
        held = _commits(_summary(folder))
    if now is None:
        return _unknown()
    if now.endswith("-dirty"):
        return f"the package in {paths.ROOT} is edited: commit it, or use a checkout of its own"
    if other := [text or "unknown" for text in held if text != now]:
        return f"it was made at commit {other[0][:7]} so far and this is {now[:7]}: check that out"
    return ""


def _unknown() -> str:
    """Why there is no commit."""
    try:
        asked = ["git", "-C", str(paths.ROOT), "rev-parse", "HEAD"]
        said = subprocess.run(asked, capture_output=True, text=True).stderr
    except FileNotFoundError:
        return "there is no git to say the package's commit: install it"
    if "dubious ownership" in said:
        return (
            f"{paths.ROOT} is another user's, and git does not read it: make a clone of your own, "
            f"or trust it with `git config --global --add safe.directory {paths.ROOT}`"
        )
    return f"{paths.ROOT} has no commit of git: work in a clone of the repository"


def _seals(commit: str) -> bool:
    """Whether the package wrote digests into summaries at a commit of this repository."""
    return _git("grep", "-qF", "schemas.sealed", commit, "--", "reuseprior/results.py") is not None


def _is_here(commit: str) -> bool:
    """Whether the package's repository has a commit; true where it is in none that could say."""
    return not _is_repository() or _git("cat-file", "-e", f"{commit}^{{commit}}") is not None


def _is_repository() -> bool:
    # an installed copy may lie inside somebody else's repository, whose commits say nothing
    top = _git("rev-parse", "--show-toplevel")
    return top is not None and Path(top).resolve() == paths.ROOT


def _git(*arguments: str) -> str | None:
    """What git prints, or None where there is no git or no repository."""
    try:
        done = subprocess.run(
            ["git", "-C", str(paths.ROOT), *arguments], capture_output=True, text=True
        )
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpus = Path("/proc/cpuinfo")  # Linux: platform.processor() is empty or the instruction set
    lines = cpus.read_text(encoding="utf-8").splitlines() if cpus.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
