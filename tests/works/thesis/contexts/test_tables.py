"""Chapter 4: the example graphs, the tables' models, and the golden values behind them."""

import pytest

from reuseprior import sharing
from reuseprior.contexts import horizontal_unroll, uniform
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
@pytest.mark.parametrize(("name", "rows"), TABLES.items())
def test_every_cell_of_the_tables_has_a_verdict(name, rows):
    table = work.printed_beside_computed(name)
    assert "P′_G" in table and "P_G_spread" not in table, "a quantity has one name to readers"
    assert table.shape == (rows, 6)
    assert table.drop(columns="image_size").map(lambda cell: cell[-1] in "✓≠○").all().all()
    assert table.image_size.str.isdigit().all()  # a setting has no mark


def test_exact_rows_are_the_golden_ones():
    exact = work.exact_rows()
    assert exact.loc["V2-M, counted at 480 px"].tolist()[:3] == ["30.0430", "30.5238", "2260.9184"]
    assert exact.loc["V2-L, counted at 480 px"].tolist()[:3] == ["30.5564", "31.0433", "3219.1459"]
    assert exact.loc["V2-M, counted at 240 px"].expected_spread == "2171.0986"
    assert exact.loc["V2-L, counted at 240 px"].expected_spread == "3095.3603"


def test_readings_go_from_the_text_to_the_table():
    found = work.readings.readings("V2-B0-shared", 224)
    assert found[0].convention == found[0].against == ""
    assert "running statistics" in found[1].convention and "thesis_tables" in found[2].convention
    assert "§4.5.1" in found[1].against and "§4.5.3" in found[2].against


def test_shares_by_depth_add_up():
    depth = work.by_depth(work.counts("V2-B0", 224).learnable())
    assert depth.contexts.sum() == pytest.approx(1, abs=1e-9)
    assert depth.surprisal.sum() == pytest.approx(1, abs=1e-9)
    assert depth.entries.sum() == 7_139_704
    assert set(depth.kind) == {
        "convolution", "batch norm", "depthwise", "squeeze–excite", "classifier"
    }  # fmt: skip


def test_resnet_biases_explain_the_printed_entropy():
    without = work.quantities("ResNet-50", 384)
    with_bias = work.readings.readings("ResNet-50", 380)[-1].quantities
    assert round(without.entropy, 1) == 13.2
    assert round(with_bias.entropy, 1) == 13.3
    assert with_bias.parameters == 25_636_712


def test_sharing_in_the_model_is_sharing_in_the_counts():
    merged = work.quantities("V2-B0", 224, "all", sharing.all_but_bn)
    assert merged.parameters == 3_018_800
    assert merged.weight_nodes == work.quantities("V2-B0", 224).weight_nodes
