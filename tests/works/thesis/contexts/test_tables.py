"""Chapter 4: the example graphs, the tables' models, and the golden values behind them."""

import copy
from collections import defaultdict

import pytest
import torch
from torch import nn

from reuseprior import sharing
from reuseprior.contexts import count_contexts, horizontal_unroll, uniform
from reuseprior.models import efficientnet_v2
from reuseprior.works.thesis import contexts as work

TABLES = {"table-4-3": 4, "table-4-4": 6}


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
    for name, rows in TABLES.items():
        table = work.printed_beside_computed(name)
        assert "P′_G" in table and "P_G_spread" not in table, "a quantity has one name to readers"
        assert table.shape == (rows, 6)
        assert table.drop(columns="image_size").map(lambda cell: cell[-1] in "✓≠○").all().all()
        assert table.image_size.str.isdigit().all()  # a setting has no mark
    exact = work.exact_rows()
    assert exact.loc["V2-M, counted at 480 px"].tolist()[:3] == ["30.0430", "30.5238", "2260.9184"]
    assert exact.loc["V2-L, counted at 480 px"].tolist()[:3] == ["30.5564", "31.0433", "3219.1459"]
    assert exact.loc["V2-M, counted at 240 px"].expected_spread == "2171.0986"
    assert exact.loc["V2-L, counted at 240 px"].expected_spread == "3095.3603"


def test_readings_go_from_the_text_to_the_table():
    found = work.readings.readings("V2-B0-shared", 224)
    assert found[0].convention == found[0].against == ""
    assert "running statistics" in found[1].convention and "same_shape" in found[2].convention
    assert "§4.5.1" in found[1].against and "§4.5.3" in found[2].against


def test_shares_by_depth_add_up():
    depth = work.by_depth(work.counts("V2-B0", 224).learnable())
    assert depth.contexts.sum() == pytest.approx(1, abs=1e-9)
    assert depth.surprisal.sum() == pytest.approx(1, abs=1e-9)
    assert depth.entries.sum() == 7_139_704
    assert set(depth.kind) == {
        "convolution", "batch norm", "depthwise", "squeeze–excite", "classifier"
    }  # fmt: skip


def test_biases_and_sharing_in_the_counts():
    """Biases explain the printed entropy of ResNet-50; shared in the model is shared in counts."""
    without = work.quantities("ResNet-50", 384)
    with_bias = work.readings.readings("ResNet-50", 380)[-1].quantities
    assert (round(without.entropy, 1), round(with_bias.entropy, 1)) == (13.2, 13.3)
    assert with_bias.parameters == 25_636_712
    merged = work.quantities("V2-B0", 224, "all", sharing.all_but_bn)
    assert merged.parameters == 3_018_800
    assert merged.weight_nodes == work.quantities("V2-B0", 224).weight_nodes


SHARED = {  # model, px: the learnable parameters for 10, 100 and 1000 classes, then as printed
    ("V2-B0", 224): ((1_647_090, 1_762_380, 2_915_280), (1_707_698, 1_822_988, 2_975_888),
                     {"P_G": 24.9974, "P_G_spread": 25.4410, "expected_spread": 746.6084}),
    ("V2-S", 384): ((2_938_650, 3_053_940, 4_206_840), (3_092_522, 3_207_812, 4_360_712),
                    {"P_G": 26.3251, "P_G_spread": 26.9734, "expected_spread": 1505.5478}),
}  # fmt: skip


@pytest.mark.parametrize(("name", "size"), SHARED)
def test_networks_tied_by_shape_have_the_printed_digits(name, size):
    """Tables 4.2 and 4.3, with batch norm's running statistics counted, as Keras counts."""
    learnable, printed, golden = SHARED[name, size]
    for classes, held, counted in zip((10, 100, 1000), learnable, printed, strict=True):
        model = work.model(name, classes)
        network = sharing.apply(copy.deepcopy(model), "same_shape")
        assert sum(p.numel() for p in network.parameters()) == held
        counts = count_contexts(network, (1, 3, size, size), batch_norm="all")
        assert counts.parameters == counted
    found = counts.quantities().to_dict()
    assert {key: round(found[key], 4) for key in golden} == golden
    merged = work.quantities(f"{name}-shared", size, "all", sharing.same_shape)
    assert merged.to_dict() == pytest.approx(found, rel=1e-12)


def test_a_network_tied_by_shape_trains_saves_and_loads(tmp_path):
    torch.manual_seed(0)
    first, second = (
        sharing.apply(efficientnet_v2("s", num_classes=10, width=0.25), "same_shape")
        for _ in range(2)
    )
    assert any(len({layer.stride for layer in layers}) > 1 for layers in users(first).values())
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


def users(model):
    """The convolutions that hold each weight."""
    layers = defaultdict(list)
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            layers[layer.weight].append(layer)
    return layers
