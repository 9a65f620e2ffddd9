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


def configured(folder, kind):
    """The name that leads to a configuration file of a small model."""
    path = folder / f"{kind}.json"
    path.write_text(json.dumps({"model_type": kind} | SMALL[kind]))
    return f"hf:{path}"


@pytest.mark.parametrize("kind", SMALL)
def test_a_configuration_file(kind, tmp_path):
    name = configured(tmp_path, kind)
    model = catalog.build(name)
    assert all(p.is_meta for p in model.parameters()) and catalog.find(name).output == "logits"
    done = measure(name, Conventions(tokens=5))
    assert done.shape == (1, 5) and done.image_size is None
    assert done.quantities.input_nodes == (10 if kind == "t5" else 5)
    assert done.quantities.output_nodes == 5 * 11
    embedded = measure(name, Conventions(tokens=5, embedded=True))
    assert embedded.quantities.input_nodes == 8 * done.quantities.input_nodes


def test_later_tokens_are_masked(tmp_path):
    """A causal model's first output has no path from later tokens' positions."""
    model = catalog.build(configured(tmp_path, "gpt2"))
    counts = count_contexts(
        model, {"input_ids": (1, 4)}, output=lambda made: made.logits[:, :1], exact=True
    )
    positions = {p.name: p for p in counts.parameter_counts}["transformer.wpe.weight"]
    assert (positions.counts[:, 0] > 0).tolist() == [True] + [False] * 15


def test_experts_are_left_as_they_were(tmp_path):
    model = catalog.build(configured(tmp_path, "mixtral"))
    before = dict(vars(model.config))
    count_contexts(model, {"input_ids": (1, 3)}, output="logits")
    assert vars(model.config) == before


def test_names_that_lead_somewhere_or_nowhere(tmp_path):
    """A type of model, or a file that configures one of at most so many layers."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"model_type": "gpt2", "n_layer": 10**6}))
    (tmp_path / "other").write_text("text")
    assert type(catalog.build("hf:gpt2")).__name__ == "GPT2LMHeadModel"
    assert catalog.find("hf:bert").tokens == ("input_ids",)
    assert "hf:gpt2" in catalog.matching("hf:gpt*")
    assert catalog.find("hf:vit").tokens == () and catalog.find("hf:vit").image_size == 224
    own = Conventions(tokens=3).inputs("torch.nn:Identity", nn.Identity())
    assert own.dtype is torch.int64  # which may take tokens
    for name, message in (
        ("gtp2", r"neither a file nor a type of model of transformers, did you mean 'gpt2'"),
        (tmp_path / "other", "no configuration of transformers"),
        (path, "num_hidden_layers is more than 10,000"),
    ):
        with pytest.raises(ModelError, match=message):
            catalog.find(f"hf:{name}")
