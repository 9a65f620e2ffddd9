"""Training sessions: a model together with how it is trained (thesis, §3.3.5)."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from reuseprior.revolver.blueprints.domains import between
from reuseprior.revolver.blueprints.kinds import Composite, block, require
from reuseprior.revolver.blueprints.shapes import assemble


@block("session")
class Session(Composite):
    """A model that knows its optimiser and its loss; called, it is the model.

    The defaults are the thesis's: SGD with momentum 0.9 and weight decay 10⁻⁴, cross entropy.
    """

    def __init__(
        self,
        parts: dict[str, nn.Module],
        lr: float = 0.35,
        momentum: float = 0.9,
        weight_decay: float = 1e-4,
        label_smoothing: float = 0.0,
    ):
        super().__init__(parts)
        self.settings = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        self.label_smoothing = label_smoothing

    def forward(self, x):
        return self.net(x)

    def optimizer(self, lr: float | None = None) -> torch.optim.Optimizer:
        """A new optimiser of all parameters that are not frozen; `lr` stands in for the own."""
        settings = self.settings if lr is None else self.settings | {"lr": lr}
        return torch.optim.SGD([p for p in self.parameters() if p.requires_grad], **settings)

    def loss(self, outputs, labels):
        """Cross entropy of outputs (N, classes) for labels (N,)."""
        return F.cross_entropy(outputs, labels, label_smoothing=self.label_smoothing)

    @staticmethod
    def infer(node, x, flow):
        require(node.arguments["lr"] > 0, "has a learning rate that is not positive")
        return flow("net", x)


def session(net, *, rates=(), **settings):
    """A training session of a model; `rates`, a pair, lets the learning rate mutate between them.

    `settings` are lr, momentum, weight_decay and label_smoothing.
    """
    mutables = {"lr": between(rates)}
    return assemble("session", net.input_shape, {"net": net}, mutables=mutables, **settings)
