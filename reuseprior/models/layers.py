"""What several models are made of: convolutions without bias, numbers that one may choose."""

from math import inf

from torch import nn

from reuseprior.errors import UserError


def conv(before: int, channels: int, kernel: int = 3, stride: int = 1, groups: int = 1):
    """A convolution that keeps the image's size, up to its stride."""
    return nn.Conv2d(before, channels, kernel, stride, kernel // 2, groups=groups, bias=False)


def normed(before: int, channels: int, *size: int) -> list[nn.Module]:
    """The convolution, and batch norm of its channels."""
    return [conv(before, channels, *size), nn.BatchNorm2d(channels)]


def preactivated(before: int, channels: int, *size: int) -> nn.Sequential:
    """ReLU, the convolution, batch norm."""
    return nn.Sequential(nn.ReLU(), *normed(before, channels, *size))


def finish(model: nn.Module, bn_momentum: float, mode: str | None = None) -> nn.Module:
    """Set batch norm's momentum and, by a mode, kernels as He et al. (2015)."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = bn_momentum
        elif isinstance(module, nn.Conv2d) and mode:
            nn.init.kaiming_normal_(module.weight, mode=mode, nonlinearity="relu")
    return model


_ONE_OR_MORE = (lambda number: number >= 1, "1 or more")
_SOME = (lambda number: 0 < number <= 1, "above 0 and at most 1")
_NUMBERS = {
    "num_classes": _ONE_OR_MORE,
    "widening": _ONE_OR_MORE,
    "width": (lambda number: 0 < number < inf, "above 0"),
    "narrowing": (lambda number: number in (1, 2, 4, 8, 16), "1, 2, 4, 8 or 16"),
    "dropout": (lambda number: 0 <= number < 1, "at least 0 and below 1"),
    "survival": _SOME,
    "bn_momentum": _SOME,
}


def check_numbers(**numbers: float) -> None:
    """Raise `UserError` for the first number that is out of its range.

    >>> check_numbers(num_classes=10, width=0.0)
    Traceback (most recent call last):
    ...
    reuseprior.errors.UserError: width is 0.0: it must be above 0
    """
    for name, number in numbers.items():
        fits, needed = _NUMBERS[name]
        if not fits(number):
            raise UserError(f"{name} is {number!r}: it must be {needed}")
