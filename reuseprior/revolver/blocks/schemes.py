"""Whole models by their scheme: ResNet strides, DenseNet pools between its groups."""

from __future__ import annotations

from reuseprior.revolver.blocks.layers import activation, batch_norm, global_pool, linear
from reuseprior.revolver.blueprints.kinds import Chain, block
from reuseprior.revolver.blueprints.shapes import assemble


@block("resnet")
class ResNet(Chain):
    """A first convolution, groups that stride themselves, and a head."""


@block("densenet")
class DenseNet(Chain):
    """A first convolution, groups with a pooling transition between them, and a head."""


def resnet(stem, groups, classes: int, *, norm=batch_norm, convs=(), kinds=()):
    """A ResNet of a first convolution and groups; `convs` and `kinds` are what they may become.

    ```python
    stem = conv((3, 32, 32), 16)
    resnet(stem, [residual_group([…])], 10).output_shape  # (10,)
    ```
    """
    body = {f"group{index}": group for index, group in enumerate(groups)}
    return _net("resnet", stem, body, classes, norm, convs, kinds)


def densenet(stem, groups, transitions, classes: int, *, norm=batch_norm, convs=(), kinds=()):
    """A DenseNet: after each group but the last its transition (a unit that pools, or None)."""
    body = {}
    for index, group in enumerate(groups):
        body[f"group{index}"] = group
        if index < len(transitions) and transitions[index] is not None:
            body[f"transition{index}"] = transitions[index]
    return _net("densenet", stem, body, classes, norm, convs, kinds)


def _net(kind, stem, body, classes, norm, convs, kinds):
    x = [stem, *body.values()][-1].output_shape
    head = {
        "bn": norm(x),
        "act": activation(x),
        "pool": global_pool(x),
        "linear": linear(x[:1], classes),
    }
    mutables = {"conv": convs, "group": kinds}
    return assemble(kind, stem.input_shape, {"conv": stem, **body, **head}, mutables=mutables)
