"""Convolutions of maps of a few pixels by products, which a processor does faster, above all back.

EfficientNetV2-B0 trains almost twice as fast by them on images of 32 pixels: benchmarks/README.md.
"""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

FEW = 4  # pixels of a map; of sixteen, convolutions are the faster


class SmallMaps(TorchFunctionMode):
    """Within this context `torch.nn.functional.conv2d` is `convolve`: the same but for rounding."""

    def __torch_function__(self, function, types, arguments=(), keywords=None):
        function = convolve if function is functional.conv2d else function
        return function(*arguments, **(keywords or {}))


def convolve(
    inputs: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | tuple[int, int] = 1,
    padding: int | str | tuple[int, int] = 0,
    dilation: int | tuple[int, int] = 1,
    groups: int = 1,
) -> Tensor:
    """`torch.nn.functional.conv2d`, by products where it is depthwise or pointwise on a small map.

    That is for options in pairs, as `torch.nn.Conv2d` gives them, and depthwise without a bias;
    these outputs (batch, channels, height, width) have their channels last in memory.
    """
    options, size, kernel = (stride, padding, dilation), inputs.shape[2:], weight.shape[2:]
    if inputs.ndim == 4 and size.numel() <= FEW and all(isinstance(o, tuple) for o in options):
        pixels = inputs.permute(0, 2, 3, 1)
        if groups == 1 and kernel.numel() == 1 and options == ((1, 1), (0, 0), (1, 1)):
            return functional.linear(pixels, weight.flatten(1), bias).permute(0, 3, 1, 2)
        if groups == inputs.shape[1] == len(weight) and bias is None:
            # Of an image with one bright pixel `unfold` tells by which weight each output sees it.
            bright = torch.eye(size.numel()).to(weight).view(-1, 1, *size)
            taps = functional.unfold(bright, kernel, dilation, padding, stride).mT
            matrix = taps @ weight.flatten(1).T
            outputs = _Depthwise.apply(pixels.flatten(1, 2).to(matrix.dtype), matrix)
            rows = (size[0] + 2 * padding[0] - dilation[0] * (kernel[0] - 1) - 1) // stride[0] + 1
            return outputs.unflatten(1, (rows, -1)).permute(0, 3, 1, 2)
    return functional.conv2d(inputs, weight, bias, *options, groups)


class _Depthwise(torch.autograd.Function):
    """Pixels (batch, inputs, channels) by a matrix (inputs, outputs, channels) for each channel."""

    @staticmethod
    def forward(context, pixels, matrix):
        context.save_for_backward(pixels, matrix)
        outputs = pixels.new_zeros(len(pixels), *matrix.shape[1:])
        for i, o in product(*map(range, matrix.shape[:2])):
            outputs[:, o].addcmul_(pixels[:, i], matrix[i, o])
        return outputs

    @staticmethod
    def backward(context, gradient):
        pixels, matrix = context.saved_tensors
        of_pixels, of_matrix = torch.zeros_like(pixels), torch.empty_like(matrix)
        for i, o in product(*map(range, matrix.shape[:2])):
            of_pixels[:, i].addcmul_(gradient[:, o], matrix[i, o])
            of_matrix[i, o] = (gradient[:, o] * pixels[:, i]).sum(0)
        return of_pixels, of_matrix
