"""The commands that count: `count`, `rank` and `models`."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum
from inspect import Signature, signature
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reuseprior.cli.app import Json, UsageError, app, note, one_line, path, print_json, strict

if TYPE_CHECKING:
    from reuseprior.contexts import ContextCounts

LEFT_OUT_LINES = 5
MOST_ENTRIES = 2**28  # of an input, which more entries are refused of
MOST_PIXELS = 9_459  # a side of an image of as many


BatchNorm = StrEnum("BatchNorm", ("learnable", "all"))  # what of one counts as parameters


JSON_KEYS = (
    "model", "image_size", "shape", "sharing", "batch_norm", "parameters", "weight_nodes",
    "input_nodes", "output_nodes", "multiply_adds", "log2_contexts", "expected_spread", "entropy",
    "total_surprisal", "P_G", "P_G_spread", "seconds",
)  # fmt: skip


def _conventions(
    image_size: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=MOST_PIXELS,
            help="Pixels a side (default: what the model is made for).",
        ),
    ] = None,
    shape: Annotated[
        str | None,
        typer.Option(
            metavar="1,3,64,64", help="The input's shape, for models that take no square RGB image."
        ),
    ] = None,
    sharing: Annotated[
        str,
        typer.Option(
            metavar="SPEC",
            help="none; all_but_bn ties equal convolutions (thesis, section 4.5.3), same_shape "
            "those of any stride, as tables 4.2 and 4.3 did, with_bn batch norms too; layers:all "
            "makes equal blocks one; stores:10%,weighted,mask makes all weights of a tenth of the "
            "parameters; channels:4,full repeats filters four times.",
        ),
    ] = "none",
    batch_norm: Annotated[
        BatchNorm,
        typer.Option(help="learnable: scale and shift; all: running mean and variance too."),
    ] = BatchNorm.learnable,
    output: Annotated[
        str | None,
        typer.Option(
            metavar="KEY", help="Count one part of a dict or tuple of outputs (default: all)."
        ),
    ] = None,
    tokens: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=MOST_ENTRIES,
            metavar="N",
            help="Tokens of a language model's input (default: 128).",
        ),
    ] = None,
    embedded: Annotated[
        bool,
        typer.Option(
            help="Take the tokens' embeddings as input nodes, to compare language models: tables "
            "of embeddings then count only where the output uses them."
        ),
    ] = False,
    last: Annotated[
        bool,
        typer.Option(
            "--last", help="Count to a language model's last position alone, the next token."
        ),
    ] = False,
    until: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE",
            help="Stop after this module, as a detector's backbone (default: the end).",
        ),
    ] = None,
):
    """What to count of a model, `measuring.Conventions`: the options of commands that count."""
    from reuseprior.measures.measuring import Conventions
    from reuseprior.sharing import parse

    parse(sharing)  # what means nothing is said before anything is built
    if image_size is not None and shape is not None:
        raise UsageError("--image-size and --shape exclude each other: give one of them")
    if output is not None and output.isdecimal():
        output = int(output)
    if tokens is not None and (shape or image_size):
        raise UsageError("--tokens excludes --shape and --image-size: give one of them")
    return Conventions(
        image_size, _shape(shape), sharing, batch_norm.value, output, tokens, embedded, until, last
    )


def _counting(command: Callable) -> Callable:
    """A command with the options of `_conventions` in the place of its parameter `conventions`."""
    shared, parameters = (signature(f, eval_str=True).parameters for f in (_conventions, command))

    def called(**options):
        conventions = _conventions(**{name: options.pop(name) for name in shared})
        return command(conventions=conventions, **options)

    both, at = list(parameters.values()), list(parameters).index("conventions")
    both[at : at + 1] = shared.values()
    called.__signature__ = Signature(both)
    called.__annotations__ = {p.name: p.annotation for p in both}
    called.__name__, called.__doc__ = command.__name__, command.__doc__
    return called


@app.command(epilog="Example: reuseprior count V2-B0 --sharing all_but_bn --json")
@_counting
def count(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A name from `reuseprior models`, torchvision:NAME, timm:NAME, hf:TYPE or "
            "package.module:factory.",
        ),
    ],
    conventions,
    as_json: Json = False,
) -> None:
    """Count the contexts of one model and print the thesis's quantities."""
    from reuseprior.measures import measuring
    from reuseprior.measures.comparing import NO_PATH
    from reuseprior.measures.measuring import Ranking
    from reuseprior.models import catalog

    try:
        if conventions.image_size is not None and catalog.find(model).tokens:
            raise UsageError(f"{model} takes tokens, not an image: give --tokens, no --image-size")
        measured, counts = measuring.count(model, conventions)
    except ValueError as error:
        raise UsageError(_in_flags(one_line(error))) from error
    if as_json:
        ranking = Ranking(conventions)
        ranking.add(measured)
        print_json(_record(ranking.best([model])[0]))
        return
    typer.echo(str(measured.quantities))
    size = "×".join(map(str, measured.shape))
    typer.echo(
        f"\n{model}, input {size}, {conventions}, {measured.multiply_adds:,} multiply-adds, "
        f"{measured.seconds:.2f} s"
    )
    if measured.blur == inf:
        typer.echo(NO_PATH)
    for line in _left_out(counts):
        typer.echo(line)


