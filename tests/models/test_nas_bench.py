"""Networks that searches choose among: as published, of the sizes that they say, and that run."""

import random
from itertools import pairwise

import pandas as pd
import pytest
import torch

from reuseprior import paths
from reuseprior.chapters.beyond import survey
from reuseprior.contexts import multiply_adds, operator_paths, trace_model
from reuseprior.measures.measuring import Conventions, measure
from reuseprior.measures.scores import signal_paths
from reuseprior.models import catalog, flexibert, nas_bench

OFFICIAL = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|avg_pool_3x3~2|"


def parameters(name):
    return sum(p.numel() for p in catalog.build(name).parameters())


def traced(cell):
    return trace_model(catalog.build(f"nas-bench-201:{cell}"), (1, 3, 32, 32))


def test_both_ways_to_write_a_cell():
    assert nas_bench.code(OFFICIAL) == nas_bench.code("301004") == "301004"
    names = catalog.matching("nas-bench-201:33333?")
    assert names == [f"nas-bench-201:33333{digit}" for digit in "01234"]
    assert catalog.image_size(f"nas-bench-201:{OFFICIAL}") == 32


def test_live_edges():
    """Against all paths of a cell, listed one by one."""
    ends = {0: (1, 2, 3), 1: (2, 3), 2: (3,)}
    for code in random.Random(0).sample(nas_bench.codes(), 300):
        digits = dict(zip(nas_bench.EDGES, code, strict=True))
        live, paths_ = set(), [[0]]
        while paths_:
            path = paths_.pop()
            if path[-1] == 3:
                live |= set(pairwise(path))
                continue
            paths_ += [[*path, e] for e in ends[path[-1]] if digits[path[-1], e] != "0"]
        expected = "".join(d if edge in live else "0" for edge, d in digits.items())
        assert nas_bench.live(code) == expected


@pytest.mark.slow
def test_parameters_are_the_published_ones():
    """All 6,561 networks of Macro would take a minute; every 800th has all blocks and places."""
    macro = survey.find("nas-bench-macro").read()
    for row in macro[::800].itertuples():
        network = nas_bench.nas_bench_macro(row.network)
        assert sum(p.numel() for p in network.parameters()) == row.parameters
        assert multiply_adds(trace_model(network, (1, 3, 32, 32))) == row.multiply_adds


def test_cells_have_the_published_parameters():
    published = survey.zero_cost_scores().query("dataset == 'cifar10'")
    found = published["cell"].map(nas_bench.parameters)
    assert (found / 1e6 - published["params"]).abs().max() < 1e-6
    for code in ("000000", "123401", "303030"):
        assert parameters(f"nas-bench-201:{code}") == nas_bench.parameters(code)


@pytest.mark.slow
def test_cells_have_the_published_flops():
    """The benchmark's also count norms, activations and poolings: 3 and 9 for each position."""
    published = survey.zero_cost_scores().query("dataset == 'cifar10'").set_index("cell")
    positions = nas_bench.CELLS * sum(
        channels * (32 >> stage) ** 2 for stage, channels in enumerate(nas_bench.CHANNELS)
    )
    live = [code for code in published.index if "0" not in code][::40]
    assert len(live) > 4
    for code in live:
        convolutions, poolings = code.count("2") + code.count("3"), code.count("4")
        extra = positions * (3 * convolutions + 9 * poolings) + 160_832  # outside the cells
        expected = multiply_adds(traced(code)) + extra
        # 8 digits are kept
        assert published.loc[code, "flops"] * 1e6 == pytest.approx(expected, abs=10)


def test_a_cell_that_no_path_passes():
    found = measure("nas-bench-201:330000", Conventions())
    assert found.held == nas_bench.parameters("330000") > found.quantities.parameters
    for one in (found, measure("transnas-micro:000001", Conventions(64))):
        assert (one.blur, one.shortest, one.layer_entropy) == (float("inf"), 0, 0.0)


def test_blur_of_cells_by_hand():
    """Every path of a chain of poolings passes them all; a skip beside a pooling halves that."""
    pooled, half = (operator_paths(traced(code)) for code in ("000400", "400140"))
    assert pooled.log2_paths == pytest.approx(2)  # the two reductions have two paths each
    nine = 3.169925001442312
    reductions = 2 * (1 - 0.3219280948873623)  # each keeps (1 + 1/4)/2
    assert pooled.log2_kept == pytest.approx(-15 * nine - reductions)
    assert half.log2_paths == pytest.approx(17)
    assert half.layers == pooled.layers == pytest.approx(2 + 2 * 1.5)


