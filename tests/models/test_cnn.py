import pytest
import torch
import torch.nn.functional as F

from reuseprior.models import CNN


@pytest.mark.parametrize(("channels", "depth"), [(120, 1), (60, 4), (6, 400), (2, 3600)])
def test_table_5_3_budget(channels, depth):
    assert sum(p.numel() for p in CNN(channels, depth).parameters()) == 129_600


@pytest.mark.parametrize(("channels", "depth", "total"), [(24, 25, 127_464), (5, 64, 15_590)])
def test_table_5_4_counts_four_vectors_a_layer(channels, depth, total):
    model = CNN(channels, depth, in_channels=3, batch_norm=True)
    vectors = [*model.parameters(), *(b for b in model.buffers() if b.is_floating_point())]
    assert sum(v.numel() for v in vectors) == total


def test_relu_between_layers_and_none_at_the_end():
    model, images = CNN(4, 2, in_channels=3), torch.randn(2, 3, 8, 8)
    first, last = (layer.weight for layer in model.layers)
    expected = F.conv2d(F.relu(F.conv2d(images, first, padding=1)), last, padding=1)
    assert torch.allclose(model(images), expected, atol=1e-6)


def test_options():
    """A skip adds the input, size stays with larger kernels, a classifier gives logits."""
    model, images = CNN(4, 1, skip=True), torch.randn(2, 4, 8, 8)
    assert torch.allclose(model(images), images + model.layers[0](images))
    assert CNN(2, 3, kernel_size=5)(torch.randn(1, 2, 8, 8)).shape == (1, 2, 8, 8)
    assert CNN(4, 2, in_channels=1, num_classes=10)(torch.randn(3, 1, 8, 8)).shape == (3, 10)
    with pytest.raises(ValueError, match="kernel_size 2 is even"):
        CNN(4, 2, kernel_size=2)
    with pytest.raises(ValueError, match="channels and depth of 1 or more, got 4 and 0"):
        CNN(4, 0)
