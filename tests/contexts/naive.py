"""The oracle of the counting tests: small models written out node by node, in plain loops.

Shares no code with the counting rules. Every scalar feature is a node of an explicit graph,
which `horizontal_unroll` can then duplicate and count by brute force.
"""

from itertools import product

import numpy as np
import torch
from torch import nn

from reuseprior.contexts import Graph


class Add(nn.Module):
    """x + body(x)."""

    def __init__(self, body: nn.Module):
        super().__init__()
        self.body = body

    def forward(self, x):
        return x + self.body(x)


class Concatenate(nn.Module):
    """Channels of x and of body(x), one after the other."""

    def __init__(self, body: nn.Module):
        super().__init__()
        self.body = body

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
        return f"{self.names[id(tensor)]}{list(at)}"

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
        def uses(at):
            return [
                x[at],
                (None, self.weight(layer.weight, at[0])),
                (None, self.weight(layer.bias, at[0])),
            ]

        return self.each(x, uses)

    def Linear(self, layer, x):
        made = []
        for o in range(layer.out_features):
            uses = [(x[i], self.weight(layer.weight, o, i)) for i in range(layer.in_features)]
            if layer.bias is not None:
                uses.append((None, self.weight(layer.bias, o)))
            made.append(self.node(uses))
        return np.array(made, object)

    def Conv2d(self, layer, x):
        pad = padding_of(layer)
        per_group = layer.in_channels // layer.groups
        out_per_group = layer.out_channels // layer.groups
        sizes = [
            (n + sum(pad[a]) - layer.dilation[a] * (layer.kernel_size[a] - 1) - 1)
            // layer.stride[a]
            + 1
            for a, n in enumerate(x.shape[1:])
        ]
        y = np.empty((layer.out_channels, *sizes), object)
        for o, r, c in np.ndindex(y.shape):
            uses = []
            for i, kr, kc in product(range(per_group), *map(range, layer.kernel_size)):
                row = r * layer.stride[0] + kr * layer.dilation[0] - pad[0][0]
                column = c * layer.stride[1] + kc * layer.dilation[1] - pad[1][0]
                if 0 <= row < x.shape[1] and 0 <= column < x.shape[2]:
                    source = x[o // out_per_group * per_group + i, row, column]
                    uses.append((source, self.weight(layer.weight, o, i, kr, kc)))
            if layer.bias is not None:
                uses.append((None, self.weight(layer.bias, o)))
            y[o, r, c] = self.node(uses)
        return y

    def ConvTranspose2d(self, layer, x):
        sizes = [
            (n - 1) * layer.stride[a]
            - 2 * layer.padding[a]
            + layer.dilation[a] * (layer.kernel_size[a] - 1)
            + layer.output_padding[a]
            + 1
            for a, n in enumerate(x.shape[1:])
        ]
        per_group = layer.in_channels // layer.groups
        out_per_group = layer.out_channels // layer.groups
        uses = {at: [] for at in np.ndindex(layer.out_channels, *sizes)}
        for i, r, c in np.ndindex(x.shape):
            for o, kr, kc in product(range(out_per_group), *map(range, layer.kernel_size)):
                row = r * layer.stride[0] + kr * layer.dilation[0] - layer.padding[0]
                column = c * layer.stride[1] + kc * layer.dilation[1] - layer.padding[1]
                at = (i // per_group * out_per_group + o, row, column)
                if at in uses:
                    uses[at].append((x[i, r, c], self.weight(layer.weight, i, o, kr, kc)))
        y = np.empty((layer.out_channels, *sizes), object)
        for at, found in uses.items():
            bias = [(None, self.weight(layer.bias, at[0]))] if layer.bias is not None else []
            y[at] = self.node(found + bias)
        return y

    def MaxPool2d(self, layer, x):
        k, s, p = layer.kernel_size, layer.stride, layer.padding
        sizes = [(n + 2 * p - k) // s + 1 for n in x.shape[1:]]
        y = np.empty((len(x), *sizes), object)
        for ch, r, c in np.ndindex(y.shape):
            rows = range(max(0, r * s - p), min(x.shape[1], r * s - p + k))
            columns = range(max(0, c * s - p), min(x.shape[2], c * s - p + k))
            y[ch, r, c] = self.node(x[ch, a, b] for a, b in product(rows, columns))
        return y

    AvgPool2d = MaxPool2d

    def AdaptiveAvgPool2d(self, layer, x):
        size = layer.output_size
        y = np.empty((len(x), size, size), object)
        for ch, r, c in np.ndindex(y.shape):
            rows, columns = (
                range(at * n // size, -(-(at + 1) * n // size))
                for at, n in zip((r, c), x.shape[1:], strict=True)
            )
            y[ch, r, c] = self.node(x[ch, a, b] for a, b in product(rows, columns))
        return y

    def each(self, x, uses):
        y = np.empty(x.shape, object)
        for at in np.ndindex(x.shape):
            y[at] = self.node(uses(at))
        return y


def padding_of(layer: nn.Conv2d) -> list[tuple[int, int]]:
    """Padding before and after each axis; 'same' puts the odd one after."""
    if layer.padding != "same":
        return [(p, p) for p in layer.padding]
    totals = [d * (k - 1) for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
    return [(t // 2, t - t // 2) for t in totals]
