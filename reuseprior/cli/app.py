"""The command, its errors and its printing; the commands themselves stand beside this file."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable
from math import isfinite
from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperGroup

from reuseprior import __version__
from reuseprior.errors import UserError

UsageError = typer.BadParameter.__base__  # click's own, which newer typer carries inside itself


class _OneSentenceErrors(TyperGroup):
    """Commands whose foreseen errors are one sentence and exit code 2."""

    def invoke(self, ctx):
        try:
            return super().invoke(ctx)
        except UsageError as error:
            message = error.format_message()
        except UserError as error:
            message = str(error)
        note(f"Error: {message}")
        raise typer.Exit(2)


app = typer.Typer(
    cls=_OneSentenceErrors,
    epilog="Example: reuseprior count V2-B0",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"reuseprior {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """The reusability prior: count contexts in any PyTorch model, compare models untrained."""


Root = Annotated[
    Path | None,
    typer.Option(help="Folder of the data sets (default: REUSEPRIOR_DATA, or the user's cache)."),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the folder's last checkpoint.")]
Json = Annotated[bool, typer.Option("--json", help="Print strict JSON.")]


def assignments(given: Iterable[str], option: str, example: str) -> dict[str, str]:
    """`OPTION NAME=VALUE` by name; a usage error without `=`, and for a name given twice."""
    found = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"{option} {text!r} is not name=value: write it as {option} {example}")
        if name in found:
            raise UsageError(f"{option} {name} is given twice: give it once")
        found[name] = value
    return found


def parse_settings(given: Iterable[str]) -> dict[str, object]:
    """`--set KEY=VALUE` by key: values as TOML has them, and what is no TOML is text.

    Text needs no quotes so.
    """
    return {k: _toml(v) for k, v in assignments(given, "--set", "epochs=2").items()}


def _toml(text: str) -> object:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except ValueError:  # no TOML, or a number of thousands of digits
        return text


def print_json(value) -> None:
    typer.echo(json.dumps(value, indent=2, allow_nan=False))


def strict(value):
    """JSON has no infinity (P_G of a graph without surprisal): null stands for it.

    In a tuple as well, which becomes a list.
    """
    if isinstance(value, tuple):
        return [strict(item) for item in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def note(text: str) -> None:
    typer.echo(text, err=True)


def bar(entries):
    """A progress bar on standard error, hidden where that is no terminal."""
    from tqdm.auto import tqdm

    return tqdm(entries, unit=" numbers", disable=None, leave=False)


def one_line(error: Exception) -> str:
    return " ".join(str(error).split())
