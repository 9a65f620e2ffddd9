"""Which layers belong to which store: learned from coefficients (section 3.4 of NPAS)."""

from __future__ import annotations

import numpy as np
from torch import nn

from reuseprior.sharing.scopes import SharingError
from reuseprior.sharing.stores import DIGITS, Generator
from reuseprior.sharing.weights import makers


def cluster(model: nn.Module, stores: int, *, seed: int = 0) -> str:
    """A mapping into so many stores, a digit a layer, for `map=` of a model to be trained anew.

    The model was shared with `resized`, one store, and trained for a short while, so that layers of
    like coefficients can be made of the same templates. Their coefficients are clustered by
    k-means. Raises `SharingError` for another model, for stores that its layers cannot fill, and
    for more than there are digits.
    """
    from sklearn.cluster import KMeans

    found = [maker for maker in makers(model).values() if isinstance(maker, Generator)]
    coefficients = [maker.coefficients for maker in found]
    if not found or any(c is None or len(c) != len(coefficients[0]) for c in coefficients):
        raise SharingError(
            "a mapping is learned from a model whose layers all take the same templates: share it "
            "with stores:…,resized and train it first"
        )
    if not 1 <= stores <= min(len(found), len(DIGITS)):
        raise SharingError(
            f"stores is {stores}: it must be between 1 and {min(len(found), len(DIGITS))}, as "
            f"{len(found)} layers share"
        )
    points = np.stack([c.detach().double().cpu().numpy() for c in coefficients])
    labels = KMeans(stores, n_init=10, random_state=seed).fit_predict(points)
    order: dict[int, str] = {}  # stores are numbered as their first layers come
    return "".join(order.setdefault(int(label), DIGITS[len(order)]) for label in labels)
