"""The ledger and the site, which several tests read and which take minutes to make."""

import pickle

import pytest
from typer.testing import CliRunner

from reuseprior import paths
from reuseprior.cli import app
from reuseprior.report import book
from tests.report import house


@pytest.fixture
def root(tmp_path, monkeypatch):
    """The root of a repository of a test's own, without chapters."""
    house.build(tmp_path, monkeypatch)
    return tmp_path


@pytest.fixture(scope="session")
def whole_ledger(once):
    """The root under which `reuseprior reproduce 00-ledger` ran, once for all tests."""

    def make(root):
        with pytest.MonkeyPatch.context() as patch:
            house.apart(root, patch)
            patch.setenv("KEPT", str(root / "kept"))
            done = CliRunner().invoke(app, ["reproduce", "00-ledger"])
        assert done.exit_code == 0 and "✓ 00-ledger" in done.stderr, done.output

    return once("ledger", make)


@pytest.fixture(scope="session")
def collected(whole_ledger):
    return pickle.loads((whole_ledger / "kept").read_bytes())


@pytest.fixture(scope="session")
def site(once):
    """The site, made of the committed notebooks: nothing is reproduced in this build folder."""
    for name in ("sphinx", "myst_nb", "furo"):
        pytest.importorskip(name)

    def make(folder):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(paths, "BUILD", folder)
            book.build()

    return once("site", make) / "book"
