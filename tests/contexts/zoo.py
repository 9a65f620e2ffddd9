"""Small models of the kinds that users bring, and what is counted of them."""

import numpy as np
import torch
from torch import nn

from reuseprior.contexts import count_contexts


class Calls(nn.Module):
    """Whatever `forward` is given, with parameters and modules by name."""

    def __init__(self, forward, **attributes):
        super().__init__()
        for name, value in attributes.items():
            setattr(self, name, value)
        self.call = forward

    def forward(self, *args, **kwargs):
        return self.call(self, *args, **kwargs)


def ones(*shape):
    return nn.Parameter(torch.ones(shape))


def entries(counts):
    """Each parameter's counts, entry by entry."""
    named = {p.name: np.broadcast_to(p.counts, p.shape) for p in counts.parameter_counts}
    return {name: found.tolist() for name, found in named.items()}


def counted(model, inputs=(1, 3), **options):
    return entries(count_contexts(model, inputs, exact=True, **options))


class TwoLayerLSTM(nn.Module):
    """Classifies a sentence of token ids by the last state of two recurrent layers."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(100, 32)
        self.lstm = nn.LSTM(32, 64, 2, batch_first=True)
        self.head = nn.Linear(64, 10)

    def forward(self, ids):
        return self.head(self.lstm(self.embed(ids))[0][:, -1])


class Tied(nn.Module):
    """A block used twice, and an embedding that is the last layer's weight as well."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(100, 32)
        self.body = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 32))
        self.head = nn.Linear(32, 100, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, ids):
        found = self.embed(ids)
        for _ in range(2):
            found = found + self.body(found)
        return self.head(found)


IDS = torch.arange(12).reshape(1, 12)
IMAGE = (1, 3, 224, 224)
EXAMPLES = {"tied": (Tied, IDS), "lstm": (TwoLayerLSTM, IDS)}  # a class and its input
