import pytest

from reuseprior import paths


@pytest.fixture
def root(tmp_path, monkeypatch):
    """An empty place for results."""
    monkeypatch.setattr(paths, "RESULTS", tmp_path)
    return tmp_path
