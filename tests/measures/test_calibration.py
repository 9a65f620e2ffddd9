"""A gap becomes a decision, and says where it does not reach."""

from math import inf

import pytest

from reuseprior.measures import comparing
from reuseprior.measures.comparing import GAPS, MEASURES, SIZES_DIFFER, TIED, TOKENS, right


def row(model, bits, multiply_adds=10**6, parameters=100, **more):
    sizes = {"weight_nodes": parameters, "parameters": parameters, "input_nodes": 8}
    costs = {"multiply_adds": multiply_adds, "tokens": False}
    return {"model": model, "P_G_spread": bits} | sizes | costs | more


@pytest.mark.parametrize("measure", MEASURES)
def test_the_wider_the_gap_the_more_are_right(measure):
    spans = [right(measure, gap) for gap in GAPS[:-1]]
    assert all(0.5 < least <= greatest <= 1 for least, greatest in spans)
    assert spans[0][1] < spans[-1][0]
    for edge in GAPS[1:-1]:  # an interval begins at its edge, whichever of the two is ahead
        assert right(measure, edge) == right(measure, -edge) != right(measure, edge - 1e-9)


@pytest.mark.parametrize(("a", "b", "by_contexts", "by_adds"), [
    ((3.0, 400), (2.4, 100), "0.60 bits", "agree, ×4"),
    ((3.0, 100), (2.4, 400), "0.60 bits", "disagree, ×0.25"),
    ((3.0, 100), (3.0, 100), "0.00 bits", "equal"),
    ((3.0, 100), (2.0, 0), "1.00 bits", "–"),
    ((3.0, 100), (-inf, 100), "–", "equal"),
    ((30.0, 100), (1.0, 100), "29.00 bits, right in over 98 %", "equal"),  # no share is certain
])  # fmt: skip
def test_neighbours(a, b, by_contexts, by_adds):
    (pair,) = comparing.pairs_of_neighbours([row("a", *a), row("b", *b)])
    assert (pair["ahead"], pair["of"]) == ("a", "b")
    assert pair["by P′_G"].startswith(by_contexts)
    assert pair["by multiply-adds"].startswith(by_adds) and pair["by parameters"] == "equal"


@pytest.mark.parametrize(("changed", "said"), [
    ({}, None), ({"input_nodes": 9}, SIZES_DIFFER), ({"weight_nodes": 101}, f"b: {TIED}"),
    ({"tokens": True}, TOKENS),
])  # fmt: skip
def test_limits_are_said_where_they_are(changed, said):
    notes = comparing.limits([row("a", 3.0), row("b", 2.0, **changed)])
    assert notes == [comparing.WHAT_IT_IS, *([said] if said else [])]
    assert comparing.limits([row("b", 2.0, **changed)]) == []
