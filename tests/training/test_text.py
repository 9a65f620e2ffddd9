"""Texts through the trainer: buckets, GLUE's scores, early stopping, resumed bit for bit."""

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

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
PLACE = {"device": torch.device("cpu"), "seed": 0, "share": Share()}
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


@pytest.mark.slow
@pytest.mark.parametrize("batch", [3, 28])  # in the first epoch and in the fourth
def test_resumed_bit_for_bit(tmp_path, whole, batch):
    check_resumed(fit, model, tmp_path, whole, batch)


def test_it_learns_and_the_best_epoch_is_tested(whole):
    built, found = whole
    best = found.metrics.validation_f1.idxmax()
    assert found.summary["best_epoch"] == best + 1
    assert found.metrics.test_f1.isna().all()  # the report half is looked at once
    told = {**found.metrics.loc[best], "test_f1": found.summary["test_f1"]}
    built.eval()
    for name, part in (("validation", DATA.search), ("test", DATA.report)):
        texts, labels = zip(*TASK.batches(part, PROTOCOL, **PLACE).once(), strict=True)
        truth, guess = torch.cat(labels), torch.cat([built(x).argmax(1) for x in texts])
        assert told[f"{name}_f1"] == pytest.approx(f1_score(truth, guess))
    assert found.metrics.train_loss.iloc[-1] < found.metrics.train_loss.iloc[0]
    other = model()
    fit(found.folder, other, resume=True)
    assert all(map(torch.equal, built.state_dict().values(), other.state_dict().values()))


def test_patience_ends_a_training(tmp_path):
    frozen = PROTOCOL.changed({"learning_rate": 0.0, "patience": 2, "epochs": 9})
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
    shares = (Share(), Share(0, 2), Share(1, 2))
    batches, *halves = (TASK.batches(part, PROTOCOL, **PLACE | {"share": s}) for s in shares)
    epoch = list(batches.epoch(1))
    assert len(epoch) == 2 * BUCKET and all(len(x) == 8 for x, _ in epoch)
    assert sum(x[:, 2].sum() / x[:, 2].numel() for x, _ in epoch) / len(epoch) > 0.9
    for mine, its in zip(batches.epoch(1, first=5), epoch[5:], strict=True):
        assert all(map(torch.equal, mine, its))
    assert sum(len(y) for _, y in batches.once()) == len(part)
    for (_, both), *parts in zip(epoch, *(half.epoch(1) for half in halves), strict=True):
        assert torch.equal(both, torch.cat([labels for _, labels in parts]))


REFUSED = [  # what the protocol has, what is said
    ({"channels_last": True}, "channels_last is true, which orders images"),
    ({"validation": 0.1}, "letters brings parts of its own"),
    ({"mixup_alpha": 0.1}, "set both to 0"),
]


@pytest.mark.parametrize(("changes", "message"), REFUSED)
def test_refused(tmp_path, changes, message):
    with pytest.raises(ProtocolError, match=message):
        fit(tmp_path / "run", model(), PROTOCOL.changed(changes))
    with pytest.raises(ProtocolError, match="metric is 'loss': choose accuracy, f1, matthews"):
        TextClassification(LETTERS, "loss")
