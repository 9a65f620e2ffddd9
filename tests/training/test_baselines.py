"""Models of equal budgets: their names and baselines, and what is made of their runs."""

import re
from dataclasses import asdict
from math import sqrt

import pytest

from reuseprior.errors import UserError
from reuseprior.training import Protocol, baselines
from reuseprior.training.baselines import SHALLOW, SMALL, WIDE, Model, parameters_of, shared
from tests.chapters import runs

KINDS = {
    WIDE: "plain",
    SMALL: "plain",
    Model("wrn-16-2", "stores:10%,weighted,map=0010"): "stores (weighted, learned mapping)",
    Model("wrn-16-2", "stores:10%"): "stores",
    Model("wrn-16-2", "all_but_bn"): "scopes",
    Model("wrn-16-2", "scopes:all_but_bn"): "scopes",
    Model("wrn-16-2", "channels:4"): "channels (depthwise)",
    Model("wrn-16-2", "channels:4,full,norms"): "channels (full, norms)",
    Model("wrn-10-2", width=0.5): "shallower",
    Model("vs-xception", width=0.2): "narrower",
}


def test_what_a_reader_calls_them_and_names_are_folders_that_tell_them_apart():
    assert {one: one.kind for one in KINDS} == KINDS
    names = {one.name for one in KINDS}
    assert len(names) == len(KINDS) and re.fullmatch(r"[\w.-]+", "".join(names), re.ASCII)


BASELINES = [(WIDE.model, 100_000), (SHALLOW, 20_000), (SMALL.model, 20_000)]


@pytest.mark.parametrize(("model", "budget"), BASELINES)
def test_a_rival_stores_no_more_and_is_the_widest(model, budget):
    baseline = baselines.baseline(model, budget)
    assert baseline.sharing == "none" and 0.85 * budget < parameters_of(baseline) <= budget
    wider = (baseline.width + i / baselines.GRAIN for i in range(1, 12))
    sizes = [parameters_of(Model(model, width=width)) for width in wider]
    assert all(n > budget or n == parameters_of(baseline) for n in sizes) and sizes[-1] > budget
    size = parameters_of(Model(model, width=0.5))
    assert baselines.baseline(model, size).width == 0.5, "the roundest of those that store as much"
    with pytest.raises(UserError, match=f"no {model} stores 100 parameters or fewer"):
        baselines.baseline(model, 100)


def record(root, one, seed, accuracy, experiment="channels", **changed):
    state, data = changed.pop("state", "finished"), changed.pop("data", "cifar10")
    protocol = asdict(Protocol.load("stores", width=one.width)) | changed
    config = {"model": one.model, "sharing": one.sharing, "seed": seed, "data": data}
    config |= {"parameters": parameters_of(one), "protocol": protocol}
    place = root / experiment / f"{one.name}-seed{seed}"
    runs.record(place, config, {"epoch": [1]}, state=state, test_accuracy=accuracy)


def test_runs_of_all_experiments_are_read_and_compared(tmp_path):
    assert baselines.runs(tmp_path) == [] and baselines.compared([]).empty
    four = shared(SMALL, "channels:4")
    record(tmp_path, four, 0, 0.5)
    record(tmp_path, four, 1, 0.6)
    record(tmp_path, SMALL, 0, 0.7, state="interrupted")
    record(tmp_path, SMALL, 1, 0.9, data="digits")
    record(tmp_path, SMALL, 2, 0.9, epochs=500)
    for seed, mapping in enumerate(("0010", "0110")):
        record(tmp_path, WIDE, seed, 0.8, experiment="stores")
        mapped = shared(WIDE, "stores:10%", "weighted", "mask", f"map={mapping * 4}")
        record(tmp_path, mapped, seed, 0.7, experiment="stores")
    found = baselines.compared(baselines.runs(tmp_path)).set_index("kind")
    assert found.seeds.to_dict() == {
        "plain": 2, "channels (depthwise)": 2, "stores (weighted, mask, learned mapping)": 2,
    }  # fmt: skip
    row = found.loc["channels (depthwise)"]
    assert row.accuracy == pytest.approx(55) and row.sd == pytest.approx(sqrt(50))
    q, cost = baselines.counted(four)
    assert (row.P_G, row.multiply_adds) == (q.P_G, cost)
    assert cost == baselines.counted(SMALL)[1]  # sharing saves no multiply-add


def test_a_network_that_shares_is_set_against_rivals_of_its_size_and_family(tmp_path):
    stored = shared(WIDE, "stores:10%", "weighted", "mask")
    size = parameters_of(stored)
    for model in (WIDE.model, SMALL.model):
        for seed, accuracy in enumerate((0.5, 0.51)):
            record(tmp_path, baselines.baseline(model, size), seed, accuracy)
    record(tmp_path, baselines.baseline(WIDE.model, size // 2), 0, 0.4)
    record(tmp_path, shared(SMALL, "channels:4"), 0, 0.5)  # of which no baseline is there
    record(tmp_path, stored, 0, 0.6)
    (line,) = baselines.against_baselines(baselines.compared(baselines.runs(tmp_path)))
    assert line.startswith(f"{stored.name} and wrn-16-2-width") and "too few seeds" in line
    record(tmp_path, stored, 1, 0.61)
    (line,) = baselines.against_baselines(baselines.compared(baselines.runs(tmp_path)))
    assert "(60.5 % against 50.5 %;" in line and "above" in line


def test_a_training_is_recorded_and_goes_on(tmp_path, monkeypatch):
    few = Protocol.load("stores", epochs=1, train_images=64, test_images=32, batch_size=32,
                        image_size=8, test_image_size=8)  # fmt: skip
    monkeypatch.setattr(baselines.Protocol, "load", lambda _, **changes: few.changed(changes))
    monkeypatch.setattr(baselines, "DATA", "digits")
    one = shared(SMALL, "channels:8")
    run = baselines.train_one(one, "channels", root=tmp_path, progress=False)
    assert baselines.model_of(run) == one and run.config["parameters"] == parameters_of(one)
    monkeypatch.setattr(baselines, "train", None)  # another training would fail
    again = baselines.train_one(one, "channels", root=tmp_path, progress=False)
    assert again.summary == run.summary and len(baselines.runs(tmp_path)) == 1
