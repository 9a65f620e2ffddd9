"""Ensembles and priors, against chapter 4's numbers and sums written out."""

from functools import partial
from math import log

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from reuseprior.chapters import energy as work
from reuseprior.contexts import CountingError, trace_model
from reuseprior.contexts.graph import linear_paths, longest_path, per_layer
from reuseprior.contexts.rules import OP_METADATA, RULES, OpMetadata, op_metadata
from reuseprior.measures import energy as priors
from reuseprior.measures.energy import LN2, Ensemble
from reuseprior.models import CNN, MLP, build
from tests.contexts.zoo import Calls, ones

LEVELS = np.array([0.0, 1.0, 2.5]), np.array([3.0, 2.0, 1.0])


@pytest.mark.parametrize("beta", [-1.0, -0.3, 0.0, 0.7, 5.0])
def test_sums_written_out(beta):
    energies, times = LEVELS
    each = np.repeat(energies, times.astype(int))
    z = np.exp(-beta * each).sum()
    p = np.exp(-beta * each) / z
    e = Ensemble(energies, times, beta)
    assert e.partition_function == pytest.approx(z, rel=1e-14)
    assert e.expected_energy == pytest.approx(p @ each, rel=1e-14)
    assert e.entropy == pytest.approx(-(p @ np.log(p)), rel=1e-14)
    assert e.entropy == pytest.approx(e.log_partition + beta * e.expected_energy, rel=1e-14)
    assert e.probabilities.sum() == pytest.approx(1, rel=1e-15)
    row = Ensemble(*LEVELS, -1.0).sweep([9, beta]).iloc[1]
    assert row.beta == beta and row["log z"] == pytest.approx(np.log(z))
    variance = p @ each**2 - (p @ each) ** 2
    assert (row.variance, e.heat_capacity) == pytest.approx((variance, beta**2 * variance))
    assert row["heat capacity"] == e.heat_capacity


def test_energies_of_any_size():
    e, p = Ensemble([1e300, 0.0], [1, 1], -1e-300), np.e / (1 + np.e)
    assert e.heat_capacity == pytest.approx(p * (1 - p)) and e.at(-1).heat_capacity == 0
    e = Ensemble([1e6, 1e6 - 1], [1, 1], -1.0)
    assert e.entropy == pytest.approx(Ensemble([1.0, 0.0], [1, 1], -1.0).entropy, rel=1e-9)
    assert e.partition_function == np.inf and np.isfinite(e.log_partition)


LEVEL = Ensemble(*LEVELS, -1.0)
SIZES = {"input_nodes": 1, "output_nodes": 1, "weight_nodes": 1}


def counted(width=2, depth=2):
    return trace_model(MLP(width, depth), (1, width)).count()


BAD = [
    (lambda: Ensemble([], [], -1.0), "0 energies and 0 multiplicities"),
    (lambda: Ensemble([1.0], [1, 2], -1.0), "1 energies and 2 multiplicities"),
    (lambda: Ensemble([1.0, np.inf], [1, 1], -1.0), "Energy 1 is inf"),
    (lambda: Ensemble([1.0], [0], -1.0), "Multiplicity 0 is not a positive whole number"),
    (lambda: Ensemble([1.0, 2.0], [2.5, 1.2], -1.0), "Multiplicity 2.5 is not a positive whole"),
    (lambda: Ensemble([1.0], [np.inf], -1.0), "Multiplicity inf is not"),
    (lambda: Ensemble([1.0], [1], np.nan), "β = nan is not a finite number"),
    (lambda: LEVEL.sweep(["a"]), "β = 'a' is not a finite number"),
    (lambda: Ensemble(["a"], [1], -1.0), "The energies are not numbers: could not convert"),
    (lambda: Ensemble([1.0], ["a"], -1.0), "The multiplicities are not numbers"),
    (lambda: Ensemble([1e308, -1e308], [1, 1], -1.0), "energies are further apart than a float"),
    (lambda: Ensemble([8e307, -8e307], [1, 1], -1.5).log_partition, "exponents -βE are further"),
    (lambda: priors.hypothetical(1), "width=1 must be from 2"),
    (lambda: priors.hypothetical("3"), "width='3' must be a whole number"),
    (lambda: priors.discounted("3"), "A discount of '3' a layer is no factor"),
    (lambda: priors.discounted(0), "A discount of 0 a layer is no factor"),
    (lambda: priors.discounted(float("inf")), "A discount of inf a layer is no factor"),
    (lambda: priors.discounted(0.5).ensemble(counted()), "cannot be: pass trace_model"),
    (lambda: counted().traced.count(discount=per_layer(0.5), exact=True), "leave exact=True out"),
    (lambda: priors.length_normalised().ensemble(counted(1, 500).traced),
     "passes 499 layers.*use discounted"),
    (lambda: priors.limited_precision("3"), "'3' significant bits hold nothing"),
    (lambda: priors.limited_precision(0), "0 significant bits hold nothing"),
    (lambda: work.under_priors("table-5-2", [priors.reusability()]), "choose table-5-1 or table"),
    (lambda: Ensemble([1e300], [1], -1e300).log_partition, "overflows a float"),
    (lambda: Ensemble([-5.0], [1], -1.0).performance(**SIZES), "such a prior has no P′"),
    *((partial(LEVEL.performance, **SIZES | {name: size}), f"{name}=")
      for name in SIZES for size in (0, float("nan"), 1.5, "2", True)),
]  # fmt: skip


