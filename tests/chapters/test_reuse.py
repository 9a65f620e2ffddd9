"""Networks that share beside baselines of equal cost; the table of them, as preregistered."""

import re

import numpy as np
import pandas as pd
import pytest

from reuseprior import paths
from reuseprior.chapters import reuse, reuse_runs
from reuseprior.results import Run

COLUMNS = ["network", "model", "kind", "parameters", "multiply_adds", "P_G", "seeds", "accuracy",
           "sd"]  # fmt: skip
TRAINED = [
    ("tied", "wrn-16-2", "scopes", 100, 50, 10.0, 2, 60.0, 1.0),
    ("plain", "wrn-16-2", "plain", 300, 50, 12.0, 3, 63.0, 1.0),
    ("smaller", "wrn-10-2", "shallower", 90, 9, 11.0, 1, 58.5, float("nan")),
    ("too small", "wrn-16-2", "narrower", 89, 9, 11.0, 2, 20.0, 1.0),
    ("larger", "wrn-16-2", "narrower", 101, 9, 11.0, 2, 20.0, 1.0),
    ("other family", "xception", "narrower", 95, 50, 11.0, 2, 20.0, 1.0),
    ("other size", "wrn-16-2", "plain", 300, 51, 12.0, 2, 20.0, 1.0),
]


def test_a_rival_stores_nearly_as_much_or_computes_the_same():
    found = reuse.against_plain(pd.DataFrame(TRAINED, columns=COLUMNS))
    assert found.drop(columns="p").to_numpy().tolist() == [
        [reuse.PARAMETERS, "tied", "smaller", 1.5, -1.0, 1],
        [reuse.MULTIPLY_ADDS, "tied", "plain", -3.0, -2.0, 2],
    ]
    assert found["p"].isna().tolist() == [True, False]  # one seed tests nothing
    assert found["p"][1] == pytest.approx(0.0684, abs=1e-4)  # t 3.29, 2.27 degrees of freedom


def test_signs_are_compared():
    for gain, bits, right in ((1.0, 2.0, 1), (1.0, -2.0, 0), (-1.0, -2.0, 1), (0.0, -2.0, 0)):
        table = pd.DataFrame({"at equal": [reuse.PARAMETERS], "gain": [gain], "bits": [bits]})
        row = reuse.agreeing(table).loc[reuse.PARAMETERS]
        assert row["P_G has the sign right"] == right
        assert (row["sharing gained"], row["sharing lost"]) == (int(gain > 0), int(gain < 0))


# Networks that others trained ---------------------------------------------------------------------


def counts(source, group, rows):
    """Networks (sharing, quality, stored, P_G) of a group; of other measures all are equal."""
    table = pd.DataFrame(rows, columns=["sharing", "quality", "stored", "P_G"])
    same = dict.fromkeys(("used", "multiply_adds", "layers", "P_G_spread"), 1.0)
    return table.assign(source=source, group=group, name=group, reason=None, **same)


ONE = counts("a", "a", [("none", 3, 100, 3), ("x", 2, 50, 2), ("x", 1, 95, 4), ("y", 2, 10, 9)])
TWO = counts("b", "b", [("none", 1, 7, 1), ("z", 2, 7, 2)])


def test_pairs_differ_in_sharing_and_in_score():
    (found,) = reuse.pairs(ONE)
    assert list(zip(found.one, found.other, strict=True)) == [(0, 1), (0, 2), (0, 3), (2, 3)]
    by = dict(zip(reuse.MEASURES, found.right.T.tolist(), strict=True))
    assert by["P_G"] == [1, 0, 0, 1]  # 3 > 2; 3 < 4; 3 < 9; 4 < 9
    assert by["stored parameters"] == [1, 1, 1, 0] and by["layers"] == [0.5] * 4
    assert found.bits.tolist() == [1, 1, 6, 5]
    (equal,) = reuse.pairs(ONE, ("stored",))  # 100 and 95
    assert list(zip(equal.one, equal.other, strict=True)) == [(0, 2)]
    assert reuse.pairs(ONE.assign(reason="no model")) == []


def test_a_share_is_the_mean_over_sources():
    found = reuse.pairs(pd.concat([ONE, TWO]))
    share = dict(zip(reuse.MEASURES, reuse.shares(found), strict=True))
    assert share["P_G"] == (2 / 4 + 1) / 2 and share["stored parameters"] == (3 / 4 + 1 / 2) / 2


