"""DenseNet-BC for images of 32 pixels (Huang et al. 2017, section 4.2)."""

from torch import nn

from reuseprior.errors import UserError

LAYERS_A_DEPTH = 6  # two convolutions in each layer of the three blocks


def densenet_bc(depth: int, growth: int, *, num_classes: int = 10):
    """The DenseNet-BC-depth-growth: torchvision's blocks behind a stem for small images.

    ```python
    sum(p.numel() for p in densenet_bc(190, 40).parameters())  # 25_624_430
    ```

    The stem is one 3×3 convolution to 2 · growth channels, without batch norm or pooling. Raises
    `UserError` for a depth that is not 6n + 4.
    """
    from torchvision.models import DenseNet

    layers, left = divmod(depth - 4, LAYERS_A_DEPTH)
    if layers < 1 or left or growth < 1:
        raise UserError(
            f"depth is {depth} and growth {growth}: depth must be 6n + 4 for a whole n, as 100 and "
            "190, and growth 1 or more"
        )
    model = DenseNet(growth, (layers,) * 3, 2 * growth, num_classes=num_classes)
    model.features.conv0 = nn.Conv2d(3, 2 * growth, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(model.features.conv0.weight)
    for name in ("norm0", "relu0", "pool0"):
        setattr(model.features, name, nn.Identity())
    return model
