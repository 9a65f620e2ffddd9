"""Each block: shapes against traced ones, parameters against built ones, what it computes."""

import random

import pytest
import torch

from reuseprior import revolver as rv
from reuseprior.revolver import blocks, blueprints
from reuseprior.revolver.space import Sampler
from tests.revolver.worlds import SMALL, settled

X, Y = (8, 6, 6), (16, 3, 3)


def unit(x=X, channels=8, **options):
    return blocks.unit(blocks.conv(x, channels, **options))


BLOCKS = [
    (blocks.activation(X, "gelu"), X, 0),
    (blocks.dropout(X, 0.3), X, 0),
    (blocks.pool(X), (8, 3, 3), 0),
    (blocks.pool(X, "avg", 3, 2, 1), (8, 3, 3), 0),
    (blocks.global_pool(X), (8,), 0),
    (blocks.batch_norm(X, 0.9), X, 16),
    (blocks.linear((8,), 3), (3,), 27),
    (blocks.conv(X, 16, 5, stride=2, bias=True), Y, 16 * 8 * 25 + 16),
    (blocks.conv(X, 16, 1, groups=4), (16, 6, 6), 16 * 2),
    (blocks.deconv(X, 4), (4, 12, 12), 8 * 4 * 9),
    (blocks.separable(X, 16, 5, stride=2), Y, 8 * 25 + 8 * 16),
    (blocks.conv_deconv((8, 7, 7), 16), (16, 7, 7), 9 * 16 * (8 + 16)),
    (blocks.conv3d(X, expansion=2, stride=2), Y, 2 * 27),
    (blocks.conv3d(X, reduction=4, kernel_size=1), (2, 6, 6), 4),
    (unit(), X, 8 * 8 * 9 + 16),
    (blocks.unit(blocks.conv(X, 4), ("drop", "conv", "pool", "act", "bn")), (4, 3, 3), 288 + 8),
    (blocks.residual([unit(), unit()]), X, 576 + 32),
    (blocks.residual([unit(X, 16, stride=2)], unit(X, 16, kernel_size=1, stride=2)), Y, 1312),
    (blocks.bottleneck([unit(X, 2, kernel_size=1), unit((2, 6, 6), 8)], skip=True), X, 180),
    (blocks.residual_group([blocks.residual([unit()]) for _ in range(3)], drop=0.5), X, 576 + 48),
    (blocks.residual_group([], x=X), X, 0),
    (blocks.dense_concat([unit(X, 4), unit((12, 6, 6), 4)], X), (16, 6, 6), 288 + 16 + 432 + 24),
    (blocks.dense_sum([unit(X, 4), *(unit((4, 6, 6), 4) for _ in "ab")]), (20, 6, 6), 464),
    (blocks.ensemble_mean([blocks.conv(X, 4)] * 3), (4, 6, 6), 3 * 288),
    (blocks.ensemble_mean([blocks.conv(X, 4)] * 3, tied=True), (4, 6, 6), 288),
    (blocks.ensemble_concat([blocks.conv(X, 4), blocks.conv(X, 8)]), (12, 6, 6), 288 + 576),
    (blocks.fractal(blocks.conv(X, 4), blocks.conv((4, 6, 6), 4), 3), (4, 6, 6), 288 + 144),
    (blocks.resnet(blocks.conv((3, 6, 6), 8), [blocks.residual_group([], x=X)], 3), (3,), 259),
    (blocks.densenet(blocks.conv((3, 6, 6), 8), [unit(), unit((8, 3, 3))],
                     [blocks.unit(blocks.conv(X, 8), ("conv", "pool"))], 3), (3,), 216 + 608 + 43),
    (blocks.session(unit(), lr=0.1), X, 592),
]  # fmt: skip


def test_shapes_and_parameters():
    for node, y, parameters in BLOCKS:
        module = built(node)
        rv.check(node)
        assert node.output_shape == y and node.parameters() == parameters, node
        assert sum(p.numel() for p in module.parameters()) == parameters, node
        for training in (True, False):
            traced = module.train(training)(torch.rand(2, *node.input_shape))
            assert traced.shape == (2, *y), node
    assert {node.kind for root, *_ in BLOCKS for _, node in root.walk()} == set(blueprints.names())


