import pytest
import torch
import torch.nn.functional as F

from reuseprior.models import MLP


@pytest.mark.parametrize(("width", "depth"), [(120, 1), (60, 4), (8, 225), (2, 3600)])
def test_table_5_1_budget(width, depth):
    assert sum(p.numel() for p in MLP(width, depth).parameters()) == 14_400


@pytest.mark.parametrize(("width", "depth", "total"), [(8, 225, 21_560), (20, 36, 16_940)])
def test_table_5_2_counts_four_vectors_a_layer(width, depth, total):
    model = MLP(width, depth, in_features=3, batch_norm=True)
    vectors = [*model.parameters(), *(b for b in model.buffers() if b.is_floating_point())]
    assert sum(v.numel() for v in vectors) == total


@pytest.mark.parametrize("skip", [False, True])
def test_relu_between_layers_and_skips_where_shapes_agree(skip):
    model, x = MLP(4, 2, in_features=3, skip=skip), torch.randn(5, 3)
    first, last = (layer.weight for layer in model.layers)
    hidden = F.relu(x @ first.T)
    assert torch.allclose(model(x), skip * hidden + hidden @ last.T)


def test_bias_is_optional_and_width_is_not():
    assert MLP(4, 1).layers[0].bias is None
    assert MLP(4, 1, bias=True).layers[0].bias.shape == (4,)
    with pytest.raises(ValueError, match="width and depth of 1 or more, got 0 and 3"):
        MLP(0, 3)
