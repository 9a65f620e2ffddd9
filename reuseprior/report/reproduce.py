"""Run the chapters, and only those whose inputs changed: papermill runs one, Snakemake the batch.

What a run was made of is hashed and goes into the name of a small record, `build/stamps/`, written
last, with the digests of what it made. A chapter runs exactly if it has no such record or one of
its products is gone or another, whatever the files' times say, and a batch that was killed goes on
with what has no record yet. Snakemake's own triggers would not do: they look at contents only where
a file is newer, take a notebook's saved outputs for a change, and cannot say which value or version
was another. And it deletes what a rule that failed should have made: so all that it knows of is an
empty file, `Job.done`. What a notebook draws goes to `build/drawn/` first, and to its place when
all is well.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from unittest.mock import patch

from reuseprior import files, paths, schemas
from reuseprior.errors import UserError, did_you_mean
from reuseprior.report import chapters, notebooks, variants
from reuseprior.report.chapters import PROFILES, Chapter
from reuseprior.report.notebooks import Parameter
from reuseprior.report.variants import Variant

Value = int | float | bool | str

# whose versions may change what a notebook shows
LIBRARIES = ("torch", "torchvision", "numpy", "pandas", "matplotlib", "sympy")


class RunError(UserError):
    """Notebooks cannot be run as asked; the message names the mend."""


@dataclass(frozen=True)
class Job(Variant):
    """One chapter and the values of its parameters, to be run."""

    @property
    def name(self) -> str:
        """The chapter's name, as one types it."""
        return self.chapter.name

    @property
    def notebook(self) -> Path:
        """What is run."""
        return self.chapter.notebook

    @property
    def minutes(self) -> float:
        """About how long it takes on two cores."""
        return self.chapter.presets[self.parameters["profile"]].minutes

    @property
    def needs(self) -> str:
        """Its time, and the data and the device that it cannot do without, in words.

        >>> plan(["10-nn-mass"], profile="full")[0].needs
        'about 25 h on a GPU, with cifar10'
        """
        preset = self.chapter.presets[self.parameters["profile"]]
        device = preset.device or "two cores"
        data = f", with {' and '.join(preset.data)}" if preset.data else ""
        return f"about {chapters.duration(self.minutes)} on {device}{data}"

    @property
    def order(self) -> str:
        """The job as JSON, for another process; `Job.ordered` reads it."""
        return json.dumps([self.name, dict(self.parameters)])

    @classmethod
    def ordered(cls, text: str) -> Job:
        """The job that `order` wrote down."""
        name, parameters = json.loads(text)
        (chapter,) = [chapter for chapter in chapters.found() if chapter.name == name]
        return cls(chapter, parameters)

    @property
    def broken(self) -> Path:
        """Where the executed copy goes instead if a cell failed."""
        return paths.BUILD / "failed" / f"{self.label}.ipynb"

    @cached_property
    def inputs(self) -> list[Path]:
        """The files it is made of, the notebook first."""
        return [self.notebook, *notebooks.inputs(self.notebook, self.chapter.inputs)]

    @cached_property
    def products(self) -> list[Path]:
        """The executed copy, the figures, and what its chapter leaves besides."""
        names = notebooks.figures(self.notebook)
        drawn = [self.figures / f"{name}.{kind}" for name in names for kind in ("svg", "png")]
        return [self.output, *drawn, *(paths.ROOT / name for name in self.chapter.products)]

    @property
    def drawn(self) -> Path:
        """Where its figures go while it runs."""
        return paths.BUILD / "drawn" / self.label

    @property
    def done(self) -> Path:
        """What stands there for Snakemake exactly if there is nothing to do."""
        return paths.BUILD / "stamps" / f"{self.label}.done"

    @cached_property
    def facts(self) -> dict[str, str]:
        """All that its results depend on, by a name to be read: files' hashes, values, versions."""
        _, *others = self.inputs
        return {
            _label(self.notebook): notebooks.digest(self.notebook),
            **{_label(path): sha256(path.read_bytes()).hexdigest() for path in others},
            **{f"parameter {name}": repr(value) for name, value in self.parameters.items()},
            "Python": platform.python_version(),
            **{name: metadata.version(name) for name in LIBRARIES},
        }

    @cached_property
    def stamp(self) -> Path:
        """The record of a run made of exactly these facts."""
        digest = sha256(json.dumps(self.facts, sort_keys=True).encode()).hexdigest()
        return paths.BUILD / "stamps" / f"{self.label}.{digest[:16]}.json"