@pytest.mark.parametrize(("ask", "message"), BAD)
def test_bad_numbers(ask, message):
    with pytest.raises(ValueError, match=message) as caught:
        ask()
    assert "\n" not in str(caught.value)


# Priors -----------------------------------------------------------------------------------------

MODELS = {
    "mlp": (lambda: MLP(4, 6, skip=True), (1, 4)),
    "cnn": (lambda: CNN(3, 4, batch_norm=True), (1, 3, 5, 5)),
    "V2-B0": (lambda: build("V2-B0"), (1, 3, 64, 64)),
}


@pytest.mark.parametrize("name", MODELS)
def test_the_reusability_prior_is_chapter_4_and_no_discount_is_plain_counting(name):
    model, shape = MODELS[name]
    traced = trace_model(model(), shape)
    q = traced.count().quantities()
    e = priors.reusability().ensemble(traced)
    sizes = {n: getattr(q, n) for n in ("input_nodes", "output_nodes", "weight_nodes")}
    assert e.expected_energy / LN2 == pytest.approx(q.expected_spread, rel=1e-12)
    assert e.entropy / LN2 == pytest.approx(q.entropy, rel=1e-12)
    assert e.log_partition / LN2 == pytest.approx(q.log2_contexts, rel=1e-12)
    assert e.performance(**sizes) == pytest.approx(q.P_G_spread, rel=1e-12)

    plain, discounted = traced.count(), traced.count(discount=per_layer(1.0))
    for a, b in zip(plain.parameter_counts, discounted.parameter_counts, strict=True):
        assert a.log2_counts.tobytes() == b.log2_counts.tobytes()
        assert a.names == b.names


@pytest.mark.parametrize("gamma", [0.25, 2.0])
def test_discounts_multiply_along_a_path(gamma):
    """Layer t of D, width n: n^(D - t) paths that each pass D - t layers."""
    width, depth = 3, 7
    counts = trace_model(MLP(width, depth), (1, width)).count(discount=per_layer(gamma))
    for t, p in enumerate(counts.parameter_counts, start=1):
        expected = (depth - t) * np.log2(gamma * width)
        assert p.log2_counts.item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("width", "depth"), [(3, 40), (2, 120)])
def test_length_normalised_paths(width, depth):
    """Counts of n^k / (k + 1) of a perceptron still grow n-fold with every layer, nearly.

    And of one layer beside two: from the first, one path passes no layer and n pass one.
    """
    traced = trace_model(MLP(width, depth), (1, width))
    assert longest_path(traced) == depth - 1
    found = priors.length_normalised().ensemble(traced).energies
    steps = np.arange(depth - 1, -1, -1)
    np.testing.assert_allclose(found, steps * log(width) - np.log(steps + 1), 1e-8, 1e-10)
    assert "by a logarithm only" in priors.length_normalised().reason
    first, second = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
    two = Calls(lambda self, x: (y := first(x)) + second(y), first=first, second=second)
    found = priors.length_normalised().ensemble(trace_model(two, (1, 2))).energies
    np.testing.assert_allclose(np.exp(found), [1 + 2 / 2, 1], 1e-12)


