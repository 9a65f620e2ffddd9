"""What the printed budgets of Neural Parameter Allocation Search stand for: counted networks."""

from __future__ import annotations

from functools import cache

from torch import nn

from reuseprior.contexts import multiply_adds, record_model
from reuseprior.models import Recipe
from reuseprior.sharing import Stores, apply, share_blocks
from reuseprior.sharing.weights import merge, shareable

CLASSES = {"CIFAR-10": 10, "CIFAR-100": 100, "ImageNet": 1000}
NAMES = {"DenseNet-BC": "densenet-bc-190-40", "ResNet-56": "resnet56-cifar"}  # as we call them


def name(model: str) -> str:
    """Our name of a printed network: `SSN-WRN-28-10` and `WRN-28-10, smaller` are wrn-28-10."""
    plain = model.removeprefix("SSN-").removeprefix("S").removesuffix(", smaller")
    return NAMES.get(plain, plain.lower())


@cache
def built(model: str, dataset: str = "CIFAR-100") -> nn.Module:
    """A printed network, without storage; it is not to be changed."""
    return _build(model, dataset)


def _build(model: str, dataset: str) -> nn.Module:
    return Recipe(name(model), classes=CLASSES[dataset]).build(lazy=True)


def size(model: nn.Module) -> int:
    """Parameters of a network, shared ones once."""
    return sum(p.numel() for p in model.parameters())


def parameters(model: str, dataset: str = "CIFAR-100") -> int:
    """Parameters of a printed network."""
    return size(built(model, dataset))


def largest(model: str, dataset: str = "CIFAR-100") -> int:
    """Weights of its largest layer."""
    return max(layer.weight.numel() for layer in shareable(built(model, dataset)).values())


@cache
def least(model: str, dataset: str = "CIFAR-100", layers: int = 1, classifier: bool = False) -> int:
    """Parameters of one store of so many times the largest layer, with all that is not shared.

    The store is made, so this is what sharing leaves and not a sum. `classifier` shares it too.
    """
    network = _build(model, dataset)
    own = [layer.weight.numel() for layer in shareable(network).values()]
    if not classifier:
        own.remove(next(reversed(shareable(network).values())).weight.numel())
    budget = size(network) - sum(own) + layers * max(own)
    Stores(budget, "mean", templates=layers, classifier=classifier).share(network)
    return size(network)


@cache
def in_blocks(model: str, dataset: str = "CIFAR-100", templates: int = 1) -> int:
    """Parameters of the SWRN of a network with so many templates."""
    network = _build(model, dataset)
    share_blocks(network, templates)
    return size(network)


def manual_stores(model: str, dataset: str = "CIFAR-100") -> int:
    """Stores of the manual mapping: SWRN's, and each other layer as one, the classifier too."""
    network = _build(model, dataset)
    stores = share_blocks(network, 1)
    return len(stores) + len(shareable(built(model, dataset))) - sum(len(s.layers) for s in stores)


@cache
def merged(model: str, dataset: str, sharing: str) -> tuple[float, float]:
    """Per cent of multiply-adds and parameters that a network has after training with stores.

    Both of the plain network's, after `merge`.
    """
    network = merge(apply(_build(model, dataset), sharing))
    plain = built(model, dataset)
    costs = [multiply_adds(record_model(one, (1, 3, 32, 32))) for one in (network, plain)]
    return 100 * costs[0] / costs[1], 100 * size(network) / size(plain)
