"""The closed forms against counted graphs, against 50 digits, and against bad input."""

from itertools import product
from math import fsum, isclose, log

import mpmath
import numpy as np
import pytest
import sympy as sp

from reuseprior.chapters import closed_forms as cf
from reuseprior.contexts import count_contexts
from reuseprior.errors import UserError
from reuseprior.models import MLP, without_weights
from tests.soak import drawn

EACH_FORM = pytest.mark.parametrize("name", sorted(cf.every_form()))
GRAPHS = [  # width, depth, bias; of the deepest a few are drawn
    *product((1, 2, 5, 120), (1, 2, 5, 40), (False, True)),
    *drawn(product((1, 2, 3, 10, 120), (1000,), (False, True)), 3),
]


def agree(closed: float, found: float) -> bool:
    return isclose(closed, found, rel_tol=1e-10, abs_tol=1e-12)


def options(form: cf.ClosedForm, depth: int) -> dict:
    return {"layer": depth // 2} if form.expression.has(cf.j) else {}


def counted(width, depth, bias):
    with without_weights():
        model = MLP(width, depth, bias=bias)
    return count_contexts(model, (1, width))


@pytest.mark.parametrize(("width", "depth", "bias"), GRAPHS)
def test_equal_counted_graphs(width, depth, bias):
    found, nats = counted(width, depth, bias), log(2)
    q = found.quantities()
    assert agree(cf.log_contexts(width, depth, bias=bias), q.log2_contexts * nats)
    assert agree(cf.expected_energy(width, depth, bias=bias), q.expected_spread * nats)
    assert agree(cf.entropy(width, depth, bias=bias), q.entropy * nats)
    assert agree(cf.performance_bits(width, depth, bias=bias), q.P_G_spread)
    scale = q.input_nodes / q.graph_size
    in_nats = log(q.parameters * (q.expected_spread * nats + 1) * scale)
    assert agree(cf.performance(width, depth, bias=bias), in_nats)
    for layer in {0, depth // 2, depth - 1}:
        weight = found.parameter_counts[(depth - 1 - layer) * (1 + bias)]
        bits = float(weight.log2_counts.ravel()[0])
        assert agree(cf.energy(width, depth, layer=layer), bits * nats)
        closed = cf.probability(width, depth, layer=layer, bias=bias)
        # p = 2^(bits − total) is only as good as the difference of two large logarithms
        expected = 2.0 ** (bits - q.log2_contexts)
        assert isclose(closed, expected, rel_tol=1e-10, abs_tol=1e-300)


def test_output_nodes_are_an_argument_and_numpys_integers_whole_numbers():
    assert cf.entropy(np.int64(3), np.int32(4)) == cf.entropy(3, 4)
    q = counted(10, 40, False).quantities()
    one = log(q.parameters * (q.expected_spread + 1) * 10 / (10 + 1 + q.weight_nodes), 2)
    assert agree(cf.performance_bits(10, 40, output_nodes=1), one)
    assert agree(cf.performance_bits(10, 40, input_nodes=10, output_nodes=10), q.P_G_spread)


@pytest.mark.parametrize("bias", [False, True])
def test_the_hypothetical_prior_equals_its_sums(bias):
    for sizes in product((1, 2, 3, 10), (1, 2, 5, 40)):
        (width, depth), g = sizes, sizes[0] * (sizes[0] + bias)
        z = fsum(g * width**-j for j in range(depth))
        p = [width**-j / z for j in range(depth)]
        energy = fsum(j * p[j] * g for j in range(depth))
        estimate = log(g * depth * (energy + 1) * width / (2 * width + g * depth))
        for form, expected in [
            (cf.hypothetical_log_partition, log(z)),
            (cf.hypothetical_expected_energy, energy),
            (cf.hypothetical_entropy, log(z) + log(width) * energy),
            (cf.hypothetical_performance, estimate),
        ]:
            assert agree(form(*sizes, bias=bias), expected), (form, sizes)
        found = [cf.hypothetical_probability(*sizes, layer=j, bias=bias) for j in range(depth)]
        assert all(map(agree, found, p)), sizes


def evaluated(form, values, digits):
    with mpmath.workdps(digits):
        function = sp.lambdify(cf.SYMBOLS, form.expression, "mpmath")
        return float(function(*(mpmath.mpf(values[s]) for s in cf.SYMBOLS)))


@EACH_FORM
@pytest.mark.parametrize("depth", [1, 2, 30, 1000, 10**6])
def test_full_digits(name, depth):
    form = cf.every_form()[name]
    known = options(form, depth)
    for width in (2, 120, 10**6):
        exact = evaluated(form, form._values(width, depth, **known), 50)
        assert isclose(form(width, depth, **known), exact, rel_tol=1e-14, abs_tol=1e-15), width


@pytest.mark.parametrize("depth", [1, 2, 7, 10**6])
def test_width_one_is_the_limit(depth):
    for name, form in cf.every_form().items():
        if form.least_width == 1:
            known = options(form, depth)
            with mpmath.workdps(120):
                values = form._values(1, depth, **known) | {cf.ω: 1 + mpmath.mpf(10) ** -40}
            near = evaluated(form, values, 120)
            assert isclose(form(1, depth, **known), near, rel_tol=1e-12, abs_tol=1e-12), name


@pytest.mark.slow
def test_symbolic_and_numeric_are_one_source():
    assert cf.expected_energy.exact(2, 2) == sp.Rational(2, 3) * sp.log(2)
    assert cf.expected_energy.exact(1, 9) == 0
    assert len(str(cf.hypothetical_expected_energy.exact(10, 3999))) > 4000
    assert cf.entropy_limit.exact(2, 10**6) == 2 * sp.log(2) + sp.log(4)
    thesis = (cf.D * cf.ω ** (cf.D - 1) / (cf.ω**cf.D - 1) - 1 / (cf.ω - 1)) * cf.ω * sp.log(cf.ω)
    assert sp.simplify(thesis - cf.expected_energy.expression) == 0
    assert cf.expected_energy._repr_latex_().startswith("$")


@EACH_FORM
def test_exact_is_exact(name):
    """Not a number near it: 1 - 30/(2^30 - 1) is no 1, though floats can hardly tell."""
    form = cf.every_form()[name]
    for width, depth in [(2, 2), (2, 30), (3, 20), (2, 60), (10, 60)]:
        known = options(form, depth)
        exact = form.exact(width, depth, **known)
        expected = form.expression.subs(form._values(width, depth, **known))
        assert abs(sp.N(exact - expected, 80)) < 1e-60
        assert isclose(exact, form(width, depth, **known), rel_tol=1e-14)


def test_the_corrections_at_two_widths():
    for width, gap in [(2, 0.693), (100, 0.047)]:
        printed = cf.printed_expected_energy_limit(width, 1000)
        true = cf.expected_energy(width, 1000)
        assert round(printed - true, 3) == gap
        assert agree(cf.expected_energy_limit(width, 1000), true)
        H = cf.entropy(width, 1000)
        assert round(H - cf.printed_entropy_limit(width, 1000), 3) == gap
        assert agree(cf.entropy_limit(width, 1000), H)
    assert cf.printed_expected_energy_limit(1, 10) == 0  # printed, it has this value


BAD = [
    (lambda: cf.performance(0, 3), "width=0 must be from 1"),
    (lambda: cf.performance(2.5, 3), "width=2.5 must be a whole number"),
    (lambda: cf.performance(10**400, 3), "2\\^53"),
    (lambda: cf.performance(2, 3, output_nodes=0), "output_nodes=0 must be from 1"),
    (lambda: cf.performance(2, 3, layer=1), "has no layer"),
    (lambda: cf.performance(2, 3, biased=True), "has no option biased=: there are bias="),
    (lambda: cf.performance(2, 3, bias="no"), "bias='no' must be True or False"),
    (lambda: cf.probability(2, 3, layer=3), "layer=3, but 3 layers are numbered 0 to 2"),
    (lambda: cf.probability(2, 3), "needs layer="),
    (lambda: cf.entropy_limit(1, 10), "every count is one"),
    (lambda: cf.entropy.exact(2, 10**6), "has numbers of 301,030 digits: call the form"),
]


@pytest.mark.parametrize(("ask", "sentence"), BAD)
def test_bad_input_gets_one_sentence(ask, sentence):
    with pytest.raises(UserError, match=sentence) as caught:
        ask()
    assert "\n" not in str(caught.value)
