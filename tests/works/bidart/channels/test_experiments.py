"""What is trained, how it is read, and rivals that store no more."""

import json

import pytest
import torch

from reuseprior import data
from reuseprior.training import Protocol
from reuseprior.works.bidart.channels import clustering, experiments
from reuseprior.works.bidart.channels.experiments import (
    SMALL,
    WIDE,
    Network,
    parameters_of,
    rival,
    shared,
)


def test_rivals_store_as_much_and_not_more():
    for one in experiments.networks():
        if one.sharing == "none" or "norms" in one.sharing:
            continue
        other = rival(one)
        assert other.sharing == "none" and other in experiments.networks()
        assert 0.95 * parameters_of(one) < parameters_of(other) <= parameters_of(one)
        wider = Network(other.model, width=other.width + 1 / experiments.GRAIN)
        assert parameters_of(wider) > parameters_of(one)


def test_networks_differ_and_have_names_for_folders():
    found = experiments.networks()
    names = [one.name for one in found]
    assert len(set(names)) == len(found) and not any(set(name) & set(":,/ ") for name in names)
    assert SMALL in found and WIDE in found
    assert {experiments.way(one) for one in found} == {
        "plain", "narrower", "channels (depthwise)", "channels (full)", "channels (full, norms)",
        "channels (depthwise, pointwise)",
    }  # fmt: skip


WAYS = [
    (Network("wrn-16-2", "stores:10%,weighted,map=0010"), "stores (weighted)"),
    (Network("wrn-16-2", "stores:10%"), "stores"),
    (Network("wrn-16-2", "all_but_bn"), "scopes"),
    (Network("wrn-16-2", "scopes:all_but_bn"), "scopes"),
    (Network("wrn-10-2", width=0.5), "shallower"),
    (Network("vs-xception", width=0.2), "narrower"),
]


@pytest.mark.parametrize(("one", "name"), WAYS)
def test_what_a_reader_calls_them(one, name):
    assert experiments.way(one) == name


def record(root, one, seed, accuracy, *, experiment="channels", state="finished"):
    place = root / experiment / f"{one.name}-seed{seed}"
    place.mkdir(parents=True)
    config = {
        "model": one.model, "sharing": one.sharing, "seed": seed,
        "parameters": parameters_of(one), "protocol": {"width": one.width, "image_size": 16},
    }  # fmt: skip
    (place / "config.json").write_text(json.dumps(config))
    (place / "summary.json").write_text(json.dumps({"state": state, "test_accuracy": accuracy}))


def test_runs_of_both_experiments_are_read_and_counted(tmp_path):
    assert experiments.runs(tmp_path) == [] and experiments.compared([]).empty
    everything = len(experiments.missing(root=tmp_path))
    assert everything == 2 * len(experiments.networks())
    four = shared(SMALL, 4)
    record(tmp_path, four, 0, 0.5)
    record(tmp_path, four, 1, 0.6)
    record(tmp_path, SMALL, 0, 0.7, state="interrupted")
    for seed, mapping in enumerate(("0010", "0110")):
        stores = Network("wrn-16-2", f"stores:10%,weighted,mask,map={mapping * 4}")
        record(tmp_path, Network("wrn-16-2"), seed, 0.8, experiment="stores")
        place = tmp_path / "stores" / f"mapped-{seed}"
        record(place.parent.parent, stores, seed, 0.7, experiment="stores")
    found = experiments.compared(experiments.runs(tmp_path)).set_index("way")
    assert found.seeds.to_dict() == {"plain": 2, "channels (depthwise)": 2,
                                     "stores (weighted, mask)": 2}  # fmt: skip
    row = found.loc["channels (depthwise)"]
    assert row.accuracy == pytest.approx(55) and row.sd == pytest.approx(50**0.5)
    q, cost = experiments.counted(four, 16)
    assert (row.P_G, row.multiply_adds) == (q.P_G, cost)
    assert cost == experiments.counted(SMALL, 16)[1]  # sharing saves no multiply-add
    # the plain wide network of the stores is one of the comparison's
    assert len(experiments.missing(root=tmp_path)) == everything - 4


@pytest.mark.slow
def test_a_training_is_recorded_and_goes_on(tmp_path, monkeypatch):
    short = Protocol.load(
        "stores", epochs=1, train_images=128, test_images=64, batch_size=64, width=0.25
    )
    monkeypatch.setattr(Protocol, "load", lambda *_, **__: short)
    monkeypatch.setattr(experiments, "DATA", "digits")
    run = experiments.train_one(shared(SMALL, 8), root=tmp_path, progress=False)
    assert run.config["sharing"] == "channels:8" and run.config["model"] == "vs-xception"
    next(run.folder.glob("*.safetensors")).unlink()
    monkeypatch.setattr(experiments, "train", None)  # another training would fail
    again = experiments.train_one(shared(SMALL, 8), root=tmp_path, progress=False)
    assert again.summary == run.summary


@pytest.mark.slow
def test_clustering_records_what_quantising_costs(tmp_path):
    short = Protocol.load("quick", epochs=1, image_size=8, test_image_size=8, train_images=128)
    found = {
        penalty: clustering.clustering(
            penalty, "digits", short, kernels=True, root=tmp_path, progress=False, tau=100.0
        )
        for penalty in ("none", "kernels")
    }
    layer = next(iter(found["none"].weights))
    assert data.load("digits").classes == 10
    gaps = {penalty: one.gaps(layer) for penalty, one in found.items()}
    assert gaps["none"].shape == (len(found["none"].weights[layer]),)
    assert gaps["kernels"].mean() < gaps["none"].mean()
    weights, members = (getattr(found["none"], key)[layer] for key in ("weights", "members"))
    nearest = [min((w - m).norm() for m in members) for w in weights.flatten(0, 1)]
    torch.testing.assert_close(gaps["none"], torch.stack(nearest))
    for path in tmp_path.glob("clustering/*/summary.json"):
        summary = json.loads(path.read_text())
        assert 0 <= summary["quantised_test_accuracy"] <= 1
    table = clustering.table(list(found.values()))
    assert table.penalty.tolist() == ["none", "kernels"]
