"""Contenders of equal budgets: their names and rivals, and what is made of their runs."""

import re
from dataclasses import asdict
from math import sqrt

import pytest

from reuseprior.errors import UserError
from reuseprior.training import Protocol, contenders
from reuseprior.training.contenders import SHALLOW, SMALL, WIDE, Contender, parameters_of, shared
from tests.chapters import runs

WAYS = {
    WIDE: "plain",
    SMALL: "plain",
    Contender("wrn-16-2", "stores:10%,weighted,map=0010"): "stores (weighted, learned mapping)",
    Contender("wrn-16-2", "stores:10%"): "stores",
    Contender("wrn-16-2", "all_but_bn"): "scopes",
    Contender("wrn-16-2", "scopes:all_but_bn"): "scopes",
    Contender("wrn-16-2", "channels:4"): "channels (depthwise)",
    Contender("wrn-16-2", "channels:4,full,norms"): "channels (full, norms)",
    Contender("wrn-10-2", width=0.5): "shallower",
    Contender("vs-xception", width=0.2): "narrower",
}


def test_what_a_reader_calls_them_and_names_are_folders_that_tell_them_apart():
    assert {one: one.way for one in WAYS} == WAYS
    names = {one.name for one in WAYS}
    assert len(names) == len(WAYS) and re.fullmatch(r"[\w.-]+", "".join(names), re.ASCII)


RIVALS = [(WIDE.model, 100_000), (SHALLOW, 20_000), (SMALL.model, 20_000)]


@pytest.mark.parametrize(("model", "budget"), RIVALS)
def test_a_rival_stores_no_more_and_is_the_widest(model, budget):
    rival = contenders.rival(model, budget)
    assert rival.sharing == "none" and 0.85 * budget < parameters_of(rival) <= budget
    wider = (rival.width + i / contenders.GRAIN for i in range(1, 12))
    sizes = [parameters_of(Contender(model, width=width)) for width in wider]
    assert all(n > budget or n == parameters_of(rival) for n in sizes) and sizes[-1] > budget
    size = parameters_of(Contender(model, width=0.5))
    assert contenders.rival(model, size).width == 0.5, "the roundest of those that store as much"
    with pytest.raises(UserError, match=f"no {model} stores 100 parameters or fewer"):
        contenders.rival(model, 100)


def record(root, one, seed, accuracy, experiment="channels", **changed):
    state, data = changed.pop("state", "finished"), changed.pop("data", "cifar10")
    protocol = asdict(Protocol.load("stores", width=one.width)) | changed
    config = {"model": one.model, "sharing": one.sharing, "seed": seed, "data": data}
    config |= {"parameters": parameters_of(one), "protocol": protocol}
    place = root / experiment / f"{one.name}-seed{seed}"
    runs.record(place, config, {"epoch": [1]}, state=state, test_accuracy=accuracy)


def test_runs_of_all_experiments_are_read_and_compared(tmp_path):
    assert contenders.runs(tmp_path) == [] and contenders.compared([]).empty
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
    found = contenders.compared(contenders.runs(tmp_path)).set_index("way")
    assert found.seeds.to_dict() == {
        "plain": 2, "channels (depthwise)": 2, "stores (weighted, mask, learned mapping)": 2,
    }  # fmt: skip
    row = found.loc["channels (depthwise)"]
    assert row.accuracy == pytest.approx(55) and row.sd == pytest.approx(sqrt(50))
    q, cost = contenders.counted(four)
    assert (row.P_G, row.multiply_adds) == (q.P_G, cost)
    assert cost == contenders.counted(SMALL)[1]  # sharing saves no multiply-add


def test_a_network_that_shares_is_set_against_rivals_of_its_size_and_family(tmp_path):
    stored = shared(WIDE, "stores:10%", "weighted", "mask")
    size = parameters_of(stored)
    for model in (WIDE.model, SMALL.model):
        for seed, accuracy in enumerate((0.5, 0.51)):
            record(tmp_path, contenders.rival(model, size), seed, accuracy)
    record(tmp_path, contenders.rival(WIDE.model, size // 2), 0, 0.4)
    record(tmp_path, shared(SMALL, "channels:4"), 0, 0.5)  # of which no rival is there
    record(tmp_path, stored, 0, 0.6)
    (line,) = contenders.against_rivals(contenders.compared(contenders.runs(tmp_path)))
    assert line.startswith(f"{stored.name} and wrn-16-2-width") and "too few seeds" in line
    record(tmp_path, stored, 1, 0.61)
    (line,) = contenders.against_rivals(contenders.compared(contenders.runs(tmp_path)))
    assert "(60.5 % against 50.5 %;" in line and "above" in line


def test_a_training_is_recorded_and_goes_on(tmp_path, monkeypatch):
    few = Protocol.load("stores", epochs=1, train_images=64, test_images=32, batch_size=32,
                        image_size=8, test_image_size=8)  # fmt: skip
    monkeypatch.setattr(contenders.Protocol, "load", lambda _, **changes: few.changed(changes))
    monkeypatch.setattr(contenders, "DATA", "digits")
    one = shared(SMALL, "channels:8")
    run = contenders.train_one(one, "channels", root=tmp_path, progress=False)
    assert contenders.contender(run) == one and run.config["parameters"] == parameters_of(one)
    monkeypatch.setattr(contenders, "train", None)  # another training would fail
    again = contenders.train_one(one, "channels", root=tmp_path, progress=False)
    assert again.summary == run.summary and len(contenders.runs(tmp_path)) == 1
