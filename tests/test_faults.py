"""What RELIABILITY.md promises of kills, full disks, two processes and damaged checkpoints."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save as to_bytes

from reuseprior import paths, results, revolver
from reuseprior.revolver import state as searched
from reuseprior.training import CheckpointError, checkpoint
from tests import faults
from tests.cli.calling import refused, run
from tests.conftest import at_work, until
from tests.revolver.searches import DIGITS
from tests.revolver.test_checkpoint import KILLED

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="steps are told apart by /proc"
)


@pytest.fixture(scope="module")
def play():
    with faults.server() as play:
        yield play


def often(few, many):
    """How often in every run, and how often in `make soak`."""
    return pytest.mark.parametrize("times", [few, pytest.param(many, marks=pytest.mark.soak)])


@pytest.mark.slow
@often(2, 200)
@pytest.mark.parametrize("program", faults.PROGRAMS)
def test_killed_at_any_step_it_ends_the_same_bit_for_bit(tmp_path, play, program, times):
    assert play("kills", program, tmp_path, times) >= times


@pytest.mark.slow
@often(2, 10_000)
@pytest.mark.parametrize("program", faults.PROGRAMS)
def test_a_full_disk_at_any_step_is_a_sentence_and_costs_nothing(tmp_path, play, program, times):
    assert play("full disk", program, tmp_path, times) > 0


@pytest.mark.slow
@often(2, 100)
@pytest.mark.parametrize("program", faults.PROGRAMS)
def test_of_two_at_once_one_writes_and_the_other_is_told(tmp_path, play, program, times):
    assert play("pairs", program, tmp_path, times) > 0


AWAY = "(delete it|move it away)"
CONFIG = {"seed": 1, "data": "digits", "protocol": {"epochs": 3}}


def saved(path, config=CONFIG, **progress):
    tensors = {"model.0.weight": torch.arange(60.0).view(3, 20), "steps": torch.tensor(7)}
    checkpoint.save(path, tensors, {"epoch": 2} | progress, config=config)
    return path.read_bytes()


def test_every_flipped_bit_of_a_checkpoint_is_noticed(tmp_path):
    path = tmp_path / checkpoint.NAME
    content = saved(path)
    rng = random.Random(0)
    for place in range(len(content)):  # of the header's length, the header and the tensors
        flipped = bytearray(content)
        flipped[place] ^= 1 << rng.randrange(8)
        path.write_bytes(flipped)
        with pytest.raises(CheckpointError, match=f"{AWAY} to begin this run") as caught:
            checkpoint.load(path, config=CONFIG if place % 2 else None)
        assert "\n" not in str(caught.value)
    path.write_bytes(content)
    assert checkpoint.load(path, config=CONFIG)[1] == {"epoch": 2}


def without_digest(content):
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    del header["__metadata__"]["digest"]
    text = json.dumps(header).encode().ljust(size)
    return content[:8] + text[:size] + content[8 + size :]


DEEP = (100_000).to_bytes(8, "little") + b"[" * 100_000
TORN = "is no whole checkpoint"
DAMAGE = [
    (lambda content: content.replace(rb"\"epoch\": 2", rb"\"epoch\": 1"),
     f"{TORN} .its digest is not that of its contents: damaged, or edited"),
    (without_digest, f"{TORN} .its digest is not that of its contents: damaged, or"),
    (lambda content: content[: len(content) // 2], TORN),
    (lambda content: content + b"\0", TORN),
    (lambda content: b"", TORN),
    (lambda content: DEEP + content, f"{TORN} .its header makes no sense"),
    (lambda content: content.replace(b'"version":"2"', b'"version":"3"'),
     "is a checkpoint of version 3 and this package reads versions up to 2"),
]  # fmt: skip


@pytest.mark.parametrize(("damage", "sentence"), DAMAGE)
def test_a_damaged_checkpoint_is_told_and_the_one_before_it_offered(tmp_path, damage, sentence):
    path = tmp_path / checkpoint.NAME
    path.write_bytes(damage(saved(path)))
    with pytest.raises(CheckpointError, match=f"{sentence}.*: {AWAY} to begin this run again$"):
        checkpoint.load(path, config=CONFIG)
    saved(path, epoch=1)
    path.write_bytes(damage(saved(path)))
    offered = "--resume goes on from the one before it, checkpoint.previous.safetensors$"
    with pytest.raises(CheckpointError, match=f"{sentence}.*: {AWAY}, and {offered}"):
        checkpoint.load(path, config=CONFIG)


def test_another_run_s_checkpoint_is_told(tmp_path):
    path = tmp_path / checkpoint.NAME
    for config, told in (
        (CONFIG | {"seed": 0}, "seed = 1 where this has 0"),
        (CONFIG | {"protocol": {"epochs": 4}}, r"protocol\.epochs = 3 where this has 4"),
        ({"seed": 1}, 'data = "digits" where this has nothing'),
    ):
        results.kept(path).unlink(missing_ok=True)
        saved(path)
        other = f"is of another run, with {told}"
        with pytest.raises(CheckpointError, match=f"{other}: move it away to"):
            checkpoint.load(path, config=config)
        results.kept(path).write_bytes(saved(tmp_path / "own", config))
        with pytest.raises(CheckpointError, match=f"{other}.*from the one before it"):
            checkpoint.load(path, config=config)


def trained(folder, *, seed=0):
    return run(*faults.train(folder, seed, epochs=4))


def unfinished(folder):
    """A run of which a kill has left the rows and checkpoints of three epochs."""
    append = results.Recording.append

    def killed(self, row):
        append(self, row)
        if row["epoch"] == 3:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(results.Recording, "append", killed)
        assert trained(folder).exit_code == 130


def test_a_run_goes_on_from_the_checkpoint_before_as_if_nothing_had_been(tmp_path):
    assert trained(tmp_path / "whole").exit_code == 0
    cut = tmp_path / "cut"
    unfinished(cut)
    last = cut / checkpoint.NAME
    assert checkpoint.load(last)[1]["epoch"] == 2
    assert checkpoint.load(results.kept(last))[1]["epoch"] == 1
    content = bytearray(last.read_bytes())
    content[-1] ^= 1
    last.write_bytes(content)
    before = faults.contents(cut)
    refused(trained(cut), "and --resume goes on from the one before")
    assert faults.contents(cut) == before  # a refusal changes nothing
    last.unlink()
    assert trained(cut).exit_code == 0
    assert faults.contents(cut) == faults.contents(tmp_path / "whole")


def test_the_checkpoint_before_goes_when_the_run_is_finished(tmp_path):
    assert trained(tmp_path).exit_code == 0
    last = tmp_path / checkpoint.NAME
    assert not results.kept(last).exists()
    shutil.copy(last, results.kept(last))  # as a kill leaves it, right after the summary
    assert trained(tmp_path).exit_code == 0
    assert last.exists() and not results.kept(last).exists()


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A training that is at its end."""
    folder = tmp_path_factory.mktemp("finished")
    assert trained(folder).exit_code == 0
    return folder


