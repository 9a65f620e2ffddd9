"""Wide ResNets, DenseNet-BC and SWRN have the parameters that NPAS prints and we recounted."""

import pytest
import torch
from torch import nn

from reuseprior.errors import UserError
from reuseprior.models import catalog, densenet_bc, wide_resnet, without_weights
from reuseprior.sharing import apply, share_blocks


def size(model):
    return sum(p.numel() for p in model.parameters())


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


@pytest.mark.parametrize("build", [lambda: wide_resnet(10, 1), lambda: densenet_bc(10, 4)])
def test_forward(build):
    assert build()(torch.randn(2, 3, 16, 16)).shape == (2, 10)


def test_width_scales_the_stages_but_not_the_stem():
    model = wide_resnet(16, 2, width=0.5, bn_momentum=0.2)
    assert model.stem.out_channels == 16 and model.classifier.in_features == 64
    assert size(model) == size(wide_resnet(16, 1))
    assert {m.momentum for m in model.modules() if isinstance(m, nn.BatchNorm2d)} == {0.2}


@pytest.mark.parametrize(("build", "message"), [
    (lambda: wide_resnet(18, 2), "depth is 18: it must be 6n"),
    (lambda: wide_resnet(16, 0), "widening is 0: it must be 1 or more"),
    (lambda: wide_resnet(16, 2, width=0), "width is 0: it must be above 0"),
    (lambda: densenet_bc(18, 4), "depth is 18 and growth 4: depth must be 6n"),
])  # fmt: skip
def test_bad_numbers(build, message):
    with pytest.raises(UserError, match=message):
        build()
