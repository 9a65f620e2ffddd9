"""The command `book`."""

from __future__ import annotations

import typer

from reuseprior.cli.app import app, note
from reuseprior.press import chapters


@app.command(epilog="Example: reuseprior book")
def book() -> None:
    """Build notebooks, figures and ledger as a site that reads without a network: build/book."""
    from reuseprior.press import book as making

    shown = [chapter.notebook for chapter in chapters.found()]
    committed = [path.stem for path in shown if making.with_outputs(path) == path]
    if committed:
        note(f"with their committed outputs, as reproduce has none newer: {', '.join(committed)}")
    typer.echo(making.build())
