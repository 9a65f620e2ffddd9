"""NN-Mass of any recorded model whose layers read channels: what the definition becomes there.

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

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce
from itertools import pairwise
from operator import add

import numpy as np
import torch
from scipy.sparse import csr_array, vstack

from reuseprior.contexts import RecordedModel, record_model
from reuseprior.contexts.record import Node, Operator, map_nodes, one_of
from reuseprior.contexts.recorder import uncollected
from reuseprior.contexts.rules import traits
from reuseprior.measures.nn_mass.errors import KINDS, NotApplicable


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
    """NN-Mass of a recorded model, and the cells that it is the sum over."""

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
    `RecordedModel`. Nothing is trained or computed. Raises `NotApplicable` with the reason where
    the definition says nothing: where layers mix positions (attention, layers on sequences), where
    a weight is computed from the input, and where no cell has three levels, so that no link can be
    long-range and density is 0/0. `CountingError` if the model cannot run.
    """
    recorded = model if isinstance(model, RecordedModel) else record_model(model, inputs)
    with uncollected():
        layers = list(_layers(recorded))
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
        links += width * sum(int(skipping[found].sum()) for found in sources)
        possible += layer.channels * int(channels[:i][skipping].sum())
    return CellMass(size, len(members), int(levels.max()) + 1, int(channels.sum()), links, possible)


def _made_in(read: np.ndarray, starts: np.ndarray, channels: np.ndarray) -> np.ndarray:
    """For each channel read that a cell's layers make, the position of its layer in the cell."""
    at = np.searchsorted(starts, read, side="right") - 1
    return at[(at >= 0) & (read < (starts + channels)[at])]


# Following channels ------------------------------------------------------------------------------


def _layers(recorded: RecordedModel) -> Iterator[_Layer]:
    """Every layer in order, with the channels that it reads.

    Each tensor carries which channels have reached it since their layers.
    """
    inputs = recorded.recording.inputs
    following = list(recorded.recording.from_input())
    total = sum(_channels(o.results[0]) for o in following if traits(o.function).layer)
    carried = {
        node: _Carried(csr_array((_channels(node), total), dtype=np.int8)) for node in inputs
    }
    made = 0
    for operator in following:
        if not traits(operator.function).layer:
            for index, result in enumerate(operator.results):
                carried[result] = _passed_on(operator, index, carried)
            continue
        layer = _layer(operator, carried, made)
        own = np.arange(layer.channels)
        ones = np.ones(layer.channels, np.int8)
        rows = csr_array((ones, (own, own + made)), shape=(layer.channels, total))
        carried[operator.results[0]] = _Carried(rows)
        made += layer.channels
        yield layer


def _layer(operator: Operator, carried, made: int) -> _Layer:
    known, result = traits(operator.function), operator.results[0]
    x, weight = (operator.args[position] for position in known.factors)
    if x not in carried or weight in carried:
        raise _refused(operator, "weights from the input")
    if result.shape[0] != 1 or (known.groups is None and len(result.shape) != 2):
        raise _refused(operator, "layers on sequences")
    groups = 1 if known.groups is None else operator.args[known.groups]
    rows, width = carried[x].by_channel(), _channels(x) // groups
    bounds = rows.indptr[:: max(1, width)]
    reads = [np.unique(rows.indices[a:b]) for a, b in pairwise(bounds)]
    return _Layer(tuple(result.shape[2:]), made, _channels(result), tuple(reads))


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
    if traits(operator.function).moves and operator.args[0] in carried:
        return carried[operator.args[0]].moved(operator, index)
    rows = {x: carried[x].by_channel() for x in operator.nodes() if x in carried}
    if _joins_channels(operator):
        total = next(iter(rows.values())).shape[1]
        nothing = {x: csr_array((_channels(x), total), dtype=np.int8) for x in operator.args[0]}
        return _Carried(csr_array(vstack([(nothing | rows)[x] for x in operator.args[0]])))
    return _Carried(_any(_spread(of_one, _channels(result)) for of_one in rows.values()))


def _joins_channels(operator: Operator) -> bool:
    """Whether it is a concatenation along axis 1; stacking makes a new axis."""
    if not traits(operator.function).joins:
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
    found = reduce(add, matrices).astype(np.int8, copy=True)
    found.data[:] = 1
    return found


def _channels(node: Node) -> int:
    """Entries along axis 1; a vector of a classifier has its channels there too."""
    return node.shape[1] if len(node.shape) > 1 else 1
