"""Contenders of equal budgets, and what is made of their runs."""

import json

import pytest

from reuseprior import data
from reuseprior.errors import UserError
from reuseprior.training import Protocol
from reuseprior.works.npas import experiments
from reuseprior.works.npas.experiments import Contender, contenders, parameters_of, rival, stores


def test_rivals_store_no_more_and_nearly_as_much():
    total = parameters_of(Contender())
    assert total == 691_674
    for percent in experiments.BUDGETS:
        budget = total * percent // 100
        shared = stores(percent, "weighted", "mask")
        assert 0.99 * budget <= parameters_of(shared) <= budget
        for model in (experiments.MODEL, experiments.SHALLOW):
            assert 0.9 * budget <= parameters_of(rival(model, budget)) <= budget
    with pytest.raises(UserError, match="no wrn-16-2 holds 100 parameters or fewer"):
        rival(experiments.MODEL, 100)


def test_contenders_are_told_apart_by_their_names():
    listed = list(contenders())
    assert len({one.name for one in listed}) == len(listed) == 36
    kinds = {one.kind for one in listed}
    assert {
        "plain",
        "narrower",
        "shallower",
        "stores (weighted, mask)",
        "scopes (all_but_bn)",
    } <= kinds
    assert all(set(one.name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-_.") for one in listed)


def tiny(monkeypatch):
    """The comparison on the digits, two steps long."""
    few = Protocol.load("stores", epochs=1, train_images=64, test_images=32, batch_size=32,
                        image_size=8, test_image_size=8)  # fmt: skip

    def load(name, **changes):
        return few.changed({k: v for k, v in changes.items() if k != "epochs"})

    monkeypatch.setattr(experiments.Protocol, "load", load)
    monkeypatch.setattr(experiments, "DATA", "digits")
    return data


def test_runs_are_recorded_compared_and_resumed(monkeypatch, tmp_path):
    tiny(monkeypatch)
    total = parameters_of(Contender())
    trained = [stores(10, "weighted", "mask"), rival(experiments.MODEL, total // 10)]
    for one in trained:
        for seed in (0, 1):
            run = experiments.train_one(one, seed=seed, root=tmp_path, progress=False)
            again = experiments.train_one(one, seed=seed, root=tmp_path, progress=False)
            assert again.summary == run.summary
            assert experiments.contender(run) == one
    mapped = experiments.learned(10, 3, root=tmp_path)
    digits = mapped.sharing.rpartition("map=")[2]
    assert len(digits) == 16 and set(digits) == set("012")
    experiments.train_one(mapped, root=tmp_path, progress=False)
    models = experiments.compared(experiments.runs(tmp_path))
    assert list(models.seeds) == [2, 1, 2] or sorted(models.seeds) == [1, 2, 2]
    assert set(models.kind) == {
        "narrower", "stores (weighted, mask)", "stores (weighted, mask, learned mapping)",
    }  # fmt: skip
    lines = experiments.against_rivals(models)
    assert len(lines) == 2 and sum("too few seeds" in line for line in lines) == 1
    config = json.loads(
        (tmp_path / "stores" / f"{trained[0].name}-seed0" / "config.json").read_text()
    )
    assert config["sharing"] == "stores:10%,weighted,mask" and config["parameters"] == 69_167
