"""A model counted, drawn and ranked, as it is, shared or merged, runs as if nobody had looked."""

from functools import partial

import pytest
import torch
from torch import nn
from torchvision import models

from reuseprior import sharing
from reuseprior.contexts import count_contexts
from reuseprior.contexts.inputs import tensors_in
from reuseprior.measures.comparing import compare
from reuseprior.models import hf
from reuseprior.sharing.weights import merge
from tests.contexts.zoo import Tied, TwoLayerLSTM
from tests.soak import drawn

pytestmark = pytest.mark.slow

MOBILE = [
    models.efficientnet.FusedMBConvConfig(2, 3, 1, 8, 8, 2),
    models.efficientnet.MBConvConfig(4, 3, 2, 8, 16, 3),
]
TEXT = {"vocab_size": 100, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3}


def text(kind, **options):
    options = {"num_attention_heads": 2, "max_position_embeddings": 32} | options
    return hf.build(hf.configured(kind, TEXT | options))


def vgg():
    """Its own classifier has a hundred million parameters."""
    layers = models.vgg.make_layers([8, "M", 16, 16, "M"], batch_norm=True)
    head = nn.Linear(64, 32), nn.ReLU(), nn.Dropout(), nn.Linear(32, 10)
    return nn.Sequential(layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), *head)


FAMILIES = {  # of images
    "ResNet": partial(models.ResNet, models.resnet.BasicBlock, [1, 1, 1, 1]),
    "bottlenecks": partial(models.ResNet, models.resnet.Bottleneck, [1, 1, 1, 1]),
    "VGG": vgg,
    "DenseNet": partial(models.DenseNet, 8, (3, 3), 16),
    "MobileNetV2": partial(models.MobileNetV2, 10, 0.25),
    "EfficientNetV2": partial(models.EfficientNet, MOBILE, 0.1, last_channel=32),
    "ShuffleNet": partial(models.ShuffleNetV2, [2, 2, 2], [8, 16, 32, 64, 64]),
    "ViT": partial(models.VisionTransformer, 32, 16, 2, 2, 8, 16, 0.1),
    "Swin": partial(models.SwinTransformer, [4, 4], 8, [1, 1], [1, 2], [2, 2]),
}
TEXTS = {
    "LSTM": TwoLayerLSTM,
    "tied": Tied,
    "GPT-2": partial(text, "gpt2"),
    "BERT": partial(text, "bert"),
    "ALBERT": partial(text, "albert", embedding_size=8),
    "RoBERTa": partial(text, "roberta", max_position_embeddings=34),
    "Llama": partial(text, "llama"),
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
    output, *_ = tensors_in(model(x))
    output.square().sum().backward()
    gradients = [p.grad for p in model.parameters()]
    return [output, *gradients, *model.buffers(), *model.state_dict().values(), torch.rand(3)]


ALONE = ("ShuffleNet", "Swin", "LSTM")  # which have too little that can be shared
CASES = [(f, s) for f in FAMILIES | TEXTS for s in STATES if f not in ALONE or s == "plain"]


@pytest.mark.parametrize(("family", "state"), drawn(CASES, 8))
def test_it_runs_as_if_nobody_had_looked(family, state):
    build = (FAMILIES | TEXTS)[family]
    (looked_at, called), (other, _) = made(build, state), made(build, state)
    x = torch.rand(2, 3, 32, 32) if family in FAMILIES else torch.randint(100, (1, 12))
    before, random = held(looked_at), torch.get_rng_state()
    count_contexts(looked_at, x).draw()
    compare({"it": looked_at}, {"it": x})
    assert held(looked_at) == before
    called.clear()
    assert torch.equal(torch.get_rng_state(), random)
    pairs = zip(trained(looked_at, x), trained(other, x), strict=True)
    assert all(a is b is None or torch.equal(a, b) for a, b in pairs) and called == [1]
