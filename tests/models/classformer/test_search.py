"""The search for schedules: its reward, its samplers, killed and resumed, the binary search."""

import json
import os
import signal
from contextlib import suppress
from itertools import product

import pytest

from reuseprior.models import ModelError
from reuseprior.models.classformer import Schedule, Space, binary_search, reward, search, started

optuna = pytest.importorskip("optuna")
SPACE = Space(4, (1, 2, 4), (0, 4))


def evaluate(schedule):
    """A score and a time that are known: early bottlenecks cost more and save more."""
    lengths = schedule.lengths(64)
    lost = sum((1 - n / 64) * weight for n, weight in zip(lengths, (8, 4, 2, 0), strict=True))
    return 0.9 - lost / 40, sum((64, *lengths[:-1])) / 256


def looked(path, sampler="tpe", budget=16, seed=0, evaluate=evaluate, **options):
    return search(
        SPACE, evaluate, required=0.85, budget=budget, sampler=sampler, seed=seed, journal=path,
        **options,
    )  # fmt: skip


@pytest.mark.parametrize("sampler", ["gp", "tpe", "random"])
def test_stopped_anywhere_it_makes_the_same_choices(tmp_path, sampler):
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
    parts = looked(tmp_path / "parts", sampler, evaluate=dies)
    assert parts == whole
    assert len(calls) == 16 + 3  # the three in hand again, no finished one twice
    assert looked(tmp_path / "parts", sampler, evaluate=dies) == whole
    assert len(calls) == 16 + 3


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_killed_it_goes_on(tmp_path):
    calls = []

    def dies(schedule):
        calls.append(schedule)
        if len(calls) == 6:
            os.kill(os.getpid(), signal.SIGKILL)
        return evaluate(schedule)

    if not (child := os.fork()):
        with suppress(BaseException):
            looked(tmp_path / "journal", evaluate=dies)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    calls.extend([None] * 6)  # those of the child; the sixth, which was in hand, is done again
    assert looked(tmp_path / "journal", evaluate=dies) == looked(tmp_path / "whole")
    assert len(calls) == 16 + 1


def test_initial_schedules_come_first_and_count(tmp_path):
    initial = [Schedule.plain(4), Schedule((1, 1, 1, 4))]
    found = looked(tmp_path / "j", budget=5, initial=initial)
    assert [t.schedule for t in found[:2]] == initial and len(found) == 5
    assert [t.number for t in found] == list(range(5))
    for trial in found:
        score, share = evaluate(trial.schedule)
        assert (trial.score, trial.share) == (score, share)
        assert trial.reward == reward(score, share, 0.85)


def test_samplers_find_what_is_best(tmp_path):
    """Among 162 schedules, of which few are both fast and good enough."""
    schedules = (Schedule(g, e) for g in product(SPACE.gammas, repeat=4) for e in SPACE.etas)
    everything = [reward(*evaluate(schedule), 0.85) for schedule in schedules]
    best = max(t.reward for t in looked(tmp_path / "gp", "gp", budget=40))
    assert best >= sorted(everything)[-8]


def test_reward_orders_alike_in_every_unit():
    pairs = [(0.8, 0.5), (0.84, 0.9), (0.9, 0.8), (0.86, 0.4)]
    orders = [
        sorted(range(4), key=lambda i, unit=unit: reward(pairs[i][0], unit * pairs[i][1], 0.85))
        for unit in (1.0, 0.01, 1e4)
    ]
    assert orders == [[0, 1, 2, 3]] * 3


def test_another_search_in_the_journal_is_refused(tmp_path):
    looked(tmp_path / "j", budget=1)
    for journal, options, message in [
        ("j", {"seed": 1}, "holds a search whose seed is 0 and not 1: choose another"),
        ("k", {"sampler": "grid"}, "sampler is 'grid': choose gp, tpe, random"),
        ("l", {"initial": [Schedule((3, 1, 1, 1))]}, "3,1,1,1 is not of the space"),
    ]:
        with pytest.raises(ModelError, match=message):
            looked(tmp_path / journal, budget=1, **options)


@pytest.mark.parametrize(("key", "value", "sentence"), [
    ("op_code", "text", r"is no journal of a search \(.*\): delete it to search anew"),
    ("op_code", 99, r"is no journal of a search"),
    ("about", 7, r"is no journal of a search \(it is about 7\): delete it"),
    ("schedule", 7, r"trial 0 does not hold what it should \(Expected `str`, got `int`"),
    ("schedule", "1,1,1", r"is no journal of a search \(trial 0 "),
    ("score", "much", r"Expected `float`, got `str` - at `\$\.score`"),
    ("score", 0.123, r"trial 0 says one thing here and another there"),
    ("share", 0, r"is no journal of a search \(trial 0 "),
    ("gamma0", 1, r"is no journal of a search"),
    ("value", 9.0, r"trial 0 says one thing here and another there"),
])  # fmt: skip
def test_a_damaged_journal_is_told(tmp_path, key, value, sentence):
    journal = tmp_path / "journal"
    looked(journal, budget=2, initial=started(SPACE.layers)[:2])
    lines = journal.read_text().splitlines()
    number = next(i for i, line in enumerate(lines) if f'"{key}":' in line)
    said = json.loads(
        lines[number], object_hook=lambda held: held | ({key: value} if key in held else {})
    )
    lines[number] = json.dumps(said)
    journal.write_text("\n".join(lines) + "\n")
    with pytest.raises(ModelError, match=sentence) as caught:
        looked(journal, budget=3, initial=started(SPACE.layers)[:2])
    assert "\n" not in str(caught.value)


def test_ten_to_begin_with():
    for layers in (6, 12):
        found = started(layers)
        assert len(set(found)) == 10 and found[0].is_plain
        firsts = [next(i for i, g in enumerate(s.gamma) if g > 1) for s in found[1:]]
        assert firsts == sorted(firsts, reverse=True)


@pytest.mark.parametrize("least", range(7))
def test_binary_search_finds_the_earliest(least):
    """In a score that rises with the first layer, by few looks."""
    order = [Schedule.fixed(first, 6) for first in range(7)]
    found, seen = binary_search(lambda s: order.index(s) / 10, 6, least / 10)
    assert found == order[least]
    assert len(seen) <= 3
