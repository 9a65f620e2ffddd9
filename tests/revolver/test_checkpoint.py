import gzip
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

from reuseprior import revolver as rv
from reuseprior.results import CONFIG, ResultError, Run, read_json
from reuseprior.revolver.evolution import checkpoint
from reuseprior.revolver.evolution.state import generator_of, state_of
from reuseprior.training import CheckpointError
from reuseprior.training import checkpoint as files
from tests.revolver.searches import DIGITS, small, table, weights

# A server that has imported everything forks a process for each life of a run.
SERVER = """
import itertools, os, random, signal, sys, time
sys.path.insert(0, {tests!r})
from tests.revolver import test_checkpoint as t

def live(folder):
    child = os.fork()
    if not child:
        t.complete(folder)
        os._exit(0)
    return child

start = time.monotonic()
assert os.waitpid(live({folder!r} + "/whole"), 0)[1] == 0
duration = time.monotonic() - start
rng, kills = random.Random(0), 0
for run in itertools.count():  # as many as it takes, however fast the machine is by now
    folder = {folder!r} + f"/killed-{{run}}"
    for life in range(t.LIVES):
        child = live(folder)
        time.sleep(rng.uniform(0, duration))
        os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
        if status == 0:
            break
        assert status == signal.SIGKILL, status
        kills += 1
    else:  # however slow the machine is by now
        assert os.waitpid(live(folder), 0)[1] == 0
    if kills >= t.KILLS:
        break
print(kills)
"""
KILLS = 20  # at least
LIVES = 5  # of a run that are cut short, before one may last
KILLED = small(
    generations=4, warmup_generations=1, mode="random_warmup_evolve", optimizer_state="scope",
    augmentation="flip_crop", population=4, train_images=150,
)  # fmt: skip


def complete(folder):
    """Start or take up the run that is killed, to its end."""
    torch.set_num_threads(1)
    search = rv.Search.start(KILLED, DIGITS, folder, seed=3, resume=True)
    for _ in search:
        pass
    search.finish()


def contents(folder):
    """Everything in a checkpoint but the clock."""
    tensors, state = checkpoint.load(folder / checkpoint.NAME)
    for entry in state["trainings"]:
        del entry["seconds"]
    del state["rows"]  # the digest of what the clock said as well
    data = {group: {k: t.tolist() for k, t in held.items()} for group, held in tensors.items()}
    return data, state


@pytest.mark.slow
def test_killed_anywhere_it_ends_the_same_bit_for_bit(tmp_path):
    code = SERVER.format(tests=str(Path(__file__).parents[2]), folder=str(tmp_path))
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, env=environment, stdout=subprocess.PIPE,
        text=True, timeout=900,
    )  # fmt: skip
    assert int(done.stdout) >= KILLS
    whole = Run.read(tmp_path / "whole")
    expected = contents(whole.folder)
    runs = sorted(tmp_path.glob("killed-*"))
    assert runs
    for folder in runs:
        run = Run.read(folder)
        assert run.metrics.drop(columns="seconds").equals(whole.metrics.drop(columns="seconds"))
        assert contents(folder) == expected
        assert run.summary["test_accuracy"] == whole.summary["test_accuracy"]
        assert not list(folder.glob(".*.tmp"))


@pytest.mark.slow
@pytest.mark.parametrize("generations", range(4))
def test_15_taken_up_after_any_generation_it_goes_on_the_same(tmp_path, generations):
    whole = rv.Search.start(KILLED, DIGITS, tmp_path / "whole", seed=3)
    parts = rv.Search.start(KILLED, DIGITS, tmp_path / "parts", seed=3)
    for _ in range(generations):
        whole.step()
        parts.step()
    parts = rv.Search.resume(tmp_path / "parts", DIGITS)
    assert table(parts) == table(whole) and weights(parts) == weights(whole)
    images = DIGITS.test.images[:5].float() / 255
    for one, other in zip(whole.population, parts.population, strict=True):
        assert one.to_data() == other.to_data()
        nets = [s.registry.build(i.blueprint).eval() for s, i in ((whole, one), (parts, other))]
        with torch.no_grad():
            assert torch.equal(nets[0](images), nets[1](images))
    assert parts.state.rng.getstate() == whole.state.rng.getstate()
    for _ in range(2):
        whole.step()
        parts.step()
    assert table(parts) == table(whole) and weights(parts) == weights(whole)


