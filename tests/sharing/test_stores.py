"""Stores make weights: for any model and budget, and the plain network where nothing is shared."""

import copy
import math
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_model, save_model
from torch import nn

from reuseprior import sharing
from reuseprior.contexts import count_contexts
from reuseprior.models import ModelConfig, wide_resnet
from reuseprior.sharing import SharingError, Stores, cluster
from reuseprior.sharing.stores import GENERATORS, UPSAMPLERS, Slot, select
from reuseprior.sharing.weights import merge, parametrized
from tests.contexts.naive import Add, Writer
from tests.sharing.counting import parameters

TEXTS = [f"{g},{u}" for g in GENERATORS for u in UPSAMPLERS]


def small(channels=(3, 4, 6), linear=5, dtype=torch.float64):
    layers = []
    for before, after in pairwise(channels):
        layers += [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after)]
    layers += [nn.ReLU(), Add(nn.Conv2d(channels[-1], channels[-1], 1, groups=channels[-1]))]
    layers += [nn.Flatten(), nn.Linear(channels[-1] * 16, linear), nn.Linear(linear, 2)]
    return nn.Sequential(*layers).to(dtype)


MODELS = st.builds(
    small,
    st.lists(st.integers(1, 6), min_size=1, max_size=3).map(lambda c: (3, *c)),
    st.integers(1, 6),
)
WORDS = ["", ",shape", ",random,stores=2", ",classifier", ",templates=2", ",templates=3,shape"]


BUDGETS = st.decimals(20, 500, places=3)  # percent


@given(MODELS, st.sampled_from(TEXTS), st.sampled_from(WORDS), BUDGETS, st.integers(0))
@settings(max_examples=30, deadline=None)
def test_any_model_and_budget(model, text, words, percent, seed):
    torch.manual_seed(seed % 100)
    plain, names = parameters(model), list(model.state_dict())
    shapes = {n: m.weight.shape for n, m in model.named_modules()
              if isinstance(m, nn.Conv2d | nn.Linear)}  # fmt: skip
    try:
        stores = Stores.parse(f"{percent}%,{text}{words}").share(model)
    except SharingError as error:
        assert "is too small" in str(error)
        alone = plain - sum(math.prod(shape) for shape in shapes.values())
        most = 500 if "embedding" in text else 100  # coefficients and masks of a layer
        assert percent / 100 * plain < alone + most * len(shapes)
        return
    assert parameters(model) <= percent / 100 * plain  # of all, so of the store as well
    made = parametrized(model)
    assert all(model.get_submodule(name).weight.shape == shapes[name] for name in made)
    x = torch.randn(3, 3, 4, 4, dtype=torch.float64)
    model(x).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
    for store in stores:
        used = taken(store, made)
        assert used.all()  # nothing is stored that makes no weight
        total = sum((generator() ** 2).sum() for generator in made.values())
        (reached,) = torch.autograd.grad(total, store.values)
        assert torch.equal(reached[0] != 0, used)
    model.eval()
    merged = merge(copy.deepcopy(model))
    assert not parametrized(merged)
    for name in made:
        assert torch.equal(merged.get_submodule(name).weight, model.get_submodule(name).weight)
    # Equal but for rounding: kernels go by where a weight lies in memory.
    torch.testing.assert_close(merged(x), model(x), rtol=1e-12, atol=1e-12)
    assert parameters(merged) == plain and list(merged.state_dict()) == names


def taken(store, made):
    """Which values of a store make weights."""
    found = torch.zeros(store.values.numel(), dtype=bool)
    for generator in made.values():
        if generator.store is store:
            found[torch.arange(generator.slot.start, generator.slot.end) % len(found)] = True
    return found


def test_weights_of_another_mapping_are_not_loaded(tmp_path):
    torch.manual_seed(0)
    model, other = (small((3, 4, 4, 4)) for _ in range(2))
    Stores.parse("90%,map=01010").share(model)
    Stores.parse("90%,map=01100").share(other)
    save_model(model, str(tmp_path / "weights.safetensors"))
    with pytest.raises(SharingError, match="the saved layers share in other stores than the mod"):
        load_model(other, str(tmp_path / "weights.safetensors"))
    with pytest.raises(SharingError, match="share it with the same mapping"):
        other.load_state_dict(model.state_dict())


def test_halves(dtype=torch.bfloat16):
    torch.manual_seed(0)
    model = small(dtype=dtype)
    Stores.parse("300%,weighted,shape").share(model)
    assert all(p.dtype == dtype for p in model.parameters())
    drawn = [m.coefficients for m in parametrized(model).values() if m.coefficients is not None]
    assert drawn and all(float(c.detach().norm()) == pytest.approx(1, abs=0.01) for c in drawn)


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_what_does_not_share_may_be_anything():
    """The classifier is left out whatever it is, and so are layers without weights."""
    embedding = nn.Embedding(5, 4)
    head = nn.Linear(4, 5, bias=False)
    head.weight = embedding.weight
    model = nn.Sequential(embedding, nn.Linear(4, 8), nn.Linear(8, 0), nn.Linear(0, 4), head)
    (store,) = Stores("95%").share(model)
    assert store.layers == ("1",) and head.weight is embedding.weight
    twice = nn.Conv2d(3, 3, 3, bias=False)
    (store,) = Stores("90%", classifier=True).share(nn.Sequential(twice, nn.ReLU(), twice))
    assert store.layers == ("0",)


