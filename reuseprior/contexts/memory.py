"""Which tensors lie in one memory: they are one tensor, or views of one, under other names."""

from __future__ import annotations

from collections import defaultdict

import torch

from reuseprior.errors import CountingError

Named = tuple[list[str], torch.Tensor]


def memory(tensor: torch.Tensor) -> int:
    """What stands for the memory that a tensor lies in."""
    if unusual(tensor):
        return id(tensor)
    return tensor.untyped_storage()._cdata


def unusual(tensor: torch.Tensor) -> str:
    """In words how a tensor is kept, where its entries do not stand one beside the other."""
    if tensor.is_nested:
        return "nested (of parts of several sizes)"
    return "" if tensor.layout is torch.strided else f"sparse ({tensor.layout})"


def same_view(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two tensors in one memory are the same entries in the same order."""
    return (a.shape, a.stride(), a.storage_offset()) == (b.shape, b.stride(), b.storage_offset())


def lies_in(tensor: torch.Tensor, owner: torch.Tensor, what: str) -> bool:
    """Whether a tensor is a part of another in one memory, or all of it in another order.

    Raises `CountingError` where they have only some of their entries in common, and where a view
    could not be taken.
    """
    (first, last), (start, end) = _span(tensor), _span(owner)
    if last <= start or end <= first:
        return False
    places, others = _places(tensor), _places(owner)
    common = torch.isin(places, others)
    if not common.any():
        return False
    if not common.all() or tensor.dtype != owner.dtype or len(others) != owner.numel():
        raise CountingError(
            f"{what} has a part of the memory of a parameter of shape {tuple(owner.shape)} in "
            "common with it: give each memory of its own, or register one and take views of it "
            "in the forward."
        )
    return True


def merged(tensors: list[Named]) -> list[Named]:
    """Tensors with their names; what lies in the memory of another is that one, by more names."""
    owners: dict[int, list[Named]] = defaultdict(list)
    for one in sorted(tensors, key=lambda one: -one[1].numel()):
        (names, tensor), sharing = one, owners[memory(one[1])]
        for others, owner in sharing:
            if same_view(tensor, owner) or lies_in(tensor, owner, f"Parameter {names[0]}"):
                others += names
                break
        else:
            sharing.append(one)
    return [one for one in tensors if any(one is owner for owner in owners[memory(one[1])])]


def _places(tensor: torch.Tensor) -> torch.Tensor:
    """Where in memory its entries lie, each once."""
    size = tensor.element_size()
    places = torch.arange(*_span(tensor), size)
    return places.as_strided(tensor.shape, tensor.stride(), 0).unique()


def _span(tensor: torch.Tensor) -> tuple[int, int]:
    """Where in memory it begins and ends, in bytes."""
    size = tensor.element_size()
    first = tensor.storage_offset() * size
    steps = sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride(), strict=True))
    return first, first + (steps + 1) * size if tensor.numel() else first
