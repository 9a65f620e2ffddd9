"""The errors that whoever uses the package can mend."""

import sys
import warnings
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import Any


class UserError(ValueError):
    """Something to mend outside the package; the message names it, its value and the mend.

    The command line prints the message as one sentence and exits with code 2.
    """


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The part of a sentence that names what was probably meant, or nothing.

    These are the known names that hold what was given, or else those that look like it.

    >>> did_you_mean("all_but_bm", ["none", "all_but_bn"])
    ", did you mean 'all_but_bn'?"
    """
    known = list(dict.fromkeys(known))
    holding = [n for n in known if name in n] if len(name) > 2 else []
    holding.sort(key=lambda n: (not n.startswith(name), len(n)))
    close = holding[:3] or get_close_matches(name, known)
    return f", did you mean {' or '.join(map(repr, close))}?" if close else ""


def shown(value: object) -> str:
    """A value in a message, cut where it is long.

    >>> shown("a" * 100)
    "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa..."
    """
    text = " ".join(repr(value).split())
    return text if len(text) <= 50 else f"{text[:47]}..."


def expect(
    value: object, kind: Any, name: str, mend: str, error: type[UserError] = UserError
) -> None:
    """Refuse an argument that is not of a kind, or of one of several.

    >>> expect("V2-B0", dict, "the model", "pass a module")
    Traceback (most recent call last):
    ...
    reuseprior.errors.UserError: the model is 'V2-B0', a str: pass a module
    """
    if not isinstance(value, kind):
        what = "itself a class" if isinstance(value, type) else f"a {type(value).__name__}"
        raise error(f"{name} is {shown(value)}, {what}: {mend}")


def expect_seed(seed: object, error: type[UserError] = UserError) -> None:
    """Refuse a seed that is no whole number from 0 to 2⁶³ − 1, as all generators take."""
    if type(seed) is not int or not 0 <= seed < 2**63:
        raise error(f"the seed is {shown(seed)}: give a whole number from 0 to 2**63 - 1")


class CountingError(UserError):
    """A model or graph cannot be counted; the message says what, where and the mend."""


def renamed(module: str, **names: str) -> Callable[[str], Any]:
    """A module's `__getattr__` by which old names work for one release, with a warning.

    >>> renamed("reuseprior.errors", Mistake="UserError")("Mistake")  # doctest: +SKIP
    FutureWarning: reuseprior.errors.Mistake is called UserError now
    """

    def get(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        text = f"{module}.{name} is called {names[name]} now; the old name goes next release"
        warnings.warn(text, FutureWarning, stacklevel=2)
        return getattr(sys.modules[module], names[name])

    return get
