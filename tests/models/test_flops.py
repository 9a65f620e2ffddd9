"""Multiply-adds by torch's counter: of layers by hand, and of the models of Table 4.2."""

import pytest
import torch
from torch import nn

from reuseprior import sharing
from reuseprior.errors import UserError
from reuseprior.models import EfficientNetV2, catalog, flops
from reuseprior.models.efficientnet_v2 import VARIANTS, parse_stage, replace


def test_layers_by_hand():
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.SiLU(),
        nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.Flatten(), nn.Linear(8 * 4 * 4, 5),
    )  # fmt: skip
    found = flops(model, (2, 3, 8, 8))
    assert found.multiply_adds == 2 * (16 * 8 * 27 + 16 * 8 * 9 + 128 * 5)
    assert found.flops == 2 * found.multiply_adds


# (model, pixels at training or test, multiply-adds)
MODELS = [
    ("V2-B0", 192, 528_186_752),
    ("V2-B0", 224, 718_086_176),  # the 0.7B of Table 4.2
    ("V2-S", 300, 5_307_561_248),
    ("V2-S", 384, 8_365_617_152),  # not the 8.8B of Table 4.2
]


@pytest.mark.parametrize(("name", "pixels", "multiply_adds"), MODELS)
def test_models_of_table_4_2(name, pixels, multiply_adds):
    assert flops(catalog.build(name), (1, 3, pixels, pixels)).multiply_adds == multiply_adds


def test_v2_s_as_the_paper_had_it():
    """272 channels and a head of 1792: 24 M parameters, nearer to the paper's 8.8 B, not there."""
    stages = [parse_stage(text) for text in VARIANTS["s"].stages]
    stages[-1] = replace(stages[-1], channels=272)
    model = EfficientNetV2(stages, stem_channels=24, head_channels=1792)
    assert sum(p.numel() for p in model.parameters()) == 23_940_048
    assert flops(model, (1, 3, 384, 384)).multiply_adds == 8_597_814_784


def test_sharing_saves_no_computing():
    model = catalog.build("V2-B0")
    assert sharing.tie(model)
    assert flops(model, (1, 3, 224, 224)).multiply_adds == 718_086_176


def test_the_model_is_left_alone():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    flops(model, (2, 3, 8, 8))
    assert model.training
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())


def test_an_input_it_does_not_take():
    message = r"does not take an input of shape \(1, 1, 8, 8\) \(.*\): check its channels and size"
    with pytest.raises(UserError, match=message):
        flops(nn.Conv2d(3, 4, 3), (1, 1, 8, 8))