def test_every_kind_of_a_slot_fits_or_says_none():
    rng = random.Random(0)
    ends = [(X, X), (X, Y), (X, (16, 6, 6)), (X, (4, 6, 6)), ((3, 5, 5), (4, 3, 3))]
    fitted = {}
    for kind in blueprints.names():
        for x, y in ends:
            for _ in range(3):
                node = Sampler(SMALL, rng).fill(kind, x, y)
                if node is not None:
                    rv.check(settled(node))
                    assert (node.input_shape, node.output_shape) == (x, y)
                    fitted.setdefault(kind, set()).add((x, y))
    anywhere = {"conv", "separable", "unit", "residual", "bottleneck", "residual_group", "fractal",
                "ensemble_mean", "ensemble_concat"}  # fmt: skip
    assert {kind for kind, found in fitted.items() if found == set(ends)} == anywhere
    assert set(fitted) - anywhere == {"conv_deconv", "conv3d", "dense_concat", "dense_sum"}


def built(node):
    return rv.Registry().build(settled(node))


def test_a_module_used_twice_runs_twice():
    conv = blocks.conv(X, 8)
    plain = [blocks.unit(conv.copy(), ("conv",)) for _ in range(2)]
    module = built(blocks.bottleneck(plain))
    once = module.unit0
    x = torch.rand(2, *X)
    assert module.unit1 is once and torch.equal(module(x), once(once(x)))
    module = built(blocks.residual_group(plain))
    assert torch.equal(module(x), module.block1(module.block0(x)))


def test_what_composites_compute():
    x = torch.rand(2, *X)
    convs = [blocks.unit(blocks.conv(X, 8, size), ("conv",)) for size in (1, 3, 5)]
    a, b, c = (rv.Registry().build(conv) for conv in convs)
    total = built(blocks.dense_sum([conv.copy() for conv in convs]))(x)
    y0 = a(x)
    y1 = b(y0)
    y2 = c(y0 + y1)
    torch.testing.assert_close(total, torch.cat((x, y0, y1, y2), 1))
    mean = built(blocks.ensemble_mean(convs, tied=True))(x)
    torch.testing.assert_close(mean, (a(x) + b(x) + c(x)) / 3)
    fractal = built(blocks.fractal(convs[0], convs[0], 3))(x)
    f2 = (a(x) + a(a(x))) / 2
    torch.testing.assert_close(fractal, (a(x) + (a(f2) + a(a(f2))) / 2) / 2)
    residual = built(blocks.residual([convs[1].copy()]))(x)
    torch.testing.assert_close(residual, x + b(x))


def test_stochastic_depth():
    group = blocks.residual_group([blocks.residual([unit()])], drop=0.25)
    module = built(group)
    x = torch.rand(2, *X)
    torch.manual_seed(0)
    kept = [not torch.equal(module(x), x) for _ in range(400)]
    assert abs(sum(kept) / 400 - 0.75) < 0.08
    module.eval()
    change = module.block0(x) - x
    torch.testing.assert_close(module(x), x + 0.75 * change)


def test_session():
    node = blocks.session(blocks.resnet(blocks.conv((3, 6, 6), 8), [], 3), rates=(0.01, 0.5))
    registry = rv.Registry()
    rv.settle(node, registry.tags)
    registry.freeze(node, "net/conv")
    session = registry.build(node)
    optimizer = session.optimizer()
    assert (optimizer.defaults["lr"], optimizer.defaults["weight_decay"]) == (0.35, 1e-4)
    assert session.optimizer(lr=0.1).defaults["lr"] == 0.1
    assert sum(p.numel() for g in optimizer.param_groups for p in g["params"]) == 43
    loss = session.loss(session(torch.rand(2, 3, 6, 6)), torch.tensor([0, 2]))
    assert loss > 0 and node.domain("lr") == {"low": 0.01, "high": 0.5}


