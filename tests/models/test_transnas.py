"""TransNAS-Bench-101's and FlexiBERT's networks: names, sizes by hand, and that they run."""

import pytest
import torch

from reuseprior.chapters.beyond import survey
from reuseprior.measures.measuring import Conventions, measure
from reuseprior.models import ModelError, catalog, flexibert, transnas


@pytest.mark.parametrize(("name", "message"), [
    ("transnas-macro:1111", "is no macro network of TransNAS-Bench-101: write four to six"),
    ("transnas-macro:444411", "is no macro network"),
    ("transnas-micro:333334", "'333334' is no cell of TransNAS-Bench-101"),
    ("flexibert:256", "is no FlexiBERT encoder: write the hidden size and the layers"),
    ("flexibert:256-sa.dft.4.1024x3", "is no FlexiBERT encoder"),
    ("flexibert:255-sa.sdp.4.1024x3", "is no FlexiBERT encoder"),
])  # fmt: skip
def test_what_is_no_network(name, message):
    with pytest.raises(ModelError, match=message):
        catalog.find(name)


def test_the_names_are_the_benchmarks_own():
    macro = survey.find("transnas-macro").read()
    assert sorted(macro["modules"]) == sorted(transnas.macro_codes())
    micro = survey.find("transnas-micro").read()
    assert sorted(micro["cell"]) == transnas.micro_codes()
    encoders = survey.find("flexibert").read()
    assert (len(encoders), encoders["encoder"].nunique()) == (500, 491)
    assert all(flexibert.parse(text) for text in encoders["encoder"])
    assert catalog.image_size("transnas-micro:333333") == 256


def parameters(name):
    return sum(p.numel() for p in catalog.build(name).parameters())


def test_parameters_by_hand():
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


def test_they_run_and_are_counted():
    for code in ("macro:42433", "macro:1234", "macro:131241", "micro:101011", "micro:030003"):
        network = catalog.build(f"transnas-{code}", lazy=False).eval()
        assert network(torch.zeros(1, 3, 64, 64)).shape == (1, 75)
    for operation in ("sa.sdp", "sa.wma", "lt.dft", "dsc.5", "dsc.9"):
        for heads in (2, 4):
            name = f"flexibert:128-{operation}.{heads}.512x1"
            network = catalog.build(name, lazy=False).eval()
            assert network(torch.randn(flexibert.SHAPE)).shape == (1, 2)
            found = measure(name, Conventions(shape=flexibert.SHAPE))
            assert found.shortest == 2 and found.quantities.parameters <= found.held
    # a cell without a path has no signal
    found = measure("transnas-micro:000001", Conventions(64))
    assert (found.blur, found.shortest, found.layer_entropy) == (float("inf"), 0, 0.0)
