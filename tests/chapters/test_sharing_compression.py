"""The claims of thesis §C.1.1, on blocks built and tied."""

import pytest
import torch
from torch import nn

from reuseprior.chapters.sharing import compression_claims, compression_ratio, equal_depth
from reuseprior.models.plain import (
    DenseBlock,
    DenseFractalBlock,
    FractalBlock,
    ResidualBlock,
    SummingDenseBlock,
)
from reuseprior.sharing import all_but_bn, tie


def convolutions(model):
    return [module for module in model.modules() if isinstance(module, nn.Conv2d)]


def fill(model, kernels):
    """Give every convolution the kernel of its depth."""
    with torch.no_grad():
        for convolution in convolutions(model):
            convolution.weight.copy_(kernels[convolution.depth - 1])


def images(channels):
    return torch.randn(2, channels, 6, 6, dtype=torch.float64)


def test_expected_ratios_are_measured():
    table = compression_claims(range(1, 6), channels=3)
    assert list(table.measured) == pytest.approx(list(table.expected), rel=1e-12)
    fractal = table[table.block == "FractalNet"].set_index("size")
    assert list(fractal.measured) == [1, 3, 7, 15, 31]
    # c channels, N layers: N (9c² + 2c) parameters become 9c² + 2cN, fewer than 1 + 9c / 2 times
    for size, measured in fractal["with batch norm"].items():
        n = 2**size - 1
        assert measured == pytest.approx(n * (81 + 6) / (81 + 6 * n)) and measured < 1 + 27 / 2


def test_the_deepest_path_of_a_fractal_is_exponential_in_n():
    """So the compression is O(2^n) in the expansions, but linear in the deepest path.

    The text's "n is the fractal depth or half the size of the deepest path" is one n at n = 4 only.
    """
    for n in range(1, 8):
        block = FractalBlock(2, n)
        deepest = max(convolution.depth for convolution in convolutions(block))
        assert deepest == 2 ** (n - 1) and (deepest / 2 == n) == (n == 4)
        assert compression_ratio(block, all_but_bn) == 2 * deepest - 1


@pytest.mark.parametrize("d", range(1, 7))
def test_a_dense_block_that_sums_is_a_residual_block_when_sources_are_tied(d):
    """To the last bit: the sums are added in the same order."""
    torch.manual_seed(d)
    dense, residual = SummingDenseBlock(3, d).double(), ResidualBlock(3, d).double()
    fill(residual, torch.randn(d, 3, 3, 3, 3) / 5)
    x = images(3)
    if d > 1:
        assert not torch.equal(dense(x), residual(x))
    scopes = tie(dense, equal_depth)
    fill(dense, [layer[0].weight for layer in residual.layers])
    assert torch.equal(dense(x), residual(x))
    # the parameters must be those of the source: one layer for all that comes in will not do
    other = SummingDenseBlock(3, d).double()
    with torch.no_grad():
        for layer, incoming in zip(residual.layers, other.layers, strict=True):
            for one in incoming:
                one[0].weight.copy_(layer[0].weight)
    assert d < 3 or (other(x) - residual(x)).abs().max() > 0.01
    assert [len(scope.modules) for scope in scopes] == list(range(d, 1, -1))
    assert shapes(dense) == shapes(residual)
    # and the gradients of the d parameters are the same functions too
    for block in (dense, residual):
        block(x).square().sum().backward()
    for mine, other in zip(dense.parameters(), residual.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-10, atol=1e-10)


def shapes(model):
    return [p.shape for p in model.parameters()]


@pytest.mark.parametrize("n", range(1, 7))
def test_the_other_fractal_rule_is_a_dense_block_when_equal_depths_are_tied(n):
    torch.manual_seed(n)
    kernels = [torch.randn(2, 2 * k, 3, 3) / 5 for k in range(1, n + 1)]
    fractal, dense = DenseFractalBlock(2, n).double(), DenseBlock(2, n).double()
    assert len(convolutions(fractal)) == 2**n - 1 == len(convolutions(FractalBlock(2, n)))
    fill(dense, kernels)
    x = images(2)
    if n > 1:
        assert not torch.equal(fractal(x), dense(x))
    tie(fractal, equal_depth)
    fill(fractal, kernels)
    torch.testing.assert_close(fractal(x), dense(x), rtol=1e-12, atol=1e-12)
    assert sorted(shapes(fractal)) == sorted(shapes(dense))


def test_fractalnets_own_rule_does_not_become_a_dense_block():
    """With equal depths tied, f_2(x) is (b(a(x)) + a(x)) / 2: nothing carries x itself on."""
    torch.manual_seed(0)
    block = FractalBlock(2, 2).double()
    assert sorted(c.depth for c in convolutions(block)) == [1, 1, 2]
    tie(block, equal_depth)
    x = images(2)
    a, b = block.short, block.long[1].short
    torch.testing.assert_close(block(x), (b(a(x)) + a(x)) / 2)
    with torch.no_grad():
        block.short[0].weight.zero_()
    assert block(x).abs().max() == 0  # a dense block gives x at least
