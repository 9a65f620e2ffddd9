"""The commands over data sets: `data verify` and `data prepare`."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from reuseprior.cli.app import Json, Root, UsageError, app, print_json

data = typer.Typer(rich_markup_mode=None)
app.add_typer(
    data,
    name="data",
    help="Find, check and download the data sets.",
    epilog="Example: reuseprior data verify cifar10",
    invoke_without_command=True,
)

Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="digits, mnist, cifar10, cifar100, imagenet, modelnet10-chair, modelnet10-sofa, "
        "glue-cola, glue-sst2, glue-mrpc or glue-rte.",
    ),
]


@data.callback()
def need_a_verb(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        raise UsageError(
            "nothing to do with the data: say `reuseprior data verify NAME` or "
            "`reuseprior data prepare NAME`"
        )


@data.command(epilog="Example: reuseprior data verify cifar10 --root ~/datasets")
def verify(name: Name, root: Root = None, as_json: Json = False) -> None:
    """Check every file of a data set; exit code 1 if one is missing or not as published."""
    from reuseprior.data import root_folder
    from reuseprior.data import verify as verify_files

    _report(name, root_folder(root), verify_files(name, root), as_json)


@data.command(epilog="Example: reuseprior data prepare mnist")
def prepare(name: Name, root: Root = None, as_json: Json = False) -> None:
    """Download what is missing or not whole, then check as `verify` does."""
    from reuseprior.data import prepare as prepare_files
    from reuseprior.data import root_folder

    with redirect_stdout(sys.stderr):  # some torchvisions print while they download
        checks = prepare_files(name, root)
    _report(name, root_folder(root), checks, as_json)


def _report(name: str, root: Path, checks, as_json: bool) -> None:
    ok = all(check.ok for check in checks)
    if as_json:
        values = {"name": name, "root": str(root), "ok": ok}
        print_json(values | {"checks": [asdict(check) for check in checks]})
    else:
        for check in checks:
            typer.echo(f"{'✓' if check.ok else '✗'} {check.file}: {check.why}")
        mend = f": `reuseprior data prepare {name}` downloads what it can"
        typer.echo(f"{name} in {root} is {'whole' if ok else f'not whole{mend}'}")
    if not ok:
        raise typer.Exit(1)
