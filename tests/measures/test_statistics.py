"""Rank correlations, bootstraps and means over seeds, against scipy and values by hand."""

import numpy as np
import pytest
from scipy import stats

from reuseprior.errors import UserError
from reuseprior.measures.statistics import (
    ABOVE,
    ALIKE,
    BELOW,
    Sample,
    agreement,
    bootstrap,
    mean_interval,
    percentiles,
    told_apart,
)


def test_agreement():
    scores, accuracies = [1, 2, 3, 4, 5], [1, 3, 2, 4, 5]
    found = agreement(scores, accuracies, resamples=0)
    assert (found.tau, found.rho) == pytest.approx((0.8, 0.9))
    assert agreement([-np.inf, *scores], [0, *accuracies]).tau == pytest.approx(13 / 15)
    constant = agreement([1, 1, 1], [1, 2, 3])
    assert np.isnan([constant.tau, constant.tau_margin, constant.rho, constant.rho_margin]).all()


def test_margins_are_the_spread_of_samples():
    """Against the deviation of τ over independent samples, below and above 2,000 models."""
    random = np.random.default_rng(0)

    def draw(n):
        x = random.normal(size=n)
        return x, x + random.normal(size=n)

    for n in (200, 4000):
        taus = [stats.kendalltau(*draw(n)).statistic for _ in range(60)]
        margins = [agreement(*draw(n), resamples=60).tau_margin for _ in range(3)]
        assert np.mean(margins) == pytest.approx(1.96 * np.std(taus), rel=0.35)
    a, b = (agreement(*draw(100), seed=3) for _ in range(2))
    assert a != b
    x, y = draw(100)
    assert agreement(x, y, seed=3) == agreement(x, y, seed=3)


@pytest.mark.parametrize(
    ("scores", "message"),
    [([1, 2], "2 scores and 3 accuracies"), ([1, 2, np.nan], "is NaN")],
)
def test_what_has_no_order(scores, message):
    with pytest.raises(UserError, match=message):
        agreement(scores, [1, 2, 3])


def test_welch_tells_samples_apart():
    random = np.random.default_rng(0)
    low, high = random.normal(size=5), random.normal(3, 0.2, size=3)
    verdict = told_apart(Sample.of(high), Sample.of(low))
    assert verdict.p == pytest.approx(stats.ttest_ind(high, low, equal_var=False).pvalue)
    assert verdict.word == ABOVE and told_apart(Sample.of(low), Sample.of(high)).word == BELOW
    assert verdict.how == f"Welch's t over 3 and 5 seeds, p = {verdict.p:.2g}"
    assert told_apart(Sample.of(high), Sample.of(low), level=verdict.p).word == ALIKE


@pytest.mark.parametrize(
    ("a", "b", "how"),
    [
        ([1.0], [2.0, 3.0], "one seed"),
        ([1.0, 1.0], [2.0, 2.0], "no spread"),
        ([90.03] * 3, [90.04] * 3, "no spread"),
    ],
)
def test_nothing_to_test(a, b, how):
    verdict = told_apart(Sample.of(a), Sample.of(b))
    assert verdict.word == ALIKE and np.isnan(verdict.p) and how in verdict.how


def test_the_interval_of_a_mean_is_students():
    values = np.random.default_rng(2).normal(size=(4, 6))
    mean, low, high = mean_interval(values)
    expected = stats.ttest_1samp(values, 0, axis=-1).confidence_interval(0.95)
    assert mean == pytest.approx(values.mean(-1))
    assert low == pytest.approx(expected.low, rel=1e-3)
    assert high == pytest.approx(expected.high, rel=1e-3)


def test_a_bootstrap_is_seeded_and_its_percentiles_leave_nan_out():
    first, again = (list(bootstrap(7, 3, seed=1)) for _ in range(2))
    assert np.array_equal(first, again) and np.shape(first) == (3, 7)
    assert np.shape(list(bootstrap(7, 3, seed=1, size=2))) == (3, 2)
    assert percentiles([np.nan, *range(101)]).tolist() == [2.5, 97.5]
