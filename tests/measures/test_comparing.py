"""Models in memory, ranked and shown."""

from itertools import pairwise

import pytest
import torch
import torchvision
from torch import nn

import reuseprior as rp
from reuseprior.contexts import CountingError, count_contexts
from reuseprior.measures.comparing import (
    LEFT_OUT,
    NO_PATH,
    SIZES_DIFFER,
    TIED,
    TOKENS,
    WHAT_IT_IS,
    compare,
    plot_comparison,
)
from tests.contexts.zoo import EXAMPLES, IMAGE, Calls, ones


def two():
    return {"small": nn.Linear(8, 2), "large": nn.Sequential(nn.Linear(8, 64), nn.Linear(64, 2))}


def test_ranks_by_estimate_and_shows_itself_as_text_and_as_html():
    found = compare(two(), (1, 8))
    assert [row.name for row in found] == ["large", "small"] and len(found) == 2
    q = count_contexts(two()["large"], (1, 8)).quantities()
    assert found["large"].quantities == q
    table = found.table()
    assert table.loc["large", "P′_G"] == q.P_G_spread and table.loc["small", "multiply-adds"] == 16
    assert list(table.index) == ["large", "small"] and set(table.input) == {"8"}

    with pytest.raises(KeyError, match="no model 'huge' is compared: large, small are"):
        found["huge"]
    for shown in (str(found), found._repr_html_()):
        assert f"{q.P_G_spread:.4f}" in shown and "P′_G" in shown and SIZES_DIFFER not in shown
        gap = q.P_G_spread - found["small"].quantities.P_G_spread
        assert f"{gap:.2f} bits, right in" in shown and WHAT_IT_IS in shown
    assert WHAT_IT_IS not in str(compare({"alone": nn.Linear(8, 2)}, (1, 8)))


def test_says_when_sizes_differ():
    inputs = {"small": (1, 8), "large": (1, 8), "wide": (1, 9)}
    found = compare(two() | {"wide": nn.Linear(9, 2)}, inputs)
    assert str(found).endswith(SIZES_DIFFER) and SIZES_DIFFER in found._repr_html_()


def test_what_no_input_reaches_comes_last_and_names_are_text_in_html():
    deaf = Calls(lambda self, x: self.weight.sum(1) * 1.0, weight=ones(2, 1000))
    found = compare({"<img src=x onerror=alert(1)>": deaf, **two()}, (1, 8))
    name = [row.name for row in found][-1]
    assert f"\n{name}: {NO_PATH}\n" in str(found) and "<img" in name
    assert NO_PATH in found._repr_html_() and "<img" not in found._repr_html_()


def test_models_of_all_kinds_in_one_figure():
    models = {
        "ResNet-18": torchvision.models.resnet18(),
        "ViT-B/16": torchvision.models.vit_b_16(),
        **{name: model() for name, (model, _) in EXAMPLES.items()},
    }
    inputs = dict.fromkeys(models, IMAGE) | {name: given for name, (_, given) in EXAMPLES.items()}
    found = rp.compare(models, inputs)
    assert [row.name for row in found] == ["ViT-B/16", "ResNet-18", "tied", "lstm"]
    assert f"tied, lstm: {TIED}" in str(found) and TOKENS in str(found)
    assert found["lstm"].shape == "12" and found["ViT-B/16"].shape == "3×224×224"
    estimates, *costs = found.plot().axes
    labels = [label.get_text() for label in estimates.get_yticklabels()]
    assert labels == [row.name for row in found][::-1]
    assert [ax.get_xlabel() for ax in costs] == ["parameters", "multiply-adds"]


@pytest.mark.parametrize(("models", "inputs", "message"), [
    (nn.Linear(8, 2), (1, 8), r"write it as compare\(\{'a': net, 'b': other\}, shape\)"),
    ({}, (1, 8), "compare takes models by name"),
    ({"net": nn.Linear(8, 2)}, {"other": (1, 8)}, "There is no input for 'net'"),
    ({"net": nn.Linear(8, 2)}, (1, 9), "^net: "),
    ({"net": 3}, (1, 8), "^net: Cannot count contexts of a int"),
])  # fmt: skip
def test_refused(models, inputs, message):
    with pytest.raises(CountingError, match=message):
        compare(models, inputs)


def test_says_what_is_left_out():
    """Example ids choose rows, and the others never count: ids without values stand for any."""
    some = torch.zeros(1, 4, dtype=torch.long)
    both = {"some": nn.Embedding(10, 2), "any": nn.Embedding(10, 2)}
    found = compare(both, {"some": some, "any": some.to("meta")})
    assert f"some: 18 {LEFT_OUT}" in str(found) and f"any: 20 {LEFT_OUT}" not in str(found)
    assert found["any"].quantities.parameters == 20 and TOKENS in str(found)


@pytest.mark.parametrize("last", [3, 30, 10**4, 10**9])
def test_sizes_are_written_apart(last):
    table = compare(two(), (1, 8)).table().iloc[[0, 1, 1]]
    table["multiply-adds"] = [1, 2, last]
    fig = plot_comparison(table)
    fig.canvas.draw()
    for ax in fig.axes[1:]:
        boxes = [t.get_window_extent() for t in ax.get_xticklabels(which="both") if t.get_text()]
        boxes = sorted((b.x0, b.x1) for b in boxes if ax.bbox.x0 <= (b.x0 + b.x1) / 2 <= ax.bbox.x1)
        assert len(boxes) >= 2
        assert all(end < start for (_, end), (start, _) in pairwise(boxes))
