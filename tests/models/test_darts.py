"""DARTS's CIFAR-10 networks, as released."""

import pytest
import torch

from reuseprior.contexts import trace_model
from reuseprior.models.darts import GENOTYPES, darts


@pytest.mark.parametrize("order", GENOTYPES)
def test_two_cells_halve_the_image_and_each_node_reads_two_before_it(order):
    model, sizes = darts(order, 7, cells=5).eval(), []
    for cell in model.cells:
        cell.register_forward_hook(lambda _cell, _inputs, x: sizes.append(tuple(x.shape[1:])))
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 7)
    assert sizes == [(144, 32, 32), (288, 16, 16), (288, 16, 16), (576, 8, 8), (576, 8, 8)]
    counted = trace_model(model, (1, 3, 32, 32)).count().quantities().parameters
    assert counted == sum(p.numel() for p in model.parameters())  # every weight has a path
    for edges in (GENOTYPES[order].normal, GENOTYPES[order].reduce):
        assert len(edges) == 8
        assert all(node < 2 + position // 2 for position, (_, node) in enumerate(edges))
