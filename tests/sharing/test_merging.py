"""However it shares, a model that is trained, saved, copied and merged computes the same."""

import copy

import pytest
import torch
from safetensors.torch import load_model, save_model
from torch import nn
from torch.func import functional_call

from reuseprior import sharing
from reuseprior.models import cifar_resnet18, hf, vs_xception
from reuseprior.sharing import SharingError
from reuseprior.sharing.layers import stacks
from reuseprior.sharing.weights import merge, parametrized
from tests.sharing.counting import parameters
from tests.sharing.test_stores import small


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


def language(kind, **options):
    pytest.importorskip("transformers")
    some = {"vocab_size": 11, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
    return hf.build(hf.configured(kind, some | options))


def gpt2():
    return language("gpt2", n_layer=6, n_embd=8, n_head=2, n_positions=8)


def bert():
    return language("bert", num_hidden_layers=6, hidden_size=8, num_attention_heads=2,
                    intermediate_size=12)  # fmt: skip


def t5():
    return language("t5", num_layers=7, d_model=8, num_heads=2, d_kv=4, d_ff=12)


def xception():
    return vs_xception(width=0.125)


def resnet():
    return cifar_resnet18(width=0.125)


TOKENS = torch.tensor([[3, 4, 5, 6]])
IMAGES = torch.rand(2, 3, 8, 8).double()
STACKS = {  # what runs it
    encoder: lambda model: model(torch.ones(1, 3, 8).double()),
    decoder: lambda model: model(torch.ones(1, 3, 8).double(), torch.ones(1, 2, 8).double()),
    OwnStack: lambda model: model(torch.ones(3, 1, 8).double()),
    gpt2: lambda model: model(TOKENS).logits,
    bert: lambda model: model(TOKENS).logits,
    t5: lambda model: model(TOKENS, decoder_input_ids=TOKENS).logits,
}
RUNS = STACKS | {
    xception: lambda model: model(IMAGES),
    resnet: lambda model: model(IMAGES),
    small: lambda model: model(IMAGES[..., :4, :4]),
}
SPECS = ["layers:middle", "layers:3,cycle-rev", "layers:attention", "layers:mlp,2,cycle",
        "layers:all,lora=2", "layers:2-3x3"]  # fmt: skip
STORES = ["stores:50%,weighted,mask", "stores:50%,embedding,interpolate,shape", "stores:300%",
          "stores:200%,round_robin"]  # fmt: skip
CASES = [
    *((build, spec) for build in STACKS for spec in SPECS), *((small, spec) for spec in STORES),
    (xception, "channels:4,depthwise,pointwise"), (resnet, "channels:2,full,norms"),
    (gpt2, "stores:50%"),
]  # fmt: skip


def built(build):
    torch.manual_seed(0)
    return build().double().eval()


@pytest.mark.parametrize(("build", "spec"), CASES)
def test_trained_saved_copied_and_merged(build, spec, tmp_path):
    plain, run = built(build), RUNS[build]
    torch.manual_seed(1)
    model, *others = (sharing.apply(copy.deepcopy(plain), spec) for _ in range(3))
    is_smaller = "x3" not in spec and "300%" not in spec
    assert (parameters(model) < parameters(plain)) == is_smaller
    run(model).square().sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    torch.optim.SGD(model.parameters(), 0.01).step()
    after = run(model)
    save_model(model, str(tmp_path / "model.safetensors"))
    load_model(others[0], str(tmp_path / "model.safetensors"))
    torch.save(model.state_dict(), tmp_path / "model.pt")
    others[1].load_state_dict(torch.load(tmp_path / "model.pt", weights_only=True))
    twin, merged = copy.deepcopy(model), merge(copy.deepcopy(model))
    assert all(torch.equal(run(other), after) for other in (model, twin, *others))
    assert not parametrized(merged)
    torch.testing.assert_close(run(merged), after, rtol=1e-12, atol=1e-12)
    if "x3" not in spec:
        assert list(merged.state_dict()) == list(plain.state_dict())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert torch.equal(run(twin), after)
    torch.testing.assert_close(run(merged), after, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("build", STACKS)
@pytest.mark.parametrize("text", ["3,cycle", "attention"])
def test_no_difference_is_the_shared_model_bit_for_bit(build, text):
    plain, run = built(build), STACKS[build]
    shared, none, zero = (
        sharing.apply(copy.deepcopy(plain), f"layers:{text}{lora}")
        for lora in ("", ",lora=0", ",lora=1")
    )
    assert torch.equal(run(none), run(shared)) and torch.equal(run(zero), run(shared))
    assert none.state_dict().keys() == shared.state_dict().keys()


@pytest.mark.parametrize("build", [encoder, decoder, OwnStack])
def test_a_loop_is_the_stack_unrolled(build):
    plain, run = built(build), STACKS[build]
    looped, written = sharing.apply(copy.deepcopy(plain), "layers:2-3x2"), copy.deepcopy(plain)
    for stack in stacks(written):
        blocks = list(stack.blocks.values())
        holder = written.get_submodule(stack.name)
        holder._modules.clear()
        holder.extend([*blocks[:3], *blocks[1:3], *blocks[3:]])
    assert torch.equal(run(looped), run(written))


@pytest.mark.parametrize("build", STACKS)
def test_parts_are_told_apart(build):
    plain, held = built(build), {}
    for part in ("attention", "mlp"):
        model = sharing.apply(copy.deepcopy(plain), f"layers:{part}")
        scopes = {n for n, p in plain.named_parameters()} - {n for n, p in model.named_parameters()}
        held[part] = {name.rpartition(".")[0] for name in scopes}
    assert held["attention"] and held["mlp"] and not held["attention"] & held["mlp"]
    assert all("att" in name.lower() or "layer_norm" in name for name in held["attention"])
    assert not any("norm" in name.lower() for name in held["mlp"])


def test_a_cache_is_refused_in_a_loop():
    model = sharing.apply(gpt2(), "layers:2-3x2")
    model.config.use_cache = True
    with pytest.raises(SharingError, match=r"set model\.config\.use_cache = False"):
        model(TOKENS)


# What a parameter is besides its values -----------------------------------------------------------


def convolutions(spec):
    torch.manual_seed(0)
    layers = [nn.Conv2d(4, 4, 3, padding=1) for _ in range(4)]
    return sharing.apply(nn.Sequential(layers[0], nn.BatchNorm2d(4), *layers[1:]).eval(), spec)


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("spec", [*STORES, "stores:60%,mean", "channels:2,full"])
def test_merged_weights_learn_where_what_made_them_did(spec, frozen):
    model = convolutions(spec)
    made = list(parametrized(model))
    for name in made[1:]:  # so that one layer has frozen values, unless they are the others' too
        model.get_submodule(name).requires_grad_(not frozen)
    learned = {name: model.get_submodule(name).weight.requires_grad for name in made}
    with torch.no_grad():
        merge(model)
    assert {name: model.get_submodule(name).weight.requires_grad for name in made} == learned


@pytest.mark.parametrize("spec", [*STORES, "stores:90%,shape", "stores:70%,resized"])
def test_what_functional_call_would_leave_replaced_is_refused(spec):
    model, x = convolutions(spec), torch.rand(1, 4, 6, 6)
    before, state = model(x), model.state_dict()
    others = {name: 2 * p for name, p in model.named_parameters()}
    with pytest.raises(SharingError, match="take the layers apart with"):
        functional_call(model, others, (x,))
    assert torch.equal(model(x), before)
    assert state.keys() == model.state_dict().keys()
    plain = merge(model)
    doubled = functional_call(plain, {n: 2 * p for n, p in plain.named_parameters()}, (x,))
    assert not torch.equal(doubled, before) and torch.allclose(plain(x), before, atol=1e-6)
