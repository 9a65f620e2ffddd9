"""Training autoencoders to reconstruct grids, upright or each in a random pose."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reuseprior.data import DataSet, Images
from reuseprior.models.affine_vae import (
    LIKELIHOODS,
    AffineVAE,
    Passed,
    Poses,
    divergence,
    misfit,
    padded,
    warp,
)
from reuseprior.training.batches import DATA_SEED, Batch, Batches, derive
from reuseprior.training.protocol import Protocol, ProtocolError
from reuseprior.training.task import Autocast, Task

POOLS = {4: F.avg_pool2d, 5: F.avg_pool3d}  # by the axes of a batch


@dataclass(frozen=True)
class Reconstruction(Task):
    """Reconstruct images or voxels of one channel on a canvas of `side`, turned or not.

    Without `poses` they stand as the data have them. With, each is seen in a pose drawn anew every
    epoch, and each test input in one and the same, whatever the seed. `pooled` says how many cells
    a side become one before anything else. The loss is that at the model's best pose, in nats an
    example: in training, of a model without a search, a sample of minus the evidence lower bound;
    with a search less, as the pose is free, and in testing less, as z is at its mean. `mse` is over
    all cells of the canvas, `passes` what the model's search spends on an example, as
    `affine_vae.search` counts.
    """

    name: ClassVar[str] = "reconstruction"
    measures: ClassVar[tuple[str, ...]] = ("loss", "mse", "passes")
    shown: ClassVar[tuple[str, ...]] = ("loss", "passes")
    side: int
    poses: Poses | None = None
    likelihood: str = "gaussian"
    pooled: int = 1

    def __post_init__(self):
        if self.likelihood not in LIKELIHOODS:
            raise ProtocolError(
                f"likelihood is {self.likelihood!r}: choose {' or '.join(LIKELIHOODS)}"
            )

    def about(self) -> dict[str, object]:
        poses = self.poses and asdict(self.poses)
        own = {"side": self.side, "poses": poses, "pooled": self.pooled}
        return super().about() | own | {"likelihood": self.likelihood}

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
                    "same in every pose: leave empty grids out"
                )

    def _check_shape(self, model: nn.Module, data: DataSet) -> None:
        held = data.train.images.ndim - 2
        if self.poses is not None:
            wanted = self.poses.dimensions
        else:
            wanted = model.poses.dimensions if isinstance(model, AffineVAE) else held
        if held != wanted:
            raise ProtocolError(
                f"{data.name} has grids of {held} dimensions and {self.name} is set up for "
                f"{wanted}: give both the same"
            )

    def batches(self, part: Images, protocol: Protocol, **place) -> Posed:
        if protocol.channels_last and part.images.ndim != 4:
            raise ProtocolError(
                "channels_last is true, which orders images and not voxels: set it to false"
            )
        return Posed(part, self, protocol, **place)

    def batch(self, inputs: Tensor, targets: Tensor) -> Batch:
        return inputs, inputs

    def loss(self, outputs: Passed, targets: Tensor) -> Tensor:
        return self._losses(outputs, targets).mean()

    def sums(self, outputs: Passed, targets: Tensor, loss: Tensor | None = None) -> Tensor:
        total = self._losses(outputs, targets).sum() if loss is None else loss * len(targets)
        squares = ((outputs.reconstruction - targets) ** 2).flatten(1).mean(1)
        return torch.stack([total, squares.sum(), total.new_tensor(outputs.passes * len(targets))])

    def _losses(self, outputs: Passed, targets: Tensor) -> Tensor:
        found = misfit(self.likelihood, targets, outputs.reconstruction.float())
        return found + divergence(outputs.mean.float(), outputs.log_variance.float())

    def grids(self, images: Tensor, alpha: Tensor | None) -> Tensor:
        """Bytes (batch, 1, …) as the model sees them: from 0 to 1, on the canvas, at poses."""
        x = images.float().div(255)
        if self.pooled > 1:
            x = POOLS[x.ndim](x, self.pooled)
        x = padded(x, self.side)
        if alpha is None:
            return x
        # interpolating may round a last bit beyond 1, which is no chance
        return warp(x, self.poses.matrix(alpha.to(x.device))).clamp(0, 1)


class Posed(Batches):
    """Batches of grids, each at a pose that the seed and the epoch decide."""

    def __init__(self, images: Images, task: Reconstruction, protocol: Protocol, **place):
        super().__init__(len(images), protocol, **place)
        self._images, self._task = images.images.to(self._device), task

    def epoch(self, epoch: int, first: int = 0) -> Iterator[Batch]:
        order, _ = self.order(epoch)
        poses = self._poses(derive("pose", self._seed, epoch))
        for part in self.parts(first):
            yield self._batch(order[part], poses)

    def once(self) -> Iterator[Batch]:
        poses = self._poses(derive("pose", DATA_SEED))
        for part in self.own(torch.arange(len(self))):
            yield self._batch(part, poses)

    def _poses(self, seed: int) -> Tensor | None:
        """A pose for every grid, (grids, numbers)."""
        if self._task.poses is None:
            return None
        return self._task.poses.draw(len(self), torch.Generator().manual_seed(seed))

    def _batch(self, chosen: Tensor, poses: Tensor | None) -> Batch:
        alpha = None if poses is None else poses[chosen]
        x = self._task.grids(self._images[chosen.to(self._images.device)], alpha)
        if self.protocol.channels_last:
            x = x.contiguous(memory_format=torch.channels_last)
        return x, x
