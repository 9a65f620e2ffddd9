"""A model counted and drawn, as it is, shared or merged, runs as one that nobody looked at."""

from functools import partial

import pytest
import torch
from torchvision import models

from reuseprior import sharing
from reuseprior.contexts import count_contexts
from reuseprior.sharing.weights import merge
from tests.contexts.zoo import TwoLayerLSTM

SMALL_RESNET = partial(models.ResNet, models.resnet.BasicBlock, [1, 1, 1, 1])
FAMILIES = {
    "ResNet": (SMALL_RESNET, (2, 3, 32, 32)),
    "ViT": (partial(models.VisionTransformer, 32, 16, 2, 2, 8, 16, 0.1), (2, 3, 32, 32)),
    "Swin": (partial(models.SwinTransformer, [4, 4], 8, [1, 1], [1, 2], [2, 2]), (2, 3, 32, 32)),
    "LSTM": (TwoLayerLSTM, None),
}
STATES = {
    "plain": lambda model: model,
    "shared": lambda model: sharing.apply(model, "stores:80%"),
    "merged": lambda model: merge(sharing.apply(model, "stores:80%")),
}


def made(build, state):
    """The same model every time: in training, but for one module, with a hook."""
    torch.manual_seed(0)
    model, called = STATES[state](build()).train(), []
    *_, last = model.modules()
    last.eval().register_forward_hook(lambda *_: called.append(1))
    return model, called


def held(model):
    """What a module is besides what it computes."""
    hooks = [
        (len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks), m.training)
        for m in model.modules()
    ]
    named = model.state_dict(keep_vars=True).items()
    return hooks, [(n, t.shape, t.dtype, t.device, t.requires_grad, t.is_leaf) for n, t in named]


def trained(model, x):
    """Output and gradients of a step, buffers and the random state after it."""
    torch.manual_seed(1)
    output = model(x)
    output.square().sum().backward()
    gradients = [p.grad for p in model.parameters()]
    return [output, *gradients, *model.buffers(), *model.state_dict().values(), torch.rand(3)]


SHARED = ("ResNet", "ViT")  # the others have too little that can be shared
CASES = [(f, s) for f in FAMILIES for s in STATES if f in SHARED or s == "plain"]


@pytest.mark.parametrize(("family", "state"), CASES)
def test_it_runs_as_if_nobody_had_looked(family, state):
    build, shape = FAMILIES[family]
    (looked_at, called), (other, _) = made(build, state), made(build, state)
    x = torch.randint(100, (1, 12)) if shape is None else torch.rand(shape)
    before, random = held(looked_at), torch.get_rng_state()
    count_contexts(looked_at, x).draw()
    assert held(looked_at) == before
    called.clear()
    assert torch.equal(torch.get_rng_state(), random)
    pairs = zip(trained(looked_at, x), trained(other, x), strict=True)
    assert all(a is b is None or torch.equal(a, b) for a, b in pairs) and called == [1]
