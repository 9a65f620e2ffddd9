"""The command `book`."""

from __future__ import annotations

from typing import Annotated

import typer

from reuseprior import paths
from reuseprior.cli.app import app, note
from reuseprior.report import chapters


@app.command(epilog="Example: reuseprior book --pdf")
def book(
    pdf: Annotated[
        bool,
        typer.Option("--pdf", help="Print the chapters as well, with Chromium: build/book.pdf."),
    ] = False,
) -> None:
    """Build notebooks, figures and ledger as a site that reads without a network: build/book."""
    from reuseprior.report import book as making
    from reuseprior.report import pdf as printing

    if pdf:
        printing.browser()  # before minutes of work

    shown = [chapter.notebook for chapter in chapters.found()]
    committed = [path.stem for path in shown if making.with_outputs(path) == path]
    if committed:
        note(f"with their committed outputs, as reproduce has none newer: {', '.join(committed)}")
    first = making.build()
    typer.echo(first)
    if pdf:
        note("Chromium prints the chapters, which takes minutes")
        typer.echo(printing.make(first.parent, printing.pages(), paths.BUILD / "book.pdf"))
