"""Tying really ties, afterwards or while building; merged counts are those of the tied model."""

import re
import threading
from itertools import product

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models import densenet, resnet

from reuseprior import sharing
from reuseprior.contexts import count_contexts
from reuseprior.models import catalog, efficientnet_v2, without_weights
from reuseprior.sharing import SharingError, all_but_bn, merge, same_shape, tie, untie
from tests.sharing.counting import parameters
from tests.soak import drawn


def small():
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4),
        nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4),
        nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(),
        nn.Conv2d(4, 4, 3, padding=1, bias=False),
        nn.Conv2d(4, 4, 3, stride=2, padding=1),
        nn.Conv2d(4, 4, 3, padding=1, groups=4), nn.Conv2d(4, 4, 1),
    )  # fmt: skip


def narrow():
    torch.manual_seed(0)
    return efficientnet_v2("b0", num_classes=10, width=0.25)


def row(uses=4):
    model = nn.Sequential(*(nn.Conv2d(2, 2, 3) for _ in range(uses)))
    return model, tie(model)


def one_scope(module):
    return "one" if isinstance(module, nn.Conv2d) else None


def test_names_of_scopes():
    names = {
        nn.Conv2d(24, 96, 3, stride=2, bias=False): "Conv2d 24→96 kernel 3×3 stride 2×2",
        nn.Conv2d(8, 8, (3, 1), groups=8): "Conv2d 8→8 kernel 3×1 stride 1×1 groups 8 bias",
        nn.ConvTranspose2d(4, 2, 2): "ConvTranspose2d 4→2 kernel 2×2 stride 1×1 bias",
        nn.BatchNorm2d(8): None,
        nn.Linear(3, 3): None,
    }
    assert {layer: all_but_bn(layer) for layer in names} == names
    shapes = [same_shape(layer) for layer in names]
    assert shapes == [name and re.sub(r" stride \d×\d", "", name) for name in names.values()]


def test_with_bn_shares_the_weights_of_batch_norms_and_not_what_they_measured():
    convs = [nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1)]
    model = nn.Sequential(convs[0], nn.BatchNorm2d(8), convs[1], nn.BatchNorm2d(8))
    scopes = tie(model, sharing.with_bn)
    assert [(scope.name, scope.modules) for scope in scopes] == [("BatchNorm2d 8", ("1", "3"))]
    assert model[1].weight is model[3].weight and model[1].bias is model[3].bias
    assert model[1].running_mean is not model[3].running_mean
    assert sharing.with_bn(nn.BatchNorm2d(8, affine=False)) is None


def test_tied_layers_hold_the_same_parameters():
    model = small()
    norms = [model[1].weight, model[3].weight]
    before = parameters(model)
    (scope,) = tie(model)
    shapes = (("weight", (4, 4, 3, 3)), ("bias", (4,)))
    assert scope == sharing.Scope("Conv2d 4→4 kernel 3×3 stride 1×1 bias", ("2", "4"), shapes)
    assert scope.parameters == scope.saved == 148 == before - parameters(model)
    assert model[4].weight is model[2].weight and model[4].bias is model[2].bias
    assert all(model[other].weight is not model[2].weight for other in (0, 6, 7, 8))
    assert model[1].weight is norms[0] and model[3].weight is norms[1]
    assert tie(model) == (scope,) and parameters(model) == before - 148


def test_the_table_says_what_was_tied_and_saved():
    model = catalog.build("V2-B0")
    before = parameters(model)
    table = sharing.table(tie(model))
    assert list(table) == ["scope", "shape", "uses", "parameters", "saved"]
    assert table.saved.sum() == before - parameters(model) > 0
    assert table.saved.is_monotonic_decreasing and (table.uses > 1).all()
    assert (table.saved == table.parameters * (table.uses - 1)).all()
    gate = table[table.scope == "Conv2d 192→1152 kernel 1×1 stride 1×1"].iloc[0]
    assert (gate["shape"], gate.uses, gate.parameters) == ("1152×192×1×1", 7, 192 * 1152)
    assert len(sharing.table(())) == 0