@app.command(epilog="Example: reuseprior rank 'torchvision:resnet*' V2-S --jobs 2 --save zoo.csv")
@_counting
def rank(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL", help="Names as for `count`, or patterns such as 'torchvision:resnet*'."
        ),
    ],
    conventions,
    r6: Annotated[
        bool,
        typer.Option(
            "--r6",
            help="Show R6 with its terms instead, a score of more terms (chapter 6's record).",
        ),
    ] = False,
    examples: Annotated[
        int | None,
        typer.Option(
            min=2,
            metavar="T",
            help="Examples of the training set, for R6's term of depth (default: ImageNet-1k's).",
        ),
    ] = None,
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", min=1, help="Models measured side by side.")
    ] = 1,
    save: Annotated[
        Path | None,
        typer.Option(
            parser=path,
            metavar="FILE.csv",
            help="Keep a row a model in this file, and measure only those that it lacks.",
        ),
    ] = None,
    cache: Annotated[
        bool, typer.Option(help="Take counts from the user's cache, and put them there.")
    ] = True,
    as_json: Json = False,
) -> None:
    """Compare models by P′_G, their estimated performance from expected spread, best first.

    Below, for each model and the next: how often a gap in P′_G as wide as theirs puts the more
    accurate model ahead, and what multiply-adds and parameters say (chapter 6).

    A model that cannot be counted is named with its reason; the others are shown all the same, and
    the exit code is 1.
    """
    from tqdm.auto import tqdm

    from reuseprior.measures import comparing, measuring
    from reuseprior.measures.measuring import Ranking
    from reuseprior.measures.scores import IMAGENET
    from reuseprior.models import catalog

    examples = examples or IMAGENET
    if save is not None and not save.parent.is_dir():
        raise UsageError(f"--save {save}: there is no folder {save.parent}, make it first")
    names = list(dict.fromkeys(name for pattern in models for name in catalog.matching(pattern)))
    ranking = Ranking(conventions, save)
    missing = ranking.missing(names)
    folder = measuring.cache_folder() if cache else None
    measured = measuring.measure_all(missing, jobs=jobs, cache=folder)
    refused = {}
    # disable=None hides the bar where standard error is no terminal
    hidden = True if as_json else None
    for done in tqdm(measured, total=len(missing), unit=" models", disable=hidden, leave=False):
        ranking.add(done)
        if isinstance(done, measuring.Refused):
            refused[done.model] = done.reason
    ranking.close()
    rows = ranking.best(names)
    if as_json:
        print_json([_record(row) | _scored(row, examples) for row in rows])
    elif rows:
        typer.echo(_terms(rows, examples) if r6 else _table(rows))
        ranked = [r | {"tokens": conventions.length(r["model"]) is not None} for r in rows]
        if len(rows) > 1 and not r6:
            typer.echo(f"\n{_text(comparing.pairs_of_neighbours(ranked))}")
        typer.echo(f"\n{conventions}")
        for line in comparing.limits(ranked):
            note(line)
    for row in rows:
        if row["blur"] == inf:
            note(f"{row['model']}: {comparing.NO_PATH}")
    for model in sorted(refused, key=names.index):
        note(f"not counted: {model}: {_in_flags(refused[model])}")
    if refused:
        raise typer.Exit(1)


