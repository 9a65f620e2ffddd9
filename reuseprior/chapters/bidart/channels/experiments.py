"""Shared channels against smaller networks: a wide ResNet and a very small Xception on CIFAR-10."""

from __future__ import annotations

from dataclasses import replace

from reuseprior.training.contenders import SMALL, WIDE, Contender, parameters_of, rival, shared

EXPERIMENT = "channels"
FACTORS = (4, 2, 8)  # those that matter most first


def channels(plain: Contender, factor: int, *kinds: str) -> Contender:
    """The network with filters of these kinds of layers repeated."""
    return shared(plain, f"channels:{factor}", *kinds)


def compared_with() -> tuple[Contender, ...]:
    """All of the comparison, those that matter most first.

    A network that shares computes as much as the plain one, its rival stores as much. With `full`
    and `norms` all channels of a stage repeat, so that the network of 1 / s of the width gives the
    same outputs.
    """
    found = [SMALL, WIDE]
    for factor in FACTORS:
        wide = channels(WIDE, factor, "full")
        found += [wide, channels(WIDE, factor, "full", "norms"), replace(WIDE, width=1 / factor)]
        small = channels(SMALL, factor, "depthwise", "pointwise"), channels(SMALL, factor)
        found += small
        found += [rival(one.model, parameters_of(one)) for one in (wide, *small)]
    return tuple(dict.fromkeys(found))
