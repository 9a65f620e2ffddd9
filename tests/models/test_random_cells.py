"""Networks of random cells: the same for a number each time, and of the sizes that they say."""

import pytest
import torch

from reuseprior.contexts import record_model
from reuseprior.measures.scores import signal_paths
from reuseprior.models import ModelError, catalog, random_cells


def test_a_number_is_one_network():
    plans = [random_cells.plan(number) for number in range(40)]
    assert plans == [random_cells.plan(number) for number in range(40)]
    assert len(set(map(str, plans))) > 35
    assert {len(plan.nodes) for plan in plans} == set(random_cells.NODES)
    for text in ("-1", "a", ""):
        with pytest.raises(ModelError, match="is no number of a network of random cells"):
            catalog.find(f"random-cells:{text}")


def test_they_run_and_every_layer_is_passed():
    for number in range(12):
        network = catalog.build(f"random-cells:{number}", lazy=False).eval()
        assert network(torch.zeros(2, 3, 16, 16)).shape == (2, 10)
        paths = signal_paths(record_model(network, (1, 3, 16, 16)))
        layers = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
        assert len(paths.layers) == len(layers)
        assert 4 <= paths.shortest <= paths.mean_length
