import os

import pytest
import torch

from reuseprior.training import CheckpointError, checkpoint


def test_round_trip(tmp_path):
    path = tmp_path / checkpoint.NAME
    held = {"a": torch.arange(6.0).view(2, 3).t(), "n": torch.tensor(3)}
    checkpoint.save(path, held, {"epoch": 2, "seconds": 0.1})
    saved, progress = checkpoint.load(path)
    assert progress == {"epoch": 2, "seconds": 0.1}
    assert torch.equal(saved["a"], held["a"]) and torch.equal(saved["n"], held["n"])
    target = {"a": torch.zeros(3, 2), "n": torch.tensor(0)}
    same = target["a"]
    checkpoint.copy_in(path, saved, target)
    assert torch.equal(same, held["a"])


def test_a_file_that_is_not_whole_is_refused(tmp_path):
    path = tmp_path / checkpoint.NAME
    checkpoint.save(path, {"a": torch.ones(100)}, {"epoch": 1})
    whole = path.read_bytes()
    for content in (b"", whole[:4], whole[:50], whole[:-1], whole + b"x", b"\x80" * 200):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"is no whole checkpoint .*: delete it to begin"):
            checkpoint.load(path)


def test_a_write_that_fails_leaves_the_last_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / checkpoint.NAME
    checkpoint.save(path, {"a": torch.ones(3)}, {"epoch": 1})

    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        checkpoint.save(path, {"a": torch.zeros(3)}, {"epoch": 2})
    assert checkpoint.load(path)[1] == {"epoch": 1}
    assert os.listdir(tmp_path) == [checkpoint.NAME]


OTHERS = [
    ({"a": torch.zeros(4)}, r"holds a as \(3,\) and this training has \(4,\): resume with the"),
    ({"b": torch.zeros(3), "a": torch.zeros(3)}, r"holds b as None and this training has"),
]


@pytest.mark.parametrize(("target", "message"), OTHERS)
def test_another_model_is_refused_before_anything_is_copied(tmp_path, target, message):
    with pytest.raises(CheckpointError, match=message):
        checkpoint.copy_in(tmp_path / "c", {"a": torch.ones(3)}, target)
    assert not any(tensor.any() for tensor in target.values())
