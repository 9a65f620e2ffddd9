"""Models in memory, ranked and shown; a gap is a decision, and says where it does not reach."""

from itertools import pairwise
from math import inf

import pytest
import torch
import torchvision
from torch import nn

import reuseprior as rp
from reuseprior.contexts import CountingError, count_contexts
from reuseprior.measures import comparing
from reuseprior.measures.comparing import GAPS, NO_PATH, SIZES_DIFFER, TIED, TOKENS, WHAT_IT_IS
from tests.contexts.zoo import EXAMPLES, IMAGE, Calls, ones


def row(model, bits, multiply_adds=10**6, parameters=100, **more):
    sizes = {"weight_nodes": parameters, "parameters": parameters, "input_nodes": 8}
    costs = {"multiply_adds": multiply_adds, "tokens": False}
    return {"model": model, "P_G_spread": bits} | sizes | costs | more


@pytest.mark.parametrize("measure", comparing.MEASURES)
def test_the_wider_the_gap_the_more_are_right(measure):
    spans = [comparing.right(measure, gap) for gap in GAPS[:-1]]
    assert all(0.5 < least <= greatest <= 1 for least, greatest in spans)
    assert spans[0][1] < spans[-1][0]
    for edge in GAPS[1:-1]:  # an interval begins at its edge, whichever of the two is ahead
        below, at, negative = (comparing.right(measure, g) for g in (edge - 1e-9, edge, -edge))
        assert below != at == negative


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
    assert notes == [WHAT_IT_IS, *([said] if said else [])]
    assert comparing.limits([row("b", 2.0, **changed)]) == []


def two():
    return {"small": nn.Linear(8, 2), "large": nn.Sequential(nn.Linear(8, 64), nn.Linear(64, 2))}


def test_ranks_by_estimate_and_shows_itself_as_text_and_as_html():
    found = rp.compare(two(), (1, 8))
    assert [one.name for one in found] == ["large", "small"] and len(found) == 2
    q = count_contexts(two()["large"], (1, 8)).quantities()
    assert found["large"].quantities == q
    table = found.table()
    assert table.loc["large", "P′_G"] == q.P_G_spread and table.loc["small", "multiply-adds"] == 16
    assert list(table.index) == ["large", "small"] and set(table.input) == {"8"}
    with pytest.raises(KeyError, match="no model 'huge' is compared: large, small are"):
        found["huge"]
    gap = q.P_G_spread - found["small"].quantities.P_G_spread
    for shown in (str(found), found._repr_html_()):
        assert f"{q.P_G_spread:.4f}" in shown and "P′_G" in shown and SIZES_DIFFER not in shown
        assert f"{gap:.2f} bits, right in" in shown and WHAT_IT_IS in shown
    wide = {"small": (1, 8), "large": (1, 8), "wide": (1, 9)}
    found = rp.compare(two() | {"wide": nn.Linear(9, 2)}, wide)
    assert str(found).endswith(SIZES_DIFFER) and SIZES_DIFFER in found._repr_html_()


def test_what_no_input_reaches_comes_last_and_names_are_text_in_html():
    deaf = Calls(lambda self, x: self.weight.sum(1) * 1.0, weight=ones(2, 1000))
    found = rp.compare({"<img src=x onerror=alert(1)>": deaf, **two()}, (1, 8))
    name = [one.name for one in found][-1]
    assert f"\n{name}: {NO_PATH}\n" in str(found) and "<img" in name
    assert NO_PATH in found._repr_html_() and "<img" not in found._repr_html_()


def test_models_of_all_kinds_in_one_figure():
    models = {"ResNet-18": torchvision.models.resnet18()}
    models |= {name: model() for name, (model, _) in EXAMPLES.items()}
    inputs = {"ResNet-18": IMAGE} | {name: given for name, (_, given) in EXAMPLES.items()}
    found = rp.compare(models, inputs)
    names = [one.name for one in found]
    assert names == ["ResNet-18", "tied", "lstm"]
    assert f"tied, lstm: {TIED}" in str(found) and TOKENS in str(found)
    assert found["lstm"].shape == "12" and found["ResNet-18"].shape == "3×224×224"
    estimates, *costs = found.plot().axes
    assert [label.get_text() for label in estimates.get_yticklabels()] == names[::-1]
    assert [ax.get_xlabel() for ax in costs] == ["parameters", "multiply-adds"]


@pytest.mark.parametrize(("models", "inputs", "message"), [
    (nn.Linear(8, 2), (1, 8), r"write it as compare\(\{'a': net, 'b': other\}, shape\)"),
    ({}, (1, 8), "compare takes models by name"),
    ({"net": nn.Linear(8, 2)}, {"other": (1, 8)}, "There is no input for 'net'"),
    ({"net": 3}, (1, 8), "^net: Cannot count contexts of a int"),
])  # fmt: skip
def test_refused(models, inputs, message):
    with pytest.raises(CountingError, match=message):
        rp.compare(models, inputs)


def test_says_what_is_left_out():
    """Example ids choose rows, and the others never count: ids without values stand for any."""
    some = torch.zeros(1, 4, dtype=torch.long)
    both = {"some": nn.Embedding(10, 2), "any": nn.Embedding(10, 2)}
    found = rp.compare(both, {"some": some, "any": some.to("meta")})
    left_out = comparing.LEFT_OUT
    assert f"some: 18 {left_out}" in str(found) and f"any: 20 {left_out}" not in str(found)
    assert found["any"].quantities.parameters == 20


@pytest.mark.parametrize("last", [3, 30, 10**9])
def test_sizes_are_written_apart(last):
    table = rp.compare(two(), (1, 8)).table().iloc[[0, 1, 1]]
    table["multiply-adds"] = [1, 2, last]
    fig = comparing.plot_comparison(table)
    fig.canvas.draw()
    for ax in fig.axes[1:]:
        boxes = [t.get_window_extent() for t in ax.get_xticklabels(which="both") if t.get_text()]
        boxes = sorted((b.x0, b.x1) for b in boxes if ax.bbox.x0 <= (b.x0 + b.x1) / 2 <= ax.bbox.x1)
        assert len(boxes) >= 2
        assert all(end < start for (_, end), (start, _) in pairwise(boxes))
