"""Sharing while building gives what tying the built model gives, and leaves nothing behind."""

import doctest
import sys
import threading

import pytest
import torch
from torch import nn

from reuseprior.models import efficientnet_v2, without_weights
from reuseprior.sharing import SharingError, all_but_bn, none, scope_registry, tie


def build():
    return efficientnet_v2("b0", num_classes=10, width=0.25)


def stack():
    return nn.Sequential(*(nn.Conv2d(2, 2, 3, padding=1) for _ in range(3)))


def ties(model):
    """For every parameter name the first name of the same parameter."""
    first = {}
    return {
        name: first.setdefault(id(parameter), name)
        for name, parameter in model.named_parameters(remove_duplicate=False)
    }


def test_the_same_model_as_tying_afterwards():
    with scope_registry():
        model = build()
    other = build()
    scopes = tie(other)
    assert ties(model) == ties(other) and len(set(ties(model).values())) < len(ties(model))
    assert tie(model) == scopes and ties(model) == ties(other)
    shared = [p.shape for p in model.parameters()]
    assert shared == [p.shape for p in other.parameters()]


def test_the_same_values_where_modules_initialise_themselves():
    states = []
    for sharing_now in (True, False):
        torch.manual_seed(0)
        with scope_registry(all_but_bn if sharing_now else none):
            model = stack()
        tie(model)
        states.append(model.state_dict())
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_shared_model_can_be_built_without_weights():
    with without_weights(), scope_registry():
        model = efficientnet_v2("b0")
    assert sum(p.numel() for p in model.parameters()) == 2_958_192
    assert all(p.is_meta for p in model.parameters())


def test_models_built_together_share():
    with scope_registry():
        one, two = stack(), stack()
    assert one[0].weight is two[2].weight
    with scope_registry():
        assert stack()[0].weight is not one[0].weight


def test_nothing_is_left_behind():
    with pytest.raises(KeyError), scope_registry():
        raise KeyError
    model = stack()
    assert model[0].weight is not model[1].weight


def test_the_inner_registry_decides():
    with scope_registry():
        outer = stack()
        with scope_registry(none):
            inner = stack()
        again = stack()
    assert len({id(layer.weight) for layer in inner}) == 3
    assert outer[0].weight is again[2].weight


def test_other_threads_are_left_alone():
    made = []
    with scope_registry():
        thread = threading.Thread(target=lambda: made.append(stack()))
        thread.start()
        thread.join()
        assert stack()[0].weight is not made[0][0].weight
    assert len({id(layer.weight) for layer in made[0]}) == 3


def test_shapes_that_differ():
    with scope_registry(lambda module: "one" if isinstance(module, nn.Conv2d) else None) as found:
        with pytest.raises(SharingError, match=r"Scope 'one' holds parameters .* 2×2×1×1 "):
            nn.Sequential(nn.Conv2d(2, 2, 3), nn.Conv2d(2, 2, 1))
        assert isinstance(found.share(nn.Linear(2, 2)), nn.Linear)


def test_examples():
    assert doctest.testmod(sys.modules["reuseprior.sharing.registry"]).failed == 0