def test_an_untied_module_starts_from_the_shared_values():
    model, _ = row()
    shared = model[0].weight
    shared.requires_grad_(False)
    weight, bias = untie(model, "1")
    assert model[1].weight is weight and model[1].bias is bias and weight is not shared
    assert torch.equal(weight, shared) and weight.data_ptr() != shared.data_ptr()
    assert not weight.requires_grad and bias.requires_grad
    assert all(model[i].weight is shared for i in (0, 2, 3))
    untie(model, "0")  # the first of a scope as well as any other
    assert model[0].weight is not shared and model[2].weight is model[3].weight is shared
    model = nn.Sequential(row(2)[0], row(2)[0])  # and of a part, which keeps the ties within it
    tie(model)
    assert len(untie(model, "1")) == 2
    assert model[1][0].weight is model[1][1].weight is not model[0][0].weight
    assert model[0][0].weight is model[0][1].weight
    model, (scope,) = row()
    untie(model, "2")
    assert len(untie(model, scope)) == 2 * 2  # weights and biases of two modules; "2" had its own
    assert len({id(layer.weight) for layer in model}) == 4
    with pytest.raises(SharingError, match=r"^scope 'Conv2d 2→2 .*' is not tied to anything: "):
        untie(model, scope)


def test_what_cannot_be_untied():
    model = nn.Sequential(*row(2)[0], nn.Conv2d(2, 3, 3))
    before = [id(p) for p in model.parameters()]
    for name, message in [
        ("0.wieght", "no module '0.wieght': model.named_modules"),
        ("10", "no module '10', did you mean '1' or '0'.: model.named_modules"),
        ("2", "module '2' is not tied to anything: tie"),
        ("", "module '' is the whole model, outside which nothing is shared: name a part"),
    ]:
        with pytest.raises(SharingError, match=message):
            untie(model, name)
    assert [id(p) for p in model.parameters()] == before


def frozen(layer):
    layer.weight.requires_grad_(False)
    return layer


# What the second of two layers may be, and what is said of it.
UNLIKE = {
    "shape": (lambda: nn.Conv2d(2, 4, 3), "and weight 4×2×3×3 float32 cpu, bias 4 float32 cpu.*, w"
              "hich cannot be one: let the policy give them different"),
    "type": (lambda: nn.Conv2d(2, 2, 3).bfloat16(), "weight 2×2×3×3 bfloat16 cpu, bias 2 bfloat"),
    "device": (lambda: nn.Conv2d(2, 2, 3, device="meta"), "and weight 2×2×3×3 float32 meta, bias"),
    "frozen": (lambda: frozen(nn.Conv2d(2, 2, 3)), "and weight 2×2×3×3 float32 cpu frozen, bias"),
    "parametrized": (
        lambda: nn.utils.parametrizations.weight_norm(nn.Conv2d(2, 2, 3)),
        "whose weight is computed by a parametrization, which cannot be shared: let the policy",
    ),
    "lazy": (lambda: nn.LazyConv2d(2, 3), "a LazyConv2d whose parameters have no shape yet: run"),
}  # fmt: skip


@pytest.mark.parametrize("case", UNLIKE)
@pytest.mark.parametrize("first", [True, False])
def test_layers_that_cannot_hold_the_same_parameters_stay_as_they_are(case, first):
    build, message = UNLIKE[case]
    layers = [nn.Conv2d(2, 2, 3), build()]
    model = nn.Sequential(*(layers[::-1] if first else layers))
    before = [id(p) for p in model.parameters()]
    message = message.removeprefix("and ") if first else message
    with pytest.raises(SharingError, match=message):
        tie(model, one_scope)
    assert [id(p) for p in model.parameters()] == before
    with pytest.raises(SharingError, match=message):
        merge(count_contexts(nn.Linear(2, 1), (1, 2)), model, one_scope)
    with pytest.raises(SharingError, match=message), sharing.scope_registry(lambda module: "one"):
        nn.ModuleList(model)


def test_a_layer_that_shares_with_none_may_be_anything_that_has_a_shape():
    parametrized = nn.utils.parametrizations.weight_norm(nn.Conv2d(2, 2, 3))
    model = nn.Sequential(parametrized, frozen(nn.Conv2d(2, 3, 3)), nn.LazyConv2d(2, 3))
    model(torch.ones(1, 2, 9, 9))  # the last one gets its shape
    assert tie(model) == ()


