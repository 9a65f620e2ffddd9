"""The quantities against their definitions, at any size of count."""

from fractions import Fraction
from itertools import product
from math import inf, log2, nan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reuseprior.quantities import Quantities, derive

counts_of = st.lists(st.integers(1, 2**60), min_size=1, max_size=12)


def test_the_example_of_the_appendix():
    """Thesis A.3: four parameters with two contexts, four with one, two inputs, one output."""
    q = derive([1.0, 0.0], [4, 4], input_nodes=2, output_nodes=1)
    assert (q.parameters, q.weight_nodes, q.graph_size) == (8, 8, 11)
    assert q.log2_contexts == pytest.approx(log2(12), rel=1e-15)
    found = [q.total_surprisal, q.entropy, q.expected_spread, q.P_G, q.P_G_spread]
    surprisal = 4 * log2(6) + 4 * log2(12)
    exact = [surprisal, log2(12) - 2 / 3, 2 / 3, log2(surprisal * 2 / 11), log2(80 / 33)]
    assert found == pytest.approx(exact, rel=1e-15)
    assert [round(x, 2) for x in found] == [24.68, 2.92, 0.67, 2.17, 1.28]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(counts_of, st.integers(1, 100), st.integers(1, 100))
def test_definitions(counts, input_nodes, output_nodes):
    """Definitions 3 to 6 and equations 4.7 to 5.2, with exact shares."""
    q = derive([log2(c) for c in counts], input_nodes=input_nodes, output_nodes=output_nodes)
    shares = [Fraction(c, sum(counts)) for c in counts]
    spread = sum(float(p) * log2(c) for p, c in zip(shares, counts, strict=True))
    entropy = -sum(float(p) * log2(p) for p in shares)
    surprisal = -sum(log2(p) for p in shares)
    size = input_nodes + output_nodes + len(counts)
    sums = [q.expected_spread, q.entropy, q.total_surprisal]
    assert sums == pytest.approx([spread, entropy, surprisal], rel=1e-12, abs=1e-12)
    assert q.graph_size == size
    if len(counts) > 1:
        p_g = log2(surprisal * input_nodes / size)
        of_each = [q.P_G, q.parameter_efficiency * len(counts)]
        assert of_each == pytest.approx([p_g, p_g], rel=1e-9, abs=1e-9)
        assert q.compute_efficiency == q.parameter_efficiency
    p_spread = log2(len(counts) * (spread + 1) * input_nodes / size)
    of_each = [q.P_G_spread, q.parameter_efficiency_spread * len(counts)]
    assert of_each == pytest.approx([p_spread, p_spread], rel=1e-9, abs=1e-9)


logs_of = st.lists(st.floats(0, 50), min_size=1, max_size=30)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(logs_of, st.sampled_from([0.0, 100.0, 3200.0, 1e5]), st.data())
def test_entropy_and_spread_add_up(logs, height, data):
    times = data.draw(st.lists(st.integers(1, 10**6), min_size=len(logs), max_size=len(logs)))
    q = derive(np.array(logs) + height, times, input_nodes=3, output_nodes=2)
    assert abs(q.entropy + q.expected_spread - q.log2_contexts) < 1e-9
    low = derive(logs, times, input_nodes=3, output_nodes=2)
    assert q.entropy == pytest.approx(low.entropy, abs=1e-9)
    assert q.total_surprisal == pytest.approx(low.total_surprisal, rel=1e-9, abs=1e-2)
    assert q.expected_spread == pytest.approx(low.expected_spread + height, rel=1e-13, abs=1e-9)


def test_counts_far_apart():
    """One parameter with 2^100000 contexts beside two with one each."""
    q = derive([1e5, 0.0], [1, 2], input_nodes=1, output_nodes=1)
    assert (q.log2_contexts, q.expected_spread, q.entropy) == (1e5, 1e5, 0.0)
    assert q.total_surprisal == 2e5


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.floats(0, 4000), st.integers(1, 5)), min_size=1, max_size=10))
def test_multiplicities_repeat_counts(pairs):
    logs, times = zip(*pairs, strict=True)
    sizes = {"input_nodes": 5, "output_nodes": 2, "weight_nodes": 90}
    q, repeated = derive(logs, times, **sizes), derive(np.repeat(logs, times), **sizes)
    assert q.to_dict() == pytest.approx(repeated.to_dict(), rel=1e-9, abs=1e-9)
    assert q.parameters == sum(times) and q.weight_nodes == 90


def test_one_parameter_has_no_surprise():
    q = derive([3.0], input_nodes=1, output_nodes=1)
    assert (q.entropy, q.total_surprisal, q.P_G) == (0, 0, float("-inf"))
    assert q.expected_spread == 3 and q.P_G_spread == pytest.approx(log2(4 / 3))


def test_how_it_shows():
    q = derive([1.0, 0.0], [4, 4], input_nodes=2, output_nodes=1, weight_nodes=12)
    assert q.table().set_index("symbol")["value"]["W_G"] == "12"
    assert "24.6797" in str(q) and "<table" in q._repr_html_()
    assert Quantities(**q.to_dict()) == q


MEANINGLESS = [  # logarithms of counts, multiplicities, the sentence
    ([], None, "No counts were given: a graph needs at least one parameter"),
    ([0.0, nan], None, "Count 1 is NaN: pass log2 of a count"),
    ([0.0, 1.0, -inf], None, r"Count 2 is zero \(log2 -inf\): leave parameters"),
    ([inf], None, r"Count 0 is infinite \(log2 inf\)"),
    ([-5.0], None, "Count 0 is less than one"),
    ([1.0, 2.0], [1], "2 counts but 1 multiplicities: pass one multiplicity a count"),
    ([1.0, 2.0], [3, 0], "Multiplicity 0 is not .*positive.*leave"),
    *(([1.0], [times], f"Multiplicity {times} is not") for times in (-2, nan, inf, 1.5)),
]


def test_numbers_that_mean_nothing():
    sizes = {"input_nodes": 1, "output_nodes": 1}
    for logs, times, message in MEANINGLESS:
        with pytest.raises(ValueError, match=message):
            derive(logs, times, **sizes)
    for name, size in product((*sizes, "weight_nodes"), (0, -1, nan)):
        with pytest.raises(ValueError, match=f"{name}={size}, but a graph has at least one"):
            derive([1.0], **sizes | {name: size})


def test_expectations_may_be_below_one():
    q = derive([-1.0, 1.0], [2, 1], input_nodes=2, output_nodes=1, expectations=True)
    assert q.log2_contexts == pytest.approx(np.log2(3))
    assert q.expected_spread + q.entropy == pytest.approx(q.log2_contexts)
    assert derive([-3.0], input_nodes=1, output_nodes=1, expectations=True).P_G_spread == -np.inf
