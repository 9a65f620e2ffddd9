import gzip
import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch

from reuseprior import revolver as rv
from reuseprior.results import CONFIG, ResultError, read_json
from reuseprior.revolver import state as checkpoint
from reuseprior.training import CheckpointError
from reuseprior.training import checkpoint as files
from tests.revolver.searches import DIGITS, small, table, weights

KILLED = small(
    generations=4, warmup_generations=1, mode="random_warmup_evolve", optimizer_state="scope",
    augmentation="flip_crop", population=4, train_images=150,
)  # fmt: skip


@pytest.fixture(scope="module")
def stepped(tmp_path_factory):
    """A search that has written a checkpoint."""
    search = rv.Search.start(KILLED, DIGITS, tmp_path_factory.mktemp("stepped") / "run", seed=3)
    search.step()
    return search


@pytest.fixture
def folder(stepped, tmp_path):
    return shutil.copytree(stepped.log.folder, tmp_path / "run")


@pytest.mark.slow
def test_15_taken_up_after_any_generation_it_goes_on_the_same(tmp_path):
    whole = rv.Search.start(KILLED, DIGITS, tmp_path / "whole", seed=3)
    images = DIGITS.test.images[:5].float() / 255
    for generation in range(KILLED.generations):
        copied = shutil.copytree(tmp_path / "whole", tmp_path / f"parts-{generation}")
        parts = rv.Search.resume(copied, DIGITS)
        assert table(parts) == table(whole) and weights(parts) == weights(whole)
        for one, other in zip(whole.population, parts.population, strict=True):
            assert one.to_data() == other.to_data()
            nets = [s.registry.build(i.blueprint).eval() for s, i in ((whole, one), (parts, other))]
            with torch.no_grad():
                assert torch.equal(nets[0](images), nets[1](images))
        assert parts.state.rng.getstate() == whole.state.rng.getstate()
        for search in (whole, parts):
            search.step()
        assert table(parts) == table(whole) and weights(parts) == weights(whole)


def test_a_checkpoint_of_the_first_version_goes_on(tmp_path):
    """Written by the package of commit d88a3d9, in the middle of a turn of generation 4."""
    for path in (Path(__file__).parent / "data" / "interrupted").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    packed = tmp_path / "checkpoint.safetensors.gz"
    packed.with_suffix("").write_bytes(gzip.decompress(packed.read_bytes()))
    search = rv.Search.resume(tmp_path, DIGITS)
    assert search.state.current.generation == 4
    for _ in search:
        pass
    whole = pd.read_csv(tmp_path / "whole.csv").drop(columns="seconds")  # it was not interrupted
    found = search.table[whole.columns]
    pd.testing.assert_frame_equal(found, whole, check_dtype=False, rtol=1e-4)


def rewritten(path, end=None, without="", **changes):
    """Write it again with other values, one left out, and the tensors up to an end."""
    tensors, state = files.load(path)
    tensors = {key: tensor[:end] for key, tensor in tensors.items()}
    state = {key: value for key, value in {**state, **changes}.items() if key != without}
    files.save(path, tensors, state, config=read_json(path.with_name(CONFIG)))


def resized(path):
    registry = files.load(path)[1]["registry"]
    name = next(n for n in registry["leaves"] if n.startswith("batch_norm"))
    registry["leaves"][name]["arguments"]["features"] = 99
    rewritten(path, registry=registry)


WHOLE = "is no whole checkpoint of a search"
UNFIT = "its tensors do not fit their index"
BROKEN = [
    (lambda path: path.write_bytes(path.read_bytes()[:-9]), "is no whole checkpoint"),
    (lambda path: path.write_bytes(b""), "is no whole checkpoint"),
    (lambda path: rewritten(path, version=99),
     "is a checkpoint of version 99 and this package reads version 1: resume with"),
    (lambda path: rewritten(path, population=3), WHOLE),
    (lambda path: rewritten(path, index=[]), WHOLE),
    (lambda path: rewritten(path, index=[["a"]]), UNFIT),
    (lambda path: rewritten(path, index=[["model", "a", "float32", [10**30]]]), UNFIT),
    (lambda path: rewritten(path, end=-5), UNFIT),
    (lambda path: rewritten(path, rng=[1]), WHOLE),
    (lambda path: rewritten(path, rng=[3, [-1] * 625, None]), WHOLE + r".*>= 0 - at `\$\[1\]"),
    (lambda path: rewritten(path, without="born"), WHOLE + ".*has no born"),
    (resized, "has no fitting tensors for 'batch_norm"),
]  # fmt: skip


@pytest.mark.parametrize(("break_", "message"), BROKEN)
def test_a_checkpoint_that_cannot_be_read_is_refused(folder, break_, message):
    break_(folder / checkpoint.NAME)
    with pytest.raises(CheckpointError, match=message) as caught:
        rv.Search.resume(folder, DIGITS)
    assert "\n" not in str(caught.value)


def test_another_run_in_the_folder_is_refused(folder):
    six = small(**{**vars(KILLED), "population": 6})
    with pytest.raises(ResultError, match=r"settings\.population = 4 and this one has 6"):
        rv.Search.start(six, DIGITS, folder, seed=3, resume=True)
    config = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text('{"protocol": {}, "seed": 3}')  # of a training
    with pytest.raises(rv.SearchError, match="has no settings and seed of a search: give"):
        rv.Search.resume(folder, DIGITS)
    config["settings"]["populaton"] = 3
    (folder / CONFIG).write_text(json.dumps(config))
    with pytest.raises(rv.SettingsError, match=r"unknown key 'populaton', did you mean"):
        rv.Search.resume(folder, DIGITS)
