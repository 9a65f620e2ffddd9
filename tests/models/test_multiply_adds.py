"""Multiply-adds of recorded models: of layers by hand, and of the models of Table 4.2."""

import pytest
from torch import nn

from reuseprior import sharing
from reuseprior.contexts import multiply_adds, record_model
from reuseprior.models import EfficientNetV2, catalog
from reuseprior.models.efficientnet_v2 import VARIANTS, parse_stage, replace


def cost(model, pixels):
    return multiply_adds(record_model(model, (1, 3, pixels, pixels)))


def test_layers_by_hand():
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.SiLU(),
        nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.Flatten(), nn.Linear(8 * 4 * 4, 5),
    )  # fmt: skip
    assert cost(model, 8) == 16 * 8 * 27 + 16 * 8 * 9 + 128 * 5


@pytest.mark.parametrize(("name", "pixels", "expected"), [  # at training or test
    ("V2-B0", 192, 528_186_752), ("V2-B0", 224, 718_086_176),  # the 0.7B of Table 4.2
    ("V2-S", 300, 5_307_561_248), ("V2-S", 384, 8_365_617_152),  # not the 8.8B of Table 4.2
])  # fmt: skip
def test_models_of_table_4_2(name, pixels, expected):
    assert cost(catalog.build(name), pixels) == expected


def test_v2_s_as_the_paper_had_it():
    """272 channels and a head of 1792: 24 M parameters, nearer to the paper's 8.8 B, not there."""
    stages = [parse_stage(text) for text in VARIANTS["s"].stages]
    stages[-1] = replace(stages[-1], channels=272)
    model = EfficientNetV2(stages, stem_channels=24, head_channels=1792)
    assert sum(p.numel() for p in model.parameters()) == 23_940_048
    assert cost(model, 384) == 8_597_814_784


def test_sharing_saves_no_computing():
    model = catalog.build("V2-B0")
    assert sharing.tie(model)
    assert cost(model, 224) == 718_086_176
