"""Small models of the kinds that users bring."""

import torch
from torch import nn


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