@app.command(epilog="Example: reuseprior models")
def models() -> None:
    """List the models that can be named."""
    from reuseprior.models import catalog

    short = catalog.short_names()
    for name in catalog.names():
        also = f", also {short[name]}" if name in short else ""
        typer.echo(f"{name:<24} image size {catalog.image_size(name)}{also}")
    typer.echo(f"{'torchvision:NAME':<24} a classifier of torchvision, as torchvision:swin_t")
    typer.echo(f"{'timm:NAME':<24} a model of timm, as timm:vit_tiny_patch16_224")
    typer.echo(f"{'hf:TYPE':<24} a model of transformers, as hf:gpt2 or hf:path/to/config.json")
    typer.echo(f"{'nas-bench-201:CELL':<24} a cell in six digits or as the benchmark writes it")
    typer.echo(f"{'nas-bench-macro:DIGITS':<24} eight digits of 0, 1 and 2")
    typer.echo(f"{'transnas-macro:DIGITS':<24} modules of TransNAS-Bench-101, as 42433")
    typer.echo(f"{'transnas-micro:CELL':<24} a cell of it, six digits from 0 to 3")
    typer.echo(f"{'flexibert:ENCODER':<24} as 256-sa.wma.4.1024x3, with --shape 1,128,128")
    typer.echo(f"{'random-cells:NUMBER':<24} a network of random cells, 0, 1, 2 …")
    typer.echo(f"{'package.module:factory':<24} your own, a callable that returns the module")
    pattern = "'torchvision:resnet*'"
    typer.echo(f"{pattern:<24} a pattern, for `rank`: all that it fits")


def _record(row: dict) -> dict:
    """What `--json` prints of a row."""
    shape = [int(size) for size in row["shape"].split("×")]
    return {key: strict((row | {"shape": shape})[key]) for key in JSON_KEYS}


def _scored(row: dict, examples: int) -> dict:
    """What `rank --json` prints besides: the recommended score and its terms."""
    from reuseprior.measures.scores import RECOMMENDED

    terms = {name: strict(value) for name, value in RECOMMENDED.terms(row, examples).items()}
    score = strict(RECOMMENDED(row, examples))
    return {"score": score, "terms": terms}


def _terms(rows: list[dict], examples: int) -> str:
    """The recommended score of each model, with the terms that it is the sum of."""
    from reuseprior.measures.scores import RECOMMENDED
    from reuseprior.quantities import aligned

    lines = []
    for row in rows:
        terms = RECOMMENDED.terms(row, examples)
        lines.append(
            [row["model"], *(f"{x:.4f}" for x in (RECOMMENDED(row, examples), *terms.values()))]
        )
    sized = [f"{RECOMMENDED.weight:g} {n}" if n in RECOMMENDED.sizes else n for n in terms]
    text = aligned([["model", RECOMMENDED.name, *sized], *lines])
    return f"{RECOMMENDED.name} and its terms, bits, for {examples:,} training examples\n\n{text}"


def _shape(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    with suppress(ValueError):
        if min(shape := tuple(int(size) for size in text.split(","))) > 0:
            return shape
    raise UsageError(f"--shape {text!r} is not a list of whole numbers: write it as 1,3,64,64")


_IN_FLAGS = {  # what errors tell whoever writes Python, and what a command takes
    r"so pass some without values, .* on the command line\)": "so give --tokens 128",
    r"so give all that it takes by name, as inputs=\{.*\}": "so name a model of one input",
    r"^until=": "--until ",
    r"a path that named_modules\(\) lists": "the path of one, as layers.0",
    r"with output=": "with --output",
}


def _in_flags(reason: str) -> str:
    for in_python, typed in _IN_FLAGS.items():
        reason = re.sub(in_python, typed, reason)
    return reason


def _left_out(counts: ContextCounts) -> list[str]:
    lines = [f"left out: {n:,} of {name} ({why})" for name, n, why in counts.left_out]
    if len(lines) > LEFT_OUT_LINES:
        more = len(lines) - LEFT_OUT_LINES
        lines[LEFT_OUT_LINES:] = [f"left out: … and some of {more} more tensors"]
    if lines:
        lines.append(f"left out in all: {sum(n for _, n, _ in counts.left_out):,} entries")
    return lines


def _table(rows: list[dict]) -> str:
    shown = [
        {
            "model": row["model"],
            "input": row["shape"],
            "N_G": f"{row['parameters']:,}",
            "W_G": f"{row['weight_nodes']:,}",
            "multiply-adds": f"{row['multiply_adds']:,}",
            "E[log2 |C|]": f"{row['expected_spread']:.4f}",
            "H": f"{row['entropy']:.4f}",
            "P_G": f"{row['P_G']:.4f}",
            "P′_G": f"{row['P_G_spread']:.4f}",
            "seconds": f"{row['seconds']:.2f}",
        }
        for row in rows
    ]
    return _text(shown)


def _text(rows: list[dict]) -> str:
    from reuseprior.quantities import aligned

    return aligned([list(rows[0]), *(list(row.values()) for row in rows)])
