"""Networks with random long-range links as three lists of numbers, and what follows from them.

A network is {depth, width, candidates} a cell (NN-Mass, section 3.2): d_c convolutions of w_c
channels, each taking all channels of the one before it and up to t_c channels of those before that.
Everything here is a closed form; `network` builds the same thing.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from reuseprior.measures.nn_mass.errors import NNMassError

KERNEL = 3
BASE_WIDTHS = (16, 32, 64)  # channels a layer of each cell, times the width multiplier (footnote 6)
AROUND_THE_CELLS = 4  # what the paper adds to three cells' layers (appendix G: depth = 3 d_c + 4)


@dataclass(frozen=True)
class Architecture:
    """A network with random long-range links.

    >>> example = Architecture(depth=4, widths=(2, 3, 4), candidates=(3, 4, 5))  # appendix D
    >>> example.mass, example.density
    (Fraction(28, 1), Fraction(85, 108))

    `depth` counts the convolutions of a cell (d_c, at least 3 or no link can be long-range),
    `widths` the channels of each (w_c), `candidates` the most channels that long-range links of a
    layer come from (t_c). Raises `NNMassError` for other numbers.
    """

    depth: int
    widths: tuple[int, ...]
    candidates: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.widths) != len(self.candidates):
            raise NNMassError(
                f"widths has {len(self.widths)} cells and candidates {len(self.candidates)}: give "
                "one number a cell in each"
            )
        _check("depth", self.depth, least=3)
        for width, candidates in zip(self.widths, self.candidates, strict=True):
            _check("a width", width, least=1)
            _check("candidates", candidates, least=0)

    @classmethod
    def of_layers(
        cls, layers: int, candidates: Sequence[int], *, width_multiplier: float = 2
    ) -> Architecture:
        """The paper's network of so many layers, 3 d_c + 4 of them (appendix G).

        >>> Architecture.of_layers(64, (90, 170, 300)).parameters()
        11891370
        """
        cells = len(BASE_WIDTHS)
        depth, rest = divmod(layers - AROUND_THE_CELLS, cells)
        if rest:
            raise NNMassError(
                f"{layers} layers are not 3 d + 4: the nearest are {layers - rest} and "
                f"{layers - rest + cells}"
            )
        widths = [width_multiplier * width for width in BASE_WIDTHS]
        if any(width != int(width) for width in widths):
            raise NNMassError(
                f"width_multiplier {width_multiplier} times {BASE_WIDTHS[0]} is not whole: choose "
                f"a multiple of 1/{BASE_WIDTHS[0]}"
            )
        return cls(depth, tuple(map(int, widths)), tuple(candidates))

    @classmethod
    def of_density(cls, depth: int, widths: Sequence[int], density: float) -> Architecture:
        """The fewest candidates a cell with which every cell has at least this density.

        >>> Architecture.of_density(9, (32, 64, 128), 0.1).candidates
        (13, 26, 52)

        Closed forms decide, so nothing is trained (appendix H.3). Raises `NNMassError` for a
        density that is not from 0 to 1.
        """
        if not 0 <= density <= 1:
            raise NNMassError(f"density is {density}: it must be from 0 to 1, where all are linked")
        found = []
        for width in widths:
            all_of_them = range(width * (depth - 2) + 1)
            enough = bisect_left(
                all_of_them,
                density,
                key=lambda t, width=width: cls(depth, (width,), (t,)).density,
            )
            found.append(enough)
        return cls(depth, tuple(widths), tuple(found))

    # Links ---------------------------------------------------------------------------------------

    def linked_channels(self, cell: int) -> tuple[int, ...]:
        """How many channels each layer of a cell takes through long-range links (eq. 4).

        Layer i chooses among the w_c (i − 1) channels of layers 0 to i − 2, and takes t_c of them
        or all.
        """
        width, candidates = self.widths[cell], self.candidates[cell]
        return tuple(min(width * max(0, i - 1), candidates) for i in range(self.depth))

    def cell_density(self, cell: int) -> Fraction:
        """ρ_c: long-range links over those that are possible (eq. 1)."""
        d, w = self.depth, self.widths[cell]
        return Fraction(2 * sum(self.linked_channels(cell)), w * (d - 1) * (d - 2))

    @property
    def density(self) -> Fraction:
        """ρ_avg, the mean over cells (eq. 2)."""
        cells = len(self.widths)
        return sum(map(self.cell_density, range(cells)), Fraction(0)) / cells

    @property
    def mass(self) -> Fraction:
        """m, NN-Mass: each cell's channels times its density (eq. 3)."""
        cells = enumerate(self.widths)
        return sum((w * self.depth * self.cell_density(c) for c, w in cells), Fraction(0))

    def degree(self, cell: int) -> Fraction:
        """λ, long-range links a channel of a cell (eq. 9): about half of the cell's mass."""
        return Fraction(sum(self.linked_channels(cell)), self.depth)

    # Sizes ---------------------------------------------------------------------------------------

    def parameters(self, *, classes: int = 10, in_channels: int = 3) -> int:
        """Learnable parameters of the network that `network.LongRangeCNN` builds.

        Its 3 × 3 convolutions have no bias, and the first of a cell is also what changes width and
        resolution. Batch norm has two parameters for each channel of what a layer reads, and for
        each of a cell's last layer. The classifier has a bias.
        """
        kernels = KERNEL**2 * sum(read * made for read, made, _ in self._layers(in_channels))
        return kernels + 2 * sum(self._normalised()) + classes * (self.widths[-1] + 1)

    def multiply_adds(
        self, image_size: int = 32, *, classes: int = 10, in_channels: int = 3
    ) -> int:
        """Multiply-adds of convolutions and classifier for one square image of so many pixels."""
        layers = self._layers(in_channels)
        kernels = sum(
            KERNEL**2 * read * made * self._positions(image_size, cell)
            for read, made, cell in layers
        )
        return kernels + classes * self.widths[-1]

    def flops(self, image_size: int = 32, *, classes: int = 10, in_channels: int = 3) -> int:
        """Floating-point operations: two a multiply-add, and two a value that batch norm scales."""
        adds = self.multiply_adds(image_size, classes=classes, in_channels=in_channels)
        normalised = sum(
            channels * self._positions(image_size, cell)
            for cell, channels in enumerate(self._normalised())
        )
        return 2 * adds + 2 * normalised

    def _layers(self, in_channels: int) -> list[tuple[int, int, int]]:
        """(channels read, channels made, cell) of every convolution."""
        found, before = [], in_channels
        for cell, width in enumerate(self.widths):
            for i, linked in enumerate(self.linked_channels(cell)):
                found.append((before if i == 0 else width + linked, width, cell))
            before = width
        return found

    def _normalised(self) -> list[int]:
        """Channels that the batch norms of each cell see together."""
        return [
            self.depth * width + sum(self.linked_channels(cell))
            for cell, width in enumerate(self.widths)
        ]

    @staticmethod
    def _positions(image_size: int, cell: int) -> int:
        """Pixels of a cell's feature maps: each cell after the first halves the sides."""
        side = image_size
        for _ in range(cell):
            side = -(-side // 2)  # stride 2 with padding 1 rounds up
        return side**2


def _check(name: str, value, *, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise NNMassError(f"{name} is {value!r}: it must be a whole number from {least} on")
