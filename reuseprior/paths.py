"""The repository's places, so that no notebook needs to know where it stands."""

import os
import shlex
from pathlib import Path

from reuseprior.errors import UserError

# An editable installation lies in its checkout; any other names one with REUSEPRIOR_ROOT.
ROOT = Path(os.environ.get("REUSEPRIOR_ROOT") or Path(__file__).parents[1]).resolve()

# the package itself, whose files a chapter's record holds
PACKAGE = Path(__file__).parent

# one notebook a chapter, committed with its outputs
NOTEBOOKS = ROOT / "notebooks"
# what the notebooks draw, committed, the same bytes each run
FIGURES = ROOT / "figures"
# the numbers that the thesis and the papers print, typed once
PUBLISHED = ROOT / "data" / "published"
# our own runs, with their provenance
RESULTS = ROOT / "data" / "results"
# executed notebooks and the site, ignored by git
BUILD = ROOT / "build"


class CheckoutMissing(UserError):
    """The package is installed without the repository whose files were asked for."""


def install(extra: str) -> str:
    """The command that installs an extra of this package, which no index has.

    >>> install("book").endswith("[book]'")
    True
    """
    place = ROOT if PUBLISHED.is_dir() else "path/to/clone"
    return f"pip install -e {shlex.quote(f'{place}[{extra}]')}"


def checkout() -> Path:
    """The repository's root, or `CheckoutMissing` where there is none.

    >>> (checkout() / "pyproject.toml").is_file()
    True
    """
    if not PUBLISHED.is_dir():
        raise CheckoutMissing(
            f"{ROOT} is not a checkout of reuseprior (it has no data/published): install a "
            "clone with `pip install -e path/to/clone`, or set REUSEPRIOR_ROOT to its folder"
        )
    return ROOT
