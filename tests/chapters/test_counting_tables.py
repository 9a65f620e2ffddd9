"""Chapter 4: the example graphs, the tables' models, and the golden values behind them."""

import copy
from collections import defaultdict

import pytest
import torch
from torch import nn

from reuseprior import sharing
from reuseprior.chapters import counting as work
from reuseprior.contexts import count_contexts, horizontal_unroll, uniform
from reuseprior.models import efficientnet_v2


def test_example_graphs_are_what_the_captions_say():
    a, b = work.FIGURE_4_2A, work.FIGURE_4_2B
    assert set(a.parameters) == set(b.parameters)
    assert (a.contexts()["w1"], b.contexts()["w1"]) == (1, 2)
    original = work.FIGURE_4_3A
    assert horizontal_unroll(original).repetitions() == original.contexts()
    assert set(uniform(original).contexts().values()) == {1}
    assert sum(original.contexts().values()) == len(uniform(original).parameters) == 12


@pytest.mark.slow
def test_every_cell_of_the_tables_has_a_verdict():
    for name, rows in {"table-4-3": 4, "table-4-4": 6}.items():
        table = work.printed_beside_computed(name)
        assert "P′_G" in table and "P_G_spread" not in table, "a quantity has one name to readers"
        assert table.shape == (rows, 6)
        assert table.drop(columns="image_size").map(lambda cell: cell[-1] in "✓≈✗").all().all()
        assert table.image_size.str.isdigit().all()  # a setting has no mark
    exact = work.exact_rows().expected_spread
    for row, spread in (
        ("V2-M, counted at 480 px", "2260.9184"), ("V2-M, counted at 240 px", "2171.0986"),
        ("V2-L, counted at 480 px", "3219.1459"), ("V2-L, counted at 240 px", "3095.3603"),
    ):  # fmt: skip
        assert exact[row] == spread


def test_shares_by_depth_add_up():
    depth = work.by_depth(work.counts("V2-B0", 224).learnable())
    assert depth.contexts.sum() == pytest.approx(1, abs=1e-9)
    assert depth.surprisal.sum() == pytest.approx(1, abs=1e-9)
    assert depth.entries.sum() == 7_139_704
    kinds = {"convolution", "batch norm", "depthwise", "squeeze–excite", "classifier"}
    assert set(depth.kind) == kinds


@pytest.mark.parametrize(("name", "size"), [("V2-B0", 224), ("V2-S", 384)])
def test_what_is_tied_in_the_model_is_merged_in_its_counts(name, size):
    """With batch norm's running statistics counted, as Keras counts."""
    network = sharing.apply(copy.deepcopy(work.model(name)), "same_shape")
    tied = count_contexts(network, (1, 3, size, size), batch_norm="all").quantities()
    merged = work.quantities(f"{name}-shared", size, "all", sharing.same_shape)
    assert merged.to_dict() == pytest.approx(tied.to_dict(), rel=1e-12)
    assert merged.weight_nodes == work.quantities(name, size).weight_nodes


def test_a_network_tied_by_shape_trains_saves_and_loads(tmp_path):
    torch.manual_seed(0)
    nets = [efficientnet_v2("s", num_classes=10, width=0.25) for _ in range(2)]
    first, second = (sharing.apply(net, "same_shape") for net in nets)
    strides = defaultdict(set)  # of the convolutions that hold each weight
    for layer in first.modules():
        if isinstance(layer, nn.Conv2d):
            strides[layer.weight].add(layer.stride)
    assert any(len(found) > 1 for found in strides.values())
    images = torch.randn(4, 3, 32, 32)
    optimizer = torch.optim.SGD(first.parameters(), lr=1e-4)
    before = [p.detach().clone() for p in first.parameters()]
    first(images).logsumexp(1).mean().backward()
    optimizer.step()
    assert not any(map(torch.equal, before, first.parameters()))
    torch.save(first.state_dict(), tmp_path / "model.pt")
    second.load_state_dict(torch.load(tmp_path / "model.pt", weights_only=True))
    assert len(list(second.parameters())) == len(before)
    predicted = first.eval()(images)
    assert predicted.isfinite().all() and torch.equal(predicted, second.eval()(images))
