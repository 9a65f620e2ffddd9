"""Convolutions of maps of a few pixels by products, which train in less time on processors.

On images of 32 pixels about half of EfficientNetV2's training there is the backward pass of such
convolutions. By products it takes a fraction of that; forward, on four pixels, a little longer.
"""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

FEW = 4  # pixels of a map; of nine, depthwise convolutions are the faster


class SmallMaps(TorchFunctionMode):
    """Within this context `torch.nn.functional.conv2d` is `convolve`: the same but for rounding.

    That holds in the thread that enters it, and not within `Tensor.backward`: a model that
    computes parts of itself anew there (`torch.utils.checkpoint`) fails.
    """

    def __torch_function__(self, function, types, arguments=(), keywords=None):
        function = convolve if function is functional.conv2d else function
        return function(*arguments, **(keywords or {}))


def convolve(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | tuple[int, int] = 1,
    padding: int | str | tuple[int, int] = 0,
    dilation: int | tuple[int, int] = 1,
    groups: int = 1,
) -> Tensor:
    """`torch.nn.functional.conv2d`, by products where it is depthwise or pointwise on a small map.

    That is on processors, for options in pairs, as `torch.nn.Conv2d` gives them, and depthwise
    without a bias.
    """
    options = stride, padding, dilation
    if _is_small(input, weight) and all(isinstance(o, tuple) and len(o) == 2 for o in options):
        pixels, size, kernel = input.permute(0, 2, 3, 1), input.shape[2:], weight.shape[2:]
        outputs = None
        if groups == 1 and kernel.numel() == 1 and options == ((1, 1), (0, 0), (1, 1)):
            outputs = functional.linear(pixels, weight.flatten(1), bias).permute(0, 3, 1, 2)
        elif groups == input.shape[1] == len(weight) and bias is None:
            # Of an image with one bright pixel `unfold` tells by which weight each output sees it.
            bright = torch.eye(size.numel()).to(weight).view(-1, 1, *size)
            taps = functional.unfold(bright, kernel, dilation, padding, stride).mT
            matrix = taps @ weight.flatten(1).T
            outputs = _Depthwise.apply(pixels.flatten(1, 2).to(matrix.dtype), matrix)
            rows = (size[0] + 2 * padding[0] - dilation[0] * (kernel[0] - 1) - 1) // stride[0] + 1
            outputs = outputs.unflatten(1, (rows, -1)).permute(0, 3, 1, 2)
        if outputs is not None:
            last = input.is_contiguous(memory_format=torch.channels_last)
            return outputs if last else outputs.contiguous()
    return functional.conv2d(input, weight, bias, *options, groups)


def _is_small(images: Tensor, weight: Tensor) -> bool:
    """Whether these are maps of a few pixels, and of types that `conv2d` takes."""
    autocast = torch.is_autocast_enabled(images.device.type)
    return (
        images.device.type == "cpu"
        and images.ndim == weight.ndim == 4
        and 0 < images.shape[2:].numel() <= FEW
        and images.is_floating_point()
        and (autocast or images.dtype == weight.dtype)
    )


class _Depthwise(torch.autograd.Function):
    """Pixels (batch, inputs, channels) by a matrix (inputs, outputs, channels) for each channel.

    Left to autograd this is as fast on one pixel, and takes longer on four.
    """

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
