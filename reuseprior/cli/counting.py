"""The commands that count: `count`, `rank` and `models`."""

from __future__ import annotations

import sys
import time
from contextlib import redirect_stdout
from dataclasses import dataclass
from enum import StrEnum
from textwrap import shorten
from typing import TYPE_CHECKING, Annotated

import typer

from reuseprior.cli.app import Json, UsageError, app, note, one_line, print_json, strict

if TYPE_CHECKING:
    from reuseprior.contexts import ContextCounts
    from reuseprior.quantities import Quantities

LEFT_OUT_LINES = 5


class Sharing(StrEnum):
    """Which layers count as one."""

    none = "none"
    all_but_bn = "all_but_bn"
    thesis_tables = "thesis_tables"


class BatchNorm(StrEnum):
    """What of a batch norm counts as parameters."""

    learnable = "learnable"
    all = "all"


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
        return {key: strict(value) for key, value in values.items()}


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
        raise UsageError(one_line(error)) from error
    if as_json:
        print_json(counted.record(conventions))
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
            refused.append(f"{model}: {one_line(error)}")
    counted.sort(key=lambda c: c.quantities.P_G_spread, reverse=True)
    if as_json:
        print_json([c.record(conventions) for c in counted])
    elif counted:
        typer.echo(_ranking(counted))
        typer.echo(f"\n{_names(conventions)}")
    for reason in refused:
        note(f"not counted: {reason}")
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
