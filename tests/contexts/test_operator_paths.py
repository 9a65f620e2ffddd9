"""Paths through operators, what averages keep of them, and averages as an energy prior."""

from math import inf, log2

import numpy as np
import pytest
import torch
from torch import nn

from reuseprior.contexts import CountingError, operator_paths, trace_model
from reuseprior.contexts.graph import averages
from reuseprior.measures import energy
from tests.contexts.zoo import Calls


def conv(before=4, after=4, kernel=1):
    return nn.Conv2d(before, after, kernel, padding=kernel // 2, bias=False)


def paths(net, shape=(1, 4, 8, 8), **options):
    return operator_paths(trace_model(net, shape), averages(**options))


def joined(join, *ways):
    """Several ways from x, joined by a function."""
    return Calls(lambda self, x: join([way(x) for way in self.ways]), ways=nn.ModuleList(ways))


POOL = nn.AvgPool2d(3, 1, 1)


NETS = [  # net, (log2 of paths, log2 of what is kept, layers)
    (conv(), (0, 0, 1)),
    (nn.Sequential(conv(), POOL, conv(), POOL), (0, -2 * log2(9), 2)),
    (nn.Sequential(conv(), nn.AvgPool2d((1, 2)), nn.MaxPool2d(2)), (0, -1, 1)),
    (nn.Sequential(conv(), nn.AdaptiveAvgPool2d(2)), (0, -4, 1)),
    (joined(sum, conv(), nn.Sequential(conv(), nn.ReLU(), conv())), (1, 0, 1.5)),
    (joined(sum, conv(), POOL), (1, log2((1 + 1 / 9) / 2), 0.5)),
    (joined(sum, conv(), nn.Identity(), POOL), (log2(3), log2((2 + 1 / 9) / 3), 1 / 3)),
    # a concatenation has one path, of which each part carries its share
    (joined(lambda ys: torch.cat(ys, 1), conv(), conv(4, 12), POOL), (0, log2(0.8 + 0.2 / 9), 0.8)),
    (joined(lambda ys: ys[0] * torch.zeros_like(ys[0]), conv()), (0, 0, 1)),
]


@pytest.mark.parametrize(("net", "expected"), NETS)
def test_small_nets(net, expected):
    found = paths(net)
    assert (found.log2_paths, found.log2_kept, found.layers) == pytest.approx(expected)
    assert found.blur == pytest.approx(-expected[1] / max(1, expected[2]))


def test_ignored_inputs_powers_and_windows():
    found = paths(joined(lambda ys: ys[0].new_zeros(1, 4) + 1, nn.Sequential(conv())))
    assert (found.log2_paths, found.blur) == (-inf, inf)
    net = nn.Sequential(conv(), POOL, nn.AdaptiveAvgPool2d(1))
    kept = [paths(net, power=p, whole=w).log2_kept for p, w in ((0.5, True), (2, False))]
    assert kept == pytest.approx([-log2(9 * 64) / 2, -2 * log2(9)])
    assert paths(net, power=0).log2_kept == 0
    assert operator_paths(trace_model(net, (1, 4, 8, 8))) == paths(net, whole=False)
    with pytest.raises(CountingError, match="A power of -1 of a coefficient"):
        averages(-1)


def test_many_paths_do_not_overflow():
    def doubled(self, x):
        for _ in range(1100):
            x = x + x
        return self.last(x)

    found = paths(Calls(doubled, last=conv()))
    assert (found.log2_paths, found.layers) == pytest.approx((1100, 1))


def test_averages_weighted():
    """Each of the nine ways through a window counts a ninth."""
    plain, pooled = nn.Sequential(conv(), conv()), nn.Sequential(conv(), POOL, conv())
    first = [
        energy.averages_weighted(power).ensemble(trace_model(net, (1, 4, 1, 9))).energies
        for net, power in ((plain, 1), (pooled, 0), (pooled, 1))
    ]
    assert np.exp(first[0]).tolist() == pytest.approx([36, 9])
    # 9 outputs see 25 of 27 positions each row of three in a row of nine
    assert np.exp(first[1]).tolist() == pytest.approx([4 * 25, 9])
    assert np.exp(first[2]).tolist() == pytest.approx([4 * 25 / 9, 9])
