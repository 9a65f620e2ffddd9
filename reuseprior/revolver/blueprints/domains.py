"""The values that a mutable may take: a list of choices, or an interval with two decimals."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from reuseprior.revolver.blueprints.errors import BlueprintError

Domain = list | dict[str, float]  # choices, or {"low": …, "high": …}


def between(ends: Sequence[float] | None) -> Domain:
    """The interval from a pair's first to its second value; without a pair, no choice at all."""
    return dict(zip(("low", "high"), ends, strict=True)) if ends else []


def contains(domain: Domain, value: Any) -> bool:
    """Whether a value lies in a domain: `contains([1, 3, 5], 7)` is False."""
    if isinstance(domain, dict):
        return (
            isinstance(value, (int, float))
            and not isinstance(value, bool)
            and domain["low"] <= value <= domain["high"]
        )
    return value in domain


def draw(domain: Domain, rng: random.Random, current: Any) -> Any | None:
    """A random value of the domain other than the current one, or None where there is no other.

    Values of an interval have two decimals, so that names stay short.
    """
    if isinstance(domain, dict):
        value = round(rng.uniform(domain["low"], domain["high"]), 2)
        value = min(max(value, domain["low"]), domain["high"])
        return None if value == current else value
    others = [value for value in domain if value != current]
    return rng.choice(others) if others else None


def verify(domain: Any, where: str) -> None:
    """Raise `BlueprintError` where a domain is neither a list of choices nor an interval."""
    if isinstance(domain, list) and domain:
        return
    if isinstance(domain, dict) and set(domain) == {"low", "high"}:
        numbers = all(type(bound) in (int, float) for bound in domain.values())
        if numbers and domain["low"] <= domain["high"]:
            return
    raise BlueprintError(
        f'{where} has the domain {domain!r}: give a list of choices or {{"low": …, "high": …}}'
    )
