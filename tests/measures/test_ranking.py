"""Rankings of many models: patterns, processes, the cache and the file that is taken up again."""

import csv
import json
import sys

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from typer.testing import CliRunner

from reuseprior.cli import app
from reuseprior.contexts import TracedModel, fingerprint, multiply_adds, rule, rules, trace_model
from reuseprior.measures import measuring
from reuseprior.measures.measuring import COLUMNS, Conventions, Ranking
from reuseprior.models import ModelError, catalog
from reuseprior.results import ResultError
from tests.contexts.zoo import Calls, ones

NETS = """
from torch import nn

def wide(n=8):
    return nn.Sequential(nn.Conv2d(3, n, 3), nn.Flatten(), nn.Linear(n * 36, 4))

def narrow():
    return wide(2)

def failing():
    raise OSError("no checkpoint")
"""
SMALL = Conventions(image_size=8)


@pytest.fixture(autouse=True)
def nets(tmp_path, monkeypatch):
    """A module of models in the current directory, and a cache of the test's own."""
    (tmp_path / "nets.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield
    sys.modules.pop("nets", None)


def rank(*arguments):
    return CliRunner().invoke(app, ["rank", *map(str, arguments), "--image-size", "8"])


def test_patterns():
    found = catalog.matching("torchvision:resnet1*")
    assert found == [f"torchvision:resnet{n}" for n in (101, 152, 18)]
    assert catalog.matching("EfficientNetV2-B?") == [f"efficientnetv2-b{i}" for i in range(4)]
    with pytest.raises(ModelError, match="did you mean 'torchvision'"):
        catalog.find("torchvison:resnet18")


# The cache ------------------------------------------------------------------------------------


def test_equal_records_are_counted_once(monkeypatch):
    cache = measuring.cache_folder()
    first = measuring.measure("nets:wide", SMALL, cache)
    assert len(list(cache.glob("*.json"))) == 1
    monkeypatch.setattr(TracedModel, "count", None)  # counting again would fail
    assert measuring.measure("nets:wide", SMALL, cache).quantities == first.quantities
    with pytest.raises(TypeError):
        measuring.measure("nets:narrow", SMALL, cache)
    monkeypatch.undo()
    (file,) = cache.glob("*.json")
    file.write_text('{"parameters": 1}')  # spoilt: counted and kept anew
    assert measuring.measure("nets:wide", SMALL, cache).quantities == first.quantities
    assert json.loads(file.read_text())["parameters"] == first.quantities.parameters


def net(**options):
    return nn.Sequential(nn.Conv2d(3, 4, 3, **options), nn.ReLU(), nn.Conv2d(4, 4, 1))


def picks(*rows):
    table = {"rows": nn.Buffer(torch.tensor(rows)), "table": ones(3, 2)}
    return Calls(lambda self, x: x + self.table[self.rows], **table)


def test_a_fingerprint_tells_records_apart():
    """By values of tables too."""

    def of(model, shape=(1, 3, 8, 8)):
        return fingerprint(trace_model(model, shape))

    same, tied = of(net()), net()
    assert same == of(net())
    tied[2].bias = tied[0].bias
    assert len({same, of(net(padding=1)), of(net(), (1, 3, 9, 9)), of(tied)}) == 4
    assert of(picks(0, 1), (1, 2, 2)) != of(picks(1, 1), (1, 2, 2))


def test_rules_from_outside_are_not_cached(monkeypatch):
    operator, traced = torch.ops.aten.relu.default, trace_model(net(), (1, 3, 8, 8))
    monkeypatch.delitem(rules.RULES, operator)
    monkeypatch.delitem(rules.OP_METADATA, operator)
    rule(operator)(lambda count, x: iter([(x, count)]))
    assert fingerprint(traced) is None


@pytest.mark.parametrize("name", ["torchvision:resnet18", "torchvision:swin_t", "V2-B0"])
def test_multiply_adds_are_those_of_the_flop_counter(name):
    model, images = catalog.build(name).to("meta").eval(), torch.empty(1, 3, 64, 64, device="meta")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(images)
    traced = trace_model(catalog.build(name), images.shape)
    assert multiply_adds(traced) == counter.get_total_flops() // 2


# Many models ------------------------------------------------------------------------------------


def test_a_ranking_goes_on_where_it_stopped(tmp_path, monkeypatch):
    file = tmp_path / "zoo.csv"
    assert rank("nets:wide", "nets:failing", "--save", file).exit_code == 1
    with file.open(newline="") as lines:
        wide, failing = csv.DictReader(lines)
    assert tuple(wide) == COLUMNS
    assert (wide["model"], wide["held"], wide["parameters"]) == ("nets:wide", "1380", "1380")
    assert wide["multiply_adds"] == str(36 * 27 * 8 + 288 * 4)
    assert "no checkpoint" in failing["reason"]

    measured = []
    measure = measuring.measure
    monkeypatch.setattr(
        measuring, "measure", lambda name, *rest: measured.append(name) or measure(name, *rest)
    )
    result = rank("nets:wide", "nets:failing", "nets:narrow", "--save", file)
    assert measured == ["nets:failing", "nets:narrow"]
    assert "nets:wide" in result.stdout and "not counted: nets:failing" in result.stderr
    other = Conventions(image_size=9)
    assert Ranking(other, file).missing(["nets:wide"]) == [("nets:wide", other)]


def flipped(whole):
    """A file with one bit of a byte flipped, byte by byte."""
    for at, byte in enumerate(whole):
        yield at, whole[:at] + bytes([byte ^ 1 << 2 * (at % 3)]) + whole[at + 1 :]


def test_edited_and_damaged_counts_are_not_shown(tmp_path):
    """Neither those of the cache nor those of a saved ranking, whatever byte is another."""
    first = measuring.measure("nets:wide", SMALL, tmp_path / "cache")
    (kept,) = (tmp_path / "cache").iterdir()
    whole = kept.read_bytes()
    for at, damaged in flipped(whole):
        kept.write_bytes(damaged)
        assert measuring._kept(kept) in (None, first.quantities), at
    for old, new in (("1380", "1381"), ('"P_G": ', '"P_G": 1'), ("1380", "138")):
        kept.write_text(whole.decode().replace(old, new))
        assert measuring._kept(kept) is None
    file = tmp_path / "zoo.csv"
    ranking = Ranking(SMALL, file)
    ranking.add(first)
    ranking.close()
    whole = file.read_bytes()
    for _, damaged in flipped(whole):
        file.write_bytes(damaged)
        with pytest.raises(ResultError):
            Ranking(SMALL, file)
    file.write_bytes(whole)
    assert Ranking(SMALL, file).missing(["nets:wide"]) == []


def test_a_file_keeps_what_was_refused_and_refuses_what_is_no_number(tmp_path):
    file = tmp_path / "zoo.csv"
    rank("nets:wide", "nets:failing", "--save", file)
    rank("nets:narrow", "--save", file)
    lines = file.read_text().splitlines()
    names = ["nets:wide", "nets:narrow", "nets:failing"]
    assert [line.partition(",")[0] for line in lines[1:]] == names
    column = lines[0].split(",").index("P_G_spread")
    for wrong in ("abc", "", "nan"):
        cells = lines[2].split(",")
        cells[column] = wrong
        file.write_text("\n".join([*lines[:2], ",".join(cells), lines[3], ""]))
        result = rank("nets:narrow", "--save", file)
        assert result.exit_code == 2 and f"P_G_spread in line 3 of {file} is " in result.stderr


def test_a_model_without_a_path_ranks_lowest_and_is_told():
    dead, least = "nas-bench-201:300000", "nas-bench-201:000100"
    result = rank(least, dead)
    header, *rows = result.stdout.splitlines()
    assert [line.split()[0] for line in rows[:2]] == [least, dead]
    assert f"{dead}: no input reaches the output: it ranks lowest" in result.stderr
    for column in ("N_G", "multiply-adds", "E[log2 |C|]", "H", "P_G", "P′_G", "input", "seconds"):
        assert column in header
