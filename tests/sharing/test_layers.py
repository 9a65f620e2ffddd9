"""Blocks of a stack share: what each spec ties, counts to the last context, merged and saved."""

import copy

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from reuseprior import paths, sharing
from reuseprior.models import catalog, hf
from reuseprior.sharing import Layers, SharingError
from reuseprior.sharing.layers import ORDERS
from tests.contexts.naive import Add
from tests.sharing.counting import ByValue, check_counts, parameters
from tests.sharing.test_merging import decoder
from tests.soak import drawn

ORDERED = {  # of six places; those of three blocks are Takase and Kiyono's, 2021, figure 2
    "all": "000000", "middle": "011115", "2,cycle": "010101", "3,cycle": "012012",
    "3,sequence": "001122", "4,sequence": "001223", "3,cycle-rev": "012210",
    "2,cycle-rev": "010110", "2,immediate": "001122", "4,immediate": "000011",
}  # fmt: skip


@pytest.mark.parametrize("text", ORDERED)
def test_which_block_stands_where(text):
    model = sharing.apply(nn.Sequential(*(nn.Linear(2, 2) for _ in range(6))), f"layers:{text}")
    held = [id(layer.weight) for layer in model]
    assert "".join(str(list(ORDERED[text]).index(o)) for o in ORDERED[text]) == "".join(
        str(held.index(one)) for one in held
    )


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
    spec = Layers.parse(text)
    before = parameters(model)
    try:
        spec.share(model)
    except SharingError as error:
        assert "finds nothing to share" in str(error) or "no loop over" in str(error)
        assert parameters(model) == before
        return
    assert (parameters(model) < before) == (spec.loop is None)
    bound = type("Bound", (Unrolled,), {"loop": spec.loop, "of": model[1]})
    check_counts(model, writer=bound)


# Models of several libraries ----------------------------------------------------------------------


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


# Published counts ---------------------------------------------------------------------------------

# Of Lan et al., ICLR 2020, table 4 (E = 768 and 128); of MobileLLM, appendix: 124.6M; of Parameter
# Golf's "Full-Model Depth Recurrence": all but the printed digit is a matter of vectors.
# ALBERT's, with a block a layer, which `layers:all` makes one, are "params" and "config" in
# keras-team/keras-hub (Apache-2.0), albert/albert_presets.py in its folder of models.
MILLIONS = [
    *(("albert", {"layers": layers, "num_attention_heads": heads, "hidden_size": hidden,
                  "intermediate_size": 4 * hidden, "embedding_size": 128}, "layers:all", n, 6)
      for n, layers, heads, hidden in (
          (11.683584, 12, 12, 768), (17.683968, 24, 16, 1024), (58.724864, 24, 16, 2048),
          (222.595584, 12, 64, 4096))),
    *(("bert", {}, f"layers:{part}", n, 0) for part, n in
      (("all", 31), ("attention", 83), ("mlp", 57))),
    *(("albert", {}, f"layers:{part}", n, 0) for part, n in
      (("attention", 64), ("mlp", 38))),
    ("llama", {"layers": 60}, "layers:2,immediate", 124.6, 1),
    *(("arcee", {"layers": n}, f"layers:{n // k},cycle", printed, 1) for n, k, printed in
      ((14, 2, 13.4), (10, 2, 9.7), (9, 3, 6.0), (15, 5, 6.0))),
]  # fmt: skip
SETTINGS = {
    "bert": {"vocab_size": 30000},
    "albert": {
        "layers": 12, "num_attention_heads": 12, "hidden_size": 768, "intermediate_size": 3072,
        "vocab_size": 30000,
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


COUNTED = {"albert": ["num_hidden_groups"]}  # as often as there are layers


@pytest.mark.parametrize(("kind", "given", "spec", "printed", "digits"), MILLIONS)
def test_printed_millions(kind, given, spec, printed, digits):
    transformers = pytest.importorskip("transformers")
    from reuseprior.models import without_weights

    options = SETTINGS[kind] | given
    if layers := options.pop("layers", None):
        options |= dict.fromkeys(["num_hidden_layers", *COUNTED.get(kind, ())], layers)
    config = hf.configured(kind, options)
    classes = {"bert": "BertModel", "albert": "AlbertModel"}
    with without_weights():
        if kind in classes:
            model = getattr(transformers, classes[kind])(config)
        else:
            model = hf.build(config)
    sharing.apply(model, spec)
    assert round(parameters(model) / 1e6, digits) == printed


def zoo():
    """The types of the survey that have no more than a billion parameters."""
    rows = pd.read_csv(paths.RESULTS / "zoo" / "transformers" / "metrics.csv")
    names = rows.loc[rows["held"] <= 1e9, "model"].str.removeprefix("hf:")
    return sorted(name for name in names if "," not in name)


SPECS = [*(f"layers:{text}" for text in ORDERED), "layers:attention", "layers:mlp,2,cycle",
        "layers:all,lora=2", "layers:2-3x3", "all_but_bn", "scopes:same_shape", "blocks:1",
        "channels:2", "stores:50%"]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("kind", drawn(zoo(), 2))
def test_every_spec_shares_or_says_why_not(kind):
    """On a type without weights: none leaves it as it was without a word."""
    pytest.importorskip("transformers")
    plain = catalog.build(f"hf:{kind}")
    before = parameters(plain)
    for spec in SPECS:
        model = copy.deepcopy(plain)
        try:
            sharing.apply(model, spec)
        except SharingError as error:
            assert "\n" not in str(error) and parameters(model) == before
        else:
            hooked = any(module._forward_hooks for module in model.modules())
            assert hooked if "x3" in spec else parameters(model) < before, (kind, spec)
