"""What a gap is worth, from pairs of networks."""

import numpy as np
import pandas as pd

from reuseprior.chapters import accuracy
from reuseprior.measures.comparing import FILE, GAPS


def few(values, accuracies, families=None):
    families = range(len(values)) if families is None else families
    return pd.DataFrame({"P_G": values, "accuracy": accuracies, "alike": families})


def test_pairs_are_counted_by_hand():
    # gaps: 0.5 right, 3 wrong, 2.5 wrong; the fourth network ties in accuracy with the first
    table = few([1.0, 1.5, 4.0, 4.0], [70, 71, 60, 70])
    found = accuracy.pairs_right(table, "P_G", resamples=5).set_index("gap")
    assert found["pairs"].to_dict() == {0: 1, 0.25: 0, 0.5: 1, 1: 0, 2: 3, 4: 0}
    assert found["right"].fillna(-1).to_dict() == {0: 0.5, 0.25: -1, 0.5: 1, 1: -1, 2: 0, 4: -1}


def test_intervals_are_of_families():
    rng = np.random.default_rng(0)
    values = rng.normal(0, 2, 60)
    accuracies = values + rng.normal(0, 2, 60)
    single = accuracy.pairs_right(few(values, accuracies), "P_G")
    copies = few(np.tile(values, 4), np.tile(accuracies, 4), np.tile(range(60), 4))
    fourfold = accuracy.pairs_right(copies, "P_G")
    width = [(t["high"] - t["low"])[2:5].to_numpy() for t in (single, fourfold)]
    assert np.all(width[1] > 0.7 * width[0])  # copies of a family say nothing more


def test_a_cost_is_compared_at_equal_frequency():
    table = accuracy.networks("torchvision")
    ours = accuracy.pairs_right(table, "P_G", resamples=1)
    cost = accuracy.at_equal_frequency(table, "multiply-adds", resamples=1)
    assert np.allclose(ours["pairs"], cost["pairs"], atol=2)


def test_the_committed_table_is_what_the_records_give():
    rows = FILE.read_text(encoding="utf-8").splitlines()
    assert rows == accuracy.calibrate().to_csv(index=False).splitlines()
    assert len(rows) == 1 + 3 * 4 * (len(GAPS) - 1)
