"""What a parameter is besides its values, and whether the model is left as it was, in all ways."""

import pytest
import torch
from torch import nn
from torch.func import functional_call

from reuseprior import sharing
from reuseprior.sharing import SharingError
from reuseprior.sharing.weights import makers, merge

STORES = [
    "stores:60%", "stores:60%,mean", "stores:80%,repeat", "stores:80%,interpolate", "stores:300%",
    "stores:300%,embedding", "stores:90%,shape", "stores:70%,resized", "stores:200%,round_robin",
]  # fmt: skip
WAYS = [*STORES, "channels:2,full", "channels:4,full,norms"]


def shared(way):
    torch.manual_seed(0)
    layers = [nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)]
    layers += [nn.Conv2d(4, 4, 3, padding=1) for _ in range(3)]
    return sharing.apply(nn.Sequential(*layers).eval(), way)


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("way", WAYS)
def test_merged_weights_learn_where_what_made_them_did(way, frozen):
    model = shared(way)
    made = list(makers(model))
    for name in made[1:]:  # so that one layer has frozen values, unless they are the others' too
        model.get_submodule(name).requires_grad_(not frozen)
    learned = {name: model.get_submodule(name).weight.requires_grad for name in made}
    with torch.no_grad():
        merge(model)
    assert {name: model.get_submodule(name).weight.requires_grad for name in made} == learned


@pytest.mark.parametrize("way", STORES)
def test_what_functional_call_would_leave_replaced_is_refused(way):
    model, x = shared(way), torch.rand(1, 4, 6, 6)
    before, state = model(x), model.state_dict()
    others = {name: 2 * p for name, p in model.named_parameters()}
    with pytest.raises(SharingError, match="take the layers apart with"):
        functional_call(model, others, (x,))
    assert torch.equal(model(x), before)
    assert state.keys() == model.state_dict().keys()
    plain = merge(model)
    doubled = functional_call(plain, {n: 2 * p for n, p in plain.named_parameters()}, (x,))
    assert not torch.equal(doubled, before) and torch.allclose(plain(x), before, atol=1e-6)
