"""Sharing while building gives what tying the built model gives, and leaves nothing behind."""

import threading

import pytest
import torch
from torch import nn

from reuseprior.models import efficientnet_v2, without_weights
from reuseprior.sharing import SharingError, all_but_bn, none, scope_registry, tie
from tests.sharing.counting import parameters


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
    models = []
    for policy in (all_but_bn, none):
        with scope_registry(policy), without_weights():
            models.append(efficientnet_v2("b0"))
    model, other = models
    assert parameters(model) == 2_958_192 and all(p.is_meta for p in model.parameters())
    scopes = tie(other)
    assert ties(model) == ties(other) and len(set(ties(model).values())) < len(ties(model))
    assert tie(model) == scopes and ties(model) == ties(other)
    assert [p.shape for p in model.parameters()] == [p.shape for p in other.parameters()]


def test_the_same_values_where_modules_initialise_themselves():
    states = []
    for policy in (all_but_bn, none):
        torch.manual_seed(0)
        with scope_registry(policy):
            model = stack()
        tie(model)
        states.append(model.state_dict())
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_models_built_together_share_and_nothing_is_left_behind():
    with scope_registry():
        one, two = stack(), stack()
    assert one[0].weight is two[2].weight
    with scope_registry():
        assert stack()[0].weight is not one[0].weight
    with pytest.raises(KeyError), scope_registry():
        raise KeyError
    model = stack()
    assert model[0].weight is not model[1].weight


def test_the_inner_registry_decides_and_other_threads_are_left_alone():
    made = []
    with scope_registry():
        outer = stack()
        with scope_registry(none):
            made.append(stack())
        thread = threading.Thread(target=lambda: made.append(stack()))
        thread.start()
        thread.join()
        again = stack()
    assert outer[0].weight is again[2].weight
    assert all(len({id(layer.weight) for layer in model}) == 3 for model in made)
    assert outer[0].weight is not made[1][0].weight


def test_what_no_scope_holds_is_shared_with_none_after_a_refusal_too():
    with scope_registry(lambda module: "one" if isinstance(module, nn.Conv2d) else None) as found:
        with pytest.raises(SharingError, match=r"Scope 'one' holds parameters .* 2×2×1×1 "):
            nn.Sequential(nn.Conv2d(2, 2, 3), nn.Conv2d(2, 2, 1))
        assert isinstance(found.share(nn.Linear(2, 2)), nn.Linear)
