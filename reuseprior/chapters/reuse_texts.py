"""Small transformers that differ in sharing alone, trained to predict the next byte of a text.

The text is Python's own documentation, which comes with it (`pydoc_data`): a run records its
checksum, as versions differ. `chapters/campaign.csv` plans them: each network that shares beside
plain ones of equal storage and of equal multiply-adds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, partial
from math import log
from pathlib import Path
from typing import ClassVar

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reuseprior import results, sharing
from reuseprior.contexts import TracedModel, multiply_adds, operator_paths, trace_model
from reuseprior.errors import UserError
from reuseprior.measures.measuring import last_position
from reuseprior.models import without_weights
from reuseprior.training import Protocol, train
from reuseprior.training.batches import Batch, Batches
from reuseprior.training.task import Task

CONTEXT = 128  # bytes that a network sees
COUNTED = 32  # bytes that it is counted on, as other language models are
BYTES = 256
HEADS = 2
TESTED = 0.1  # of the text, its end


@dataclass(frozen=True)
class Windows:
    """A text in pieces of CONTEXT + 1 bytes, each beginning with the last byte of that before it.

    `train` and `test` are (pieces, CONTEXT + 1) of uint8.
    """

    name: str
    checksum: str  # of the whole text
    train: Tensor
    test: Tensor

    @classmethod
    def of(cls, name: str, text: bytes) -> Windows:
        """A text, its last tenth to test on. Raises `UserError` for one of fewer than 20 pieces."""
        values = torch.frombuffer(bytearray(text), dtype=torch.uint8)
        pieces = values.unfold(0, CONTEXT + 1, CONTEXT) if len(text) > CONTEXT else values[:0]
        if len(pieces) < 20:
            raise UserError(
                f"text {name!r} has {len(text):,} bytes: give one of {20 * CONTEXT + 1:,} or more"
            )
        first = round((1 - TESTED) * len(pieces))
        return cls(name, hashlib.sha256(text).hexdigest(), pieces[:first], pieces[first:])


@cache
def documentation() -> Windows:
    """What Python's `help()` says of its topics, one after the other."""
    from pydoc_data import topics

    text = "\n\n".join(topics.topics[name] for name in sorted(topics.topics))
    return Windows.of("pydoc", text.encode())


class ByteTransformer(nn.Module):
    """So many equal layers, each place blind to later ones: bytes (batch, n) to (batch, n, 256)."""

    def __init__(self, layers: int, width: int):
        super().__init__()
        self.embedding = nn.Embedding(BYTES, width)
        self.positions = nn.Parameter(0.02 * torch.randn(CONTEXT, width))
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(width, HEADS, 4 * width, 0.0, "gelu", batch_first=True,
                                       norm_first=True)
            for _ in range(layers)
        )  # fmt: skip
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, BYTES)

    def forward(self, x: Tensor) -> Tensor:
        n = x.shape[1]
        later = nn.Transformer.generate_square_subsequent_mask(n, device=x.device)
        x = self.embedding(x) + self.positions[:n]
        for layer in self.layers:
            x = layer(x, src_mask=later, is_causal=True)
        return self.head(self.norm(x))


def build(model: str, spec: str = "none") -> ByteTransformer:
    """A network of layers and width, written `8x128`, that shares by a spec.

    >>> sum(p.numel() for p in build("8x128", "layers:all").parameters())
    280704
    """
    layers, _, width = model.partition("x")
    return sharing.apply(ByteTransformer(int(layers), int(width)), spec)


@dataclass(frozen=True)
class NextByte(Task):
    """The next byte at every place of a window, measured in nats and bits a byte."""

    name: ClassVar[str] = "next byte"
    measures: ClassVar[tuple[str, ...]] = ("loss", "bits")

    @property
    def sizes(self) -> int:
        return 1

    def batches(self, part: Tensor, protocol: Protocol, **place) -> InOrder:
        return InOrder(part, protocol, **place)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(outputs.float().flatten(0, 1), targets.flatten())

    def measured(self, means: list[float]) -> list[float]:
        return [means[0], means[0] / log(2)]


class InOrder(Batches):
    """Batches of windows, in an order that the seed and the epoch decide."""

    def __init__(self, windows: Tensor, protocol: Protocol, **place):
        super().__init__(len(windows), protocol, **place)
        self._windows = windows

    def epoch(self, epoch: int, first: int = 0) -> Iterator[Batch]:
        order, _ = self.order(epoch)
        for part in self.parts(first):
            yield self._batch(self._windows[order[part]])

    def once(self) -> Iterator[Batch]:
        yield from map(self._batch, self.own(self._windows))

    def _batch(self, windows: Tensor) -> Batch:
        windows = windows.to(self._device).long()
        return windows[:, :-1], windows[:, 1:]


def start(planned, root: Path | None = None, *, progress: bool = True) -> None:
    """Train a network that the campaign plans."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(planned.seed)
        model = build(planned.model, planned.sharing)
    protocol = Protocol.load(planned.protocol).changed(planned.changed)
    about = {"model": planned.model, "sharing": planned.sharing}
    train(model, documentation(), protocol, planned.folder(root), seed=planned.seed,
          task=NextByte(), about=about, resume=True, progress=progress)  # fmt: skip


def trained(root: Path | None = None) -> pd.DataFrame:
    """The networks that are trained, one group in the columns of `reuse.counted`.

    Their quality is minus the bits a byte of the test text, the mean over seeds, and `stored` is
    all that they hold. They are counted as other language models are: from embedded bytes to what
    is said of the next one.
    """
    runs = results.table(results.finished_runs("reuse-texts", root))
    rows = []
    for (model, spec), its in runs.groupby(["model", "sharing"], sort=False):
        traced = _traced(model, spec)
        quantities = traced.count().quantities()
        rows.append({
            "group": "bytes", "source": "our own", "name": model, "sharing": spec, "reason": None,
            "seeds": len(its), "quality": -its["test_bits"].mean(),
            "stored": its["parameters"].iloc[0], "used": quantities.weight_nodes,
            "multiply_adds": multiply_adds(traced), "layers": operator_paths(traced).layers,
            "P_G": quantities.P_G, "P_G_spread": quantities.P_G_spread,
        })  # fmt: skip
    return pd.DataFrame(rows)


def _traced(model: str, spec: str) -> TracedModel:
    with without_weights():
        network = build(model, spec)
    width = network.embedding.embedding_dim
    network.embedding = nn.Identity()
    output = partial(last_position, part=None)
    return trace_model(network, (1, COUNTED, width), output=output)
