"""The command that gives tables and figures for a paper: `export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reuseprior import paths
from reuseprior.cli.app import app
from reuseprior.cli.app import path as read_path


@app.command(epilog="Example: reuseprior export ~/paper/reuseprior")
def export(
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="FOLDER", parser=read_path, help="Where to write (default: build/export)."
        ),
    ] = None,
) -> None:
    """Write every printed table beside its computed numbers as CSV and LaTeX, figures as PDF."""
    from reuseprior.report import tables

    paths.checkout()
    folder = folder or paths.BUILD / "export"
    made, drawn = tables.export(folder)
    typer.echo(f"{made} files of tables and {drawn} figures are in {folder}")
