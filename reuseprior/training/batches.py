"""Batches of a data set, for one process of several, in an order that a seed decides.

Everything random about an epoch follows from the seed and the epoch, and everything random about
a batch, dropout included, from the seed, the epoch and the batch (`derive`). So a training can be
taken up at any batch without a generator's state.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from reuseprior.data import DataError, DataSet, ImageFolderSet, Images, TextSet
from reuseprior.training.protocol import Protocol, ProtocolError, image_size

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


class Batches:
    """A part of the data in batches, for one process of several; a subclass makes them.

    `epoch(epoch, first=0)` gives this process's part of every batch of an epoch, from batch `first`
    on, and `once()` its part of all examples, each of them once, as they are tested.
    """

    def __init__(self, count: int, protocol: Protocol, *, device, seed: int, share: Share):
        self.protocol, self._count = protocol, count
        self._device, self._seed, self._share = device, seed, share

    def __len__(self) -> int:
        return self._count

    def order(self, epoch: int) -> tuple[Tensor, torch.Generator]:
        """All examples in the order of an epoch, and the generator for what else it draws.

        Drawn for the whole epoch, so that several processes see what one would.
        """
        generator = torch.Generator().manual_seed(derive("order", self._seed, epoch))
        return torch.randperm(len(self), generator=generator), generator

    def parts(self, first: int) -> Iterator[slice]:
        """Where this process's part of each batch lies in an epoch's order."""
        size = self.protocol.batch_size
        length = size // self._share.count
        for batch in range(first, steps(len(self), self.protocol, self._share)):
            start = batch * size + self._share.index * length
            yield slice(start, start + length)

    def own(self, examples: Tensor) -> tuple[Tensor, ...]:
        """This process's part of examples, in batches."""
        return examples[self._share.index :: self._share.count].split(self.protocol.batch_size)


class InMemory(Batches):
    """Batches of a set that lies on the device as bytes and is augmented there."""

    def __init__(self, images: Images, protocol: Protocol, *, device, **place):
        super().__init__(len(images), protocol, device=device, **place)
        self._images, self._labels = images.images.to(device), images.labels.to(device)

    def epoch(self, epoch: int, first: int = 0) -> Iterator[Batch]:
        protocol = self.protocol
        order, generator = self.order(epoch)
        order = order.to(self._device)
        draws = draw(len(self), self._images.shape[-1], generator).to(self._device)
        size = image_size(protocol, epoch)
        for part in self.parts(first):
            chosen = order[part]
            images = augment(self._images[chosen], protocol.augmentation, draws[part])
            yield to_input(images, size, protocol), self._labels[chosen]

    def once(self) -> Iterator[Batch]:
        for images, labels in zip(self.own(self._images), self.own(self._labels), strict=True):
            yield to_input(images, _test_size(self.protocol), self.protocol), labels


class Folder(Batches):
    """Batches of a data set whose images are read, cut and augmented by worker processes."""

    def __init__(self, dataset: Dataset, protocol: Protocol, **place):
        if not protocol.image_size:
            raise ProtocolError(
                "image_size is 0 and the images of a folder have no common size: set image_size"
            )
        super().__init__(len(dataset), protocol, **place)
        self._dataset = dataset

    def epoch(self, epoch: int, first: int = 0) -> Iterator[Batch]:
        order = self.order(epoch)[0].tolist()
        transform = _train_transform(image_size(self.protocol, epoch), self.protocol)
        seeded = _Seeded(self._dataset, transform, self._seed, epoch)
        return self._load(seeded, [order[part] for part in self.parts(first)])

    def once(self) -> Iterator[Batch]:
        batches = [part.tolist() for part in self.own(torch.arange(len(self))) if len(part)]
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


def _test_size(protocol: Protocol) -> int:
    return protocol.test_image_size or protocol.image_size


def _train_transform(size: int, protocol: Protocol):
    from torchvision.transforms import v2

    kind = protocol.augmentation
    flip = [] if kind == "none" else [v2.RandomHorizontalFlip()]
    policy = [_policy(kind)] if kind in POLICIES else []
    cut = v2.RandomResizedCrop(size, scale=(0.05, 1.0), antialias=True)
    return v2.Compose([v2.ToImage(), cut, *flip, *policy])


def _test_transform(size: int):
    from torchvision.transforms import v2

    # The official implementation tests on the middle of images that are 32 pixels larger.
    return v2.Compose([v2.ToImage(), v2.Resize(size + 32, antialias=True), v2.CenterCrop(size)])


# Augmentation of images (batch, channels, height, width), where they lie --------------------------

POLICIES = ("randaugment", "autoaugment")
SHIFT = 8  # a random crop moves an image by at most 1/8 of its side: 4 of 32 pixels
CHUNK = 8  # images under one draw of RandAugment or AutoAugment, which draw for a whole batch


