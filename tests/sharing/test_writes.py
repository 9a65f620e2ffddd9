"""What a layer or a caller writes to a shared weight is kept or refused, and never lost."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from reuseprior import sharing
from reuseprior.sharing import SharingError, weights

MADE = ("stores:150%,mean", "channels:2,full")


class Own(nn.Conv2d):
    """Does something to its weight before it uses it."""

    def __init__(self, act):
        super().__init__(4, 4, 3, padding=1)
        self.act = act
        self.register_buffer("mask", torch.ones(3, 3).tril())

    def forward(self, x):
        self.act(self)
        return super().forward(x)


def three(make=lambda: nn.Conv2d(4, 4, 3, padding=1)):
    torch.manual_seed(0)
    return nn.Sequential(*(make() for _ in range(3)))


def set_data(layer, value):
    layer.weight.data = value(layer.weight.data)


def under_another_name(layer):
    weight = layer.weight
    weight.data.mul_(layer.mask)


@torch.no_grad()
def quietly(layer):
    layer.weight.mul_(layer.mask)


@torch.no_grad()
def a_row(layer):
    layer.weight[0] = 0


WRITES = {
    "a mask": lambda layer: set_data(layer, lambda w: w * layer.mask),
    "a bound": lambda layer: set_data(layer, lambda w: torch.renorm(w, 2, 0, 0.1)),
    "another name": under_another_name,
    "without gradients": quietly,
    "a row": a_row,
    "a view": lambda layer: layer.weight.data.view(-1)[:5].zero_(),
    "detached": lambda layer: layer.weight.detach().zero_(),
    "initialised": lambda layer: nn.init.zeros_(layer.weight),
    "copied": lambda layer: layer.weight.data.copy_(layer.mask.expand(4, 4, 3, 3)),
    "several at once": lambda layer: torch._foreach_mul_([layer.weight.data], 0.5),
    "out": lambda layer: torch.mul(layer.mask.expand(4, 4, 3, 3), 2, out=layer.weight.data),
}


@pytest.mark.parametrize("spec", MADE)
@pytest.mark.parametrize("kind", [kind for kind in WRITES if kind != "several at once"])
def test_a_layer_that_writes_to_its_weight_shares_none(kind, spec):
    model = three(lambda: Own(WRITES[kind]))
    with pytest.raises(SharingError, match=r"layer '[01]' \(Own\) writes to its own weight as it"):
        sharing.apply(model, spec)
    assert not any(hasattr(layer, "parametrizations") for layer in model)


@pytest.mark.parametrize("spec", MADE)
@pytest.mark.parametrize("kind", WRITES)
def test_a_write_to_a_made_weight_is_refused(kind, spec):
    model = sharing.apply(three(), spec)
    layer, before = model[2], model[2].weight.detach().clone()
    layer.mask = torch.ones(3, 3).tril()
    with pytest.raises(SharingError, match="from shared values, and nothing would keep what is"):
        WRITES[kind](layer)
    assert torch.equal(layer.weight, before)


@pytest.mark.parametrize("write", [nn.init.zeros_, lambda weight: weight.data.mul_(2)])
def test_so_is_one_to_a_shared_weight_with_a_difference(write):
    model = sharing.apply(three(lambda: nn.Linear(4, 4)), "layers:all,lora=2")
    with pytest.raises(SharingError, match="from shared values, and nothing would keep what is"):
        write(model[1].weight)


@pytest.mark.parametrize("kind", WRITES)
def test_a_tied_weight_keeps_what_is_written(kind):
    model = three(lambda: Own(lambda layer: None))
    sharing.apply(model, "all_but_bn")
    before = model[0].weight.detach().clone()
    WRITES[kind](model[2])
    assert model[0].weight is model[2].weight and not torch.equal(model[0].weight, before)


class Parent(nn.Module):
    """Reads and perhaps writes the weight of a layer within."""

    def __init__(self, act):
        super().__init__()
        self.layers, self.act = three(), act

    def forward(self, x):
        self.act(self.layers[2])
        return F.conv2d(self.layers(x), self.layers[2].weight)


def frozen(layer):
    layer.weight.requires_grad = False


@pytest.mark.parametrize("act", [*WRITES.values(), frozen])
def test_so_is_one_by_another_module(act):
    model = sharing.apply(Parent(act), "stores:60%")
    model.layers[2].mask = torch.ones(3, 3).tril()
    with pytest.raises(SharingError, match="computed from shared values"):
        model(torch.rand(1, 4, 9, 9))


READS = [
    lambda layer: layer.weight.norm(), lambda layer: layer.weight.detach().numpy().copy(),
    lambda layer: layer.weight.clone().mul_(2), lambda layer: layer.weight.data.abs().amax(),
    lambda layer: torch.zeros(4, 4, 3, 3).copy_(layer.weight), lambda layer: repr(layer.weight),
    lambda layer: layer.weight.unbind(), lambda layer: [*layer.weight],
    lambda layer: layer.weight.view(-1).tolist(), lambda layer: layer.weight.to(torch.float64),
]  # fmt: skip


@pytest.mark.parametrize("act", READS)
def test_reading_stays_as_it_was(act):
    model, x = sharing.apply(Parent(act), "stores:150%,mean"), torch.rand(1, 4, 9, 9)
    made = model(x)
    assert type(made) is torch.Tensor
    made.sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    torch.testing.assert_close(weights.merge(model)(x), made)