def test_a_block_of_ones_own():
    @rv.block("gated")
    class Gated(rv.Composite):
        def forward(self, x):
            return self.conv(x) * self.gate(x).sigmoid()

        @staticmethod
        def infer(node, x, flow):
            rv.require(flow("conv", x) == flow("gate", x), "its gate and convolution differ")
            return node.children["conv"].output_shape

    try:
        conv, gate = blocks.conv(X, 16), blocks.conv(X, 16, kernel_size=1)
        node = rv.assemble("gated", X, {"conv": conv, "gate": gate})
        assert node.output_shape == (16, 6, 6) and node.parameters() == 1280
        assert built(node)(torch.rand(2, *X)).shape == (2, 16, 6, 6)
        wrong = {"conv": conv, "gate": blocks.conv(X, 8)}
        with pytest.raises(rv.BlueprintError, match=r"'gated' at the root, given .*, its gate and"):
            rv.assemble("gated", X, wrong)
        with pytest.raises(ValueError, match="a block 'gated' is registered already: Gated"):
            rv.block("gated")(Gated)
    finally:
        del blueprints._KINDS["gated"]


WRONG = [
    (lambda: blocks.linear(X, 3), r"'linear' at the root, given the shape \(8, 6, 6\), needs \(8,"),
    (lambda: blocks.activation(X, "sine"), "has no function 'sine': use relu, gelu"),
    (lambda: blocks.dropout(X, 1.0), r"drops with p outside \[0, 1\)"),
    (lambda: blocks.pool((8, 1, 1)), "is too small for 2 pixels"),
    (lambda: blocks.pool(X, "median"), "pools by 'median': use 'max' or 'avg'"),
    (lambda: blocks.conv(X, 9, groups=8), "cannot split into 8 groups"),
    (lambda: blocks.conv(X, 8, stride=0), "has a size below 1"),
    (lambda: rv.assemble("conv", (8, 2, 2), in_channels=8, out_channels=8, kernel_size=5),
     "is too small for a span of 5 pixels"),
    (lambda: blocks.conv3d(X, reduction=3), "needs channels divisible by 3"),
    (lambda: blocks.deconv(X, 8, to=30), "needs an output padding below its stride 2"),
    (lambda: blocks.residual([unit(X, 16)]), r"adds \(8, 6, 6\) from around its units to \(16"),
    (lambda: blocks.bottleneck([unit(X, 16)], skip=True), r"adds its input to \(16, 6, 6\)"),
    (lambda: blocks.dense_sum([unit(X, 4), unit((4, 6, 6), 5)]), "cannot add .* of 'block1' to"),
    (lambda: blocks.dense_concat([unit(X, 4, stride=2)], X), "cannot concatenate .* of 'block0'"),
    (lambda: blocks.ensemble_mean([unit(X, 4), unit(X, 5)]), "cannot take the mean of"),
    (lambda: blocks.ensemble_concat([unit(X, 4), unit(X, 4, stride=2)]), "cannot concatenate"),
    (lambda: blocks.residual_group([], x=X, drop=1.0), r"drops with a probability outside"),
    (lambda: blocks.batch_norm(X, scope="net"), "has the scope 'net': use 'block' or 'use'"),
]  # fmt: skip


def test_what_a_block_cannot_take():
    for sampler, sentence in WRONG:
        with pytest.raises(rv.BlueprintError, match=sentence):
            sampler()


@pytest.mark.parametrize("channels", range(1, 10))
def test_a_strided_1x1_convolution_learns_alike_in_both_layouts(channels):
    """torch's own crashes in channels-last with 2 to 7 channels in, on an AVX2 processor."""
    module = rv.Registry().build(blocks.conv((channels, 8, 8), 4, 1, stride=2))
    images, found = torch.randn(16, channels, 8, 8), []
    for layout in (torch.contiguous_format, torch.channels_last):
        x = images.contiguous(memory_format=layout).detach().requires_grad_()
        y = module.to(memory_format=layout)(x)
        found.append([y, *torch.autograd.grad(y.square().sum(), (x, module.weight))])
    torch.testing.assert_close(*found)