def test_sharing_pays_where_it_is_better_at_equal_cost():
    found = reuse.pays(pd.concat([ONE, TWO]))
    row = found.loc[reuse.PARAMETERS]  # the first and third of one, and those of the other
    assert (row["pairs"], row["sources"], row["share"]) == (2, 2, 0.5)
    assert row["low"] == 0 and row["high"] == 1
    assert found.loc[reuse.MULTIPLY_ADDS, "pairs"] == 4


def test_beside_the_plain_network():
    rows = reuse.beside_plain(pd.concat([ONE, TWO], ignore_index=True), "stored")
    assert rows["gain"].tolist() == [-2, 1]  # 1 − 3 and 2 − 1
    assert rows["deviations"].round(3).tolist() == [-2.449, 1.414]
    assert (
        rows["stored"].tolist() == pytest.approx([np.log2(95 / 100), 0])
        and not rows["multiply_adds"].any()
    )
    assert len(reuse.beside_plain(ONE, "multiply_adds")) == 3


def test_what_decides():
    def told(*differences):
        rows = zip(("stored parameters", "multiply-adds"), differences, strict=True)
        return pd.DataFrame([
            {"subset": "all pairs", "measure": m, "less": (low + high) / 2, "less_low": low,
             "less_high": high, "sources": 8} for m, (low, high) in rows
        ])  # fmt: skip

    assert reuse.decided(told((0.1, 0.3), (0.01, 0.2))) == "yes"
    assert reuse.decided(told((0.1, 0.3), (-0.2, -0.1))) == "no"
    assert reuse.decided(told((-0.1, 0.3), (0.1, 0.2))) == "undecided: 32 sources would decide it"


def test_a_network_far_from_its_printed_size_is_left_out(monkeypatch):
    def network(name, printed):
        return reuse_runs.Network("golf-b", name, 1.0, "none", None, "causal", printed)

    listed = [network("near", 110.0), network("far", 120.0), network("not counted", None)]
    monkeypatch.setattr(reuse_runs, "networks", lambda: listed)
    metrics = pd.DataFrame({"network": [one.key for one in listed], "stored": [100, 100, np.nan],
                            "reason": [np.nan, np.nan, "no model"]})  # fmt: skip
    table = reuse.counted(type("Run", (), {"metrics": metrics}))
    assert table["reason"].fillna("").tolist() == ["", "17% off the printed parameters", "no model"]
    assert table["quality"].tolist() == [-1.0] * 3  # bits a byte: lower is better


# The table ----------------------------------------------------------------------------------------

PREREGISTERED = "361b872922222813be8a7b4571cfabe5df887f9338aea25499f80e433e80baaf"


def test_what_was_preregistered_is_as_it_was():
    assert reuse_runs.sha256() == PREREGISTERED
    assert Run.read(reuse_runs.FOLDER).config["preregistration"] == PREREGISTERED
    assert re.match("[0-9]+ of [0-9]+", reuse_runs.preregistered()["networks"]["all"])


def test_at_least_a_hundred_networks_of_seven_sources():
    groups, networks = reuse_runs.groups(), reuse_runs.networks()
    assert len(networks) >= 100 and groups["source"].nunique() >= 7
    said = reuse_runs.preregistered()["networks"]["all"]
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


COUNTED = ["golf-b: 5x2", "golf-e: layers 4,5 repeated", "bidart-vs-xception: depthwise 8"]


@pytest.mark.slow
@pytest.mark.parametrize("key", COUNTED)
def test_a_network_is_counted_as_recorded_and_in_its_printed_size(key):
    (network,) = [one for one in reuse_runs.networks() if one.key == key]
    row = reuse_runs.count(network)
    if network.printed:
        assert row["stored"] == pytest.approx(network.printed, rel=0.01)
    assert row["used"] > row["stored"]
    assert set(row) == set(reuse_runs.COLUMNS) - {"reason"}
    recorded = Run.read(reuse_runs.FOLDER).metrics.set_index("network").loc[key]
    for column in ("stored", "used", "multiply_adds", "layers", "P_G", "P_G_spread"):
        assert row[column] == pytest.approx(recorded[column], rel=1e-9), column
