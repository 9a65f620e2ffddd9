"""The command that begins a study of one's own models: `new-study`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reuseprior.cli.app import UsageError, app, path


@app.command("new-study", epilog="Example: reuseprior new-study my-models")
def new_study(
    name: Annotated[
        Path,
        typer.Argument(
            parser=path, metavar="NAME", help="Of the notebook, with or without .ipynb."
        ),
    ],
) -> None:
    """Write a notebook that compares, plots and draws models of your own, ready to run."""
    from reuseprior.report import study

    if name.name in ("", ".."):
        raise UsageError(f"{name} is a folder: name a notebook in it")
    file = name if name.suffix == ".ipynb" else name.with_name(f"{name.name}.ipynb")
    study.write(file)
    typer.echo(f"{file}: put your models into its first cell of code, and run all")
