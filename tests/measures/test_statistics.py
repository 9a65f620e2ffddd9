"""Rank correlations, bootstraps and means over seeds, against scipy and values by hand."""

import numpy as np
import pytest
from scipy import stats

from reuseprior.errors import UserError
from reuseprior.measures import statistics
from reuseprior.measures.statistics import ABOVE, ALIKE, BELOW, Sample, agreement, seeds_needed


def test_agreement():
    scores, accuracies = [1, 2, 3, 4, 5], [1, 3, 2, 4, 5]
    found = agreement(scores, accuracies, resamples=0)
    assert (found.tau, found.rho) == pytest.approx((0.8, 0.9))
    assert agreement([-np.inf, *scores], [0, *accuracies]).tau == pytest.approx(13 / 15)
    constant = agreement([1, 1, 1], [1, 2, 3])
    assert np.isnan([constant.tau, constant.tau_margin, constant.rho, constant.rho_margin]).all()
    for bad, said in [([1, 2], "2 scores and 3 accuracies"), ([1, 2, np.nan], "is NaN")]:
        with pytest.raises(UserError, match=said):
            agreement(bad, [1, 2, 3])


def test_orders_and_their_chance_agree_with_scipy():
    random = np.random.default_rng(0)
    for n, draws in ((7, 5040), (12, 40_000)):  # of all orders, and of some
        x = random.permutation(n)
        y = x + random.normal(scale=n / 2, size=n)
        exact = stats.kendalltau(x, y, method="exact")
        same, other = statistics.order(x, y)
        assert (same - other) / (n * (n - 1) / 2) == pytest.approx(exact.statistic)
        assert statistics.by_chance(x, y, draws=draws) == pytest.approx(exact.pvalue, abs=0.01)
    assert statistics.order([1, 1, 2], [3, 1, 2]) == (1, 1)  # equal ones are in no order
    assert statistics.by_chance([1, 1, 2], [1, 2, 3]) == pytest.approx(4 / 6)


def test_tau_of_few_models_is_scipys():
    """With ties, and as far as models are few, digit for digit."""
    random = np.random.default_rng(0)
    for n in (3, 20, statistics.FEW, statistics.FEW + 1):
        for _ in range(10):
            x, y = stats.rankdata(random.integers(n, size=n)), random.integers(n, size=n) / 3
            np.testing.assert_equal(statistics.kendall(x, y), stats.kendalltau(x, y).statistic)
    assert statistics.kendall([2**53, 2**53 + 1, 2**54], [0, 1, 2]) == 1  # as floats two are one
    assert statistics.kendall([1, 2, np.inf], [1, 2, 3]) == 1


@pytest.mark.slow
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
    x, y = draw(100)
    assert agreement(x, y, seed=3) == agreement(x, y, seed=3)


def test_welch_tells_samples_apart_and_pairs_are_tested_by_their_differences():
    random = np.random.default_rng(0)
    low, high = Sample.of(random.normal(size=5)), Sample.of(random.normal(3, 0.2, size=3))
    verdict = statistics.told_apart(high, low)
    expected = stats.ttest_ind_from_stats(
        high.mean, high.deviation, high.n, low.mean, low.deviation, low.n, equal_var=False
    )
    assert (verdict.word, verdict.p) == (ABOVE, pytest.approx(expected.pvalue))
    assert statistics.told_apart(low, high).word == BELOW
    assert verdict.how == f"Welch's t over 3 and 5 seeds, p = {verdict.p:.2g}"
    assert statistics.told_apart(high, low, level=verdict.p).word == ALIKE
    gaps = [0.4, 1.1, 0.7]
    found = statistics.differs(Sample.of(gaps))
    assert (found.word, found.p) == (ALIKE, pytest.approx(stats.ttest_1samp(gaps, 0).pvalue))
    signs = [(-1.0, 0.1, 3, BELOW), (1.0, 0.1, 3, ABOVE)]
    assert all(statistics.differs(Sample(*given)).word == word for *given, word in signs)


@pytest.mark.parametrize(("a", "b", "how"), [
    ([1.0], [2.0, 3.0], "one seed"), ([90.03] * 3, [90.04] * 3, "no spread"),
    ([1.0], None, ""), ([1.0, 1.0], None, ""),
])  # fmt: skip
def test_nothing_to_test(a, b, how):
    a = Sample.of(a)
    verdict = statistics.told_apart(a, Sample.of(b)) if b else statistics.differs(a)
    assert verdict.word == ALIKE and np.isnan(verdict.p) and how in verdict.how


def test_the_interval_of_a_mean_is_students():
    values = np.random.default_rng(2).normal(size=(4, 6))
    mean, low, high = statistics.mean_interval(values)
    expected = stats.ttest_1samp(values, 0, axis=-1).confidence_interval(0.95)
    assert mean == pytest.approx(values.mean(-1))
    assert low == pytest.approx(expected.low, rel=1e-3)
    assert high == pytest.approx(expected.high, rel=1e-3)
    half = stats.t.ppf(0.975, 5) * values[0].std(ddof=1)
    expected = [mean[0] - half * (1 + 1 / 6) ** 0.5, mean[0] + half * (1 + 1 / 6) ** 0.5]
    assert statistics.one_more(values[0]) == pytest.approx(expected)  # where a next one lies


def test_a_bootstrap_is_seeded_and_its_percentiles_leave_nan_out():
    first, again = (list(statistics.bootstrap(7, 3, seed=1)) for _ in range(2))
    assert np.array_equal(first, again) and np.shape(first) == (3, 7)
    assert np.shape(list(statistics.bootstrap(7, 3, seed=1, size=2))) == (3, 2)
    assert statistics.percentiles([np.nan, *range(101)]).tolist() == [2.5, 97.5]


ONE = Sample(1.0, 0.5, 2)


@pytest.mark.parametrize(("a", "b", "n"), [
    # Cohen (1988), table 2.4.1: 17 and 64 of each at d = 1 and 0.5, 80 % and 5 %
    (Sample(2.0, 1.0, 2), Sample(0.0, 1.0, 2), 6),
    (Sample(1.0, 1.0, 2), Sample(0.0, 1.0, 2), 17),
    (Sample(0.5, 1.0, 2), Sample(0.0, 1.0, 2), 64),
    (Sample(1.0, 1.0, 3), None, 10),  # of pairs, d = 1
    # no number without difference or spread, nor of 157,000 of each
    (ONE, ONE, None), (Sample(1.0, np.nan, 1), ONE, None),
    (Sample(1.0, 0, 2), Sample(2, 0, 2), None),
    (Sample(1.0, 100.0, 2), Sample(0.0, 100.0, 2), None),
    # more than there are: 10 of each would do, and of one there are 40
    (Sample(5.34, 1.0, 2), Sample(0.0, 0.1, 2), 3), (Sample(9.0, 1.0, 5), None, 6),
    (Sample(1.0, 1.0, 2), Sample(0.0, 0.1, 40), 41),
])  # fmt: skip
def test_seeds_needed(a, b, n):
    assert seeds_needed(a, b) == n


def test_seeds_needed_find_the_difference_four_times_of_five():
    a, b = Sample(1.0, 0.9, 2), Sample(0.0, 0.3, 2)  # deviations need not be equal
    n, random = seeds_needed(a, b), np.random.default_rng(0)

    def found():
        values = (random.normal(one.mean, one.deviation, n) for one in (a, b))
        return statistics.told_apart(*map(Sample.of, values)).word != ALIKE

    assert np.mean([found() for _ in range(2000)]) == pytest.approx(0.8, abs=0.05)
