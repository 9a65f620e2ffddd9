"""Batches of a data set, for one process of several, in an order that a seed decides.

Everything random about an epoch follows from the seed and the epoch, and everything random about
a batch, dropout included, from the seed, the epoch and the batch (`derive`). So a training can be
taken up at any batch without a generator's state.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from reuseprior.data import DataError, DataSet, ImageFolderSet, Images, TextSet
from reuseprior.training.augment import augment, draw, to_input
from reuseprior.training.protocol import Protocol, ProtocolError
from reuseprior.training.schedules import image_size

DATA_SEED = 0  # subsets and held-out images belong to the protocol: the same for every seed

Batch = tuple[Tensor, Tensor]  # what the model takes, and labels


@dataclass(frozen=True)
class Share:
    """Which process this is, of how many: each trains on its own part of every batch."""

    index: int = 0
    count: int = 1


def derive(purpose: str, *numbers: int) -> int:
    """A seed for one purpose: `derive("order", seed, epoch)`.

    >>> derive("order", 0, 1) == derive("order", 0, 1), derive("order", 0, 1) == derive("mix", 0, 1)
    (True, False)
    """
    digest = hashlib.blake2b(repr((purpose, *numbers)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1  # generators take 63 bits


def steps(images: int, protocol: Protocol, share: Share) -> int:
    """Batches in an epoch; the images that fill no batch are left to the next epoch's order.

    >>> steps(50_000, Protocol(batch_size=512), Share())
    97
    """
    if images < protocol.batch_size:
        raise ProtocolError(
            f"batch_size is {protocol.batch_size} and there are {images} training images: "
            "choose a smaller batch_size"
        )
    if protocol.batch_size % share.count:
        raise ProtocolError(
            f"batch_size is {protocol.batch_size} and there are {share.count} processes: choose a "
            "multiple"
        )
    return images // protocol.batch_size


def parts(data: DataSet | ImageFolderSet | TextSet, protocol: Protocol):
    """The examples to train on, and those to test on by name."""
    if isinstance(data, TextSet):
        if protocol.test_images or protocol.validation:
            raise ProtocolError(
                f"test_images and validation choose from images, and {data.name} brings parts of "
                "its own: leave them at 0"
            )
        if protocol.train_images:
            data = data.subset(protocol.train_images, seed=DATA_SEED)
        return data.train, {"validation": data.search, "test": data.report}
    if isinstance(data, ImageFolderSet):
        if protocol.train_images or protocol.test_images or protocol.validation:
            raise ProtocolError(
                f"train_images, test_images and validation choose from sets in memory, and "
                f"{data.name} is a folder of images: leave them at 0"
            )
        return data.train, {"test": data.test}
    if protocol.train_images or protocol.test_images:
        data = data.subset(
            protocol.train_images or None, protocol.test_images or None, seed=DATA_SEED
        )
    if not protocol.validation:
        return data.train, {"test": data.test}
    trained, held_out = data.split(validation=protocol.validation, seed=DATA_SEED)
    if not len(held_out):
        raise ProtocolError(
            f"validation is {protocol.validation} of {len(data.train)} training images, which is "
            "none: set it to 0, or to more"
        )
    return trained, {"validation": held_out, "test": data.test}


def open_batches(images, protocol: Protocol, *, device: torch.device, seed: int, share: Share):
    """The batches of images in memory, or of a data set that reads them one by one."""
    kind = InMemory if isinstance(images, Images) else Folder
    return kind(images, protocol, device=device, seed=seed, share=share)


class InMemory:
    """Batches of a set that lies on the device as bytes and is augmented there."""

    def __init__(self, images, protocol, *, device, seed, share):
        self._images, self._labels = images.images.to(device), images.labels.to(device)
        self.protocol, self._device, self._seed, self._share = protocol, device, seed, share

    def __len__(self) -> int:
        return len(self._labels)

    def epoch(self, epoch: int, first: int = 0) -> Iterator[Batch]:
        """This process's part of every batch of an epoch, from batch `first` on."""
        protocol, device = self.protocol, self._device
        generator = torch.Generator().manual_seed(derive("order", self._seed, epoch))
        # Drawn for the whole epoch, so that several processes see what one would.
        order = torch.randperm(len(self), generator=generator).to(device)
        draws = draw(len(self), self._images.shape[-1], generator).to(device)
        size = image_size(protocol, epoch)
        for batch in range(first, steps(len(self), protocol, self._share)):
            part = own_part(batch, protocol.batch_size, self._share)
            chosen = order[part]
            images = augment(self._images[chosen], protocol.augmentation, draws[part])
            yield to_input(images, size, protocol), self._labels[chosen]

    def once(self) -> Iterator[Batch]:
        """This process's part of all images, each of them once, as they are tested."""
        protocol = self.protocol
        own = slice(self._share.index, None, self._share.count)
        for images, labels in zip(
            self._images[own].split(protocol.batch_size),
            self._labels[own].split(protocol.batch_size),
            strict=True,
        ):
            yield to_input(images, _test_size(protocol), protocol), labels


