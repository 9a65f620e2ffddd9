"""The command line: everything is called here, nothing computed.

Imports that take time (torch, pandas) stand inside the commands, so that `--help` is quick.
Results go to standard output, everything else to standard error. Exit code 0: fine; 1: the check
says no; 2: bad use.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from enum import StrEnum
from math import isfinite
from textwrap import shorten
from typing import TYPE_CHECKING, Annotated

import typer
from typer.core import TyperGroup

from reuseprior import paths
from reuseprior import reproduce as reproducing

if TYPE_CHECKING:
    from reuseprior.contexts import ContextCounts
    from reuseprior.quantities import Quantities

UsageError = typer.BadParameter.__base__  # click's own, which newer typer carries inside itself
LEFT_OUT_LINES = 5


class _OneSentenceErrors(TyperGroup):
    """Commands whose foreseen errors are one sentence and exit code 2."""

    def invoke(self, ctx):
        try:
            return super().invoke(ctx)
        except UsageError as error:
            message = error.format_message()
        except (paths.CheckoutMissing, reproducing.RunError) as error:
            message = str(error)
        _note(f"Error: {message}")
        raise typer.Exit(2)


app = typer.Typer(
    cls=_OneSentenceErrors,
    help="The reusability prior: count contexts in any PyTorch model, compare models untrained.",
    epilog="Example: reuseprior count V2-B0",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def main() -> None:
    """The entry point of the command `reuseprior`."""
    app(prog_name="reuseprior")


# Counting --------------------------------------------------------------------------------------


class Sharing(StrEnum):
    """Which layers count as one."""

    none = "none"
    all_but_bn = "all_but_bn"
    thesis_tables = "thesis_tables"


class BatchNorm(StrEnum):
    """What of a batch norm counts as parameters."""

    learnable = "learnable"
    all = "all"


class Profile(StrEnum):
    """How much of a chapter to run."""

    quick = "quick"
    full = "full"


Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A name from `reuseprior models`, torchvision:NAME, timm:NAME or "
        "package.module:factory.",
    ),
]
Models = Annotated[list[str], typer.Argument(metavar="MODEL", help="Names as for `count`.")]
ImageSize = Annotated[
    int | None,
    typer.Option(min=1, help="Pixels a side of the image (default: what the model is made for)."),
]
Shape = Annotated[
    str | None,
    typer.Option(
        metavar="1,3,64,64", help="The input's shape, for models that take no square RGB image."
    ),
]
SharingOption = Annotated[
    Sharing,
    typer.Option(
        help="all_but_bn ties equal convolutions (thesis, section 4.5.3); thesis_tables adds "
        "their counts up as tables 4.3 and 4.4 did."
    ),
]
BatchNormOption = Annotated[
    BatchNorm,
    typer.Option(help="learnable: scale and shift; all: running mean and variance too."),
]
Output = Annotated[
    str | None,
    typer.Option(
        metavar="KEY", help="Count one part of a dict or tuple of outputs (default: all)."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print strict JSON.")]


@dataclass(frozen=True)
class _Conventions:
    """What to count of a model, and how."""

    image_size: int | None
    shape: tuple[int, ...] | None
    sharing: Sharing
    batch_norm: BatchNorm
    output: str | int | None

    @classmethod
    def parse(cls, image_size, shape, sharing, batch_norm, output) -> _Conventions:
        if image_size is not None and shape is not None:
            raise UsageError("--image-size and --shape exclude each other: give one of them")
        if output is not None and output.isdecimal():
            output = int(output)
        return cls(image_size, _shape(shape), sharing, batch_norm, output)


@dataclass(frozen=True)
class _Counted:
    """A model's counts, how they were taken, and how long that took."""

    model: str
    image_size: int | None  # None where a shape was given
    shape: tuple[int, ...]
    counts: ContextCounts
    quantities: Quantities
    seconds: float

    def record(self, conventions: _Conventions) -> dict:
        """What `--json` prints."""
        values = {
            "model": self.model,
            "image_size": self.image_size,
            "sharing": conventions.sharing.value,
            "batch_norm": conventions.batch_norm.value,
            **self.quantities.to_dict(),
            "seconds": round(self.seconds, 3),
        }
        return {key: _strict(value) for key, value in values.items()}


