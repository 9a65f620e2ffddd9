"""Run notebooks through papermill, with parameters checked before anything starts."""

from __future__ import annotations

import ast
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

from reuseprior import paths

LAST = "00-ledger"  # it judges what the others compute


class RunError(ValueError):
    """Notebooks cannot be run as asked; the message names the mend."""


@dataclass(frozen=True)
class Job:
    """One notebook, and the parameters that it gets instead of its own."""

    notebook: Path
    parameters: Mapping[str, int | float | bool | str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The chapter's name, as one types it."""
        return self.notebook.stem

    @property
    def output(self) -> Path:
        """Where the executed copy goes."""
        return paths.BUILD / "notebooks" / self.notebook.name


@dataclass(frozen=True)
class Run:
    """What became of a job: `failure` names cell and error, and is empty where all went well."""

    job: Job
    seconds: float
    failure: str = ""


def notebooks() -> list[Path]:
    """All notebooks in the order in which they run: by name, the ledger last."""
    paths.checkout()
    found = sorted(paths.NOTEBOOKS.glob("*.ipynb"), key=lambda path: (path.stem == LAST, path.stem))
    if not found:
        raise RunError(f"there are no notebooks in {paths.NOTEBOOKS}")
    return found


def plan(
    chapters: Sequence[str] = (),
    *,
    profile: str | None = None,
    parameters: Mapping[str, str] | None = None,
) -> list[Job]:
    """The jobs for some chapters, or for all, checked as far as can be without running them.

    >>> plan(["04-counting-contexts"], profile="full", parameters={"seed": "1"})

    Parameters are text, read as the type of the notebook's own value. Raises RunError for unknown
    chapters and parameters, wrong types, a notebook without exactly one cell tagged `parameters`,
    and parameters for more than one chapter.
    """
    _papermill()
    parameters = dict(parameters or {})
    if parameters and len(set(chapters)) != 1:
        raise RunError(
            f"parameter {next(iter(parameters))!r} needs exactly one chapter, as notebooks differ "
            "in their parameters: name it"
        )
    if "profile" in parameters:
        raise RunError("the profile is not chosen with -p: write --profile quick or --profile full")
    if profile is not None:
        parameters["profile"] = profile
    return [_job(notebook, parameters) for notebook in _chosen(chapters)]


def run(job: Job) -> Run:
    """Run a job in the notebook's folder; its executed copy, broken or not, replaces the last.

    Any error of the notebook or its kernel is returned, so that a batch goes on.
    """
    papermill = _papermill()
    job.output.parent.mkdir(parents=True, exist_ok=True)
    unfinished = job.output.with_name(f".{job.name}.{os.getpid()}.tmp.ipynb")
    start = time.perf_counter()
    try:
        with _kernel_environment():
            executed = papermill.execute_notebook(
                job.notebook,
                unfinished,
                dict(job.parameters),
                cwd=job.notebook.parent,
                kernel_name="python3",
                language="python",
                progress_bar=False,
                # ipykernel 7 warns each time that its sockets on this machine are not encrypted
                extra_arguments=["--log-level=ERROR"],
            )
        failure = _early_end(executed.cells)
    except Exception as error:  # whatever stops one notebook must not stop the others
        failure = _failure(error, unfinished)
    except BaseException:  # interrupted: half a run must not replace a whole one
        unfinished.unlink(missing_ok=True)
        raise
    if unfinished.exists():
        os.replace(unfinished, job.output)
    return Run(job, time.perf_counter() - start, failure)


def _papermill():
    try:
        import papermill
    except ModuleNotFoundError as error:
        raise RunError(
            f"running notebooks needs {error.name}: pip install 'reuseprior[notebooks]'"
        ) from error
    return papermill


def _chosen(chapters: Sequence[str]) -> list[Path]:
    found = {path.stem: path for path in notebooks()}
    for chapter in chapters:
        if chapter not in found:
            close = [n for n in found if chapter in n] or get_close_matches(chapter, found)
            hint = f"did you mean {' or '.join(close)}?" if close else f"there are {_list(found)}"
            raise RunError(f"unknown chapter {chapter!r}: {hint}")
    return [path for name, path in found.items() if name in chapters or not chapters]


def _job(notebook: Path, given: Mapping[str, str]) -> Job:
    known = _parameters(notebook)
    for name in given:
        if name not in known:
            raise RunError(
                f"{notebook.stem} has no parameter {name!r}: it has {_list(known) or 'none'}"
            )
    return Job(notebook, {n: _read(notebook.stem, n, t, known[n]) for n, t in given.items()})


def _parameters(notebook: Path) -> dict[str, str]:
    """Type by name, from the annotations and values of the parameters cell.

    Python's parser instead of papermill's `inspect_notebook`, which misses any parameter whose
    comment holds an equals sign.
    """
    found = {}
    for statement in _parameters_cell(notebook).body:
        match statement:
            case ast.AnnAssign(ast.Name(name), ast.Name(type_name)) if type_name in _READERS:
                found[name] = type_name
            case ast.AnnAssign(ast.Name(name), _, ast.expr() as value):
                found[name] = _type_of(value)
            case ast.Assign([ast.Name(name)], value):
                found[name] = _type_of(value)
    return found


def _type_of(value: ast.expr) -> str:
    try:
        return type(ast.literal_eval(value)).__name__
    except ValueError:  # a call, a name
        return ast.unparse(value)


def _parameters_cell(notebook: Path) -> ast.Module:
    try:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        tagged = [c for c in cells if "parameters" in c["metadata"].get("tags", ())]
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{notebook} is not a notebook that can be read: {error!r}") from error
    if len(tagged) != 1:
        raise RunError(
            f"{notebook.stem} has {len(tagged)} cells tagged `parameters`: tag exactly one"
        )
    try:
        return ast.parse("".join(tagged[0]["source"]))
    except SyntaxError as error:
        raise RunError(
            f"the cell tagged `parameters` of {notebook.stem} is not plain Python: {error}"
        ) from error


def _read_bool(text: str) -> bool:
    return {"true": True, "false": False}[text.lower()]


_READERS = {"int": int, "float": float, "bool": _read_bool, "str": str}


def _read(notebook: str, name: str, text: str, type_name: str) -> int | float | bool | str:
    if type_name not in _READERS:
        raise RunError(
            f"parameter {name!r} of {notebook} ({type_name}) cannot be set from text: only int, "
            "float, bool and str can"
        )
    try:
        return _READERS[type_name](text)
    except (ValueError, KeyError) as error:
        allowed = " (true or false)" if type_name == "bool" else ""
        raise RunError(
            f"parameter {name!r} of {notebook} is {type_name}{allowed}, not {text!r}"
        ) from error


@contextmanager
def _kernel_environment() -> Iterator[None]:
    """Let kernels, which start in the notebook's folder, import this package and find its files."""
    here = str(Path(__file__).parents[1])
    before = {name: os.environ.get(name) for name in ("PYTHONPATH", "REUSEPRIOR_ROOT")}
    search = [here, *filter(None, [before["PYTHONPATH"]])]
    os.environ.update(PYTHONPATH=os.pathsep.join(search), REUSEPRIOR_ROOT=str(paths.ROOT))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


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
    lines = [line.strip() for line in source.splitlines()]
    first = next((line for line in lines if line and not line.startswith("#")), "")
    return f"cell In [{count}] ({first})"


def _list(names) -> str:
    return ", ".join(names)
