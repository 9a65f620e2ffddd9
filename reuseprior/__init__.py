"""The reusability prior, reproducible: count contexts in a model, compare models untrained."""

import tomllib
from importlib import metadata
from pathlib import Path

try:
    __version__ = metadata.version("reuseprior")
except metadata.PackageNotFoundError:
    # Run from a checkout that is not installed (PYTHONPATH=.): its pyproject.toml says the
    # version. Where that is missing too, the import fails; no version is made up.
    _pyproject = Path(__file__).parents[1] / "pyproject.toml"
    __version__ = tomllib.loads(_pyproject.read_text(encoding="utf-8"))["project"]["version"]
