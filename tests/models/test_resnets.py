"""ResNets, wide ones, DenseNets and separable ones: what their numbers change, and what runs.

Sizes are in test_sizes.py, what cannot be built is in test_refusals.py.
"""

from functools import partial

import pytest
import torch
from torch import nn
from torchvision import models as torchvision_models

from reuseprior import models
from reuseprior.models import cifar_resnet, densenet_bc, resnet50_v1, without_weights
from reuseprior.models.resnets import BasicBlock, SeparableBlock
from reuseprior.sharing import policy, tie


@pytest.mark.parametrize(("factory", "stem", "features"), [
    (partial(cifar_resnet, 20), 2, 8), (partial(models.wide_resnet, 16, 2), 16, 16),
    (models.cifar_xception, 4, 64), (models.vs_xception, 4, 32), (models.cifar_resnet18, 8, 64),
    (models.cifar_mobilenet, 4, 128),
])  # fmt: skip
def test_width_classes_and_momentum(factory, stem, features):
    model = factory(num_classes=100, width=0.125, bn_momentum=0.2)
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 100)
    convs = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    linear = [m for m in model.modules() if isinstance(m, nn.Linear)]
    assert convs[0].out_channels == stem and linear[-1].in_features == features
    assert all(conv.bias is None for conv in convs)
    assert {m.momentum for m in model.modules() if isinstance(m, nn.BatchNorm2d)} == {0.2}


def test_equal_convolutions_are_shared_whatever_the_depth():
    for depth in (20, 56):
        model = cifar_resnet(depth)
        scopes = {scope.name: len(scope.modules) for scope in tie(model, policy("all_but_bn"))}
        blocks = (depth - 2) // 6
        assert scopes == {
            "Conv2d 16→16 kernel 3×3 stride 1×1": 2 * blocks,
            "Conv2d 32→32 kernel 3×3 stride 1×1": 2 * blocks - 1,
            "Conv2d 64→64 kernel 3×3 stride 1×1": 2 * blocks - 1,
        }
        convolutions = 9 * (3 * 16 + 16 * 16 + 16 * 32 + 32 * 32 + 32 * 64 + 64 * 64)
        norms = 2 * (16 + 2 * blocks * (16 + 32 + 64))
        assert sum(p.numel() for p in model.parameters()) == convolutions + norms + 650


def test_the_skip_has_no_parameters_and_keeps_what_it_takes():
    x = torch.randn(2, 16, 8, 8).to(memory_format=torch.channels_last)
    skipped = BasicBlock(16, 32, 2).skip(x)
    assert torch.equal(skipped[:, :16], x[:, :, ::2, ::2]) and not skipped[:, 16:].any()
    assert torch.equal(BasicBlock(16, 16, 1).skip(x), x)
    assert cifar_resnet(20).blocks(torch.zeros(1, 16, 32, 32)).shape == (1, 64, 8, 8)


def test_resnet_50_has_its_stride_in_the_first_convolution():
    with without_weights():
        ours, theirs = resnet50_v1().layer2[0], torchvision_models.resnet50().layer2[0]
    assert [conv.stride for conv in (ours.conv1, ours.conv2)] == [(2, 2), (1, 1)]
    assert [conv.stride for conv in (theirs.conv1, theirs.conv2)] == [(1, 1), (2, 2)]
    for model in (resnet50_v1(num_classes=10), densenet_bc(10, 4)):
        assert model(torch.randn(2, 3, 32, 32)).shape == (2, 10)


def test_a_block_adds_its_skip_to_its_separable_convolutions():
    x = torch.randn(2, 8, 5, 5)
    plain = SeparableBlock((8, 8, 8))
    assert not len(plain.skip) and torch.equal(plain(x), x + plain.body(x))
    for halving in (SeparableBlock((8, 8), stride=2), SeparableBlock((8, 16))):
        assert len(halving.skip) == 2
        assert torch.equal(halving(x), halving.skip(x) + halving.body(x))
    assert SeparableBlock((8, 8), stride=2)(x).shape == (2, 8, 3, 3)
    assert not isinstance(SeparableBlock((8, 8), relu=False).body[0], nn.ReLU)
