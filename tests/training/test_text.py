"""Texts through the trainer: buckets, GLUE's scores, early stopping, resumed bit for bit."""

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

from reuseprior import data
from reuseprior.data import TextSet
from reuseprior.models.classformer import Classformer, Schedule, Sizes, Space
from reuseprior.training import Protocol, ProtocolError, train
from reuseprior.training.batches import Share
from reuseprior.training.task import BUCKET, TextClassification, scores
from tests.training.letters import LETTERS, texts
from tests.training.runs import check_resumed

SIZES = Sizes(layers=2, width=16, heads=2, hidden=16, vocabulary=40, positions=32, dropout=0.1)
PROTOCOL = Protocol(
    epochs=4, batch_size=8, optimizer="adamw", learning_rate=0.3, warmup_epochs=0.4,
    schedule="linear", patience=4, test_every=0,
)  # fmt: skip
PLACE = {"device": torch.device("cpu"), "share": Share()}


TASK = TextClassification(LETTERS, "f1", longest=20)
DATA = TextSet.of("letters", 2, "f1", texts(70), texts(24, seed=1))


def model():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Classformer(Schedule.plain(2), 2, SIZES, Space(2, (1, 2), (0, 2)))


def fit(folder, built, protocol=PROTOCOL, **options):
    options |= {"seed": 3, "task": TASK, "progress": False}
    return train(built, DATA, protocol, folder, **options)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    built = model()
    return built, fit(tmp_path_factory.mktemp("run") / "whole", built)


@pytest.mark.parametrize("batch", [3, 12, 28])  # in the first epoch, the second and the fourth
def test_resumed_bit_for_bit(tmp_path, whole, batch):
    check_resumed(fit, model, tmp_path, whole, batch)


def test_finished_comes_back_with_its_best_weights(whole):
    built, found = whole
    other = model()
    fit(found.folder, other, resume=True)
    assert all(map(torch.equal, built.state_dict().values(), other.state_dict().values()))


def evaluated(built, part):
    """The scores of a part, one text at a time."""
    built.eval()
    tokens = TASK.batches(part, PROTOCOL, seed=0, **PLACE)
    guesses = torch.cat([built(x).argmax(1) for x, _ in tokens.once()])
    labels = torch.cat([y for _, y in tokens.once()])
    return {"accuracy": accuracy_score(labels, guesses), "f1": f1_score(labels, guesses)}


def test_it_learns_and_the_best_epoch_is_tested(whole):
    built, found = whole
    best = found.metrics.validation_f1.idxmax()
    assert found.summary["best_epoch"] == best + 1
    assert found.metrics.test_f1.isna().all()  # the report half is looked at once
    search, report = evaluated(built, DATA.search), evaluated(built, DATA.report)
    assert found.metrics.validation_f1[best] == pytest.approx(search["f1"])
    assert found.metrics.validation_accuracy[best] == pytest.approx(search["accuracy"])
    assert found.summary["test_f1"] == pytest.approx(report["f1"])
    assert found.metrics.train_loss.iloc[-1] < found.metrics.train_loss.iloc[0]


def test_patience_ends_a_training(tmp_path):
    frozen = Protocol(**vars(PROTOCOL) | {"learning_rate": 0.0, "patience": 2, "epochs": 9})
    found = fit(tmp_path / "run", model(), frozen)
    assert found.summary["epochs"] == 3 and found.summary["best_epoch"] == 1
    assert found.summary["state"] == "finished"
    again = fit(tmp_path / "run", model(), frozen, resume=True)
    assert again.summary == found.summary


def test_scores_are_those_of_scikit_learn():
    random = np.random.RandomState(0)
    for n in (1, 2, 5, 40):
        for _ in range(20):
            truth, guess = random.randint(2, size=(2, n))
            cells = np.bincount(2 * guess + truth, minlength=4)
            found = scores(*cells.tolist())
            assert found["accuracy"] == pytest.approx(accuracy_score(truth, guess))
            assert found["f1"] == pytest.approx(f1_score(truth, guess, zero_division=0.0))
            if len({*truth}) > 1 and len({*guess}) > 1:
                assert found["matthews"] == pytest.approx(matthews_corrcoef(truth, guess))


def test_an_epoch_has_every_text_once_at_most_in_batches_of_like_lengths():
    part = texts(8 * BUCKET * 2 + 5)
    batches = TASK.batches(part, PROTOCOL, seed=0, **PLACE)
    epoch = list(batches.epoch(1))
    assert len(epoch) == 2 * BUCKET
    rows = [tuple(row[0][row[2] > 0].tolist()) for x, _ in epoch for row in x]
    assert len(rows) == 8 * 2 * BUCKET
    assert sum(x[:, 2].sum() / x[:, 2].numel() for x, _ in epoch) / len(epoch) > 0.9
    for mine, its in zip(batches.epoch(1, first=5), epoch[5:], strict=True):
        assert torch.equal(mine[0], its[0]) and torch.equal(mine[1], its[1])
    assert sum(len(y) for _, y in batches.once()) == len(part)


def test_two_processes_share_a_batch():
    part = texts(64)
    shares = [Share(i, 2) for i in (0, 1)] + [PLACE["share"]]
    batches = [TASK.batches(part, PROTOCOL, seed=0, **PLACE | {"share": one}) for one in shares]
    for one, other, both in zip(*(b.epoch(0) for b in batches), strict=True):
        assert torch.equal(torch.cat([one[1], other[1]]), both[1])


def test_refusals(tmp_path):
    flat = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 64, 10))

    def fit_with(**changes):
        fit(tmp_path / "run", model(), Protocol(**vars(PROTOCOL) | changes))

    for call, message in [
        (lambda: TextClassification(LETTERS, "loss"),
         "metric is 'loss': choose accuracy, f1, matthews"),
        (lambda: Protocol(patience=2, ema_decay=0.9), r"patience is 2 and ema_decay 0\.9"),
        (lambda: train(flat, data.load("digits"), Protocol(patience=1), tmp_path, seed=0),
         "patience is 1, and digits has no validation part"),
        (lambda: fit_with(channels_last=True), "channels_last is true, which orders images"),
        (lambda: fit_with(validation=0.1), "letters brings parts of its own"),
        (lambda: fit_with(mixup_alpha=0.1), "set both to 0"),
    ]:  # fmt: skip
        with pytest.raises(ProtocolError, match=message):
            call()
