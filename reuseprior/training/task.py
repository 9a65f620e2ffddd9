"""Tasks: what a model is trained for, its loss, what is measured, and what a batch holds.

After the classification of images come that of texts, with GLUE's own scores, and autoencoders that
reconstruct grids, upright or each transformed at random.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from math import sqrt
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reuseprior.data import DataSet, ImageFolderSet, Images, Texts, TextSet
from reuseprior.models.affine_vae import (
    LIKELIHOODS,
    AffineVAE,
    Passed,
    Transforms,
    divergence,
    misfit,
    padded,
    warp,
)
from reuseprior.models.classformer import Tokenizer, pad
from reuseprior.training.batches import (
    DATA_SEED,
    Batch,
    Batches,
    derive,
    mix,
    open_batches,
    steps,
    to_input,
)
from reuseprior.training.protocol import Protocol, ProtocolError, image_size

Autocast = Callable[[], AbstractContextManager]  # makes the context in which a model computes


@dataclass(frozen=True)
class Task(ABC):
    """What a model is trained for; a subclass names itself and says the loss.

    ```python
    class Reconstruction(Task):
        name = "reconstruction"

        def batch(self, images, labels):
            return images, images

        def loss(self, outputs, images):
            return F.mse_loss(outputs.float(), images)
    ```

    A task holds no state: a training is taken up with a new one like it.
    """

    name: ClassVar[str]
    measures: ClassVar[tuple[str, ...]] = ("loss",)  # columns, after train_ and test_; loss first
    score: ClassVar[str] = ""  # the measure that `patience` goes by: higher is better

    @property
    def shown(self) -> tuple[str, ...]:
        """The measures that stand beside the progress bar."""
        return self.measures[-1:]

    @property
    def sizes(self) -> int:
        """How many numbers `sums` gives."""
        return len(self.measures)

    def measured(self, means: list[float]) -> list[float]:
        """The measures, of what `sums` gave for an example on average."""
        return means

    def about(self) -> dict[str, object]:
        """What `config.json` says of the task."""
        return {"task": self.name}

    def check(self, model: nn.Module, data, protocol: Protocol, autocast: Autocast) -> None:
        """Raise `ProtocolError` for a model that cannot be trained so, before a run is recorded."""
        if protocol.mixup_alpha or protocol.cutmix_alpha:
            raise ProtocolError(
                f"mixup_alpha is {protocol.mixup_alpha} and cutmix_alpha {protocol.cutmix_alpha}, "
                f"which mix classes, and {self.name} has none: set both to 0"
            )

    def batches(self, part, protocol: Protocol, **place):
        """The batches of a part of the data, as `batches.open_batches` gives them."""
        return open_batches(part, protocol, **place)

    def batch(self, inputs: Tensor, targets: Tensor) -> Batch:
        """What the model takes, and what its outputs are held against, (batch, …) both."""
        return inputs, targets

    def mixed(
        self, inputs: Tensor, targets: Tensor, protocol: Protocol, random: np.random.Generator
    ) -> Batch:
        """The batch to learn from where a protocol mixes examples, which `check` refuses here."""
        raise ProtocolError(f"{self.name} mixes no examples: set mixup_alpha and cutmix_alpha to 0")

    @abstractmethod
    def loss(self, outputs, targets: Tensor) -> Tensor:
        """What training lowers: a mean over the batch, in float32."""

    def sums(self, outputs, targets: Tensor, loss: Tensor | None = None) -> Tensor:
        """What `measured` needs, loss first, summed over a batch: the measures, unless it says.

        `loss`: its mean, if training had it.
        """
        loss = self.loss(outputs, targets) if loss is None else loss
        return (loss * len(targets))[None]


@dataclass(frozen=True)
class Classification(Task):
    """One of `classes`: labels (batch,) or probabilities (batch, classes), and logits as wide.

    Logits may be wider. What is measured leaves label smoothing out, but in training.
    """

    name: ClassVar[str] = "classification"
    measures: ClassVar[tuple[str, ...]] = ("loss", "accuracy")
    score: ClassVar[str] = "accuracy"
    classes: int
    label_smoothing: float = 0.0

    def about(self) -> dict[str, object]:
        return {"classes": self.classes}

    def check(self, model: nn.Module, data, protocol: Protocol, autocast: Autocast) -> None:
        for what, output in try_images(model, data, protocol, autocast):
            shape = tuple(output.shape) if isinstance(output, Tensor) else ()
            if len(shape) != 2 or shape[0] != 1 or shape[1] < self.classes:
                kind = f"a tensor of {shape}" if shape else f"a {type(output).__name__}"
                raise ProtocolError(
                    f"the model gives {kind} for one image of {what}, and {data.name} has "
                    f"{self.classes} classes: its output must be (images, {self.classes}) or wider"
                )

    def mixed(
        self, inputs: Tensor, targets: Tensor, protocol: Protocol, random: np.random.Generator
    ) -> Batch:
        return mix(inputs, targets, self.classes, protocol, random)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        if targets.ndim > 1:  # none for logits that stand for no class
            targets = F.pad(targets, (0, outputs.shape[1] - targets.shape[1]))
        return F.cross_entropy(outputs.float(), targets, label_smoothing=self.label_smoothing)

    def sums(self, outputs: Tensor, targets: Tensor, loss: Tensor | None = None) -> Tensor:
        if loss is None:
            total = F.cross_entropy(outputs.float(), targets, reduction="sum")
        else:
            total = loss * len(targets)
        return torch.stack([total, (outputs.argmax(1) == targets).sum()])


@dataclass(frozen=True)
class Penalised(Classification):
    """Classification by a model that gives (logits, penalty) in training and logits in evaluation.

    The penalty, a number that depends on the weights, is added to the loss and to `train_loss`.
    """

    name: ClassVar[str] = "penalised classification"

    def about(self) -> dict[str, object]:
        return {"task": self.name, **super().about()}

    def loss(self, outputs, targets: Tensor) -> Tensor:
        logits, penalty = outputs if isinstance(outputs, tuple) else (outputs, 0.0)
        return super().loss(logits, targets) + penalty

    def sums(self, outputs, targets: Tensor, loss: Tensor | None = None) -> Tensor:
        logits = outputs[0] if isinstance(outputs, tuple) else outputs
        return super().sums(logits, targets, loss)


def try_images(
    model: nn.Module, data: DataSet | ImageFolderSet, protocol: Protocol, autocast: Autocast
) -> Iterator[tuple[str, object]]:
    """Give the model a black image of its first, last and test size; each size and the output.

    Raises `ProtocolError` for images whose channels cannot become those of the protocol, and for a
    model that cannot take them.
    """
    folder = isinstance(data, ImageFolderSet)  # of any size: the protocol must say one
    held, own_size = (3, 1) if folder else (data.channels, data.image_size)
    if held not in (1, protocol.channels):
        raise ProtocolError(
            f"channels is {protocol.channels} and the images of {data.name} have {held}, of "
            f"which none can be left out or added: set channels to {held}"
        )
    sizes = {image_size(protocol, epoch) for epoch in (0, protocol.epochs - 1)}
    sizes.add(protocol.test_image_size or protocol.image_size)
    device = next((p.device for p in model.parameters()), None)
    black = torch.zeros(1, held, own_size, own_size, dtype=torch.uint8, device=device)
    model.eval()
    for size in sorted(sizes):
        shown = size or own_size
        what = f"{protocol.channels}×{shown}×{shown}"
        try:
            with torch.no_grad(), autocast():
                output = model(to_input(black, size, protocol))
        except Exception as error:  # whatever a model does with images that it is not made for
            said = " ".join(str(error).split())
            raise ProtocolError(
                f"the model cannot take images of {what} (channels, height, width): set "
                "channels, image_size or test_image_size to what it takes (of a named model "
                f"`reuseprior count NAME --json` says image_size); it says: {said}"
            ) from error
        yield what, output


# Texts in batches of like lengths -----------------------------------------------------------------

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
        text = {"tokenizer": self.tokenizer.name, "metric": self.metric, "longest": self.longest}
        return super().about() | text

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
        values = {"loss": loss} | scores(*cells)
        return [values[name] for name in self.measures]


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


# Grids, upright or transformed --------------------------------------------------------------------

POOLS = {4: F.avg_pool2d, 5: F.avg_pool3d}  # by the axes of a batch


@dataclass(frozen=True)
class Reconstruction(Task):
    """Reconstruct images or voxels of one channel on a canvas of `side`, turned or not.

    Without `transforms` they stand as the data have them. With, each is seen under one drawn anew
    every epoch, and each test input under one and the same, whatever the seed. `pooled` says how
    many cells a side become one before anything else. The loss is that under the model's best
    transform, in nats an example: in training, of a model without a search, a sample of minus the
    evidence lower bound; with a search less, as the transform is free, and in testing less, as z is
    at its mean. `mse` is over all cells of the canvas, `passes` what the model's search spends on
    an example, as `affine_vae.Objective` counts.
    """

    name: ClassVar[str] = "reconstruction"
    measures: ClassVar[tuple[str, ...]] = ("loss", "mse", "passes")
    shown: ClassVar[tuple[str, ...]] = ("loss", "passes")
    side: int
    transforms: Transforms | None = None
    likelihood: str = "gaussian"
    pooled: int = 1

    def __post_init__(self):
        if self.likelihood not in LIKELIHOODS:
            raise ProtocolError(
                f"likelihood is {self.likelihood!r}: choose {' or '.join(LIKELIHOODS)}"
            )

    def about(self) -> dict[str, object]:
        transforms = self.transforms and asdict(self.transforms)
        of_images = {"side": self.side, "poses": transforms, "pooled": self.pooled}
        return super().about() | of_images | {"likelihood": self.likelihood}

    def check(
        self, model: nn.Module, data: DataSet, protocol: Protocol, autocast: Autocast
    ) -> None:
        super().check(model, data, protocol, autocast)
        if data.channels != 1:
            raise ProtocolError(
                f"{data.name} has {data.channels} channels and {self.name} takes one: choose "
                "greyscale images or voxels"
            )
        self._check_shape(model, data)
        if isinstance(model, AffineVAE) and model.likelihood != self.likelihood:
            raise ProtocolError(
                f"the model searches by the {model.likelihood} likelihood and is trained by the "
                f"{self.likelihood}: give both the same"
            )
        for part in (data.train, data.test):
            if len(empty := (part.images.flatten(1).amax(1) == 0).nonzero()):
                raise ProtocolError(
                    f"grid {empty[0].item()} of a part of {data.name} is empty, which looks the "
                    "same under every transform: leave empty grids out"
                )

    def _check_shape(self, model: nn.Module, data: DataSet) -> None:
        held = data.train.images.ndim - 2
        if self.transforms is not None:
            wanted = self.transforms.dimensions
        else:
            wanted = model.transforms.dimensions if isinstance(model, AffineVAE) else held
        if held != wanted:
            raise ProtocolError(
                f"{data.name} has grids of {held} dimensions and {self.name} is set up for "
                f"{wanted}: give both the same"
            )

    def batches(self, part: Images, protocol: Protocol, **place) -> Transformed:
        if protocol.channels_last and part.images.ndim != 4:
            raise ProtocolError(
                "channels_last is true, which orders images and not voxels: set it to false"
            )
        return Transformed(part, self, protocol, **place)

    def batch(self, inputs: Tensor, targets: Tensor) -> Batch:
        return inputs, inputs

    def loss(self, outputs: Passed, targets: Tensor) -> Tensor:
        return self._losses(outputs, targets).mean()

    def sums(self, outputs: Passed, targets: Tensor, loss: Tensor | None = None) -> Tensor:
        total = self._losses(outputs, targets).sum() if loss is None else loss * len(targets)
        squares = ((outputs.reconstruction - targets) ** 2).flatten(1).mean(1)
        return torch.stack([total, squares.sum(), total.new_tensor(outputs.passes * len(targets))])

    def _losses(self, outputs: Passed, targets: Tensor) -> Tensor:
        losses = misfit(self.likelihood, targets, outputs.reconstruction.float())
        return losses + divergence(outputs.mean.float(), outputs.log_variance.float())

    def grids(self, images: Tensor, alpha: Tensor | None) -> Tensor:
        """Bytes (batch, 1, …) as the model sees them: from 0 to 1, on the canvas, transformed."""
        x = images.float().div(255)
        if self.pooled > 1:
            x = POOLS[x.ndim](x, self.pooled)
        x = padded(x, self.side)
        if alpha is None:
            return x
        # interpolating may round a last bit beyond 1, which is no chance
        return warp(x, self.transforms.matrix(alpha.to(x.device))).clamp(0, 1)


class Transformed(Batches):
    """Batches of grids, each under a transform that the seed and the epoch decide."""

    def __init__(self, images: Images, task: Reconstruction, protocol: Protocol, **place):
        super().__init__(len(images), protocol, **place)
        self._images, self._task = images.images.to(self._device), task

    def epoch(self, epoch: int, first: int = 0) -> Iterator[Batch]:
        order, _ = self.order(epoch)
        transforms = self._transforms(derive("pose", self._seed, epoch))
        for part in self.parts(first):
            yield self._batch(order[part], transforms)

    def once(self) -> Iterator[Batch]:
        transforms = self._transforms(derive("pose", DATA_SEED))
        for part in self.own(torch.arange(len(self))):
            yield self._batch(part, transforms)

    def _transforms(self, seed: int) -> Tensor | None:
        """A transform for every grid, (grids, numbers)."""
        if self._task.transforms is None:
            return None
        return self._task.transforms.draw(len(self), torch.Generator().manual_seed(seed))

    def _batch(self, chosen: Tensor, transforms: Tensor | None) -> Batch:
        alpha = None if transforms is None else transforms[chosen]
        x = self._task.grids(self._images[chosen.to(self._images.device)], alpha)
        if self.protocol.channels_last:
            x = x.contiguous(memory_format=torch.channels_last)
        return x, x