@app.command(epilog="Example: reuseprior count V2-B0 --sharing all_but_bn --json")
def count(
    model: Model,
    image_size: ImageSize = None,
    shape: Shape = None,
    sharing: SharingOption = Sharing.none,
    batch_norm: BatchNormOption = BatchNorm.learnable,
    output: Output = None,
    as_json: Json = False,
) -> None:
    """Count the contexts of one model and print the thesis's quantities."""
    conventions = _Conventions.parse(image_size, shape, sharing, batch_norm, output)
    try:
        counted = _count(model, conventions)
    except ValueError as error:
        raise UsageError(_one_line(error)) from error
    if as_json:
        _print_json(counted.record(conventions))
        return
    typer.echo(str(counted.quantities))
    size = "×".join(map(str, counted.shape))
    typer.echo(f"\n{model}, input {size}, {_names(conventions)}, {counted.seconds:.2f} s")
    for line in _left_out(counted.counts):
        typer.echo(line)


@app.command(epilog="Example: reuseprior rank V2-B0 V2-S torchvision:resnet50 --image-size 224")
def rank(
    models: Models,
    image_size: ImageSize = None,
    shape: Shape = None,
    sharing: SharingOption = Sharing.none,
    batch_norm: BatchNormOption = BatchNorm.learnable,
    output: Output = None,
    as_json: Json = False,
) -> None:
    """Compare models by P′_G, their estimated performance from expected spread, best first.

    A model that cannot be counted is named with its reason; the others are shown all the same, and
    the exit code is 1.
    """
    from tqdm.auto import tqdm

    conventions = _Conventions.parse(image_size, shape, sharing, batch_norm, output)
    counted, refused = [], []
    # disable=None hides the bar where standard error is no terminal
    for model in tqdm(models, disable=True if as_json else None, leave=False):
        try:
            counted.append(_count(model, conventions))
        except ValueError as error:
            refused.append(f"{model}: {_one_line(error)}")
    counted.sort(key=lambda c: c.quantities.P_G_spread, reverse=True)
    if as_json:
        _print_json([c.record(conventions) for c in counted])
    elif counted:
        typer.echo(_ranking(counted))
        typer.echo(f"\n{_names(conventions)}")
    for reason in refused:
        _note(f"not counted: {reason}")
    if refused:
        raise typer.Exit(1)


@app.command(epilog="Example: reuseprior models")
def models() -> None:
    """List the models that can be named."""
    from reuseprior.models import catalog

    for name in catalog.names():
        typer.echo(f"{name:<24} image size {catalog.image_size(name)}")
    typer.echo(f"{'torchvision:NAME':<24} a classifier of torchvision, as torchvision:swin_t")
    typer.echo(f"{'timm:NAME':<24} a model of timm, as timm:vit_tiny_patch16_224")
    typer.echo(f"{'package.module:factory':<24} your own, a callable that returns the module")


def _count(model: str, conventions: _Conventions) -> _Counted:
    """Build and count a model; what it prints meanwhile goes to standard error."""
    from reuseprior import sharing
    from reuseprior.contexts import count_contexts

    start = time.perf_counter()
    with redirect_stdout(sys.stderr):
        network, size = _build(model)
        size = None if conventions.shape else conventions.image_size or size
        shape = conventions.shape or (1, 3, size, size)
        if conventions.sharing is Sharing.all_but_bn:
            sharing.tie(network)
        counts = count_contexts(
            network, shape, batch_norm=conventions.batch_norm.value, output=conventions.output
        )
        if conventions.sharing is Sharing.thesis_tables:
            counts = sharing.merge(counts, network, sharing.thesis_tables)
    quantities = counts.quantities()
    return _Counted(model, size, shape, counts, quantities, time.perf_counter() - start)


def _build(model: str):
    """The network and its image size; raises ModelError for whatever the user's code raises."""
    from reuseprior.models import ModelError, catalog

    try:
        return catalog.build(model), catalog.image_size(model)
    except ModelError:
        raise
    except (Exception, SystemExit) as error:  # a factory may fail in any way
        raise ModelError(
            f"model {model!r} cannot be built: {shorten(repr(error), 300, placeholder=' …')}"
        ) from error


