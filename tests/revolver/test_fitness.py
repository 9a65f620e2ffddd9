import math
import random

import pytest

from reuseprior import revolver as rv
from reuseprior.contexts import count_contexts
from reuseprior.revolver import blocks
from tests.revolver.searches import SPACE


def model():
    """Two equal convolutions and a depthwise one, on images of 4×4 pixels."""
    first = blocks.conv((1, 4, 4), 4)
    x = first.output_shape
    units = [blocks.conv(x, 4), blocks.conv(x, 4), blocks.conv(x, 4, groups=4)]
    group = blocks.residual_group([blocks.unit(conv, ("conv",)) for conv in units])
    return blocks.resnet(first, [group], 3)


def test_algorithm_2_by_hand():
    # log2 of the geometric mean of 16 and 64 values, then of 64 and 64, three times
    score = 1 + 5 + 6 + 6 + 6
    norm, head = 2 * 4, 4 * 3 + 3
    parameters = 4 * 9 + 4 * 4 * 9 + 4 * 9 + norm + head
    weights = parameters + 4 * 4 * 9  # the second convolution is the first
    net = model()
    assert (net.parameters(), net.weights()) == (parameters, weights)
    utility = math.log2(parameters * score / weights)
    assert rv.utility(net) == pytest.approx(utility, rel=1e-12)
    assert rv.genotype_fitness(net, 32) == pytest.approx(32 / (utility + 1), rel=1e-12)
    assert rv.genotype_fitness(net, 16) == pytest.approx(16 / (utility + 1), rel=1e-12)
    alone = model()  # sharing less scores better
    for path in ("group0/block0/conv", "group0/block1/conv"):
        rv.make_unique(alone, path, rv.Tags())
    assert rv.genotype_fitness(alone, 32) < rv.genotype_fitness(net, 32)


def test_the_authors_variant_by_hand():
    batch = 128
    full = 4 * 4 * 9  # of the depthwise one too
    score = (
        math.log2(batch**2 * 16 * 64) + 3 * math.log2(batch**2 * 64 * 64)
        + math.log2(batch**2 * 4 * 3)
    ) / 8  # fmt: skip
    others = 4 * 9 + 2 * 4 + 4 * 3 + 3
    utility = math.log2((others + 2 * full) * score / (others + 3 * full))
    assert rv.author_utility(model()) == pytest.approx(utility, rel=1e-12)
    assert rv.genotype_fitness(model(), 32, "author") == pytest.approx(32 / (utility + 1))
    assert rv.author_utility(model(), 1) < rv.author_utility(model(), 128)


def test_utility_is_clipped():
    x = (1, 1, 1)
    layers = [blocks.conv(x, 1, 1) for _ in range(3)]
    row = blocks.residual_group([blocks.unit(conv, ("conv",)) for conv in layers])
    # one value in, one out: the score is 1, and one parameter serves three weights
    assert (row.parameters(), row.weights()) == (1, 3)
    assert rv.utility(row) == 0.0
    assert rv.genotype_fitness(row, 32) == 32.0


def test_contexts_as_fitness():
    net = rv.generate(SPACE, random.Random(0), rv.Tags())
    module = rv.Registry(device="meta").build(net)
    quantities = count_contexts(module, (1, *net.input_shape)).quantities()
    for measure, value in (("P_G", quantities.P_G), ("P_G_spread", quantities.P_G_spread)):
        assert value > 0
        assert rv.genotype_fitness(net, 32, measure) == pytest.approx(32 / (value + 1))


def test_algorithm_3():
    assert rv.phenotype_fitness(0.4, 10_000) == pytest.approx(0.4 * 1.015)
    assert rv.phenotype_fitness(0.4, 1_000_000) == pytest.approx(0.4 * 1.0225)
    assert rv.phenotype_fitness(0.4, 1_000_000, penalty=0) == 0.4
    assert rv.phenotype_fitness(0.4, 0) == 0.4
