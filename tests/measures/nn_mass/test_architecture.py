"""Closed forms against the printed tables, counting by hand, and what is refused."""

from fractions import Fraction

import pytest

from reuseprior.measures.nn_mass import Architecture, NNMassError


@pytest.mark.parametrize(("layers", "candidates", "mass", "parameters", "flops"), [  # in billions
    (64, (90, 170, 300), 1126.5497, 11_891_370, 3.6332),
    (64, (50, 100, 150), 622.6901, 8_146_242, 2.5372),
    (40, (60, 130, 170), 755.3455, 5_019_894, 1.5921),
    (37, (70, 140, 180), 813.0222, 4_691_430, 1.5126),
    (31, (70, 140, 200), 856.9286, 3_824_062, 1.1981),
])  # fmt: skip
def test_table_1(layers, candidates, mass, parameters, flops):
    one = Architecture.of_layers(layers, candidates)
    assert float(one.mass) == pytest.approx(mass, abs=5e-5)
    assert one.parameters() == parameters
    assert one.flops() / 1e9 == pytest.approx(flops, abs=5e-5)


def test_appendix_d():
    example = Architecture(depth=4, widths=(2, 3, 4), candidates=(3, 4, 5))
    assert (example.mass, example.density) == (28, Fraction(85, 108))
    assert example.linked_channels(2) == (0, 0, 4, 5)
    assert [4 * example.degree(cell) for cell in range(3)] == [5, 7, 9]


def test_all_links_make_density_one_and_none_zero():
    full, none = (Architecture(6, (3,), (t,)) for t in (12, 0))
    assert (full.density, full.mass, none.mass) == (1, 18, 0)
    assert Architecture(6, (3,), (99,)).mass == 18, "more candidates than there are change nothing"


def test_half_the_mass_is_the_degree_of_deep_cells():
    one = Architecture(300, (8,), (40,))
    assert float(one.degree(0) / one.mass) == pytest.approx(1 / 2, abs=0.01)
    shallow = Architecture.of_layers(31, (70, 140, 200))
    cell = shallow.widths[0] * shallow.depth * shallow.cell_density(0)
    assert shallow.degree(0) / cell == Fraction(8 * 7, 2 * 81), "31 % less"


@pytest.mark.parametrize("density", [0, 0.1, 0.3, 0.77, 1])
def test_of_density_takes_the_fewest_candidates(density):
    one = Architecture.of_density(7, (4, 6), density)
    for cell, t in enumerate(one.candidates):
        assert one.cell_density(cell) >= density
        if t:
            fewer = Architecture(7, (one.widths[cell],), (t - 1,))
            assert fewer.density < density


@pytest.mark.parametrize(("make", "message"), [
    (lambda: Architecture(2, (4,), (1,)), "depth is 2: it must be a whole number from 3 on"),
    (lambda: Architecture(4.0, (4,), (1,)), r"depth is 4\.0: it must be a whole"),
    (lambda: Architecture(4, (0,), (1,)), "a width is 0: it must be a whole number from 1 on"),
    (lambda: Architecture(4, (2,), (-1,)), "candidates is -1: it must be a whole number from 0 on"),
    (lambda: Architecture(4, (2, 3), (1,)), "widths has 2 cells and candidates 1: give one"),
    (lambda: Architecture.of_layers(30, (1, 1, 1)), r"30 layers are not 3 d \+ 4: .* 28 and 31"),
    (lambda: Architecture.of_layers(31, (1, 1, 1), width_multiplier=0.3),
        r"width_multiplier 0\.3 times 16 is not whole: choose a multiple of 1/16"),
    (lambda: Architecture.of_density(5, (4,), 1.5), r"density is 1\.5: it must be from 0 to 1"),
])  # fmt: skip
def test_what_cannot_be_is_refused_by_one_sentence(make, message):
    with pytest.raises(NNMassError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)
