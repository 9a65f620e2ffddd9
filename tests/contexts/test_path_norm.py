"""All input–output paths of ReLU networks, against their path norm: a definition of others.

The L¹ path norm of Gonon, Brisebarre, Riccietti and Gribonval (ICLR 2024, "A path-norm toolkit for
modern networks") adds up the absolute products of weights along all paths. It is one forward pass
on ones with absolute weights, in which a max-pooling passes on the sum of its window. Biases, from
which paths begin too, are zero here, so with weights of one it is the number of paths from inputs,
an average of n positions multiplying each by 1/n. Each of these paths passes the first convolution
once, so they are the contexts of its weights.
"""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode, resolve_name
from torchvision import models

from reuseprior.contexts import trace_model
from reuseprior.contexts.graph import averages
from reuseprior.models import without_weights
from tests.soak import drawn

NETWORKS = """
    resnet18 resnet34 resnet50 resnet101 wide_resnet50_2 resnext50_32x4d densenet121 googlenet
    squeezenet1_0 squeezenet1_1 mnasnet0_5 mnasnet0_75 mnasnet1_0 mnasnet1_3 shufflenet_v2_x0_5
    shufflenet_v2_x1_0 shufflenet_v2_x1_5 shufflenet_v2_x2_0 vgg11 vgg11_bn vgg13
""".split()  # whose norm is no infinity in float64


def size(name):
    """Pixels a side: in a VGG of 32 each window of its adaptive average has one position."""
    return 32 if name.startswith("vgg") else 64


AVERAGES = averages()


class SumOfWindow(TorchFunctionMode):
    """Max-pooling passes on the sum of its window, whoever calls it."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if (resolve_name(function) or "").endswith("max_pool2d"):
            return summed(*args, **kwargs)
        return function(*args, **kwargs)


def summed(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, **_):
    assert dilation == 1
    return F.avg_pool2d(x, kernel_size, stride, padding, ceil_mode, divisor_override=1)


@torch.no_grad()
def path_norm(name):
    options = {"init_weights": False, "aux_logits": False} if name == "googlenet" else {}
    model = models.get_model(name, weights=None, **options).double().eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):  # x·weight + bias
            module.eps = 0
        for key, tensor in module.named_parameters(recurse=False):
            tensor.fill_(key == "weight")
    with SumOfWindow():
        return model(torch.ones(1, 3, size(name), size(name)).double()).sum().item()


def paths_by_contexts(name, discount=AVERAGES):
    """The contexts of the first convolution's weights, those through an average of n as 1/n."""
    options = {"init_weights": False, "aux_logits": False} if name == "googlenet" else {}
    with without_weights():
        model = models.get_model(name, weights=None, **options)
    traced = trace_model(model, (1, 3, size(name), size(name)))
    counts = traced.count(discount=discount).parameter_counts
    first = next(n for n, m in model.named_modules() if isinstance(m, nn.Conv2d))
    (count,) = [one for one in counts if one.name == f"{first}.weight"]
    every = np.broadcast_to(count.log2_counts, count.shape).ravel()
    return float(np.exp2(every - every.max()).sum()) * 2 ** float(every.max())


@pytest.mark.parametrize("name", drawn(NETWORKS, 5))
def test_contexts_of_the_first_layer_are_the_path_norm(name):
    norm = path_norm(name)
    assert 1e9 < norm < float("inf")
    assert paths_by_contexts(name) == pytest.approx(norm, rel=1e-12)


def test_without_the_averages_they_are_a_factor_apart():
    """The last average of ResNet-18 is of 2×2 positions."""
    plain = paths_by_contexts("resnet18", discount=None)
    assert plain == pytest.approx(4 * path_norm("resnet18"), rel=1e-12)
