"""Blocks of a stack share: what each way ties, counts to the last context, merged and saved."""

import copy

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_model, save_model
from torch import nn

from reuseprior import paths, sharing
from reuseprior.contexts import count_contexts
from reuseprior.models import catalog, hf
from reuseprior.sharing import Layers, SharingError
from reuseprior.sharing.layers import ORDERS, stacks
from reuseprior.sharing.weights import makers, merge
from tests.contexts.naive import Add
from tests.sharing.counting import ByValue, check_counts, parameters
from tests.soak import drawn

ORDERED = {
    "all": "000000", "middle": "011115", "2,cycle": "010101", "3,cycle": "012012",
    "2,sequence": "000111", "4,sequence": "001223", "3,cycle-rev": "012210",
    "2,cycle-rev": "010110", "2,immediate": "001122", "4,immediate": "000011",
}  # fmt: skip


@pytest.mark.parametrize("text", ORDERED)
def test_which_block_stands_where(text):
    model = sharing.apply(nn.Sequential(*(nn.Linear(2, 2) for _ in range(6))), f"layers:{text}")
    held = [id(layer.weight) for layer in model]
    assert "".join(str(list(ORDERED[text]).index(o)) for o in ORDERED[text]) == "".join(
        str(held.index(one)) for one in held
    )


def test_orders_are_those_of_the_paper():
    """Takase and Kiyono 2021, figure 2: six places of three blocks."""
    places = {name: order(6, 3) for name, order in ORDERS.items()}
    assert places["sequence"] == [0, 0, 1, 1, 2, 2]
    assert places["cycle"] == [0, 1, 2, 0, 1, 2]
    assert places["cycle-rev"] == [0, 1, 2, 2, 1, 0]
    assert ORDERS["cycle-rev"](12, 3) == [0, 1, 2, 0, 1, 2, 0, 1, 2, 2, 1, 0]


# Counts -------------------------------------------------------------------------------------------


def block(kind):
    convolution = nn.Conv2d(2, 2, 3, padding=1, bias=kind != "plain")
    if kind == "residual":
        return Add(nn.Sequential(convolution, nn.ReLU(), nn.Conv2d(2, 2, 1)))
    return nn.Sequential(convolution, nn.BatchNorm2d(2), nn.ReLU())


STACKS = st.builds(
    lambda kind, depth: nn.Sequential(
        nn.Conv2d(2, 2, 1), nn.Sequential(*(block(kind) for _ in range(depth)))
    ),
    st.sampled_from(["plain", "biased", "residual"]),
    st.integers(2, 5),
)
TEXTS = st.one_of(
    st.sampled_from(["all", "middle"]),
    st.builds("{},{}".format, st.integers(1, 3), st.sampled_from(list(ORDERS))),
    st.builds("{0[0]}-{0[1]}x{1}".format,
              st.tuples(st.integers(1, 4), st.integers(1, 4)).map(sorted), st.integers(2, 3)),
)  # fmt: skip


class Unrolled(ByValue):
    """Writes a stack as its loop runs it."""

    loop = None

    def Sequential(self, layer, x):
        parts = list(layer)
        if self.loop and len(parts) > 1 and layer is self.of:
            first, last, passes = self.loop
            parts = [*parts[: first - 1], *passes * parts[first - 1 : last], *parts[last:]]
        for part in parts:
            x = self.write(part, x)
        return x


@given(STACKS, TEXTS)
@settings(max_examples=25, deadline=None)
def test_counts_are_those_of_all_paths(model, text):
    way = Layers.parse(text)
    before = parameters(model)
    try:
        way.share(model)
    except SharingError as error:
        assert "finds nothing to share" in str(error) or "no loop over" in str(error)
        assert parameters(model) == before
        return
    assert (parameters(model) < before) == (way.loop is None)
    bound = type("Bound", (Unrolled,), {"loop": way.loop, "of": model[1]})
    check_counts(model, writer=bound)