def test_a_checkpoint_of_the_first_version_goes_on(tmp_path):
    """Written by the package of commit d88a3d9, in the middle of a turn of generation 4."""
    for path in (Path(__file__).parent / "data" / "interrupted").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    packed = tmp_path / "checkpoint.safetensors.gz"
    packed.with_suffix("").write_bytes(gzip.decompress(packed.read_bytes()))
    search = rv.Search.resume(tmp_path, DIGITS)
    assert (search.state.plan.generation, search.state.turn.done) == (4, 1)
    for _ in search:
        pass
    whole = pd.read_csv(tmp_path / "whole.csv").drop(columns="seconds")  # it was not interrupted
    found = search.table[whole.columns]
    pd.testing.assert_frame_equal(found, whole, check_dtype=False, rtol=1e-4)


def test_a_checkpoint_holds_no_pickle_and_is_one_file(tmp_path):
    search = rv.Search.start(KILLED, DIGITS, tmp_path, seed=3)
    search.step()
    tensors, state = files.load(tmp_path / checkpoint.NAME)
    assert set(tensors) == {"float32", "int64"} and state["version"] == checkpoint.VERSION
    held = sum(tensor.numel() for tensor in tensors.values())
    assert held == sum(t.numel() for t in search.registry.state()[0].values())


def rewritten(path, **changes):
    tensors, state = files.load(path)
    files.save(path, tensors, {**state, **changes}, config=read_json(path.with_name(CONFIG)))


def shortened(path):
    tensors, state = files.load(path)
    config = read_json(path.with_name(CONFIG))
    files.save(path, {k: tensor[:-5] for k, tensor in tensors.items()}, state, config=config)


def resized(path):
    _, state = files.load(path)
    name = next(n for n in state["registry"]["leaves"] if n.startswith("batch_norm"))
    state["registry"]["leaves"][name]["arguments"]["features"] = 99
    rewritten(path, registry=state["registry"])


@pytest.mark.parametrize(
    "break_, message",
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-9]), "is no whole checkpoint"),
        (lambda path: path.write_bytes(b""), "is no whole checkpoint"),
        (
            lambda path: rewritten(path, version=99),
            "is a checkpoint of version 99 and this package reads version 1: resume with",
        ),
        (lambda path: rewritten(path, population=3), "is no whole checkpoint of a search"),
        (lambda path: rewritten(path, index=[]), "is no whole checkpoint of a search"),
        (lambda path: rewritten(path, index=[["a"]]), "its tensors do not fit their index"),
        (
            lambda path: rewritten(path, index=[["model", "a", "float32", [10**30]]]),
            "its tensors do not fit their index",
        ),
        (lambda path: shortened(path), "its tensors do not fit their index"),
        (lambda path: rewritten(path, rng=[1]), "is no whole checkpoint of a search"),
        (
            lambda path: rewritten(path, rng=[3, [-1] * 625, None]),
            r"is no whole checkpoint of a search .*`int` >= 0 - at `\$\.rng\[1\]",
        ),
        (lambda path: resized(path), "has no fitting tensors for 'batch_norm"),
    ],
)
def test_a_checkpoint_that_cannot_be_read_is_refused(tmp_path, break_, message):
    search = rv.Search.start(KILLED, DIGITS, tmp_path, seed=3)
    search.step()
    break_(tmp_path / checkpoint.NAME)
    with pytest.raises(CheckpointError, match=message) as caught:
        rv.Search.resume(tmp_path, DIGITS)
    assert "\n" not in str(caught.value)


def test_another_run_in_the_folder_is_refused(tmp_path):
    search = rv.Search.start(KILLED, DIGITS, tmp_path, seed=3)
    search.step()
    with pytest.raises(ResultError, match="holds a run already: continue it with --resume"):
        rv.Search.start(KILLED, DIGITS, tmp_path, seed=3)
    with pytest.raises(ResultError, match=r"was started with seed = 3 and this one has 4"):
        rv.Search.start(KILLED, DIGITS, tmp_path, seed=4, resume=True)
    with pytest.raises(ResultError, match=r"settings\.population = 4 and this one has 6"):
        rv.Search.start(
            small(**{**vars(KILLED), "population": 6}), DIGITS, tmp_path, seed=3, resume=True
        )
    with pytest.raises(ResultError, match="does not exist"):
        rv.Search.resume(tmp_path / "nowhere", DIGITS)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text('{"protocol": {}, "seed": 3}')  # of a training
    with pytest.raises(rv.SearchError, match="has no settings and seed of a search: give"):
        rv.Search.resume(tmp_path, DIGITS)
    config["settings"]["populaton"] = 3
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(rv.SettingsError, match=r"unknown key 'populaton', did you mean"):
        rv.Search.resume(tmp_path, DIGITS)


def test_the_state_of_chance_is_read_back():
    rng = random.Random(7)
    rng.gauss(0, 1)
    again = generator_of(json.loads(json.dumps(state_of(rng))))
    assert [again.random() for _ in range(5)] == [rng.random() for _ in range(5)]
    assert again.gauss(0, 1) == rng.gauss(0, 1)
