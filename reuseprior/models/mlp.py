"""Multilayer perceptrons of constant width, as deep as one likes."""

from itertools import pairwise

from torch import Tensor, nn

from reuseprior.models import stack


class MLP(nn.Module):
    """`depth` fully connected layers of `width` nodes with ReLU between them.

    ```python
    model = MLP(60, 4)
    sum(p.numel() for p in model.parameters())  # 14_400, as in the thesis's Table 5.1
    ```

    Takes (batch, in_features), `in_features` being `width` unless given, and gives (batch, width).
    With `batch_norm` every layer, the last included, is normalised before its ReLU (Table 5.2).
    With `skip` the input of a layer is added to what comes of it, wherever their shapes agree.
    """

    def __init__(
        self,
        width: int,
        depth: int,
        *,
        in_features: int | None = None,
        bias: bool = False,
        batch_norm: bool = False,
        skip: bool = False,
    ):
        if width < 1 or depth < 1:
            raise ValueError(f"an MLP needs width and depth of 1 or more, got {width} and {depth}")
        super().__init__()
        widths = [width if in_features is None else in_features] + [width] * depth
        self.skip = skip
        self.layers = nn.ModuleList(nn.Linear(m, n, bias=bias) for m, n in pairwise(widths))
        self.norms = nn.ModuleList(nn.BatchNorm1d(width) for _ in range(depth * batch_norm))

    def forward(self, x: Tensor) -> Tensor:
        return stack.run(x, self.layers, self.norms, skip=self.skip)