@given(st.integers(2, 4), st.sampled_from(["all", "2,cycle", "2,sequence"]), st.integers(1, 2))
@settings(max_examples=12, deadline=None)
def test_a_difference_counts_what_its_product_touches(depth, text, rank):
    """Each context of a weight is one of the shared entry, of a row of `up`, a column of `down`."""
    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Linear(3, 3) for _ in range(depth)))
    try:
        sharing.apply(model, f"layers:{text},lora={rank}")
    except SharingError:
        return
    plain = merge(copy.deepcopy(model))
    for i, layer in enumerate(plain):  # biases stay tied and are checked by the test above
        layer.weight = nn.Parameter(torch.arange(9.0).view(3, 3) + 100 * i)
        layer.bias = nn.Parameter(torch.arange(3.0) + 100 * i + 50)
    every = ByValue(plain).graph(plain, (3,)).contexts()
    of = {
        str(i): np.array([[every[float(w)] for w in row] for row in layer.weight.detach()])
        for i, layer in enumerate(plain)
    }
    counts = {
        name: np.broadcast_to(c.counts.astype(int), c.shape)
        for c in count_contexts(model, (1, 3), exact=True).parameter_counts
        for name in c.names
    }
    made = makers(model)
    shared: dict[int, np.ndarray] = {}
    for name, maker in made.items():
        place = f"{name}.parametrizations.weight.0"
        assert np.array_equal(counts[f"{place}.up"], np.tile(of[name].sum(1), (rank, 1)).T)
        assert np.array_equal(counts[f"{place}.down"], np.tile(of[name].sum(0), (rank, 1)))
        shared[id(maker.shared)] = shared.get(id(maker.shared), 0) + of[name]
    for name, maker in made.items():
        assert np.array_equal(
            counts[f"{name}.parametrizations.weight.0.shared"], shared[id(maker.shared)]
        )


# Models of several libraries ----------------------------------------------------------------------


def encoder():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    return nn.TransformerEncoder(layer, 6, enable_nested_tensor=False)


def decoder():
    return nn.TransformerDecoder(nn.TransformerDecoderLayer(8, 2, 16, batch_first=True), 6)


class OwnStack(nn.Module):
    def __init__(self):
        super().__init__()
        self.parts = nn.ModuleList(nn.TransformerEncoderLayer(8, 2, 16) for _ in range(6))

    def forward(self, x):
        for part in self.parts:
            x = part(src=x)  # by its name, as some models call their blocks
        return x


def vision(**options):
    timm = pytest.importorskip("timm")
    return timm.create_model("vit_tiny_patch16_224", img_size=32, depth=6, embed_dim=12,
                             num_heads=2, num_classes=3, **options)  # fmt: skip


