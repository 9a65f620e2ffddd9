"""ModelNet10 (Wu et al. 2015) as voxels: 32 cells a side, 1 where there is something.

Two of its classes are data sets here, `modelnet10-chair` and `modelnet10-sofa`, with the official
training and test parts and without empty grids. All ten lie in one file,
`modelnet10/modelnet10_32_packbits.npz`: x_train and x_test, uint8 (n, 4096), a grid's bits in one
row, and y_train and y_test, the class numbers.

The file that our runs used is a public one with the MD5 below. Whoever has none makes one of
ModelNet's own meshes, which are free for research (modelnet.cs.princeton.edu):

```python
from reuseprior.data import modelnet
modelnet.prepare_meshes("Downloads/ModelNet10", root)  # ModelNet10/chair/train/chair_0001.off …
```
"""

from __future__ import annotations

import hashlib
import io
from functools import partial
from pathlib import Path

import numpy as np
import torch

from reuseprior import files as whole_files
from reuseprior.data.sets import Checksum, DataError, DataSet, Images, Source, missing

FILE = "modelnet10/modelnet10_32_packbits.npz"
MD5 = "537cabccbbe4ed5edde65b92be9af853"
SIDE = 32
CLASSES = (
    "bathtub", "bed", "chair", "desk", "dresser", "monitor", "night_stand", "sofa", "table",
    "toilet",
)  # fmt: skip
ARRAYS = ("x_train", "y_train", "x_test", "y_test")


def _read(kind: str, root: Path) -> DataSet:
    arrays = _arrays(root)
    parts = [_part(kind, arrays[f"x_{p}"], arrays[f"y_{p}"]) for p in ("train", "test")]
    return DataSet.of(f"modelnet10-{kind}", 1, *parts)


def _part(kind: str, packed: np.ndarray, labels: np.ndarray) -> Images:
    """The grids of a class that hold anything, 0 or 255, (n, 1, 32, 32, 32)."""
    of_class = packed[(labels == CLASSES.index(kind)) & packed.any(1)]
    bits = np.unpackbits(of_class, axis=1).reshape(-1, 1, SIDE, SIDE, SIDE)
    return Images(torch.from_numpy(bits * np.uint8(255)), torch.zeros(len(bits), dtype=torch.int64))


def _arrays(root: Path) -> dict[str, np.ndarray]:
    path = root / FILE
    try:
        content = whole_files.read(path)
    except FileNotFoundError as error:
        raise _missing(root) from error
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): make it readable") from error
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            arrays = {name: file[name] for name in ARRAYS}
        shapes = {name: array.shape for name, array in arrays.items()}
        fits = all(
            shapes[f"x_{part}"] == (*shapes[f"y_{part}"], SIDE**3 // 8)
            and arrays[f"x_{part}"].dtype == np.uint8
            for part in ("train", "test")
        )
    except Exception as error:  # zip and numpy say what is wrong with a file in many ways
        raise DataError(f"{path} is cut short or holds no voxels ({error}): replace it") from error
    if not fits:
        raise DataError(f"{path} holds arrays of {shapes}, and voxels are (n, 4096): replace it")
    return arrays


def _missing(root: Path):
    return missing("modelnet10", root, f"there is no {FILE}; it can be made of ModelNet's meshes")


def _verify(root: Path) -> list[Checksum]:
    try:
        _arrays(root)
    except DataError as error:
        return [Checksum(FILE, False, str(error))]
    md5 = hashlib.md5((root / FILE).read_bytes(), usedforsecurity=False).hexdigest()
    other = "it is whole, and not the one of the recorded runs: made of meshes, perhaps"
    return [Checksum(FILE, True, "its MD5 is the recorded one" if md5 == MD5 else other)]


def _fetch(root: Path) -> None:
    """Nothing to bring: there is no place that serves the file."""
    if not (root / FILE).exists():
        raise _missing(root)


def _source(kind: str) -> Source:
    return Source(f"modelnet10-{kind}", _verify, _fetch, partial(_read, kind))


CHAIR, SOFA = _source("chair"), _source("sofa")


# Of meshes ----------------------------------------------------------------------------------------


def prepare_meshes(meshes: str | Path, root: str | Path) -> Path:
    """Voxelise ModelNet10's meshes, and write the file that `data.load` reads.

    `meshes` is the unpacked folder ModelNet10, with CLASS/train/*.off and CLASS/test/*.off. Large
    meshes take seconds each. Raises `DataError` for a class without meshes and for a file that is
    none.
    """
    arrays = {}
    for part in ("train", "test"):
        grids, labels = [], []
        for number, kind in enumerate(CLASSES):
            paths = sorted((Path(meshes) / kind / part).glob("*.off"))
            if not paths:
                raise DataError(
                    f"{Path(meshes) / kind / part} has no meshes: unpack ModelNet10 and name its "
                    "folder"
                )
            grids += [np.packbits(voxelise(path)) for path in paths]
            labels += [number] * len(paths)
        arrays |= {f"x_{part}": np.stack(grids), f"y_{part}": np.array(labels, np.uint8)}
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    path = Path(root) / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    whole_files.write(path, content.getvalue())
    return path


def voxelise(path: str | Path) -> np.ndarray:
    """An OFF mesh as a solid grid, uint8 (32, 32, 32), 1 on its surface and inside of it.

    In the middle, its largest extent as long as a side, as of most grids of the public file. A cell
    is of the surface if one of points that lie at most half a cell apart on the triangles falls
    into it; what no path from outside reaches without crossing the surface is inside.
    """
    from scipy.ndimage import binary_fill_holes

    corners, triangles = _off(Path(path))
    low, high = corners.min(0), corners.max(0)
    scale = SIDE / max((high - low).max(), np.finfo(float).tiny)
    corners = (corners - (low + high) / 2) * scale + SIDE / 2
    grid = np.zeros((SIDE,) * 3, bool)
    for points in _surface(corners[triangles]):
        x, y, z = np.clip(points.astype(int), 0, SIDE - 1).T
        grid[x, y, z] = True
    return binary_fill_holes(grid).astype(np.uint8)


def _surface(triangles: np.ndarray):
    """Points (m, 3) of every triangle of (n, 3, 3), at most half a cell apart along its sides."""
    for a, b, c in triangles:
        longest = max(np.linalg.norm(b - a), np.linalg.norm(c - a), np.linalg.norm(c - b))
        parts = max(1, int(np.ceil(2 * longest)))
        i, j = np.divmod(np.arange((parts + 1) ** 2), parts + 1)
        u, v = i[i + j <= parts] / parts, j[i + j <= parts] / parts
        yield a + u[:, None] * (b - a) + v[:, None] * (c - a)


def _off(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Corners (n, 3) and triangles (m, 3) of an OFF file; larger faces become fans of triangles.

    Some of ModelNet's files have no line break after OFF.
    """
    try:
        words = path.read_text().replace("OFF", "", 1).split()
        corners, faces = int(words[0]), int(words[1])
        numbers = np.array(words[3 : 3 + 3 * corners], float).reshape(corners, 3)
        rest, place, triangles = [int(word) for word in words[3 + 3 * corners :]], 0, []
        for _ in range(faces):
            face = rest[place + 1 : place + 1 + rest[place]]
            triangles += [(face[0], face[i], face[i + 1]) for i in range(1, len(face) - 1)]
            place += 1 + rest[place]
        triples = np.array(triangles, int)
        numbers[triples]  # every face is of corners that there are
    except (OSError, ValueError, IndexError) as error:
        raise DataError(f"{path} is no mesh in OFF format ({error}): leave it out") from error
    return numbers, triples.reshape(-1, 3)
