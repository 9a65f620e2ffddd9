"""The command line: everything is called here, nothing computed.

Imports that take time (torch, pandas) stand inside the commands, so that `--help` is quick.
Results go to standard output, everything else to standard error. Exit code 0: fine; 1: the check
says no; 2: bad use.
"""

import os
import sys

from reuseprior.cli import chapters, counting, training  # noqa: F401  importing registers
from reuseprior.cli.app import app


def main() -> None:
    """The entry point of the command `reuseprior`."""
    _open_closed_streams()
    # processes that it starts look for no module in the current folder either
    os.environ["PYTHONSAFEPATH"] = "1"
    app(prog_name="reuseprior")


def _open_closed_streams() -> None:
    """Or the next file that is opened would be standard output or error, and be written into.

    What is said on a standard error that is closed is lost. Results are not: to write to a standard
    output that is closed stays an error.
    """
    for number, name, flags in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_WRONLY if number == 2 else os.O_RDONLY)
            setattr(sys, name, os.fdopen(nowhere, flags, encoding="utf-8"))
