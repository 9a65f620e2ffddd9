"""ResNets, wide ones, DenseNets and separable ones: the sizes that papers print, and what runs."""

import pytest
import torch
from torch import nn
from torchvision import models as torchvision_models

from reuseprior.errors import UserError
from reuseprior.models import (
    catalog,
    cifar_mobilenet,
    cifar_resnet,
    cifar_resnet18,
    cifar_xception,
    densenet_bc,
    resnet50_v1,
    vs_xception,
    wide_resnet,
    without_weights,
)
from reuseprior.models.resnets import BasicBlock, SeparableBlock
from reuseprior.sharing import apply, policy, share_blocks, tie


def size(model):
    return sum(p.numel() for p in model.parameters())


def test_numbers_of_a_model():
    """What they change, and the sentence for one that cannot be."""
    for factory, stem, features in (
        (lambda **options: cifar_resnet(20, **options), 2, 8),
        (lambda **options: wide_resnet(16, 2, **options), 16, 16),
        (cifar_xception, 4, 64), (vs_xception, 4, 32),
        (cifar_resnet18, 8, 64), (cifar_mobilenet, 4, 128),
    ):  # fmt: skip
        model = factory(num_classes=100, width=0.125, bn_momentum=0.2)
        assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 100)
        convs = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
        linear = [m for m in model.modules() if isinstance(m, nn.Linear)]
        assert convs[0].out_channels == stem and linear[-1].in_features == features
        assert all(conv.bias is None for conv in convs)
        assert {m.momentum for m in model.modules() if isinstance(m, nn.BatchNorm2d)} == {0.2}
        for options, message in (
            ({"width": 0.0}, "width is 0.0: it must be above 0"),
            ({"num_classes": 0}, "num_classes is 0: it must be 1 or more"),
            ({"bn_momentum": 2.0}, "bn_momentum is 2.0: it must be above 0 and at most 1"),
        ):
            with pytest.raises(UserError, match=message):
                factory(**options)
    assert size(wide_resnet(16, 2, width=0.5)) == size(wide_resnet(16, 1))
    for build, message in (
        (lambda: cifar_resnet(21), r"depth is 21: it must be 6n \+ 2 for a whole n, as 20, 32"),
        (lambda: cifar_resnet(2), "depth is 2: it must be"),
        (lambda: wide_resnet(18, 2), r"depth is 18: it must be 6n \+ 4 for a whole n, as 16, 28"),
        (lambda: wide_resnet(16, 0), "widening is 0: it must be 1 or more"),
        (lambda: densenet_bc(18, 4), "depth is 18 and growth 4: depth must be 6n"),
        (lambda: vs_xception(narrowing=3), "narrowing is 3: it must be 1, 2, 4, 8 or 16"),
    ):
        with pytest.raises(UserError, match=message):
            build()


# ResNets for CIFAR, and ResNet-50 as Keras has it -------------------------------------------------


