"""Counts and graphs as they are looked at: axes and lines say what the counts say."""

from io import BytesIO

import numpy as np
import pytest
import torch
import torchvision
from matplotlib import image
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from torch import nn

from reuseprior import sharing
from reuseprior.contexts import CountingError, Graph, count_contexts, horizontal_unroll, show
from tests.contexts.zoo import EXAMPLES, IDS, IMAGE, Calls, Tied

MODELS = {
    **{name: (model(), given) for name, (model, given) in EXAMPLES.items()},
    "resnet18": (torchvision.models.resnet18(), IMAGE),
    "one layer": (nn.Linear(4, 2), (1, 4)),
}


def texts(fig):
    return [text.get_text() for ax in fig.axes for text in ax.texts]


@pytest.mark.parametrize("name", MODELS)
def test_counts_as_they_are_looked_at(name):
    counted = count_contexts(*MODELS[name])
    found, means = show.by_tensor(counted), show.by_tensor(counted)["log2 mean count"]
    assert found.entries.sum() == counted.quantities().parameters
    assert [found.contexts.sum(), found.surprisal.sum()] == pytest.approx([1, 1], abs=1e-9)
    assert (found["log2 least count"] <= means + 1e-9).all()
    assert (means <= found["log2 greatest count"] + 1e-9).all()
    tensors, surprisal, multiplicity = counted.plot().axes
    drawn = np.concatenate([line.get_ydata() for line in tensors.lines])
    assert sorted(drawn) == pytest.approx(sorted(means))
    assert sum(bar.get_height() for bar in surprisal.patches) == pytest.approx(100)
    assert sum(bar.get_height() for bar in multiplicity.patches) == counted.parameters
    for fig in (counted.plot(), counted.draw()):
        data, size = fig._repr_png_()
        assert image.imread(BytesIO(data)).std() > 0.05
        assert size["width"] == pytest.approx(96 * fig.get_figwidth())
    layers = show.layers_of(counted, limit=24)
    names = {p.name for p in counted.parameter_counts}
    assert {t for layer in layers for t in layer.tensors} == names
    for position, layer in enumerate(layers):
        assert layer.sources and max(layer.sources) < position


def test_rows_name_layers_parameters_and_counts():
    counts = count_contexts(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), (1, 4))
    assert texts(counts.draw()) == [
        "layer", "parameters", "$\\log_2|C|$", "0", "40", "1.0", "2", "18", "0.0", "input",
        "output",
    ]  # fmt: skip


@pytest.mark.parametrize(("join", "sign"), [
    (torch.add, "+"), (torch.sub, "−"), (torch.mul, "×"), (torch.div, "÷"), (torch.cat, "cat"),
])  # fmt: skip
def test_layers_of_a_residual_block(join, sign):
    def block(self, x):
        both = x, self.second(self.first(x).relu())
        return join(both) if join is torch.cat else join(*both)

    model = Calls(block, first=nn.Linear(4, 4), second=nn.Linear(4, 4))
    layers = show.layers_of(count_contexts(model, (1, 4)), limit=24)
    assert [(layer.name, layer.sources) for layer in layers] == [
        ("first", (-1,)), ("second", (0,)), (sign, (-1, 1))
    ]  # fmt: skip


def test_a_layer_used_twice_stands_twice():
    layers = show.layers_of(count_contexts(Tied(), IDS), limit=24)
    body = ["body.0", "body.2", "+"]
    assert [layer.name for layer in layers] == ["embed", *body, *body, "head"]
    assert layers[0].tensors == layers[-1].tensors == ("embed.weight",)
    assert texts(count_contexts(Tied(), IDS).draw()).count("again 1,056") == 2


@pytest.mark.slow
def test_large_models_are_folded_and_tensors_of_the_model_itself_named():
    counts = count_contexts(*MODELS["resnet18"])
    lengths = [len(show.layers_of(counts, limit=limit)) for limit in (1, 12, 24, 60)]
    assert lengths == [7, 11, 11, 49]
    layers = show.layers_of(count_contexts(torchvision.models.vit_b_16(), IMAGE), limit=24)
    assert [layer.name for layer in layers][:3] == ["conv_proj", "class_token", "encoder"]


def test_counts_that_were_merged_have_no_layers():
    model = torchvision.models.resnet18()
    merged = sharing.merge(count_contexts(model, IMAGE), model, sharing.same_shape)
    with pytest.raises(CountingError, match="draw those of count_contexts"):
        merged.draw()
    assert len(merged.plot().axes) == 3


# Explicit graphs ----------------------------------------------------------------------------------

GRAPH = Graph({"f": [("i1", "w1")], "O1": [("f", "w2")], "O2": [("f", "w3")]})


def drawn(graph, **options):
    ax = Figure().subplots()
    show.draw_graph(graph, ax, **options)
    return ax


def labels(ax):
    """Label → place, and label → colour of the circle around it."""
    at, faces = {}, {}
    for text in ax.texts:
        if text.get_text() and text.get_bbox_patch().get_boxstyle().__class__.__name__ == "Circle":
            at.setdefault(text.get_text(), []).append(text.get_position())
            faces[text.get_text()] = to_hex(text.get_bbox_patch().get_facecolor())
    return at, faces


def test_columns_run_from_inputs_to_outputs():
    at, faces = labels(drawn(GRAPH))
    assert {name: place[0][0] for name, place in at.items()} == {
        "$i_{1}$": 0, "$f_{}$": 1, "$O_{1}$": 2, "$O_{2}$": 2,
    }  # fmt: skip
    assert faces["$i_{1}$"] == to_hex(show.INPUT) and faces["$f_{}$"] == to_hex(show.NODE)
    assert faces["$O_{1}$"] == faces["$O_{2}$"] == to_hex(show.OUTPUT)


@pytest.mark.parametrize(("parameter", "uses"), [("w1", 3), ("w2", 1), (None, 0)])
def test_the_contexts_of_a_parameter_are_strong(parameter, uses):
    texts = drawn(GRAPH, highlight=parameter).texts
    patches = (getattr(text, "arrow_patch", None) for text in texts)
    widths = [patch.get_linewidth() for patch in patches if patch]
    assert (widths.count(2.0), len(widths)) == (uses, 3)


def test_duplicates_bear_the_nodes_label_and_share_no_place():
    at, _ = labels(drawn(horizontal_unroll(GRAPH)))
    assert len(at["$f_{}$"]) == len(set(at["$f_{}$"])) == len(at["$i_{1}$"]) == 2
    shown = [text.get_text() for text in drawn(Graph({"f": [("i1", "w1#2")]})).texts]
    assert "$w_{1,2}$" in shown
