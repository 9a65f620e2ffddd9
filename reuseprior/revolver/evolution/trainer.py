"""Training an individual for a while and validating it (thesis, §3.5.5.2), on any device.

Under `torchrun` or `accelerate launch` each process holds the whole population, takes its part of
every batch and makes the same choices. Gradients are averaged at every step and the statistics of
batch norms, each of which sees its own process's part of a batch, at the end of a turn.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from reuseprior.data import Images
from reuseprior.revolver.blocks.sessions import Session
from reuseprior.revolver.evolution.settings import Settings, SettingsError
from reuseprior.training.average import copies as copies
from reuseprior.training.average import put_back as put_back
from reuseprior.training.batches import InMemory, derive, steps
from reuseprior.training.interruption import Stop
from reuseprior.training.loop import Loop
from reuseprior.training.protocol import Protocol
from reuseprior.training.task import Classification


class TurnFailed(Exception):
    """An individual could not be trained: its loss is no number, it ran out of memory …"""


class Told(Exception):
    """A signal came; the turn stands where it can be taken up again."""


@dataclass
class Turn:
    """An individual's turn to be trained: what it needs to go on from any batch."""

    slot: int
    number: int  # of all turns of the search: decides the order of images and all draws
    rate: float
    total: int  # batches
    done: int = 0
    loss: float = 0.0  # summed over the batches done
    before: dict[str, Tensor] = field(default_factory=dict)  # its tensors as they were
    momentum: dict[str, Tensor] = field(default_factory=dict)

    def to_data(self) -> dict[str, Any]:
        """The turn as JSON values, without its tensors."""
        return {key: value for key, value in vars(self).items() if not isinstance(value, dict)}


class Trainer:
    """The device, the data on it, and the loops over batches."""

    def __init__(self, settings: Settings, trained: Images, held_out: Images, *, seed: int):
        self.settings, self.seed = settings, seed
        self.loop = Loop(settings.precision, SettingsError)
        self.device, self.share = self.loop.device, self.loop.share
        self.accelerator = self.loop.accelerator
        self.task = Classification(settings.space.classes)
        self._batches = self._open(
            trained, settings.batch_size, seed, augmentation=settings.augmentation
        )
        self.epoch = steps(len(trained), self._batches.protocol, self.share)  # batches of one
        self._held_out = self._open(held_out, settings.validation_batch_size)

    def train(self, turn: Turn, module: nn.Module, tensors: dict[str, Tensor], stop: Stop) -> None:
        """Train a model on the batches that are left of its turn, new SGD or going on.

        Raises `TurnFailed` if that is not possible, and `Told` after a signal, with the momentum in
        the turn.
        """
        s = self.settings
        session = Session(
            {"net": module},
            lr=turn.rate,
            momentum=s.momentum,
            weight_decay=s.weight_decay,
            label_smoothing=s.label_smoothing,
        )
        if not any(parameter.requires_grad for parameter in module.parameters()):
            raise TurnFailed("all its modules are frozen")
        optimizer = session.optimizer()
        parameters = optimizer.param_groups[0]["params"]
        for key, buffer in turn.momentum.items():
            if tensors[key].requires_grad:
                optimizer.state[tensors[key]]["momentum_buffer"] = buffer.clone()
        loss = torch.tensor(turn.loss, device=self.device)

        def step(images: Tensor, labels: Tensor) -> Tensor:
            nonlocal loss
            error = None
            try:
                optimizer.zero_grad()
                with self.loop.autocast():
                    outputs = session(images)
                batch_loss = session.loss(outputs.float(), labels)
                batch_loss.backward()
                loss += batch_loss.detach()
            except (RuntimeError, ValueError) as caught:  # out of memory is one
                error = caught
            self._agree(error)
            self._average_gradients(parameters)
            optimizer.step()
            turn.done += 1
            return loss

        session.train()
        told = self.loop.train(
            self._batches.epoch(turn.number, turn.done),
            range(turn.done, turn.total),
            stop,
            # Every process draws alike, so that all leave out the same blocks.
            seed=lambda done: derive("batch", self.seed, turn.number, done),
            step=step,
            check=self._check,
        )
        turn.loss = loss.item()
        turn.momentum = _momentum(optimizer, tensors)
        if told:
            raise Told
        self._check(self.accelerator.reduce(loss, "mean").item())
        self._average_statistics(tensors)

    def validate(self, module: nn.Module) -> tuple[float, float]:
        """Loss and accuracy on the held-out images; `TurnFailed` where there are none."""
        totals, error = torch.zeros(2), None
        try:
            totals = self.loop.totals(self.task, module, self._held_out)
        except RuntimeError as caught:
            error = caught
        self._agree(error)
        loss, accuracy = self.loop.means(totals, len(self._held_out))
        self._check(loss)
        return loss, accuracy

    def test(self, module: nn.Module, images: Images) -> tuple[float, float]:
        """Loss and accuracy on other images."""
        batches = self._open(images, self.settings.validation_batch_size)
        loss, accuracy = self.loop.means(self.loop.totals(self.task, module, batches), len(batches))
        return loss, accuracy

    def _open(self, images: Images, batch_size: int, seed: int = 0, **options) -> InMemory:
        protocol = Protocol(
            batch_size=batch_size,
            channels=images.images.shape[1],
            channels_last=self.settings.channels_last,
            **options,
        )
        return InMemory(images, protocol, device=self.device, seed=seed, share=self.share)

    def _agree(self, error: Exception | None) -> None:
        """Raise `TurnFailed` in all processes where one has an error.

        A process that failed has nothing to send, and the others would wait for it for ever.
        """
        if self.share.count > 1:
            failed = torch.tensor([float(error is not None)], device=self.device)
            dist.all_reduce(failed)
            if failed and error is None:
                raise TurnFailed("another process could not train it")
        if error is not None:
            raise TurnFailed(_sentence(error)) from error

    def _average_gradients(self, parameters: list[nn.Parameter]) -> None:
        if self.share.count == 1:
            return
        grads = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([grad.flatten() for grad in grads])
        dist.all_reduce(flat)
        flat /= self.share.count
        for grad, part in zip(grads, flat.split([g.numel() for g in grads]), strict=True):
            grad.copy_(part.view_as(grad))

    def _average_statistics(self, tensors: dict[str, Tensor]) -> None:
        if self.share.count == 1:
            return
        for tensor in tensors.values():
            if not isinstance(tensor, nn.Parameter) and tensor.is_floating_point():
                dist.all_reduce(tensor)
                tensor /= self.share.count

    def _check(self, loss: float) -> None:
        if not isfinite(loss):
            raise TurnFailed(f"the loss is {loss}")


def _momentum(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    held = {key: optimizer.state.get(tensor, {}) for key, tensor in tensors.items()}
    return {
        key: state["momentum_buffer"]
        for key, state in held.items()
        if state.get("momentum_buffer") is not None
    }


def _sentence(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
