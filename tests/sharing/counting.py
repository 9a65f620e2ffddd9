"""Counting sees through made weights: against paths that are written out one by one."""

import numpy as np
import torch

from reuseprior.contexts import count_contexts
from tests.contexts.naive import Writer


def parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())


class ByValue(Writer):
    """Writes each weight under its value: entries of shared filters bear one number everywhere."""

    def weight(self, tensor, *at):
        return tensor[at].item()

    def ParametrizedConv2d(self, layer, x):
        return self.Conv2d(layer, x)

    def ParametrizedBatchNorm2d(self, layer, x):
        return self.BatchNorm2d(layer, x)


def check_counts(model, shape=(2, 3, 3), writer=ByValue):
    """Give every parameter's entries numbers of their own, and count to the last context."""
    start = 0
    for parameter in model.parameters():
        numbers = torch.arange(start, start + parameter.numel(), dtype=torch.float32)
        parameter.data = numbers.reshape(parameter.shape)
        start += parameter.numel()
    model.eval()
    expected = writer(model).graph(model, shape).contexts()
    counts = count_contexts(model, (1, *shape), exact=True)
    held = dict(model.named_parameters())
    found = {}
    for count in counts.parameter_counts:
        values = held[count.name].detach()
        entries = np.broadcast_to(count.counts, values.shape)  # whole numbers, beyond 2⁵³ too
        found |= dict(zip(values.flatten().tolist(), entries.flatten().tolist(), strict=True))
    assert {value: n for value, n in found.items() if n} == expected
    return counts
