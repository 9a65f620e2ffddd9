"""The loop over batches and the test that every training here goes through, on any device."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from reuseprior.errors import UserError
from reuseprior.training.batches import Batch, Share
from reuseprior.training.interruption import Stop
from reuseprior.training.task import Task

PULSE = 20  # batches between looks at the loss, for which a GPU must wait


class Loop:
    """This process's device and its part in the work, and how batches go through a model there.

    `precision` is `float32` or `bfloat16`; raises `error` for one that the device does not have.
    """

    def __init__(self, precision: str, error: type[UserError]):
        self.accelerator = Accelerator(
            cpu=not torch.accelerator.is_available(), mixed_precision="no"
        )
        self.device = self.accelerator.device
        self.share = Share(self.accelerator.process_index, self.accelerator.num_processes)
        self._low = precision == "bfloat16"
        if self.device.type == "cuda":
            torch.backends.cudnn.benchmark = True  # shapes stay the same
            if self._low and not torch.cuda.is_bf16_supported(including_emulation=False):
                raise error(
                    f"precision is 'bfloat16', which {torch.cuda.get_device_name(self.device)} "
                    "does not have: set precision to float32"
                )

    def autocast(self) -> torch.autocast:
        """The context in which a model computes in this precision."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self._low)

    def train(
        self,
        batches: Iterator[Batch],
        numbers: range,
        stop: Stop,
        *,
        seed: Callable[[int], int],
        step: Callable[[Tensor, Tensor], Tensor],
        check: Callable[[float], None],
    ) -> bool:
        """Train on a batch for each of the numbers; whether a signal, to any process, ended it.

        `seed` says what torch's own generators draw from, dropout and stochastic depth. `step`
        trains on a batch and returns this process's loss so far, which `check` sees summed over
        processes, now and then, to raise where it is no number.

        Several processes ask one another at every PULSE-th batch, one alone knows at once.
        """
        for number in numbers:
            torch.manual_seed(seed(number))
            loss = step(*next(batches))
            if (number + 1) % PULSE and not (stop.number and self.share.count == 1):
                continue
            signs = torch.stack([loss, loss.new_tensor(stop.number)])
            loss, told = self.accelerator.reduce(signs, "sum").tolist()
            check(loss)
            if told:
                return True
        return False

    @torch.no_grad()
    def totals(self, task: Task, model: nn.Module, batches) -> Tensor:
        """What the task's `sums` gives, over this process's part of all `batches`."""
        model.eval()
        totals = torch.zeros(task.sizes, device=self.device)
        for inputs, targets in batches.once():
            inputs, targets = task.batch(inputs, targets)
            with self.autocast():
                outputs = model(inputs)
            totals += task.sums(outputs, targets)
        return totals

    def means(self, totals: Tensor, count: int) -> list[float]:
        """Totals of all processes, per example of `count`."""
        return [total / count for total in self.accelerator.reduce(totals, "sum").tolist()]
