"""ImageNet as a folder, `imagenet/train/CLASS/*.JPEG` and `imagenet/val/CLASS/*.JPEG`.

It cannot be downloaded without an account and does not fit into memory: its images stay files.
Any set of images laid out like this can be read, with as many classes as there are folders.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image
from torch.utils.data import Dataset

from reuseprior.data.sets import Checksum, DataError, DataMissing, Source

if TYPE_CHECKING:
    from torchvision.datasets import ImageFolder

PARTS = ("train", "val")


@dataclass(frozen=True, eq=False)
class ImageFolderSet:
    """A data set that stays on the disk; its parts give a PIL image and a label at a time.

    They are torchvision's `ImageFolder`: set their `transform`. The checksum is of the files'
    paths and sizes, not of their bytes.
    """

    name: str
    classes: int
    train: Dataset
    test: Dataset  # the folder val
    checksum: str


def _read(root: Path) -> ImageFolderSet:
    train, test = (_part(root, part) for part in PARTS)
    if train.classes != test.classes:
        odd = sorted(set(train.classes) ^ set(test.classes))
        raise DataError(
            f"{root / 'imagenet'} has {odd[0]} in one of train and val only: give both the same "
            "class folders"
        )
    return ImageFolderSet("imagenet", len(train.classes), train, test, _checksum(root, train, test))


def _verify(root: Path) -> list[Checksum]:
    """One check a part, and one for each file that is no image; images are not decoded."""
    checks = []
    for part in PARTS:
        try:
            images = _part(root, part)
        except DataMissing as error:
            checks.append(Checksum(f"imagenet/{part}", False, str(error)))
            continue
        wrong = [check for path, _ in images.samples if (check := _broken(root, Path(path)))]
        why = f"{len(images):,} images of {len(images.classes):,} classes, {len(wrong)} unreadable"
        checks += [Checksum(f"imagenet/{part}", not wrong, why), *wrong]
    if all(check.ok for check in checks):
        try:
            _read(root)
        except DataError as error:
            checks.append(Checksum("imagenet", False, str(error)))
    return checks


def _fetch(root: Path) -> None:
    for part in PARTS:
        _part(root, part)


def _part(root: Path, part: str) -> ImageFolder:
    from torchvision.datasets import ImageFolder  # takes as long as torch, so only where it is read

    try:
        return ImageFolder(root / "imagenet" / part)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataMissing(
            f"{root / 'imagenet' / part} is missing or has a class without images: ImageNet needs "
            "an account to download, so put or link it there as CLASS/*.JPEG, or set "
            "REUSEPRIOR_DATA to the folder above imagenet"
        ) from error


def _broken(root: Path, path: Path) -> Checksum | None:
    try:
        with Image.open(path):  # reads the header alone
            return None
    except Exception as error:  # a decoder may fail in any way
        return Checksum(path.relative_to(root).as_posix(), False, " ".join(str(error).split()))


def _checksum(root: Path, *parts: ImageFolder) -> str:
    paths = sorted(Path(path) for part in parts for path, _ in part.samples)
    lines = (f"{p.relative_to(root).as_posix()} {p.stat().st_size}\n" for p in paths)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


IMAGENET = Source("imagenet", _verify, _fetch, _read)