@dataclass(frozen=True)
class Outcome:
    """What became of a job: `failure` names cell and error, and is empty where all went well."""

    job: Job
    seconds: float
    failure: str = ""


# Before anything runs ----------------------------------------------------------------------------


def plan(
    names: Sequence[str] = (),
    *,
    profile: str = "quick",
    parameters: Mapping[str, str] | None = None,
) -> list[Job]:
    """The jobs for some chapters, or for all, checked as far as can be without running them.

    >>> plan(["04-counting-contexts"], profile="full", parameters={"seed": "1"})

    Chapters that say `last` are always among them. Parameters are text, read as the type of the
    notebook's own value, and go before the profile's preset. Raises RunError for unknown chapters
    and parameters, wrong types, and parameters for more than one chapter; NotebookError for a
    notebook without exactly one cell tagged `parameters`; ChapterError for a chapter's wrong file.
    """
    _check_tools()
    parameters = dict(parameters or {})
    if parameters and len(set(names)) != 1:
        raise RunError(
            f"parameter {next(iter(parameters))!r} needs exactly one chapter, as notebooks differ "
            "in their parameters: name it"
        )
    if "profile" in parameters:
        raise RunError("the profile is not chosen with -p: write --profile quick or --profile full")
    if profile not in PROFILES:
        raise RunError(f"there is no profile {profile!r}: {' and '.join(PROFILES)} are")
    chosen = _chosen(names)
    return [_job(c, profile, parameters if c.name in names else {}) for c in chosen]


def _job(chapter: Chapter, profile: str, texts: Mapping[str, str]) -> Job:
    known = notebooks.parameters(chapter.notebook)
    values = {name: _read(chapter.name, name, text, known) for name, text in texts.items()}
    preset = {"profile": profile, **chapter.presets[profile].parameters}
    for name, value in preset.items():
        _check(chapter, name, value, known)
    for name, value in values.items():
        variants.check_range(chapter.name, name, value)
    return Job(chapter, preset | values)


def why(job: Job) -> str:
    """Why a job has to run, or nothing where its last run still stands."""
    if not job.stamp.exists():
        records = _stamps(job.label)
        if not records:
            return "failed last time" if job.broken.exists() else "not run yet"
        before = _record(records[-1])
        return _difference(before["facts"], job.facts) if before else "its record is damaged"
    if (record := _record(job.stamp)) is None or record["facts"] != job.facts:
        return "its record is damaged"
    products = _digests(job.products)
    if missing := [name for name, now in products.items() if not now]:
        return f"missing: {_shortened(missing)}"
    other = [name for name, now in products.items() if record["products"].get(name) != now]
    return f"changed since it ran: {_shortened(other)}" if other else ""


def mark(jobs: Sequence[Job]) -> None:
    """Tell Snakemake which of these have nothing to do; the last ones see what others left."""
    (paths.BUILD / "stamps").mkdir(parents=True, exist_ok=True)
    changed = False
    for job in sorted(jobs, key=lambda job: job.chapter.last):
        if why(job) or (changed and job.chapter.last):
            changed = True
            job.done.unlink(missing_ok=True)
        else:
            job.done.touch()


def _digests(products: Sequence[Path]) -> dict[str, str]:
    """The digest of each file by its name, empty where there is none."""
    return {_label(p): sha256(p.read_bytes()).hexdigest() if p.exists() else "" for p in products}


def _record(path: Path) -> dict | None:
    """What `_recorded` wrote, or None where a file is damaged: then the chapter runs again."""
    try:
        return schemas.unsealed(path.read_bytes(), schemas.Stamp)
    except schemas.SchemaError:
        return None


