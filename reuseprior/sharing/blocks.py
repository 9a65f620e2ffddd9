"""Blocks that share within a stage (Savarese and Maire 2019, as NPAS compares with): SWRN."""

from __future__ import annotations

from torch import nn

from reuseprior.sharing.scopes import SharingError
from reuseprior.sharing.stores import MOST_TEMPLATES, Store, build, plan
from reuseprior.sharing.weights import shareable


def share_blocks(model: nn.Module, templates: int) -> tuple[Store, ...]:
    """Let equal convolutions of a stage's blocks be made of so many templates, in place.

    They are those of the second block and of all after it; what the first block holds stays its
    own. A stage is a module whose parts are numbered, as of all ResNets here and in torchvision.
    With one template they are tied, and with more each is a weighted sum of them (`weighted` of
    stores). Returns the stores. Raises `SharingError` where there are no such blocks.

    >>> from reuseprior.models import catalog
    >>> model = catalog.build("wrn-28-10")
    >>> len(share_blocks(model, 1)), sum(p.numel() for p in model.parameters())
    (3, 12287194)
    """
    if not 1 <= templates <= MOST_TEMPLATES:
        raise SharingError(f"templates is {templates}: it must be 1 to {MOST_TEMPLATES:,}")
    groups: dict[tuple, dict[str, nn.Module]] = {}
    for name, layer in shareable(model, (nn.Conv2d,)).items():
        stage, _, place = name.rpartition(".")[0].rpartition(".")
        if place.isdecimal() and int(place) > 0:
            groups.setdefault((stage, layer.weight.shape), {})[name] = layer
    groups = {key: group for key, group in groups.items() if len(group) > 1}
    if not groups:
        raise SharingError(
            "no two blocks of a stage after its first have equal convolutions: share in blocks "
            "with a ResNet of three blocks a stage or more"
        )
    stores = []
    for group in groups.values():
        size = next(iter(group.values())).weight.numel()
        sizes = [size] * len(group)
        stores.append(build(group, plan(sizes, templates * size, templates, "weighted", "mask")))
    return tuple(stores)
