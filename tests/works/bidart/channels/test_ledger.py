"""Verdicts on what chapter 3 prints, and what they are when a printed number is falsified."""

import re
from collections import Counter
from functools import cache

import pytest

from reuseprior.press.ledger import KINDS
from reuseprior.works.bidart.channels import PARTS, clustering, ledger
from tests.works.printed import falsified, table


@cache
def whole():
    """All entries as printed, by id."""
    return {e.id: e for make in PARTS.values() for e in make()}


def test_every_printed_cell_has_an_entry_of_its_place():
    for place, make in PARTS.items():
        assert all(entry.where.startswith(place) for entry in make())
    assert set(table("bidart/chapter-3-text").id) <= set(whole())
    for name in NUMBERS:
        for _, row in table(f"bidart/{name}").iterrows():
            cells = {
                c for c, text in row.items() if NUMBER.fullmatch(str(text)) and c not in LABELS
            }
            assert {f"{row.id}/{cell}" for cell in cells} <= set(whole()), row.id
    assert all(e.verdict in KINDS[e.kind] for e in whole().values())
    assert all(e.where in PARTS for e in whole().values())


NUMBERS = ["chapter-3-table-6"]
NUMBER, LABELS = re.compile(r"[0-9.]+"), {"factor"}


def test_verdicts():
    found = Counter((e.kind, e.verdict) for e in whole().values() if e.kind != "measured")
    assert found == {
        ("computed", "reproduced"): 1,
        ("computed", "unsaid"): 3,
        ("derived", "reproduced"): 8,
        ("proved", "holds"): 8,
        ("proved", "unsaid"): 4,
        ("proved", "corrected"): 1,
        ("quoted", "confirmed"): 7,
        ("quoted", "differs"): 1,
        ("quoted", "unchecked"): 2,
        ("setting", "used"): 13,
    }


def test_what_half_of_the_convolution_parameters_is():
    notes = {i: whole()[f"bidart-3-{i}"].note for i in ("half-cifar", "half-imagenet")}
    assert "of all convolutions, 0.42% of xception-cifar" in notes["half-cifar"]
    assert "shared.* saves 33.94% of depthwise kernels" in notes["half-cifar"]
    assert "1.72% of torchvision:efficientnet_b0" in notes["half-imagenet"]


FALSE = [  # table, row, column, text, kind and verdict then
    ("chapter-3-table-6", "bidart-3-6-half", "remaining", "51", "not reproduced"),
    ("chapter-3-text", "bidart-3-b0", "value", "5.4M", "not reproduced"),
    ("chapter-3-text", "bidart-3-half-cifar", "value", "51", "not reproduced"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "row", "column", "text", "verdict"), FALSE)
def test_a_falsified_number_is_not_reproduced(monkeypatch, name, row, column, text, verdict):
    falsified(monkeypatch, f"bidart/{name}", row, column, text)
    place = table(f"bidart/{name}").set_index("id")["where"][row]
    make = PARTS[place]
    identity = row if column == "value" else f"{row}/{column}"
    (found,) = (e for e in make() if e.id == identity)
    assert found.verdict == verdict


SETTINGS = [  # row, another value; what changes with it
    ("bidart-3-epochs", "299"), ("bidart-3-batch", "33"), ("bidart-3-step-factor", "4"),
    ("bidart-3-step-epochs", "51"), ("bidart-3-rate", "0.2"), ("bidart-3-decay", "0.0002"),
    ("bidart-3-momentum", "0.8"),
]  # fmt: skip


@pytest.mark.parametrize(("row", "text"), SETTINGS)
def test_settings_are_those_of_the_protocol(monkeypatch, row, text):
    assert whole()[row].note.endswith("the protocol `bidart` carries it")
    falsified(monkeypatch, "bidart/chapter-3-text", row, "value", text)
    (found,) = (e for e in PARTS[whole()[row].where]() if e.id == row)
    assert found.note.endswith("the protocol `bidart` has another value")


def test_settings_of_imagenet_choose_the_runs_and_those_of_figure_3_8_the_basis(monkeypatch):
    row = next(r for _, r in table("bidart/chapter-3-table-6").iterrows() if r.factor == "2")
    before = ledger._on_imagenet(row, "top1").config["protocol"]
    for identity, text, key in [
        ("imagenet-epochs", "551", "epochs"), ("imagenet-batch", "121", "batch_size"),
        ("imagenet-rate", "0.073", "learning_rate"),
    ]:  # fmt: skip
        falsified(monkeypatch, "bidart/chapter-3-text", f"bidart-3-{identity}", "value", text)
        assert ledger._on_imagenet(row, "top1").config["protocol"][key] != before[key]
    falsified(monkeypatch, "bidart/chapter-3-text", "bidart-3-basis", "value", "17")
    assert clustering.printed("figure 3.8: basis weights") == 17
    falsified(monkeypatch, "bidart/chapter-3-text", "bidart-3-cluster-epochs", "value", "76")
    assert clustering.setup("full")[1].epochs == 76
