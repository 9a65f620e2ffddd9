"""Fast counts equal brute force on the unrolled graph, in exact integers."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from torch import nn

from reuseprior.contexts import (
    CountingError,
    Graph,
    count_contexts,
    horizontal_unroll,
    trace_model,
    uniform,
)
from reuseprior.contexts.array import CountArray, ScaledSum
from tests.contexts.naive import Add, Concatenate, Gate, Writer

pytestmark = pytest.mark.slow

UNROLLED_AT_MOST = 20_000


@st.composite
def graphs(draw) -> Graph:
    """Random DAGs: several edges between two nodes, shared parameters, biases, dead ends."""
    inputs = [f"i{k}" for k in range(draw(st.integers(1, 3)))]
    parameters = [f"w{k}" for k in range(draw(st.integers(1, 8)))]
    nodes = {}
    for k in range(draw(st.integers(1, 9))):
        sources = st.sampled_from([*inputs, *nodes, None])
        use = st.tuples(sources, st.one_of(st.none(), st.sampled_from(parameters)))
        nodes[f"n{k}"] = tuple(draw(st.lists(use, min_size=1, max_size=4)))
    outputs = draw(st.lists(st.sampled_from(list(nodes)), unique=True, max_size=3))
    return Graph(nodes, tuple(outputs))


def examples(count):
    """So many hundreds, and so many tens in the quick checks."""
    return settings(
        max_examples=count * settings.default.max_examples, deadline=None, derandomize=True,
        suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
    )  # fmt: skip


@examples(2)
@given(graphs())
def test_graph_counts_equal_unrolled_repetitions(graph):
    assume(graph.contexts() and sum(graph.paths().values()) <= UNROLLED_AT_MOST)
    unrolled = horizontal_unroll(graph)
    assert graph.contexts() == unrolled.repetitions()
    readers = [s for uses in unrolled.nodes.values() for s, _ in uses if s is not None]
    assert len(readers) == len(set(readers)), "a node of the unrolled graph has two readers"
    assert set(uniform(graph).contexts().values()) <= {1}


@st.composite
def layers(draw, channels: int, size: int) -> tuple[nn.Module, int, int]:
    """One random layer on (channels, size, size); returns it with what it makes."""
    groups = draw(st.sampled_from([g for g in (1, 2, 3) if channels % g == 0]))
    out = groups * draw(st.integers(1, 2))
    kernel, other, end = (draw(st.integers(1, n)) for n in (3, 4, size))
    stride, dilation = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    padding, bias = draw(st.integers(0, 2)), draw(st.booleans())
    assume(size + 2 * padding > dilation * (kernel - 1) and size + kernel // 2 * 2 >= kernel)
    window = kernel, stride, min(padding, kernel // 2)
    kinds = [
        lambda: nn.Conv2d(channels, out, kernel, stride, padding, dilation, groups, bias),
        lambda: nn.Conv2d(channels, out, (kernel, other), padding="same", bias=False),
        lambda: nn.ConvTranspose2d(channels, out, kernel, stride, groups=groups, bias=bias),
        lambda: nn.MaxPool2d(*window),
        lambda: nn.AvgPool2d(*window),
        lambda: nn.AdaptiveAvgPool2d(end),
        lambda: nn.BatchNorm2d(channels),
        lambda: nn.ReLU(inplace=True),
        lambda: Gate(),
        lambda: Add(nn.Conv2d(channels, channels, 3, padding=1, bias=bias)),
        lambda: Add(nn.Sequential(nn.Conv2d(channels, channels, 1), nn.BatchNorm2d(channels))),
        lambda: Concatenate(nn.Conv2d(channels, out, 3, padding=1, bias=bias)),
        lambda: Concatenate(nn.Sequential(nn.Conv2d(channels, 1, 1), nn.BatchNorm2d(1))),
    ]
    layer = draw(st.sampled_from(kinds))().eval()
    _, channels, size, _ = layer(torch.zeros(1, channels, size, size)).shape
    assume(size <= 6)
    return layer, channels, size


@st.composite
def networks(draw) -> tuple[nn.Module, tuple[int, ...]]:
    """Random small CNNs and MLPs, with layers used twice and weights tied."""
    if draw(st.integers(0, 4)) == 0:
        return draw(perceptrons())
    shape = (draw(st.integers(1, 3)), *[draw(st.integers(2, 4))] * 2)
    parts, channels, size = [], shape[0], shape[1]
    for _ in range(draw(st.integers(1, 3))):
        layer, channels, size = draw(layers(channels, size))
        parts.append(layer)
    if draw(st.booleans()):  # a module called twice, and a second one with the same weight
        twice = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        tied = nn.Conv2d(channels, channels, 3, padding=1, stride=2, bias=False)
        tied.weight = twice.weight
        parts += draw(st.sampled_from([[twice, nn.ReLU(), twice], [twice, tied], [tied]]))
        size = -(-size // 2) if tied in parts else size
    if draw(st.booleans()):
        parts += [nn.Flatten(), nn.Linear(channels * size**2, draw(st.integers(1, 3)))]
    return nn.Sequential(*parts), shape


@st.composite
def perceptrons(draw) -> tuple[nn.Module, tuple[int, ...]]:
    widths = draw(st.lists(st.integers(1, 4), min_size=2, max_size=5))
    parts = []
    for a, b in pairwise(widths):
        parts += [nn.Linear(a, b, bias=draw(st.booleans())), nn.ReLU()]
        if a == b and draw(st.booleans()):
            parts.append(parts[-2])
    return nn.Sequential(*parts), (widths[0],)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@examples(1)
@given(networks())
def test_model_counts_equal_unrolled_repetitions(network):
    model, shape = network
    assume(any(True for _ in model.parameters()))
    graph = Writer(model).graph(model, shape)
    assume(sum(graph.paths().values()) <= UNROLLED_AT_MOST)
    brute_force = horizontal_unroll(graph).repetitions()
    assert graph.contexts() == brute_force
    if not brute_force:
        with pytest.raises(CountingError, match="No parameter of the model has a context"):
            count_contexts(model, (1, *shape), exact=True)
        return

    traced = trace_model(model, (1, *shape))
    exact, scaled = traced.count(exact=True), traced.count()
    found = {}
    for p in exact.parameter_counts:
        for at, n in np.ndenumerate(np.broadcast_to(p.counts, p.shape)):
            if n:
                found[f"{p.name}{list(at)}"] = n
    assert found == brute_force

    for a, b in zip(exact.parameter_counts, scaled.parameter_counts, strict=True):
        np.testing.assert_allclose(*np.broadcast_arrays(a.log2_counts, b.log2_counts), 0, 1e-12)
    q = scaled.quantities()
    assert abs(q.entropy + q.expected_spread - q.log2_contexts) < 1e-9
    assert q.parameters == len(brute_force)
    assert q.input_nodes == int(np.prod(shape)) and q.output_nodes == len(graph.outputs)


@pytest.mark.soak
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
def test_more_of_both():
    for count, cases, test in [
        (20, graphs(), test_graph_counts_equal_unrolled_repetitions),
        (10, networks(), test_model_counts_equal_unrolled_repetitions),
    ]:
        examples(count)(given(cases)(test.hypothesis.inner_test))()


def test_parts_that_no_digit_shows_are_dropped():
    """In a long sequence counts differ by far more than a float's range from step to step."""
    model = nn.RNN(2, 6, batch_first=True)
    exact, scaled = (count_contexts(model, (1, 400, 2), exact=e) for e in (True, False))
    assert exact.quantities().log2_contexts > 1000
    for a, b in zip(exact.parameter_counts, scaled.parameter_counts, strict=True):
        np.testing.assert_allclose(*np.broadcast_arrays(a.log2_counts, b.log2_counts), 0, 1e-11)
    held = ScaledSum()
    for exponent in (0, 2000, 4000):
        held.add(CountArray(np.array([1.0, 2.0]), (2,)), exponent)
    assert [exponent for _, exponent in held.parts] == [4000]
    held.add(CountArray(np.array([0.0, 1.0]), (2,)), 6000)  # leaves the first entry to the others
    assert [exponent for _, exponent in held.parts] == [4000, 6000]
