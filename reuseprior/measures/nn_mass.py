"""NN-Mass of any traced model whose layers read channels: what the definition becomes there.

The paper defines mass for cells of equal layers with concatenation. Its parts mean something in any
network of convolutions (or of matrix products on vectors):

* A *layer* is an operator with a weight; its *channels* are what it makes.
* A *cell* holds the layers whose results have one spatial size, as links stay within a cell and
  each of the paper's cells has one.
* A layer's *level* in its cell is the longest chain of the cell's layers before it.
* A layer *reads* a channel that reaches it past no other layer, through concatenation, addition,
  products, pooling and whatever else has no weight. The paper has concatenation only.
* A link is *long-range* if it skips a level: it comes from a level at least two lower. Possible
  ones come from all channels of such levels.

Density is links over possible links, mass the sum over cells of channels times density. On the
paper's networks these are equations 1 to 3, exactly.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce
from itertools import pairwise
from operator import add
from typing import Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from scipy.sparse import csr_array, vstack
from torch import Tensor, nn

from reuseprior.contexts import TracedModel, trace_model
from reuseprior.contexts.rules import op_metadata
from reuseprior.contexts.trace import Node, Operator, map_nodes, one_of
from reuseprior.contexts.tracer import uncollected
from reuseprior.errors import UserError


class NNMassError(UserError):
    """An architecture, or a number of a formula, that cannot be; the message says the mend."""


KINDS = {
    "layers on sequences": "is a layer on sequences of vectors",
    "weights from the input": "computes its weight from the input, as attention does",
    "nothing to skip": "no link can skip one",
}
"""Why NN-Mass says nothing of a model, and the words of the message that says so."""


class NotApplicable(NNMassError):
    """A model that NN-Mass says nothing of; the message names the reason, `kind` which it is."""

    def __init__(self, kind: str, sentence: str) -> None:
        super().__init__(sentence)
        self.kind = kind

    @staticmethod
    def kind_of(message: str) -> str | None:
        """The kind of a message that was recorded, by its words; None for another error's.

        >>> NotApplicable.kind_of("mm in blocks.0 is a layer on sequences of vectors: NN-Mass …")
        'layers on sequences'
        """
        return next((kind for kind, words in KINDS.items() if words in message), None)


@dataclass(frozen=True)
class CellMass:
    """The layers of one spatial size, and the links between their channels."""

    size: tuple[int, ...]  # of their results; () for vectors
    layers: int
    levels: int  # the longest chain of them
    channels: int
    links: int  # long-range ones
    possible: int

    @property
    def density(self) -> Fraction:
        """ρ_c, 0 where a cell has fewer than three levels and so no possible link."""
        return Fraction(self.links, self.possible) if self.possible else Fraction(0)

    @property
    def mass(self) -> Fraction:
        """What the cell adds to m: its channels times its density."""
        return self.channels * self.density


@dataclass(frozen=True)
class Mass:
    """NN-Mass of a traced model, and the cells that it is the sum over."""

    cells: tuple[CellMass, ...]

    @property
    def mass(self) -> float:
        """m (eq. 3); 0 where no link skips a layer."""
        return float(sum(cell.mass for cell in self.cells))

    @property
    def density(self) -> float:
        """ρ_avg (eq. 2), the mean over the cells in which a link can be long-range."""
        able = [cell.density for cell in self.cells if cell.possible]
        return float(sum(able) / len(able))

    def table(self):
        """A pandas DataFrame, one row a cell."""
        import pandas as pd

        rows = [
            {
                "size": "×".join(map(str, cell.size)) or "vector",
                "layers": cell.layers,
                "levels": cell.levels,
                "channels": cell.channels,
                "links": cell.links,
                "possible": cell.possible,
                "density": float(cell.density),
                "mass": float(cell.mass),
            }
            for cell in self.cells
        ]
        return pd.DataFrame(rows)

    def _repr_html_(self) -> str:
        return self.table().to_html(index=False, float_format="%.4f")

    def _repr_pretty_(self, printer, cycle: bool) -> None:
        printer.text(str(self))

    def __str__(self) -> str:
        return f"NN-Mass {self.mass:.4f}, density {self.density:.4f}"


def measure(model, inputs=None) -> Mass:
    """NN-Mass of a model on inputs of a shape, read off its operators.

    >>> measure(torchvision.models.densenet121(), (1, 3, 64, 64)).mass
    1516.2...

    `model` is a module, with `inputs` as `contexts.count_contexts` takes them, or a
    `TracedModel`. Nothing is trained or computed. Raises `NotApplicable` with the reason where
    the definition says nothing: where layers mix positions (attention, layers on sequences), where
    a weight is computed from the input, and where no cell has three levels, so that no link can be
    long-range and density is 0/0. `CountingError` if the model cannot run.
    """
    traced = model if isinstance(model, TracedModel) else trace_model(model, inputs)
    with uncollected():
        layers = list(_layers(traced))
    sizes: dict[tuple[int, ...], list[_Layer]] = {}
    for layer in layers:
        sizes.setdefault(layer.size, []).append(layer)
    cells = tuple(_cell(size, members) for size, members in sizes.items())
    if not any(cell.possible for cell in cells):
        raise NotApplicable(
            "nothing to skip",
            "No cell of this model has three layers one after another, so "
            f"{KINDS['nothing to skip']} and NN-Density is 0/0: NN-Mass needs a deeper model.",
        )
    return Mass(cells)


@dataclass(frozen=True)
class _Layer:
    """A layer: where it stands among all channels, and which of them it reads."""

    size: tuple[int, ...]
    first: int  # its own channels are `first` to `first + channels − 1` of all
    channels: int
    reads: tuple[np.ndarray, ...]  # the channels that each group reads, ascending


def _cell(size: tuple[int, ...], members: list[_Layer]) -> CellMass:
    starts = np.array([layer.first for layer in members])
    channels = np.array([layer.channels for layer in members])
    levels = np.zeros(len(members), int)
    links = possible = 0
    for i, layer in enumerate(members):
        sources = [_made_in(read, starts, channels) for read in layer.reads]
        reached = np.unique(np.concatenate(sources))
        levels[i] = 1 + max(levels[reached], default=-1)
        skipping = levels[:i] <= levels[i] - 2
        width = layer.channels // len(sources)
        links += width * sum(int(skipping[places].sum()) for places in sources)
        possible += layer.channels * int(channels[:i][skipping].sum())
    return CellMass(size, len(members), int(levels.max()) + 1, int(channels.sum()), links, possible)


def _made_in(read: np.ndarray, starts: np.ndarray, channels: np.ndarray) -> np.ndarray:
    """For each channel read that a cell's layers make, the position of its layer in the cell."""
    at = np.searchsorted(starts, read, side="right") - 1
    return at[(at >= 0) & (read < (starts + channels)[at])]


