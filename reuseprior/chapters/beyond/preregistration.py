"""What was settled before scoring: two TOML files, whose hashes the results hold."""

from __future__ import annotations

import hashlib
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("preregistration.toml")
FRESH = Path(__file__).with_name("preregistration-fresh.toml")
"""What was settled before the networks of random cells were trained."""
EVERY = "every"  # task of a benchmark, where all have the same training set


def sha256(file: Path = FILE) -> str:
    """Of a file, as each survey's configuration holds it."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


@cache
def settled(file: Path = FILE) -> dict[str, Any]:
    """A file as a dict of its tables."""
    return tomllib.loads(file.read_text(encoding="utf-8"))


def examples(benchmark: str, accuracy: str) -> int:
    """T, the training examples behind an accuracy of a benchmark.

    >>> examples("transnas-micro", "jigsaw")
    80000
    """
    known = settled()["examples"][benchmark]
    return known.get(accuracy) or known[EVERY]
