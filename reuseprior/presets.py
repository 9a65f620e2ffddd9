"""Settings as data: TOML files by name or path, their keys, and the types and ranges of values."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from math import inf, isfinite
from pathlib import Path
from typing import Any, get_args, get_type_hints

from reuseprior import files
from reuseprior.errors import UserError, did_you_mean, shown


@dataclass(frozen=True)
class Presets:
    """The TOML files in a folder of a package, and the error for what is wrong with one."""

    kind: str  # what a message calls one, such as "protocol"
    package: str
    folder: str
    error: type[UserError]

    def names(self) -> list[str]:
        """Their names, sorted."""
        files = (path.name for path in self._place().iterdir())
        return sorted(name.removesuffix(".toml") for name in files if name.endswith(".toml"))

    def read(self, name_or_path: str | Path) -> tuple[dict[str, Any], str]:
        """The values of one of them, or of the reader's own file, and what a message calls it."""
        text = str(name_or_path)
        if text.endswith(".toml"):
            file, where = Path(text), text
        elif text in self.names():
            file, where = self._place() / f"{text}.toml", f"{self.kind} {text!r}"
        else:
            raise self.error(
                f"unknown {self.kind} {text!r}{did_you_mean(text, self.names())}: choose from "
                f"{', '.join(self.names())}, or give the path of a .toml file"
            )
        try:
            return tomllib.loads(files.read(file).decode()), where
        except FileNotFoundError:
            raise self.error(f"there is no {self.kind} file {text}: check the path") from None
        except (OSError, ValueError) as error:  # no text, no TOML, a number of too many digits
            raise self.error(f"cannot read {where} ({error}): mend the file") from error
        except RecursionError as error:
            raise self.error(f"{where} is nested too deep to be read: mend the file") from error

    def check_keys(self, keys: Iterable[str], known: Iterable[str], where: str) -> None:
        """Refuse a key that is not known."""
        known = list(known)
        for key in keys:
            if key not in known:
                mend = did_you_mean(key, known) or f": the keys are {', '.join(known)}"
                raise self.error(f"{where} has an unknown key {key!r}{mend}")

    def checked(self, key: str, hint, value, low: float = -inf, high: float = inf):
        """The value as the type `hint` (a `Literal`, or a class), refused if it is another.

        A whole number stands for a float as well; numbers must be finite, from `low` to `high`. A
        text is refused where nothing can hold it: half of a character, as a damaged name has.
        """
        if choices := get_args(hint):
            if value not in choices:
                near = did_you_mean(str(value), choices)
                raise self.error(f"{key} is {shown(value)}{near}: choose from {', '.join(choices)}")
            return value
        if type(value) is not hint and not (hint is float and type(value) is int):
            raise self.error(f"{key} is {shown(value)}: it must be {_KINDS.get(hint, 'a table')}")
        if hint is str and not value.isprintable():
            raise self.error(f"{key} is {shown(value)}: it must be a text that can be printed")
        if hint not in (int, float):
            return value
        try:
            number = float(value)
        except OverflowError:  # a whole number beyond 10^308
            number = inf
        if not (isfinite(number) and low <= number <= high):
            most = f" to {high:,}" if high < inf else " or more"
            finite = "" if isfinite(number) else ", and finite"
            raise self.error(f"{key} is {shown(value)}: it must be {low}{most}{finite}")
        return number if hint is float else value

    def conform(self, settings: object) -> None:
        """Check every field of a frozen dataclass by its type, `Annotated[kind, low, high]`."""
        for key, hint in get_type_hints(type(settings), include_extras=True).items():
            limits = getattr(hint, "__metadata__", ())
            kind = hint.__origin__ if limits else hint
            value = self.checked(key, kind, getattr(settings, key), *limits)
            object.__setattr__(settings, key, value)

    def check_name(self, name: str) -> None:
        """Refuse a name that is more than a name: a path, markup, nothing at all.

        It becomes part of a folder's name and stands in pages.
        """
        if not _NAME.fullmatch(name):
            raise self.error(
                f"name is {shown(name)}: it becomes part of a folder's name, so it must begin "
                "with a letter or digit and hold nothing else but spaces, dots, +, - and _, and "
                "at most 100 characters"
            )

    def _place(self):
        return resources.files(self.package) / self.folder


_NAME = re.compile(r"\w[\w .+-]{0,99}")


_KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
