"""Networks of constant width, and the small blocks; their budgets are in test_sizes.py."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from reuseprior.models import CNN, MLP, plain


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize(("model", "shape", "apply"), [
    (partial(MLP, in_features=3), (5, 3), F.linear),
    (partial(CNN, in_channels=3), (2, 3, 8, 8), partial(F.conv2d, padding=1)),
])  # fmt: skip
def test_relu_between_layers_none_at_the_end_and_skips_where_shapes_agree(
    model, shape, apply, skip
):
    model, x = model(4, 2, skip=skip), torch.randn(shape)
    first, last = (layer.weight for layer in model.layers)
    hidden = F.relu(apply(x, first))
    assert torch.allclose(model(x), skip * hidden + apply(hidden, last), atol=1e-6)


def test_options():
    """A bias, larger kernels that keep the size, a classifier."""
    assert MLP(4, 1).layers[0].bias is None
    assert MLP(4, 1, bias=True).layers[0].bias.shape == (4,)
    assert CNN(2, 3, kernel_size=5)(torch.randn(1, 2, 8, 8)).shape == (1, 2, 8, 8)
    assert CNN(4, 2, in_channels=1, num_classes=10)(torch.randn(3, 1, 8, 8)).shape == (3, 10)


def counting(convolution):
    """A forward that gives one more than the most it is given, which must be the layer's depth.

    Depths travel as powers of a large base, so that sums and means keep the largest.
    """

    def forward(x):
        depth = 1 + int(x.max().clamp_min(1).log10().div(6).round())
        assert depth == convolution.depth
        return torch.full_like(x[:, :1], 1e6**depth)

    return forward


@pytest.mark.parametrize(("block", "size", "channels", "layers"), [
    (plain.ResidualBlock, 4, 3, 4), (plain.SummingDenseBlock, 4, 3, 10),
    (plain.DenseBlock, 4, 15, 4), (plain.FractalBlock, 4, 3, 15),
    (plain.DenseFractalBlock, 4, 15, 15),
])  # fmt: skip
def test_blocks(block, size, channels, layers):
    """Their shapes, their layers, and that a layer's depth is its longest path."""
    for batch_norm in (False, True):
        model = block(3, size, batch_norm=batch_norm)
        assert model(torch.randn(2, 3, 5, 7)).shape == (2, channels, 5, 7)
        kinds = [type(module) for module in model.modules()]
        assert kinds.count(nn.Conv2d) == layers
        assert kinds.count(nn.BatchNorm2d) == layers * batch_norm
    model = block(1, size).double()
    for module in model.modules():
        if isinstance(module, nn.Sequential) and isinstance(module[0], nn.Conv2d):
            module.forward = counting(module[0])
    model(torch.zeros(1, 1, 1, 1, dtype=torch.float64))