def _difference(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    changed = [k for k in now if k in before and now[k] != before[k]]
    sentences = [f"{k} was {before[k]}, is {now[k]}" for k in changed if _is_told(k)]
    kinds = {
        "changed": [k for k in changed if not _is_told(k)],
        "new": now.keys() - before.keys(),
        "gone": before.keys() - now.keys(),
    }
    sentences += [f"{word}: {_shortened(sorted(names))}" for word, names in kinds.items() if names]
    return "; ".join(sentences)


def _is_told(fact: str) -> bool:
    """Whether a fact is a value that one can read, not a hash."""
    return fact in LIBRARIES or fact == "Python" or fact.startswith("parameter ")


def _shortened(names: Sequence[str]) -> str:
    rest = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + rest


def _label(path: Path) -> str:
    """A file's name from the repository's root, or from beside the package."""
    for root in (paths.ROOT, paths.PACKAGE.parent):
        if path.is_relative_to(root):
            return path.relative_to(root).as_posix()
    return str(path)


def _stamps(label: str) -> list[Path]:
    return sorted((paths.BUILD / "stamps").glob(f"{label}.*.json"))


def _check_tools() -> None:
    # found, not imported: papermill alone takes a second
    for name in ("papermill", "snakemake"):
        if find_spec(name) is None:
            raise RunError(f"running notebooks needs {name}: {paths.install('notebooks')}")


def _chosen(names: Sequence[str]) -> list[Chapter]:
    by_name = {chapter.name: chapter for chapter in chapters.found()}
    for name in names:
        if name not in by_name:
            mend = did_you_mean(name, by_name) or f": there are {', '.join(by_name)}"
            raise RunError(f"unknown chapter {name!r}{mend}")
    return [c for c in by_name.values() if c.name in names or c.last or not names]


_BOOLS = {"true": True, "false": False}
_READERS = {"int": int, "float": float, "bool": lambda text: _BOOLS[text.lower()], "str": str}


def _read(chapter: str, name: str, text: str, known: Mapping[str, Parameter]) -> Value:
    """A text as a value of the parameter's type."""
    kind = variants.parameter(chapter, name, known).type
    if kind not in _READERS:
        raise RunError(
            f"parameter {name!r} of {chapter} ({kind}) cannot be set from text: only int, float, "
            "bool and str can"
        )
    try:
        return _READERS[kind](text)
    except (ValueError, KeyError) as error:
        allowed = " (true or false)" if kind == "bool" else ""
        raise RunError(
            f"parameter {name!r} of {chapter} is {kind}{allowed}, not {text!r}"
        ) from error


def _check(chapter: Chapter, name: str, value, known: Mapping[str, Parameter]) -> None:
    """Refuse a preset's value of another type: TOML reads 1 as no float."""
    kind = variants.parameter(chapter.name, name, known).type
    type_name = type(value).__name__
    if type_name != kind:
        hint = ": write it as 1.0e-3 or 1.0" if kind == "float" else ""
        raise RunError(
            f"parameter {name!r} of {chapter.name} is {kind}, but {_label(chapter.file)} gives "
            f"{value!r} ({type_name}){hint}"
        )


# The batch ---------------------------------------------------------------------------------------


def batch(jobs: Sequence[Job], *, parallel: int = 2) -> Iterator[Outcome]:
    """Run the jobs that have to run, `parallel` at a time, and yield each run as it ends.

    The last chapters begin when the others have ended, as these may record what they read. A
    failing job stops no other. Raises RunError where another batch is at work in this checkout, or
    where Snakemake itself fails; then, or when the caller goes away, all that runs is ended.
    """
    with _only_batch():
        for last in (False, True):
            turn = [Job(j.chapter, j.parameters) for j in jobs if j.chapter.last == last]
            yield from _batch([job for job in turn if why(job)], parallel)


def _batch(jobs: Sequence[Job], parallel: int) -> Iterator[Outcome]:
    waiting = {job.name: job for job in jobs}
    if not waiting:
        return
    failed = False
    with _snakemake(jobs, parallel) as (process, log):
        ended = False
        while not ended:
            time.sleep(0.05)
            ended = process.poll() is not None  # before looking, or the last run could be missed
            for name, job in list(waiting.items()):
                if (run := _outcome(job)) is not None:
                    del waiting[name]
                    failed = failed or bool(run.failure)
                    yield run
    if waiting or (process.returncode and not failed):
        log_lines = [line.strip() for line in log.read_text(errors="replace").splitlines()]
        said = next((line for line in reversed(log_lines) if line), "it says nothing")
        raise RunError(
            f"Snakemake failed before {', '.join(waiting) or 'its end'}: {said}; see {log}"
        )


@contextmanager
def _only_batch() -> Iterator[None]:
    paths.BUILD.mkdir(parents=True, exist_ok=True)
    with (paths.BUILD / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunError(
                f"another reproduce is at work in {paths.ROOT}: wait until it ends"
            ) from error
        yield


@contextmanager
def _snakemake(jobs: Sequence[Job], parallel: int) -> Iterator[tuple[subprocess.Popen, Path]]:
    """Snakemake in a process group of its own, which ends with this process however it ends."""
    for job in jobs:
        for left in (_failure_path(job), job.done):
            left.unlink(missing_ok=True)
    threads = max(1, (os.cpu_count() or 1) // parallel)
    config = {"jobs": json.dumps([job.order for job in jobs]), "threads": threads}
    command = [
        *(sys.executable, "-m", "reuseprior.report.reproduce", "schedule"),
        *("--snakefile", str(paths.NOTEBOOKS / "Snakefile")),
        *("--cores", str(parallel * threads), "--nolock"),
        *("--config", *(f"{key}={value}" for key, value in config.items())),
    ]
    log = paths.BUILD / "reproduce.log"
    with _kernel_environment(), log.open("w") as file:
        process = subprocess.Popen(
            command,
            cwd=paths.ROOT,
            stdin=subprocess.PIPE,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process, log
    finally:
        process.stdin.close()  # which ends it if it is still at work
        process.wait()


def _schedule(arguments: Sequence[str]) -> None:
    from snakemake.cli import main

    threading.Thread(target=_end_with_caller, daemon=True).start()
    main(arguments)


def _end_with_caller() -> None:
    """Wait until the process that started this one closes its pipe, which kill -9 does as well."""
    import psutil

    os.read(sys.stdin.fileno(), 1)
    # Kernels are in sessions of their own. All are stopped before one is ended, or a process
    # without its parent could no longer be found, and its parent could start another.
    stopped: set[psutil.Process] = set()
    while started := set(psutil.Process().children(recursive=True)) - stopped:
        stopped |= started
        for process in started:
            with suppress(psutil.NoSuchProcess):
                process.suspend()
    for process in stopped:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    os.killpg(os.getpgrp(), signal.SIGKILL)  # nothing is lost: all files are put in place whole


def _failure_path(job: Job) -> Path:
    return job.broken.with_suffix(".json")


def _outcome(job: Job) -> Outcome | None:
    """How a job of the batch at work ended, or None where it did not yet."""
    failed = _failure_path(job)
    if not failed.exists() and not job.done.exists():
        return None
    now = Job(job.chapter, job.parameters)  # which may have changed since
    ended = _record(failed if failed.exists() else now.stamp)
    if ended is None:
        raise RunError(f"the record of {job.name} was damaged while it ran: run it again")
    return Outcome(job, ended["seconds"], ended["failure"])


# One notebook ------------------------------------------------------------------------------------


def run(job: Job) -> Outcome:
    """Run a job in the notebook's folder and record how it ended.

    Any error of the notebook or its kernel is returned, so that a batch goes on; the broken copy
    is then kept apart from the last whole one, and its figures stay as they were.
    """
    # nbformat loads jsonschema, which loads it, and it builds parsers for seconds that nobody needs
    sys.modules.setdefault("rfc3987_syntax", None)
    import papermill

    stamp = job.stamp  # hashed now, as a file may change while it runs
    shutil.rmtree(job.drawn, ignore_errors=True)
    unfinished = job.output.with_name(f".{job.name}.{os.getpid()}.tmp.ipynb")
    for folder in (job.output.parent, job.broken.parent, stamp.parent, job.drawn):
        folder.mkdir(parents=True, exist_ok=True)
    copies = job.output.parent.glob(f".{job.name}.*.tmp.ipynb")
    for left in (*_stamps(job.label), *copies, job.broken, _failure_path(job)):
        left.unlink(missing_ok=True)  # from here on nothing says that this chapter is done
    start = time.perf_counter()
    try:
        with _kernel_environment(job.drawn):
            executed = papermill.execute_notebook(
                job.notebook,
                unfinished,
                _injected(job),
                cwd=job.notebook.parent,
                kernel_name="python3",
                language="python",
                progress_bar=False,
                # in how many pieces a printed text arrives differs between runs
                coalesce_streams=True,
                # ipykernel 7 warns each time that its sockets on this machine are not encrypted
                extra_arguments=["--log-level=ERROR"],
            )
        now = Job(job.chapter, job.parameters)
        failure = _early_end(executed.cells) or _slip(job, now)
    except Exception as error:  # whatever stops one notebook must not stop the others
        failure = _failure(error, unfinished)
    except BaseException:  # interrupted: half a run must not replace a whole one
        unfinished.unlink(missing_ok=True)
        raise
    if not failure:
        _put_in_place(job)
    if unfinished.exists():
        os.replace(unfinished, job.broken if failure else job.output)
    ended = Outcome(job, time.perf_counter() - start, failure)
    if not failure and now.stamp != stamp:  # what it recorded is an input of its next run
        _recorded(replace(ended, job=now))
    return _recorded(ended)


def _put_in_place(job: Job) -> None:
    """Give the figures that a run drew their place, where they look other than those there."""
    from reuseprior import plotting

    for name in notebooks.figures(job.notebook):
        drawn = [job.drawn / f"{name}.{kind}" for kind in ("svg", "png")]
        plotting.put({job.figures / path.name: path.read_bytes() for path in drawn})
    shutil.rmtree(job.drawn, ignore_errors=True)


def _recorded(ended: Outcome) -> Outcome:
    job = ended.job
    content = {"seconds": ended.seconds, "failure": ended.failure, "facts": job.facts}
    content["products"] = {} if ended.failure else _digests(job.products)
    record = json.dumps(schemas.sealed(content), indent=1, ensure_ascii=False) + "\n"
    files.write(_failure_path(job) if ended.failure else job.stamp, record.encode())
    return ended


def _injected(job: Job) -> dict[str, Value]:
    """What differs from the values as saved, so that a run with those is the notebook as saved."""
    known = notebooks.parameters(job.notebook)
    return {n: value for n, value in job.parameters.items() if value != known[n].default}


def _slip(job: Job, now: Job) -> str:
    """What makes a run without errors no run of this job, which is what the chapter was before."""
    records = {_label(p) for pattern in job.chapter.records for p in paths.ROOT.glob(pattern)}
    before, after = ({k: v for k, v in j.facts.items() if k not in records} for j in (job, now))
    if changed := _difference(before, after):
        return f"it was changed while it ran ({changed}): run it again"
    drawn = {p: job.drawn / p.name if p.parent == job.figures else p for p in job.products[1:]}
    missing = [_label(product) for product, path in drawn.items() if not path.exists()]
    return f"it did not write {_shortened(missing)}" if missing else ""


def _run_ordered(order: str) -> int:
    """A rule's work, if there is any left; 1 where it failed."""
    job = Job.ordered(order)
    if why(job):
        ended = run(job)
        print(f"{job.name}: {ended.failure or 'done'} after {ended.seconds:.1f} s")
        if ended.failure:
            return 1
    job.done.touch()
    return 0


def _kernel_environment(drawn: Path | None = None):
    """Let kernels, which start in the notebook's folder, import this package and find its files."""
    search = [str(paths.PACKAGE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    places = {"PYTHONPATH": os.pathsep.join(search), "REUSEPRIOR_ROOT": str(paths.ROOT)}
    places |= {"REUSEPRIOR_FIGURES": str(drawn)} if drawn else {}
    return patch.dict(os.environ, places)  # put back when the block ends


def _failure(error: Exception, executed: Path) -> str:
    """Cell and error in one line, whether a cell raised or the kernel died in it."""
    message = " ".join(str(getattr(error, "evalue", error)).split())
    name = getattr(error, "ename", type(error).__name__)
    raised = f"{name}: {message}" if message else name
    if hasattr(error, "exec_count"):
        return f"{_cell(error.exec_count, error.source)} raised {raised}"
    if not executed.exists():
        return raised
    started, _ = _started(json.loads(executed.read_text(encoding="utf-8"))["cells"])
    return f"{raised}, in {_cell(len(started), started[-1])}" if started else raised


def _early_end(cells) -> str:
    """What papermill lets pass: a cell that called sys.exit(), so that the rest never ran."""
    started, rest = _started(cells)
    return f"{_cell(len(started), started[-1])} ended the notebook early" if rest else ""


def _started(cells) -> tuple[list[str], list[str]]:
    """Source of the code cells that papermill began, and of those that it never reached.

    Its start time tells, as a kernel that dies may not have reported an execution count.
    """
    code = [(c, "".join(c["source"])) for c in cells if c["cell_type"] == "code"]
    code = [(bool(c["metadata"]["papermill"]["start_time"]), s) for c, s in code if s.strip()]
    return [s for begun, s in code if begun], [s for begun, s in code if not begun]


def _cell(count: int | None, source: str) -> str:
    return f"cell In [{count}] ({notebooks.first_line(source)})"


if __name__ == "__main__":
    if sys.argv[1] == "schedule":
        _schedule(sys.argv[2:])
    else:
        sys.exit(_run_ordered(*sys.argv[2:]))
