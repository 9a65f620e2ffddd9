"""Counts as they are looked at: axes and lines say what the counts say."""

from io import BytesIO

import numpy as np
import pytest
import torch
import torchvision
from matplotlib import image
from torch import nn

from reuseprior import sharing
from reuseprior.contexts import CountingError, count_contexts, show
from tests.contexts.zoo import EXAMPLES, IDS, IMAGE, Calls, Tied

MODELS = {
    **{name: (model(), given) for name, (model, given) in EXAMPLES.items()},
    "resnet18": (torchvision.models.resnet18(), IMAGE),
    "vit_b_16": (torchvision.models.vit_b_16(), IMAGE),
    "one layer": (nn.Linear(4, 2), (1, 4)),
}


@pytest.fixture(scope="module", params=MODELS)
def counted(request):
    return count_contexts(*MODELS[request.param])


def texts(fig):
    return [text.get_text() for ax in fig.axes for text in ax.texts]


def test_tensors_add_up(counted):
    found, means = show.by_tensor(counted), show.by_tensor(counted)["log2 mean count"]
    assert found.entries.sum() == counted.quantities().parameters
    assert [found.contexts.sum(), found.surprisal.sum()] == pytest.approx([1, 1], abs=1e-9)
    assert (found["log2 least count"] <= means + 1e-9).all()
    assert (means <= found["log2 greatest count"] + 1e-9).all()


def test_plot_shows_every_tensor_and_every_parameter(counted):
    tensors, surprisal, multiplicity = counted.plot().axes
    drawn = np.concatenate([line.get_ydata() for line in tensors.lines])
    assert sorted(drawn) == pytest.approx(sorted(show.by_tensor(counted)["log2 mean count"]))
    assert sum(bar.get_height() for bar in surprisal.patches) == pytest.approx(100)
    assert sum(bar.get_height() for bar in multiplicity.patches) == counted.parameters


def test_pictures_show_themselves(counted):
    for fig in (counted.plot(), counted.draw()):
        data, size = fig._repr_png_()
        assert image.imread(BytesIO(data)).std() > 0.05
        assert size["width"] == pytest.approx(96 * fig.get_figwidth())


def test_every_parameter_stands_in_a_row(counted):
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


def test_large_models_are_folded_and_tensors_of_the_model_itself_named():
    counts = count_contexts(*MODELS["resnet18"])
    lengths = [len(show.layers_of(counts, limit=limit)) for limit in (1, 12, 24, 60)]
    assert lengths == [7, 11, 11, 49]
    layers = show.layers_of(count_contexts(*MODELS["vit_b_16"]), limit=24)
    assert [layer.name for layer in layers][:3] == ["conv_proj", "class_token", "encoder"]


def test_counts_that_were_merged_have_no_layers():
    model = torchvision.models.resnet18()
    merged = sharing.merge(count_contexts(model, IMAGE), model, sharing.same_shape)
    with pytest.raises(CountingError, match="draw those of count_contexts"):
        merged.draw()
    assert len(merged.plot().axes) == 3
