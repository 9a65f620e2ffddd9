"""Models of transformers by type and by configuration file, built without weights or network."""

import json

import pytest
import torch
from torch import nn

from reuseprior.contexts import count_contexts
from reuseprior.measures.measuring import Conventions, measure
from reuseprior.models import ModelError, catalog

transformers = pytest.importorskip("transformers")

SMALL = {
    "gpt2": {"n_layer": 1, "n_embd": 8, "n_head": 2, "vocab_size": 11, "n_positions": 16},
    "mixtral": {
        "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 11,
        "num_key_value_heads": 1, "intermediate_size": 12, "num_local_experts": 4,
    },
    "t5": {"d_model": 8, "num_layers": 1, "num_heads": 2, "d_kv": 4, "d_ff": 12, "vocab_size": 11},
}  # fmt: skip


@pytest.fixture
def configured(tmp_path):
    """A configuration file of each small model; the name that leads to it."""

    def write(kind):
        path = tmp_path / f"{kind}.json"
        path.write_text(json.dumps({"model_type": kind} | SMALL[kind]))
        return f"hf:{path}"

    return write


@pytest.mark.parametrize("kind", SMALL)
def test_a_configuration_file(kind, configured):
    name = configured(kind)
    model = catalog.build(name)
    assert all(p.is_meta for p in model.parameters()) and catalog.find(name).output == "logits"
    done = measure(name, Conventions(tokens=5))
    assert done.shape == (1, 5) and done.image_size is None
    assert done.quantities.input_nodes == (10 if kind == "t5" else 5)
    assert done.quantities.output_nodes == 5 * 11
    embedded = measure(name, Conventions(tokens=5, embedded=True))
    assert embedded.quantities.input_nodes == 8 * done.quantities.input_nodes


def test_later_tokens_are_masked(configured):
    """A causal model's first output has no path from later tokens' positions."""
    model = catalog.build(configured("gpt2"))
    counts = count_contexts(
        model, {"input_ids": (1, 4)}, output=lambda made: made.logits[:, :1], exact=True
    )
    positions = {p.name: p for p in counts.parameter_counts}["transformer.wpe.weight"]
    assert (positions.counts[:, 0] > 0).tolist() == [True] + [False] * 15


def test_experts_are_left_as_they_were(configured):
    model = catalog.build(configured("mixtral"))
    before = dict(vars(model.config))
    count_contexts(model, {"input_ids": (1, 3)}, output="logits")
    assert vars(model.config) == before


def test_a_configuration_has_so_many_layers_at_most(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"model_type": "gpt2", "n_layer": 10**6}))
    with pytest.raises(ModelError, match="num_hidden_layers is more than 10,000"):
        catalog.find(f"hf:{path}")


@pytest.mark.parametrize(("name", "message"), [
    ("hf:gtp2", r"neither a file nor a type of model of transformers, did you mean 'gpt2'"),
    ("hf:pyproject.toml", "no configuration of transformers"),
])  # fmt: skip
def test_names_that_lead_nowhere(name, message, request, monkeypatch):
    """And some that lead somewhere."""
    assert type(catalog.build("hf:gpt2")).__name__ == "GPT2LMHeadModel"
    assert catalog.find("hf:bert").tokens == ("input_ids",)
    assert "hf:gpt2" in catalog.matching("hf:gpt*")
    assert catalog.find("hf:vit").tokens == () and catalog.find("hf:vit").image_size == 224
    monkeypatch.chdir(request.config.rootpath)
    with pytest.raises(ModelError, match=message):
        catalog.find(name)


def test_embeddings_of_other_models():
    own = "torch.nn:Identity"  # may take tokens, and how is not known
    with pytest.raises(ModelError, match="embeddings can be the input of hf: models only"):
        Conventions(tokens=3, embedded=True).inputs(own, nn.Identity())
    assert Conventions(tokens=3).inputs(own, nn.Identity()).dtype is torch.int64