def test_what_was_put_on_a_made_weight_is_not_merged_away():
    model = sharing.apply(small(), "stores:90%")
    nn.utils.parametrizations.spectral_norm(model[0])
    with pytest.raises(SharingError, match="layer '0' has other parametrizations too"):
        merge(model)
    assert parametrized(model).keys() >= {"0", "2"}


def test_one_template_a_layer_and_a_full_budget_is_the_plain_network_bit_for_bit():
    torch.manual_seed(0)
    plain = wide_resnet(10, 1)
    stored = sharing.apply(copy.deepcopy(plain), "stores:100%,one")
    assert parameters(stored) == parameters(plain)
    x, y = torch.randn(8, 3, 16, 16), torch.arange(8)
    for model in (plain, stored):
        optimizer = torch.optim.SGD(model.parameters(), 0.1, 0.9, weight_decay=1e-2, nesterov=True)
        for _ in range(3):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
    merged = merge(stored).state_dict()
    assert all(torch.equal(merged[name], tensor) for name, tensor in plain.state_dict().items())


def test_a_layer_larger_than_its_store_and_a_store_of_one_layer():
    torch.manual_seed(0)
    layer, model = (
        nn.Sequential(nn.Conv2d(4, 8, 3, bias=False), nn.Flatten(), nn.Linear(8, 2))
        for _ in range(2)
    )
    (store,) = Stores("100", "one", "repeat").share(layer)
    assert store.layers == ("0",) and store.values.numel() == 100 - parameters(layer[2])
    assert torch.equal(layer[0].weight.view(-1), store.values[0].repeat(4)[:288])
    (mask,) = Stores("200", "one", "mask").share(model)
    generator, size = parametrized(model)["0"], mask.values.numel()
    assert len(generator.masks) == 9 * (math.ceil(288 / size) - 1)
    with torch.no_grad():
        generator.masks.uniform_()
    made, values = model[0].weight.view(-1), mask.values[0]
    for place in (0, size - 1, size, size + 10, 287):
        part, within = divmod(place, size)
        factor = generator.masks[9 * (part - 1) + within % 9] if part else 1
        assert made[place] == values[within] * factor
    smooth = small((3, 4))
    Stores("90", "one", "interpolate").share(smooth)
    generator = parametrized(smooth)["0"]
    size, values = generator.slot.size, generator.store.values[0].detach().numpy()
    expected = np.interp((np.arange(108) + 0.5) * size / 108 - 0.5, np.arange(size), values)
    assert np.allclose(smooth[0].weight.detach().reshape(-1), expected)


def test_selector():
    # P~ = max(1, min(⌊|θ|/|w|⌋, P)): all that fit, from the beginning, excess ignored
    assert list(select([4, 4], 10, 8)) == [Slot(0, 2, 4), Slot(0, 2, 4)]
    # more than P fit: round robin, on from the beginning where the values end
    assert list(select([4] * 4, 10, 1)) == [Slot(at, 1, 4) for at in (0, 4, 8, 2)]
    # larger than the store: all of it
    assert list(select([4, 12], 10, 8)) == [Slot(0, 2, 4), Slot(0, 1, 10)]


def test_generators_by_hand():
    torch.manual_seed(0)
    for kind in GENERATORS:
        model = small((3, 2))
        Stores("1000%", kind, templates=3).share(model)
        generator = parametrized(model)["0"]
        rows = generator.store.templates(generator.slot)
        made = model[0].weight.view(-1)
        if kind == "weighted":
            assert torch.allclose(made, generator.coefficients @ rows)
        elif kind == "mean":
            assert torch.allclose(made, sum(rows) / 3)
        elif kind == "embedding":
            start = f"{generator.slot.start}-"
            (linear,) = (e for k, e in generator.store.embeddings.items() if k.startswith(start))
            alpha = (linear.weight @ generator.coefficients + linear.bias).softmax(0)
            assert len(generator.coefficients) == 24 and linear.weight.shape == (3, 24)
            assert torch.allclose(made, alpha @ rows)
        else:
            assert {m.slot.templates for m in parametrized(model).values()} == {1}


