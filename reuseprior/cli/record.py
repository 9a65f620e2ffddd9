"""The command that takes finished runs into the repository: `record`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reuseprior.cli.app import app, path


@app.command(epilog="Example: reuseprior record ../campaign/data/results/train-cpu-hours/*")
def record(
    folders: Annotated[
        list[Path],
        typer.Argument(
            parser=path, metavar="FOLDER…", help="Finished runs, wherever they were made."
        ),
    ],
) -> None:
    """Copy finished runs into data/results: their tables and provenance, without weights.

    A run keeps its own name and that of the folder above it, its experiment.
    """
    from reuseprior import results

    for folder in folders:
        typer.echo(results.record(folder).folder)