@pytest.fixture
def folder(finished, tmp_path):
    """A copy of it, to damage."""
    return shutil.copytree(finished, tmp_path / "run")


def test_another_seed_s_checkpoint_is_not_believed(folder, tmp_path):
    assert trained(tmp_path / "seed1", seed=1).exit_code == 0
    shutil.copy(tmp_path / "seed1" / checkpoint.NAME, folder)
    refused(
        trained(folder), "another run, with seed = 1 where this has 0: the run is finished and its"
    )


def test_a_configuration_edited_by_hand_is_not_believed(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"seed": 5}))
    refused(trained(folder, seed=5), "with seed = 0 where this has 5")


NOWHERE = [
    ({"epoch": "2"}, r"\(Expected `int`, got `str` - at `\$\.epoch`\)"),
    ({"batch": None}, r"got `null` - at `\$\.batch`"),
    ({"epoch": 5}, r"\(epoch 5, batch 0\)"),
    ({"batch": 10**9}, r"\(epoch 4, batch 1000000000\)"),
    ({"seconds": -1.5}, r"\(Expected `float` >= 0\.0 - at `\$\.seconds`\)"),
    ({"seconds": 10**400}, r"at `\$\.seconds`\)"),
    ({"best_epoch": 5}, r"\(epoch 4, the best of them epoch 5\)"),
    ({"best_score": float("nan")}, r"at `\$\.best_score`\)"),
]