def test_layers_of_one_template_set_share_an_embedding_and_coefficients_begin_orthogonal():
    torch.manual_seed(0)
    five = [nn.Sequential(*(nn.Conv2d(4, 4, 3, bias=False) for _ in range(5))) for _ in range(2)]
    (store,) = Stores("160%", "embedding").share(five[0])
    assert len(store.embeddings) == 1 and len(parametrized(five[0])) == 5
    Stores("170%", "weighted").share(five[1])
    rows = torch.stack([generator.coefficients for generator in parametrized(five[1]).values()])
    assert rows.shape == (5, 8) and torch.allclose(rows @ rows.t(), torch.eye(5), atol=1e-6)


@pytest.mark.parametrize("text", ["60%,weighted,mask", "150%,round_robin,repeat", "60%,mean,mask",
                                  "40%,weighted,interpolate", "100%,one", "400%,weighted",
                                  "60%,weighted,resized", "layers:all,lora=1",
                                  "layers:2,cycle,lora=2"])  # fmt: skip
def test_contexts_are_those_of_all_weights_made(text):
    """Brute force: paths of the merged model, and which weights a stored value has a part in."""
    torch.manual_seed(0)
    model, shape = small((2, 3, 4), linear=2), (2, 4, 4)
    model = nn.Sequential(*list(model)[:-3], nn.AdaptiveAvgPool2d(1), nn.Flatten()).double()
    if "lora" in text:
        model, shape = nn.Sequential(*(nn.Linear(3, 3) for _ in range(4))), (3,)
    sharing.apply(model, text if "lora" in text else f"stores:{text}")
    for generator in parametrized(model).values():
        for parameter in generator.parameters():  # none of which is zero
            nn.init.uniform_(parameter, 0.1, 1)
    counts = count_contexts(model, (1, *shape), exact=True).parameter_counts
    counted = {p.names[0]: p for p in counts}
    merged = merge(copy.deepcopy(model))
    contexts = Writer(merged).graph(merged, shape).contexts()
    stored = {n: p for n, p in model.named_parameters() if "parametrizations" in n}
    expected = {name: np.zeros(p.shape, object) for name, p in stored.items()}
    for layer in parametrized(model):
        weight = model.get_submodule(layer).weight
        for at in np.ndindex(weight.shape):
            parts = torch.autograd.grad(
                weight[at], list(stored.values()), retain_graph=True, materialize_grads=True
            )
            for name, part in zip(stored, parts, strict=True):
                paths = contexts.get(f"{layer}.weight{list(at)}", 0)
                expected[name] += (part != 0).numpy() * paths
    for name, paths in expected.items():
        found = counted[name].counts if name in counted else 0
        assert (np.broadcast_to(found, paths.shape) == paths).all(), name
    plain = count_contexts(merged, (1, *shape))
    assert sum(p.weight_nodes for p in counted.values()) == plain.weight_nodes


def test_an_embedding_counts_its_paths():
    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Conv2d(2, 2, 1, bias=False) for _ in range(3)))
    Stores("200", "embedding", templates=2).share(model)
    counts = {p.name: p for p in count_contexts(model, (1, 2, 3, 3), exact=True).parameter_counts}
    merged = merge(copy.deepcopy(model))
    plain = {p.name: p for p in count_contexts(merged, (1, 2, 3, 3), exact=True).parameter_counts}
    for name, p in counts.items():
        if name.endswith("coefficients"):  # through each of two templates to all weights
            layer = name.split(".")[0]
            assert (p.counts == 2 * 4 * plain[f"{layer}.weight"].counts.ravel()[0]).all()
            assert p.weight_nodes == 0


def test_learned_mapping():
    torch.manual_seed(0)
    model, fresh = (
        nn.Sequential(*(nn.Conv2d(4, c, 3, bias=False) for c in (4, 4, 8, 8))) for _ in range(2)
    )
    Stores("60%", "weighted", resized=True).share(model)
    for generator, to in zip(parametrized(model).values(), (0, 1, 0, 1), strict=True):
        with torch.no_grad():
            generator.coefficients.copy_(F.one_hot(torch.tensor(to), 4))
    assert cluster(model, 2) == "0101"
    stores = Stores.parse("60%,map=0101").share(fresh)
    assert [store.layers for store in stores] == [("0", "2"), ("1", "3")]
    sizes = [store.values.numel() for store in stores]
    assert sizes[0] == pytest.approx(sizes[1], rel=0.05)  # in proportion to their weights
    with pytest.raises(SharingError, match="a mapping is learned from a model whose layers all"):
        cluster(fresh, 2)
    with pytest.raises(SharingError, match="stores is 5: it must be between 1 and 4"):
        cluster(model, 5)


def test_a_model_config_decides_stores():
    config = ModelConfig("wrn-10-2", "stores:10%,weighted,random,stores=3", seed=4)
    one, same = (config.build().state_dict() for _ in range(2))
    assert all(torch.equal(tensor, same[name]) for name, tensor in one.items())
    lazy = ModelConfig("wrn-10-2", "stores:10%", seed=4).build(lazy=True)
    assert parameters(lazy) == 303_706 // 10 and all(p.is_meta for p in lazy.parameters())