# Following channels ------------------------------------------------------------------------------


def _layers(traced: TracedModel) -> Iterator[_Layer]:
    """Every layer in order, with the channels that it reads.

    Each tensor carries which channels have reached it since their layers.
    """
    inputs = traced.trace.inputs
    following = list(traced.trace.from_input())
    total = sum(_channels(o.results[0]) for o in following if op_metadata(o.function).layer)
    carried = {
        node: _Carried(csr_array((_channels(node), total), dtype=np.int8)) for node in inputs
    }
    before = 0
    for operator in following:
        if not op_metadata(operator.function).layer:
            for index, result in enumerate(operator.results):
                carried[result] = _passed_on(operator, index, carried)
            continue
        layer = _layer(operator, carried, before)
        channels = np.arange(layer.channels)
        ones = np.ones(layer.channels, np.int8)
        rows = csr_array((ones, (channels, channels + before)), shape=(layer.channels, total))
        carried[operator.results[0]] = _Carried(rows)
        before += layer.channels
        yield layer


def _layer(operator: Operator, carried, before: int) -> _Layer:
    known, result = op_metadata(operator.function), operator.results[0]
    x, weight = (operator.args[position] for position in known.factors)
    if x not in carried or weight in carried:
        raise _refused(operator, "weights from the input")
    if result.shape[0] != 1 or (known.groups is None and len(result.shape) != 2):
        raise _refused(operator, "layers on sequences")
    groups = 1 if known.groups is None else operator.args[known.groups]
    rows, width = carried[x].by_channel(), _channels(x) // groups
    bounds = rows.indptr[:: max(1, width)]
    reads = [np.unique(rows.indices[a:b]) for a, b in pairwise(bounds)]
    return _Layer(tuple(result.shape[2:]), before, _channels(result), tuple(reads))


def _refused(operator: Operator, kind: str) -> NotApplicable:
    return NotApplicable(
        kind,
        f"{operator.name} in {operator.place} {KINDS[kind]}: NN-Mass is defined for layers that "
        "read channels, so rank this model by P_G or P′_G.",
    )


