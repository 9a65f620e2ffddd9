"""Tasks: what a model is trained for, its loss, what is measured, and what a batch holds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reuseprior.data import DataSet, ImageFolderSet
from reuseprior.training.batches import Batch, mix, open_batches, to_input
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
        for what, found in try_images(model, data, protocol, autocast):
            shape = tuple(found.shape) if isinstance(found, Tensor) else ()
            if len(shape) != 2 or shape[0] != 1 or shape[1] < self.classes:
                kind = f"a tensor of {shape}" if shape else f"a {type(found).__name__}"
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
                found = model(to_input(black, size, protocol))
        except Exception as error:  # whatever a model does with images that it is not made for
            said = " ".join(str(error).split())
            raise ProtocolError(
                f"the model cannot take images of {what} (channels, height, width): set "
                f"channels, image_size or test_image_size; it says: {said}"
            ) from error
        yield what, found