def _shape(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(int(size) for size in text.split(","))
    except ValueError as error:
        raise UsageError(
            f"--shape {text!r} is not a list of whole numbers: write it as 1,3,64,64"
        ) from error


def _names(conventions: _Conventions) -> str:
    return f"sharing {conventions.sharing.value}, batch norm {conventions.batch_norm.value}"


def _left_out(counts: ContextCounts) -> list[str]:
    lines = [f"left out: {n:,} of {name} ({why})" for name, n, why in counts.left_out]
    if len(lines) > LEFT_OUT_LINES:
        more = len(lines) - LEFT_OUT_LINES
        lines[LEFT_OUT_LINES:] = [f"left out: … and some of {more} more tensors"]
    if lines:
        lines.append(f"left out in all: {sum(n for _, n, _ in counts.left_out):,} entries")
    return lines


def _ranking(counted: list[_Counted]) -> str:
    import pandas as pd

    rows = [
        {
            "model": c.model,
            "input": "×".join(map(str, c.shape)),
            "N_G": f"{c.quantities.parameters:,}",
            "W_G": f"{c.quantities.weight_nodes:,}",
            "E[log2 |C|]": f"{c.quantities.expected_spread:.4f}",
            "P_G": f"{c.quantities.P_G:.4f}",
            "P′_G": f"{c.quantities.P_G_spread:.4f}",
        }
        for c in counted
    ]
    return pd.DataFrame(rows).to_string(index=False)


# The ledger and the notebooks --------------------------------------------------------------------


@app.command(epilog="Example: reuseprior audit --json > ledger.json")
def audit(
    as_json: Json = False,
    update: Annotated[
        bool, typer.Option("--update", help="Commit these verdicts to data/ledger.csv.")
    ] = False,
) -> None:
    """Recompute every printed number; exit code 1 if a verdict is worse than the committed one."""
    from reuseprior import audit as ledger

    entries = ledger.collect(_bar)
    worsened = list(ledger.worsened(entries))
    if as_json:
        _print_json([{k: _strict(v) for k, v in asdict(e).items()} for e in entries])
    else:
        typer.echo(_verdicts(entries))
        for entry in entries:
            if entry.verdict == "erratum":
                typer.echo(str(entry))
    for sentence in worsened:
        _note(f"worse: {sentence}")
    if update:
        ledger.update(entries)
        _note("the verdicts are committed to data/ledger.csv")
    elif worsened:
        raise typer.Exit(1)


@app.command(epilog="Example: reuseprior reproduce 04-counting-contexts --profile quick -p seed=1")
def reproduce(
    chapters: Annotated[
        list[str] | None,
        typer.Argument(metavar="CHAPTER", help="Names in notebooks/ (default: all)."),
    ] = None,
    profile: Annotated[
        Profile | None,
        typer.Option(help="quick: minutes on a CPU; full: the real protocol (default: as saved)."),
    ] = None,
    parameters: Annotated[
        list[str] | None,
        typer.Option("--parameter", "-p", metavar="NAME=VALUE", help="One chapter's; repeatable."),
    ] = None,
) -> None:
    """Run the chapters' notebooks and sum the ledger up."""
    from reuseprior import audit as ledger

    jobs = reproducing.plan(
        chapters or (),
        profile=None if profile is None else profile.value,
        parameters=_assignments(parameters or ()),
    )
    _note(f"running {', '.join(job.name for job in jobs)}")
    failed = []
    for job in jobs:
        run = reproducing.run(job)
        _note(f"{'✗' if run.failure else '✓'} {job.name} {run.seconds:.1f} s")
        if run.failure:
            failed.append(run)
    typer.echo(_verdicts(ledger.collect(_bar)))
    typer.echo(f"executed notebooks: {jobs[0].output.parent}\nfigures: {paths.FIGURES}")
    for run in failed:
        _note(f"{run.job.name} failed: {run.failure}; see {run.job.output}")
    if failed:
        raise typer.Exit(1)


def _assignments(given: list[str]) -> dict[str, str]:
    found = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"-p {text!r} is not name=value: write it as -p seed=1")
        if name in found:
            raise UsageError(f"parameter {name!r} is given twice: give it once")
        found[name] = value
    return found


def _verdicts(entries) -> str:
    from reuseprior import audit as ledger

    summary = ledger.summary(entries)
    total = ", ".join(f"{n} {verdict}" for verdict, n in summary.sum().items())
    table = summary.rename_axis(index=None, columns=None).to_string()
    return f"{table}\n\n{len(entries)} printed numbers: {total}"


# Printing ----------------------------------------------------------------------------------------


def _print_json(value) -> None:
    typer.echo(json.dumps(value, indent=2, allow_nan=False))


def _strict(value):
    """JSON has no infinity (P_G of a graph without surprisal): null stands for it."""
    return None if isinstance(value, float) and not isfinite(value) else value


def _note(text: str) -> None:
    typer.echo(text, err=True)


def _bar(entries):
    """A progress bar on standard error, hidden where that is no terminal."""
    from tqdm.auto import tqdm

    return tqdm(entries, unit=" numbers", disable=None, leave=False)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
