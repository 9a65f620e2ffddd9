"""Tying really ties; merging counts adds up to the same as counting the tied model."""

import numpy as np
import pytest
import torchvision
from torch import nn

from reuseprior import sharing
from reuseprior.contexts import count_contexts
from reuseprior.models import catalog
from reuseprior.sharing import all_but_bn, merge, thesis_tables, tie


def small():
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4),
        nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4),
        nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(),
        nn.Conv2d(4, 4, 3, padding=1, bias=False),
        nn.Conv2d(4, 4, 3, stride=2, padding=1),
        nn.Conv2d(4, 4, 3, padding=1, groups=4), nn.Conv2d(4, 4, 1),
    )  # fmt: skip


def test_names_of_scopes():
    names = {
        nn.Conv2d(24, 96, 3, stride=2, bias=False): "Conv2d 24→96 kernel 3×3 stride 2×2",
        nn.Conv2d(8, 8, (3, 1), groups=8): "Conv2d 8→8 kernel 3×1 stride 1×1 groups 8 bias",
        nn.ConvTranspose2d(4, 2, 2): "ConvTranspose2d 4→2 kernel 2×2 stride 1×1 bias",
        nn.BatchNorm2d(8): None,
        nn.Linear(3, 3): None,
    }
    assert {layer: all_but_bn(layer) for layer in names} == names
    assert thesis_tables(nn.Conv2d(24, 96, 3)) == thesis_tables(nn.Conv2d(24, 96, 1, stride=2))
    depthwise = [nn.Conv2d(8, 8, k, s, groups=8) for k, s in [(3, 1), (5, 1), (3, 2)]]
    assert len({thesis_tables(layer) for layer in depthwise}) == 3
    assert thesis_tables(nn.BatchNorm2d(8)) is None
    assert set(sharing.POLICIES) == {"all_but_bn", "thesis_tables"}


def test_tied_layers_hold_the_same_parameters():
    model = small()
    norms = [model[1].weight, model[3].weight]
    before = sum(p.numel() for p in model.parameters())
    (scope,) = tie(model)
    assert scope == sharing.Scope("Conv2d 4→4 kernel 3×3 stride 1×1 bias", ("2", "4"), 148)
    assert scope.saved == 148 and before - sum(p.numel() for p in model.parameters()) == 148
    assert model[4].weight is model[2].weight and model[4].bias is model[2].bias
    for other in 0, 6, 7, 8:
        assert model[other].weight is not model[2].weight
    assert model[1].weight is norms[0] and model[3].weight is norms[1]
    (again,) = tie(model)
    assert again == scope and sum(p.numel() for p in model.parameters()) == before - 148


def test_what_sharing_saves():
    model = catalog.build("V2-B0")
    before = sum(p.numel() for p in model.parameters())
    scopes = tie(model)
    assert before - sum(p.numel() for p in model.parameters()) == sum(s.saved for s in scopes) > 0
    assert all(len(s.modules) > 1 and s.saved % s.parameters == 0 for s in scopes)


def test_shapes_that_differ_leave_the_model_untied():
    model = small()
    before = [id(p) for p in model.parameters()]
    with pytest.raises(ValueError, match=r"Scope 'one' holds parameters of shapes .*4, 2, 3, 3"):
        tie(model, lambda module: "one" if isinstance(module, nn.Conv2d) else None)
    with pytest.raises(ValueError, match="which cannot be one: let the policy give them different"):
        tie(model, thesis_tables)
    assert [id(p) for p in model.parameters()] == before


MODELS = {
    "small": (small, 8),
    "resnet18": (lambda: torchvision.models.resnet18(), 64),
    "mobilenet_v3_small": (lambda: catalog.build("torchvision:mobilenet_v3_small"), 64),
    "V2-B0": (lambda: catalog.build("V2-B0"), 64),
    "V2-B0, taps out of range": (lambda: catalog.build("V2-B0"), 32),
    "densenet121": (lambda: catalog.build("torchvision:densenet121"), 64),
}


@pytest.mark.parametrize("name", MODELS)
def test_merged_counts_are_those_of_the_tied_model(name):
    build, size = MODELS[name]
    model = build()
    channels = next(model.parameters()).shape[1]
    shape = (1, channels, size, size)
    apart = count_contexts(model, shape, batch_norm="all")
    merged = merge(apart, model, all_but_bn)
    assert tie(model)
    tied = count_contexts(model, shape, batch_norm="all")
    assert merged.weight_nodes == tied.weight_nodes == apart.weight_nodes
    assert merged.parameters == tied.parameters < apart.parameters
    assert merged.quantities().to_dict() == pytest.approx(tied.quantities().to_dict(), rel=1e-12)
    found = {p.name: p for p in merged.parameter_counts}
    assert found.keys() == {p.name for p in tied.parameter_counts}
    for p in tied.parameter_counts:
        other = found[p.name]
        assert sorted(p.uses) == sorted(other.uses) and p.weight_nodes == other.weight_nodes
        assert set(p.names) == set(other.names)
        logs = (np.broadcast_to(c.log2_counts, p.shape) for c in (p, other))
        np.testing.assert_allclose(*logs, 1e-12, 1e-12)
    assert sum(n for _, n, _ in merged.left_out) == sum(n for _, n, _ in tied.left_out)


def test_the_tables_policy_merges_tap_by_tap():
    """Contexts on a 2×2 image: a 1×1 convolution adds to the first tap of a 3×3."""
    model = nn.Sequential(
        nn.Conv2d(1, 1, 3, padding=1, bias=False), nn.ReLU(), nn.Conv2d(1, 1, 1, bias=False)
    )
    merged = merge(count_contexts(model, (1, 1, 2, 2)), model, thesis_tables)
    (only,) = merged.parameter_counts
    taps = np.exp2(only.log2_counts[0, 0])
    np.testing.assert_allclose(taps, [[1 + 4, 2, 1], [2, 4, 2], [1, 2, 1]], 1e-12)
    assert only.names == ("0.weight", "2.weight") and only.uses == ("0", "2")
    assert (only.shape, merged.parameters, merged.weight_nodes) == ((1, 1, 3, 3), 9, 10)


def test_a_policy_of_ones_own():
    model = nn.Sequential(*(nn.Linear(3, 3) for _ in range(4)), nn.Linear(3, 2))

    def squares(module):
        return "square" if getattr(module, "out_features", None) == 3 else None

    merged = merge(count_contexts(model, (1, 3)), model, squares)
    (scope,) = tie(model, squares)
    tied = count_contexts(model, (1, 3), exact=True)
    assert scope.modules == ("0", "1", "2", "3") and scope.saved == 36
    # a weight of layer t (of 5) has 3^(4 - t) · 2 contexts, a bias as many
    assert tied.parameter_counts[0].counts.item() == 2 * (27 + 9 + 3 + 1)
    assert merged.parameters == tied.parameters == 3 * 3 + 3 + 6 + 2
    assert 2 ** merged.parameter_counts[0].log2_counts.item() == pytest.approx(80)
