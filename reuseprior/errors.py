"""The errors that whoever uses the package can mend."""

from collections.abc import Iterable
from difflib import get_close_matches


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
