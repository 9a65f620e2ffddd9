"""How far sharing compresses a block: the claims of thesis §C.1.1, on parameters really tied."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from torch import nn

from reuseprior.models.blocks import (
    DenseFractalBlock,
    FractalBlock,
    ResidualBlock,
    SummingDenseBlock,
)
from reuseprior.sharing.scopes import Policy, all_but_bn, tie


def equal_depth(module: nn.Module) -> str | None:
    """Convolutions of one shape at one depth of a block (see `reuseprior.models.blocks`)."""
    scope = all_but_bn(module)
    return f"{scope} depth {module.depth}" if scope else None


@dataclass(frozen=True)
class Claim:
    """A kind of block, what is shared in it, and the compression that follows."""

    block: str
    shared: str
    order: str  # of the compression, in words of the thesis where it states one
    build: Callable[..., nn.Module]  # (channels, size, *, batch_norm)
    policy: Policy
    expected: Callable[[int], float]  # compression of the convolutions, by size


def _dense_fractal(n: int) -> float:
    # a layer at depth k sees k times the block's channels, and there are 2^(n-k) such layers
    return sum(2 ** (n - k) * k for k in range(1, n + 1)) / sum(range(1, n + 1))


_FRACTAL = Claim("FractalNet", "all", "O(2^n)", FractalBlock, all_but_bn, lambda n: 2**n - 1)
_RESIDUAL = Claim("ResNet", "all", "O(d)", ResidualBlock, all_but_bn, lambda d: d)
_SUMMING = Claim(
    "DenseNet with sums", "a source's", "is ResNet", SummingDenseBlock, equal_depth,
    lambda d: (d + 1) / 2,
)  # fmt: skip
_DENSE_FRACTAL = Claim(
    "FractalNet, other rule", "equal depth", "is DenseNet", DenseFractalBlock, equal_depth,
    _dense_fractal,
)  # fmt: skip
CLAIMS = (_FRACTAL, _RESIDUAL, _SUMMING, _DENSE_FRACTAL)


def compression_ratio(model: nn.Module, policy: Policy) -> float:
    """Parameters before over parameters after tying the model, in place.

    >>> compression_ratio(FractalBlock(4, 3), all_but_bn)
    7.0
    """
    before = sum(p.numel() for p in model.parameters())
    tie(model, policy)
    return before / sum(p.numel() for p in model.parameters())


def compression_claims(sizes: Iterable[int] = range(1, 9), *, channels: int = 4):
    """The claims of §C.1.1 against blocks built and tied: a data frame, a row a block and size.

    Columns: block, shared, claim, size (n or d), expected and measured (compression of the
    convolutions), with batch norm (the same where each layer keeps its own scale and shift, which
    holds it below 1 + 9/2 · channels in FractalNet and ResNet).
    """
    import pandas as pd

    rows = []
    for claim in CLAIMS:
        for size in sizes:
            plain, normed = (
                compression_ratio(claim.build(channels, size, batch_norm=batch_norm), claim.policy)
                for batch_norm in (False, True)
            )
            expected = float(claim.expected(size))
            rows.append((claim.block, claim.shared, claim.order, size, expected, plain, normed))
    columns = ["block", "shared", "claim", "size", "expected", "measured", "with batch norm"]
    return pd.DataFrame(rows, columns=columns)


def deepest_path(n: int) -> int:
    """Layers on the longest path through a FractalNet block of fractal depth n, as it is built."""
    return max(getattr(module, "depth", 0) for module in FractalBlock(1, n).modules())
