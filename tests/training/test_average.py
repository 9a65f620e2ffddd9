import torch
from torch import nn

from reuseprior.training.optimizers import Average


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
