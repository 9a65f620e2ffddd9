"""What sharing buys at equal cost, on networks whose costs are known."""

from math import exp, nan

import pandas as pd
import pytest

from reuseprior import paths
from reuseprior.chapters import sharing_runs
from reuseprior.report import campaign
from reuseprior.results import ResultError
from reuseprior.training import Protocol
from tests.chapters import runs

PLAN = Protocol.load("cifar-resnet")
EPOCHS = 10


@pytest.fixture(autouse=True)
def record(tmp_path, monkeypatch):
    """Of all that is planned, the small ones, none recorded; a function that records one."""
    every = campaign.planned("04-parameter-sharing", model="resnet20-cifar")
    small = [one for one in every if one.seed == 0]
    monkeypatch.setattr(campaign, "_rows", lambda: small)
    monkeypatch.setattr(paths, "RESULTS", tmp_path)

    def made(width=1.0, sharing="none", seed=0, *, accuracies=0.9, fastest=2.0, **changes):
        """A ResNet-20 as the trainer records it, and its fastest epoch in seconds."""
        name = "train-cifar-resnet" + (f",width={width:g}" if width != 1 else "")
        config = {
            "model": "resnet20-cifar", "sharing": sharing, "data": "cifar10", "classes": 10,
            "images": {"train": 45_000, "validation": 5000, "test": 10_000}, "data_checksum": "c",
            "seed": seed, "parameters": 7, "protocol": vars(PLAN) | {"width": width} | changes,
        }  # fmt: skip
        metrics = pd.DataFrame({"epoch": range(1, EPOCHS + 1), "validation_accuracy": accuracies})
        metrics["seconds"] = [3.0] * (EPOCHS - 1) + [fastest]
        measured = {"processes": 1, "threads": 2, "images_per_second": 1.0}
        measured["test_accuracy"] = float(metrics.validation_accuracy[0])
        runs.record(tmp_path / name / f"resnet20-{sharing}-{seed}", config, metrics, **measured)

    return made


def test_without_runs_costs_and_estimates_are_known_and_accuracy_is_not():
    found = sharing_runs.equal_cost()
    assert found.seeds.sum() == 0 and found[["accuracy", "seconds"]].isna().all(axis=None)
    assert found[["params", "multiply_adds", "P_G", "P_G_spread"]].notna().all(axis=None)
    assert sharing_runs.foretold(found).empty and sharing_runs.gain_at_equal(found, "params").empty


def test_a_row_a_network_at_every_width(record):
    for seed, accuracy in enumerate((0.90, 0.92)):
        record(seed=seed, accuracies=accuracy)
    record(0.5, "all_but_bn", accuracies=0.8)
    found = sharing_runs.equal_cost().set_index(["model", "width"])
    whole, half = found.loc["ResNet-20", 1.0], found.loc["ResNet-20-shared", 0.5]
    assert (whole.seeds, whole.shared, half.shared) == (2, False, True)
    assert (whole.accuracy, half.accuracy) == pytest.approx((91, 80))
    assert whole.seconds == EPOCHS * 2 * 2 and whole.params == 269_722
    # the convolutions are a quarter, and of the stem and the classifier half
    assert half.multiply_adds == pytest.approx(whole.multiply_adds / 4, rel=0.02)
    assert half.P_G < whole.P_G
    assert found.accuracy.notna().sum() == 2


def test_what_computes_the_same_takes_the_same_time(record):
    """Whatever else used the processor beside one of the two."""
    record()
    record(1, "all_but_bn", fastest=1.5)
    found = sharing_runs.equal_cost().set_index(["model", "width"]).seconds.dropna()
    both = [("ResNet-20", 1.0), ("ResNet-20-shared", 1.0)]
    assert found.to_dict() == dict.fromkeys(both, EPOCHS * 1.5 * 2)


def test_a_run_that_had_not_settled_is_named_and_gives_nothing(record):
    record()
    record(0.5, accuracies=[0.9] * (EPOCHS - 1) + [0.95])
    found = sharing_runs.equal_cost()
    assert found[found.seeds > 0].state.tolist() == [sharing_runs.UNSETTLED, sharing_runs.SETTLED]
    assert found[found.accuracy.notna()].width.tolist() == [1.0]
    assert found[found.seconds.notna()].width.tolist() == [1.0]


def test_runs_that_differ_in_more_than_width_are_refused(record):
    record()
    record(0.5, epochs=12)
    with pytest.raises(ResultError, match="differ in epochs: they do not compare"):
        sharing_runs.equal_cost()


def networks(*rows):
    """Networks of one family: model, width, accuracy and every cost."""
    table = pd.DataFrame(rows, columns=["model", "width", "accuracy", "params"])
    state = table.accuracy.map(lambda a: sharing_runs.SETTLED if a == a else sharing_runs.UNSETTLED)
    others = {c: table.params for c in sharing_runs.COSTS if c != "params"}
    shared, seeds = table.model.str.endswith("-shared"), range(1, len(table) + 1)
    return table.assign(family="f", state=state, shared=shared, seeds=seeds, **others)


def test_the_gain_is_measured_from_the_line_of_unshared_networks():
    table = networks(
        ("a", 0.5, 80.0, exp(1)), ("a", 1.0, 90.0, exp(3)),
        ("a-shared", 1.0, 87.0, exp(2)), ("a-shared", 9.0, 99.0, exp(4)),
    )  # fmt: skip
    (only,) = sharing_runs.gain_at_equal(table, "params").itertuples()
    assert (only.model, only.gain, only.seeds) == ("a-shared", pytest.approx(87 - 85), 1)


def test_no_gain_is_read_across_a_network_that_had_not_settled():
    table = networks(
        ("a", 0.5, 80.0, 1.0), ("a", 0.7, nan, 2.0), ("a", 1.0, 90.0, 3.0), ("a", 2.0, 91.0, 5.0),
        ("a-shared", 0.7, 83.0, 2.0), ("a-shared", 0.8, 83.0, 2.5), ("a-shared", 1.0, 88.0, 3.0),
        ("a-shared", 1.5, 88.0, 4.0),
    )  # fmt: skip
    found = sharing_runs.gain_at_equal(table, "params").set_index("width")
    assert found.index.tolist() == [1.0, 1.5] and found.gain[1.0] == pytest.approx(-2)
    assert found.seeds.tolist() == [3, 3]  # of the neighbours on the line, not of the first network


def test_what_costs_foretell_takes_three_networks():
    rows = [("a", width, 70 + 20 * width, width) for width in (0.25, 0.5, 1.0)]
    found = sharing_runs.foretold(networks(*rows)).loc["f"]
    assert found["P_G"] == "+1.00 (3:0, p 0.33)"  # two of six orders
    assert sharing_runs.foretold(networks(*rows[:2])).empty
