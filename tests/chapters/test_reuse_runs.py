"""The table of networks in which sharing differs, and what was settled before they were counted."""

import re

import pandas as pd
import pytest

from reuseprior import paths
from reuseprior.chapters import reuse_runs
from reuseprior.results import Run

SETTLED = "361b872922222813be8a7b4571cfabe5df887f9338aea25499f80e433e80baaf"


def test_what_was_settled_is_as_it_was():
    assert reuse_runs.sha256() == SETTLED
    assert Run.read(reuse_runs.FOLDER).config["preregistration"] == SETTLED
    assert re.match("[0-9]+ of [0-9]+", reuse_runs.settled()["networks"]["all"])


def test_at_least_a_hundred_networks_of_seven_sources():
    groups, networks = reuse_runs.groups(), reuse_runs.networks()
    assert len(networks) >= 100 and groups["source"].nunique() >= 7
    said = reuse_runs.settled()["networks"]["all"]
    assert said.startswith(f"{len(networks)} of {groups['source'].nunique()} sources")
    assert {one.group for one in networks} == set(groups.index)
    assert len({one.key for one in networks}) == len(networks)
    assert set(groups["better"]) == {"higher", "lower"}
    assert (groups[["source", "differs", "score", "licence", "place"]] != "").all(axis=None)
    for name in groups.index:  # in each group sharing differs
        assert len({one.sharing for one in networks if one.group == name}) > 1, name
    for place in groups["place"][groups["place"].str.startswith("data/")]:
        assert (paths.ROOT / place).is_file()


def test_a_second_reader_read_all_whose_source_is_at_hand():
    rows = pd.read_csv(paths.ROOT / "data" / "benchmarks" / "sharing.csv")
    assert set(rows["group"][rows["readings"] != 2]) == {"takase-kiyono"}


@pytest.mark.parametrize("key", ["golf-b: 3x3", "bidart-vs-xception: depthwise 8"])
def test_a_network_is_counted_in_its_printed_size(key):
    (network,) = [one for one in reuse_runs.networks() if one.key == key]
    row = reuse_runs.count(network)
    assert row["stored"] == pytest.approx(network.printed, rel=0.01) and row["used"] > row["stored"]
    assert set(row) == set(reuse_runs.COLUMNS) - {"reason"}


@pytest.mark.parametrize(
    "key", ["golf-b: 5x2", "golf-e: layers 4,5 repeated", "npas-12: SSN-WRN-28-10"]
)
def test_recorded_counts_come_out_again(key):
    (network,) = [one for one in reuse_runs.networks() if one.key == key]
    recorded = Run.read(reuse_runs.FOLDER).metrics.set_index("network").loc[key]
    again = reuse_runs.count(network)
    for column in ("stored", "used", "multiply_adds", "layers", "P_G", "P_G_spread"):
        assert again[column] == pytest.approx(recorded[column], rel=1e-9), column
