from collections import Counter

import pytest
import torch
from torchvision import models as torchvision_models

from reuseprior.models import EfficientNetV2, efficientnet_v2, without_weights
from reuseprior.models.efficientnet_v2 import Stage, parse_stage, round_channels, scale_stage

# (size, learnable, with batch norm's running mean and variance, as Keras's summary counts)
TOTALS = [
    ("b0", 7_139_704, 7_200_312),
    ("b1", 8_141_052, 8_212_124),
    ("b2", 10_096_086, 10_178_374),
    ("b3", 14_358_406, 14_467_622),
    ("s", 21_458_488, 21_612_360),
    ("m", 54_139_356, 54_431_388),
    ("l", 118_515_272, 119_027_848),
]


def shapes(model):
    return Counter(tuple(parameter.shape) for parameter in model.parameters())


@pytest.mark.parametrize(("size", "learnable", "total"), TOTALS)
def test_parameter_totals_are_those_of_keras(size, learnable, total):
    with without_weights():
        model = efficientnet_v2(size)
    running = [b.numel() for b in model.buffers() if b.is_floating_point()]
    assert sum(p.numel() for p in model.parameters()) == learnable
    assert learnable + sum(running) == total


@pytest.mark.parametrize("size", ["s", "m", "l"])
def test_same_parameter_shapes_as_torchvision(size):
    with without_weights():
        ours = efficientnet_v2(size)
        theirs = torchvision_models.get_model(f"efficientnet_v2_{size}", weights=None)
    assert shapes(ours) == shapes(theirs)


def test_real_images_give_logits_and_gradients():
    model = efficientnet_v2("b0", num_classes=10)
    logits = model(torch.randn(2, 3, 32, 32))
    assert logits.shape == (2, 10)
    logits.sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("stem.weight", (32, 3, 3, 3)),
        ("blocks.0.project.weight", (16, 32, 3, 3)),  # fused with expand ratio 1: one convolution
        ("blocks.1.expand.weight", (64, 16, 3, 3)),  # fused
        ("blocks.5.depthwise.weight", (192, 1, 3, 3)),
        ("blocks.5.gate.reduce.weight", (12, 192, 1, 1)),  # a quarter of the block's 48 inputs
        ("head.weight", (1280, 192, 1, 1)),
        ("classifier.weight", (1000, 1280)),
    ],
)
def test_layers_have_readable_names(name, shape):
    with without_weights():
        model = efficientnet_v2("b0")
    assert model.get_parameter(name).shape == shape


def test_skips_where_the_shape_stays():
    with without_weights():
        model = efficientnet_v2("b0")
    skips = [index for index, block in enumerate(model.blocks) if block.skip]
    assert skips == [2, 4, 6, 7, 9, 10, 11, 12, *range(14, 21)]


def test_no_skip_over_a_stride():
    stage = parse_stage("er_r2_k3_s2_e1_c8")
    model = EfficientNetV2([stage], stem_channels=8, head_channels=8, num_classes=2)
    assert [block.skip for block in model.blocks] == [False, True]
    assert model(torch.randn(2, 3, 16, 16)).shape == (2, 2)


def test_head_is_scaled_like_every_other_width():
    with without_weights():
        heads = [efficientnet_v2(size).head.out_channels for size in ("b1", "b2", "b3")]
    assert heads == [1280, 1408, 1536]


@pytest.mark.parametrize(
    ("channels", "rounded"), [(3, 8), (17.6, 16), (35.2, 32), (36, 40), (52.8, 56), (123.2, 120)]
)
def test_channels_round_to_eights(channels, rounded):
    assert round_channels(channels) == rounded


def test_stage_notation():
    assert parse_stage("er_r2_k3_s1_e1_c24") == Stage("er", 2, 3, 1, 1, 24)
    stage = parse_stage("ir_r5_k3_s1_e6_c112_se0.25")
    assert stage == Stage("ir", 5, 3, 1, 6, 112, 0.25)
    assert scale_stage(stage, 1.1, 1.2) == Stage("ir", 6, 3, 1, 6, 120, 0.25)


def test_unreadable_stage():
    with pytest.raises(ValueError, match="cannot read stage 'ir_r6': write it like"):
        parse_stage("ir_r6")


def test_unknown_size():
    with pytest.raises(ValueError, match="no size 'b4': choose from b0, b1, b2, b3, s, m, l"):
        efficientnet_v2("b4")
