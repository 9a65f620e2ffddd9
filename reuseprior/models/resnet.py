"""ResNet-50 of He et al. (2016), version 1, as the thesis counted it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from torchvision.models import ResNet

KERAS_EPSILON = 1.001e-5  # of batch norm


def resnet50_v1(*, num_classes: int = 1000, conv_bias: bool = False) -> ResNet:
    """torchvision's ResNet-50 with the stride in each block's first 1×1 convolution.

    ```python
    model = resnet50_v1()
    sum(p.numel() for p in model.parameters())  # 25_557_032
    ```

    Keras's ResNet-50 has this graph and, with `conv_bias`, a bias in every convolution (25,636,712
    with the running statistics). torchvision's own has none, and the stride in the 3×3 convolution.
    """
    from torchvision.models import resnet50  # takes as long as torch, so only where it is built
    from torchvision.models.resnet import Bottleneck

    norm = partial(nn.BatchNorm2d, eps=KERAS_EPSILON)
    model = resnet50(weights=None, num_classes=num_classes, norm_layer=norm)
    for module in model.modules():
        if isinstance(module, Bottleneck):
            module.conv1.stride, module.conv2.stride = module.conv2.stride, module.conv1.stride
        elif isinstance(module, nn.Conv2d) and conv_bias:
            module.bias = nn.Parameter(module.weight.new_zeros(module.out_channels))
    return model
