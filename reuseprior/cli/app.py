"""The command, its errors and its printing; the commands themselves stand beside this file."""

from __future__ import annotations

import errno
import json
import os
import re
import sys
import tomllib
from collections.abc import Iterable
from contextlib import suppress
from math import isfinite
from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperGroup

from reuseprior import __version__
from reuseprior.errors import UserError

UsageError = typer.BadParameter.__base__  # click's own, which newer typer carries inside itself


class _OneSentenceErrors(TyperGroup):
    """Commands whose foreseen errors are one sentence and exit code 2.

    Foreseen are bad use, the project's own errors, and what a machine refuses: a file, memory, a
    depth. Any other exception is a bug of this package and is shown as Python shows it.
    """

    def invoke(self, ctx):
        try:
            return super().invoke(ctx)
        except UsageError as error:
            message = error.format_message()
        except UserError as error:
            message = str(error)
        note(f"Error: {_shown(message)}")
        raise typer.Exit(2)

    def main(self, *arguments, **options):
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):  # what an encoding lacks is written as an escape
                stream.reconfigure(errors="backslashreplace")
        try:
            return super().main(*arguments, **options)
        except BrokenPipeError:  # whoever read has enough, as `head` does: no error
            raise
        except (OSError, MemoryError, RecursionError, RuntimeError) as error:
            message = _refusal(error)
            if not message:
                raise
        with suppress(OSError):  # nothing can be said where standard error is full as well
            note(f"Error: {_shown(message)}")
        _leave_out_what_cannot_be_written()
        sys.exit(2)


def _shown(message: str) -> str:
    """One line that a terminal shows and does not obey: a name may hold newlines and escapes."""
    line = re.sub(r"\s*[\n\r\t\v\f]\s*", " ", message)
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in line)


_MENDS = {
    errno.ENOSPC: "free space on that disk",
    errno.EDQUOT: "free space within your quota",
    errno.EFBIG: "raise the limit on the size of files",
    errno.EROFS: "choose a folder that can be written",
    errno.EACCES: "choose another, or let yourself read and write it",
    errno.EPERM: "choose another, or let yourself read and write it",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EISDIR: "name a file, as a folder stands there",
    errno.ENOTDIR: "name a folder, as a file stands there or above",
    errno.EEXIST: "choose another name",
    errno.ENOENT: "check the path",
    errno.ELOOP: "check the links, which lead in a circle",
    errno.EMFILE: "raise the limit on open files",
    errno.EBADF: "open standard output, or send it to a file",
}


def _refusal(error: Exception) -> str:
    """What a machine refused and the mend, or nothing for an error that is none of a machine's."""
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename is not None else ""
        mend = _MENDS.get(error.errno, "see what lies there, and try again")
        return f"{place}{error.strerror or one_line(error)}: {mend}"
    if isinstance(error, MemoryError) or any(text in str(error) for text in _NO_MEMORY):
        return f"there is too little memory ({one_line(error)[:200]}): ask for something smaller"
    if isinstance(error, RecursionError):
        return "what was given is nested deeper than Python follows: give something flatter"
    return ""


# as torch says it of a processor's memory and of a GPU's
_NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory")


def _leave_out_what_cannot_be_written() -> None:
    """Or Python would try again as it ends, fail, and say so with an exit code of its own."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


app = typer.Typer(
    cls=_OneSentenceErrors,
    epilog="Example: reuseprior count V2-B0",
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


def path(text: str) -> Path:
    """A path given on the command line; an empty one is refused, as it would mean this folder."""
    if not text.strip():
        raise typer.BadParameter("it is empty: name a file or folder, or leave the option out")
    if "\0" in text:
        raise typer.BadParameter("it holds a NUL, which no name of a file can: leave that out")
    return Path(text)


Seed = Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Of everything that chance decides.")]
Root = Annotated[
    Path | None,
    typer.Option(
        parser=path,
        metavar="FOLDER",
        help="Folder of the data sets (default: REUSEPRIOR_DATA, or the user's cache).",
    ),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the folder's last checkpoint.")]
Json = Annotated[bool, typer.Option("--json", help="Print strict JSON.")]


def assignments(texts: Iterable[str], option: str, example: str) -> dict[str, str]:
    """`OPTION NAME=VALUE` by name; a usage error without `=`, and for a name given twice."""
    values = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"{option} {text!r} is not name=value: write it as {option} {example}")
        if name in values:
            raise UsageError(f"{option} {name} is given twice: give it once")
        values[name] = value
    return values


def parse_settings(texts: Iterable[str]) -> dict[str, object]:
    """`--set KEY=VALUE` by key: values as TOML has them, and what is no TOML is text.

    Text needs no quotes so.
    """
    return {k: _toml(v) for k, v in assignments(texts, "--set", "epochs=2").items()}


def _toml(text: str) -> object:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):  # no TOML, too many digits, nested too deep
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


def bar(entries, total: int | None = None):
    """A progress bar on standard error, hidden where that is no terminal."""
    from tqdm.auto import tqdm

    return tqdm(entries, total=total, unit=" numbers", disable=None, leave=False)


def one_line(error: Exception) -> str:
    return " ".join(str(error).split())
