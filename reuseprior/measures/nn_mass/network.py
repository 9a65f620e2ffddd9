"""Convolutional networks with random long-range links, as torch modules (NN-Mass, section 3.1)."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reuseprior.measures.nn_mass.architecture import KERNEL, Architecture
from reuseprior.measures.nn_mass.errors import NNMassError

Contributions = Literal["random", "constant", "ones"]
"""The three arms of appendix B: softmax of random weights, 1/N, and an ordinary convolution."""


class WeightedConv(nn.Conv2d):
    """A 3 × 3 convolution without bias whose kernels are weighted by fixed contributions α.

    `contributions` (outputs, inputs, 1, 1) is a buffer and not learned: α_ij says what input i
    contributes to output j, and sums to one over the inputs (appendix B).
    """

    contributions: Tensor

    def __init__(self, inputs: int, outputs: int, stride: int, contributions: Tensor):
        super().__init__(inputs, outputs, KERNEL, stride, padding=KERNEL // 2, bias=False)
        self.register_buffer("contributions", contributions)

    def forward(self, x: Tensor) -> Tensor:  # (b, inputs, h, w) -> (b, outputs, h', w')
        kernel = self.weight * self.contributions
        return F.conv2d(x, kernel, stride=self.stride, padding=self.padding)


class LongRangeCell(nn.Module):
    """Layers of one width, each reading the one before it and random channels of earlier ones.

    `links[i]` are the channels that layer i + 2 takes, numbered through layers 0, 1, … in order.
    """

    def __init__(self, convs: list[WeightedConv], links: list[Tensor]):
        super().__init__()
        width = convs[0].out_channels
        self.convs = nn.ModuleList(convs)
        self.norms = nn.ModuleList(
            nn.BatchNorm2d(channels) for channels in [*(c.in_channels for c in convs[1:]), width]
        )
        for i, chosen in enumerate(links):
            self.register_buffer(f"links_{i}", chosen)

    @property
    def links(self) -> list[Tensor]:
        """For each layer from the third on, the channels its long-range links come from."""
        return [self.get_buffer(f"links_{i}") for i in range(len(self.convs) - 2)]

    def forward(self, x: Tensor) -> Tensor:  # (b, inputs, h, w) -> (b, width, h', w')
        x = self.convs[0](x)
        earlier: Tensor | None = None  # the layers before x, side by side
        before = x
        for i, (conv, norm) in enumerate(zip(self.convs[1:], self.norms[:-1], strict=True), 1):
            if i >= 2:
                earlier = before if earlier is None else torch.cat([earlier, before], 1)
                before, chosen = x, self.get_buffer(f"links_{i - 2}")
                x = torch.cat([x, earlier.index_select(1, chosen)], 1)
            x = conv(F.relu(norm(x)))
        return F.relu(self.norms[-1](x))


class LongRangeCNN(nn.Module):
    """Cells of convolutions with random long-range links by concatenation, then a classifier.

    ```python
    model = LongRangeCNN(Architecture.of_layers(31, (10, 35, 50)))
    model(images)  # (batch, 3, 32, 32) -> (batch, 10)
    ```

    The first layer of a cell reads the previous cell (or the image), with stride 2 from the second
    cell on. Links never leave their cell. `seed` decides links and contributions; torch's own
    generator the initial weights. The paper does not say where batch norm and ReLU stand: here
    they come before each convolution, over all that it reads, which gives the printed parameters.
    Raises `NNMassError` for contributions that are none of "random", "constant" and "ones".
    """

    def __init__(
        self,
        architecture: Architecture,
        *,
        classes: int = 10,
        in_channels: int = 3,
        contributions: Contributions = "random",
        seed: int = 0,
    ):
        if contributions not in get_args(Contributions):
            raise NNMassError(
                f"contributions is {contributions!r}: choose from "
                f"{', '.join(get_args(Contributions))}"
            )
        super().__init__()
        self.architecture = architecture
        random = np.random.RandomState(seed)  # a stream that no version changes
        cells, before = [], in_channels
        for cell, width in enumerate(architecture.widths):
            convs, links = [], []
            for i, linked in enumerate(architecture.linked_channels(cell)):
                inputs = before if i == 0 else width + linked
                stride = 2 if i == 0 and cell > 0 else 1
                if i >= 2:
                    chosen = random.permutation(width * (i - 1))[:linked]
                    links.append(torch.from_numpy(np.sort(chosen)))
                alpha = _contributions(contributions, width, inputs, random)
                convs.append(WeightedConv(inputs, width, stride, alpha))
            cells.append(LongRangeCell(convs, links))
            before = width
        self.cells = nn.Sequential(*cells)
        self.classifier = nn.Linear(before, classes)

    def forward(self, x: Tensor) -> Tensor:  # (b, channels, h, w) -> (b, classes)
        return self.classifier(self.cells(x).mean(dim=(2, 3)))


def _contributions(kind: Contributions, outputs: int, inputs: int, random) -> Tensor:
    """α (outputs, inputs, 1, 1); every kind draws, so that all have the same links."""
    normal = torch.from_numpy(random.standard_normal((outputs, inputs))).float()
    alpha = {
        "random": (normal * (2 / inputs) ** 0.5).softmax(1),  # Kaiming's deviation before ReLU
        "constant": torch.full_like(normal, 1 / inputs),
        "ones": torch.ones_like(normal),
    }[kind]
    return alpha[:, :, None, None]
