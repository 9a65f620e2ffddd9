"""The command line: everything is called here, nothing computed.

Imports that take time (torch, pandas) stand inside the commands, so that `--help` is quick.
Results go to standard output, everything else to standard error. Exit code 0: fine; 1: the check
says no; 2: bad use.
"""

import os

from reuseprior.cli import chapters, counting, training  # noqa: F401  importing registers
from reuseprior.cli.app import app


def main() -> None:
    """The entry point of the command `reuseprior`."""
    # processes that it starts look for no module in the current folder either
    os.environ["PYTHONSAFEPATH"] = "1"
    app(prog_name="reuseprior")
