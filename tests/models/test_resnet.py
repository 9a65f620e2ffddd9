import torch
from torchvision import models as torchvision_models

from reuseprior.models import resnet50_v1, without_weights


def test_parameter_totals_are_the_thesis_s():
    with without_weights():
        model = resnet50_v1()
    running = [b.numel() for b in model.buffers() if b.is_floating_point()]
    assert sum(p.numel() for p in model.parameters()) == 25_557_032
    assert 25_557_032 + sum(running) == 25_610_152


def test_biases_are_keras_s():
    with without_weights():
        model = resnet50_v1(conv_bias=True)
    running = sum(b.numel() for b in model.buffers() if b.is_floating_point())
    assert sum(p.numel() for p in model.parameters()) + running == 25_636_712


def test_stride_is_in_the_first_convolution():
    with without_weights():
        ours, theirs = resnet50_v1().layer2[0], torchvision_models.resnet50().layer2[0]
    assert [conv.stride for conv in (ours.conv1, ours.conv2)] == [(2, 2), (1, 1)]
    assert [conv.stride for conv in (theirs.conv1, theirs.conv2)] == [(1, 1), (2, 2)]


def test_real_images_give_logits():
    assert resnet50_v1(num_classes=10)(torch.randn(2, 3, 32, 32)).shape == (2, 10)