def test_tables_of_accuracies():
    """Published bests, the benchmarks' own names, and timm's models without other images."""
    cells = survey.find("nas-bench-201").read()
    best = [cells[data].max().round(2) for data in survey.DATA_SETS]
    assert best == [94.37, 73.51, 47.31]
    assert (len(cells), cells["cell"].nunique(), cells["model"].nunique()) == (15625, 15625, 9445)
    for name, column, codes in (
        ("nas-bench-macro", "network", nas_bench.nas_bench_macro_codes()),
        ("transnas-macro", "modules", sorted(nas_bench.transnas_macro_codes())),
        ("transnas-micro", "cell", nas_bench.transnas_micro_codes()),
    ):
        assert sorted(survey.find(name).read()[column]) == codes
    encoders = survey.find("flexibert").read()
    assert (len(encoders), encoders["encoder"].nunique()) == (500, 491)
    assert all(flexibert.parse(text) for text in encoders["encoder"])
    assert catalog.image_size("transnas-micro:333333") == 256
    timm = pd.read_csv(paths.ROOT / "data" / "benchmarks" / "timm-in1k.csv")
    assert timm["model"].str.partition(".")[0].is_unique
    assert not timm["model"].str.contains("in2[12]k|in12k|jft|laion|dist|ig1b").any()
    assert len(survey.find("torchvision").read()) == 75
    with pytest.raises(ValueError, match="no benchmark 'tim', did you mean 'timm'"):
        survey.find("tim")


def test_parameters_of_transnas_and_flexibert_by_hand():
    stem = 3 * 32 * 9 + 2 * 32 + 32 * 64 * 9 + 2 * 64

    def block(before, channels, changes):
        both = 9 * (before + channels) * channels + 4 * channels
        return both + (before * channels + 2 * channels if changes else 0)

    head = 128 * 75 + 75
    plain = 6 * block(64, 64, False)
    last = block(64, 128, True) + block(128, 128, False)
    assert parameters("transnas-macro:1114") == stem + plain + last + head
    # skips alone: of 10 cells, those with new channels have two 1×1 convolutions and a norm
    changes = [(64, 128), (128, 256), (256, 512)]
    skips = sum(a * b + 2 * b for a, b in changes)
    assert parameters("transnas-micro:000100") == stem + skips + 512 * 75 + 75
    # projection, query, key, value, output; two layers of 512 and back; norms; head
    h = 256
    attention = 4 * (h * h + h)
    feed = h * 512 + 512 + 512 * 512 + 512 + 512 * h + h
    whole = 128 * h + h + attention + feed + 4 * h + h * h + h + 2 * h + 2
    assert parameters("flexibert:256-sa.sdp.4.512x2") == whole
    assert parameters("flexibert:256-sa.wma.4.512x2") == whole + h * h
    assert parameters("flexibert:256-lt.dct.4.512x2") == whole - 2 * (h * h + h)


def test_transnas_and_flexibert_run_and_are_counted():
    for code in ("macro:42433", "macro:1234", "macro:131241", "micro:101011", "micro:030003"):
        network = catalog.build(f"transnas-{code}", lazy=False).eval()
        assert network(torch.zeros(1, 3, 64, 64)).shape == (1, 75)
    for operation in ("sa.sdp.2", "sa.wma.4", "lt.dft.2", "dsc.5.2", "dsc.9.4"):
        name = f"flexibert:128-{operation}.512x1"
        network = catalog.build(name, lazy=False).eval()
        assert network(torch.randn(flexibert.SHAPE)).shape == (1, 2)
        found = measure(name, Conventions(shape=flexibert.SHAPE))
        assert found.shortest == 2 and found.quantities.parameters <= found.held


# Random cells -------------------------------------------------------------------------------------


def test_a_number_is_one_network_of_random_cells():
    plans = [nas_bench.random_plan(number) for number in range(40)]
    assert plans == list(map(nas_bench.random_plan, range(40)))
    assert len(set(map(str, plans))) > 35
    assert {len(plan.nodes) for plan in plans} == set(nas_bench.RANDOM_NODES)


def test_random_cells_run_and_every_layer_is_passed():
    for number in range(12):
        network = catalog.build(f"random-cells:{number}", lazy=False).eval()
        assert network(torch.zeros(2, 3, 16, 16)).shape == (2, 10)
        paths = signal_paths(trace_model(network, (1, 3, 16, 16)))
        layers = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
        assert len(paths.layers) == len(layers)
        assert 4 <= paths.shortest <= paths.mean_length
