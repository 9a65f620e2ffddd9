"""NAS-Bench-Macro's networks: eight layers, each an identity or one of two MobileNetV2 blocks.

Su et al., "Prioritized architecture sampling with Monto-Carlo tree search", CVPR 2021; the layout
is that of their released training code (xiusu/NAS-Bench-Macro, `train/model.py`).
"""

from itertools import product

from torch import Tensor, nn

from reuseprior.models.errors import ModelError

STAGES = (2, 3, 3)  # layers; the first of each halves the size and doubles the channels
CHOICES = "012"  # identity, kernel 3 and expansion 3, kernel 5 and expansion 6
HEAD = 1280  # channels before the classifier


def codes() -> list[str]:
    """All 3⁸ = 6,561 networks, `"00000000"` first."""
    return ["".join(choices) for choices in product(CHOICES, repeat=sum(STAGES))]


def nas_bench_macro(architecture: str, classes: int = 10) -> nn.Module:
    """The network of eight digits, for images of 3 channels.

    ```python
    sum(p.numel() for p in nas_bench_macro("11111111").parameters())  # 1_588_874
    ```

    Raises `ModelError` as `check` does.
    """
    check(architecture)
    channels = 32
    layers = [*_convolution(3, channels, 3), nn.ReLU()]
    choices = iter(architecture)
    for length in STAGES:
        for position in range(length):
            stride, before = (2, channels) if position == 0 else (1, channels)
            channels = before * stride
            layers.append(_layer(next(choices), before, channels, stride))
    layers += [*_convolution(channels, HEAD, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(HEAD, classes))


def check(architecture: str) -> None:
    """Raise `ModelError` for anything but eight digits of 0, 1 and 2."""
    if len(architecture) != sum(STAGES) or set(architecture) - set(CHOICES):
        raise ModelError(
            f"{architecture!r} is no network of NAS-Bench-Macro: write eight digits of 0 "
            "(identity), 1 (kernel 3, expansion 3) and 2 (kernel 5, expansion 6)"
        )


def _layer(choice: str, before: int, channels: int, stride: int) -> nn.Module:
    if choice == "1":
        return InvertedResidual(before, channels, stride, kernel=3, expansion=3)
    if choice == "2":
        return InvertedResidual(before, channels, stride, kernel=5, expansion=6)
    if stride == 1:
        return nn.Identity()
    return nn.Sequential(*_convolution(before, channels, 1, stride))


class InvertedResidual(nn.Module):
    """Widen, convolve each channel, narrow; added to the input where the shape stays."""

    def __init__(self, before: int, channels: int, stride: int, *, kernel: int, expansion: int):
        super().__init__()
        wide = before * expansion
        self.layers = nn.Sequential(
            *_convolution(before, wide, 1),
            nn.ReLU(),
            *_convolution(wide, wide, kernel, stride, groups=wide),
            nn.ReLU(),
            *_convolution(wide, channels, 1),
        )
        self.is_residual = stride == 1

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x) + x if self.is_residual else self.layers(x)


def _convolution(before: int, channels: int, kernel: int, stride: int = 1, groups: int = 1):
    convolution = nn.Conv2d(
        before, channels, kernel, stride, kernel // 2, groups=groups, bias=False
    )
    return [convolution, nn.BatchNorm2d(channels)]
