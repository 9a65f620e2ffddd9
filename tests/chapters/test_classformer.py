"""What chapter 5's ledger computes of its tables: headers, shares of the full model, p-values."""

import numpy as np
import pytest
from scipy import stats

from reuseprior.chapters import classformer


def test_headers_need_the_same_numbers(monkeypatch):
    """A number typed wrong would not be taken for a permutation."""
    assert list(classformer.headers().values()) == [
        "cola", "qqp", "mrpc", "stsb", "rte", "sst2", "mnli", "qnli"
    ]  # fmt: skip
    own, wrong = classformer._row, ("table-5-4", "roberta")
    row = own(*wrong).copy()
    row["mnli"] = "91.8"
    monkeypatch.setattr(classformer, "_row", lambda *asked: row if asked == wrong else own(*asked))
    classformer.headers.cache_clear()
    with pytest.raises(ValueError, match="not the same eight numbers"):
        classformer.headers()
    classformer.headers.cache_clear()


def test_99_per_cent_is_88_to_99():
    shares = classformer.kept("Classformer 99%")["5.1"]
    printed = {"rte": 88.4, "cola": 92.2, "mnli": 98.2, "qqp": 98.3, "stsb": 98.8}
    assert shares[shares < 99].round(1).to_dict() == printed and (shares >= 99).sum() == 3
    assert round(classformer.kept("Classformer 95%")["5.1"]["cola"], 1) == 91.0


def test_table_5_3_is_of_schedules_without_eta():
    for column, levels in classformer.levels().items():
        schedule = classformer.schedule_of(column)
        assert list(schedule.lengths(512)) == levels.tolist()
        assert schedule.eta == 0 and set(schedule.gamma) <= {1, 2, 4}


def test_p_values_are_scipy_s():
    r, p = stats.pearsonr(*np.random.RandomState(0).normal(size=(2, 9)))
    assert classformer.p_value(r, 9) == pytest.approx(p)
