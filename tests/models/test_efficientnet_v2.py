from collections import Counter
from functools import cache

import pytest
import torch
from torchvision import models as torchvision_models

from reuseprior.models import EfficientNetV2, efficientnet_v2, without_weights
from reuseprior.models.efficientnet_v2 import Stage, parse_stage, round_channels, scale_stage


@cache
def lazy(size, **options):
    with without_weights():
        return efficientnet_v2(size, **options)


@pytest.mark.slow
@pytest.mark.parametrize("size", ["s", "m", "l"])
def test_same_parameter_shapes_as_torchvision(size):
    with without_weights():
        theirs = torchvision_models.get_model(f"efficientnet_v2_{size}", weights=None)
    ours, others = (Counter(tuple(p.shape) for p in m.parameters()) for m in (lazy(size), theirs))
    assert ours == others


def test_skips_where_the_shape_stays():
    skips = [index for index, block in enumerate(lazy("b0").blocks) if block.skip]
    assert skips == [2, 4, 6, 7, 9, 10, 11, 12, *range(14, 21)]
    stage = parse_stage("er_r2_k3_s2_e1_c8")
    model = EfficientNetV2([stage], stem_channels=8, head_channels=8, num_classes=2)
    assert [block.skip for block in model.blocks] == [False, True]
    assert model(torch.randn(2, 3, 16, 16)).shape == (2, 2)


def test_channels_round_to_eights():
    channels = (3, 17.6, 35.2, 36, 52.8, 123.2)
    assert [*map(round_channels, channels)] == [8, 16, 32, 40, 56, 120]
    assert [lazy(size).head.out_channels for size in ("b1", "b2", "b3")] == [1280, 1408, 1536]


def test_stages_and_sizes():
    assert parse_stage("er_r2_k3_s1_e1_c24") == Stage("er", 2, 3, 1, 1, 24)
    stage = parse_stage("ir_r5_k3_s1_e6_c112_se0.25")
    assert stage == Stage("ir", 5, 3, 1, 6, 112, 0.25)
    assert scale_stage(stage, 1.1, 1.2) == Stage("ir", 6, 3, 1, 6, 120, 0.25)


def test_width_scales_every_channel():
    narrow, own = lazy("b2", width=0.5), lazy("b2")
    # a size's own width and ours multiply before rounding: 1.1 · 0.5 of 32, 192 and 1280
    widths = narrow.stem.out_channels, narrow.head.in_channels, narrow.head.out_channels
    assert widths == (16, 104, 704)
    assert len(narrow.blocks) == len(own.blocks)


def test_survival_falls_linearly_to_the_last_block():
    survival = [block.survival for block in lazy("b0", survival=0.8).blocks]
    assert survival == pytest.approx([1 - 0.2 * i / 21 for i in range(21)])


def test_a_dropped_branch_is_dropped_for_a_whole_image():
    torch.manual_seed(0)
    model = efficientnet_v2("b0", width=0.25, survival=0.5)
    block = model.blocks[-1]
    x = torch.randn(4000, block.project.out_channels, 1, 1)
    block.branch = torch.ones_like
    y = block(x) - x
    survival = 1 - 0.5 * 20 / 21
    kept = y.flatten(1).abs().amax(1) > 0.5
    expected = kept.float()[:, None].expand(-1, x.shape[1]) / survival
    torch.testing.assert_close(y.flatten(1), expected, atol=1e-6, rtol=1e-6)
    assert abs(kept.float().mean() - survival) < 5 * (survival * (1 - survival) / len(x)) ** 0.5
    block.eval()
    torch.testing.assert_close(block(x), x + 1)


def test_regularisation_is_for_training_alone():
    torch.manual_seed(0)
    plain = efficientnet_v2("b0", num_classes=10, width=0.25)
    torch.manual_seed(0)
    model = efficientnet_v2("b0", num_classes=10, width=0.25, dropout=0.2, survival=0.8)
    images = torch.randn(8, 3, 32, 32)
    assert torch.equal(model.eval()(images), plain.eval()(images))
    model.train()
    assert not torch.equal(model(images), model(images))


def test_batch_norm_keeps_most_of_its_old_statistics():
    for options, momentum in [({}, 0.01), ({"bn_momentum": 0.1}, 0.1)]:
        norms = [m for m in lazy("b0", **options).modules() if isinstance(m, torch.nn.BatchNorm2d)]
        assert {(norm.momentum, norm.eps) for norm in norms} == {(momentum, 1e-3)}