def language(kind, **options):
    pytest.importorskip("transformers")
    small = {"vocab_size": 11, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
    return hf.build(hf.configured(kind, small | options))


def gpt2():
    return language("gpt2", n_layer=6, n_embd=8, n_head=2, n_positions=8)


def llama():
    return language("llama", num_hidden_layers=6, hidden_size=8, num_attention_heads=2,
                    num_key_value_heads=1, intermediate_size=12)  # fmt: skip


def bert():
    return language("bert", num_hidden_layers=6, hidden_size=8, num_attention_heads=2,
                    intermediate_size=12)  # fmt: skip


def t5():
    return language("t5", num_layers=7, d_model=8, num_heads=2, d_kv=4, d_ff=12)


TOKENS = torch.tensor([[3, 4, 5, 6]])
MODELS = {  # what runs it, and how many parameters there are in a stack's block
    encoder: lambda model: model(torch.ones(1, 3, 8).double()),
    decoder: lambda model: model(torch.ones(1, 3, 8).double(), torch.ones(1, 2, 8).double()),
    OwnStack: lambda model: model(torch.ones(3, 1, 8).double()),
    vision: lambda model: model(torch.ones(1, 3, 32, 32).double()),
    gpt2: lambda model: model(TOKENS).logits,
    llama: lambda model: model(TOKENS).logits,
    bert: lambda model: model(TOKENS).logits,
    t5: lambda model: model(TOKENS, decoder_input_ids=TOKENS).logits,
}
WAYS = [*(f"layers:{text}" for text in ORDERED), "layers:attention", "layers:mlp,2,cycle",
        "layers:all,lora=2", "layers:middle,lora=1", "layers:2-3x3"]  # fmt: skip


@pytest.fixture(scope="module", params=MODELS, ids=lambda build: build.__name__)
def built(request):
    torch.manual_seed(0)
    return request.param().double().eval(), MODELS[request.param]


@pytest.mark.parametrize("way", WAYS)
def test_shared_trained_saved_and_merged(built, way, tmp_path):
    plain, run = built
    torch.manual_seed(1)
    model, other = (sharing.apply(copy.deepcopy(plain), way) for _ in range(2))
    assert (parameters(model) < parameters(plain)) == ("x3" not in way)
    run(model).square().sum().backward()
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    assert all(p.grad is not None for p in model.parameters())
    optimizer.step()
    after = run(model)
    save_model(model, str(tmp_path / "model.safetensors"))
    load_model(other, str(tmp_path / "model.safetensors"))
    assert torch.equal(run(other), after)
    assert torch.equal(run(copy.deepcopy(model)), after)
    merged = merge(model)
    assert not makers(merged)
    torch.testing.assert_close(run(merged), after, rtol=1e-12, atol=1e-12)
    if "x3" not in way:
        assert len(merged.state_dict()) == len(plain.state_dict())


@pytest.mark.parametrize("text", ["all", "3,cycle", "middle", "attention"])
def test_no_difference_is_the_shared_model_bit_for_bit(built, text):
    plain, run = built
    shared, none, zero = (
        sharing.apply(copy.deepcopy(plain), f"layers:{text}{lora}")
        for lora in ("", ",lora=0", ",lora=1")
    )
    assert torch.equal(run(none), run(shared)) and torch.equal(run(zero), run(shared))
    assert none.state_dict().keys() == shared.state_dict().keys()
    for name, values in shared.state_dict().items():
        assert torch.equal(none.state_dict()[name], values)


def test_a_loop_is_the_stack_unrolled(built):
    plain, run = built
    looped = sharing.apply(copy.deepcopy(plain), "layers:2-3x2")
    written = copy.deepcopy(plain)
    for stack in stacks(written):
        blocks = list(stack.blocks.values())
        if not isinstance(blocks[0], (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)):
            pytest.skip("written out for torch's layers alone, whose number nothing else says")
        holder = written.get_submodule(stack.name)
        holder._modules.clear()
        holder.extend([*blocks[:3], *blocks[1:3], *blocks[3:]])
    assert torch.equal(run(looped), run(written))


def test_parts_are_told_apart(built):
    plain, _ = built
    held = {}
    for part in ("attention", "mlp"):
        model = sharing.apply(copy.deepcopy(plain), f"layers:{part}")
        scopes = {n for n, p in plain.named_parameters()} - {n for n, p in model.named_parameters()}
        held[part] = {name.rpartition(".")[0] for name in scopes}
    assert held["attention"] and held["mlp"] and not held["attention"] & held["mlp"]
    assert all("att" in name.lower() or "layer_norm" in name for name in held["attention"])
    assert not any("norm" in name.lower() for name in held["mlp"])


def test_layers_are_chosen_by_name():
    model = sharing.apply(decoder(), "layers:attention,in=*.self_attn*")
    first, *others = model.layers
    assert all(o.self_attn.in_proj_weight is first.self_attn.in_proj_weight for o in others)
    assert all(o.multihead_attn.in_proj_bias is not first.multihead_attn.in_proj_bias
               for o in others)  # fmt: skip


def test_residual_stages_share_and_batch_norms_do_not():
    from torchvision.models import resnet50

    model = resnet50(num_classes=3)
    scopes = sharing.parse("layers:all")(model)
    assert {s.name.split()[0] for s in scopes} == {"layer1", "layer2", "layer3", "layer4"}
    assert model.layer3[1].conv1.weight is model.layer3[5].conv1.weight
    assert model.layer3[0].conv1.weight is not model.layer3[1].conv1.weight
    assert model.layer3[1].bn1.weight is not model.layer3[5].bn1.weight
    table = sharing.table(scopes)
    assert table["saved"].sum() == parameters(resnet50(num_classes=3)) - parameters(model)


def test_a_cache_is_refused_in_a_loop():
    model = sharing.apply(gpt2(), "layers:2-3x2")
    model.config.use_cache = True
    with pytest.raises(SharingError, match=r"set model\.config\.use_cache = False"):
        model(TOKENS)


def test_stores_take_the_linear_layers_of_gpt2():
    torch.manual_seed(0)
    model = gpt2().double().eval()
    plain = parameters(model)
    sharing.apply(model, "stores:50%")
    assert parameters(model) <= plain / 2
    assert "transformer.h.0.attn.c_attn" in makers(model)
    before = model(TOKENS).logits
    torch.testing.assert_close(merge(model)(TOKENS).logits, before, rtol=1e-12, atol=1e-12)
    assert parameters(model) == plain


# Published counts ---------------------------------------------------------------------------------

# "params" and "config" in keras-team/keras-hub (Apache-2.0), albert/albert_presets.py in its folder
# of models. Built here with a block a layer, which `layers:all` makes one.
ALBERT = {  # layers, heads, hidden
    "base": (11_683_584, 12, 12, 768), "large": (17_683_968, 24, 16, 1024),
    "xlarge": (58_724_864, 24, 16, 2048), "xxlarge": (222_595_584, 12, 64, 4096),
}  # fmt: skip


@pytest.mark.parametrize("size", ALBERT)
def test_albert_by_sharing_blocks_of_their_own(size):
    transformers = pytest.importorskip("transformers")
    from reuseprior.models import without_weights

    published, layers, heads, hidden = ALBERT[size]
    config = transformers.AlbertConfig(
        num_hidden_layers=layers, num_hidden_groups=layers, num_attention_heads=heads,
        hidden_size=hidden, intermediate_size=4 * hidden, embedding_size=128, vocab_size=30000,
    )  # fmt: skip
    with without_weights():
        model = transformers.AlbertModel(config)
    assert parameters(model) > 2 * published - 5_000_000
    assert parameters(sharing.apply(model, "layers:all")) == published


# Of Lan et al., ICLR 2020, table 4 (E = 768 and 128); of MobileLLM, appendix: 124.6M; of Parameter
# Golf's "Full-Model Depth Recurrence": all but the printed digit is a matter of vectors.
MILLIONS = [
    *(("bert", {}, f"layers:{part}", n, 0) for part, n in
      (("all", 31), ("attention", 83), ("mlp", 57))),
    *(("albert", {}, f"layers:{part}", n, 0) for part, n in
      (("all", 12), ("attention", 64), ("mlp", 38))),
    ("llama", {"layers": 60}, "layers:2,immediate", 124.6, 1),
    *(("arcee", {"layers": n}, f"layers:{n // k},cycle", printed, 1) for n, k, printed in
      ((14, 2, 13.4), (10, 2, 9.7), (9, 3, 6.0), (15, 5, 6.0))),
]  # fmt: skip
SETTINGS = {
    "bert": {"vocab_size": 30000},
    "albert": {
        "num_hidden_layers": 12, "num_hidden_groups": 12, "num_attention_heads": 12,
        "hidden_size": 768, "intermediate_size": 3072, "vocab_size": 30000,
    },
    "llama": {
        "hidden_size": 576, "num_attention_heads": 9, "num_key_value_heads": 3,
        "intermediate_size": 1536, "tie_word_embeddings": True,
    },
    "arcee": {
        "hidden_size": 512, "num_attention_heads": 8, "num_key_value_heads": 4,
        "intermediate_size": 1024, "vocab_size": 1024, "tie_word_embeddings": True,
    },
}  # fmt: skip


@pytest.mark.parametrize(("kind", "given", "way", "printed", "digits"), MILLIONS)
def test_printed_millions(kind, given, way, printed, digits):
    transformers = pytest.importorskip("transformers")
    from reuseprior.models import without_weights

    layers = {"num_hidden_layers": given["layers"]} if given else {}
    config = hf.configured(kind, SETTINGS[kind] | layers)
    classes = {"bert": "BertModel", "albert": "AlbertModel"}
    with without_weights():
        if kind in classes:
            model = getattr(transformers, classes[kind])(config)
        else:
            model = hf.build(config)
    sharing.apply(model, way)
    assert round(parameters(model) / 1e6, digits) == printed


@pytest.mark.parametrize("kind", ["albert", "distilbert", "opt"])
def test_every_way_shares_or_says_why_not(kind):
    shares_or_says_why_not(kind)


def zoo():
    """The types of the survey that have no more than a billion parameters."""
    rows = pd.read_csv(paths.RESULTS / "zoo" / "transformers" / "metrics.csv")
    names = rows.loc[rows["held"] <= 1e9, "model"].str.removeprefix("hf:")
    return sorted(name for name in names if "," not in name)


@pytest.mark.slow
@pytest.mark.parametrize("kind", drawn(zoo(), 3))
def test_every_way_on_the_transformers_of_the_zoo(kind):
    shares_or_says_why_not(kind)


def shares_or_says_why_not(kind):
    """Every way on a type without weights: none leaves it as it was without a word."""
    pytest.importorskip("transformers")
    plain = catalog.build(f"hf:{kind}")
    before = parameters(plain)
    for way in [*WAYS, "all_but_bn", "scopes:same_shape", "blocks:1", "channels:2", "stores:50%"]:
        model = copy.deepcopy(plain)
        try:
            sharing.apply(model, way)
        except SharingError as error:
            assert "\n" not in str(error) and parameters(model) == before
        else:
            hooked = any(module._forward_hooks for module in model.modules())
            assert hooked if "x3" in way else parameters(model) < before, (kind, way)
