"""Networks that share beside plain rivals of equal cost."""

import pandas as pd
import pytest

from reuseprior.chapters import reuse

COLUMNS = ["network", "model", "way", "parameters", "multiply_adds", "P_G", "seeds", "accuracy",
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