@dataclass(frozen=True)
class Draws:
    """What chance decides for every image of an epoch, in the order they are seen."""

    flipped: Tensor  # (images,) bool
    offsets: Tensor  # (images, 2) rows and columns from the corner of the padded image

    def __getitem__(self, part) -> Draws:
        return Draws(self.flipped[part], self.offsets[part])

    def to(self, device: torch.device) -> Draws:
        return Draws(self.flipped.to(device), self.offsets.to(device))


def draw(images: int, size: int, generator: torch.Generator) -> Draws:
    """Draw for so many images of `size` pixels a side."""
    flipped = torch.rand(images, generator=generator) < 0.5
    offsets = torch.randint(2 * (size // SHIFT) + 1, (images, 2), generator=generator)
    return Draws(flipped, offsets)


def augment(images: Tensor, kind: str, draws: Draws) -> Tensor:
    """Images of bytes, changed as the protocol's `augmentation` says.

    `flip` mirrors half of the images; `flip_crop` shifts them besides, over black. `randaugment`
    (2 operations of magnitude 15 of 30, as the official implementation) and `autoaugment` (the
    ImageNet policy) come on top of a flip; they draw from torch's global generator.
    """
    if kind == "none":
        return images
    images = torch.where(draws.flipped[:, None, None, None], images.flip(3), images)
    if kind == "flip_crop":
        return shift(images, draws.offsets)
    if kind in POLICIES:
        policy = _policy(kind)
        return torch.cat([policy(chunk) for chunk in images.split(CHUNK)])
    return images


def shift(images: Tensor, offsets: Tensor) -> Tensor:
    """Pad by size // SHIFT zeros on every side, then cut each image out at its own offset."""
    count, channels, height, width = images.shape
    padded = F.pad(images, [width // SHIFT] * 2 + [height // SHIFT] * 2)
    rows = offsets[:, :1] + torch.arange(height, device=images.device)  # batch, height
    columns = offsets[:, 1:] + torch.arange(width, device=images.device)  # batch, width
    # One flat index is several times quicker than one for each axis.
    flat = (rows[:, :, None] * padded.shape[3] + columns[:, None, :]).view(count, 1, -1)
    cut = padded.flatten(2).gather(2, flat.expand(-1, channels, -1))
    return cut.view(count, channels, height, width)


def to_input(images: Tensor, size: int, protocol: Protocol) -> Tensor:
    """Bytes to what the model takes: as many channels, `size` pixels a side, (x − 128) / 128.

    Scaled bilinearly, with antialiasing where images shrink. `size` 0 leaves them as they are.
    """
    x = images.float()
    if size and size != x.shape[-1]:
        x = F.interpolate(x, (size, size), mode="bilinear", antialias=size < x.shape[-1])
    x = x.sub_(128).div_(128)
    if x.shape[1] == 1:
        x = x.expand(-1, protocol.channels, -1, -1)
    if protocol.channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    return x


def mix(
    images: Tensor, labels: Tensor, classes: int, protocol: Protocol, random: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Mixup (Zhang et al. 2018) or CutMix (Yun et al. 2019), each image with its opposite.

    The first image of the batch is mixed with the last, and so on, all in one proportion drawn
    from Beta(α, α), where α is the protocol's `mixup_alpha` or `cutmix_alpha`. Returns the images
    and their labels as probabilities, float32 (batch, classes). Where both are on, each batch gets
    one of them, by the toss of a coin.

    Of several processes each mixes its own part of a batch, with the draws of the others: their
    pairs are not those of one process. The training accuracy that a run records is that of the
    images' own labels, which mixing lowers.
    """
    cut = protocol.cutmix_alpha > 0
    if cut and protocol.mixup_alpha > 0:
        cut = random.random() < 0.5
    alpha = protocol.cutmix_alpha if cut else protocol.mixup_alpha
    kept = random.beta(alpha, alpha)
    others = images.flip(0)
    if cut:
        images, kept = _paste(images, others, kept, random)
    else:
        images = torch.lerp(others, images, kept)
    targets = F.one_hot(labels, classes).float()
    return images, torch.lerp(targets.flip(0), targets, kept)


def _paste(images, others, kept, random) -> tuple[Tensor, float]:
    """Paste a rectangle of the others' over the images; the share that stays is returned."""
    height, width = images.shape[2:]
    side = (1 - kept) ** 0.5
    spans = []
    for length in (height, width):
        centre = int(random.integers(length))
        half = int(length * side) // 2
        spans.append(slice(max(0, centre - half), min(length, centre + half)))
    rows, columns = spans
    images = images.clone()
    images[:, :, rows, columns] = others[:, :, rows, columns]
    pasted = (rows.stop - rows.start) * (columns.stop - columns.start)
    return images, 1 - pasted / (height * width)


def _policy(kind: str):
    from torchvision.transforms import v2

    if kind == "randaugment":
        return v2.RandAugment(num_ops=2, magnitude=15)
    return v2.AutoAugment(v2.AutoAugmentPolicy.IMAGENET)
