"""FlexiBERT's encoders: transformer layers that each have their own operation and sizes.

Tuli et al., "FlexiBERT: Are current transformer architectures too homogeneous and rigid?", JAIR
2023; the 500 encoders with GLUE scores are those of Serianni and Kalita, "Training-free neural
architecture search for RNNs and transformers", ACL 2023, whose released code (ELECTRA's, changed)
says how an operation is built. Every operation stands within a residual and a norm, as their
training code has it.

Counted from embedded tokens on: the table of tokens is the same for all, and looked up. Two
conventions: the discrete cosine transform, which mixes what the Fourier transform mixes, stands as
one; and the classifier reads the first position.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from reuseprior.models.errors import ModelError

EMBEDDING = 128  # features of an embedded token
LENGTH = 128  # tokens
SHAPE = (1, LENGTH, EMBEDDING)  # of the input
CLASSES = 2
DEEPEST = 100  # hidden layers of a feed-forward part; the benchmark's have 1 or 3
OPERATIONS = {"sa": ("sdp", "wma"), "lt": ("dft", "dct"), "dsc": ("5", "9")}


@dataclass(frozen=True)
class EncoderLayer:
    """One layer: its operation with a parameter and heads, and its feed-forward part."""

    operation: str  # sa: self-attention, lt: linear transform, dsc: dynamic convolution
    parameter: str  # how queries meet keys, which transform, how wide a kernel
    heads: int
    width: int  # of the feed-forward part
    depth: int  # its hidden layers

    def __str__(self) -> str:
        return f"{self.operation}.{self.parameter}.{self.heads}.{self.width}x{self.depth}"


def parse(encoder: str) -> tuple[int, tuple[EncoderLayer, ...]]:
    """The hidden size and the layers that a text stands for.

    >>> parse("256-sa.wma.4.1024x3-lt.dct.2.512x1")[1][1]
    EncoderLayer(operation='lt', parameter='dct', heads=2, width=512, depth=1)

    Raises `ModelError` for a text that says no encoder.
    """
    hidden, *layers = encoder.split("-")
    matches = [re.fullmatch(r"(\w+)\.(\w+)\.(\d+)\.(\d+)x(\d+)", layer) for layer in layers]
    good = hidden.isdecimal() and layers and all(matches)
    if good:
        read = tuple(EncoderLayer(m[1], m[2], int(m[3]), int(m[4]), int(m[5])) for m in matches)
        good = all(
            layer.parameter in OPERATIONS.get(layer.operation, ())
            and layer.heads in (2, 4)
            and int(hidden) % layer.heads == 0
            and layer.width > 0 < layer.depth <= DEEPEST
            for layer in read
        )
    if not good or int(hidden) < 1:
        raise ModelError(
            f"{encoder!r} is no FlexiBERT encoder: write the hidden size and the layers, as "
            "256-sa.wma.4.1024x3-lt.dct.2.512x1 (operations sa.sdp, sa.wma, lt.dft, lt.dct, dsc.5 "
            f"and dsc.9, with 2 or 4 heads and 1 to {DEEPEST} hidden layers)"
        )
    return int(hidden), read


def flexibert(encoder: str, classes: int = CLASSES) -> nn.Module:
    """The encoder of a text with a classifier, for inputs of `SHAPE`: (1, tokens, features).

    Raises `ModelError` as `parse` does.
    """
    hidden, layers = parse(encoder)
    return Encoder(hidden, layers, classes)


class Encoder(nn.Module):
    """A projection where sizes differ, the layers, and ELECTRA's head for classification."""

    def __init__(self, hidden: int, layers: tuple[EncoderLayer, ...], classes: int):
        super().__init__()
        same = hidden == EMBEDDING
        self.project = nn.Identity() if same else nn.Linear(EMBEDDING, hidden)
        self.layers = nn.Sequential(*(Layer(hidden, layer) for layer in layers))
        self.dense = nn.Linear(hidden, hidden)
        self.out = nn.Linear(hidden, classes)

    def forward(self, x: Tensor) -> Tensor:  # b tokens features
        x = self.layers(self.project(x))
        return self.out(nn.functional.gelu(self.dense(x[:, 0])))