class Folder:
    """Batches of a data set whose images are read, cut and augmented by worker processes."""

    def __init__(self, dataset: Dataset, protocol, *, device, seed, share):
        if not protocol.image_size:
            raise ProtocolError(
                "image_size is 0 and the images of a folder have no common size: set image_size"
            )
        self._dataset, self.protocol, self._device = dataset, protocol, device
        self._seed, self._share = seed, share

    def __len__(self) -> int:
        return len(self._dataset)

    def epoch(self, epoch: int, first: int = 0) -> Iterator[Batch]:
        protocol = self.protocol
        generator = torch.Generator().manual_seed(derive("order", self._seed, epoch))
        order = torch.randperm(len(self), generator=generator).tolist()
        own = [
            order[own_part(batch, protocol.batch_size, self._share)]
            for batch in range(first, steps(len(self), protocol, self._share))
        ]
        size = image_size(protocol, epoch)
        seeded = _Seeded(self._dataset, _train_transform(size, protocol), self._seed, epoch)
        return self._load(seeded, own)

    def once(self) -> Iterator[Batch]:
        own = range(self._share.index, len(self), self._share.count)
        size = self.protocol.batch_size
        batches = [own[i : i + size] for i in range(0, len(own), size)]
        seeded = _Seeded(self._dataset, _test_transform(_test_size(self.protocol)), 0, 0)
        return self._load(seeded, batches)

    def _load(self, dataset, batches) -> Iterator[Batch]:
        cuda = self._device.type == "cuda"
        loader = DataLoader(
            dataset, batch_sampler=batches, num_workers=self.protocol.workers, pin_memory=cuda
        )
        for images, labels in _named(loader):
            images = images.to(self._device, non_blocking=cuda)
            yield to_input(images, 0, self.protocol), labels.to(self._device, non_blocking=cuda)


def _named(loader: DataLoader) -> Iterator[Batch]:
    """The batches; an error in a worker is one sentence again, which torch wraps in a traceback."""
    try:
        yield from loader
    except DataError as error:
        last = str(error).strip().splitlines()[-1]
        raise DataError(last.removeprefix(f"{DataError.__module__}.DataError: ")) from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


class _Seeded(Dataset):
    """Images that are cut out and augmented by chance, the same chance whoever reads them."""

    def __init__(self, dataset: Dataset, transform, seed: int, epoch: int):
        self._dataset, self._transform, self._seed, self._epoch = dataset, transform, seed, epoch

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int):
        try:
            image, label = self._dataset[index]
        except Exception as error:  # a decoder may fail in any way
            path, _ = self._dataset.samples[index]
            raise DataError(
                f"{path} is no image that can be read ({_line(error)}): mend or remove it"
            ) from error
        torch.manual_seed(derive("image", self._seed, self._epoch, index))
        return self._transform(image), label


def own_part(batch: int, size: int, share: Share) -> slice:
    """Where this process's part of a batch of an epoch lies in the epoch's order."""
    own = size // share.count
    start = batch * size + share.index * own
    return slice(start, start + own)


def _test_size(protocol: Protocol) -> int:
    return protocol.test_image_size or protocol.image_size


def _train_transform(size: int, protocol: Protocol):
    from torchvision.transforms import v2

    flip = [] if protocol.augmentation == "none" else [v2.RandomHorizontalFlip()]
    policies = {
        "randaugment": [v2.RandAugment(num_ops=2, magnitude=15)],
        "autoaugment": [v2.AutoAugment(v2.AutoAugmentPolicy.IMAGENET)],
    }
    cut = v2.RandomResizedCrop(size, scale=(0.05, 1.0), antialias=True)
    return v2.Compose([v2.ToImage(), cut, *flip, *policies.get(protocol.augmentation, [])])


def _test_transform(size: int):
    from torchvision.transforms import v2

    # The official implementation tests on the middle of images that are 32 pixels larger.
    return v2.Compose([v2.ToImage(), v2.Resize(size + 32, antialias=True), v2.CenterCrop(size)])
