import numpy as np
import pytest
import torch
from torch import nn

from reuseprior.training import Protocol
from reuseprior.training.optimizers import Average, RMSprop, build


def test_rmsprop_is_tensorflows_and_leaves_a_weight_without_gradient():
    rate, momentum, decay, epsilon, weight_decay = 0.1, 0.9, 0.8, 1e-3, 0.01
    weight, unused = nn.Parameter(torch.tensor([[1.0, -2.0]]).double()), nn.Parameter(torch.ones(2))
    options = {"lr": rate, "momentum": momentum, "decay": decay, "epsilon": epsilon}
    optimizer = RMSprop([weight, unused], **options, weight_decay=weight_decay)
    by_hand, square, velocity = np.array([[1.0, -2.0]]), np.ones(2), np.zeros(2)
    for gradient in ([[0.5, 1e-4]], [[-0.2, 0.0]], [[3.0, 1.0]]):
        weight.grad = torch.tensor(gradient, dtype=torch.float64)
        assert optimizer.step(lambda: 3.0) == 3.0
        gradient = np.array(gradient) + weight_decay * by_hand
        square = decay * square + (1 - decay) * gradient**2
        velocity = momentum * velocity + rate * gradient / np.sqrt(square + epsilon)
        by_hand = by_hand - velocity
        np.testing.assert_allclose(weight.detach().numpy(), by_hand, rtol=1e-12)
    assert torch.equal(unused, torch.ones(2))


@pytest.mark.parametrize("kind", ["rmsprop", "sgd", "adamw"])
def test_only_matrices_decay_and_a_tied_weight_is_one(kind):
    first, second = nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3)
    second.weight = first.weight
    model = nn.Sequential(first, nn.BatchNorm2d(4), second)
    optimizer = build(model, Protocol(optimizer=kind, weight_decay=0.01))
    decayed, plain = optimizer.param_groups
    assert [id(p) for p in decayed["params"]] == [id(first.weight)]
    assert decayed["weight_decay"] == 0.01 and plain["weight_decay"] == 0
    assert {p.ndim for p in plain["params"]} == {1} and len(plain["params"]) == 4
    model(torch.ones(2, 4, 5, 5)).sum().backward()
    optimizer.step()
    assert len(optimizer.state) == 5


def test_adamw_is_torchs_plain_one_in_channels_last_too():
    def net():
        torch.manual_seed(0)
        first, second = (nn.Conv2d(3, 3, 3, bias=False) for _ in range(2))
        second.weight = first.weight
        return nn.Sequential(first, nn.BatchNorm2d(3), second).to(memory_format=torch.channels_last)

    with torch.random.fork_rng():
        ours, plain = net(), net()
        images = torch.randn(4, 3, 9, 9).contiguous(memory_format=torch.channels_last)
    optimizer = build(ours, Protocol(optimizer="adamw", momentum=0.8, weight_decay=0.1))
    for group in optimizer.param_groups:
        group["lr"] = 0.01
    groups = [
        {"params": [p for p in plain.parameters() if (p.ndim > 1) == decays], "weight_decay": decay}
        for decays, decay in ((True, 0.1), (False, 0.0))
    ]
    theirs = torch.optim.AdamW(groups, lr=0.01, betas=(0.8, 0.999), foreach=False)
    for _ in range(5):
        for model, one in ((ours, optimizer), (plain, theirs)):
            one.zero_grad()
            model(images).square().sum().backward()
            one.step()
    for mine, its in zip(ours.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-4, atol=1e-6)


def test_the_average_moves_towards_the_model_and_can_be_applied():
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Linear(3, 3))
    model[2].weight = model[0].weight
    average = Average(model)
    before = model[0].weight.detach().clone()
    with torch.no_grad():
        model[0].weight.add_(1)
        model[1].running_mean.add_(2)
        model[1].num_batches_tracked.add_(7)
    average.update(0.75)
    with average.applied():
        assert torch.allclose(model[0].weight, before + 0.25)
        assert torch.allclose(model[1].running_mean, torch.full((3,), 0.5))
        assert model[1].num_batches_tracked == 7
        assert model[2].weight is model[0].weight
    assert torch.equal(model[0].weight, before + 1)
    assert torch.equal(model[1].running_mean, torch.full((3,), 2.0))
    average.apply()
    assert torch.allclose(model[2].weight, before + 0.25)
