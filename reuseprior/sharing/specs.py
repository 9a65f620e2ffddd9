"""Sharing specs: how a model shares, as one text, such as `layers:all` or `stores:10%,mask`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

from torch import nn

from reuseprior.errors import did_you_mean, expect
from reuseprior.sharing.channels import Channels
from reuseprior.sharing.layers import Layers
from reuseprior.sharing.scopes import POLICIES, SharingError, policy, tie
from reuseprior.sharing.stores import Stores, share_blocks

Share = Callable[[nn.Module], object]  # shares in place, and returns what it made


ALIKE = {
    "all_but_bn": "convolutions of equal kind, channels, kernel and stride",
    "same_shape": "convolutions whose weights have one shape",
    "with_bn": "convolutions or batch norms of equal shape",
}
"""What the policies of scopes look for."""


def _scopes(text: str) -> Share:
    chosen = policy(text)

    def share(model: nn.Module):
        scopes = tie(model, chosen)
        if not scopes and text in ALIKE:
            layers = Counter(type(m).__name__ for m in model.modules() if not any(m.children()))
            there = ", ".join(f"{n} {kind}" for kind, n in layers.most_common(4)) or "none"
            raise SharingError(
                f"{text} finds nothing to share in {type(model).__name__}: it looks for "
                f"{ALIKE[text]}, and no two of its layers ({there}) are so; layers:all shares "
                "between equal blocks, stores:50% between layers of any shape"
            )
        return scopes

    return share


def _blocks(text: str) -> Share:
    if not re.fullmatch("[0-9]{1,6}", text):
        raise SharingError(f"blocks:{text} has no number of templates: write it as blocks:2")
    return lambda model: share_blocks(model, int(text))


# Kinds of specs: each reads what stands after its name and a colon, and gives what shares.
SPECS: dict[str, Callable[[str], Share]] = {
    "scopes": _scopes,
    "stores": lambda text: Stores.parse(text).share,
    "channels": lambda text: Channels.parse(text).share,
    "layers": lambda text: Layers.parse(text).share,
    "blocks": _blocks,
}


def parse(sharing: str) -> Share:
    """What a spec asks to be done to a model; a policy alone, as `all_but_bn`, is one of scopes.

    >>> (store,) = parse("stores:50%")(nn.Sequential(nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 3)))
    >>> store.values.numel(), store.layers
    (550, ('0', '1'))

    Raises `SharingError` for a spec that means nothing, before there is a model.
    """
    mend = "write it as a text, such as 'all_but_bn' or 'stores:10%,mask'"
    expect(sharing, str, "the sharing", mend, SharingError)
    kind, colon, rest = sharing.partition(":")
    if not colon and sharing in POLICIES:
        kind, rest = "scopes", sharing
    if kind not in SPECS:
        known = [*POLICIES, *SPECS]
        raise SharingError(
            f"unknown sharing {sharing!r}{did_you_mean(kind, known)}: choose from "
            f"{', '.join(POLICIES)}, or write {', '.join(f'{name}:…' for name in SPECS)}"
        )
    return SPECS[kind](rest)


def apply(model: nn.Module, sharing: str) -> nn.Module:
    """Share parameters in a model, in place, as a sharing spec says; returns the model.

    >>> from reuseprior.models import catalog
    >>> model = apply(catalog.build("resnet20-cifar"), "stores:10%,weighted,mask")
    >>> sum(p.numel() for p in model.parameters())
    26972

    Raises `SharingError` for a spec that means nothing, and for a model that cannot share so.
    """
    share = parse(sharing)
    expect(model, nn.Module, "the model", "pass a torch.nn.Module", SharingError)
    share(model)
    return model
