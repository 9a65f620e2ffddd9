import torch
from torchvision import models as torchvision_models

from reuseprior.models import resnet50_v1, without_weights


def size(**options):
    """Parameters, and with the running statistics of its norms."""
    with without_weights():
        model = resnet50_v1(**options)
    learnable = sum(p.numel() for p in model.parameters())
    return learnable, learnable + sum(b.numel() for b in model.buffers() if b.is_floating_point())


def test_parameter_totals_are_the_thesis_s_and_biases_keras_s():
    assert size() == (25_557_032, 25_610_152)
    assert size(conv_bias=True)[1] == 25_636_712


def test_stride_is_in_the_first_convolution():
    with without_weights():
        ours, theirs = resnet50_v1().layer2[0], torchvision_models.resnet50().layer2[0]
    assert [conv.stride for conv in (ours.conv1, ours.conv2)] == [(2, 2), (1, 1)]
    assert [conv.stride for conv in (theirs.conv1, theirs.conv2)] == [(1, 1), (2, 2)]
    assert resnet50_v1(num_classes=10)(torch.randn(2, 3, 32, 32)).shape == (2, 10)
