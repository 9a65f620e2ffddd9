"""ModelNet's voxels: read, refused where they are not whole, and made of meshes."""

import numpy as np
import pytest
import torch

from reuseprior import data
from reuseprior.data import DataError, DataMissing, modelnet


def pack(path, seed=0, **changes):
    """A file of a few grids of each class, of which one sofa is empty."""
    random = np.random.default_rng(seed)
    arrays = {}
    for part, each in (("train", 3), ("test", 2)):
        packed = random.integers(0, 256, (10 * each, 4096), dtype=np.uint8)
        arrays |= {f"x_{part}": packed, f"y_{part}": np.arange(10 * each, dtype=np.uint8) % 10}
    arrays["x_train"][7] = 0
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays | changes)
    return arrays


@pytest.fixture
def root(tmp_path):
    pack(tmp_path / modelnet.FILE)
    return tmp_path


def test_a_class_without_its_empty_grids(root):
    sofas, chairs = (data.load(f"modelnet10-{kind}", root) for kind in ("sofa", "chair"))
    assert [len(part) for part in (sofas.train, sofas.test)] == [2, 2]
    assert [len(part) for part in (chairs.train, chairs.test)] == [3, 2]
    assert sofas.train.images.shape == (2, 1, 32, 32, 32)
    assert set(sofas.train.images.unique().tolist()) == {0, 255}
    packed = pack(root / "again.npz")["x_train"][2]
    bits = np.unpackbits(packed).reshape(32, 32, 32)
    assert torch.equal(chairs.train.images[0, 0] // 255, torch.from_numpy(bits))


def test_verify_says_whose_voxels_they_are(root, monkeypatch):
    (check,) = data.verify("modelnet10-sofa", root)
    assert check.ok and check.why.startswith("it is whole, and not the one of the recorded runs")
    monkeypatch.setattr(modelnet, "MD5", "")
    (root / modelnet.FILE).write_bytes(b"PK\3\4")
    (check,) = data.verify("modelnet10-sofa", root)
    assert not check.ok and "cut short or holds no voxels" in check.why


def test_what_is_missing_or_no_voxels(root):
    with pytest.raises(DataMissing, match="it can be made of ModelNet's meshes"):
        data.load("modelnet10-chair", root / "nowhere")
    for array, message in [
        (np.array([{}], dtype=object), "cut short or holds no voxels"),  # a pickle runs any code
        (np.zeros((20, 100), np.uint8), r"voxels are \(n, 4096\): replace it"),
    ]:
        pack(root / modelnet.FILE, x_test=array)
        with pytest.raises(DataError, match=message):
            data.load("modelnet10-chair", root)


CUBE = """OFF8 6 0
0 0 0\n2 0 0\n2 1 0\n0 1 0\n0 0 1\n2 0 1\n2 1 1\n0 1 1
4 0 1 2 3\n4 4 5 6 7\n4 0 1 5 4\n4 3 2 6 7\n4 0 3 7 4\n4 1 2 6 5
"""


def test_a_box_becomes_solid_and_meshes_become_the_file(tmp_path):
    """Twice as long as wide, without a line break after OFF, as some of ModelNet's files."""
    for kind in modelnet.CLASSES:
        for part in ("train", "test"):
            box = tmp_path / "ModelNet10" / kind / part / f"{kind}_0001.off"
            box.parent.mkdir(parents=True)
            box.write_text(CUBE)
    grid = modelnet.voxelise(box)
    extents = [np.flatnonzero(grid.any(axis=others)) for others in ((1, 2), (0, 2), (0, 1))]
    assert [len(e) for e in extents] == [32, 17, 17]  # from 8 to 24, both ends in
    assert grid.sum() == 32 * 17 * 17
    assert grid.dtype == np.uint8 and grid.shape == (32, 32, 32)
    modelnet.prepare_meshes(tmp_path / "ModelNet10", tmp_path)
    sofas = data.load("modelnet10-sofa", tmp_path)
    assert (len(sofas.train), len(sofas.test)) == (1, 1)
    assert sofas.test.images.sum() == 255 * 32 * 17 * 17


def test_no_mesh(tmp_path):
    (tmp_path / "chair.off").write_text("OFF\n3 1 0\n0 0 0\n1 0 0")
    with pytest.raises(DataError, match=r"chair\.off is no mesh in OFF format"):
        modelnet.voxelise(tmp_path / "chair.off")
    with pytest.raises(DataError, match="has no meshes: unpack ModelNet10 and name its folder"):
        modelnet.prepare_meshes(tmp_path, tmp_path)
