import pytest
import torch
from torch import nn

from reuseprior.models.blocks import (
    DenseBlock,
    DenseFractalBlock,
    FractalBlock,
    ResidualBlock,
    SummingDenseBlock,
)

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
