"""The command line, called in this process or in one of its own, and its errors."""

import json
import os
import re
import subprocess
import sys

from typer.testing import CliRunner

from reuseprior import paths
from reuseprior.cli import app


def run(*arguments, **options):
    """What `reuseprior` does with these; options are the runner's, as `charset`."""
    return CliRunner(**options).invoke(app, [str(argument) for argument in arguments])


def shell(*arguments, environment=None, **options):
    """Python in a process of its own, which PYTHONPATH alone tells where the package is."""
    given = os.environ | {"PYTHONPATH": str(paths.ROOT)} | (environment or {})
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    return subprocess.run([sys.executable, *arguments], env=given, **options)


def loads(text):
    """Strict JSON: NaN and Infinity are errors."""

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def refused(done, sentence="", code=2):
    """That a command ended with this code and one line, that a terminal shows, which says this."""
    assert isinstance(done.exception, SystemExit), repr(done.exception)
    assert (done.exit_code, done.stdout) == (code, ""), done.output
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: ") and line.isprintable(), line
    assert re.search(sentence, line), line
