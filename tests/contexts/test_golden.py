"""Numbers that were published, or follow from a formula, to all their digits."""

from functools import cache
from math import log2

import numpy as np
import pytest
import torch
import torchvision
from torch import nn

from reuseprior.contexts import count_contexts, trace_model
from reuseprior.contexts.array import log2_integer
from reuseprior.models import catalog, without_weights
from reuseprior.models.plain import MLP
from tests.soak import drawn

soak = pytest.mark.soak


@cache
def counted(name, size, batch_norm="all"):
    return count_contexts(catalog.build(name), (1, 3, size, size), batch_norm=batch_norm)


# those of M and L are in tests/chapters/test_counting.py
# quantities (expected spread, entropy, total surprisal, P_G, P'_G) of the author, 224 × 224
B0 = {
    "expected_spread": "746.608413463674", "entropy": "10.230140154574",
    "total_surprisal": "3971232852.43", "P_G": "26.276938215750", "P_G_spread": "26.715765392404",
}  # fmt: skip
S = {"expected_spread": "1505.5464583711", "P_G": "28.7210662118", "P_G_spread": "29.2826201875"}
R50 = {"expected_spread": "465.406", "P_G": "27.2501", "P_G_spread": "27.5956"}
GOLDEN = [
    ("efficientnetv2-b0", 224, B0), ("resnet50-v1", 384, R50),
    ("efficientnetv2-s", 384, S),
]  # fmt: skip


@pytest.mark.parametrize(("name", "size", "golden"), GOLDEN)
def test_golden_values(name, size, golden):
    """To every digit printed, and to 1e-10 where there are more digits than that."""
    q = counted(name, size).quantities()
    for quantity, printed in golden.items():
        value, decimals = getattr(q, quantity), len(printed.partition(".")[2])
        off = abs(value - float(printed))
        assert off <= max(0.5001 * 10**-decimals, 1e-10 * abs(value)), (quantity, value, printed)


def test_both_conventions_of_batch_norm():
    every, learnable = (counted("efficientnetv2-b0", 224, which) for which in ("all", "learnable"))
    assert (every.parameters, learnable.parameters) == (7_200_312, 7_139_704)
    assert every.learnable().quantities() == learnable.quantities()
    assert counted("resnet50-v1", 384).parameters == 25_610_152


@pytest.mark.parametrize("size", ["s", *(pytest.param(size, marks=soak) for size in "ml")])
def test_torchvisions_graphs_are_ours(size):
    names = f"efficientnetv2-{size}", f"torchvision:efficientnet_v2_{size}"
    ours, theirs = (counted(name, 224).quantities().to_dict() for name in names)
    assert ours == pytest.approx(theirs, rel=1e-12)


def test_tiny_images_leave_taps_out():
    counts = counted("efficientnetv2-b0", 32)
    assert counts.parameters == 7_132_440
    assert sum(n for _, n, _ in counts.left_out) == 7_200_312 - 7_132_440
    assert {why for *_, why in counts.left_out} == {
        "never meets an output: not looked up, always on padding, sliced away or overwritten"
    }
    assert all(name in str(counts) for name, _, _ in counts.left_out)


# Heads that only training uses; and Swin v2 sets the keys' bias to zero before it is added.
LEFT_OUT = dict.fromkeys(("googlenet", "inception_v3"), "aux") | dict.fromkeys(
    ("swin_v2_t", "swin_v2_s", "swin_v2_b"), "attn.qkv.bias"
)
FAMILIES = ["resnet18", "swin_v2_t", "mobilenet_v3_small", "googlenet", "shufflenet_v2_x1_0"]
OTHERS = sorted({*torchvision.models.list_models(module=torchvision.models)} - {*FAMILIES})


@pytest.mark.parametrize("name", FAMILIES + drawn(OTHERS, 5))
def test_every_torchvision_classifier(name):
    """Leaves nothing out without a reason, and entropy + spread = log2 N_C."""
    model = catalog.build(f"torchvision:{name}")
    size = catalog.image_size(f"torchvision:{name}")
    counts = count_contexts(model, (1, 3, size, size))
    adds_up(q := counts.quantities())
    left_out = sum(n for _, n, _ in counts.left_out)
    assert counts.parameters + left_out == sum(p.numel() for p in model.parameters())
    assert all(LEFT_OUT[name] in row[0].lower() for row in counts.left_out)
    assert bool(counts.left_out) == (name in LEFT_OUT)
    assert (q.input_nodes, q.output_nodes) == (3 * size**2, 1000)


def adds_up(q):
    assert abs(q.entropy + q.expected_spread - q.log2_contexts) < 1e-9


# Depth -----------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("depth", [3000, pytest.param(100_000, marks=soak)])
def test_a_deep_perceptron(depth):
    """Layer t of D, width n: n^(D - t) contexts a weight, and sums of geometric series."""
    width = 3
    with without_weights():
        model = MLP(width, depth)
    counts = count_contexts(model, (1, width))
    for t in [1, 2, 3, depth // 2, depth - 1, depth]:
        found = counts.parameter_counts[t - 1]
        assert found.name == f"layers.{t - 1}.weight" and found.shape == (width, width)
        assert found.log2_counts.item() == pytest.approx((depth - t) * log2(width), rel=1e-12)
    q = counts.quantities()
    assert (q.parameters, q.weight_nodes) == (9 * depth, 9 * depth)
    # N_C = 9 (3^D - 1) / 2; of each context but the last ones the share is 2/3 · 3^-s at depth s
    ways = [(depth - s) * log2(width) for s in range(1, 80)]
    shares = [2 / 3 * width ** -(s - 1.0) for s in range(1, 80)]
    assert q.log2_contexts == pytest.approx(log2(9 / 2) + depth * log2(width), rel=1e-12)
    assert q.expected_spread == pytest.approx(np.dot(shares, ways), rel=1e-12)
    assert q.entropy == pytest.approx(log2(9) - log2(2 / 3) + log2(3) / 2, rel=1e-9)
    adds_up(q)


class Beside(nn.Module):
    """A shallow way beside a deep one, meeting in one tensor: x[0] goes deep, x[1] does not."""

    def __init__(self, depth):
        super().__init__()
        self.first = nn.Linear(2, 2)
        deep = (nn.Linear(3, 1) if i % 2 else nn.Linear(1, 3) for i in range(depth))
        self.deep = nn.Sequential(*deep)
        self.last = nn.Linear(2, 1)

    def forward(self, x):
        a, b = self.first(x).split(1, -1)
        return self.last(torch.cat([self.deep(a), b], -1))


@pytest.mark.parametrize(
    "depth", [30, pytest.param(1200, marks=pytest.mark.slow), pytest.param(3000, marks=soak)]
)
def test_a_shallow_way_beside_a_deep_one(depth):
    """Counts of one tensor may lie further apart than a float reaches; none is lost."""
    traced = trace_model(Beside(depth), (1, 2))
    exact, scaled = traced.count(exact=True), traced.count()
    assert exact.left_out == scaled.left_out == ()
    for a, b in zip(exact.parameter_counts, scaled.parameter_counts, strict=True):
        logs = np.vectorize(log2_integer, otypes=[float])(np.broadcast_to(a.counts, a.shape))
        np.testing.assert_allclose(np.broadcast_to(b.log2_counts, b.shape), logs, 1e-13, 1e-12)
    first = {p.name: p for p in exact.parameter_counts}["first.bias"]
    assert first.counts.tolist() == [3 ** (depth // 2), 1]
    adds_up(scaled.quantities())
