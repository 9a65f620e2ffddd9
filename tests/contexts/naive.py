"""The oracle of the counting tests: small models written out node by node, in plain loops.

Shares no code with the counting rules: torch itself says what meets. Every scalar feature is a node
of an explicit graph, which `horizontal_unroll` can then duplicate and count by brute force.
"""

from copy import deepcopy

import numpy as np
import torch
from torch import nn
from torch.nn.utils import parametrize

from reuseprior.contexts import Graph


class Add(nn.Module):
    """x + body(x)."""

    def __init__(self, body: nn.Module):
        super().__init__()
        self.body = body

    def forward(self, x):
        return x + self.body(x)


class Concatenate(Add):
    """Channels of x and of body(x), one after the other."""

    def forward(self, x):
        return torch.cat([x, self.body(x)], dim=1)


class Gate(nn.Module):
    """x times the mean over positions of x, channel by channel (squeeze and excite)."""

    def forward(self, x):
        return x * x.mean((2, 3), keepdim=True)


class Writer:
    """Writes the graph of a model; feature maps are object arrays (channels, height, width)."""

    def __init__(self, model: nn.Module):
        self.nodes = {}
        self.names = {}  # the first name of each parameter
        for name, parameter in model.named_parameters():
            self.names.setdefault(id(parameter), name)

    def graph(self, model: nn.Module, shape: tuple[int, ...]) -> Graph:
        x = np.empty(shape, object)
        for at in np.ndindex(shape):
            x[at] = f"x{list(at)}"
        made = self.write(model, x)
        outputs = self.each(made, lambda at: [made[at]])  # an input may be an output as it is
        return Graph(self.nodes, tuple(outputs.ravel()))

    def node(self, uses) -> str:
        name = f"n{len(self.nodes)}"
        self.nodes[name] = list(uses)
        return name

    def weight(self, tensor, *at) -> str:
        return f"{self.names[id(tensor)]}{[*map(int, at)]}"

    def write(self, layer: nn.Module, x: np.ndarray) -> np.ndarray:
        return getattr(self, type(layer).__name__)(layer, x)

    def Sequential(self, layer, x):
        for part in layer:
            x = self.write(part, x)
        return x

    def ReLU(self, layer, x):
        return self.each(x, lambda at: [x[at]])

    def Flatten(self, layer, x):
        return x.reshape(-1)

    def Add(self, layer, x):
        y = self.write(layer.body, x)
        return self.each(x, lambda at: [x[at], y[at]])

    def Concatenate(self, layer, x):
        return np.concatenate([x, self.write(layer.body, x)])

    def Gate(self, layer, x):
        means = [self.node(channel.ravel().tolist()) for channel in x]
        return self.each(x, lambda at: [x[at], means[at[0]]])

    def BatchNorm2d(self, layer, x):
        vectors = layer.weight, layer.bias
        return self.each(
            x, lambda at: [x[at], *((None, self.weight(vector, at[0])) for vector in vectors)]
        )

    @torch.no_grad()
    def met(self, layer, x):
        """Given an entry alone, a layer with weights 1, 2, … makes what says which one it meets."""
        probe, weight = deepcopy(layer).double(), getattr(layer, "weight", None)
        if weight is not None:
            numbers = torch.arange(1.0, weight.numel() + 1, dtype=torch.double)
            if parametrize.is_parametrized(probe):  # torch's removal would change the layer's class
                probe.__class__ = type(probe).__base__
                del probe.parametrizations
            probe.weight, probe.bias = nn.Parameter(numbers.view(weight.shape)), None
        made = probe(torch.eye(x.size, dtype=torch.double).view(-1, *x.shape))
        y = np.empty(made.shape[1:], object)
        for at in np.ndindex(y.shape):
            found = zip(x.ravel(), made[:, *at].tolist(), strict=True)
            uses = [(source, number) for source, number in found if number]
            if weight is None:
                y[at] = self.node(source for source, _ in uses)
                continue
            places = [np.unravel_index(round(number) - 1, weight.shape) for _, number in uses]
            uses = [(s, self.weight(weight, *p)) for (s, _), p in zip(uses, places, strict=True)]
            bias = [(None, self.weight(layer.bias, at[0]))] if layer.bias is not None else []
            y[at] = self.node(uses + bias)
        return y

    Linear = Conv2d = ConvTranspose2d = MaxPool2d = AvgPool2d = AdaptiveAvgPool2d = met

    def each(self, x, uses):
        y = np.empty(x.shape, object)
        for at in np.ndindex(x.shape):
            y[at] = self.node(uses(at))
        return y
