"""Lemma 1 of NN-Mass, which appendix F takes from Hoggatt et al. (1960), derived anew."""

from __future__ import annotations

from collections.abc import Iterator

import sympy as sp

from reuseprior.proofs import Printed, Step, Theory, derived
from reuseprior.proofs.theory import Numbers

a, b, c = sp.symbols("a b c", positive=True)  # sides of a triangle
x, y, z = sp.symbols("x y z", nonnegative=True)  # half of what two sides have above the third


def _triangle(first: float, second: float, third: float) -> Numbers:
    half = (first + second + third) / 2
    return {a: first, b: second, c: third, x: half - first, y: half - second, z: half - third}


TRIANGLES = Theory(
    things="triangles",
    settings="triples of a, b, c",
    read=_triangle,
    counted=frozenset({x, y, z}),
    grid=((3, 4, 5), (5, 4, 3), (1, 1, 1), (2, 3, 5), (5, 2, 3), (7, 7, 1), (1, 9, 9.5), (9, 1, 9)),
    indices={},
    told=lambda first, second, third: f"a = {first}, b = {second}, c = {third}",
)


@derived(
    "NN-Mass, Lemma 1",
    "Sides $a$, $b$ and $c$ of a triangle, or of a flat one: $\\sqrt a$ is at most "
    "$\\sqrt b + \\sqrt c$ and at least their difference. With $a=y+z$, $b=z+x$ and $c=x+y$ the "
    "differences of the squares have only terms that are at least 0.",
)
def lemma_1() -> Iterator[Step | Printed]:
    sides = TRIANGLES.check((a, y + z), (b, z + x), (c, x + y))
    roots = sp.sqrt(b * c)
    above = Step(
        (sp.sqrt(b) + sp.sqrt(c)) ** 2 - a, 2 * x + 2 * roots, "at least 0: √a ≤ √b + √c", sides
    )
    product = Step(b * c - x**2, x * a + y * z, "so √(bc) is at least x", sides)
    below = Step(
        a - (sp.sqrt(b) - sp.sqrt(c)) ** 2,
        2 * (x * a + y * z) / (roots + x),
        "at least 0: √a is no less than √b and √c differ by",
        sides,
    )
    yield above
    yield product
    yield below
    yield Printed(above, below)
