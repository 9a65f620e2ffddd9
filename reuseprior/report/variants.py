"""Runs with other than the committed parameters: what they are called and where they write.

What is committed shows one choice of parameters, those of `[quick]` in a chapter's file. A run with
any other is a *variant*: its copy and its figures go to `build/variants/CHAPTER,NAME=VALUE`, so
that nothing that a reader tries is taken for the record.
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

from reuseprior import paths
from reuseprior.errors import UserError, did_you_mean
from reuseprior.report import chapters, notebooks
from reuseprior.report.chapters import PROFILES, Chapter
from reuseprior.report.notebooks import Parameter

LONGEST_NAME = 120  # characters; file systems take 255, of which the files' endings need some

RANGES = {  # of chapters' parameters
    "seed": range(2**32),  # as numpy's generators take
    "jobs": range(1, 1025),
    "largest": range(4, 201),  # a side of a square of models, each of which is drawn
    "scale": ("cpu", "full"),
}

_INJECTED = "# Parameters\n"  # how papermill begins the cell that it puts in


class ParameterError(UserError):
    """A parameter that a chapter does not have, or a value that it cannot take."""


@dataclass(frozen=True)
class Variant:
    """A chapter and the values of its parameters."""

    chapter: Chapter
    parameters: Mapping[str, Any]

    @cached_property  # a batch looks for its files many times a second, and it is read from JSON
    def label(self) -> str:
        """The chapter's name, followed by what its parameters differ in from the committed ones.

        Another profile is named, and then what differs from that profile's own values.

        >>> Variant(chapter, {"profile": "quick", "largest": 12}).label  # doctest: +SKIP
        '05-energy-priors,largest=12'
        """
        known = notebooks.parameters(self.chapter.notebook)
        profile = self.parameters.get("profile", PROFILES[0])
        usual = {name: one.default for name, one in known.items()} | {"profile": PROFILES[0]}
        if profile in self.chapter.presets:
            usual |= self.chapter.presets[profile].parameters
        values = self.parameters.items()
        others = {n: value for n, value in values if n not in usual or value != usual[n]}
        differ = (f"{n}={_plain(str(value))}" for n, value in others.items())
        label = ",".join([self.chapter.name, *differ])
        if len(label) > LONGEST_NAME:
            return f"{label[: LONGEST_NAME - 9]}-{sha256(label.encode()).hexdigest()[:8]}"
        return label

    @property
    def output(self) -> Path:
        """Where the executed copy goes; with other than the committed parameters, elsewhere."""
        committed = self.label == self.chapter.name
        folder = "notebooks" if committed else f"variants/{self.label}"
        return paths.BUILD / folder / self.chapter.notebook.name

    @property
    def figures(self) -> Path:
        """The folder that its figures go to."""
        committed = self.label == self.chapter.name
        return paths.FIGURES if committed else self.output.parent / "figures"


def begin(chapter: str, names: Mapping[str, Any]) -> None:
    """Check a notebook's parameters before it works; give its figures their look and their place.

    ```python
    variants.begin("05-energy-priors", globals())
    ```

    `names` are those of the notebook: its parameters, and IPython's `In`, which holds the cell that
    papermill put in. With the committed values figures go to `figures/`, otherwise to the folder of
    the variant. Raises ParameterError for a parameter that the notebook does not have, for a value
    of another type or profile or out of range, and in a checkout that the package is not of.
    """
    from reuseprior import plotting  # with matplotlib, which naming a run does not need

    if "get_ipython" in names and "REUSEPRIOR_ROOT" not in os.environ:
        _check_place(Path.cwd())
    by_name = {one.name: one for one in chapters.found()}
    if chapter not in by_name:
        raise ParameterError(f"unknown chapter {chapter!r}{did_you_mean(chapter, by_name)}")
    one = by_name[chapter]
    known = notebooks.parameters(one.notebook)
    for name in _injected(names.get("In", ())):
        parameter(chapter, name, known)
    values = {name: names[name] for name in known}
    for name, value in values.items():
        _check(chapter, name, value, known[name])
    plotting.style()
    variant = Variant(one, values)
    plotting.save_to(None if variant.label == chapter else variant.figures)


def parameter(chapter: str, name: str, known: Mapping[str, Parameter]) -> Parameter:
    """A chapter's parameter of this name; ParameterError where it has none."""
    if name not in known:
        mend = did_you_mean(name, known) or f": it has {', '.join(known) or 'none'}"
        raise ParameterError(f"{chapter} has no parameter {name!r}{mend}")
    return known[name]


def _plain(text: str) -> str:
    """A value as it can stand in a file's name; two values give two texts.

    >>> _plain("1e-05"), _plain("a b")
    ('1e-05', 'a-b-c8687a08')
    """
    plain = re.sub(r"[^A-Za-z0-9.+-]+", "-", text)
    return plain if plain == text else f"{plain}-{sha256(text.encode()).hexdigest()[:8]}"


def _injected(history: Sequence[str]) -> Iterator[str]:
    """Names that the cells which papermill put in give a value to."""
    for source in history:
        if source.startswith(_INJECTED):
            for node in ast.walk(ast.parse(source)):
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                    yield node.id


def _check_place(here: Path) -> None:
    """Refuse a notebook of one checkout with the package of another, whose files it would use."""
    at = (here, *here.parents)
    roots = [f for f in at if (f / "data" / "published").is_dir() and (f / "notebooks").is_dir()]
    if roots and roots[0].resolve() != paths.ROOT:
        raise ParameterError(
            f"this notebook lies in {roots[0]} and would read and draw in {paths.ROOT}, where "
            f"the package is installed from: start it with `make lab` in {roots[0]}, or with "
            f"PYTHONPATH={roots[0]}"
        )


def check_range(chapter: str, name: str, value: Any) -> None:
    """Refuse a number that is out of range, or a text that is no choice."""
    known = RANGES.get(name, ())
    if known and value not in known:
        if isinstance(known, range):
            wrong = f"{value:,}: it must be {known[0]:,} to {known[-1]:,}"
        else:
            wrong = f"{value!r}: choose {' or '.join(known)}"
        raise ParameterError(f"parameter {name!r} of {chapter} is {wrong}")


def _check(chapter: str, name: str, value: Any, known: Parameter) -> None:
    type_name = type(value).__name__
    if type_name != known.type and (known.type, type_name) != ("float", "int"):
        raise ParameterError(f"parameter {name!r} of {chapter} is {known.type}, not {value!r}")
    if name == "profile" and value not in PROFILES:
        raise ParameterError(f"there is no profile {value!r}: {' and '.join(PROFILES)} are")
    check_range(chapter, name, value)
