from collections import Counter

import torch
from torchvision import models as torchvision_models

from reuseprior.models import resnet50_v1, without_weights


def test_parameter_totals_are_the_thesis_s():
    with without_weights():
        model = resnet50_v1()
    running = [b.numel() for b in model.buffers() if b.is_floating_point()]
    assert sum(p.numel() for p in model.parameters()) == 25_557_032
    assert 25_557_032 + sum(running) == 25_610_152


def test_same_parameter_shapes_as_torchvision():
    with without_weights():
        ours, theirs = resnet50_v1(), torchvision_models.resnet50()
    ours, theirs = (Counter(tuple(p.shape) for p in m.parameters()) for m in (ours, theirs))
    assert ours == theirs


def test_stride_is_in_the_first_convolution():
    with without_weights():
        block = resnet50_v1().blocks[3]
    strides = [layer.stride for layer in (block.reduce, block.conv, block.expand)]
    assert strides == [(2, 2), (1, 1), (1, 1)]


def test_real_images_give_logits():
    assert resnet50_v1(num_classes=10)(torch.randn(2, 3, 32, 32)).shape == (2, 10)
