"""Training encoders to classify texts: batches of like lengths, and GLUE's own scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reuseprior.data import Texts, TextSet
from reuseprior.models.classformer import Tokenizer, pad
from reuseprior.training.batches import Batch, Batches, steps
from reuseprior.training.protocol import Protocol, ProtocolError
from reuseprior.training.task import Autocast, Task

SCORES = ("accuracy", "f1", "matthews")
BUCKET = 32  # batches that are sorted by length together


@dataclass(frozen=True)
class TextClassification(Task):
    """One of two classes for a text or a pair, scored as GLUE scores the task.

    Texts are cut to `longest` tokens, the longer of a pair first, and a batch is as long as its
    longest text. In training, texts of like length share a batch.
    """

    name: ClassVar[str] = "text classification"
    tokenizer: Tokenizer
    metric: str = "accuracy"
    longest: int = 128

    def __post_init__(self):
        if self.metric not in SCORES:
            raise ProtocolError(f"metric is {self.metric!r}: choose {', '.join(SCORES)}")

    @property
    def score(self) -> str:
        return self.metric

    @property
    def measures(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(("loss", "accuracy", self.metric)))

    @property
    def sizes(self) -> int:
        return 5  # the loss, and how many of the four cells of a table of two classes

    def about(self) -> dict[str, object]:
        own = {"tokenizer": self.tokenizer.name, "metric": self.metric, "longest": self.longest}
        return super().about() | own

    def check(
        self, model: nn.Module, data: TextSet, protocol: Protocol, autocast: Autocast
    ) -> None:
        super().check(model, data, protocol, autocast)
        if not isinstance(data, TextSet) or data.classes != 2:
            raise ProtocolError(
                f"{data.name} has no texts of two classes, and {self.name} is for those: choose "
                "a data set of GLUE"
            )
        if protocol.channels_last:
            raise ProtocolError(
                "channels_last is true, which orders images and not texts: set it to false"
            )

    def batches(self, part: Texts, protocol: Protocol, **place) -> Bucketed:
        return Bucketed(part, self, protocol, **place)

    def tokens(self, texts: Texts) -> list[tuple[list[int], list[int]]]:
        """Ids and segments of every text."""
        return self.tokenizer(texts.first, texts.second, longest=self.longest)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(outputs.float(), targets)

    def sums(self, outputs: Tensor, targets: Tensor, loss: Tensor | None = None) -> Tensor:
        loss = self.loss(outputs, targets) if loss is None else loss
        cells = torch.bincount(2 * outputs.argmax(1) + targets, minlength=4)
        return torch.cat([(loss * len(targets))[None], cells])

    def measured(self, means: list[float]) -> list[float]:
        loss, *cells = means
        found = {"loss": loss} | scores(*cells)
        return [found[name] for name in self.measures]


def scores(tn: float, fn: float, fp: float, tp: float) -> dict[str, float]:
    """GLUE's scores of two classes, of counts or shares; 0 where a score divides by nothing.

    >>> {name: round(score, 3) for name, score in scores(tn=3, fn=1, fp=2, tp=4).items()}
    {'accuracy': 0.7, 'f1': 0.727, 'matthews': 0.408}
    """
    both = sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    hits = 2 * tp + fp + fn
    return {
        "accuracy": (tn + tp) / (tn + fn + fp + tp),
        "f1": 2 * tp / hits if hits else 0.0,
        "matthews": (tp * tn - fp * fn) / both if both else 0.0,
    }


class Bucketed(Batches):
    """Batches of texts of like lengths, in an order that the seed and the epoch decide."""

    def __init__(self, texts: Texts, task: TextClassification, protocol: Protocol, **place):
        super().__init__(len(texts.labels), protocol, **place)
        self._tokens, self._labels = task.tokens(texts), texts.labels
        self._lengths = torch.tensor([len(ids) for ids, _ in self._tokens])

    def epoch(self, epoch: int, first: int = 0) -> Iterator[Batch]:
        size, count = self.protocol.batch_size, steps(len(self), self.protocol, self._share)
        order, generator = self.order(epoch)
        buckets = [
            part[self._lengths[part].argsort(stable=True)]
            for part in order[: count * size].split(BUCKET * size)
        ]
        batches = torch.cat(buckets).reshape(count, size)
        order = batches[torch.randperm(count, generator=generator)].flatten()
        for part in self.parts(first):
            yield self._batch(order[part].tolist())

    def once(self) -> Iterator[Batch]:
        for part in self.own(self._lengths.argsort(stable=True)):
            yield self._batch(part.tolist())

    def _batch(self, chosen: Sequence[int]) -> Batch:
        tokens = pad([self._tokens[i] for i in chosen])
        return tokens.to(self._device), self._labels[chosen].to(self._device)