MODELS = {
    "in a row": (small, 8),
    "around additions": (lambda: resnet.ResNet(resnet.BasicBlock, [2, 2, 1, 1]), 64),
    "around products": (narrow, 64),
    "taps out of range": (narrow, 32),
    "side by side": (lambda: densenet.DenseNet(8, (3, 3), 16), 64),
}


@pytest.mark.parametrize(("name", "policy"), drawn(product(MODELS, [all_but_bn, same_shape]), 6))
def test_merged_counts_are_those_of_the_tied_model(name, policy):
    build, size = MODELS[name]
    model = build()
    shape = (1, next(model.parameters()).shape[1], size, size)
    apart = count_contexts(model, shape, batch_norm="all")
    merged = merge(apart, model, policy)
    assert tie(model, policy)
    tied = count_contexts(model, shape, batch_norm="all")
    assert merged.weight_nodes == tied.weight_nodes == apart.weight_nodes
    assert merged.parameters == tied.parameters < apart.parameters
    assert merged.quantities().to_dict() == pytest.approx(tied.quantities().to_dict(), rel=1e-12)
    by_name = (sorted(c.parameter_counts, key=lambda p: p.name) for c in (tied, merged))
    for p, other in zip(*by_name, strict=True):
        assert (p.name, p.weight_nodes) == (other.name, other.weight_nodes)
        assert sorted(p.uses) == sorted(other.uses) and set(p.names) == set(other.names)
        logs = (np.broadcast_to(c.log2_counts, p.shape) for c in (p, other))
        np.testing.assert_allclose(*logs, 1e-12, 1e-12)
    assert sum(n for _, n, _ in merged.left_out) == sum(n for _, n, _ in tied.left_out)


# While building -----------------------------------------------------------------------------------


def stack():
    return nn.Sequential(*(nn.Conv2d(2, 2, 3, padding=1) for _ in range(3)))


def ties(model):
    """For every parameter name the first name of the same parameter."""
    first = {}
    return {
        name: first.setdefault(id(parameter), name)
        for name, parameter in model.named_parameters(remove_duplicate=False)
    }


def test_the_same_model_as_tying_afterwards():
    models = []
    for policy in (all_but_bn, sharing.none):
        with sharing.scope_registry(policy), without_weights():
            models.append(efficientnet_v2("b0"))
    model, other = models
    assert parameters(model) == 2_958_192 and all(p.is_meta for p in model.parameters())
    scopes = tie(other)
    assert ties(model) == ties(other) and len(set(ties(model).values())) < len(ties(model))
    assert tie(model) == scopes and ties(model) == ties(other)
    assert [p.shape for p in model.parameters()] == [p.shape for p in other.parameters()]


def test_models_built_together_share_and_nothing_is_left_behind():
    with sharing.scope_registry():
        one, two = stack(), stack()
    assert one[0].weight is two[2].weight
    with sharing.scope_registry():
        assert stack()[0].weight is not one[0].weight
    with pytest.raises(KeyError), sharing.scope_registry():
        raise KeyError
    model = stack()
    assert model[0].weight is not model[1].weight


def test_the_inner_registry_decides_and_other_threads_are_left_alone():
    made = []
    with sharing.scope_registry():
        outer = stack()
        with sharing.scope_registry(sharing.none):
            made.append(stack())
        thread = threading.Thread(target=lambda: made.append(stack()))
        thread.start()
        thread.join()
        again = stack()
    assert outer[0].weight is again[2].weight
    assert all(len({id(layer.weight) for layer in model}) == 3 for model in made)
    assert outer[0].weight is not made[1][0].weight


def test_what_no_scope_holds_is_shared_with_none_after_a_refusal_too():
    with sharing.scope_registry(one_scope) as found:
        with pytest.raises(SharingError, match=r"Scope 'one' holds parameters .* 2×2×1×1 "):
            nn.Sequential(nn.Conv2d(2, 2, 3), nn.Conv2d(2, 2, 1))
        assert isinstance(found.share(nn.Linear(2, 2)), nn.Linear)
