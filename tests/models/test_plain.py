"""Networks of constant width, with the budgets of the thesis's tables, and the small blocks."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from reuseprior.models import CNN, MLP
from reuseprior.models.plain import (
    DenseBlock,
    DenseFractalBlock,
    FractalBlock,
    ResidualBlock,
    SummingDenseBlock,
)


def test_budgets_of_tables_5_1_to_5_4():
    """Those with batch norm count four vectors a layer: two that learn, two of statistics."""
    for kind, shapes, total in (
        (MLP, [(120, 1), (60, 4), (8, 225), (2, 3600)], 14_400),
        (CNN, [(120, 1), (60, 4), (6, 400), (2, 3600)], 129_600),
    ):
        for shape in shapes:
            assert sum(p.numel() for p in kind(*shape).parameters()) == total
    for model, total in (
        (MLP(8, 225, in_features=3, batch_norm=True), 21_560),
        (MLP(20, 36, in_features=3, batch_norm=True), 16_940),
        (CNN(24, 25, in_channels=3, batch_norm=True), 127_464),
        (CNN(5, 64, in_channels=3, batch_norm=True), 15_590),
    ):
        vectors = [*model.parameters(), *(b for b in model.buffers() if b.is_floating_point())]
        assert sum(v.numel() for v in vectors) == total


@pytest.mark.parametrize("skip", [False, True])
def test_relu_between_layers_none_at_the_end_and_skips_where_shapes_agree(skip):
    model, x = MLP(4, 2, in_features=3, skip=skip), torch.randn(5, 3)
    first, last = (layer.weight for layer in model.layers)
    hidden = F.relu(x @ first.T)
    assert torch.allclose(model(x), skip * hidden + hidden @ last.T)
    model, images = CNN(4, 2, in_channels=3, skip=skip), torch.randn(2, 3, 8, 8)
    first, last = (layer.weight for layer in model.layers)
    hidden = F.relu(F.conv2d(images, first, padding=1))
    expected = skip * hidden + F.conv2d(hidden, last, padding=1)
    assert torch.allclose(model(images), expected, atol=1e-6)


def test_options():
    """A bias, larger kernels that keep the size, a classifier; and numbers that cannot be."""
    assert MLP(4, 1).layers[0].bias is None
    assert MLP(4, 1, bias=True).layers[0].bias.shape == (4,)
    assert CNN(2, 3, kernel_size=5)(torch.randn(1, 2, 8, 8)).shape == (1, 2, 8, 8)
    assert CNN(4, 2, in_channels=1, num_classes=10)(torch.randn(3, 1, 8, 8)).shape == (3, 10)
    for build, message in (
        (lambda: MLP(0, 3), "width and depth of 1 or more, got 0 and 3"),
        (lambda: CNN(4, 2, kernel_size=2), "kernel_size 2 is even"),
        (lambda: CNN(4, 0), "channels and depth of 1 or more, got 4 and 0"),
    ):
        with pytest.raises(ValueError, match=message):
            build()


# (block, size, channels out of 3, layers)
BLOCKS = [
    (ResidualBlock, 4, 3, 4), (SummingDenseBlock, 4, 3, 10), (DenseBlock, 4, 15, 4),
    (FractalBlock, 4, 3, 15), (DenseFractalBlock, 4, 15, 15),
]  # fmt: skip


@pytest.mark.parametrize(("block", "size", "channels", "layers"), BLOCKS)
@pytest.mark.parametrize("batch_norm", [False, True])
def test_shapes_and_layers(block, size, channels, layers, batch_norm):
    model = block(3, size, batch_norm=batch_norm)
    assert model(torch.randn(2, 3, 5, 7)).shape == (2, channels, 5, 7)
    kinds = [type(module) for module in model.modules()]
    assert kinds.count(nn.Conv2d) == layers
    assert kinds.count(nn.BatchNorm2d) == (layers if batch_norm else 0)


@pytest.mark.parametrize(("block", "size", "channels", "layers"), BLOCKS)
def test_depths_are_longest_paths(block, size, channels, layers):
    """Follow a counter through the block: each layer gives one more than the most it is given."""
    model = block(1, size).double()
    for module in model.modules():
        if isinstance(module, nn.Sequential) and isinstance(module[0], nn.Conv2d):
            module.forward = lambda x, c=module[0]: _reached(x, c)
    model(torch.zeros(1, 1, 1, 1, dtype=torch.float64))


def _reached(x, convolution):
    # depths travel as powers of a large base, so that sums and means keep the largest
    base = 1e6
    depth = 1 + int(x.max().clamp_min(1).log10().div(6).round())
    assert depth == convolution.depth
    return torch.full_like(x[:, :1], base**depth)