@pytest.mark.slow
@pytest.mark.parametrize("older", [False, True])
def test_a_checkpoint_that_stands_nowhere_in_the_training_is_told(folder, older):
    path = folder / checkpoint.NAME
    tensors, place = checkpoint.load(path)
    config = json.loads((folder / "config.json").read_text())
    for change, told in NOWHERE:
        checkpoint.save(path, tensors, place | change, config=config)
        if older:  # without digest and configuration
            path.write_bytes(to_bytes(tensors, {"progress": json.dumps(place | change)}))
        refused(trained(folder), f"is no whole checkpoint of this training .*{told}")
    checkpoint.save(path, {"a": tensors["totals"]}, place, config=config)
    refused(trained(folder), "holds ")


def test_rows_that_were_changed_are_not_believed(folder):
    metrics = folder / "metrics.csv"
    whole = metrics.read_text()
    changed = "the first 4 rows of .* are not those that the checkpoint"
    for damaged, sentence in (
        (whole.replace("epoch,", "epochs,"), changed),
        (whole.replace("\n2,", "\n7,"), changed),
        (whole[: whole.index("\n3,") + 1], "holds 2 rows and the checkpoint comes after row"),
    ):
        metrics.write_text(damaged)
        refused(trained(folder), sentence)


def test_of_a_search_too_flipped_bits_are_told_and_users_files_stay(tmp_path):
    search = revolver.Search.start(KILLED, DIGITS, tmp_path, seed=3)
    for _ in range(2):  # a checkpoint each
        search.step()
    path = tmp_path / checkpoint.NAME
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little") + 8
    rng = random.Random(0)
    regions = [range(8), range(8, size), range(size, len(content))]
    for place in (rng.choice(region) for region in regions for _ in range(20)):
        flipped = bytearray(content)
        flipped[place] ^= 1 << rng.randrange(8)
        path.write_bytes(flipped)
        with pytest.raises(CheckpointError, match=AWAY):
            searched.load(path)
    with pytest.raises(CheckpointError, match="delete it, and --resume goes on from the one befo"):
        revolver.Search.resume(tmp_path, DIGITS)
    path.write_bytes(content)
    (tmp_path / ".notes.tmp").write_text("mine")
    (tmp_path / ".folder.tmp").mkdir()
    revolver.Search.resume(tmp_path, DIGITS).step()
    assert (tmp_path / ".notes.tmp").read_text() == "mine" and (tmp_path / ".folder.tmp").is_dir()


@pytest.mark.slow
@pytest.mark.parametrize(
    "number",
    [signal.SIGTERM, signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.soak)],
)
def test_no_process_of_rank_outlives_it(tmp_path, number):
    models = [f"tests.faults:{name}" for name in ("wide", "never", "narrow", "never")]
    process = subprocess.Popen(
        [
            sys.executable, "-m", "reuseprior", "rank", "tests.faults:never", "tests.faults:wide",
            *models, "--jobs", "2", "--image-size", "8", "--save", tmp_path / "zoo.csv",
        ],
        cwd=Path(__file__).parents[1],
        env=os.environ | {"XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": str(paths.ROOT)},
    )  # fmt: skip
    with process:
        # it, two workers and the tracker of their semaphores
        until((tmp_path / "zoo.csv").exists, "no worker measured a model")
        assert len(at_work("XDG_CACHE_HOME", tmp_path)) >= 4
        process.send_signal(number)
        if number == signal.SIGINT:
            process.send_signal(signal.SIGKILL)
    until(lambda: not at_work("XDG_CACHE_HOME", tmp_path), "workers go on without who began them")
