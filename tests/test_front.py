"""`import reuseprior as rp`: ten names, loaded when they are asked for."""

import pytest

import reuseprior as rp
from reuseprior import contexts, sharing


def test_ten_names():
    assert len(rp.__all__) == len(set(rp.__all__)) == 10
    assert all(getattr(rp, name) is not None for name in rp.__all__)
    assert set(rp.__all__) <= set(dir(rp))


def test_they_are_those_of_the_rooms():
    assert rp.count_contexts is contexts.count_contexts
    assert rp.sharing is sharing


def test_others_are_not_there():
    with pytest.raises(AttributeError, match="has no attribute 'cont_contexts'"):
        rp.cont_contexts  # noqa: B018
