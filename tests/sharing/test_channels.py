"""Filters that repeat over channels: what is stored, computed, learned and counted."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from reuseprior import sharing
from reuseprior.contexts import count_contexts
from reuseprior.models import cifar_resnet18, wide_resnet
from reuseprior.sharing import Channels, SharingError
from tests.contexts.naive import Add
from tests.sharing.counting import check_counts, parameters


def small(channels=8):
    return nn.Sequential(
        nn.Conv2d(2, channels, 3, padding=1),
        nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
        nn.BatchNorm2d(channels), nn.Conv2d(channels, channels, 1), nn.ReLU(),
        nn.Conv2d(channels, channels, 3, padding=1, bias=False),
    )  # fmt: skip


def test_what_repeats_by_kind():
    for kind, expected in {
        "depthwise": ["1", (2, 1, 3, 3)],
        "pointwise": ["3", (8,), (8, 2, 1, 1)],  # each filter over input channels
        "full": ["3", (8,), (2, 8, 1, 1)],
        "norms": ["2", (2,), (2,)],
    }.items():
        model = small()
        (name, *_) = Channels(4, (kind,)).share(model)
        assert [name, *(tuple(p.shape) for p in model[int(name)].parameters())] == expected
        assert model[0].weight is model[0].weight  # the first convolution holds its own
    model = small()
    assert Channels(2, ("full", "pointwise")).share(model) == ("3", "5")
    assert model[3].parametrizations.weight[0].bank.shape == (8, 4, 1, 1)
    assert Channels(2, ("full",), ("[05]",)).share(small()) == ("0", "5")


@settings(max_examples=25, deadline=None)
@given(st.sampled_from([1, 2, 4, 8]), st.integers(1, 3), st.sampled_from(["depthwise", "full"]))
def test_filters_repeat_and_their_gradient_is_the_sum_of_the_copies(factor, multiple, kind):
    """PyTorch adds the gradients of the copies, where the text says that they are averaged."""
    torch.manual_seed(factor)
    channels = factor * multiple
    groups = channels if kind == "depthwise" else 1
    plain = nn.Sequential(
        nn.Conv2d(3, channels, 1), nn.Conv2d(channels, channels, 3, groups=groups, bias=False)
    ).double()
    shared = copy.deepcopy(plain)
    if channels == 1 and kind == "depthwise":  # one channel is a full convolution
        return
    Channels(factor, (kind,)).share(shared)
    filters = shared[1].parametrizations.weight[0].bank
    assert torch.equal(filters, plain[1].weight[:multiple])
    weight = shared[1].weight
    assert all(torch.equal(weight[c], filters[c % multiple]) for c in range(channels))
    with torch.no_grad():
        plain[1].weight.copy_(weight)
    x = torch.randn(2, 3, 5, 5, dtype=torch.float64)
    assert torch.equal(plain(x), shared(x))
    for model in (plain, shared):
        model(x).square().sum().backward()
    copies = plain[1].weight.grad.unflatten(0, (factor, multiple))
    torch.testing.assert_close(filters.grad, copies.sum(0))
    if factor > 1:
        assert (filters.grad - copies.mean(0)).abs().max() > 1e-6


def test_a_pointwise_bank_weighs_sums_of_inputs():
    torch.manual_seed(0)
    layer = nn.Sequential(nn.Identity(), nn.Conv2d(8, 6, 1, bias=False)).double()
    Channels(4, ("pointwise",), ("1",)).share(layer)
    filters = layer[1].parametrizations.weight[0].bank
    x = torch.randn(2, 8, 3, 3, dtype=torch.float64)
    sums = x.unflatten(1, (4, 2)).sum(1)
    torch.testing.assert_close(layer(x), nn.functional.conv2d(sums, filters))


FOLDED = [  # a network of some width, how it shares, and the part of it that is as good
    (wide_resnet, (10, 2), {"width": 1.0}, "channels:4,full,norms", {"width": 0.25}),
    (cifar_resnet18, (), {"width": 0.25}, "channels:2,full,norms,layers=layer[234].*",
     {"width": 0.25, "narrowing": 2}),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("build", "depth", "options", "text", "part"), FOLDED)
def test_where_all_channels_repeat_the_network_is_a_narrow_one(build, depth, options, text, part):
    """Bidart's foldable case, after training steps in which statistics and weights have moved."""
    torch.manual_seed(0)
    shared = sharing.apply(build(*depth, **options), text).double()
    optimizer = torch.optim.SGD(shared.parameters(), lr=0.05)
    for _ in range(3):
        optimizer.zero_grad()
        shared(torch.randn(4, 3, 16, 16).double()).square().mean().backward()
        optimizer.step()
    narrow = build(*depth, **part).double()
    x = torch.randn(4, 3, 16, 16).double()
    for mode in (True, False):  # the statistics of a batch repeat as well
        expected = shared.train(mode)(x)
        before = (narrow.train(mode)(x) - expected).abs().max()
        sharing.fold(shared, narrow)
        torch.testing.assert_close(narrow(x), expected, rtol=1e-10, atol=1e-10)
        assert before > 1e-3 or not mode
    assert parameters(narrow) < parameters(shared)


@pytest.mark.parametrize("kinds", [("depthwise",), ("pointwise",), ("full",), ("full", "norms")])
@pytest.mark.parametrize("factor", [2, 4])
def test_counting_sees_through_banks(factor, kinds):
    body = Add(small(4))
    model = nn.Sequential(nn.Conv2d(2, 2, 3, padding=1), body, nn.BatchNorm2d(2))
    body.body.append(nn.Conv2d(4, 2, 1))
    plain = count_contexts(copy.deepcopy(model), (1, 2, 3, 3))
    Channels(factor, kinds, ("1.body.[1235]",)).share(model)
    counts = check_counts(model)
    assert counts.parameters < plain.parameters
    assert counts.weight_nodes == plain.weight_nodes  # every layer still uses its own


def test_what_does_not_learn_is_left_as_it_is():
    model = small()
    model.append(nn.BatchNorm2d(8, affine=False))
    model[0].requires_grad_(False)  # still the first convolution, whose successor shares
    model[2].bias.requires_grad_(False)
    assert Channels(2, ("depthwise", "norms")).share(model) == ("1", "2")
    assert isinstance(model[2].bias, nn.Parameter) and not model[2].bias.requires_grad


def test_folding_refuses_what_is_no_part():
    shared = sharing.apply(wide_resnet(10, 2), "channels:4,full,norms")
    one, two = (nn.Sequential(layer(4, 4, 1)) for layer in (nn.Conv1d, nn.Conv2d))
    for wide, narrow, message in [
        (shared, wide_resnet(10, 2, width=0.3), "no whole part of it: choose another width"),
        (shared, wide_resnet(16, 1, width=0.25), "only one of both networks has 'stages"),
        (two, one, "which is no whole part of it"),
    ]:
        with pytest.raises(SharingError, match=message):
            sharing.fold(wide, narrow)
