"""NAS-Bench's networks: as published, and counted from pieces as from the whole."""

import random
from itertools import pairwise

import pandas as pd
import pytest

from reuseprior import paths
from reuseprior.chapters.beyond import survey
from reuseprior.contexts import multiply_adds, operator_paths, record_model
from reuseprior.measures.measuring import Conventions, measure
from reuseprior.models import ModelError, catalog, nas_bench_201, nas_bench_macro

OFFICIAL = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|avg_pool_3x3~2|"


def recorded(cell):
    return record_model(catalog.build(f"nas-bench-201:{cell}"), (1, 3, 32, 32))


def test_both_ways_to_write_a_cell():
    assert nas_bench_201.code(OFFICIAL) == nas_bench_201.code("301004") == "301004"
    names = catalog.matching("nas-bench-201:33333?")
    assert names == [f"nas-bench-201:33333{digit}" for digit in "01234"]
    assert catalog.image_size(f"nas-bench-201:{OFFICIAL}") == 32


@pytest.mark.parametrize(("name", "message"), [
    ("nas-bench-201:", "'' is no cell of NAS-Bench-201: write six digits"),
    ("nas-bench-201:333335", "'333335' is no cell"),
    (f"nas-bench-201:{OFFICIAL.replace('3x3~0', '3x2~0')}", "no operation, did you mean 'nor_c"),
    (f"nas-bench-201:{OFFICIAL.replace('~2', '~1')}", "is no cell of NAS-Bench-201"),
    ("nas-bench-macro:0123", "'0123' is no network of NAS-Bench-Macro: write eight digits"),
    ("nas-bench-macro:00000003", "is no network of NAS-Bench-Macro"),
])  # fmt: skip
def test_what_is_no_network(name, message):
    with pytest.raises(ModelError, match=message.replace("(", r"\(")):
        catalog.find(name)


def test_live_edges():
    """Against all paths of a cell, listed one by one."""
    ends = {0: (1, 2, 3), 1: (2, 3), 2: (3,)}
    for code in random.Random(0).sample(nas_bench_201.codes(), 300):
        digits = dict(zip(nas_bench_201.EDGES, code, strict=True))
        live, paths_ = set(), [[0]]
        while paths_:
            path = paths_.pop()
            if path[-1] == 3:
                live |= set(pairwise(path))
                continue
            paths_ += [[*path, e] for e in ends[path[-1]] if digits[path[-1], e] != "0"]
        expected = "".join(d if edge in live else "0" for edge, d in digits.items())
        assert nas_bench_201.live(code) == expected


def test_parameters_are_the_published_ones():
    """All 6,561 networks of Macro would take a minute; every 800th has all blocks and places."""
    macro = survey.find("nas-bench-macro").read()
    for row in macro[::800].itertuples():
        network = nas_bench_macro.nas_bench_macro(row.network)
        assert sum(p.numel() for p in network.parameters()) == row.parameters
        assert multiply_adds(record_model(network, (1, 3, 32, 32))) == row.multiply_adds


def test_cells_have_the_published_parameters():
    published = survey.zero_cost_scores().query("dataset == 'cifar10'")
    found = published["cell"].map(nas_bench_201.parameters)
    assert (found / 1e6 - published["params"]).abs().max() < 1e-6
    for code in ("000000", "123401", "303030"):
        network = catalog.build(f"nas-bench-201:{code}")
        assert sum(p.numel() for p in network.parameters()) == nas_bench_201.parameters(code)


@pytest.mark.slow
def test_cells_have_the_published_flops():
    """The benchmark's also count norms, activations and poolings: 3 and 9 for each position."""
    published = survey.zero_cost_scores().query("dataset == 'cifar10'").set_index("cell")
    positions = nas_bench_201.CELLS * sum(
        channels * (32 >> stage) ** 2 for stage, channels in enumerate(nas_bench_201.CHANNELS)
    )
    live = [code for code in published.index if "0" not in code][::8]
    assert len(live) > 20
    for code in live:
        convolutions, poolings = code.count("2") + code.count("3"), code.count("4")
        extra = positions * (3 * convolutions + 9 * poolings) + 160_832  # outside the cells
        expected = multiply_adds(recorded(code)) + extra
        # 8 digits are kept
        assert published.loc[code, "flops"] * 1e6 == pytest.approx(expected, abs=10)


def test_a_cell_that_no_path_passes():
    found = measure("nas-bench-201:330000", Conventions())
    assert found.blur == float("inf")
    assert found.held == nas_bench_201.parameters("330000") > found.quantities.parameters


def test_blur_of_cells_by_hand():
    """Every path of a chain of poolings passes them all; a skip beside a pooling halves that."""
    pooled, half = (operator_paths(recorded(code)) for code in ("000400", "400140"))
    assert pooled.log2_paths == pytest.approx(2)  # the two reductions have two paths each
    nine = 3.169925001442312
    reductions = 2 * (1 - 0.3219280948873623)  # each keeps (1 + 1/4)/2
    assert pooled.log2_kept == pytest.approx(-15 * nine - reductions)
    assert half.log2_paths == pytest.approx(17)
    assert half.layers == pooled.layers == pytest.approx(2 + 2 * 1.5)


def test_tables_of_accuracies():
    cells = survey.find("nas-bench-201").read()
    best = [cells[data].max().round(2) for data in survey.DATA_SETS]
    assert best == [94.37, 73.51, 47.31]
    assert (len(cells), cells["cell"].nunique(), cells["model"].nunique()) == (15625, 15625, 9445)
    macro = survey.find("nas-bench-macro").read()
    assert sorted(macro["network"]) == nas_bench_macro.codes()
    timm = pd.read_csv(paths.ROOT / "data" / "benchmarks" / "timm-in1k.csv")
    assert timm["model"].str.partition(".")[0].is_unique
    assert not timm["model"].str.contains("in2[12]k|in12k|jft|laion|dist|ig1b").any()
    assert len(survey.find("torchvision").read()) == 75
    with pytest.raises(ValueError, match="no benchmark 'tim', did you mean 'timm'"):
        survey.find("tim")