class Layer(nn.Module):
    """The operation and the feed-forward part, each added to its input and normalised."""

    def __init__(self, hidden: int, layer: EncoderLayer):
        super().__init__()
        self.operation = _operation(hidden, layer)
        self.dense = nn.Linear(hidden, hidden)
        widths = (hidden, *[layer.width] * layer.depth)
        self.inner = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.outer = nn.Linear(layer.width, hidden)
        self.norms = nn.ModuleList(nn.LayerNorm(hidden) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        x = self.norms[0](self.dense(self.operation(x)) + x)
        y = x
        for dense in self.inner:
            y = nn.functional.gelu(dense(y))
        return self.norms[1](self.outer(y) + x)


def _operation(hidden: int, layer: EncoderLayer) -> nn.Module:
    if layer.operation == "sa":
        return Attention(hidden, layer.heads, hidden, weighted=layer.parameter == "wma")
    if layer.operation == "lt":
        return Transform(hidden, layer.heads)
    return DynamicConvolution(hidden, layer.heads, int(layer.parameter))


def _split(x: Tensor, heads: int) -> Tensor:
    """(b, tokens, features) as (b, heads, tokens, features of a head)."""
    b, n, features = x.shape
    return x.view(b, n, heads, features // heads).permute(0, 2, 1, 3)


class Attention(nn.Module):
    """Self-attention; `weighted` has a matrix of its own between queries and keys."""

    def __init__(self, hidden: int, heads: int, width: int, *, weighted: bool):
        super().__init__()
        self.heads, self.width = heads, width
        self.query, self.key, self.value = (nn.Linear(hidden, width) for _ in range(3))
        self.weight = nn.Linear(width, width, bias=False) if weighted else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.attend(self.weight(self.query(x)), x)

    def attend(self, query: Tensor, x: Tensor) -> Tensor:
        q, k, v = (_split(y, self.heads) for y in (query, self.key(x), self.value(x)))
        scores = q @ k.transpose(-1, -2) / (self.width // self.heads) ** 0.5
        met = torch.softmax(scores, dim=-1) @ v
        return met.permute(0, 2, 1, 3).reshape(*x.shape[:2], self.width)


class Transform(nn.Module):
    """A linear layer, and in each head the real part of a Fourier transform in two dimensions."""

    def __init__(self, hidden: int, heads: int):
        super().__init__()
        self.heads = heads
        self.input = nn.Linear(hidden, hidden)

    def forward(self, x: Tensor) -> Tensor:
        mixed = torch.fft.fft2(_split(self.input(x), self.heads)).real
        return mixed.permute(0, 2, 1, 3).reshape(x.shape)


class DynamicConvolution(nn.Module):
    """ConvBERT's: half the heads attend, the others convolve with kernels that the input makes."""

    def __init__(self, hidden: int, heads: int, kernel: int):
        super().__init__()
        self.heads, self.kernel = heads // 2, kernel
        self.size, self.width = hidden // heads, hidden // 2
        self.attention = Attention(hidden, self.heads, self.width, weighted=False)
        self.depthwise = nn.Conv1d(
            hidden, hidden, kernel, padding=kernel // 2, groups=hidden, bias=False
        )
        self.pointwise = nn.Conv1d(hidden, self.width, 1)
        self.kernels = nn.Linear(self.width, self.heads * kernel)
        self.value = nn.Linear(hidden, self.width)

    def forward(self, x: Tensor) -> Tensor:
        b, n, _ = x.shape
        query = self.attention.query(x)
        key = self.pointwise(self.depthwise(x.transpose(1, 2))).transpose(1, 2)
        kernels = torch.softmax(self.kernels(key * query).reshape(-1, self.kernel, 1), dim=1)
        values = self.value(x).transpose(1, 2).unsqueeze(-1)  # b width tokens 1
        windows = nn.functional.unfold(
            values, (self.kernel, 1), padding=((self.kernel - 1) // 2, 0)
        )
        windows = windows.transpose(1, 2).reshape(-1, self.size, self.kernel)
        convolved = (windows @ kernels).reshape(b, n, self.width)
        return torch.cat([self.attention.attend(query, x), convolved], dim=2)
