"""The site, which its own tests and those of the PDF read."""

import pytest

from reuseprior import paths
from reuseprior.press import book


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The site, made of the committed notebooks: nothing is reproduced in this build folder."""
    for name in ("sphinx", "myst_nb", "furo"):
        pytest.importorskip(name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "BUILD", tmp_path_factory.mktemp("build"))
        return book.build().parent