def test_equal_convolutions_are_shared_whatever_the_depth():
    totals = {}
    for depth in (20, 56):
        model = cifar_resnet(depth)
        scopes = {scope.name: len(scope.modules) for scope in tie(model, policy("all_but_bn"))}
        blocks = (depth - 2) // 6
        assert scopes == {
            "Conv2d 16→16 kernel 3×3 stride 1×1": 2 * blocks,
            "Conv2d 32→32 kernel 3×3 stride 1×1": 2 * blocks - 1,
            "Conv2d 64→64 kernel 3×3 stride 1×1": 2 * blocks - 1,
        }
        totals[depth] = size(model)
    convolutions = 9 * (3 * 16 + 16 * 16 + 16 * 32 + 32 * 32 + 32 * 64 + 64 * 64)
    norms = {depth: 2 * (16 + (depth - 2) // 3 * (16 + 32 + 64)) for depth in totals}
    assert totals == {depth: convolutions + norms[depth] + 650 for depth in totals}


def test_the_skip_has_no_parameters_and_keeps_what_it_takes():
    x = torch.randn(2, 16, 8, 8).to(memory_format=torch.channels_last)
    skipped = BasicBlock(16, 32, 2).skip(x)
    assert torch.equal(skipped[:, :16], x[:, :, ::2, ::2]) and not skipped[:, 16:].any()
    assert torch.equal(BasicBlock(16, 16, 1).skip(x), x)
    assert cifar_resnet(20).blocks(torch.zeros(1, 16, 32, 32)).shape == (1, 64, 8, 8)


def test_resnet_50_is_the_thesis_s_and_with_biases_keras_s():
    """Parameters, and with the running statistics of its norms; the stride is in the first conv."""
    with without_weights():
        plain, biased = resnet50_v1(), resnet50_v1(conv_bias=True)
        theirs = torchvision_models.resnet50().layer2[0]
    statistics = sum(b.numel() for b in plain.buffers() if b.is_floating_point())
    assert size(plain) == 25_557_032
    assert (size(plain) + statistics, size(biased) + statistics) == (25_610_152, 25_636_712)
    ours = plain.layer2[0]
    assert [conv.stride for conv in (ours.conv1, ours.conv2)] == [(2, 2), (1, 1)]
    assert [conv.stride for conv in (theirs.conv1, theirs.conv2)] == [(1, 1), (2, 2)]
    assert resnet50_v1(num_classes=10)(torch.randn(2, 3, 32, 32)).shape == (2, 10)


# Wide ResNets, DenseNet-BC and SWRN have the parameters that NPAS prints and we recounted ---------


def largest_and_unshared(model):
    """What a model with stores holds at least, if no layer is stretched."""
    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    weights = [layer.weight.numel() for layer in layers]
    return size(model) - sum(weights) + max(weights)


@pytest.mark.parametrize(("depth", "widening", "parameters"), [
    (28, 10, 3_768_452), (40, 10, 3_777_412), (52, 10, 3_786_372), (76, 12, 5_449_860),
])  # fmt: skip
def test_largest_layer_with_what_is_not_shared(depth, widening, parameters):
    with without_weights():
        model = wide_resnet(depth, widening, num_classes=100)
    assert largest_and_unshared(model) == parameters
    apply(model, f"stores:{parameters},one")
    assert size(model) == parameters


def test_imagenet_and_densenet():
    with without_weights():
        assert size(densenet_bc(190, 40, num_classes=100)) == 25_821_620
    assert densenet_bc(10, 4)(torch.randn(2, 3, 16, 16)).shape == (2, 10)
    assert size(catalog.build("torchvision:efficientnet_b0")) == 5_288_548
    shared = apply(catalog.build("wrn-50-2"), "blocks:1")
    assert size(shared) == 39_722_568
    # with a bias in each convolution that shares nothing, as NPAS's own count has it
    alone = [m for m in shared.modules() if isinstance(m, nn.Conv2d) and "weight" in m._parameters]
    assert size(shared) + sum(m.out_channels for m in alone) == 39_734_216


@pytest.mark.parametrize(("templates", "parameters"), [(1, 12_344_884), (2, 17_183_284)])
def test_swrn(templates, parameters):
    with without_weights():
        model = wide_resnet(28, 10, num_classes=100)
    stores = share_blocks(model, templates)
    coefficients = 3 * 6 * templates if templates > 1 else 0
    assert size(model) == parameters + coefficients
    assert [len(store.layers) for store in stores] == [6, 6, 6]


# Separable convolutions ---------------------------------------------------------------------------

TOTALS = {  # narrowing: parameters, those of Bidart's notebooks
    cifar_xception: {2: 3_012_458, 4: 1_627_626, 8: 1_168_682},
    vs_xception: {2: 232_746, 4: 103_338, 8: 61_034},
    cifar_resnet18: {2: 2_929_866, 4: 856_842, 8: 332_586, 16: 198_522},
}


def test_narrowed_networks_are_those_of_bidarts_notebooks():
    for factory, totals in TOTALS.items():
        with without_weights():
            assert {n: size(factory(narrowing=n)) for n in totals} == totals


def test_a_block_adds_its_skip_to_its_separable_convolutions():
    torch.manual_seed(0)
    x = torch.randn(2, 8, 5, 5)
    plain = SeparableBlock((8, 8, 8))
    assert not len(plain.skip) and torch.equal(plain(x), x + plain.body(x))
    for halving in (SeparableBlock((8, 8), stride=2), SeparableBlock((8, 16))):
        assert len(halving.skip) == 2
        assert torch.equal(halving(x), halving.skip(x) + halving.body(x))
    assert SeparableBlock((8, 8), stride=2)(x).shape == (2, 8, 3, 3)
    assert not isinstance(SeparableBlock((8, 8), relu=False).body[0], nn.ReLU)