def test_only_paths_through_non_linearities():
    """Linear, ReLU, linear beside a skip: the skip's own path is linear and does not count."""
    traced = trace_model(MLP(3, 2, skip=True), (1, 3))
    e = priors.through_nonlinearities().ensemble(traced)
    # from layer 1: n paths through ReLU and layer 2, and one through ReLU and the skip
    np.testing.assert_allclose(np.exp(e.energies), [3 + 1], 1e-12)
    assert e.multiplicities.tolist() == [9]
    linear = trace_model(nn.Sequential(nn.Linear(2, 2, bias=False)), (1, 2))
    with pytest.raises(CountingError, match="No path of this model passes a non-linearity"):
        priors.through_nonlinearities().ensemble(linear)


def test_priors_that_do_not_count_again():
    """The thesis's hypothetical prior (section 5.4.1) and limited precision, of counts alone.

    In float32 adding ones stagnates at 2^24, and so does the energy.
    """
    width, depth = 5, 30
    prior, counts = priors.hypothetical(width), counted(width, depth)
    e, j = prior.ensemble(counts), np.arange(depth)
    z = (width**2 * float(width) ** -j).sum()
    assert prior.beta == pytest.approx(log(width))
    assert e.partition_function == pytest.approx(z, rel=1e-12)
    energy = (j * width**2 * float(width) ** -j).sum() / z
    assert e.expected_energy == pytest.approx(energy, rel=1e-12)
    e = priors.limited_precision(24).ensemble(counts)
    assert e.energies.max() == pytest.approx(24 * LN2) and e.energies.min() == 0
    for prior in (priors.reusability(), priors.hypothetical(3), priors.limited_precision()):
        traced = prior.ensemble(counts.traced)
        assert prior.ensemble(counts).expected_energy == traced.expected_energy


def test_every_operator_with_a_rule_is_classified():
    said = ("linear", "factors", "given", "statistics")
    for operator in RULES:
        known = [getattr(op_metadata(operator), name) is not None for name in said]
        assert sum(known) == 1, operator


def between(code):
    """Two layers, and something between them, traced."""

    def forward(self, x):
        known = {"y": self.first(x), "x": x, "w": self.scale, "torch": torch, "F": F}
        return self.last(eval(code, known))

    first, last = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
    return trace_model(Calls(forward, first=first, last=last, scale=ones(4)), (1, 4))


NONLINEAR = """
    y.clamp(0); torch.clamp(y, 0, 6); y.abs(); y.exp(); y * y; y**3; y.sqrt(); y.sin();
    torch.erf(y); F.softsign(y); F.logsigmoid(y); y.maximum(y.flip(-1));
    y + y.amax(-1, keepdim=True); y * x; torch.where(y > 0, y, 0 * y); 1 / (1 + y); y.relu();
    y.relu_(); F.layer_norm(y, (4,)); F.normalize(y); F.max_pool1d(y, 1);
    F.instance_norm(y[:, None])[:, 0]; (y[:, None] @ x[:, :, None] @ x[:, None])[:, 0];
    y.masked_fill(y < 0, 0.0); x / y
"""
LINEAR = """
    y; y + x; y * w; y * w.exp() / w.abs(); y - y.mean(); F.dropout(y, 0.5, False);
    y.view(4, 1).t(); torch.where(torch.ones(4) > 0, y, 0 * y)
"""


def listed(codes):
    return [code.strip() for code in codes.split(";")]


@pytest.mark.parametrize("code", listed(NONLINEAR))
def test_what_is_a_non_linearity(code):
    traced = between(code)
    whole = {p.name: p.log2_counts for p in traced.count().parameter_counts}
    linear = traced.count(discount=linear_paths(traced)).parameter_counts
    assert "last.weight" in {p.name for p in linear}
    if "amax" not in code:  # whose sum keeps a straight way
        assert "first.weight" not in {p.name for p in linear}
        e = priors.through_nonlinearities().ensemble(traced)
        np.testing.assert_allclose(e.energies.max(), whole["first.weight"].max() * LN2)


@pytest.mark.parametrize("code", listed(LINEAR))
def test_what_is_none(code):
    traced = between(code)
    with pytest.raises(CountingError, match="No path of this model passes a non-linearity"):
        priors.through_nonlinearities().ensemble(traced)


def test_an_operator_that_is_not_classified(monkeypatch):
    monkeypatch.setitem(OP_METADATA, torch.ops.aten.tanh.default, OpMetadata())
    with pytest.raises(CountingError, match=r"whether aten.tanh.default is linear: say so"):
        priors.through_nonlinearities().ensemble(between("y.tanh()"))
