import pytest
import torch
from torch import nn
from torchvision import models as torchvision_models

from reuseprior.models import without_weights


def test_parameters_have_no_storage_and_what_is_computed_does():
    """At no cost of random numbers; and reading a weight is PyTorch's error."""
    before = torch.get_rng_state()
    with without_weights(), pytest.raises(RuntimeError, match="meta"):
        nn.Linear(2, 2).weight.sum().item()
    with without_weights():
        torch.randn(3)
        model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
        widths = torch.linspace(8, 32, 4).round().int().tolist()
    assert all(parameter.is_meta for parameter in model.parameters())
    assert all(buffer.device.type == "cpu" for buffer in model.buffers())
    assert widths == [8, 16, 24, 32]
    assert torch.equal(torch.get_rng_state(), before)


def test_ends_with_the_context_even_after_an_error():
    with pytest.raises(RuntimeError, match="my own"), without_weights():
        raise RuntimeError("my own")
    assert not nn.Linear(2, 2).weight.is_meta


def test_ties_marks_and_frozenness_survive():
    with without_weights():
        first, second = nn.Module(), nn.Module()
        shared = nn.Parameter(torch.ones(2), requires_grad=False)
        shared.no_weight_decay = True
        first.weight, second.weight = shared, shared
    assert first.weight is second.weight and first.weight.is_meta
    assert first.weight.no_weight_decay and not first.weight.requires_grad


def test_index_tables_keep_their_contents():
    with without_weights():
        lazily = dict(torchvision_models.swin_t().named_buffers())
    real = dict(torchvision_models.swin_t().named_buffers())
    assert lazily.keys() == real.keys()
    assert all(torch.equal(lazily[name], real[name]) for name in real)
