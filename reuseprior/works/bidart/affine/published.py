"""The search for α as the author's published code has it, to show what its slip costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from reuseprior.models.affine_vae import Restarts


@dataclass(frozen=True)
class PublishedRestarts(Restarts):
    """Section 4.1.5's search but for its choice of starts, which takes wrong rows.

    The losses are a table of starts by examples, the starts one list, start after start and
    example after example: start k of example b is row k · batch + b. The code takes row k, which
    is a start of another example, so its "best" eight are about eight random ones.
    """

    name: ClassVar[str] = "published restarts"

    def chosen(self, alpha: Tensor, losses: Tensor) -> Tensor:
        starts = losses.topk(min(self.kept, len(alpha)), dim=0, largest=False).indices
        return alpha.flatten(0, 1)[starts]
