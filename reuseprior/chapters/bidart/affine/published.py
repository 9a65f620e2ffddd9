"""The search for α as the author's published code has it, to show what its slip costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from reuseprior.models.affine_vae import Found, Objective, Restarts


@dataclass(frozen=True)
class PublishedRestarts(Restarts):
    """Section 4.1.5's search but for its choice of starts, which takes wrong rows.

    The losses are a table of starts by examples, the starts one list, start after start and
    example after example: start k of example b is row k · batch + b. The code takes row k, which
    is a start of another example, so its "best" eight are about eight random ones. Every example
    draws its own starts, as the code does: among shared ones the slip would mean something else.
    """

    name: ClassVar[str] = "published restarts"

    def __call__(self, objective: Objective, generator: torch.Generator | None = None) -> Found:
        if generator is None:
            return super().__call__(objective)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(generator.initial_seed())
            return super().__call__(objective)

    def chosen(self, alpha: Tensor, losses: Tensor) -> Tensor:
        starts = losses.topk(min(self.kept, len(alpha)), dim=0, largest=False).indices
        return alpha.flatten(0, 1)[starts]
