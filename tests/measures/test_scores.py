"""Scores as sums of terms, on rows and on tables."""

import numpy as np
import pandas as pd
import pytest

from reuseprior.errors import UserError
from reuseprior.measures.scores import R6, R7, S0, Score, ablations

ROW = {
    "P_G": 20.0, "blur": 0.5, "multiply_adds": 2**24, "layer_entropy": 4.0, "mean_length": 8.0,
    "shortest": 32,
}  # fmt: skip


@pytest.mark.parametrize(("score", "examples", "expected"), [
    (S0, 2**16, 19.5),
    (R6, 2**16, 20 + (24 + 4) / 4 - 0.5 - 1),
    (R6, 2**32, 20 + (24 + 4) / 4 - 0.5),  # as deep as log2 T
    (R7, 2**16, 20 + (24 + 4 + 3) / 2 - 0.5 - 1),
    (R6, 10**400, 20 + (24 + 4) / 4 - 0.5),  # more than a float holds
])  # fmt: skip
def test_by_hand(score, examples, expected):
    terms = score.terms(ROW, examples)
    assert score(ROW, examples) == pytest.approx(expected) == sum(terms.values())
    for name, less in ablations(score).items():
        left_out = terms[name.removeprefix(f"{score.name} without ")]
        assert less(ROW, examples) == pytest.approx(expected - left_out)
    assert len(ablations(score)) == len(terms)


def test_a_table_is_scored_row_by_row():
    dead = ROW | {"blur": np.inf, "shortest": 0, "mean_length": 0.0, "layer_entropy": 0.0}
    table = pd.DataFrame([ROW, ROW | {"multiply_adds": 2**20}, dead])
    for score in (S0, R6, R7, *ablations(R6).values()):
        rows = [score(row, 50_000) for row in table.to_dict("records")]
        assert score(table, 50_000).tolist() == pytest.approx(rows)
        assert rows[-1] == -np.inf, score.name


@pytest.mark.parametrize(("ask", "message"), [
    (lambda: Score("x", 1, ("log2 N",)), "no term 'log2 N' of a score: there are log2 M, H_u"),
    (lambda: Score("x", takes=("length",)), "no term 'length'"),
    (lambda: Score("x", float("nan")), "A weight of nan: choose a finite number"),
    (lambda: R6(ROW, 1), "1 training examples: pass how many there are, 2 or more"),
])  # fmt: skip
def test_bad_use(ask, message):
    with pytest.raises(UserError, match=message):
        ask()
