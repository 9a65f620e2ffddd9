"""What sharing buys at equal cost, on networks whose costs are known."""

import json
from math import exp, nan

import pandas as pd
import pytest

from reuseprior import paths
from reuseprior.results import ResultError
from reuseprior.training import Protocol
from reuseprior.works.thesis.sharing import costs
from reuseprior.works.thesis.sharing.experiments import Planned

PLAN = Protocol.load("cifar-resnet")
EPOCHS = 10


def record(root, width=1.0, sharing="none", seed=0, *, accuracy=0.9, **changes):
    """A ResNet-20 as the trainer records it; its fastest epoch takes two seconds."""
    name = "train-cifar-resnet" + (f",width={width:g}" if width != 1 else "")
    folder = root / name / f"resnet20-cifar-{sharing}-{seed}"
    folder.mkdir(parents=True)
    config = {
        "model": "resnet20-cifar", "sharing": sharing, "data": "cifar10", "classes": 10,
        "images": {"train": 45_000, "validation": 5000, "test": 10_000}, "data_checksum": "c",
        "seed": seed, "parameters": 7,
        "protocol": vars(PLAN) | {"width": width} | changes,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    summary = {"state": "finished", "test_accuracy": accuracy, "processes": 1, "threads": 2}
    (folder / "summary.json").write_text(json.dumps(summary | {"images_per_second": 1.0}))
    rows = {"validation_accuracy": accuracy, "seconds": [3.0] * (EPOCHS - 1) + [2.0]}
    pd.DataFrame({"epoch": range(1, EPOCHS + 1), **rows}).to_csv(
        folder / "metrics.csv", index=False
    )
    return folder


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "RESULTS", tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """Of all that is planned, the small ones."""
    small = [
        Planned("cifar-resnet", f"ResNet-20{s}", 0, w) for s in ("", "-shared") for w in (1, 0.5)
    ]
    monkeypatch.setattr(costs.experiments, "planned", lambda: iter(small))


def test_without_runs_costs_and_estimates_are_known_and_accuracy_is_not(root):
    found = costs.equal_cost()
    assert found.seeds.sum() == 0 and found[["accuracy", "seconds"]].isna().all(axis=None)
    assert found[["params", "multiply_adds", "P_G", "P_G_spread"]].notna().all(axis=None)
    assert costs.foretold(found).empty and costs.gain_at_equal(found, "params").empty


def test_a_row_a_network_at_every_width(root):
    for seed, accuracy in enumerate((0.90, 0.92)):
        record(root, seed=seed, accuracy=accuracy)
    record(root, 0.5, "all_but_bn", accuracy=0.8)
    found = costs.equal_cost().set_index(["model", "width"])
    whole, half = found.loc["ResNet-20", 1.0], found.loc["ResNet-20-shared", 0.5]
    assert (whole.seeds, whole.shared, half.shared) == (2, False, True)
    assert (whole.accuracy, half.accuracy) == pytest.approx((91, 80))
    assert whole.seconds == EPOCHS * 2 * 2 and whole.params == 269_722
    # the convolutions are a quarter, and of the stem and the classifier half
    assert half.multiply_adds == pytest.approx(whole.multiply_adds / 4, rel=0.02)
    assert half.P_G < whole.P_G
    assert found.accuracy.notna().sum() == 2


def test_what_computes_the_same_takes_the_same_time(root):
    """Whatever else used the processor beside one of the two."""
    record(root)
    folder = record(root, 1, "all_but_bn")
    table = pd.read_csv(folder / "metrics.csv")
    table.assign(seconds=[1.5, *table.seconds[1:]]).to_csv(folder / "metrics.csv", index=False)
    found = costs.equal_cost().set_index(["model", "width"]).seconds.dropna()
    assert found.to_dict() == dict.fromkeys(
        [("ResNet-20", 1.0), ("ResNet-20-shared", 1.0)], EPOCHS * 1.5 * 2
    )


def test_a_run_that_had_not_settled_is_named_and_gives_nothing(root):
    record(root)
    folder = record(root, 0.5)
    table = pd.read_csv(folder / "metrics.csv")
    table.loc[EPOCHS - 1, "validation_accuracy"] = 0.95
    table.to_csv(folder / "metrics.csv", index=False)
    found = costs.equal_cost()
    assert found[found.seeds > 0].state.tolist() == [costs.UNSETTLED, costs.SETTLED]
    assert found[found.accuracy.notna()].width.tolist() == [1.0]
    assert found[found.seconds.notna()].width.tolist() == [1.0]


def test_runs_that_differ_in_more_than_width_are_refused(root):
    record(root)
    record(root, 0.5, epochs=12)
    with pytest.raises(ResultError, match="differ in epochs: they do not compare"):
        costs.equal_cost()


def networks(*rows):
    columns = ["family", "model", "width", "shared", "accuracy", "params"]
    table = pd.DataFrame(rows, columns=columns)
    state = table.accuracy.map(lambda a: costs.SETTLED if a == a else costs.UNSETTLED)
    others = {c: table.params for c in costs.COSTS if c != "params"}
    return table.assign(state=state, seeds=range(1, len(table) + 1), **others)


def test_the_gain_is_measured_from_the_line_of_unshared_networks():
    table = networks(
        ("f", "a", 0.5, False, 80.0, exp(1)), ("f", "a", 1.0, False, 90.0, exp(3)),
        ("f", "a-shared", 1.0, True, 87.0, exp(2)), ("f", "a-shared", 9.0, True, 99.0, exp(4)),
    )  # fmt: skip
    (only,) = costs.gain_at_equal(table, "params").itertuples()
    assert (only.model, only.gain, only.seeds) == ("a-shared", pytest.approx(87 - 85), 1)


def test_no_gain_is_read_across_a_network_that_had_not_settled():
    table = networks(
        ("f", "a", 0.5, False, 80.0, 1.0), ("f", "a", 0.7, False, nan, 2.0),
        ("f", "a", 1.0, False, 90.0, 3.0), ("f", "a", 2.0, False, 91.0, 5.0),
        ("f", "a-shared", 0.7, True, 83.0, 2.0), ("f", "a-shared", 0.8, True, 83.0, 2.5),
        ("f", "a-shared", 1.0, True, 88.0, 3.0), ("f", "a-shared", 1.5, True, 88.0, 4.0),
    )  # fmt: skip
    found = costs.gain_at_equal(table, "params").set_index("width")
    assert found.index.tolist() == [1.0, 1.5] and found.gain[1.0] == pytest.approx(-2)
    assert found.seeds.tolist() == [3, 3]  # of the neighbours on the line, not of the first network


def test_what_costs_foretell_takes_three_networks():
    rows = [("f", "a", w, False, 70 + 20 * w, w) for w in (0.25, 0.5, 1.0)]
    found = costs.foretold(networks(*rows)).loc["f"]
    assert found["P_G"] == "+1.00 (3:0, p 0.33)"  # two of six orders
    assert costs.foretold(networks(*rows[:2])).empty