@dataclass(frozen=True)
class _Carried:
    """Which channels reach a tensor: a sparse matrix (the tensor's channels, all channels).

    While a tensor is only moved (a view, a transpose, a slice), `places` says which row every entry
    belongs to, so that a shuffle, which splits the axis of the channels, mixes none of them.
    """

    rows: csr_array
    places: torch.Tensor | None = None

    def moved(self, operator: Operator, index: int) -> _Carried:
        """After an operator that only moves entries, which is run on their places."""
        x, *others = operator.args
        places = self.places
        if places is None:
            numbers = torch.arange(_channels(x), dtype=torch.int32)
            places = numbers.reshape(-1, *(1,) * (len(x.shape) - 2)).expand(x.shape).contiguous()
        moved = operator.function(places, *map_nodes(others, Node.data), **operator.kwargs)
        return _Carried(self.rows, one_of(moved, index))

    def by_channel(self) -> csr_array:
        """The matrix for the tensor as it lies."""
        if self.places is None:
            return self.rows
        places = self.places if self.places.ndim > 1 else self.places[:, None]
        channels = places.shape[1]
        at = torch.arange(channels).reshape(-1, *(1,) * (places.ndim - 2))
        marks = torch.zeros(channels, self.rows.shape[0], dtype=torch.int8)
        marks[at.expand(places.shape), places.long()] = 1
        return _any([csr_array(marks.numpy()) @ self.rows])


def _passed_on(operator: Operator, index: int, carried: dict[Node, _Carried]) -> _Carried:
    """What result `index` of an operator without a weight carries."""
    result = operator.results[index]
    if op_metadata(operator.function).moves and operator.args[0] in carried:
        return carried[operator.args[0]].moved(operator, index)
    rows = {x: carried[x].by_channel() for x in operator.nodes() if x in carried}
    if _joins_channels(operator):
        total = next(iter(rows.values())).shape[1]
        nothing = {x: csr_array((_channels(x), total), dtype=np.int8) for x in operator.args[0]}
        return _Carried(csr_array(vstack([(nothing | rows)[x] for x in operator.args[0]])))
    return _Carried(_any(_spread(of_one, _channels(result)) for of_one in rows.values()))


def _joins_channels(operator: Operator) -> bool:
    """Whether it is a concatenation along axis 1; stacking makes a new axis."""
    if not op_metadata(operator.function).joins:
        return False
    tensors, *dim = operator.args
    axes = len(operator.results[0].shape)
    return (dim or [0])[0] % axes == 1 and axes == max(len(x.shape) for x in tensors)


def _spread(rows: csr_array, channels: int) -> csr_array:
    """Rows as they are where channels stay in place, else every channel depends on all of them."""
    if rows.shape[0] == channels:
        return rows
    everything = csr_array(rows.sum(0, dtype=np.int64).reshape(1, -1) > 0).astype(np.int8)
    return csr_array(np.ones((channels, 1), np.int8)) @ everything


def _any(matrices: Iterable[csr_array]) -> csr_array:
    """Their sum with ones for whatever is not zero: marks, and not how many ways there are."""
    marks = reduce(add, matrices).astype(np.int8, copy=True)
    marks.data[:] = 1
    return marks


def _channels(node: Node) -> int:
    """Entries along axis 1; a vector of a classifier has its channels there too."""
    return node.shape[1] if len(node.shape) > 1 else 1


# The paper's networks: three lists of numbers, and what follows from them ------------------------
#
# A network is {depth, width, candidates} a cell (NN-Mass, section 3.2): d_c convolutions of w_c
# channels, each taking all channels of the one before it and up to t_c channels of those before
# that. Everything here is a closed form; the modules below build the same thing.

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
        candidates = []
        for width in widths:
            all_of_them = range(width * (depth - 2) + 1)
            enough = bisect_left(
                all_of_them,
                density,
                key=lambda t, width=width: cls(depth, (width,), (t,)).density,
            )
            candidates.append(enough)
        return cls(depth, tuple(widths), tuple(candidates))

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
        kernels = KERNEL**2 * sum(read * written for read, written, _ in self._layers(in_channels))
        return kernels + 2 * sum(self._normalised()) + classes * (self.widths[-1] + 1)

    def multiply_adds(
        self, image_size: int = 32, *, classes: int = 10, in_channels: int = 3
    ) -> int:
        """Multiply-adds of convolutions and classifier for one square image of so many pixels."""
        layers = self._layers(in_channels)
        kernels = sum(
            KERNEL**2 * read * written * self._positions(image_size, cell)
            for read, written, cell in layers
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
        convolutions, before = [], in_channels
        for cell, width in enumerate(self.widths):
            for i, linked in enumerate(self.linked_channels(cell)):
                convolutions.append((before if i == 0 else width + linked, width, cell))
            before = width
        return convolutions

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


# As torch modules (section 3.1) ------------------------------------------------------------------

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
